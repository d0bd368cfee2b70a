//! Whatever byte of a valid transaction is changed, the result is refused, and nothing panics.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use elements::AssetId;
use elements::encode::serialize;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha20Rng;
use rayon::prelude::*;

use super::testing::{Blinding, Issue, Ledger, Lock, Pay};
use super::*;

/// A valid transaction with spends of several kinds, an issuance and blinded outputs.
fn valid() -> (Ledger, Vec<u8>) {
    let mut ledger = Ledger::new(400);
    let pegged = ledger.pegged();
    let gold = AssetId::from_byte_array([0x60; 32]);
    let coins = [
        ledger.coin(pegged, 10_000, Lock::P2wpkh, Blinding::Both),
        ledger.coin(gold, 500, Lock::Taproot, Blinding::Both),
        ledger.coin(gold, 500, Lock::NestedP2wsh(2, 3), Blinding::Explicit),
    ];
    let mut probe = crate::primitives::TxIn { previous_output: coins[0].outpoint, ..Default::default() };
    probe.asset_issuance.amount = elements::confidential::Value::Explicit(1);
    let (entropy, issued, _) = issued_assets(&probe).unwrap();
    let token = AssetId::reissuance_token_from_entropy(entropy, true);
    let issue = Issue { nonce: [0; 32], entropy: [0; 32], amount: 40, tokens: 1, blinded: true };
    let pays = [
        Pay::new(pegged, 9_000, Lock::P2wpkh.script(), Blinding::Both),
        Pay::new(gold, 1_000, Lock::Taproot.script(), Blinding::Value),
        Pay::new(issued, 40, Lock::Taproot.script(), Blinding::Explicit),
        Pay::new(token, 1, Lock::Taproot.script(), Blinding::Both),
    ];
    let transaction = ledger.issuing_transaction(&coins, &[issue], &pays, 1_000);
    ledger.verify(&transaction).unwrap();
    (ledger, serialize(&transaction))
}

#[test]
fn no_single_byte_can_be_changed() {
    const SEED: u64 = 7;
    let (ledger, bytes) = valid();
    let mut rng = ChaCha20Rng::seed_from_u64(SEED);
    // Everything but the proofs, every byte; then bytes anywhere, most of them in proofs.
    let body = serialize(&{
        let mut bare = decode(bytes.clone()).unwrap();
        bare.input.iter_mut().for_each(|input| input.witness = crate::primitives::TxInWitness::default());
        bare.output.iter_mut().for_each(|output| output.witness = crate::primitives::TxOutWitness::default());
        bare
    })
    .len();
    let mut changes: Vec<(usize, u8)> = (0..body).map(|position| (position, 1 << rng.gen_range(0..8))).collect();
    changes.extend((0..600).map(|_| (rng.gen_range(0..bytes.len()), rng.gen_range(1..=255))));
    let accepted: Vec<_> = changes
        .par_iter()
        .filter(|(position, mask)| {
            let mut changed = bytes.clone();
            changed[*position] ^= mask;
            decode(changed).is_ok_and(|transaction| ledger.verify(&transaction).is_ok())
        })
        .collect();
    assert!(accepted.is_empty(), "seed {SEED}: position and mask {accepted:?}");
}

#[test]
fn bytes_cut_off_or_doubled_are_no_transaction() {
    let (ledger, bytes) = valid();
    let mut rng = ChaCha20Rng::seed_from_u64(8);
    for _ in 0..300 {
        let at = rng.gen_range(0..bytes.len());
        let length = rng.gen_range(1..40).min(bytes.len() - at);
        let mut shorter = bytes.clone();
        shorter.drain(at..at + length);
        let mut longer = bytes.clone();
        longer.splice(at..at, bytes[at..at + length].to_vec());
        for changed in [shorter, longer] {
            assert!(decode(changed).and_then(|transaction| ledger.verify(&transaction)).is_err(), "at {at}");
        }
    }
}
