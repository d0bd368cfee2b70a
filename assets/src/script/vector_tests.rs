//! Spends that elementsd judged: the oracle for what no other library computes, SIGHASH_RANGEPROOF above all.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use elements::OutPoint;

use super::ScriptError;
use crate::chain::ChainParams;
use crate::primitives::Transaction;
use crate::state::{Coin, MemoryView};
use crate::transaction::{TxContext, TxError, decode, verify_transaction};

fn vectors() -> Vec<(&'static str, Transaction)> {
    include_str!("testdata/spends.txt")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let (name, bytes) = line.split_once(": ").unwrap();
            (name, decode(hex::decode(bytes).unwrap()).unwrap())
        })
        .collect()
}

#[test]
fn spends_that_elementsd_accepts_are_accepted_and_what_they_sign_cannot_change() {
    let params =
        ChainParams { initial_free_coins_sat: 2_100_000_000_000_000, ..ChainParams::elements_default("custom") };
    let context = TxContext { params: &params, height: 3, median_time_past: 1_700_000_000 };
    let vectors = vectors();
    let ((_, funding), spends) = vectors.split_first().unwrap();
    let mut view = MemoryView::default();
    for (vout, output) in (0..).zip(&funding.output) {
        let coin = Coin { output: output.clone(), height: 2, is_coinbase: false };
        view.insert(OutPoint::new(funding.txid(), vout), coin);
    }
    assert_eq!(spends.len(), 10);
    for (name, transaction) in spends {
        let verdict = verify_transaction(&context, transaction, &view).map(drop);
        assert_eq!(verdict, Ok(()), "{name}");

        // The range proof of the first output replaced by another that can be parsed: seen by the signature if it covers
        // the proofs of that output, else by the proof itself.
        let mut changed = transaction.clone();
        changed.output[0].witness.rangeproof =
            transaction.output.iter().rev().nth(1).unwrap().witness.rangeproof.clone();
        let error = verify_transaction(&context, &changed, &view).unwrap_err();
        let by_signature = !name.ends_with("c2");
        let expected = match error {
            TxError::Script { vin: 0, source } if by_signature => {
                matches!(source, ScriptError::EvalFalse | ScriptError::SchnorrSig)
            }
            TxError::RangeProof { vout: 0 } => !by_signature,
            _ => false,
        };
        assert!(expected, "{name}");
    }
}
