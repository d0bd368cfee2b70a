//! What members sign, where that is less than what Elements accepts.
//!
//! A member applies these rules to the blocks it votes for. They are no rules of the chain: a block that is final is judged
//! by [`super::check_block`] alone, or a member would be left behind by the others.

use elements::BlockExtData;

use super::{BlockError, MAX_BLOCK_WEIGHT, stricter_block_weight};
use crate::chain::ChainParams;
use crate::peg::parse_pegout_script;
use crate::primitives::Block;
use crate::transaction;

/// Checks what the federation asks of a block beyond the rules of the chain.
///
/// * No proposal of new parameters: none has been agreed to.
/// * The weight counts the header's largest witness, four times, as later versions of Elements do.
/// * The coinbase requests no peg-out, since peg-outs have requesters, and can be read by the `elements` crate.
/// * Each transaction is one that a member takes into its mempool ([`transaction::check_federation_policy`]).
///
/// # Errors
/// The first thing found that members do not sign.
pub fn check_federation_policy(params: &ChainParams, block: &Block) -> Result<(), BlockError> {
    if let BlockExtData::Dynafed { proposed, .. } = &block.header.ext
        && !proposed.is_null()
    {
        return Err(BlockError::ProposalNotAgreed { height: block.header.height });
    }
    let weight = stricter_block_weight(block);
    if weight > MAX_BLOCK_WEIGHT {
        return Err(BlockError::Weight { weight });
    }
    if let Some(coinbase) = block.txdata.first() {
        let mut outputs = coinbase.output.iter();
        if let Some(vout) = outputs.position(|output| parse_pegout_script(&output.script_pubkey).is_some()) {
            return Err(BlockError::CoinbasePegout { vout });
        }
        elements::Transaction::try_from(coinbase).map_err(BlockError::CoinbaseUnreadable)?;
    }
    for (position, tx) in block.txdata.iter().enumerate().skip(1) {
        transaction::check_federation_policy(params, tx).map_err(|source| BlockError::Transaction {
            position,
            txid: tx.txid(),
            source: Box::new(source),
        })?;
    }
    Ok(())
}
