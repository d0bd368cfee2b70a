//! Building a block that every member can check.

use std::collections::BTreeMap;

use elements::{AssetId, BlockExtData, BlockHash, BlockHeader, Script, Txid};

use super::{coinbase, merkle_root};
use crate::chain::ChainParams;
use crate::primitives::{Block, Transaction};
use crate::state::DynafedEntries;

/// Version of our blocks: no version bit is signalled.
const VERSION: u32 = 0x2000_0000;

/// What goes into a block.
#[derive(Clone, Debug)]
pub struct Template {
    /// Height of the new block.
    pub height: u32,
    /// The block before it.
    pub previous: BlockHash,
    /// The entry of the federation in force ([`crate::chain::Federation::entry`]), and the parameters to vote for.
    pub dynafed: DynafedEntries,
    /// Its time, in seconds since 1970. Must be after the median time past of the block before.
    pub time: u32,
    /// Verified transactions, in an order in which each finds the outputs it spends.
    pub transactions: Vec<Transaction>,
    /// Their fees per asset, in the asset's smallest unit.
    pub fees: BTreeMap<AssetId, u64>,
    /// Where the fees in the policy asset go, unless the chain has a mandatory script for them. Fees in other assets and
    /// the subsidy are left uncollected.
    pub fee_script: Script,
    /// Further `OP_RETURN` scripts for the coinbase, such as the commitment to a peg-out batch.
    pub commitments: Vec<Script>,
}

/// Builds the block, complete but for the signatures.
///
/// Nothing is judged here: a template with invalid transactions makes a block that [`super::check_block`] refuses.
pub fn build_block(params: &ChainParams, template: Template) -> Block {
    let Template { height, previous, dynafed, time, transactions, fees, fee_script, commitments } = template;
    let fee_script = if params.mandatory_coinbase.is_empty() { fee_script } else { params.mandatory_coinbase.clone() };
    let asset = params.pegged_asset();
    let amount = fees.get(&asset).copied().unwrap_or(0);
    let coinbase = coinbase::build(height, asset, amount, fee_script, commitments, &transactions);
    let txdata: Vec<Transaction> = std::iter::once(coinbase).chain(transactions).collect();
    let txids: Vec<Txid> = txdata.iter().map(Transaction::txid).collect();
    let header = BlockHeader {
        version: VERSION,
        prev_blockhash: previous,
        merkle_root: merkle_root(&txids),
        time,
        height,
        ext: BlockExtData::Dynafed {
            current: dynafed.current,
            proposed: dynafed.proposed,
            signblock_witness: Vec::new(),
        },
    };
    Block { header, txdata }
}
