//! A power cut: all members die at once, and go on from where they were.

use std::thread;
use std::time::Duration;

use aquifer_tests::HarnessError;
use aquifer_tests::devnet::{Devnet, DevnetOptions};
use aquifer_tests::load::Load;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha20Rng;

const SEED: u64 = 0x0a9_01f4;
const LIMIT: Duration = Duration::from_secs(120);
const SPAN_MS: u64 = 3_000;
const POWER_CUTS: usize = 3;

#[test]
fn all_four_killed_and_restarted_go_on() -> Result<(), HarnessError> {
    let mut rng = ChaCha20Rng::seed_from_u64(SEED);
    Devnet::play(DevnetOptions::default(), |devnet| {
        let (alice, bob) = (devnet.wallet("alice")?, devnet.wallet("bob")?);
        devnet.fund(&alice, 100_000_000)?;
        let asset = devnet.chain()?.pegged_asset().to_string();
        let load = Load::start(alice, &bob, &asset)?;
        for _ in 0..POWER_CUTS {
            // The moment of the cut is the test's input, not a wait for something.
            thread::sleep(Duration::from_millis(rng.gen_range(0..SPAN_MS)));
            let before = devnet.height()?;
            let known = devnet.members().first().map(|first| devnet.block_hashes(first, before)).transpose()?;
            for member in 0..devnet.members().len() {
                devnet.member(member)?.kill9();
            }
            devnet.start_all()?;
            devnet.wait_height(before.saturating_add(3), LIMIT)?;
            let now = devnet.members().first().map(|first| devnet.block_hashes(first, before)).transpose()?;
            assert_eq!(known, now, "no final block was lost or replaced");
        }
        devnet.settle(load, &bob, &asset, LIMIT)
    })
}
