//! Judging a block: everything but the header's signatures, which come after the decision.
//!
//! The rules are Elements' for a chain with dynafed active; where its versions differ, those of 23.3. Cheap rules come
//! first, for all transactions, and then scripts and proofs of all transactions over all cores, so that a hostile block
//! costs little before it is refused. What members ask of a block beyond these rules before they vote for it is in
//! [`super::check_federation_policy`].

use std::collections::{BTreeMap, BTreeSet};

use elements::{AssetId, BlockExtData, BlockHash, BlockHeader, Txid};

use super::dynafed::{check_proposal, is_expected};
use super::merkle::has_repeated_nodes;
use super::overlay::Overlay;
use super::{BlockError, MAX_BLOCK_SIGOPS_COST, MAX_BLOCK_WEIGHT, block_weight, coinbase, merkle_root};
use crate::chain::{ChainParams, Federation};
use crate::peg::PakList;
use crate::primitives::{Block, Transaction};
use crate::state::{ChainView, Effects};
use crate::transaction::{MAX_MONEY, TxContext, TxError, examine, sigop_cost, verify_statements};
use crate::verdicts::VerdictCache;

/// How far a block may be ahead of the clock, in seconds.
const MAX_FUTURE_SECONDS: u32 = 2 * 60 * 60;
/// Version bits that Elements reserves in dynafed headers: 23 to 26.
const RESERVED_VERSION_BITS: u32 = 0x0780_0000;
/// Least block version: BIPs 34, 65 and 66 are in force from the start.
const MIN_VERSION: u32 = 4;

/// What the rules must know of the chain before the block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainTip {
    /// Height of the last block.
    pub height: u32,
    /// Its hash.
    pub hash: BlockHash,
    /// Median of the times of the last eleven blocks, in seconds since 1970.
    pub median_time_past: u32,
}

/// Judges a block on top of `tip`, whose state `view` answers from.
///
/// `now` is the clock in seconds since 1970. Transactions may spend what earlier ones of the block made. In the returned
/// effects, `burned` also has the fees that the coinbase did not collect.
///
/// # Errors
/// The first rule found broken; [`BlockError::View`] if the state could not be read, which says nothing of the block.
pub fn check_block(
    params: &ChainParams,
    tip: &ChainTip,
    block: &Block,
    view: &dyn ChainView,
    now: u32,
) -> Result<Effects, BlockError> {
    check_block_with(params, tip, block, view, now, None)
}

/// The same, without looking again at scripts and proofs of transactions that `verdicts` remembers, if there are any.
/// The verdict is no other; the statements of a valid block are remembered.
///
/// # Errors
/// As [`check_block`].
pub fn check_block_with(
    params: &ChainParams,
    tip: &ChainTip,
    block: &Block,
    view: &dyn ChainView,
    now: u32,
    verdicts: Option<&dyn VerdictCache>,
) -> Result<Effects, BlockError> {
    check_header(tip, &block.header, now)?;
    let federation = view.federation(params, block.header.height)?;
    check_parameters(params, &federation, &block.header)?;
    let weight = block_weight(block);
    if weight > MAX_BLOCK_WEIGHT {
        return Err(BlockError::Weight { weight });
    }
    let txids: Vec<Txid> = block.txdata.iter().map(Transaction::txid).collect();
    check_merkle_root(&block.header, &txids)?;
    let (coinbase, transactions) = block.txdata.split_first().ok_or(BlockError::CoinbaseMissing)?;
    if !coinbase.is_coinbase() {
        return Err(BlockError::CoinbaseMissing);
    }
    if let Some(index) = transactions.iter().position(Transaction::is_coinbase) {
        return Err(BlockError::CoinbaseSecond { position: index.saturating_add(1) });
    }
    coinbase::check_form(coinbase, block.header.height, tip.median_time_past)?;
    coinbase::check_witness_commitment(block, coinbase)?;
    check_unique(&txids, view)?;
    let list = params.enforce_pak.then(|| PakList::parse(&federation.current().extension_space)).flatten();
    coinbase::check_destinations(params, list.as_ref(), coinbase)?;
    check_contents(params, tip, block, &txids, Overlay::new(view, federation), verdicts)
}

fn check_header(tip: &ChainTip, header: &BlockHeader, now: u32) -> Result<(), BlockError> {
    if header.version < MIN_VERSION || header.version & RESERVED_VERSION_BITS != 0 || header.version >> 31 != 0 {
        return Err(BlockError::Version(header.version));
    }
    if header.prev_blockhash != tip.hash {
        return Err(BlockError::PreviousBlock { found: header.prev_blockhash, expected: tip.hash });
    }
    let expected = tip.height.saturating_add(1);
    if header.height != expected {
        return Err(BlockError::Height { found: header.height, expected });
    }
    if header.time <= tip.median_time_past {
        return Err(BlockError::TimeTooOld { time: header.time, median_time_past: tip.median_time_past });
    }
    if header.time > now.saturating_add(MAX_FUTURE_SECONDS) {
        return Err(BlockError::TimeTooNew { time: header.time, now });
    }
    Ok(())
}

/// Checks what the header says of the parameters in force and what it proposes.
fn check_parameters(params: &ChainParams, federation: &Federation, header: &BlockHeader) -> Result<(), BlockError> {
    let BlockExtData::Dynafed { current, proposed, .. } = &header.ext else {
        return Err(BlockError::NotDynafed);
    };
    let height = header.height;
    if !is_expected(current, &federation.entry()) {
        return Err(BlockError::DynafedCurrent { height });
    }
    check_proposal(params, federation.current(), proposed)
        .map_err(|source| BlockError::DynafedProposal { height, source })
}

fn check_merkle_root(header: &BlockHeader, txids: &[Txid]) -> Result<(), BlockError> {
    let expected = merkle_root(txids);
    if header.merkle_root != expected {
        return Err(BlockError::MerkleRoot { found: header.merkle_root, expected });
    }
    if has_repeated_nodes(txids) { Err(BlockError::MerkleMutated) } else { Ok(()) }
}

/// BIP 30: no transaction may have the name of one that is not wholly spent, or of another in the block.
fn check_unique(txids: &[Txid], view: &dyn ChainView) -> Result<(), BlockError> {
    let mut seen = BTreeSet::new();
    for txid in txids {
        if !seen.insert(*txid) || view.has_unspent_outputs(txid)? {
            return Err(BlockError::DuplicateTransaction(*txid));
        }
    }
    Ok(())
}

/// Examines the transactions in order, then what the coinbase takes, and last all scripts and proofs together.
fn check_contents(
    params: &ChainParams,
    tip: &ChainTip,
    block: &Block,
    txids: &[Txid],
    mut overlay: Overlay<'_>,
    verdicts: Option<&dyn VerdictCache>,
) -> Result<Effects, BlockError> {
    let (coinbase, transactions) = block.txdata.split_first().ok_or(BlockError::CoinbaseMissing)?;
    let context = TxContext { params, height: block.header.height, median_time_past: tip.median_time_past };
    let mut total = Effects::default();
    let mut statements = Vec::with_capacity(transactions.len());
    let mut sigops = sigop_cost(coinbase, &[]);
    check_sigops(sigops)?;
    // The txids have the coinbase's too.
    for (position, (tx, txid)) in (1..).zip(transactions.iter().zip(txids.iter().skip(1))) {
        let (mut effects, statement) =
            examine(&context, tx, *txid, &overlay).map_err(|error| refused(position, *txid, error))?;
        sigops = sigops.saturating_add(sigop_cost(tx, statement.spent()));
        check_sigops(sigops)?;
        statements.push(statement);
        overlay.apply(&effects);
        total.pegins.append(&mut effects.pegins);
        total.pegouts.append(&mut effects.pegouts);
        total.issuances.append(&mut effects.issuances);
        add_fees(&mut total.fees, &effects.fees)?;
        add_amounts(&mut total.burned, &effects.burned);
    }
    let collected = coinbase::check_amounts(params, coinbase, block.header.height, &total.fees)?;
    // The coinbase has position 0 and makes no statement.
    verify_statements(&statements, verdicts)
        .map_err(|failure| refused(failure.index.saturating_add(1), failure.txid, failure.error))?;
    add_amounts(&mut total.burned, &collected.burned);
    (total.spent, total.created) = overlay.into_difference();
    total.created.extend(collected.created);
    Ok(total)
}

fn refused(position: usize, txid: Txid, error: TxError) -> BlockError {
    match error {
        TxError::View(error) => BlockError::View(error),
        source => BlockError::Transaction { position, txid, source: Box::new(source) },
    }
}

fn check_sigops(cost: u64) -> Result<(), BlockError> {
    if cost > MAX_BLOCK_SIGOPS_COST { Err(BlockError::Sigops { cost }) } else { Ok(()) }
}

fn add_fees(sums: &mut BTreeMap<AssetId, u64>, fees: &BTreeMap<AssetId, u64>) -> Result<(), BlockError> {
    for (asset, amount) in fees {
        let sum = sums.entry(*asset).or_default();
        *sum = sum.saturating_add(*amount);
        if *sum > MAX_MONEY {
            return Err(BlockError::FeeRange { asset: *asset, total: *sum });
        }
    }
    Ok(())
}

/// Sums that are reported, not judged.
fn add_amounts(sums: &mut BTreeMap<AssetId, u64>, amounts: &BTreeMap<AssetId, u64>) {
    for (asset, amount) in amounts {
        let sum = sums.entry(*asset).or_default();
        *sum = sum.saturating_add(*amount);
    }
}
