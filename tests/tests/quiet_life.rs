//! Nothing to do and nothing wrong: heartbeats, and a clean way to stop.

use std::time::Duration;

use aquifer_tests::HarnessError;
use aquifer_tests::devnet::{Devnet, DevnetOptions};

const LIMIT: Duration = Duration::from_secs(120);
const HEARTBEATS: u32 = 3;

#[test]
fn idle_chain_makes_heartbeats() -> Result<(), HarnessError> {
    Devnet::play(DevnetOptions::default(), |devnet| {
        let first = devnet.height()?.saturating_add(1);
        let last = first.saturating_add(HEARTBEATS);
        devnet.wait_height(last, LIMIT)?;
        let ledger = devnet.ledger()?;
        let mut times = Vec::new();
        for height in first..=last {
            let block = ledger.block(height)?;
            assert_eq!(block.txdata.len(), 1, "block {height} of an idle chain holds its coinbase only");
            times.push(block.header.time);
        }
        for (earlier, later) in times.iter().zip(times.iter().skip(1)) {
            assert!(later > earlier, "the clock of the chain goes on: {times:?}");
        }
        Ok(())
    })
}

#[test]
fn sigterm_is_clean() -> Result<(), HarnessError> {
    Devnet::play(DevnetOptions::default(), |devnet| {
        devnet.wait_height(1, LIMIT)?;
        for index in 0..devnet.members().len() {
            let member = devnet.member(index)?;
            let status = member.terminate()?;
            assert_eq!(status.code(), Some(0), "{} ends with exit code 0", member.name());
        }
        devnet.start_all()?;
        let height = devnet.height()?;
        devnet.wait_height(height.saturating_add(1), LIMIT)?;
        Ok(())
    })
}
