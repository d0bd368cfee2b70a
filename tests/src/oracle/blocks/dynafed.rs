//! What a header says of the parameters in force, and what it proposes.

use elements::dynafed::{FullParams, Params};
use elements::{BlockExtData, Script};
use rand::Rng as _;
use rand::seq::SliceRandom as _;
use rand_chacha::ChaCha20Rng;

use super::super::{Subject, World};
use super::{Made, choose};

const CHANGES: [&str; 12] = [
    "current-null",
    "current-other-form",
    "current-script",
    "current-limit",
    "current-root",
    "current-peg",
    "propose-same",
    "propose-short",
    "propose-signers",
    "propose-peg",
    "propose-extension",
    "propose-limit",
];

pub(super) fn make(world: &World, rng: &mut ChaCha20Rng) -> Made {
    let mut block = world.good_block(rng)?;
    let name = choose(rng, &CHANGES);
    let in_force = world.chain.judge.federation()?.current().clone();
    if let BlockExtData::Dynafed { current, proposed, .. } = &mut block.header.ext {
        if name.starts_with("current") {
            *current = changed_current(name, rng, current, &in_force);
        } else {
            *proposed = proposal(name, rng, in_force);
        }
    }
    Ok((name, Subject::Proposal(Box::new(block))))
}

fn changed_current(name: &str, rng: &mut ChaCha20Rng, current: &Params, in_force: &FullParams) -> Params {
    let mut changed = in_force.clone();
    match name {
        "current-null" => return Params::Null,
        "current-other-form" => {
            return if current.is_full() { in_force.clone().into_compact() } else { Params::Full(in_force.clone()) };
        }
        "current-script" => changed.signblockscript = witness_program(rng),
        "current-limit" => {
            changed.signblock_witness_limit =
                [0, 1, changed.signblock_witness_limit.saturating_add(1)].choose(rng).copied().unwrap_or(0);
        }
        // In a short entry this is the root, which Elements does not look at (trap 7.1).
        "current-root" => changed.extension_space = vec![vec![7; 66]],
        _ => changed.fedpegscript.push(0x51),
    }
    if current.is_full() { Params::Full(changed) } else { changed.into_compact() }
}

/// A proposal to change one thing.
fn proposal(name: &str, rng: &mut ChaCha20Rng, in_force: FullParams) -> Params {
    let mut proposed = in_force;
    match name {
        "propose-short" => return proposed.into_compact(),
        "propose-signers" => {
            proposed.signblockscript = match rng.gen_range(0..4) {
                0 => Script::from(vec![0x51]),
                1 => Script::new(),
                _ => witness_program(rng),
            };
        }
        "propose-peg" => propose_peg(rng, &mut proposed),
        "propose-extension" => {
            let lengths: Vec<usize> = (0..rng.gen_range(0..3)).map(|_| rng.gen_range(65..68)).collect();
            proposed.extension_space = lengths.into_iter().map(|length| vec![2; length]).collect();
        }
        "propose-limit" => proposed.signblock_witness_limit = rng.r#gen(),
        _ => {}
    }
    Params::Full(proposed)
}

fn propose_peg(rng: &mut ChaCha20Rng, proposed: &mut FullParams) {
    let scripts: [&[u8]; 6] = [&[], &[0x51], &[0x74, 0x51], &[33, 2, 2], &[0x4c, 0], &[0x51, 0x74]];
    let script = scripts.choose(rng).map(|script| script.to_vec()).unwrap_or_default();
    let program = |script: &[u8]| Script::from(script.to_vec()).to_v0_p2wsh();
    proposed.fedpegscript = script;
    let program = match rng.gen_range(0..5) {
        0 => witness_program(rng),
        1 => program(&proposed.fedpegscript).to_p2sh(),
        2 => return,
        _ => program(&proposed.fedpegscript),
    };
    proposed.fedpeg_program = bitcoin::ScriptBuf::from_bytes(program.into_bytes());
}

/// Something like a witness program.
fn witness_program(rng: &mut ChaCha20Rng) -> Script {
    let version = [0, 0, 0x51, 0x52, 0x60, 0x61, 0x50].choose(rng).copied().unwrap_or(0);
    let length: u8 = [1, 2, 20, 32, 33, 40, 41].choose(rng).copied().unwrap_or(32);
    Script::from([vec![version, length], vec![7; usize::from(length)]].concat())
}
