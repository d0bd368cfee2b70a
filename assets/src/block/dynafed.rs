//! Dynamic federations: which parameter entry a header must carry.
//!
//! In this version no proposal is accepted, so the parameters of the first block stay in force for ever. They are
//! written in full in block 1 and at the start of every epoch, and elsewhere in short form, where a root stands for
//! the peg data.

use elements::dynafed::Params;

use crate::chain::ChainParams;

/// The entry that the header at `height` must carry as `current`.
pub fn expected_current(params: &ChainParams, height: u32) -> Params {
    let full = params.block_one_params();
    // The genesis block has no entry, so the first block stands in as the start of epoch 0.
    if height == 1 || height.is_multiple_of(params.epoch_length_blocks) {
        Params::Full(full)
    } else {
        full.into_compact()
    }
}
