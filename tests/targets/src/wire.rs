//! Bytes and what they are, in one place: reading and writing, and what the `elements` crate says of the same bytes.

use aquifer_assets::primitives::{Block, Transaction, TxIn, Witness};
use elements::encode::{Decodable, Encodable, deserialize, serialize};

/// Reads a transaction by the rules.
pub(crate) fn transaction(bytes: &[u8]) -> Option<Transaction> {
    aquifer_assets::transaction::decode(bytes.to_vec()).ok()
}

/// Reads a block.
pub(crate) fn block(bytes: &[u8]) -> Option<Block> {
    Block::decode(bytes.to_vec()).ok()
}

/// What the `elements` crate reads, if it is written again as it was.
pub(crate) fn reference<T: Decodable + Encodable>(bytes: &[u8]) -> Option<T> {
    deserialize(bytes).ok().filter(|value| serialize(value) == bytes)
}

/// The items of a peg-in witness.
pub(crate) type PeginItems = [Vec<u8>; 6];

/// The items of a peg-in's witness: amount, asset, parent chain, claim script, parent transaction, proof.
pub(crate) fn pegin_items(input: &TxIn) -> Option<PeginItems> {
    input.witness.pegin_witness.to_vec().try_into().ok()
}

/// Gives a peg-in other items.
pub(crate) fn set_pegin_items(input: &mut TxIn, items: &PeginItems) {
    input.witness.pegin_witness = Witness::from_slice(items);
}
