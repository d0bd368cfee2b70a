//! For tests of opcodes: a transaction to run scripts in, and ways to write scripts.

#![allow(clippy::unwrap_used)]

use elements::confidential::{Asset, Value};
use elements::{AssetEntropy, AssetId, BlockHash, LockTime, OutPoint, Script, Sequence, Txid};
use secp256k1_zkp::{Generator, PedersenCommitment, SECP256K1, Tag, Tweak};

use super::super::checker::ScriptVersion;
use super::super::machine::{Stack, Tapscript, run};
use super::super::reader::push_of;
use super::super::{Flags, ScriptError, SighashData, TransactionChecker};
use crate::primitives::{Nonce, Transaction, TxIn, TxOut};

/// Bytes as a stack has them.
pub(super) fn stack<const N: usize>(elements: [&[u8]; N]) -> Stack {
    elements.iter().map(|element| element.to_vec()).collect()
}

/// A script that pushes elements and then runs opcodes.
pub(super) fn script<const N: usize>(elements: [&[u8]; N], opcodes: &[u8]) -> Vec<u8> {
    let mut script: Vec<u8> = elements.iter().flat_map(|element| push_of(element)).collect();
    script.extend_from_slice(opcodes);
    script
}

pub(super) fn value_commitment() -> Value {
    let generator = Generator::new_unblinded(SECP256K1, Tag::from([7; 32]));
    let factor = Tweak::from_slice(&[3; 32]).unwrap();
    Value::Confidential(PedersenCommitment::new(SECP256K1, 21, factor, generator))
}

/// Two inputs, the second a peg-in with an issuance; two outputs, the first blinded in part.
pub(super) fn transaction() -> (Transaction, Vec<TxOut>) {
    let output = |asset: u8, value, nonce, script: Vec<u8>| TxOut {
        asset: Asset::Explicit(AssetId::from_byte_array([asset; 32])),
        value,
        nonce,
        script_pubkey: Script::from(script),
        witness: crate::primitives::TxOutWitness::default(),
    };
    let mut inputs = [(0x11, 5, 7), (0x22, 6, 8)].map(|(txid, vout, sequence)| TxIn {
        previous_output: OutPoint::new(Txid::from_byte_array([txid; 32]), vout),
        sequence: Sequence::from_consensus(sequence),
        ..TxIn::default()
    });
    let [_, second] = &mut inputs;
    second.is_pegin = true;
    second.asset_issuance.amount = Value::Explicit(1_000);
    second.asset_issuance.asset_entropy = AssetEntropy::from_byte_array([0x33; 32]);
    let transaction = Transaction {
        version: 2,
        lock_time: LockTime::from_consensus(500),
        input: inputs.to_vec(),
        output: vec![
            output(
                1,
                value_commitment(),
                Nonce::Confidential(secp256k1_zkp::Parity::Even, [2; 32]),
                [vec![0, 20], vec![9; 20]].concat(),
            ),
            output(2, Value::Explicit(0x0102_0304), Nonce::Null, vec![0x51]),
        ],
    };
    let spent = vec![
        output(3, Value::Explicit(77), Nonce::Null, [vec![0x51, 32], vec![8; 32]].concat()),
        output(4, value_commitment(), Nonce::Null, vec![0x52, 0x53]),
    ];
    (transaction, spent)
}

/// Hands out a checker for the first input of the transaction.
pub(super) fn with_checker<T>(work: impl FnOnce(&TransactionChecker<'_>) -> T) -> T {
    let (transaction, spent) = transaction();
    let data = SighashData::new(&transaction, &spent, BlockHash::from_byte_array([0; 32]));
    work(&TransactionChecker::new(&data, 0).unwrap())
}

/// Runs a script on a stack, as a script of this version in the first input of the transaction, with weight for one
/// signature.
pub(super) fn run_as(version: ScriptVersion, flags: Flags, stack: Stack, script: &[u8]) -> Result<Stack, ScriptError> {
    let tapscript = Tapscript { weight_left: 50, ..Tapscript::default() };
    with_checker(|checker| run(stack, script, flags, version, checker, tapscript))
}

/// Pushes elements and runs opcodes in a tapscript.
pub(super) fn tap<const N: usize>(elements: [&[u8]; N], opcodes: &[u8]) -> Result<Stack, ScriptError> {
    run_as(ScriptVersion::Tapscript, Flags::CONSENSUS, stack(elements), opcodes)
}

/// Pushes elements and runs opcodes in a version 0 script.
pub(super) fn v0<const N: usize>(elements: [&[u8]; N], opcodes: &[u8]) -> Result<Stack, ScriptError> {
    run_as(ScriptVersion::WitnessV0, Flags::CONSENSUS, stack(elements), opcodes)
}
