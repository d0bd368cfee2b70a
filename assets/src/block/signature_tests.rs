//! The header's witness: what k-of-n signatures must look like.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeMap;

use bitcoin::hashes::{Hash as _, hash160};
use elements::dynafed::{FullParams, Params};
use elements::{BlockHash, Script};
use secp256k1_zkp::{Message, SECP256K1, SecretKey, ecdsa};

use super::*;
use crate::chain::{ChainParams, Federation};
use crate::fixtures::{block_keys, key, params, sign, unchanged, witness_mut};
use crate::primitives::Block;
use crate::script::ScriptError;
use crate::state::{DynafedEntries, MemoryView};

fn empty_block(params: &ChainParams) -> Block {
    let template = Template {
        height: 1,
        previous: BlockHash::from_byte_array([1; 32]),
        dynafed: unchanged(params, 1),
        time: 1_700_000_000,
        transactions: vec![],
        fees: BTreeMap::new(),
        fee_script: Script::new(),
        commitments: vec![],
    };
    build_block(params, template)
}

fn unsigned() -> Block {
    empty_block(&params())
}

fn signed(signers: &[usize]) -> Block {
    let mut block = unsigned();
    sign(&params(), &mut block, signers);
    block
}

fn check(block: &Block) -> Result<(), BlockError> {
    check_block_signatures(&Federation::without_votes(&params(), 1), &block.header)
}

/// The refusal of a well signed block after a change to its witness.
fn refusal(change: impl FnOnce(&mut Vec<Vec<u8>>)) -> BlockError {
    let mut block = signed(&[0, 2]);
    change(witness_mut(&mut block));
    check(&block).unwrap_err()
}

#[test]
fn every_two_of_three_in_order_are_accepted() {
    for signers in [[0, 1], [0, 2], [1, 2]] {
        check(&signed(&signers)).unwrap();
    }
}

#[test]
fn an_unsigned_header_is_refused() {
    assert!(matches!(check(&unsigned()), Err(BlockError::Unsigned)));
}

#[test]
fn one_signature_less_or_more_is_refused() {
    assert!(matches!(check(&signed(&[0])), Err(BlockError::SignatureCount { found: 1, needed: 2 })));
    assert!(matches!(check(&signed(&[])), Err(BlockError::SignatureCount { found: 0, needed: 2 })));
    let mut limit = params();
    limit.max_block_signature_size = 1000;
    let mut block = empty_block(&limit);
    sign(&limit, &mut block, &[0, 1, 2]);
    let refused = check_block_signatures(&Federation::without_votes(&limit, 1), &block.header);
    assert!(matches!(refused, Err(BlockError::SignatureCount { found: 3, needed: 2 })));
}

#[test]
fn extra_items_are_refused() {
    let error = refusal(|witness| witness.insert(0, vec![]));
    assert!(matches!(error, BlockError::SignatureCount { found: 3, needed: 2 }), "{error}");
}

#[test]
fn the_wrong_order_and_repetitions_are_refused() {
    assert!(matches!(check(&signed(&[2, 0])), Err(BlockError::SignatureOrder { position: 1 })));
    assert!(matches!(check(&signed(&[1, 1])), Err(BlockError::SignatureOrder { position: 1 })));
}

#[test]
fn signatures_of_strangers_and_of_other_blocks_are_refused() {
    let block = signed(&[0, 2]);
    let message = Message::from_digest(block.block_hash().to_byte_array());
    let mut stranger = SECP256K1.sign_ecdsa(&message, &key(66, 1)).serialize_der().to_vec();
    stranger.push(1);
    let error = refusal(|witness| witness[2] = stranger);
    assert!(matches!(error, BlockError::SignatureInvalid { position: 1 }), "{error}");
    let mut block = signed(&[0, 2]);
    block.header.time += 1;
    assert!(matches!(check(&block), Err(BlockError::SignatureInvalid { position: 0 })));
}

#[test]
fn a_high_s_value_is_refused() {
    let block = signed(&[0, 2]);
    let message = Message::from_digest(block.block_hash().to_byte_array());
    let mut compact = SECP256K1.sign_ecdsa(&message, &block_keys()[0]).serialize_compact();
    // -s modulo the order of the group is as good a signature, but for the rule.
    let s = SecretKey::from_slice(&compact[32..]).unwrap().negate();
    compact[32..].copy_from_slice(&s.secret_bytes());
    let mut high = ecdsa::Signature::from_compact(&compact).unwrap().serialize_der().to_vec();
    high.push(1);
    let error = refusal(|witness| witness[1] = high);
    assert!(matches!(error, BlockError::SignatureHighS { position: 0 }), "{error}");
}

#[test]
fn the_sighash_byte_must_be_all() {
    for wrong in [0x00, 0x02, 0x81, 0x41] {
        let error = refusal(|witness| *witness[1].last_mut().unwrap() = wrong);
        assert!(matches!(error, BlockError::SignatureSighash { position: 0, found } if found == wrong), "{error}");
    }
}

#[test]
fn only_strict_der_is_accepted() {
    let error = refusal(|witness| witness[1] = vec![]);
    assert!(matches!(error, BlockError::SignatureEncoding { position: 0 }), "{error}");
    let error = refusal(|witness| witness[1] = vec![0x30, 0, 1]);
    assert!(matches!(error, BlockError::SignatureEncoding { position: 0 }), "{error}");
    // A longer length form of the same signature.
    let error = refusal(|witness| {
        witness[1].insert(1, 0x81);
    });
    assert!(matches!(error, BlockError::SignatureEncoding { position: 0 }), "{error}");
    // A byte between the signature and its sighash byte.
    let error = refusal(|witness| {
        let end = witness[1].len() - 1;
        witness[1].insert(end, 0);
    });
    assert!(matches!(error, BlockError::SignatureEncoding { position: 0 }), "{error}");
}

#[test]
fn the_first_item_must_be_empty() {
    let error = refusal(|witness| witness[0] = vec![1]);
    assert!(matches!(error, BlockError::SignatureDummy), "{error}");
    let error = refusal(|witness| witness[0] = vec![0]);
    assert!(matches!(error, BlockError::SignatureDummy), "{error}");
}

#[test]
fn the_script_must_be_the_signblock_script() {
    let error = refusal(|witness| *witness.last_mut().unwrap() = vec![0x51]);
    assert!(matches!(error, BlockError::SignatureScript), "{error}");
}

#[test]
fn a_witness_over_the_limit_is_refused() {
    let mut params = params();
    params.max_block_signature_size = 200;
    let mut block = empty_block(&params);
    sign(&params, &mut block, &[0, 1]);
    let refused = check_block_signatures(&Federation::without_votes(&params, 1), &block.header);
    assert!(matches!(refused, Err(BlockError::SignatureSize { limit: 200, .. })));
}

#[test]
fn a_header_that_names_another_script_is_refused() {
    let mut other = params();
    other.signblock_script = crate::fixtures::multisig(1, &block_keys());
    let mut block = signed(&[0, 1]);
    let refused = check_block_signatures(&Federation::without_votes(&other, 1), &block.header);
    assert!(matches!(refused, Err(BlockError::DynafedCurrent { height: 1 })));
    block.header.ext = elements::BlockExtData::Proof { challenge: params().signblock_script, solution: Script::new() };
    assert!(matches!(check(&block), Err(BlockError::NotDynafed)));
}

/// A header of height 10 after a vote for another block signing script, with the witness that its hash asks for.
fn after_a_vote(signblockscript: Script, witness: impl FnOnce(&Message) -> Vec<Vec<u8>>) -> Result<(), BlockError> {
    let params = params();
    let proposed = FullParams { signblockscript, ..params.block_one_params() };
    let mut view = MemoryView::default();
    for height in 1..10 {
        let proposed = Params::Full(proposed.clone());
        view.set_dynafed(height, DynafedEntries { proposed, ..unchanged(&params, height) });
    }
    let federation = Federation::at(&params, &view, 10).unwrap();
    assert_eq!(federation.current(), &proposed);
    let mut block = empty_block(&params);
    block.header.height = 10;
    if let elements::BlockExtData::Dynafed { current, .. } = &mut block.header.ext {
        *current = federation.entry();
    }
    *witness_mut(&mut block) = witness(&Message::from_digest(block.block_hash().to_byte_array()));
    check_block_signatures(&federation, &block.header)
}

fn signature(message: &Message, key: &SecretKey) -> Vec<u8> {
    let mut signature = SECP256K1.sign_ecdsa(message, key).serialize_der().to_vec();
    signature.push(1);
    signature
}

#[test]
fn after_a_vote_the_new_signers_sign() {
    let new = key(31, 1);
    let script = crate::fixtures::multisig(1, &[new]);
    let signed_by = |signer: SecretKey| {
        after_a_vote(script.to_v0_p2wsh(), |hash| vec![vec![], signature(hash, &signer), script.to_bytes()])
    };
    signed_by(new).unwrap();
    let refused = signed_by(block_keys()[0]);
    assert!(matches!(refused, Err(BlockError::SignatureInvalid { position: 0 })), "{refused:?}");
}

/// Trap 7.2: the flags of headers give programs of version 1 no meaning.
#[test]
fn anybody_signs_under_a_program_of_a_later_version() {
    let taproot = || Script::from([[0x51, 32].as_slice(), &[7; 32]].concat());
    after_a_vote(taproot(), |_| vec![]).unwrap();
    after_a_vote(taproot(), |_| vec![vec![], vec![9; 40]]).unwrap();
    let refused = after_a_vote(taproot(), |_| vec![vec![0; 400]]);
    assert!(matches!(refused, Err(BlockError::SignatureSize { .. })), "{refused:?}");
}

#[test]
fn other_scripts_than_multisigs_are_run() {
    let op_true = Script::from(vec![0x51]);
    let with = |script: &Script, witness: Vec<Vec<u8>>| after_a_vote(script.to_v0_p2wsh(), |_| witness);
    with(&op_true, vec![op_true.to_bytes()]).unwrap();
    let refused = with(&op_true, vec![vec![1], op_true.to_bytes()]);
    assert_eq!(refused, Err(BlockError::SignatureWitness(ScriptError::CleanStack(2))));
    assert_eq!(with(&op_true, vec![]), Err(BlockError::Unsigned));
    assert_eq!(with(&op_true, vec![vec![0x52]]), Err(BlockError::SignatureScript));
    // CHECKLOCKTIMEVERIFY has no meaning there.
    let timelock = Script::from(vec![0x5a, 0xb1]);
    with(&timelock, vec![timelock.to_bytes()]).unwrap();
    // A program that nothing satisfies.
    let refused = after_a_vote(Script::from(vec![0, 2, 7, 7]), |_| vec![vec![1]]);
    assert_eq!(refused, Err(BlockError::SignatureWitness(ScriptError::WitnessProgramWrongLength(2))));
}

#[test]
fn a_key_hash_is_signed_for_by_its_key() {
    let new = key(31, 1);
    let public = crate::fixtures::public(&new).serialize().to_vec();
    let program = Script::from([[0, 20].as_slice(), hash160::Hash::hash(&public).as_byte_array()].concat());
    after_a_vote(program.clone(), |hash| vec![signature(hash, &new), public.clone()]).unwrap();
    let refused = after_a_vote(program, |hash| vec![signature(hash, &block_keys()[0]), public.clone()]);
    assert_eq!(refused, Err(BlockError::SignatureWitness(ScriptError::EvalFalse)));
}
