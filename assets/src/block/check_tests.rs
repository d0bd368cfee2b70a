//! Blocks that are built are accepted, and each way of spoiling one is refused by its own name.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeMap;

use elements::confidential::{Asset, Value};
use elements::{AssetId, BlockExtData, BlockHash, LockTime, OutPoint, Script, Txid};
use secp256k1_zkp::SecretKey;

use elements::dynafed::{FullParams, Params};

use super::*;
use crate::chain::ChainParams;
use crate::fixtures::{Deposit, coin, key, output, params, spend, unchanged, user_script};
use crate::peg::{PakError, deposit_programs, pegout_script};
use crate::primitives::{Block, Transaction, TxOut, Witness};
use crate::state::{ChainView, Coin, DynafedEntries, Effects, MemoryView, ViewError};

#[path = "coinbase_tests.rs"]
mod coinbase_tests;

const NOW: u32 = 1_700_000_000;

/// A chain of which the rules know the tip, and its state.
struct Chain {
    params: ChainParams,
    tip: ChainTip,
    view: MemoryView,
}

fn alice() -> SecretKey {
    key(21, 1)
}

fn bob() -> SecretKey {
    key(21, 2)
}

fn old_outpoint(number: u8) -> OutPoint {
    OutPoint::new(Txid::from_byte_array([number; 32]), 0)
}

impl Chain {
    /// At height 11, with two coins of 100 000 satoshi of Alice's.
    fn new() -> Self {
        let params = params();
        let mut view = MemoryView::default();
        for number in [1, 2] {
            view.insert(old_outpoint(number), coin(params.pegged_asset(), 100_000, &alice()));
        }
        for height in 0..=11 {
            view.set_median_time_past(height, NOW - 1000);
        }
        // More than there are yet: some tests go on from there, or from elsewhere.
        for height in (1..=31).chain([110, 120]).chain(39_990..40_000) {
            view.set_dynafed(height, unchanged(&params, height));
        }
        let tip = ChainTip { height: 11, hash: BlockHash::from_byte_array([9; 32]), median_time_past: NOW - 1000 };
        Self { params, tip, view }
    }

    fn asset(&self) -> AssetId {
        self.params.pegged_asset()
    }

    fn build(&self, transactions: Vec<Transaction>, fee: u64) -> Block {
        let template = Template {
            height: self.tip.height + 1,
            previous: self.tip.hash,
            dynafed: unchanged(&self.params, self.tip.height + 1),
            time: NOW,
            transactions,
            fees: BTreeMap::from([(self.asset(), fee)]),
            fee_script: user_script(&bob()),
            commitments: vec![Script::new_op_return(b"a batch")],
        };
        build_block(&self.params, template)
    }

    fn check(&self, block: &Block) -> Result<Effects, BlockError> {
        check_block(&self.params, &self.tip, block, &self.view, NOW)
    }

    /// Alice pays from one of her old coins, with a fee of 500.
    fn payment(&self, number: u8) -> Transaction {
        let spent = coin(self.asset(), 100_000, &alice()).output;
        let outputs = vec![output(self.asset(), 99_500, user_script(&bob())), TxOut::new_fee(500, self.asset())];
        spend(old_outpoint(number), &spent, &alice(), outputs)
    }

    /// The refusal of a block with one payment after a change to the block alone.
    fn refusal(&self, change: impl FnOnce(&mut Block)) -> BlockError {
        let mut block = self.build(vec![self.payment(1)], 500);
        change(&mut block);
        self.check(&block).unwrap_err()
    }

    /// The same after a change to the coinbase, with the commitments of the block made good.
    fn coinbase_refusal(&self, change: impl FnOnce(&mut Transaction)) -> BlockError {
        self.refusal(|block| {
            change(&mut block.txdata[0]);
            recommit(block);
        })
    }
}

/// Corrects the witness commitment and the Merkle root.
fn recommit(block: &mut Block) {
    let commitment = witness_commitment(&block.txdata, &[0; 32]);
    let is_commitment = |output: &&mut TxOut| output.script_pubkey.as_bytes().starts_with(&[0x6a, 0x24, 0xaa, 0x21]);
    if let Some(output) = block.txdata[0].output.iter_mut().rev().find(is_commitment) {
        output.script_pubkey = Script::from([[0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed].as_slice(), &commitment].concat());
    }
    let txids: Vec<Txid> = block.txdata.iter().map(Transaction::txid).collect();
    block.header.merkle_root = merkle_root(&txids);
}

#[test]
fn an_empty_block_commits_to_the_well_known_constant() {
    let chain = Chain::new();
    let template = Template {
        height: 12,
        previous: chain.tip.hash,
        dynafed: unchanged(&chain.params, 12),
        time: NOW,
        transactions: vec![],
        fees: BTreeMap::from([(chain.asset(), 1)]),
        fee_script: Script::from(vec![0x51]),
        commitments: vec![],
    };
    let block = build_block(&chain.params, template);
    let constant = "6a24aa21a9ed94f15ed3a62165e4a0b99699cc28b48e19cb5bc1b1f47155db62d63f1e047d45";
    assert_eq!(hex::encode(block.txdata[0].output[1].script_pubkey.as_bytes()), constant);
}

#[test]
fn a_built_block_is_accepted_and_says_what_it_changes() {
    let chain = Chain::new();
    let payment = chain.payment(1);
    let block = chain.build(vec![payment.clone()], 500);
    let effects = chain.check(&block).unwrap();
    assert_eq!(effects.spent.keys().collect::<Vec<_>>(), [&old_outpoint(1)]);
    let fee_coin = &effects.created[&OutPoint::new(block.txdata[0].txid(), 0)];
    assert_eq!((fee_coin.output.value, fee_coin.is_coinbase, fee_coin.height), (Value::Explicit(500), true, 12));
    assert!(effects.created.contains_key(&OutPoint::new(payment.txid(), 0)));
    assert_eq!(effects.created.len(), 2);
    assert_eq!(effects.fees, BTreeMap::from([(chain.asset(), 500)]));
    assert_eq!(effects.burned, BTreeMap::new());
}

#[test]
fn blocks_across_an_epoch_are_accepted() {
    let mut chain = Chain::new();
    for _ in 0..20 {
        let block = chain.build(vec![], 0);
        let effects = chain.check(&block).unwrap();
        assert_eq!(effects.created.len(), 0);
        chain.tip.height += 1;
        chain.tip.hash = block.block_hash();
    }
}

#[test]
fn fees_that_nobody_collects_are_burned() {
    let chain = Chain::new();
    let block = chain.build(vec![chain.payment(1)], 200);
    assert_eq!(chain.check(&block).unwrap().burned, BTreeMap::from([(chain.asset(), 300)]));
    let mut block = chain.build(vec![chain.payment(1)], 500);
    block.txdata[0].output[0].script_pubkey = Script::new_op_return(b"gone");
    recommit(&mut block);
    assert_eq!(chain.check(&block).unwrap().burned, BTreeMap::from([(chain.asset(), 500)]));
}

#[test]
fn later_transactions_may_spend_outputs_of_earlier_ones() {
    let chain = Chain::new();
    let first = chain.payment(1);
    let outputs = vec![output(chain.asset(), 99_000, user_script(&alice())), TxOut::new_fee(500, chain.asset())];
    let second = spend(OutPoint::new(first.txid(), 0), &first.output[0], &bob(), outputs);
    let block = chain.build(vec![first.clone(), second.clone()], 1000);
    let effects = chain.check(&block).unwrap();
    assert!(!effects.created.contains_key(&OutPoint::new(first.txid(), 0)), "made and spent in the block");
    assert!(effects.created.contains_key(&OutPoint::new(second.txid(), 0)));
    assert_eq!(effects.spent.len(), 1);
    // Not the other way round, and not twice.
    let block = chain.build(vec![second, first.clone()], 1000);
    assert!(matches!(chain.check(&block), Err(BlockError::Transaction { position: 1, .. })));
    let mut again = chain.payment(1);
    again.output[0].script_pubkey = user_script(&alice());
    let block = chain.build(vec![first, again], 1000);
    assert!(matches!(chain.check(&block), Err(BlockError::Transaction { position: 2, .. })));
}

#[test]
fn a_deposit_can_be_claimed_once_in_a_block() {
    let chain = Chain::new();
    let programs = deposit_programs(&chain.params, 12, &user_script(&alice())).unwrap();
    let deposit = Deposit::new(&programs[0], 50_000);
    let claim = deposit.claim(&chain.params, &alice(), 300);
    let block = chain.build(vec![claim.clone()], 300);
    let effects = chain.check(&block).unwrap();
    assert_eq!(effects.pegins.len(), 1);
    assert_eq!((effects.pegins[0].deposit, effects.pegins[0].amount_sat), (deposit.outpoint(), 50_000));
    // A second claim in the same block, different only in its fee.
    let second = deposit.claim(&chain.params, &alice(), 400);
    let block = chain.build(vec![claim, second], 700);
    assert!(matches!(chain.check(&block), Err(BlockError::Transaction { position: 2, .. })));
    // And in a later one.
    let mut later = Chain::new();
    later.view.apply(&effects);
    let block = later.build(vec![deposit.claim(&chain.params, &alice(), 400)], 400);
    assert!(matches!(later.check(&block), Err(BlockError::Transaction { position: 1, .. })));
}

#[test]
fn a_header_that_does_not_follow_is_refused() {
    let chain = Chain::new();
    let error = chain.refusal(|block| block.header.prev_blockhash = BlockHash::from_byte_array([8; 32]));
    assert!(matches!(error, BlockError::PreviousBlock { .. }), "{error}");
    let error = chain.refusal(|block| block.header.height = 13);
    assert!(matches!(error, BlockError::Height { found: 13, expected: 12 }), "{error}");
    let error = chain.refusal(|block| {
        block.header.ext = BlockExtData::Proof { challenge: Script::new(), solution: Script::new() };
    });
    assert!(matches!(error, BlockError::NotDynafed), "{error}");
}

#[test]
fn times_outside_the_window_are_refused() {
    let chain = Chain::new();
    let median = chain.tip.median_time_past;
    for time in [0, median - 1, median] {
        let error = chain.refusal(|block| block.header.time = time);
        assert!(matches!(error, BlockError::TimeTooOld { .. }), "{error}");
    }
    let error = chain.refusal(|block| block.header.time = NOW + 7201);
    assert!(matches!(error, BlockError::TimeTooNew { .. }), "{error}");
    for time in [median + 1, NOW + 7200] {
        let mut block = chain.build(vec![], 0);
        block.header.time = time;
        chain.check(&block).unwrap();
    }
}

#[test]
fn reserved_version_bits_and_old_versions_are_refused() {
    let chain = Chain::new();
    for bit in 23..=26 {
        let error = chain.refusal(|block| block.header.version |= 1 << bit);
        assert!(matches!(error, BlockError::Version(_)), "{error}");
    }
    let error = chain.refusal(|block| block.header.version = 3);
    assert!(matches!(error, BlockError::Version(3)), "{error}");
}

#[test]
fn wrong_dynafed_entries_are_refused() {
    let chain = Chain::new();
    let full = Params::Full(chain.params.block_one_params());
    let mut other = chain.params.block_one_params();
    other.signblock_witness_limit += 1;
    let other = other.into_compact();
    // A full entry in the middle of an epoch, a null one, and one with another limit.
    for wrong in [full, Params::Null, other] {
        let error = chain.refusal(|block| {
            if let BlockExtData::Dynafed { current, .. } = &mut block.header.ext {
                *current = wrong;
            }
        });
        assert!(matches!(error, BlockError::DynafedCurrent { height: 12 }), "{error}");
    }
}

#[test]
fn proposals_that_may_be_are_accepted_and_not_signed() {
    let chain = Chain::new();
    let with = |proposal: FullParams| {
        let mut block = chain.build(vec![], 0);
        if let BlockExtData::Dynafed { proposed, .. } = &mut block.header.ext {
            *proposed = Params::Full(proposal);
        }
        block
    };
    let block = with(chain.params.block_one_params());
    chain.check(&block).unwrap();
    let policy = check_federation_policy(&chain.params, &block);
    assert!(matches!(policy, Err(BlockError::ProposalNotAgreed { height: 12 })), "{policy:?}");
    let block = with(FullParams { signblockscript: Script::new(), ..chain.params.block_one_params() });
    let error = chain.check(&block).unwrap_err();
    let source = ProposalError::SignblockScript;
    assert!(matches!(&error, BlockError::DynafedProposal { height: 12, source: found } if *found == source), "{error}");
}

#[test]
fn a_vote_takes_effect_at_the_start_of_the_next_epoch() {
    let mut chain = Chain::new();
    let changed = FullParams { signblock_witness_limit: 400, ..chain.params.block_one_params() };
    for height in 12..=19 {
        let votes = DynafedEntries { proposed: Params::Full(changed.clone()), ..unchanged(&chain.params, height) };
        chain.view.set_dynafed(height, votes);
    }
    chain.tip.height = 19;
    let with = |current: Params| {
        let mut block = chain.build(vec![], 0);
        if let BlockExtData::Dynafed { current: found, .. } = &mut block.header.ext {
            *found = current;
        }
        chain.check(&block).map(drop)
    };
    with(Params::Full(changed.clone())).unwrap();
    for wrong in [changed.into_compact(), Params::Full(chain.params.block_one_params())] {
        let refused = with(wrong);
        assert!(matches!(refused, Err(BlockError::DynafedCurrent { height: 20 })), "{refused:?}");
    }
}

#[test]
fn wrong_merkle_roots_and_repeated_transactions_are_refused() {
    let chain = Chain::new();
    let error = chain.refusal(|block| block.header.merkle_root = merkle_root(&[]));
    assert!(matches!(error, BlockError::MerkleRoot { .. }), "{error}");
    let error = chain.refusal(|block| {
        block.txdata.pop();
    });
    assert!(matches!(error, BlockError::MerkleRoot { .. }), "{error}");
    // Three transactions and the last one again have the root of three (CVE-2012-2459).
    let mut block = chain.build(vec![chain.payment(1), chain.payment(2)], 1000);
    chain.check(&block).unwrap();
    block.txdata.push(block.txdata[2].clone());
    assert!(matches!(chain.check(&block), Err(BlockError::MerkleMutated)));
}

#[test]
fn wrong_witness_commitments_are_refused() {
    let chain = Chain::new();
    // A witness that the commitment does not cover.
    let error = chain.refusal(|block| block.txdata[1].input[0].witness.script_witness.push([1]));
    assert!(matches!(error, BlockError::WitnessCommitment { .. }), "{error}");
    let error =
        chain.refusal(|block| block.txdata[0].input[0].witness.script_witness = Witness::from_slice(&[[1; 32]]));
    assert!(matches!(error, BlockError::WitnessCommitment { .. }), "{error}");
    for wrong in [vec![], vec![vec![0; 31]], vec![vec![0; 32], vec![0; 32]]] {
        let error = chain.refusal(|block| {
            block.txdata[0].input[0].witness.script_witness = Witness::from_slice(&wrong);
        });
        assert!(matches!(error, BlockError::CoinbaseInputWitness), "{error}");
    }
    let error = chain.coinbase_refusal(|coinbase| {
        coinbase.output.pop();
    });
    assert!(matches!(error, BlockError::WitnessCommitmentMissing), "{error}");
}

#[test]
fn missing_and_second_coinbases_are_refused() {
    let chain = Chain::new();
    let error = chain.refusal(|block| {
        block.txdata.remove(0);
        block.header.merkle_root = merkle_root(&[block.txdata[0].txid()]);
    });
    assert!(matches!(error, BlockError::CoinbaseMissing), "{error}");
    let error = chain.refusal(|block| {
        block.txdata.clear();
        block.header.merkle_root = merkle_root(&[]);
    });
    assert!(matches!(error, BlockError::CoinbaseMissing), "{error}");
    let error = chain.refusal(|block| {
        let mut second = block.txdata[0].clone();
        second.version = 1;
        block.txdata.push(second);
        recommit(block);
    });
    assert!(matches!(error, BlockError::CoinbaseSecond { position: 2 }), "{error}");
}

#[test]
fn a_repeated_transaction_with_unspent_outputs_is_refused() {
    let mut chain = Chain::new();
    let block = chain.build(vec![chain.payment(1)], 500);
    let txid = block.txdata[1].txid();
    chain.view.insert(OutPoint::new(txid, 1), coin(chain.asset(), 1, &bob()));
    let error = chain.check(&block).unwrap_err();
    assert!(matches!(error, BlockError::DuplicateTransaction(duplicate) if duplicate == txid), "{error}");
    // The coinbase counts too.
    let mut chain = Chain::new();
    let block = chain.build(vec![], 0);
    chain.view.insert(OutPoint::new(block.txdata[0].txid(), 5), coin(chain.asset(), 1, &bob()));
    assert!(matches!(chain.check(&block), Err(BlockError::DuplicateTransaction(_))));
}

/// A state of which some part cannot be read.
struct Broken<'a> {
    view: &'a MemoryView,
    part: &'static str,
}

impl Broken<'_> {
    fn fail(&self, part: &str) -> Result<(), ViewError> {
        if self.part == part { Err(ViewError(part.to_owned())) } else { Ok(()) }
    }
}

impl ChainView for Broken<'_> {
    fn coin(&self, outpoint: &OutPoint) -> Result<Option<Coin>, ViewError> {
        self.fail("coin").and_then(|()| self.view.coin(outpoint))
    }

    fn is_claimed(&self, deposit: &bitcoin::OutPoint) -> Result<bool, ViewError> {
        self.fail("claim").and_then(|()| self.view.is_claimed(deposit))
    }

    fn median_time_past(&self, height: u32) -> Result<u32, ViewError> {
        self.view.median_time_past(height)
    }

    fn has_unspent_outputs(&self, txid: &Txid) -> Result<bool, ViewError> {
        self.fail("unspent").and_then(|()| self.view.has_unspent_outputs(txid))
    }

    fn dynafed(&self, height: u32) -> Result<DynafedEntries, ViewError> {
        self.fail("dynafed").and_then(|()| self.view.dynafed(height))
    }
}

#[test]
fn a_state_that_cannot_be_read_is_no_verdict_on_the_block() {
    let chain = Chain::new();
    let programs = deposit_programs(&chain.params, 12, &user_script(&alice())).unwrap();
    let claim = Deposit::new(&programs[0], 50_000).claim(&chain.params, &alice(), 300);
    let block = chain.build(vec![chain.payment(1), claim], 800);
    chain.check(&block).unwrap();
    for part in ["coin", "claim", "unspent", "dynafed"] {
        let view = Broken { view: &chain.view, part };
        let error = check_block(&chain.params, &chain.tip, &block, &view, NOW).unwrap_err();
        assert!(matches!(&error, BlockError::View(ViewError(name)) if name == part), "{error}");
    }
}

#[test]
fn a_block_over_the_weight_is_refused() {
    let chain = Chain::new();
    let filler = |bytes: usize| {
        let mut block = chain.build(vec![], 0);
        block.txdata[0].output[0].script_pubkey = Script::new_op_return(&vec![0; bytes]);
        recommit(&mut block);
        block
    };
    let fills = |fixed: u64| usize::try_from((MAX_BLOCK_WEIGHT - fixed) / 4).unwrap();
    let most = fills(block_weight(&filler(70_000)) - 4 * 70_000);
    chain.check(&filler(most)).unwrap();
    let error = chain.check(&filler(most + 1)).unwrap_err();
    assert!(matches!(error, BlockError::Weight { weight } if weight > MAX_BLOCK_WEIGHT), "{error}");
    // Members sign less, so that with the signatures it is not too heavy for anybody.
    let signed = fills(stricter_block_weight(&filler(70_000)) - 4 * 70_000);
    check_federation_policy(&chain.params, &filler(signed)).unwrap();
    let policy = check_federation_policy(&chain.params, &filler(signed + 1));
    assert!(matches!(policy, Err(BlockError::Weight { .. })), "{policy:?}");
}

#[test]
fn weight_counts_the_signatures_before_they_are_there_and_four_times() {
    let chain = Chain::new();
    let mut block = chain.build(vec![chain.payment(1)], 500);
    let before = stricter_block_weight(&block);
    crate::fixtures::sign(&chain.params, &mut block, &[0, 1]);
    assert_eq!(stricter_block_weight(&block), before);
    let theirs = |block: &Block| {
        let block: elements::Block = elements::encode::deserialize(&elements::encode::serialize(block)).unwrap();
        u64::try_from(block.weight()).unwrap()
    };
    assert!(before >= theirs(&block));
    // Filled up to the limit of the header, the count is exactly that of later Elements versions.
    let witness = crate::fixtures::witness_mut(&mut block);
    *witness = vec![vec![0; 300 - 4]];
    assert_eq!(elements::encode::serialize(witness).len(), 300);
    assert_eq!(stricter_block_weight(&block), theirs(&block));
    // Elements 23.3 counts it once.
    assert_eq!(block_weight(&block), stricter_block_weight(&block) - 3 * 300);
}

#[test]
fn too_many_signature_operations_are_refused() {
    let chain = Chain::new();
    // Each OP_CHECKSIG in an output script costs four; the output need not be spendable in practice.
    let with = |count: usize| {
        let mut block = chain.build(vec![chain.payment(1)], 500);
        block.txdata[0].output[0].script_pubkey = Script::from(vec![0xac; count]);
        recommit(&mut block);
        chain.check(&block)
    };
    // The payment itself costs one.
    assert!(matches!(with(19_999), Ok(Effects { .. })));
    let error = with(20_000).unwrap_err();
    assert!(matches!(error, BlockError::Sigops { cost } if cost > MAX_BLOCK_SIGOPS_COST), "{error}");
}

#[test]
fn effects_can_be_applied_and_undone() {
    let mut chain = Chain::new();
    let before: Vec<Option<Coin>> = coins(&chain);
    let effects = chain.check(&chain.build(vec![chain.payment(1), chain.payment(2)], 1000)).unwrap();
    chain.view.apply(&effects);
    assert_eq!(chain.view.len(), 3);
    assert_ne!(coins(&chain), before);
    chain.view.undo(&effects);
    assert_eq!((chain.view.len(), coins(&chain)), (2, before));
}

fn coins(chain: &Chain) -> Vec<Option<Coin>> {
    [1, 2].into_iter().map(|number| chain.view.coin(&old_outpoint(number)).unwrap()).collect()
}

#[test]
fn refusals_have_names_of_their_own_and_those_of_elements() {
    let chain = Chain::new();
    let named = |error: BlockError| (error.name(), error.elements_reason());
    let old = chain.refusal(|block| block.header.time = 0);
    assert_eq!(named(old), ("time-too-old", Some("time-too-old")));
    let null = chain.coinbase_refusal(|coinbase| coinbase.output[0].value = Value::Null);
    assert_eq!(named(null), ("coinbase-confidential", Some("bad-cb-amount")));
    let missing = chain.refusal(|block| {
        block.txdata[1].input[0].previous_output = old_outpoint(9);
        recommit(block);
    });
    assert_eq!(named(missing), ("transaction", Some("bad-txns-inputs-missingorspent")));
    assert_eq!(named(BlockError::ProposalNotAgreed { height: 1 }), ("proposal-not-agreed", None));
}
