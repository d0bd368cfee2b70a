//! What an output gives its receiver to find the blinding factors with.

use secp256k1_zkp::{Parity, PublicKey, XOnlyPublicKey};

use super::decode::{DecodeError, Reader};

/// The nonce of an output.
///
/// No rule looks at it, so the bytes of a confidential nonce need not be a point of the curve; nobody can read the
/// amount of such an output from it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Nonce {
    /// None.
    #[default]
    Null,
    /// Bytes in the clear, which have no use.
    Explicit([u8; 32]),
    /// What should be a public key: its parity, and its x coordinate if it is one.
    Confidential(Parity, [u8; 32]),
}

impl Nonce {
    /// Whether there is none.
    pub fn is_null(&self) -> bool {
        *self == Self::Null
    }

    /// Whether it has the form of a public key.
    pub fn is_confidential(&self) -> bool {
        matches!(self, Self::Confidential(..))
    }

    /// The public key, if it is one.
    pub fn commitment(&self) -> Option<PublicKey> {
        let Self::Confidential(parity, x) = *self else { return None };
        let x = XOnlyPublicKey::from_slice(&x).ok()?;
        Some(PublicKey::from_x_only_public_key(x, parity))
    }

    /// The first byte on the wire, and those that follow.
    pub(super) fn parts(&self) -> (u8, &[u8]) {
        match self {
            Self::Null => (0, &[]),
            Self::Explicit(bytes) => (1, bytes),
            Self::Confidential(Parity::Even, x) => (2, x),
            Self::Confidential(Parity::Odd, x) => (3, x),
        }
    }

    pub(super) fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        match reader.u8()? {
            0 => Ok(Self::Null),
            1 => reader.array().map(Self::Explicit),
            2 => Ok(Self::Confidential(Parity::Even, reader.array()?)),
            3 => Ok(Self::Confidential(Parity::Odd, reader.array()?)),
            prefix => Err(DecodeError::Prefix { what: "nonce", prefix }),
        }
    }
}

impl From<PublicKey> for Nonce {
    fn from(key: PublicKey) -> Self {
        let (x, parity) = key.x_only_public_key();
        Self::Confidential(parity, x.serialize())
    }
}
