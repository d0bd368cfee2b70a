//! How a block commits to its batch: `OP_RETURN` with four letters and the txid, in the coinbase.

use bitcoin::{Txid, hashes::Hash};
use elements::{Script, opcodes::all::OP_RETURN, script::Builder};

use aquifer_assets::primitives::Transaction;

/// Marks a commitment to a batch, format 1.
const MARK: &[u8; 4] = b"AQB1";

/// A coinbase whose commitment cannot be read in one way.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommitmentError {
    /// One batch per block.
    #[error("the coinbase commits to {0} batches, one is allowed")]
    Several(usize),
    /// The mark without a txid after it, or with more.
    #[error("output {0} of the coinbase begins like a commitment to a batch but is none")]
    Malformed(usize),
}

/// The script that commits to the batch with this txid.
pub fn batch_commitment(txid: &Txid) -> Script {
    let data = [MARK.as_slice(), &txid.to_byte_array()].concat();
    Builder::new().push_opcode(OP_RETURN).push_slice(&data).into_script()
}

/// The txid of the batch that a coinbase commits to, if it commits to one.
///
/// # Errors
/// [`CommitmentError`] unless there is exactly one well-formed commitment, or nothing that looks like one.
pub fn find_batch_commitment(coinbase: &Transaction) -> Result<Option<Txid>, CommitmentError> {
    let mut found = Vec::new();
    for (position, output) in coinbase.output.iter().enumerate() {
        // OP_RETURN, one push of any direct length, the mark.
        let [op, _, rest @ ..] = output.script_pubkey.as_bytes() else { continue };
        if *op != OP_RETURN.into_u8() || !rest.starts_with(MARK) {
            continue;
        }
        let txid = rest.get(MARK.len()..).and_then(|bytes| Txid::from_slice(bytes).ok());
        let txid = txid.filter(|txid| batch_commitment(txid) == output.script_pubkey);
        found.push(txid.ok_or(CommitmentError::Malformed(position))?);
    }
    match found.as_slice() {
        [] => Ok(None),
        [txid] => Ok(Some(*txid)),
        several => Err(CommitmentError::Several(several.len())),
    }
}
