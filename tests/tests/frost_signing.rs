//! Peg-outs of a running federation: the first moves deposits into the treasury, whatever follows is one signature of its
//! key, also while a member is away.

use std::time::Duration;

use aquifer_tests::HarnessError;
use aquifer_tests::devnet::{Devnet, DevnetOptions};
use aquifer_tests::wallet::{Wallet, raw};
use bitcoin::Transaction;

const LIMIT: Duration = Duration::from_secs(120);
const DEPOSIT_SAT: u64 = 20_000_000;
const PEGOUT_SAT: u64 = 3_000_000;

/// Pegs out and gives the transaction that Bitcoin has confirmed.
fn peg_out(devnet: &Devnet, wallet: &Wallet) -> Result<Transaction, HarnessError> {
    let bitcoind = devnet.bitcoind();
    let address = bitcoind.new_address()?;
    let job = wallet.start(&["pegout", &address.to_string(), &raw(PEGOUT_SAT)])?;
    let txid = devnet.wait_parent_mempool(LIMIT)?;
    bitcoind.mine(1)?;
    job.finish(LIMIT)?;
    let received_sat = bitcoind.received_sat(&address, 1)?;
    assert!(received_sat > 0 && received_sat < PEGOUT_SAT, "{received_sat} sat arrived");
    let txid = txid.parse().map_err(|_| HarnessError::Story(format!("{txid} is no transaction id")))?;
    bitcoind.transaction(&txid)
}

/// How long the items of each input's witness are.
fn witnesses(transaction: &Transaction) -> Vec<Vec<usize>> {
    transaction.input.iter().map(|input| input.witness.iter().map(<[u8]>::len).collect()).collect()
}

#[test]
fn after_the_deposits_every_peg_out_is_one_signature() -> Result<(), HarnessError> {
    Devnet::play(DevnetOptions::default(), |devnet| {
        let alice = devnet.wallet("alice")?;
        devnet.fund(&alice, DEPOSIT_SAT)?;
        let first = peg_out(devnet, &alice)?;
        let [deposit] = witnesses(&first).try_into().map_err(|other| HarnessError::Story(format!("{other:?}")))?;
        // An empty item, three signatures, and the script.
        assert_eq!(deposit.len(), 5, "{first:?}");

        let second = peg_out(devnet, &alice)?;
        assert_eq!(witnesses(&second), [[64]], "{second:?}");
        let spent = second.input.first().map(|input| input.previous_output.txid);
        assert_eq!(spent, Some(first.compute_txid()), "the change of the first");
        assert!(second.vsize() < first.vsize());

        // Over four blocks everybody would lead once; who is away delays its own by a second.
        for absent in [3, 0] {
            devnet.member(absent)?.kill9();
            let payment = peg_out(devnet, &alice)?;
            // The change was split: more than one of its parts may be needed, each with one signature of the key.
            let by_key = witnesses(&payment).iter().all(|witness| *witness == [64]);
            assert!(by_key, "without member {absent}: {payment:?}");
            devnet.start_all()?;
        }
        let height = devnet.height()?;
        for status in devnet.wait_height(height, LIMIT)? {
            assert!(status.height >= height);
        }
        for member in devnet.members() {
            let told = member.printed_status()?;
            assert_eq!(told.value().get("alarms"), Some(&serde_json::json!([])), "{}", member.name());
        }
        Ok(())
    })
}
