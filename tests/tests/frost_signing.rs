//! Peg-outs of a running federation: the first puts a probe under the treasury key, the second spends it, the third moves what
//! is left to the treasury, and whatever follows is one signature of its key, also while a member is away.

use std::time::Duration;

use aquifer_federation::treasury::PROBE_SAT;
use aquifer_tests::HarnessError;
use aquifer_tests::devnet::{Devnet, DevnetOptions};
use aquifer_tests::wallet::{Wallet, raw};
use bitcoin::{Transaction, Txid};

const LIMIT: Duration = Duration::from_secs(120);
const DEPOSIT_SAT: u64 = 80_000_000;
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

/// What a payment puts under the treasury key.
fn under_key(devnet: &Devnet, payment: &Transaction) -> Result<Vec<u64>, HarnessError> {
    let chain = devnet.chain()?;
    let script = &chain.file().treasury_script;
    let outputs = payment.output.iter().filter(|output| output.script_pubkey == *script);
    Ok(outputs.map(|output| output.value.to_sat()).collect())
}

#[test]
fn a_key_that_has_spent_a_probe_signs_every_peg_out() -> Result<(), HarnessError> {
    Devnet::play(DevnetOptions::default(), |devnet| {
        let alice = devnet.wallet("alice")?;
        devnet.fund(&alice, DEPOSIT_SAT)?;
        let first = peg_out(devnet, &alice)?;
        let [deposit] = witnesses(&first).try_into().map_err(|other| HarnessError::Story(format!("{other:?}")))?;
        // An empty item, three signatures, and the script.
        assert_eq!(deposit.len(), 5, "{first:?}");

        assert_eq!(under_key(devnet, &first)?, [PROBE_SAT]);
        let missing = devnet.member(0)?.printed_status()?.text("key_missing")?;
        assert!(missing.contains("spends the 50000 sat"), "{missing}");

        let second = peg_out(devnet, &alice)?;
        let spent: Vec<Txid> = second.input.iter().map(|input| input.previous_output.txid).collect();
        assert_eq!(spent, [first.compute_txid(); 2], "the change of the first");
        let signed: Vec<usize> = witnesses(&second).iter().map(Vec::len).collect();
        assert_eq!(signed, [1, 5], "the probe by the key, and the rest by the members: {second:?}");
        assert_eq!(under_key(devnet, &second)?, [PROBE_SAT], "no block has shown that signature before");

        devnet.wait_key_proven(LIMIT)?;
        let third = peg_out(devnet, &alice)?;
        let left_sat = DEPOSIT_SAT - 3 * PEGOUT_SAT - PROBE_SAT;
        assert_eq!(under_key(devnet, &third)?.iter().sum::<u64>(), left_sat);
        let fourth = peg_out(devnet, &alice)?;
        assert_eq!(witnesses(&fourth), [[64]], "{fourth:?}");
        assert!(fourth.vsize() < first.vsize());

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
