//! Two of four members are below the threshold: the chain stops, loses nothing, and goes on when one returns.

use std::time::Duration;

use aquifer_tests::HarnessError;
use aquifer_tests::devnet::{Devnet, DevnetOptions};
use aquifer_tests::wait;

const LIMIT: Duration = Duration::from_secs(120);
/// More than two idle intervals: a chain that could make a block would have made one.
const STANDSTILL: Duration = Duration::from_secs(12);
const PAYMENT_SAT: u64 = 123_456;

#[test]
fn two_of_four_down_stops_and_loses_nothing() -> Result<(), HarnessError> {
    Devnet::play(DevnetOptions::default(), |devnet| {
        let (alice, bob) = (devnet.wallet("alice")?, devnet.wallet("bob")?);
        devnet.fund(&alice, 10_000_000)?;
        let asset = devnet.chain()?.pegged_asset().to_string();
        devnet.member(2)?.kill9();
        devnet.member(3)?.kill9();
        // What was decided before the second one died may still become final.
        let height = devnet.wait_height(0, LIMIT)?.iter().map(|status| status.height).max().unwrap_or_default();
        let mut payment = alice.start(&["send", &bob.address()?, &format!("{PAYMENT_SAT}sat"), "--asset", &asset])?;
        wait::holds(STANDSTILL, || {
            assert!(devnet.height()? <= height.saturating_add(1), "two of four made a block");
            Ok(())
        })?;
        assert!(payment.printed()?.iter().all(|printed| printed.height("height").is_err()), "a payment was final");

        devnet.member(2)?.start()?;
        payment.wait_for("the payment is final", LIMIT, |printed| printed.height("height").ok())?;
        devnet.member(3)?.start()?;
        devnet.wait_connected()?;
        bob.wait_balance(&asset, PAYMENT_SAT)?;
        let height = devnet.height()?;
        devnet.wait_height(height, LIMIT)?;
        devnet.check_agreement(height)?;
        devnet.check_signatures(height)
    })
}
