//! Every family of scripts, spent in whole transactions.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::as_conversions)]

use bitcoin::hashes::{Hash, hash160, sha256};
use elements::sighash::{Annex, Prevouts, SighashCache};
use elements::taproot::{LeafVersion, TapLeafHash, TaprootBuilder};
use elements::{EcdsaSighashType, SchnorrSighashType, Script};
use secp256k1_zkp::{Keypair, Message, SECP256K1, XOnlyPublicKey};

use super::reader::push_of;
use super::*;
use crate::fixtures::their_outputs;
use crate::primitives::{Transaction, TxOut, Witness};
use crate::transaction::TxError;
use crate::transaction::testing::{Blinding, Ledger, Lock, Pay, secret};

/// A ledger and a transaction that spends one output with this script, and what it spends.
struct Spend {
    ledger: Ledger,
    transaction: Transaction,
    spent: Vec<TxOut>,
}

impl Spend {
    fn of(script: Vec<u8>) -> Self {
        let mut ledger = Ledger::new(310);
        let pegged = ledger.pegged();
        let coin = ledger.coin(pegged, 1_000, Lock::Raw(Script::from(script)), Blinding::Value);
        let spent = vec![coin.output.clone()];
        let pays = [Pay::new(pegged, 900, Lock::P2wpkh.script(), Blinding::Both)];
        let mut transaction = ledger.transaction(&[coin], &pays, 100);
        transaction.input[0].witness.script_witness.clear();
        Self { ledger, transaction, spent }
    }

    fn data(&self) -> SighashData<'_> {
        SighashData::new(&self.transaction, &self.spent, self.ledger.params.genesis_hash())
    }

    /// An ECDSA signature by the first key, as it stands in a script.
    fn ecdsa(&self, script_code: &[u8], hash_type: u8, version: ScriptVersion) -> Vec<u8> {
        let data = self.data();
        let checker = TransactionChecker::new(&data, 0).unwrap();
        let digest = checker.ecdsa_digest(script_code, hash_type, version, Flags::CONSENSUS).unwrap();
        let signature = SECP256K1.sign_ecdsa(&Message::from_digest(digest), &secret(0));
        [signature.serialize_der().as_ref(), &[hash_type]].concat()
    }

    fn with(&mut self, script_sig: Vec<u8>, witness: &[Vec<u8>]) -> &mut Self {
        self.transaction.input[0].script_sig = Script::from(script_sig);
        self.transaction.input[0].witness.script_witness = Witness::from_slice(witness);
        self
    }

    /// The verdict of the ledger, by the rules for blocks.
    fn verdict(&self) -> Result<(), ScriptError> {
        match self.ledger.verify(&self.transaction) {
            Ok(_) => Ok(()),
            Err(TxError::Script { vin: 0, source }) => Err(source),
            Err(other) => panic!("{other}"),
        }
    }

    /// The verdict of the interpreter by the rules for relay.
    fn standard(&self) -> Result<(), ScriptError> {
        verify_spend_under(&self.data(), 0, Flags::STANDARD)
    }
}

fn key() -> [u8; 33] {
    secret(0).public_key(SECP256K1).serialize()
}

fn p2sh(redeem: &[u8]) -> Vec<u8> {
    [&[opcode::HASH160, 20], hash160::Hash::hash(redeem).to_byte_array().as_slice(), &[opcode::EQUAL]].concat()
}

fn p2wsh(script: &[u8]) -> Vec<u8> {
    [&[0, 32], sha256::Hash::hash(script).to_byte_array().as_slice()].concat()
}

#[test]
fn scripts_without_witness() {
    let p2pk = [push_of(&key()), vec![opcode::CHECKSIG]].concat();
    let hash = hash160::Hash::hash(&key()).to_byte_array();
    let p2pkh = [&[0x76, 0xa9, 20], hash.as_slice(), &[0x88, 0xac]].concat();
    let multisig = [vec![opcode::OP_1], push_of(&key()), vec![opcode::OP_1, opcode::CHECKMULTISIG]].concat();
    for (script, before, after) in
        [(p2pk, vec![], vec![]), (p2pkh, vec![], push_of(&key())), (multisig, vec![opcode::OP_0], vec![])]
    {
        for hash_type in [0x01, 0x02, 0x03, 0x41, 0x43, 0x81, 0xc3] {
            let satisfy = |spend: &Spend| {
                let signature = spend.ecdsa(&script, hash_type, ScriptVersion::Base);
                [before.clone(), push_of(&signature), after.clone()].concat()
            };
            let mut bare = Spend::of(script.clone());
            let script_sig = satisfy(&bare);
            bare.with(script_sig.clone(), &[]);
            assert_eq!((bare.verdict(), bare.standard()), (Ok(()), Ok(())));
            let mut nested = Spend::of(p2sh(&script));
            let inner = satisfy(&nested);
            nested.with([inner, push_of(&script)].concat(), &[]);
            assert_eq!((nested.verdict(), nested.standard()), (Ok(()), Ok(())));

            bare.with(script_sig.clone(), &[vec![]]);
            assert_eq!(bare.verdict(), Err(ScriptError::WitnessUnexpected));
            bare.with(script_sig, &[]);
            bare.transaction.lock_time = elements::LockTime::from_consensus(1);
            assert_eq!(bare.verdict(), Err(ScriptError::EvalFalse), "something that is signed has changed");
        }
    }
}

#[test]
fn digests_without_witness_agree_with_those_of_the_elements_crate() {
    let spend = Spend::of(vec![opcode::OP_1]);
    let converted = elements::Transaction::try_from(&spend.transaction).unwrap();
    let (data, theirs) = (spend.data(), SighashCache::new(&converted));
    let code = vec![opcode::OP_1; 300];
    for kind in [
        EcdsaSighashType::All,
        EcdsaSighashType::None,
        EcdsaSighashType::Single,
        EcdsaSighashType::AllPlusAnyoneCanPay,
        EcdsaSighashType::NonePlusAnyoneCanPay,
        EcdsaSighashType::SinglePlusAnyoneCanPay,
    ] {
        let byte = u8::try_from(kind.as_u32()).unwrap();
        let expected = theirs.legacy_sighash(0, &Script::from(code.clone()), kind).to_byte_array();
        assert_eq!(data.legacy(0, &code, byte, Flags::CONSENSUS), Some(expected), "{kind:?}");
        assert_ne!(data.legacy(0, &code, byte | 0x40, Flags::CONSENSUS), Some(expected));
        // CODESEPARATORs are not signed.
        let separated = [[opcode::CODESEPARATOR].as_slice(), &code].concat();
        assert_eq!(data.legacy(0, &separated, byte, Flags::CONSENSUS), Some(expected));
    }
    assert_eq!(data.legacy(1, &code, 1, Flags::CONSENSUS), None);
}

#[test]
fn range_proofs_are_covered_where_the_hash_type_says_so() {
    let spend = Spend::of(vec![opcode::OP_1]);
    let mut other = Spend::of(vec![opcode::OP_1]);
    other.transaction.output[0].witness = crate::primitives::TxOutWitness::default();
    let differs = |hash_type: u8, flags: Flags| {
        spend.data().legacy(0, &[], hash_type, flags) != other.data().legacy(0, &[], hash_type, flags)
    };
    for hash_type in [0x41, 0x43, 0xc1, 0xc3] {
        assert!(differs(hash_type, Flags::CONSENSUS), "{hash_type:#x}");
        assert!(!differs(hash_type, Flags::NONE) && !differs(hash_type & !0x40, Flags::CONSENSUS), "{hash_type:#x}");
    }
    assert!(!differs(0x42, Flags::CONSENSUS), "no output is signed");
    let amount = &spend.spent[0].value;
    let segwit = |flags| spend.data().segwit_v0_under(0, &[], amount, 0x41, flags);
    assert_ne!(segwit(Flags::CONSENSUS), segwit(Flags::NONE));
}

#[test]
fn any_script_in_a_version_0_witness() {
    let script = [vec![opcode::NOP, opcode::CODESEPARATOR], push_of(&key()), vec![opcode::CHECKSIG]].concat();
    for nested in [false, true] {
        let program = p2wsh(&script);
        let mut spend = Spend::of(if nested { p2sh(&program) } else { program.clone() });
        let script_sig = if nested { push_of(&program) } else { vec![] };
        // What follows the CODESEPARATOR is signed.
        let signature = spend.ecdsa(&script[2..], 1, ScriptVersion::WitnessV0);
        spend.with(script_sig.clone(), &[signature, script.clone()]);
        assert_eq!((spend.verdict(), spend.standard()), (Ok(()), Ok(())));
        let signature = spend.ecdsa(&script, 1, ScriptVersion::WitnessV0);
        spend.with(script_sig, &[signature, script.clone()]);
        assert_eq!(spend.verdict(), Err(ScriptError::EvalFalse));
    }
    let mut two = Spend::of(p2wsh(&[opcode::OP_1]));
    two.with(vec![], &[vec![1], vec![opcode::OP_1]]);
    assert_eq!(two.verdict(), Err(ScriptError::CleanStack(2)));
}

#[test]
fn lock_times_in_scripts() {
    let script = |opcode: u8, time: u8| vec![1, time, opcode];
    for (opcode, time, expected) in [
        (opcode::CHECKLOCKTIMEVERIFY, 100, Ok(())),
        (opcode::CHECKLOCKTIMEVERIFY, 101, Err(ScriptError::UnsatisfiedLockTime(101))),
        (opcode::CHECKLOCKTIMEVERIFY, 0x81, Err(ScriptError::NegativeLockTime(-1))),
        (opcode::CHECKSEQUENCEVERIFY, 5, Ok(())),
        (opcode::CHECKSEQUENCEVERIFY, 6, Err(ScriptError::UnsatisfiedLockTime(6))),
        (opcode::NOP4, 100, Ok(())),
    ] {
        let mut spend = Spend::of(script(opcode, time));
        spend.transaction.lock_time = elements::LockTime::from_consensus(100);
        spend.transaction.input[0].sequence = elements::Sequence::from_consensus(5);
        assert_eq!(verify_spend(&spend.data(), 0), expected);
        if opcode == opcode::NOP4 {
            assert_eq!(spend.standard(), Err(ScriptError::DiscourageUpgradableNops(opcode)));
        } else if expected.is_ok() {
            spend.transaction.input[0].sequence = elements::Sequence::MAX;
            assert_eq!(verify_spend(&spend.data(), 0), Err(ScriptError::UnsatisfiedLockTime(i64::from(time))));
        }
    }
}

/// An output with two leaves, this one and another, and the control block for this one.
fn tree(leaf: &[u8], version: u8) -> (Vec<u8>, Vec<u8>) {
    let internal = Keypair::from_secret_key(SECP256K1, &secret(3)).x_only_public_key().0;
    let (leaf, version) = (Script::from(leaf.to_vec()), LeafVersion::from_u8(version).unwrap());
    let info = TaprootBuilder::new()
        .add_leaf_with_ver(1, leaf.clone(), version)
        .unwrap()
        .add_leaf(1, Script::from(vec![opcode::RETURN]))
        .unwrap()
        .finalize(SECP256K1, internal)
        .unwrap();
    let output = [&[opcode::OP_1, 32], info.output_key().into_inner().serialize().as_slice()].concat();
    (output, info.control_block(&(leaf, version)).unwrap().serialize())
}

fn x_only() -> (Keypair, XOnlyPublicKey) {
    let keypair = Keypair::from_secret_key(SECP256K1, &secret(0));
    (keypair, keypair.x_only_public_key().0)
}

#[test]
fn tapscript_signs_leaf_code_separator_and_annex() {
    let (keypair, key) = x_only();
    // The opcode at position 1 is the CODESEPARATOR.
    let leaf = [vec![opcode::NOP, opcode::CODESEPARATOR], push_of(&key.serialize()), vec![opcode::CHECKSIG]].concat();
    let (output, control) = tree(&leaf, 0xc4);
    let mut spend = Spend::of(output);
    let leaf_hash = TapLeafHash::from_script(&Script::from(leaf.clone()), LeafVersion::from_u8(0xc4).unwrap());
    for annex in [None, Some(vec![0x50, 1, 2])] {
        for kind in [SchnorrSighashType::Default, SchnorrSighashType::Single, SchnorrSighashType::AllPlusAnyoneCanPay] {
            // The digest of the other library.
            let sign = |transaction: &Transaction, position: u32| {
                let digest = SighashCache::new(&elements::Transaction::try_from(transaction).unwrap())
                    .taproot_sighash(
                        0,
                        &Prevouts::All(&their_outputs(&spend.spent)),
                        annex.as_deref().map(|annex| Annex::new(annex).unwrap()),
                        Some((leaf_hash, position)),
                        kind,
                        spend.ledger.params.genesis_hash(),
                    )
                    .unwrap();
                let signature =
                    SECP256K1.sign_schnorr_no_aux_rand(&Message::from_digest(digest.to_byte_array()), &keypair);
                let hash_type = [kind as u8];
                let suffix = if kind == SchnorrSighashType::Default { &[] } else { hash_type.as_slice() };
                let elements = [[signature.as_ref(), suffix].concat(), leaf.clone(), control.clone()];
                elements.into_iter().chain(annex.clone()).collect::<Vec<_>>()
            };
            let (right, wrong) = (sign(&spend.transaction, 1), sign(&spend.transaction, 0));
            spend.with(vec![], &right);
            assert_eq!(spend.verdict(), Ok(()), "{kind:?}");
            spend.with(vec![], &wrong);
            assert_eq!(spend.verdict(), Err(ScriptError::SchnorrSig), "{kind:?}");
        }
    }
}

#[test]
fn control_blocks() {
    let leaf = vec![opcode::OP_1];
    let (output, control) = tree(&leaf, 0xc4);
    let mut spend = Spend::of(output);
    let mut verdict = |control: &[u8], leaf: &[u8]| spend.with(vec![], &[leaf.to_vec(), control.to_vec()]).verdict();
    assert_eq!(verdict(&control, &leaf), Ok(()));
    assert_eq!(verdict(&control, &[opcode::OP_1, opcode::NOP]), Err(ScriptError::WitnessProgramMismatch));
    for byte in [0, 5, 40] {
        let mut changed = control.clone();
        changed[byte] ^= 1;
        assert_eq!(verdict(&changed, &leaf), Err(ScriptError::WitnessProgramMismatch), "byte {byte}");
    }
    for length in [0, 32, 34, 64, 33 + 129 * 32] {
        let mut other = control.clone();
        other.resize(length, 1);
        assert_eq!(verdict(&other, &leaf), Err(ScriptError::TaprootWrongControlSize(length)));
    }
}

#[test]
fn opcodes_that_make_a_tapscript_succeed() {
    for success in [80, 98, 137, 142, 151, 187, 191, 229, 254] {
        // Whatever stands behind it, and however large the elements are.
        let leaf = vec![opcode::RETURN, success, 0x4e];
        let (output, control) = tree(&leaf, 0xc4);
        let mut spend = Spend::of(output);
        spend.with(vec![], &[vec![1; 600], leaf, control]);
        assert_eq!(spend.verdict(), Ok(()));
        assert_eq!(spend.standard(), Err(ScriptError::DiscourageOpSuccess(success)));
    }
    for (other, expected) in [
        (vec![0x4e, 80], ScriptError::PushCutShort),
        (vec![255], ScriptError::BadOpcode(255)),
        (vec![opcode::INVERT], ScriptError::InvalidStackOperation(opcode::INVERT)),
    ] {
        let (output, control) = tree(&other, 0xc4);
        assert_eq!(Spend::of(output).with(vec![], &[other, control]).verdict(), Err(expected));
    }
}

#[test]
fn what_has_no_meaning_yet_is_valid_and_not_relayed() {
    let discouraged = ScriptError::DiscourageUpgradableWitnessProgram;
    for (version, length) in [(0x52, 32), (0x60, 40), (0x51, 33)] {
        let program = [vec![version, length], vec![1; usize::from(length)]].concat();
        for witness in [vec![], vec![vec![1]]] {
            let mut spend = Spend::of(program.clone());
            spend.with(vec![], &witness);
            assert_eq!((spend.verdict(), spend.standard()), (Ok(()), Err(discouraged(version - 0x50))));
            spend.with(vec![opcode::NOP], &witness);
            assert_eq!(spend.verdict(), Err(ScriptError::WitnessMalleated(1)));
        }
    }
    let mut anchor = Spend::of(vec![opcode::OP_1, 2, 0x4e, 0x73]);
    assert_eq!((anchor.with(vec![], &[]).verdict(), anchor.standard()), (Ok(()), Ok(())));
    // No Taproot inside P2SH.
    let program = [vec![opcode::OP_1, 32], vec![1; 32]].concat();
    let mut nested = Spend::of(p2sh(&program));
    nested.with(push_of(&program), &[vec![1]]);
    assert_eq!((nested.verdict(), nested.standard()), (Ok(()), Err(discouraged(1))));
    let mut short = Spend::of([vec![0, 21], vec![1; 21]].concat());
    assert_eq!(short.with(vec![], &[]).verdict(), Err(ScriptError::WitnessProgramWrongLength(21)));

    let leaf = vec![opcode::RETURN];
    for version in [0xc0, 0xc6, 0x66] {
        let (output, control) = tree(&leaf, version);
        let mut spend = Spend::of(output);
        spend.with(vec![], &[leaf.clone(), control]);
        let refused = Err(ScriptError::DiscourageUpgradableTaprootVersion(version));
        assert_eq!((spend.verdict(), spend.standard()), (Ok(()), refused));
    }
}

#[test]
fn simplicity_is_refused_by_its_name() {
    let program = vec![7; 32];
    let (output, control) = tree(&program, 0xbe);
    let mut spend = Spend::of(output);
    spend.with(vec![], &[vec![], vec![], program.clone(), control.clone()]);
    let error = spend.ledger.verify(&spend.transaction).unwrap_err();
    assert_eq!(error.name(), "unsupported-script-simplicity");
    assert_eq!(spend.verdict(), Err(ScriptError::Unsupported));
    spend.with(vec![], &[vec![], program.clone(), control.clone()]);
    assert_eq!(spend.verdict(), Err(ScriptError::SimplicityWrongLength));
    let mut changed = control;
    changed[0] ^= 1;
    spend.with(vec![], &[vec![], vec![], program, changed]);
    assert_eq!(spend.verdict(), Err(ScriptError::WitnessProgramMismatch), "not even in the tree");
}

#[test]
fn signatures_in_tapscript_are_paid_for_by_the_witness() {
    let (_, key) = x_only();
    // A key of a kind to come takes any signature, and each costs 50.
    let check = [push_of(&[2; 33]), vec![opcode::CHECKSIGVERIFY]].concat();
    let one = [vec![opcode::OP_1], check].concat();
    let leaf = |checks: usize| [one.repeat(checks), vec![opcode::OP_1]].concat();
    // Every check adds 36 bytes to the witness and takes 50 from it; 32 bytes of path and 33 of base are there anyway.
    for (checks, expected) in [(8, Ok(())), (9, Err(ScriptError::TapscriptValidationWeight))] {
        let leaf = leaf(checks);
        let (output, control) = tree(&leaf, 0xc4);
        let size = 1 + (if leaf.len() < 253 { 1 } else { 3 }) + leaf.len() + 1 + control.len() + 50;
        let mut spend = Spend::of(output);
        spend.with(vec![], &[leaf, control]);
        assert_eq!(size >= checks * 50, expected.is_ok(), "{size} for {checks}");
        assert_eq!(spend.verdict(), expected);
    }
    let empty = [vec![opcode::OP_0], push_of(&key.serialize()), vec![opcode::CHECKSIG, opcode::NOT]].concat();
    let (output, control) = tree(&empty, 0xc4);
    assert_eq!(Spend::of(output).with(vec![], &[empty, control]).verdict(), Ok(()), "an empty one is free");
}
