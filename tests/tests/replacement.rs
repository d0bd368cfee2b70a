//! Peg-outs that Bitcoin does not confirm at once: a fee that has become too low, and reorganisations that take payments back.

use std::collections::BTreeSet;
use std::time::Duration;

use aquifer_tests::HarnessError;
use aquifer_tests::devnet::{Devnet, DevnetOptions};
use aquifer_tests::json::Printed;
use aquifer_tests::wait::{self, Answer};
use aquifer_tests::wallet::{Wallet, raw};
use bitcoin::{Address, BlockHash, OutPoint, Transaction, Txid};
use serde_json::json;

const LIMIT: Duration = Duration::from_secs(120);
const FUNDED_SAT: u64 = 100_000_000;
const AMOUNT_SAT: u64 = 10_000_000;
/// Blocks of Bitcoin after which a batch without a confirmation is replaced, and some more.
const UNPAID_BLOCKS: u32 = 3;

fn story(error: impl std::fmt::Display) -> HarnessError {
    HarnessError::Story(error.to_string())
}

/// Mines blocks that leave every transaction where it is.
fn mine_empty(devnet: &Devnet, blocks: u32) -> Result<(), HarnessError> {
    let client = devnet.bitcoind().client()?;
    let miner = devnet.bitcoind().new_address()?.to_string();
    (0..blocks)
        .try_for_each(|_| client.call::<serde_json::Value>("generateblock", &[json!(miner), json!([])]).map(drop))
}

/// The blocks of Bitcoin from a height on are no longer in the best chain.
fn invalidate_from(devnet: &Devnet, height: u32) -> Result<(), HarnessError> {
    let client = devnet.bitcoind().client()?;
    let block: BlockHash = client.call("getblockhash", &[json!(height)])?;
    client.call_unit("invalidateblock", &[json!(block)])
}

fn waiting_transaction(devnet: &Devnet, other_than: Option<Txid>) -> Result<Transaction, HarnessError> {
    let client = devnet.bitcoind().client()?;
    let txid = wait::until("a batch reaches Bitcoin's mempool", LIMIT, || {
        let waiting: Vec<Txid> = client.call("getrawmempool", &[])?;
        let found = waiting.iter().find(|txid| Some(**txid) != other_than).copied();
        Ok(found.map_or_else(|| Answer::NotYet(format!("{waiting:?}")), Answer::Ready))
    })?;
    devnet.bitcoind().transaction(&txid)
}

fn inputs(transaction: &Transaction) -> BTreeSet<OutPoint> {
    transaction.input.iter().map(|input| input.previous_output).collect()
}

fn paid_sat(transaction: &Transaction, address: &Address) -> Result<u64, HarnessError> {
    let mut outputs = transaction.output.iter().filter(|output| output.script_pubkey == address.script_pubkey());
    outputs.next().map(|output| output.value.to_sat()).ok_or_else(|| story("it does not pay the address"))
}

/// Asks for a peg-out and gives its name.
fn ask(wallet: &Wallet, address: &Address) -> Result<String, HarnessError> {
    wallet.run(&["pegout", &address.to_string(), &raw(AMOUNT_SAT), "--no-wait"])?.text("pegout")
}

fn wait_confirmed(wallet: &Wallet, pegout: &str) -> Result<Printed, HarnessError> {
    wait::until("the peg-out is confirmed", LIMIT, || {
        let told = match wallet.run(&["pegout", "--status", pegout]) {
            Ok(told) => told,
            // It is not in a block yet.
            Err(error) => return Ok(Answer::NotYet(error.to_string())),
        };
        let confirmed = told.text("state")? == "confirmed";
        Ok(if confirmed { Answer::Ready(told) } else { Answer::NotYet(told.value().to_string()) })
    })
}

fn check_books(devnet: &mut Devnet) -> Result<(), HarnessError> {
    for member in 0..devnet.members().len() {
        let status = devnet.member(member)?.printed_status()?;
        assert_eq!(status.value().pointer("/reserve/difference_sat"), Some(&json!(0)), "{}", status.value());
    }
    Ok(())
}

#[test]
fn a_batch_that_is_stuck_at_a_low_fee_is_replaced_and_its_change_can_be_spent() -> Result<(), HarnessError> {
    Devnet::play(DevnetOptions::default(), |devnet| {
        let alice = devnet.wallet("alice")?;
        devnet.fund(&alice, FUNDED_SAT)?;
        let address = devnet.bitcoind().new_address()?;
        let pegout = ask(&alice, &address)?;
        let stuck = waiting_transaction(devnet, None)?;
        // Fees rise fourfold, and no block takes it.
        for member in 0..devnet.members().len() {
            let member = devnet.member(member)?;
            member.kill9();
            member.expect_fees(20_000)?;
            member.start()?;
        }
        devnet.wait_connected()?;
        let raised = wait::until("the batch is replaced", LIMIT, || {
            mine_empty(devnet, 1)?;
            let waiting: Vec<Txid> = devnet.bitcoind().client()?.call("getrawmempool", &[])?;
            match waiting.iter().find(|txid| **txid != stuck.compute_txid()) {
                Some(txid) => Ok(Answer::Ready(devnet.bitcoind().transaction(txid)?)),
                None => Ok(Answer::NotYet(format!("{waiting:?}"))),
            }
        })?;
        assert_eq!(inputs(&raised), inputs(&stuck), "it excludes the one that it replaces");
        let change = |batch: &Transaction| -> Vec<u64> {
            let change = batch.output.iter().filter(|output| output.script_pubkey != address.script_pubkey());
            change.map(|output| output.value.to_sat()).collect()
        };
        assert_eq!(change(&raised), change(&stuck));
        let (first_sat, raised_sat) = (paid_sat(&stuck, &address)?, paid_sat(&raised, &address)?);
        assert!(raised_sat < first_sat, "the requester pays the difference");
        devnet.bitcoind().mine(1)?;
        let told = wait_confirmed(&alice, &pegout)?;
        assert_eq!(told.text("parent_txid")?, raised.compute_txid().to_string());
        assert_eq!(told.number("fee_sat")?, AMOUNT_SAT - raised_sat);
        assert_eq!(devnet.bitcoind().received_sat(&address, 1)?, raised_sat);

        // The change that came to exist is spent, not the one that never will be.
        let again = devnet.bitcoind().new_address()?;
        let pegout = ask(&alice, &again)?;
        let second = waiting_transaction(devnet, Some(raised.compute_txid()))?;
        assert!(second.input.iter().all(|input| input.previous_output.txid == raised.compute_txid()));
        devnet.bitcoind().mine(1)?;
        wait_confirmed(&alice, &pegout)?;
        assert_eq!(devnet.bitcoind().received_sat(&address, 1)?, raised_sat, "paid once");
        check_books(devnet)
    })
}

/// A peg-out that is confirmed by a block with so many blocks on it, with its address, the height of that block, and the batch.
fn confirmed_under(
    devnet: &Devnet,
    wallet: &Wallet,
    blocks: u32,
) -> Result<(String, Address, u32, Transaction), HarnessError> {
    let address = devnet.bitcoind().new_address()?;
    let pegout = ask(wallet, &address)?;
    let batch = waiting_transaction(devnet, None)?;
    devnet.bitcoind().mine(1)?;
    let height = devnet.bitcoind().block_count()?;
    wait_confirmed(wallet, &pegout)?;
    devnet.bitcoind().mine(blocks)?;
    Ok((pegout, address, height, batch))
}

#[test]
fn payments_that_a_reorganisation_takes_back_are_confirmed_again_and_made_once() -> Result<(), HarnessError> {
    Devnet::play(DevnetOptions::default(), |devnet| {
        let alice = devnet.wallet("alice")?;
        devnet.fund(&alice, FUNDED_SAT)?;
        let depth_blocks = devnet.chain()?.file().params.pegin_confirmation_depth_blocks;
        // A peg-in is as deep as the deepest of these reorganisations.
        devnet.bitcoind().mine(UNPAID_BLOCKS)?;
        for removed in [1, depth_blocks] {
            let (pegout, address, height, batch) = confirmed_under(devnet, &alice, removed - 1)?;
            invalidate_from(devnet, height)?;
            waiting_transaction(devnet, None)?;
            mine_empty(devnet, 1)?;
            wait::until("the peg-out is not confirmed any more", LIMIT, || {
                let told = alice.run(&["pegout", "--status", &pegout])?;
                let back = told.text("state")? != "confirmed";
                Ok(if back { Answer::Ready(()) } else { Answer::NotYet(told.value().to_string()) })
            })?;
            devnet.bitcoind().mine(removed)?;
            wait_confirmed(&alice, &pegout)?;
            assert_eq!(devnet.bitcoind().received_sat(&address, 1)?, paid_sat(&batch, &address)?, "{removed} blocks");
            check_books(devnet)?;
        }
        let alarms = devnet.member(0)?.printed_status()?.value().get("alarms").cloned().unwrap_or_default();
        assert!(!alarms.to_string().contains("reorganisation"), "{alarms}");
        Ok(())
    })
}

#[test]
fn a_reorganisation_deeper_than_a_pegin_stops_pegouts_until_people_have_looked() -> Result<(), HarnessError> {
    Devnet::play(DevnetOptions::default(), |devnet| {
        let alice = devnet.wallet("alice")?;
        devnet.fund(&alice, FUNDED_SAT)?;
        let depth_blocks = devnet.chain()?.file().params.pegin_confirmation_depth_blocks;
        let (pegout, address, height, batch) = confirmed_under(devnet, &alice, depth_blocks + 1)?;
        let paid_sat = paid_sat(&batch, &address)?;
        let members = devnet.members().len();
        // All have seen the block that goes away.
        devnet.wait_height(devnet.height()? + 2, LIMIT)?;
        invalidate_from(devnet, height)?;
        // Nor does anybody on Bitcoin remember the payment.
        devnet.forget_parent_mempool()?;
        mine_empty(devnet, depth_blocks + 3)?;
        let status = wait::until("peg-outs are stopped", LIMIT, || {
            let status = devnet.member(0)?.printed_status()?;
            let open = status.value().pointer("/valve/open") == Some(&json!(true));
            Ok(if open { Answer::NotYet(status.value().to_string()) } else { Answer::Ready(status) })
        })?;
        let alarms = status.value().get("alarms").cloned().unwrap_or_default().to_string();
        assert!(alarms.contains("reorganisation of Bitcoin") && alarms.contains("aquiferd resume"), "{alarms}");
        let later = devnet.bitcoind().new_address()?;
        let second = ask(&alice, &later)?;
        let client = devnet.bitcoind().client()?;
        wait::holds(Duration::from_secs(10), || {
            let waiting: Vec<Txid> = client.call("getrawmempool", &[])?;
            // What had all its signatures before may be handed over again; nothing new is signed.
            let known = waiting.iter().all(|txid| *txid == batch.compute_txid());
            assert!(known, "paid although nobody has looked: {waiting:?}");
            Ok(())
        })?;
        for member in 0..members {
            devnet.member(member)?.say("resume", "all coins are there")?;
        }
        // The payment that was taken back is handed over again, and the one that waited is made.
        waiting_transaction(devnet, None)?;
        for pegout in [&pegout, &second] {
            wait::until("the peg-out is confirmed", LIMIT, || {
                devnet.bitcoind().mine(1)?;
                let told = alice.run(&["pegout", "--status", pegout])?;
                let confirmed = told.text("state")? == "confirmed";
                Ok(if confirmed { Answer::Ready(()) } else { Answer::NotYet(told.value().to_string()) })
            })?;
        }
        assert_eq!(devnet.bitcoind().received_sat(&address, 1)?, paid_sat, "paid once");
        check_books(devnet)
    })
}
