//! Any one of four members may die at any time: the chain goes on without it, and it catches up when it is back.

use std::thread;
use std::time::Duration;

use aquifer_tests::HarnessError;
use aquifer_tests::devnet::{Devnet, DevnetOptions, wait_height};
use aquifer_tests::load::Load;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha20Rng;

const SEED: u64 = 0x0a9_01f3;
const LIMIT: Duration = Duration::from_secs(120);
/// Members die at a random moment of this span, so at any point of a height.
const SPAN_MS: u64 = 2_000;

#[test]
fn one_member_killed_chain_goes_on_and_it_catches_up() -> Result<(), HarnessError> {
    let mut rng = ChaCha20Rng::seed_from_u64(SEED);
    Devnet::play(DevnetOptions::default(), |devnet| {
        let (alice, bob) = (devnet.wallet("alice")?, devnet.wallet("bob")?);
        devnet.fund(&alice, 100_000_000)?;
        let asset = devnet.chain()?.pegged_asset().to_string();
        let load = Load::start(alice, &bob, &asset)?;
        for victim in 0..devnet.members().len() {
            // The moment of death is the test's input, not a wait for something.
            thread::sleep(Duration::from_millis(rng.gen_range(0..SPAN_MS)));
            devnet.member(victim)?.kill9();
            let height = devnet.height()?;
            devnet.wait_height(height.saturating_add(3), LIMIT)?;
            let member = devnet.member(victim)?;
            member.start()?;
            let height = devnet.height()?;
            wait_height(devnet.member(victim)?, height, LIMIT)?;
            devnet.wait_connected()?;
        }
        devnet.settle(load, &bob, &asset, LIMIT)
    })
}
