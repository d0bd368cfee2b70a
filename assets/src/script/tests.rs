//! Spends of every kind: what is signed, what is refused, what is not supported.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::cast_possible_truncation
)]

use elements::confidential::Value;
use elements::sighash::{Annex, Prevouts, SighashCache};
use elements::{AssetId, EcdsaSighashType, SchnorrSighashType, Script};
use secp256k1_zkp::{Keypair, Message, SECP256K1};

use super::sigops::{accurate_sigops, legacy_sigops};
use super::standard::{NonStandardSpend, check_standard};
use super::*;
use crate::fixtures::their_outputs;
use crate::primitives::{Transaction, TxOut, Witness};
use crate::transaction::TxError;
use crate::transaction::testing::{Blinding, Issue, Ledger, Lock, Owned, Pay, secret, sign, sign_as};

/// A transaction with an issuance, three inputs and three outputs, all kinds of blinding.
fn sample(lock: Lock) -> (Ledger, Vec<Owned>, Transaction) {
    let mut ledger = Ledger::new(300);
    let pegged = ledger.pegged();
    let gold = AssetId::from_byte_array([0x60; 32]);
    let coins = vec![
        ledger.coin(pegged, 10_000, lock.clone(), Blinding::Both),
        ledger.coin(gold, 500, lock.clone(), Blinding::Explicit),
        ledger.coin(gold, 300, lock, Blinding::Value),
    ];
    let mut probe = crate::primitives::TxIn { previous_output: coins[0].outpoint, ..Default::default() };
    probe.asset_issuance.amount = Value::Explicit(1);
    probe.asset_issuance.asset_entropy = elements::AssetEntropy::from_byte_array([5; 32]);
    let (_, issued, _) = crate::transaction::issued_assets(&probe).unwrap();
    let issue = Issue { nonce: [0; 32], entropy: [5; 32], amount: 40, tokens: 0, blinded: true };
    let pays = [
        Pay::new(pegged, 9_000, Lock::P2wpkh.script(), Blinding::Both),
        Pay::new(issued, 40, Lock::P2wpkh.script(), Blinding::Asset),
        Pay::new(gold, 800, Lock::P2wpkh.script(), Blinding::Both),
    ];
    let transaction = ledger.issuing_transaction(&coins, &[issue], &pays, 1_000);
    ledger.verify(&transaction).unwrap();
    (ledger, coins, transaction)
}

fn standard(ledger: &Ledger, transaction: &Transaction, spent: &[TxOut]) -> Result<(), NonStandardSpend> {
    check_standard(&SighashData::new(transaction, spent, ledger.params.genesis_hash()))
}

fn spent(coins: &[Owned]) -> Vec<TxOut> {
    coins.iter().map(|coin| coin.output.clone()).collect()
}

#[test]
fn digests_agree_with_those_of_the_elements_crate_where_it_has_them() {
    let (ledger, coins, transaction) = sample(Lock::P2wpkh);
    let spent = spent(&coins);
    let genesis = ledger.params.genesis_hash();
    let data = SighashData::new(&transaction, &spent, genesis);
    let converted = elements::Transaction::try_from(&transaction).unwrap();
    let their_spent = their_outputs(&spent);
    let mut theirs = SighashCache::new(&converted);
    let code = Script::from(vec![0x51; 300]);
    for (vin, output) in spent.iter().enumerate() {
        for kind in [
            EcdsaSighashType::All,
            EcdsaSighashType::None,
            EcdsaSighashType::Single,
            EcdsaSighashType::AllPlusAnyoneCanPay,
            EcdsaSighashType::NonePlusAnyoneCanPay,
            EcdsaSighashType::SinglePlusAnyoneCanPay,
        ] {
            let byte = kind.as_u32() as u8;
            let digest = data.segwit_v0(vin, code.as_bytes(), &output.value, byte).unwrap();
            let expected = theirs.segwitv0_sighash(vin, &code, output.value, kind);
            assert_eq!(digest, expected.to_byte_array(), "input {vin}, {kind:?}");
        }
        for kind in [
            SchnorrSighashType::Default,
            SchnorrSighashType::All,
            SchnorrSighashType::None,
            SchnorrSighashType::Single,
            SchnorrSighashType::AllPlusAnyoneCanPay,
            SchnorrSighashType::NonePlusAnyoneCanPay,
            SchnorrSighashType::SinglePlusAnyoneCanPay,
        ] {
            for annex in [None, Some([0x50, 1, 2].as_slice())] {
                let hash_type = TaprootHashType::new(kind as u8).unwrap();
                let digest = data.taproot_key_path(vin, annex, hash_type).unwrap();
                let prevouts = Prevouts::All(&their_spent);
                let annex = annex.map(|bytes| Annex::new(bytes).unwrap());
                let expected = theirs.taproot_sighash(vin, &prevouts, annex, None, kind, genesis).unwrap();
                assert_eq!(digest, expected.to_byte_array(), "input {vin}, {kind:?}");
            }
        }
    }
}

#[test]
fn sighash_rangeproof_covers_the_proofs_that_its_outputs_have() {
    let (ledger, coins, transaction) = sample(Lock::P2wpkh);
    let spent = spent(&coins);
    let genesis = ledger.params.genesis_hash();
    let mut other = transaction.clone();
    other.output[2].witness.rangeproof = transaction.output[0].witness.rangeproof.clone();
    let digest = |transaction: &Transaction, vin: usize, hash_type: u8| {
        SighashData::new(transaction, &spent, genesis).segwit_v0(vin, &[], &spent[vin].value, hash_type).unwrap()
    };
    let differs = |vin, hash_type| digest(&transaction, vin, hash_type) != digest(&other, vin, hash_type);
    assert!(!differs(0, 0x01) && differs(0, 0x41) && differs(0, 0xc1), "all");
    assert!(!differs(0, 0x42) && !differs(0, 0xc2), "none");
    assert!(!differs(0, 0x43) && !differs(2, 0x03) && differs(2, 0x43) && differs(2, 0xc3), "single");
    // A byte without a defined meaning still means something by its bits: not NONE, not SINGLE, so ALL.
    assert!(!differs(0, 0x00) && differs(0, 0x44) && digest(&transaction, 0, 0) != digest(&transaction, 0, 1));
}

#[test]
fn every_hash_type_is_accepted_when_signed_so() {
    for lock in [Lock::P2wpkh, Lock::NestedP2wsh(2, 3)] {
        let (ledger, coins, mut transaction) = sample(lock);
        for hash_type in [0x01, 0x02, 0x03, 0x41, 0x42, 0x43, 0x81, 0x82, 0x83, 0xc1, 0xc2, 0xc3] {
            sign_as(&ledger.params, &mut transaction, &coins, hash_type);
            ledger.verify(&transaction).unwrap();
            assert_eq!(standard(&ledger, &transaction, &spent(&coins)), Ok(()));
        }
        // Consensus takes any byte; relay does not.
        for hash_type in [0x00, 0x04, 0x1f, 0x5f] {
            sign_as(&ledger.params, &mut transaction, &coins, hash_type);
            ledger.verify(&transaction).unwrap();
            let refused = NonStandardSpend::Script { vin: 0, source: ScriptError::SigHashType(hash_type) };
            assert_eq!(standard(&ledger, &transaction, &spent(&coins)), Err(refused));
        }
    }
}

/// The error of the first input when its witness is changed.
fn refused(lock: Lock, change: impl FnOnce(&mut Vec<Vec<u8>>)) -> ScriptError {
    let (ledger, _, mut transaction) = sample(lock);
    let mut witness = transaction.input[0].witness.script_witness.to_vec();
    change(&mut witness);
    transaction.input[0].witness.script_witness = Witness::from_slice(&witness);
    script_error(ledger.verify(&transaction).unwrap_err())
}

fn script_error(error: TxError) -> ScriptError {
    match error {
        TxError::Script { vin: 0, source } => source,
        other => panic!("{other}"),
    }
}

#[test]
fn wrong_signatures_and_witnesses() {
    for lock in [Lock::P2wpkh, Lock::NestedP2wpkh] {
        assert_eq!(refused(lock.clone(), |w| w[0].clear()), ScriptError::EvalFalse);
        assert_eq!(refused(lock.clone(), |w| w[0][10] ^= 1), ScriptError::EvalFalse);
        assert_eq!(refused(lock.clone(), |w| *w[0].last_mut().unwrap() = 2), ScriptError::EvalFalse);
        assert_eq!(refused(lock.clone(), |w| w[0][0] = 0x31), ScriptError::SigDer);
        assert_eq!(refused(lock.clone(), |w| w[1][5] ^= 1), ScriptError::EqualVerify);
        assert_eq!(refused(lock.clone(), |w| w.push(vec![])), ScriptError::WitnessProgramMismatch);
        assert_eq!(refused(lock.clone(), |w| w[0] = vec![1; 521]), ScriptError::PushSize(521));
        assert_eq!(refused(lock, Vec::clear), ScriptError::WitnessProgramMismatch);
    }
    for lock in [Lock::P2wsh(2, 3), Lock::NestedP2wsh(2, 3)] {
        assert_eq!(refused(lock.clone(), |w| w[2].clear()), ScriptError::EvalFalse);
        assert_eq!(refused(lock.clone(), |w| w[1].clear()), ScriptError::EvalFalse);
        assert_eq!(refused(lock.clone(), |w| w[1][10] ^= 1), ScriptError::EvalFalse);
        assert_eq!(refused(lock.clone(), |w| w.swap(1, 2)), ScriptError::EvalFalse, "out of order");
        assert_eq!(refused(lock.clone(), |w| w[1] = w[2].clone()), ScriptError::EvalFalse, "the same twice");
        assert_eq!(refused(lock.clone(), |w| w[0].push(0)), ScriptError::NullDummy);
        assert_eq!(refused(lock.clone(), |w| w[2][0] = 0x31), ScriptError::SigDer);
        assert_eq!(refused(lock.clone(), |w| w[3][5] ^= 1), ScriptError::WitnessProgramMismatch);
        let short = ScriptError::InvalidStackOperation(opcode::CHECKMULTISIG);
        assert_eq!(refused(lock.clone(), |w| drop(w.remove(1))), short);
        assert_eq!(refused(lock.clone(), |w| w.insert(0, vec![])), ScriptError::CleanStack(2));
        assert_eq!(refused(lock, Vec::clear), ScriptError::WitnessProgramWitnessEmpty);
    }
    let taproot = |change: fn(&mut Vec<Vec<u8>>)| refused(Lock::Taproot, change);
    assert_eq!(taproot(|w| w[0][10] ^= 1), ScriptError::SchnorrSig);
    assert_eq!(taproot(|w| w[0].clear()), ScriptError::SchnorrSigSize(0));
    assert_eq!(taproot(|w| w[0].truncate(63)), ScriptError::SchnorrSigSize(63));
    assert_eq!(taproot(|w| w[0].push(0)), ScriptError::SchnorrSigHashType(0));
    assert_eq!(taproot(|w| w[0].push(0x41)), ScriptError::SchnorrSigHashType(0x41));
    assert_eq!(taproot(|w| w[0].push(1)), ScriptError::SchnorrSig, "signed as default");
    assert_eq!(taproot(|w| w.push(vec![0x50])), ScriptError::SchnorrSig, "signed without an annex");
    assert_eq!(taproot(Vec::clear), ScriptError::WitnessProgramWitnessEmpty);
}

#[test]
fn taproot_signs_with_every_hash_type_and_an_annex() {
    let (ledger, coins, mut transaction) = sample(Lock::Taproot);
    let spent = spent(&coins);
    let keypair = Keypair::from_secret_key(SECP256K1, &secret(0));
    for hash_type in [0x01, 0x02, 0x03, 0x81, 0x82, 0x83] {
        for annex in [None, Some(vec![0x50]), Some(vec![0x50, 1, 2, 3])] {
            let unsigned = transaction.clone();
            let data = SighashData::new(&unsigned, &spent, ledger.params.genesis_hash());
            for vin in 0..3 {
                let known = TaprootHashType::new(hash_type).unwrap();
                let digest = data.taproot_key_path(vin, annex.as_deref(), known).unwrap();
                let signature = SECP256K1.sign_schnorr_no_aux_rand(&Message::from_digest(digest), &keypair);
                let signature = [signature.as_ref().as_slice(), &[hash_type]].concat();
                let witness: Vec<Vec<u8>> = std::iter::once(signature).chain(annex.clone()).collect();
                transaction.input[vin].witness.script_witness = Witness::from_slice(&witness);
            }
            ledger.verify(&transaction).unwrap();
            let found = standard(&ledger, &transaction, &spent);
            let expected = if annex.is_some() { Err(NonStandardSpend::Annex { vin: 0 }) } else { Ok(()) };
            assert_eq!(found, expected);
        }
    }
    // SINGLE without an output at its place.
    let mut few = transaction.clone();
    few.output.truncate(2);
    let data = SighashData::new(&few, &spent, ledger.params.genesis_hash());
    assert_eq!(data.taproot_key_path(2, None, TaprootHashType::new(3).unwrap()), None);
    assert_eq!(data.taproot_key_path(9, None, TaprootHashType::DEFAULT), None);
    assert_eq!(verify_spend(&data, 9), Err(ScriptError::NoSuchInput(9)));
}

#[test]
fn high_s_is_valid_and_not_relayed() {
    let (ledger, coins, mut transaction) = sample(Lock::P2wpkh);
    let mut witness = transaction.input[0].witness.script_witness.to_vec();
    let signature = secp256k1_zkp::ecdsa::Signature::from_der(&witness[0][..witness[0].len() - 1]).unwrap();
    let mut compact = signature.serialize_compact();
    let s = secp256k1_zkp::SecretKey::from_slice(&compact[32..]).unwrap().negate();
    compact[32..].copy_from_slice(&s.secret_bytes());
    let high = secp256k1_zkp::ecdsa::Signature::from_compact(&compact).unwrap();
    witness[0] = [high.serialize_der().as_ref(), &[1]].concat();
    transaction.input[0].witness.script_witness = Witness::from_slice(&witness);
    ledger.verify(&transaction).unwrap();
    assert_eq!(
        standard(&ledger, &transaction, &spent(&coins)),
        Err(NonStandardSpend::Script { vin: 0, source: ScriptError::SigHighS })
    );
}

#[test]
fn script_sigs_are_exactly_what_is_needed() {
    let (ledger, _, mut transaction) = sample(Lock::P2wpkh);
    transaction.input[0].script_sig = Script::from(vec![0x51]);
    // The scriptSig is not signed, so the signature is still right.
    assert_eq!(script_error(ledger.verify(&transaction).unwrap_err()), ScriptError::WitnessMalleated(1));
    for lock in [Lock::NestedP2wpkh, Lock::NestedP2wsh(1, 2)] {
        let (ledger, _, transaction) = sample(lock);
        let exact = transaction.input[0].script_sig.to_bytes();
        let longer_push = [&[76], exact.as_slice()].concat();
        let extra_push = [&[0x51], exact.as_slice()].concat();
        let mut other = exact.clone();
        *other.last_mut().unwrap() ^= 1;
        for (script_sig, expected) in [
            (vec![], ScriptError::InvalidStackOperation(opcode::HASH160)),
            (vec![0xac], ScriptError::InvalidStackOperation(opcode::CHECKSIG)),
            (longer_push, ScriptError::WitnessMalleatedP2sh),
            (extra_push, ScriptError::WitnessMalleatedP2sh),
            (exact[..exact.len() - 1].to_vec(), ScriptError::PushCutShort),
            (other, ScriptError::EvalFalse),
            ([exact.as_slice(), &[opcode::NOP]].concat(), ScriptError::SigPushOnly),
        ] {
            let mut changed = transaction.clone();
            changed.input[0].script_sig = Script::from(script_sig);
            assert_eq!(script_error(ledger.verify(&changed).unwrap_err()), expected);
        }
    }
}

#[test]
fn uncompressed_keys_are_valid_and_not_relayed() {
    use bitcoin::hashes::{Hash, sha256};
    let mut ledger = Ledger::new(303);
    let pegged = ledger.pegged();
    let key = secret(0).public_key(SECP256K1).serialize_uncompressed();
    let script = [&[0x51, 65], key.as_slice(), &[0x51, 0xae]].concat();
    let program = sha256::Hash::hash(&script).to_byte_array();
    let lock = Lock::Raw(Script::from([&[0, 32], program.as_slice()].concat()));
    let coin = ledger.coin(pegged, 1_000, lock, Blinding::Explicit);
    let pays = [Pay::new(pegged, 900, Lock::P2wpkh.script(), Blinding::Explicit)];
    let mut transaction = ledger.transaction(std::slice::from_ref(&coin), &pays, 100);
    let spent = vec![coin.output.clone()];
    let data = SighashData::new(&transaction, &spent, ledger.params.genesis_hash());
    let digest = data.segwit_v0(0, &script, &coin.output.value, 1).unwrap();
    let signature = SECP256K1.sign_ecdsa(&Message::from_digest(digest), &secret(0));
    let signature = [signature.serialize_der().as_ref(), &[1]].concat();
    transaction.input[0].witness.script_witness = Witness::from_slice(&[vec![], signature, script]);
    ledger.verify(&transaction).unwrap();
    let refused = NonStandardSpend::Script { vin: 0, source: ScriptError::WitnessPubkeyType(65) };
    assert_eq!(standard(&ledger, &transaction, &spent), Err(refused));
}

#[test]
fn signature_operations_are_counted_as_in_elements() {
    assert_eq!(legacy_sigops(&[0xac, 0xad, 0xc1, 0xc2]), 4);
    assert_eq!(legacy_sigops(&[0x52, 0xae, 0xaf]), 40);
    assert_eq!(accurate_sigops(&[0x52, 0xae, 0x60, 0xaf, 0xae]), 2 + 16 + 20);
    // Data is not code, and what is cut short ends the count.
    assert_eq!(legacy_sigops(&[2, 0xac, 0xac, 0xac, 76, 2, 0xac]), 1);
    assert_eq!(legacy_sigops(&[77, 1, 0, 0xac, 0xac, 78, 1, 0, 0, 0, 0xac, 0xac]), 2);

    for (lock, inputs) in [
        (Lock::P2wpkh, 3),
        (Lock::NestedP2wpkh, 3),
        (Lock::P2wsh(2, 3), 9),
        (Lock::NestedP2wsh(2, 3), 9),
        (Lock::P2wsh(17, 19), 60),
        (Lock::Taproot, 0),
    ] {
        let (_, coins, mut transaction) = sample(lock);
        assert_eq!(sigop_cost(&transaction, &spent(&coins)), inputs);
        transaction.output[0].script_pubkey = Script::from(vec![0xae]);
        assert_eq!(sigop_cost(&transaction, &spent(&coins)), inputs + 80);
    }
    // P2SH of an ordinary script: its operations count four times, by number of keys.
    let (_, coins, mut transaction) = sample(Lock::P2wpkh);
    let mut spent = spent(&coins);
    spent[0].script_pubkey = Script::from([vec![0xa9, 0x14], vec![1; 20], vec![0x87]].concat());
    transaction.input[0].script_sig = Script::from(vec![3, 0x52, 0x53, 0xae]);
    assert_eq!(sigop_cost(&transaction, &spent), 3 * 4 + 2);
    transaction.input[0].is_pegin = true;
    assert_eq!(sigop_cost(&transaction, &spent), 2, "peg-ins count as segwit only");
    assert_eq!(sigop_cost(&transaction, &[]), 0, "a coinbase spends nothing");
}

#[test]
fn a_signature_is_for_one_chain_with_taproot() {
    let (mut ledger, coins, mut transaction) = sample(Lock::Taproot);
    ledger.params.name = "another".to_owned();
    let error = script_error(ledger.verify(&transaction).unwrap_err());
    assert_eq!(error, ScriptError::SchnorrSig);
    sign(&ledger.params, &mut transaction, &coins);
    // The pegged asset is another too, but nothing in the transaction depends on that.
    ledger.verify(&transaction).unwrap();
}
