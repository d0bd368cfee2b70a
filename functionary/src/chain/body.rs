//! The body of a proposed block: what travels between members before the block is decided.

use borsh::{BorshDeserialize, BorshSerialize};
use bytes::Bytes;
use elements::encode::serialize;

use aquifer_assets::primitives::Block;

/// Longest body that is fetched or kept, in bytes: a full block, whose weight is at most 4 million units, and a batch.
pub const MAX_BODY_LEN: usize = 5_000_000;

/// A proposed block and, beside it, the batch that its coinbase commits to.
#[derive(Clone, Debug, PartialEq)]
pub struct Body {
    /// The block, without signatures.
    pub block: Block,
    /// The unsigned Bitcoin transaction of the batch.
    pub batch: Option<bitcoin::Transaction>,
}

/// Bytes that are no body.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed body of a proposed block: {0}")]
pub struct BodyError(String);

#[derive(BorshSerialize, BorshDeserialize)]
enum Encoded {
    V1 { block: Vec<u8>, batch: Option<Vec<u8>> },
}

impl Body {
    /// Encodes the body.
    pub fn to_bytes(&self) -> Result<Vec<u8>, BodyError> {
        let encoded = Encoded::V1 {
            block: serialize(&self.block),
            batch: self.batch.as_ref().map(bitcoin::consensus::serialize),
        };
        borsh::to_vec(&encoded).map_err(|error| BodyError(error.to_string()))
    }

    /// Decodes a body. Lengths inside are bounded by the input's own.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BodyError> {
        if bytes.len() > MAX_BODY_LEN {
            return Err(BodyError(format!("{} bytes, at most {MAX_BODY_LEN} are taken", bytes.len())));
        }
        let Encoded::V1 { block, batch } = borsh::from_slice(bytes).map_err(|error| BodyError(error.to_string()))?;
        Self::from_parts(block, batch.as_deref())
    }

    /// Decodes a block and the batch beside it. The block keeps hold of its bytes.
    pub fn from_parts(block: impl Into<Bytes>, batch: Option<&[u8]>) -> Result<Self, BodyError> {
        Ok(Body {
            block: Block::decode(block).map_err(|error| BodyError(format!("block: {error}")))?,
            batch: batch
                .map(bitcoin::consensus::deserialize)
                .transpose()
                .map_err(|error| BodyError(format!("batch: {error}")))?,
        })
    }
}
