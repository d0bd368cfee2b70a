//! Limits of a block.

use elements::BlockExtData;
use elements::encode::{VarInt, serialize};

use crate::primitives::Block;

/// Largest weight of a block (Elements).
pub const MAX_BLOCK_WEIGHT: u64 = 4_000_000;
/// Largest number of signature operations of a block, in the units of BIP 141.
pub const MAX_BLOCK_SIGOPS_COST: u64 = 80_000;
/// Weight of a byte outside transaction witnesses.
const WITNESS_SCALE: u64 = 4;

fn length(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

/// The weight of a block by the count of Elements 23.3: the header's signatures count once, as witnesses do.
pub fn block_weight(block: &Block) -> u64 {
    let signatures = match &block.header.ext {
        BlockExtData::Dynafed { signblock_witness, .. } => length(serialize(signblock_witness).len()),
        BlockExtData::Proof { .. } => 0,
    };
    weight_without_signatures(block).saturating_add(signatures)
}

/// The weight of a block under whichever implementation counts more.
///
/// Elements 23.3 counts the header's signatures once, later versions four times. Four times is never less, so that is
/// what members build and vote by. A block is judged before it is signed: the signatures count with the most they may
/// take by the header's own limit, so that signing cannot push an accepted block over the top.
pub fn stricter_block_weight(block: &Block) -> u64 {
    let signatures = match &block.header.ext {
        BlockExtData::Dynafed { current, signblock_witness, .. } => {
            let limit = u64::from(current.signblock_witness_limit().unwrap_or(0));
            length(serialize(signblock_witness).len()).max(limit)
        }
        BlockExtData::Proof { .. } => 0,
    };
    weight_without_signatures(block).saturating_add(signatures.saturating_mul(WITNESS_SCALE))
}

fn weight_without_signatures(block: &Block) -> u64 {
    let mut header = block.header.clone();
    header.clear_witness();
    // The cleared dynafed header still has one byte for the empty witness.
    let rest = u64::from(matches!(header.ext, BlockExtData::Dynafed { .. }));
    let header = length(serialize(&header).len()).saturating_sub(rest);
    let count = length(VarInt(length(block.txdata.len())).size());
    let transactions: u64 = block.txdata.iter().map(|tx| length(tx.weight())).sum();
    header.saturating_add(count).saturating_mul(WITNESS_SCALE).saturating_add(transactions)
}
