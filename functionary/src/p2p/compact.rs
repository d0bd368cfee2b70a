//! Compact blocks, version 2 (BIP 152 with the hashes of whole transactions).
//!
//! As Elements has it, the key of the short names covers the header with its witness.

use aquifer_assets::primitives::{Block, Transaction};
use bitcoin::hashes::{Hash as _, sha256, siphash24};
use elements::BlockHash;
use elements::encode::serialize;

use super::message::put_count;

/// The version that this side speaks.
pub(super) const VERSION: u64 = 2;
/// Bytes of a short name.
const SHORT_LEN: usize = 6;

/// The payload of `cmpctblock` for a block with this header: the coinbase in full, the others by short names.
pub(super) fn compact_block(header: &[u8], transactions: &[Transaction], nonce: u64) -> Vec<u8> {
    let mut payload = [header, &nonce.to_le_bytes()].concat();
    let [k0, k1] = keys(&payload);
    let (coinbase, others) = transactions.split_at_checked(1).unwrap_or((transactions, &[]));
    put_count(&mut payload, others.len());
    for transaction in others {
        let wtxid = transaction.wtxid().to_byte_array();
        let name = siphash24::Hash::hash_to_u64_with_keys(k0, k1, &wtxid);
        payload.extend(name.to_le_bytes().iter().take(SHORT_LEN));
    }
    put_count(&mut payload, coinbase.len());
    for transaction in coinbase {
        put_count(&mut payload, 0);
        payload.extend(serialize(transaction));
    }
    payload
}

fn keys(header_and_nonce: &[u8]) -> [u64; 2] {
    let hash = sha256::Hash::hash(header_and_nonce).to_byte_array();
    let (first, rest) = hash.split_first_chunk::<8>().map_or(([0; 8], &[][..]), |(first, rest)| (*first, rest));
    let second = rest.first_chunk::<8>().copied().unwrap_or_default();
    [first, second].map(u64::from_le_bytes)
}

/// The payload of `blocktxn`; `None` if the block has no transaction at one of the positions.
pub(super) fn block_transactions(hash: BlockHash, block: &Block, positions: &[usize]) -> Option<Vec<u8>> {
    let mut payload = hash.to_byte_array().to_vec();
    put_count(&mut payload, positions.len());
    for position in positions {
        payload.extend(serialize(block.txdata.get(*position)?));
    }
    Some(payload)
}
