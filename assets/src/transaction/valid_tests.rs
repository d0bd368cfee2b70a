//! Valid transactions of every kind.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;

use elements::{AssetId, Script};

use super::testing::{Blinding, Issue, Ledger, Lock, Owned, Pay, sign};
use super::*;

fn every_lock() -> Vec<Lock> {
    vec![
        Lock::P2wpkh,
        Lock::NestedP2wpkh,
        Lock::P2wsh(2, 3),
        Lock::NestedP2wsh(1, 1),
        Lock::P2wsh(17, 19),
        Lock::Taproot,
    ]
}

#[test]
fn a_confidential_payment_is_valid_for_every_kind_of_script() {
    for (seed, lock) in (1..).zip(every_lock()) {
        let mut ledger = Ledger::new(seed);
        let pegged = ledger.pegged();
        let coin = ledger.coin(pegged, 100_000, lock.clone(), Blinding::Both);
        let pays = [
            Pay::new(pegged, 60_000, Lock::Taproot.script(), Blinding::Both),
            Pay::new(pegged, 39_900, Lock::P2wpkh.script(), Blinding::Both),
        ];
        let transaction = ledger.transaction(std::slice::from_ref(&coin), &pays, 100);
        let effects = ledger.verify(&transaction).unwrap_or_else(|error| panic!("{lock:?}: {error}"));
        assert_eq!(effects.spent.keys().collect::<Vec<_>>(), [&coin.outpoint]);
        assert_eq!(effects.created.len(), 2);
        assert!(effects.created.values().all(|coin| coin.output.witness.is_empty() && coin.height == 500));
        assert_eq!(effects.fees, BTreeMap::from([(pegged, 100)]));
        assert_eq!(spent_outputs(&ledger.context(), &transaction, &effects).unwrap(), [coin.output]);
        assert_eq!(decode(elements::encode::serialize(&transaction)).unwrap(), transaction);
    }
}

#[test]
fn explicit_and_half_blinded_outputs_are_valid() {
    let mut ledger = Ledger::new(20);
    let pegged = ledger.pegged();
    let gold = AssetId::from_byte_array([0x60; 32]);
    let explicit = ledger.coin(pegged, 5_000, Lock::P2wpkh, Blinding::Explicit);
    let pays = [Pay::new(pegged, 4_000, Lock::P2wpkh.script(), Blinding::Explicit)];
    let transaction = ledger.transaction(std::slice::from_ref(&explicit), &pays, 1_000);
    ledger.verify(&transaction).unwrap();

    let value = ledger.coin(gold, 700, Lock::Taproot, Blinding::Value);
    let asset = ledger.coin(gold, 300, Lock::P2wpkh, Blinding::Asset);
    let pays = [
        Pay::new(gold, 400, Lock::P2wpkh.script(), Blinding::Asset),
        Pay::new(gold, 600, Lock::P2wpkh.script(), Blinding::Value),
        Pay::new(pegged, 4_900, Lock::P2wpkh.script(), Blinding::Both),
    ];
    let transaction = ledger.transaction(&[explicit, value, asset], &pays, 100);
    ledger.verify(&transaction).unwrap();
}

fn issue(amount: u64, tokens: u64, blinded: bool) -> Issue {
    Issue { nonce: [0; 32], entropy: [0xc0; 32], amount, tokens, blinded }
}

/// Issues an asset with tokens, and gives the ledger and the coins of the asset and of the token.
fn issued(seed: u64, blinded: bool, token_blinding: Blinding) -> (Ledger, Owned, elements::AssetEntropy, AssetId) {
    let mut ledger = Ledger::new(seed);
    let pegged = ledger.pegged();
    let coin = ledger.coin(pegged, 10_000, Lock::P2wpkh, Blinding::Both);
    let mut input = crate::primitives::TxIn { previous_output: coin.outpoint, ..Default::default() };
    input.asset_issuance.asset_entropy = elements::AssetEntropy::from_byte_array([0xc0; 32]);
    input.asset_issuance.amount = elements::confidential::Value::Explicit(1);
    let (entropy, asset, _) = issued_assets(&input).unwrap();
    let token = AssetId::reissuance_token_from_entropy(entropy, blinded);
    let pays = [
        Pay::new(asset, 1_000, Lock::P2wpkh.script(), Blinding::Both),
        Pay::new(token, 5, Lock::P2wpkh.script(), token_blinding),
        Pay::new(pegged, 9_000, Lock::P2wpkh.script(), Blinding::Both),
    ];
    let transaction = ledger.issuing_transaction(&[coin], &[issue(1_000, 5, blinded)], &pays, 1_000);
    let effects = ledger.verify(&transaction).unwrap();
    let [record] = effects.issuances.as_slice() else { panic!("one issuance") };
    assert_eq!((record.asset, record.token, record.entropy), (asset, token, entropy.to_byte_array()));
    assert_eq!(record.contract_hash, Some([0xc0; 32]));
    assert_eq!(record.amount, (!blinded).then_some(1_000));
    assert_eq!(record.token_amount, (!blinded).then_some(5));
    // Another coin of the token, whose blinding is known.
    let owned = ledger.coin(token, 1, Lock::P2wpkh, token_blinding);
    (ledger, owned, entropy, asset)
}

#[test]
fn assets_are_issued_and_reissued_explicitly_and_blinded() {
    for (seed, blinded) in [(30, false), (31, true)] {
        let (mut ledger, token, entropy, asset) = issued(seed, blinded, Blinding::Both);
        let pegged = ledger.pegged();
        let money = ledger.coin(pegged, 1_000, Lock::Taproot, Blinding::Explicit);
        let nonce = *token.secrets.asset_bf.into_inner().as_ref();
        let again = Issue { nonce, entropy: entropy.to_byte_array(), amount: 77, tokens: 0, blinded };
        let pays = [
            Pay::new(asset, 77, Lock::P2wpkh.script(), Blinding::Both),
            Pay::new(token.secrets.asset, 1, Lock::P2wpkh.script(), Blinding::Both),
        ];
        let transaction = ledger.issuing_transaction(&[token, money], &[again], &pays, 1_000);
        let effects = ledger.verify(&transaction).unwrap();
        let record = &effects.issuances[0];
        assert_eq!((record.asset, record.contract_hash, record.token_amount), (asset, None, Some(0)));
        assert_eq!(record.amount, (!blinded).then_some(77));
    }
}

#[test]
fn identifiers_of_assets_are_those_of_elements() {
    // The pegged asset of a custom chain without options: its entropy is made like that of any issuance.
    let commit = hex::decode("ff044db9d9bd6adcfc5c5ed45f5f2e87c1ae7e114ccd29a547638d5e739a25f7").unwrap();
    let parent = hex::decode("06226e46111a0b59caaf126043eb5bbf28c34f3a5e332a1fc7b2b73cf188910f").unwrap();
    let txid = Txid::from_byte_array(commit.try_into().unwrap());
    let mut input = crate::primitives::TxIn { previous_output: elements::OutPoint::new(txid, 0), ..Default::default() };
    input.asset_issuance.asset_entropy = elements::AssetEntropy::from_byte_array(parent.try_into().unwrap());
    input.asset_issuance.amount = elements::confidential::Value::Explicit(1);
    let (_, asset, _) = issued_assets(&input).unwrap();
    assert_eq!(asset.to_string(), "8a63e6baa239f8d1b99f8d79ac0d6532e9b511f0bba9ac7b8cf0669b68acc3a8");
}

#[test]
fn burns_and_pegouts_are_counted() {
    let mut ledger = Ledger::new(40);
    let pegged = ledger.pegged();
    let gold = AssetId::from_byte_array([0x60; 32]);
    let genesis = bitcoin::hashes::Hash::to_byte_array(ledger.params.parent_genesis());
    let destination = [vec![0x00, 0x14], vec![9; 20]].concat();
    let pegout = elements::script::Builder::new()
        .push_opcode(elements::opcodes::all::OP_RETURN)
        .push_slice(&genesis)
        .push_slice(&destination)
        .into_script();
    let burn = Script::from(vec![0x6a]);
    let coins = [
        ledger.coin(pegged, 50_000, Lock::P2wpkh, Blinding::Both),
        ledger.coin(gold, 40, Lock::P2wpkh, Blinding::Explicit),
    ];
    let pays = [
        Pay::new(gold, 30, burn.clone(), Blinding::Explicit),
        Pay::new(gold, 10, Lock::P2wpkh.script(), Blinding::Explicit),
        Pay::new(pegged, 20_000, pegout, Blinding::Explicit),
        Pay::new(pegged, 500, burn.clone(), Blinding::Explicit),
        // An explicit nothing may stand where nobody can spend it.
        Pay::new(pegged, 0, burn.clone(), Blinding::Explicit),
        // And a range proof may allow zero there.
        Pay { range: (0, 36), ..Pay::new(gold, 0, burn, Blinding::Both) },
        Pay::new(pegged, 29_000, Lock::P2wpkh.script(), Blinding::Both),
    ];
    let transaction = ledger.transaction(&coins, &pays, 500);
    let effects = ledger.verify(&transaction).unwrap();
    assert_eq!(effects.burned, BTreeMap::from([(gold, 30), (pegged, 500)]));
    let [request] = effects.pegouts.as_slice() else { panic!("one peg-out") };
    assert_eq!((request.amount_sat, request.outpoint.vout), (20_000, 2));
    assert_eq!(request.parent_script.as_bytes(), destination);
    assert_eq!(effects.created.len(), 2);
}

#[test]
fn a_64_bit_range_proof_is_accepted_as_in_elements() {
    let mut ledger = Ledger::new(41);
    let pegged = ledger.pegged();
    let coin = ledger.coin(pegged, 10_000, Lock::P2wpkh, Blinding::Both);
    // To somebody who may spend it the minimum must be 1, which leaves room for 63 bits and a little; a burn may be 64.
    let burn = Script::from(vec![0x6a, 0x01, 0x02]);
    let pays = [
        Pay { range: (0, 64), ..Pay::new(pegged, 4_000, burn, Blinding::Both) },
        Pay { range: (1, 63), ..Pay::new(pegged, 5_000, Lock::P2wpkh.script(), Blinding::Both) },
    ];
    let transaction = ledger.transaction(&[coin], &pays, 1_000);
    ledger.verify(&transaction).unwrap();
}

#[test]
fn discounted_size_leaves_out_proofs_and_commitments() {
    let mut ledger = Ledger::new(42);
    let pegged = ledger.pegged();
    let coin = ledger.coin(pegged, 10_000, Lock::P2wpkh, Blinding::Both);
    let script = Lock::P2wpkh.script();
    let blinded = [Pay::new(pegged, 9_000, script.clone(), Blinding::Both)];
    let plain = [Pay::new(pegged, 9_000, script, Blinding::Explicit)];
    let blinded = ledger.transaction(std::slice::from_ref(&coin), &blinded, 1_000);
    let mut plain = ledger.transaction(std::slice::from_ref(&coin), &plain, 1_000);
    // Equally long signatures.
    plain.input[0].witness = blinded.input[0].witness.clone();
    assert_eq!(discount_vsize(&blinded), discount_vsize(&plain));
    assert_eq!(discount_vsize(&plain), plain.weight().div_ceil(4));
    assert_eq!(fee_in(&blinded, pegged), 1_000);
    assert_eq!(fee_in(&blinded, AssetId::from_byte_array([1; 32])), 0);
    assert_eq!(sigop_cost(&blinded, &[coin.output]), 1);
}

#[test]
fn outputs_made_by_one_transaction_can_be_spent_by_the_next_after_apply_and_undone() {
    let mut ledger = Ledger::new(44);
    let pegged = ledger.pegged();
    let coin = ledger.coin(pegged, 10_000, Lock::P2wpkh, Blinding::Explicit);
    let pays = [Pay::new(pegged, 9_000, Lock::P2wpkh.script(), Blinding::Explicit)];
    let first = ledger.transaction(std::slice::from_ref(&coin), &pays, 1_000);
    let effects = ledger.verify(&first).unwrap();
    let next = Owned {
        outpoint: elements::OutPoint::new(first.txid(), 0),
        output: first.output[0].clone(),
        secrets: elements::TxOutSecrets { value: 9_000, ..coin.secrets },
        lock: Lock::P2wpkh,
    };
    let pays = [Pay::new(pegged, 8_000, Lock::P2wpkh.script(), Blinding::Explicit)];
    let mut second = ledger.transaction(std::slice::from_ref(&next), &pays, 1_000);
    second.input[0].sequence = elements::Sequence::MAX;
    sign(&ledger.params, &mut second, &[next]);
    assert!(ledger.verify(&second).unwrap_err().is_missing_input());
    ledger.view.apply(&effects);
    ledger.verify(&second).unwrap();
    assert!(ledger.verify(&first).unwrap_err().is_missing_input());
    ledger.view.undo(&effects);
    ledger.verify(&first).unwrap();
}
