//! A member's share of the certificate key.

use std::fmt;

use threshold_crypto::{SecretKeyShare, SignatureShare};
use zeroize::Zeroizing;

/// A member's share of the BLS certificate key, made by the ceremony.
#[derive(Clone, PartialEq, Eq)]
pub struct BlsShare(SecretKeyShare);

/// Bytes that are no share of a certificate key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a share of a certificate key: the number is zero or not below the order of BLS12-381")]
pub struct BlsShareError;

impl BlsShare {
    /// Reads a share: 32 bytes, big-endian.
    ///
    /// # Errors
    /// [`BlsShareError`] for zero and for numbers not below the group order.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, BlsShareError> {
        if bytes == &[0; 32] {
            return Err(BlsShareError);
        }
        SecretKeyShare::from_bytes(*bytes).map(Self).map_err(|_| BlsShareError)
    }

    /// The share as 32 big-endian bytes. Secret.
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes())
    }

    /// Signs a message with this share alone.
    pub(crate) fn sign(&self, message: &[u8; 32]) -> SignatureShare {
        self.0.sign(message)
    }

    /// The public key that this share's signatures verify against.
    pub fn public(&self) -> threshold_crypto::PublicKeyShare {
        self.0.public_key_share()
    }
}

impl fmt::Debug for BlsShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BlsShare(..)")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn bytes_round_trip_and_bad_ones_are_refused() {
        let mut bytes = [0; 32];
        assert_eq!(BlsShare::from_bytes(&bytes).unwrap_err(), BlsShareError);
        bytes[31] = 7;
        let share = BlsShare::from_bytes(&bytes).unwrap();
        assert_eq!(*share.to_bytes(), bytes);
        assert_eq!(format!("{share:?}"), "BlsShare(..)");
        assert_eq!(BlsShare::from_bytes(&[0xff; 32]).unwrap_err(), BlsShareError);
    }
}
