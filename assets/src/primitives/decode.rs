//! Reading the wire, as strict as Elements and no stricter (`serialize.h`).

use bytes::{Buf, Bytes};
use elements::confidential::{Asset, Value};
use elements::{AssetId, Script};

/// Largest number that Elements reads where a length stands (`MAX_SIZE`).
const MAX_LENGTH: u64 = 0x0200_0000;
/// First bytes of longer compact sizes, and the least value that each may have.
const COMPACT_16: (u8, u64) = (0xfd, 0xfd);
const COMPACT_32: (u8, u64) = (0xfe, 0x1_0000);
const COMPACT_64: (u8, u64) = (0xff, 0x1_0000_0000);

/// Why bytes cannot be decoded. Elements refuses them as well when it decodes, but for [`DecodeError::Commitment`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end too early.
    #[error("the bytes end {missing} too early")]
    End {
        /// Bytes that are missing, at least.
        missing: usize,
    },
    /// Something follows.
    #[error("{0} bytes follow")]
    Trailing(usize),
    /// A length is written with more bytes than it needs.
    #[error("the length {0} is written with more bytes than it needs")]
    LengthNotMinimal(u64),
    /// A length beyond the limit of Elements.
    #[error("a length is {0}, more than 32 MiB")]
    Length(u64),
    /// The first byte of an asset, a value or a nonce has no meaning.
    #[error("no {what} begins with {prefix:#04x}")]
    Prefix {
        /// What should be there.
        what: &'static str,
        /// The byte.
        prefix: u8,
    },
    /// Committed assets and values are points of the curve. Elements sees it when it verifies.
    #[error("the {what} commitment is no point of the curve")]
    Commitment {
        /// What is committed to.
        what: &'static str,
    },
    /// An output must have an asset and a value.
    #[error("an output has no {what}")]
    Null {
        /// What is missing.
        what: &'static str,
    },
    /// The bit for an issuance is set, and nothing is issued.
    #[error("an input has an issuance that issues nothing")]
    NullIssuance,
    /// The flags tell only whether there are witnesses.
    #[error("the flags of the transaction are {0:#04x}")]
    Flags(u8),
    /// The flag for witnesses is set, and all are empty.
    #[error("the transaction has a witness flag and no witness")]
    SuperfluousWitness,
    /// Dynafed parameters are null, compact or full.
    #[error("dynafed parameters are of type {0}")]
    DynafedType(u8),
}

/// A buffer that is read from the front.
pub(super) struct Reader(Bytes);

impl Reader {
    /// Decodes exactly one value.
    pub(super) fn all<T>(
        bytes: impl Into<Bytes>,
        read: impl FnOnce(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<T, DecodeError> {
        let mut reader = Self(bytes.into());
        let value = read(&mut reader)?;
        if reader.0.is_empty() { Ok(value) } else { Err(DecodeError::Trailing(reader.0.len())) }
    }

    fn take(&mut self, length: usize) -> Result<Bytes, DecodeError> {
        match length.checked_sub(self.0.len()) {
            None | Some(0) => Ok(self.0.split_to(length)),
            Some(missing) => Err(DecodeError::End { missing }),
        }
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let array = *self.0.first_chunk().ok_or(DecodeError::End { missing: N.saturating_sub(self.0.len()) })?;
        self.0.advance(N);
        Ok(array)
    }

    pub(super) fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array().map(|[byte]| byte)
    }

    pub(super) fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_le_bytes)
    }

    /// A length or a count, in the shortest form (`ReadCompactSize`).
    pub(super) fn length(&mut self) -> Result<usize, DecodeError> {
        let first = self.u8()?;
        let (length, least) = if first == COMPACT_16.0 {
            (u64::from(u16::from_le_bytes(self.array()?)), COMPACT_16.1)
        } else if first == COMPACT_32.0 {
            (u64::from(self.u32()?), COMPACT_32.1)
        } else if first == COMPACT_64.0 {
            (u64::from_le_bytes(self.array()?), COMPACT_64.1)
        } else {
            (u64::from(first), 0)
        };
        if length < least {
            return Err(DecodeError::LengthNotMinimal(length));
        }
        usize::try_from(length).ok().filter(|_| length <= MAX_LENGTH).ok_or(DecodeError::Length(length))
    }

    /// Bytes behind their length.
    pub(super) fn bytes(&mut self) -> Result<Bytes, DecodeError> {
        let length = self.length()?;
        self.take(length)
    }

    /// Bytes behind their length that are not shared with the buffer.
    pub(super) fn vec(&mut self) -> Result<Vec<u8>, DecodeError> {
        self.bytes().map(|bytes| bytes.to_vec())
    }

    pub(super) fn script(&mut self) -> Result<Script, DecodeError> {
        self.vec().map(Script::from)
    }

    /// Items behind their count. The list grows with what is read, whatever the count says.
    pub(super) fn list<T>(
        &mut self,
        read: impl Fn(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        let mut list = Vec::new();
        for _ in 0..self.length()? {
            list.push(read(self)?);
        }
        Ok(list)
    }

    /// Skips items behind their count, and gives the count and the bytes of the items with their lengths.
    pub(super) fn stack(&mut self) -> Result<(usize, Bytes), DecodeError> {
        let count = self.length()?;
        let start = self.0.clone();
        for _ in 0..count {
            self.bytes()?;
        }
        let length = start.len().saturating_sub(self.0.len());
        Ok((count, start.slice(..length)))
    }

    pub(super) fn asset(&mut self) -> Result<Asset, DecodeError> {
        const WHAT: &str = "asset";
        match self.u8()? {
            0 => Ok(Asset::Null),
            1 => Ok(Asset::Explicit(AssetId::from_byte_array(self.array()?))),
            prefix @ (10 | 11) => {
                Asset::from_commitment(&self.commitment(prefix)?).map_err(|_| DecodeError::Commitment { what: WHAT })
            }
            prefix => Err(DecodeError::Prefix { what: WHAT, prefix }),
        }
    }

    pub(super) fn value(&mut self) -> Result<Value, DecodeError> {
        const WHAT: &str = "value";
        match self.u8()? {
            0 => Ok(Value::Null),
            1 => self.array().map(|bytes| Value::Explicit(u64::from_be_bytes(bytes))),
            prefix @ (8 | 9) => {
                Value::from_commitment(&self.commitment(prefix)?).map_err(|_| DecodeError::Commitment { what: WHAT })
            }
            prefix => Err(DecodeError::Prefix { what: WHAT, prefix }),
        }
    }

    fn commitment(&mut self, prefix: u8) -> Result<[u8; 33], DecodeError> {
        let mut commitment = [0; 33];
        if let Some((first, rest)) = commitment.split_first_mut() {
            *first = prefix;
            rest.copy_from_slice(&self.array::<32>()?);
        }
        Ok(commitment)
    }
}
