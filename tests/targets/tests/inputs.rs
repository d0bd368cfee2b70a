//! The targets on their seeds and on inputs of a random seed: what a fuzzer does for hours, for a few seconds.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::panic::catch_unwind;
use std::path::Path;

use aquifer_fuzz_targets::ground::ground;
use aquifer_fuzz_targets::seeds::seeds;
use aquifer_fuzz_targets::{TARGETS, Target};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha20Rng;

const SEED: u64 = 1;
const INPUTS: usize = 150;

fn hold(name: &str, target: Target, input: &[u8]) {
    assert!(catch_unwind(|| target(input)).is_ok(), "{name}: {}", hex::encode(input));
}

#[test]
fn every_target_holds_on_its_seeds_and_their_changes() {
    let mut rng = ChaCha20Rng::seed_from_u64(SEED);
    for (name, target) in TARGETS {
        let seeds: Vec<Vec<u8>> = seeds().into_iter().filter(|(of, _)| *of == name).map(|(_, seed)| seed).collect();
        seeds.iter().for_each(|seed| hold(name, target, seed));
        for number in 0..INPUTS {
            let mut input = seeds.get(number % seeds.len()).cloned().unwrap();
            for _ in 0..rng.gen_range(0..4) {
                let at = rng.gen_range(0..=input.len());
                input.splice(at..at, (0..rng.gen_range(0..8)).map(|_| rng.r#gen()).collect::<Vec<u8>>());
            }
            hold(name, target, &input);
            hold(name, target, &(0..rng.gen_range(0..90)).map(|_| rng.r#gen()).collect::<Vec<u8>>());
        }
    }
}

#[test]
fn the_ground_has_every_kind() {
    let kinds: String = ground().cases.iter().map(|case| case.kind.clone() + "+").collect();
    for kind in
        ["pegin", "pegout", "hidden-issuance", "reissuance", "confidential", "explicit", "taproot-key", "multisig"]
    {
        assert!(kinds.contains(&format!("{kind}+")), "{kind} is not in {kinds}");
    }
}

#[test]
fn a_fuzzer_finds_every_target() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
    let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
    for (name, _) in TARGETS {
        assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name}");
        let text = fs::read_to_string(folder.join(format!("fuzz_targets/{name}.rs"))).unwrap();
        assert!(text.contains(&format!("aquifer_fuzz_targets::{name}::run(input)")), "{name}");
    }
}
