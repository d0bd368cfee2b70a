//! Remembered verdicts change no verdict: on valid, mutated and adversarially re-cut transactions, with a warm cache and
//! with a cold one.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use elements::confidential::{Asset, Value, ValueBlindingFactor};
use elements::encode::serialize;
use elements::{AssetId, LockTime, Script};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha20Rng;
use secp256k1_zkp::SECP256K1;

use super::testing::{Blinding, Issue, Ledger, Lock, Owned, Pay, sign};
use super::*;
use crate::primitives::{Nonce, RangeProof, TxOut};
use crate::state::Coin;
use crate::verdicts::StatementKey;

const GOLD: AssetId = AssetId::from_byte_array([0x60; 32]);

/// Remembers everything it is told.
#[derive(Default)]
struct Everything(Mutex<BTreeSet<StatementKey>>);

impl VerdictCache for Everything {
    fn holds(&self, key: &StatementKey) -> bool {
        self.0.lock().unwrap().contains(key)
    }

    fn remember(&self, key: StatementKey) {
        self.0.lock().unwrap().insert(key);
    }
}

/// Says that every statement holds.
struct Yes;

impl VerdictCache for Yes {
    fn holds(&self, _: &StatementKey) -> bool {
        true
    }

    fn remember(&self, _: StatementKey) {}
}

/// Two valid transactions: a payment of two assets, and one that issues. With what they spend.
fn valid() -> (Ledger, Vec<(Transaction, Vec<Owned>)>) {
    let mut ledger = Ledger::new(300);
    let pegged = ledger.pegged();
    let coins = vec![
        ledger.coin(pegged, 10_000, Lock::P2wpkh, Blinding::Both),
        ledger.coin(GOLD, 500, Lock::Taproot, Blinding::Both),
    ];
    let script = Lock::P2wpkh.script();
    let pays = [
        Pay::new(pegged, 9_000, script.clone(), Blinding::Both),
        Pay::new(GOLD, 200, script.clone(), Blinding::Both),
        Pay::new(GOLD, 300, script, Blinding::Value),
    ];
    let payment = ledger.transaction(&coins, &pays, 1_000);
    let coin = ledger.coin(pegged, 5_000, Lock::P2wsh(2, 3), Blinding::Explicit);
    let issue = Issue { nonce: [0; 32], entropy: [0; 32], amount: 40, tokens: 0, blinded: true };
    let mut probe = crate::primitives::TxIn { previous_output: coin.outpoint, ..crate::primitives::TxIn::default() };
    probe.asset_issuance.amount = Value::Explicit(1);
    let issued = issued_assets(&probe).unwrap().1;
    let pays = [
        Pay::new(pegged, 4_000, Lock::Taproot.script(), Blinding::Both),
        Pay::new(issued, 40, Lock::Taproot.script(), Blinding::Both),
    ];
    let issuing = ledger.issuing_transaction(std::slice::from_ref(&coin), &[issue], &pays, 1_000);
    (ledger, vec![(payment, coins), (issuing, vec![coin])])
}

/// Judges without a cache, with a cold one, with the warm one, and twice with that.
fn judge(ledger: &Ledger, transaction: &Transaction, warm: &Everything) -> Result<Effects, TxError> {
    let with = |verdicts: &dyn VerdictCache| {
        verify_transaction_with(&ledger.context(), transaction, &ledger.view, Some(verdicts))
    };
    let verdict = ledger.verify(transaction);
    let cold = Everything::default();
    assert_eq!(with(&cold), verdict, "cold");
    assert_eq!(cold.0.lock().unwrap().len(), usize::from(verdict.is_ok()), "only success is remembered");
    assert_eq!(with(warm), verdict, "warm");
    assert_eq!(with(warm), verdict, "warm, again");
    verdict
}

/// A cache that remembers everything valid.
fn warm(ledger: &Ledger, valid: &[(Transaction, Vec<Owned>)]) -> Everything {
    let warm = Everything::default();
    for (transaction, _) in valid {
        judge(ledger, transaction, &warm).unwrap();
    }
    assert_eq!(warm.0.lock().unwrap().len(), valid.len());
    warm
}

#[test]
fn verdicts_are_equal_with_and_without_on_mutated_bytes() {
    const SEED: u64 = 31;
    let (ledger, valid) = valid();
    let warm = warm(&ledger, &valid);
    let mut rng = ChaCha20Rng::seed_from_u64(SEED);
    let mut judged = 0;
    for round in 0..400 {
        let mut bytes = serialize(&valid[round % valid.len()].0);
        let at = rng.gen_range(0..bytes.len());
        match rng.gen_range(0..3) {
            0 => bytes[at] ^= rng.gen_range(1..=255),
            1 => drop(bytes.remove(at)),
            _ => {
                let other = rng.gen_range(at..bytes.len());
                bytes.swap(at, other);
            }
        }
        if let Ok(transaction) = decode(bytes) {
            let same = valid.iter().any(|(known, _)| *known == transaction);
            assert_eq!(judge(&ledger, &transaction, &warm).is_ok(), same, "seed {SEED}, round {round}, byte {at}");
            judged += 1;
        }
    }
    assert!(judged > 100, "{judged} of 400 could be read");
}

#[test]
fn verdicts_are_equal_with_and_without_on_changed_outputs() {
    let (mut ledger, valid) = valid();
    let warm = warm(&ledger, &valid);
    let (transaction, coins) = &valid[0];
    let mut changes: Vec<Transaction> = Vec::new();
    let mut change = |apply: &dyn Fn(&mut Transaction)| {
        let mut changed = transaction.clone();
        apply(&mut changed);
        // As it stands, and as its owner would sign it.
        changes.push(changed.clone());
        sign(&ledger.params, &mut changed, coins);
        changes.push(changed);
    };
    change(&|tx| tx.output.swap(0, 1));
    change(&|tx| drop(tx.output.pop()));
    change(&|tx| tx.input.swap(0, 1));
    change(&|tx| tx.output[0].nonce = Nonce::Null);
    change(&|tx| tx.output[1].witness.surjection_proof = tx.output[0].witness.surjection_proof.clone());
    change(&|tx| tx.output[1].witness.rangeproof = tx.output[0].witness.rangeproof.clone());
    change(&|tx| tx.output[1].witness.rangeproof = RangeProof::EMPTY);
    change(&|tx| tx.output[0].value = tx.output[1].value);
    change(&|tx| tx.lock_time = LockTime::from_consensus(400));
    let accepted = changes.iter().filter(|changed| judge(&ledger, changed, &warm).is_ok()).count();
    // Signed anew, it may have its outputs in another order, no nonce, or a lock time.
    assert_eq!(accepted, 3);

    // The same transaction, but what it spends is something else.
    let other = ValueBlindingFactor::new(&mut ledger.rng).into_inner();
    for apply in [
        |output: &mut TxOut, _| output.script_pubkey = Lock::NestedP2wpkh.script(),
        |output: &mut TxOut, _| output.asset = Asset::Explicit(GOLD),
        |output: &mut TxOut, _| output.value = Value::Explicit(10_000),
        |output: &mut TxOut, other| {
            let generator = output.asset.commitment().unwrap();
            output.value =
                Value::Confidential(secp256k1_zkp::PedersenCommitment::new(SECP256K1, 10_000, other, generator));
        },
    ] {
        let mut output = coins[0].output.clone();
        apply(&mut output, other);
        ledger.view.insert(coins[0].outpoint, Coin { output, height: 1, is_coinbase: false });
        judge(&ledger, transaction, &warm).unwrap_err();
    }
}

#[test]
fn re_cut_proofs_are_refused_with_a_warm_cache_and_a_cold_one() {
    // September 2026: proof, commitment, generator and script of one valid output, joined, and cut at other places.
    let (ledger, valid) = valid();
    let warm = warm(&ledger, &valid);
    let (transaction, coins) = &valid[0];
    let output = &transaction.output[1];
    let (proof, script) = (output.witness.rangeproof.as_bytes().to_vec(), output.script_pubkey.to_bytes());
    let refused = |proof: &[u8], script: Vec<u8>| {
        let mut changed = transaction.clone();
        changed.output[1].witness.rangeproof = proof.to_vec().into();
        changed.output[1].script_pubkey = Script::from(script);
        // Bytes that no part delimits are those of the valid transaction; whoever makes it signs it.
        sign(&ledger.params, &mut changed, coins);
        assert_eq!(judge(&ledger, &changed, &warm), Err(TxError::RangeProof { vout: 1 }));
    };
    for cut in 1..=24 {
        let (kept, moved) = proof.split_at(proof.len() - cut);
        refused(kept, [moved, &script].concat());
        let cut = cut.min(script.len() - 1);
        refused(&[&proof, &script[..cut]].concat(), script[cut..].to_vec());
    }
}

#[test]
fn an_equal_proof_and_commitment_for_another_script_or_generator_is_refused() {
    // The earlier one: its key left out the script and the generator.
    let (ledger, valid) = valid();
    let warm = warm(&ledger, &valid);
    let (transaction, coins) = &valid[0];
    let mut script = transaction.clone();
    script.output[1].script_pubkey = Lock::Taproot.script();
    let mut generator = transaction.clone();
    // Gold again, under the blinding of nothing: proof and commitment stay.
    generator.output[2].asset = Asset::Explicit(ledger.pegged());
    for (mut changed, expected) in
        [(script, TxError::RangeProof { vout: 1 }), (generator, TxError::RangeProof { vout: 2 })]
    {
        sign(&ledger.params, &mut changed, coins);
        assert_eq!(judge(&ledger, &changed, &warm), Err(expected));
    }
}

#[test]
fn whatever_depends_on_the_ledger_is_checked_with_any_cache() {
    let (mut ledger, valid) = valid();
    let (transaction, coins) = &valid[0];
    let always = |ledger: &Ledger, transaction: &Transaction| {
        verify_transaction_with(&ledger.context(), transaction, &ledger.view, Some(&Yes))
    };
    // What the cache answers for: nothing but balance, proofs and scripts.
    let mut unproved = transaction.clone();
    unproved.output[0].value = unproved.output[1].value;
    assert!(always(&ledger, &unproved).is_ok() && ledger.verify(&unproved).is_err());

    let mut locked = transaction.clone();
    locked.lock_time = LockTime::from_consensus(600);
    assert!(matches!(always(&ledger, &locked), Err(TxError::LockTime { .. })));
    let mut doubled = transaction.clone();
    doubled.input.push(doubled.input[0].clone());
    assert!(matches!(always(&ledger, &doubled), Err(TxError::DuplicateInput { vin: 2, .. })));
    let coin = Coin { output: coins[1].output.clone(), height: 450, is_coinbase: true };
    ledger.view.insert(coins[1].outpoint, coin);
    assert!(matches!(always(&ledger, transaction), Err(TxError::ImmatureCoinbase { vin: 1, .. })));
    ledger.view.insert(coins[1].outpoint, Coin { output: coins[1].output.clone(), height: 1, is_coinbase: false });
    let effects = always(&ledger, transaction).unwrap();
    ledger.view.apply(&effects);
    assert!(matches!(always(&ledger, transaction), Err(TxError::MissingInput { vin: 0, .. })));
}

#[test]
fn a_key_names_one_statement() {
    let (ledger, valid) = valid();
    let (transaction, coins) = &valid[0];
    let spent: Vec<TxOut> = coins.iter().map(|coin| coin.output.clone()).collect();
    let rules = RuleSet::of(&ledger.params);
    let mut seen: BTreeMap<StatementKey, String> = BTreeMap::new();
    let mut distinct = |rules: &RuleSet, transaction: &Transaction, spent: &[TxOut], what: &str| {
        let before = seen.insert(StatementKey::new(rules, transaction, spent), what.to_owned());
        assert_eq!(before, None, "{what}");
    };
    distinct(&rules, transaction, &spent, "itself");
    let other_chain = ChainParams::elements_default("another");
    distinct(&RuleSet::of(&other_chain), transaction, &spent, "another chain");
    distinct(&rules, transaction, &spent[..1], "an output less");
    distinct(&rules, transaction, &[spent[1].clone(), spent[0].clone()], "the other order");
    let mut change = |what: &str, apply: &dyn Fn(&mut Transaction, &mut Vec<TxOut>)| {
        let (mut transaction, mut spent) = (transaction.clone(), spent.clone());
        apply(&mut transaction, &mut spent);
        distinct(&rules, &transaction, &spent, what);
    };
    change("witness", &|tx, _| tx.input[0].witness.script_witness.clear());
    change("range proof", &|tx, _| tx.output[0].witness.rangeproof = RangeProof::EMPTY);
    change("nonce", &|tx, _| tx.output[0].nonce = Nonce::Null);
    change("sequence", &|tx, _| tx.input[1].sequence = elements::Sequence::MAX);
    change("spent script", &|_, spent| spent[0].script_pubkey = Script::new());
    change("spent asset", &|_, spent| spent[0].asset = Asset::Explicit(GOLD));
    change("spent value", &|_, spent| spent[0].value = Value::Explicit(1));
    change("spent nonce", &|_, spent| spent[0].nonce = Nonce::Explicit([1; 32]));
    // Bytes moved over the border between two spent outputs.
    change("border", &|_, spent| {
        let moved = spent[0].script_pubkey.to_bytes();
        spent[0].script_pubkey = Script::from(moved[..21].to_vec());
        spent[1].script_pubkey = Script::from([&moved[21..], spent[1].script_pubkey.as_bytes()].concat());
    });
}
