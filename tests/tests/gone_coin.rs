//! A reorganisation of Bitcoin, deeper than a deposit has to be, takes a coin of the treasury: members call their operators
//! and halt peg-outs, and the chain goes on.

use std::time::Duration;

use aquifer_tests::HarnessError;
use aquifer_tests::devnet::{Devnet, DevnetOptions};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(180);
const FUNDED_SAT: u64 = 30_000_000;
const PAID_SAT: u64 = 1_000_000;

#[test]
fn a_coin_that_is_gone_is_an_alarm_and_halts_pegouts() -> Result<(), HarnessError> {
    Devnet::play(DevnetOptions::default(), |devnet| {
        let (alice, bob) = (devnet.wallet("alice")?, devnet.wallet("bob")?);
        devnet.fund(&alice, FUNDED_SAT)?;
        let depth = devnet.chain()?.file().params.pegin_confirmation_depth_blocks;
        let bitcoin = devnet.bitcoind().client()?;
        // The block of the deposit is the lowest of those that made it deep enough.
        let height = devnet.bitcoind().block_count()? + 1 - depth;
        let block: String = bitcoin.call("getblockhash", &[json!(height)])?;
        bitcoin.call_unit("invalidateblock", &[json!(block)])?;
        let address = devnet.bitcoind().new_address()?;
        for _ in 0..=depth {
            // Without the deposit, which waits in the mempool again.
            let _: Value = bitcoin.call("generateblock", &[json!(address), json!([])])?;
        }
        for member in devnet.members() {
            let status = member.wait_status(LIMIT, "the member says that the coin is gone", |status| {
                let alarms = status.value().get("alarms").and_then(Value::as_array);
                let mut alarms = alarms.into_iter().flatten().filter_map(Value::as_str);
                alarms.any(|alarm| alarm.contains("gone from Bitcoin") && alarm.contains(&FUNDED_SAT.to_string()))
            })?;
            assert!(status.text("valve/own_halt")?.contains("gone from Bitcoin"), "{}", status.value());
        }
        let first = devnet.member(0)?;
        first.wait_status(LIMIT, "peg-outs are halted", |status| {
            status.value().pointer("/valve/open") == Some(&json!(false))
        })?;
        let asset = devnet.chain()?.pegged_asset().to_string();
        alice.send(&bob.address()?, PAID_SAT, &asset)?;
        bob.wait_balance(&asset, PAID_SAT)
    })
}
