//! What scripts see of their transaction.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use bitcoin::hashes::{Hash, sha256};
use elements::encode::serialize;

use super::super::ScriptError;
use super::super::opcode::*;
use super::testing::{stack, tap, transaction, v0, value_commitment};

#[test]
fn inputs() {
    let zero: &[u8] = &[];
    assert_eq!(tap([zero], &[INSPECTINPUTOUTPOINT]), Ok(stack([&[0x11; 32], &[5, 0, 0, 0], &[0]])));
    assert_eq!(
        tap([&[1]], &[INSPECTINPUTOUTPOINT]),
        Ok(stack([&[0x22; 32], &[6, 0, 0, 0], &[0xc0]])),
        "flags of peg-in and issuance, index without them"
    );
    assert_eq!(tap([&[1]], &[INSPECTINPUTASSET]), Ok(stack([&[4; 32], &[1]])));
    assert_eq!(tap([zero], &[INSPECTINPUTVALUE]), Ok(stack([&[77, 0, 0, 0, 0, 0, 0, 0], &[1]])));
    let commitment = serialize(&value_commitment());
    assert_eq!(tap([&[1]], &[INSPECTINPUTVALUE]), Ok(stack([&commitment[1..], &commitment[..1]])));
    assert_eq!(tap([zero], &[INSPECTINPUTSCRIPTPUBKEY]), Ok(stack([&[8; 32], &[1]])));
    let hash = sha256::Hash::hash(&[0x52, 0x53]).to_byte_array();
    assert_eq!(tap([&[1]], &[INSPECTINPUTSCRIPTPUBKEY]), Ok(stack([&hash, &[0x81]])), "no witness program");
    assert_eq!(tap([&[1]], &[INSPECTINPUTSEQUENCE]), Ok(stack([&[8, 0, 0, 0]])));
    assert_eq!(tap([], &[PUSHCURRENTINPUTINDEX]), Ok(stack([&[]])));
}

#[test]
fn issuances() {
    assert_eq!(tap([&[]], &[INSPECTINPUTISSUANCE]), Ok(stack([&[]])), "none");
    let amount = 1_000u64.to_le_bytes();
    // No tokens: a null value is an explicit zero.
    let expected = stack([&[0; 8], &[1], &amount, &[1], &[0x33; 32], &[0; 32]]);
    assert_eq!(tap([&[1]], &[INSPECTINPUTISSUANCE]), Ok(expected));
}

#[test]
fn outputs() {
    let zero: &[u8] = &[];
    assert_eq!(tap([&[1]], &[INSPECTOUTPUTASSET]), Ok(stack([&[2; 32], &[1]])));
    assert_eq!(tap([&[1]], &[INSPECTOUTPUTVALUE]), Ok(stack([&[4, 3, 2, 1, 0, 0, 0, 0], &[1]])), "little-endian");
    let commitment = serialize(&value_commitment());
    assert_eq!(tap([zero], &[INSPECTOUTPUTVALUE]), Ok(stack([&commitment[1..], &commitment[..1]])));
    assert_eq!(tap([zero], &[INSPECTOUTPUTNONCE]), Ok(stack([&[2; 33]])), "with its prefix");
    assert_eq!(tap([&[1]], &[INSPECTOUTPUTNONCE]), Ok(stack([zero])));
    assert_eq!(tap([zero], &[INSPECTOUTPUTSCRIPTPUBKEY]), Ok(stack([&[9; 20], zero])), "version 0 is empty");
    let hash = sha256::Hash::hash(&[0x51]).to_byte_array();
    assert_eq!(tap([&[1]], &[INSPECTOUTPUTSCRIPTPUBKEY]), Ok(stack([&hash, &[0x81]])));
}

#[test]
fn the_transaction() {
    assert_eq!(tap([], &[INSPECTVERSION, INSPECTLOCKTIME]), Ok(stack([&[2, 0, 0, 0], &[0xf4, 1, 0, 0]])));
    assert_eq!(tap([], &[INSPECTNUMINPUTS, INSPECTNUMOUTPUTS]), Ok(stack([&[2], &[2]])));
    let weight = u64::try_from(transaction().0.weight()).unwrap();
    assert_eq!(tap([], &[TXWEIGHT]), Ok(stack([&weight.to_le_bytes()])));
}

#[test]
fn what_is_not_there_and_where_it_may_not_be_asked() {
    for opcode in INSPECTINPUTOUTPOINT..=INSPECTOUTPUTSCRIPTPUBKEY {
        if opcode == PUSHCURRENTINPUTINDEX {
            continue;
        }
        assert_eq!(tap([&[2]], &[opcode]), Err(ScriptError::IntrospectIndexOutOfBounds(2)));
        assert_eq!(tap([&[0x81]], &[opcode]), Err(ScriptError::IntrospectIndexOutOfBounds(-1)));
        assert_eq!(tap([], &[opcode]), Err(ScriptError::InvalidStackOperation(opcode)));
        assert_eq!(tap([&[0; 5]], &[opcode]), Err(ScriptError::Number(5)));
    }
    for opcode in SHA256INITIALIZE..=TWEAKVERIFY {
        assert_eq!(v0([&[], &[], &[]], &[opcode]), Err(ScriptError::BadOpcode(opcode)));
    }
}
