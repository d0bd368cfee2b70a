//! Blocks and their headers.

use bytes::Bytes;
use elements::dynafed::{FullParams, Params};
use elements::{BlockExtData, BlockHash, BlockHeader, TxMerkleNode};

use super::Transaction;
use super::decode::{DecodeError, Reader};

/// Bit of a header's version that says that it has dynafed parameters (`DYNAFED_HF_MASK`).
const DYNAFED_FLAG: u32 = 1 << 31;

/// A block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The header.
    pub header: BlockHeader,
    /// The transactions, the coinbase first.
    pub txdata: Vec<Transaction>,
}

impl Block {
    /// Decodes a block. The witnesses of its transactions are slices of `bytes`; a `Vec` is taken over without a copy.
    ///
    /// # Errors
    /// [`DecodeError`] if the bytes are not exactly one block.
    pub fn decode(bytes: impl Into<Bytes>) -> Result<Self, DecodeError> {
        Reader::all(bytes, |reader| Ok(Self { header: read_header(reader)?, txdata: reader.list(Transaction::read)? }))
    }

    /// The hash of its header without the signatures.
    pub fn block_hash(&self) -> BlockHash {
        self.header.block_hash()
    }
}

/// Decodes a header, on a chain with signed blocks and the height in the header.
///
/// # Errors
/// [`DecodeError`] if the bytes are not exactly one header.
pub fn decode_header(bytes: impl Into<Bytes>) -> Result<BlockHeader, DecodeError> {
    Reader::all(bytes, read_header)
}

fn read_header(reader: &mut Reader) -> Result<BlockHeader, DecodeError> {
    let version = reader.u32()?;
    Ok(BlockHeader {
        version: version & !DYNAFED_FLAG,
        prev_blockhash: BlockHash::from_byte_array(reader.array()?),
        merkle_root: TxMerkleNode::from_byte_array(reader.array()?),
        time: reader.u32()?,
        height: reader.u32()?,
        ext: if version & DYNAFED_FLAG == 0 {
            BlockExtData::Proof { challenge: reader.script()?, solution: reader.script()? }
        } else {
            BlockExtData::Dynafed {
                current: read_params(reader)?,
                proposed: read_params(reader)?,
                signblock_witness: reader.list(Reader::vec)?,
            }
        },
    })
}

fn read_params(reader: &mut Reader) -> Result<Params, DecodeError> {
    match reader.u8()? {
        0 => Ok(Params::Null),
        1 => Ok(Params::Compact {
            signblockscript: reader.script()?,
            signblock_witness_limit: reader.u32()?,
            elided_root: elements::dynafed::ElidedRoot::from_byte_array(reader.array()?),
        }),
        2 => Ok(Params::Full(FullParams {
            signblockscript: reader.script()?,
            signblock_witness_limit: reader.u32()?,
            fedpeg_program: reader.vec()?.into(),
            fedpegscript: reader.vec()?,
            extension_space: reader.list(Reader::vec)?,
        })),
        other => Err(DecodeError::DynafedType(other)),
    }
}
