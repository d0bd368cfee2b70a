//! Bytes and what they are, in one place: reading and writing, and what the `elements` crate says of the same bytes.

use aquifer_assets::primitives::{DecodeError, Transaction, TxIn, Witness};
use elements::encode::{Decodable, Encodable, deserialize, serialize};

/// Reads a transaction.
pub(crate) fn transaction(bytes: &[u8]) -> Option<Transaction> {
    Transaction::decode(bytes.to_vec()).ok()
}

/// What the `elements` crate reads, if it is written again as it was.
pub(crate) fn reference<T: Decodable + Encodable>(bytes: &[u8]) -> Option<T> {
    deserialize(bytes).ok().filter(|value| serialize(value) == bytes)
}

/// The `elements` crate refuses what we refuse, but for outputs without an asset or a value (`CTxOut`).
pub(crate) fn check_refusal<T>(error: &DecodeError, reference: Option<&T>) {
    let is_known = matches!(error, DecodeError::Null { .. });
    assert!(reference.is_none() || is_known, "the elements crate reads it, we do not: {error}");
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
