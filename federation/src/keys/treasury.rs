//! The treasury key: what everybody knows of it, and a member's share.
//!
//! A FROST key over secp256k1. Its public side is the commitment to the common polynomial, `k` points: the first is the
//! key, and what each member's signature shares are checked with follows from all of them.

use std::{collections::BTreeSet, fmt};

use bitcoin::XOnlyPublicKey;
use frost_core::{Ciphersuite, Identifier};
use frost_secp256k1_tr::{
    Secp256K1Sha256TR,
    keys::{KeyPackage, PublicKeyPackage, SigningShare, VerifiableSecretSharingCommitment, VerifyingShare},
};
use zeroize::Zeroizing;

use crate::roster::MemberIndex;

/// The ciphersuite of the treasury key.
pub(crate) type TreasurySuite = Secp256K1Sha256TR;

/// Size of a compressed point of secp256k1, in bytes.
const TREASURY_POINT_SIZE: usize = 33;

/// The place of a member on the polynomials: its index plus one, since the secret is at zero.
pub(crate) fn identifier<C: Ciphersuite>(index: MemberIndex) -> Option<Identifier<C>> {
    Identifier::try_from(index.0.checked_add(1)?).ok()
}

/// The member at this place of the polynomials.
pub(crate) fn member_at<C: Ciphersuite>(place: &Identifier<C>, members: usize) -> Option<MemberIndex> {
    let members = u16::try_from(members).ok()?;
    (0..members).map(MemberIndex).find(|index| identifier(*index).as_ref() == Some(place))
}

/// The public side of the treasury key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreasuryKey {
    commitment: Vec<u8>,
    package: PublicKeyPackage,
    internal_key: XOnlyPublicKey,
}

/// Bytes that are no treasury key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the treasury key is not {threshold} points of secp256k1: {reason}")]
pub struct TreasuryKeyError {
    /// Points expected.
    pub threshold: usize,
    /// What is wrong.
    pub reason: &'static str,
}

impl TreasuryKey {
    /// Reads the commitment to the common polynomial: `threshold` compressed points, one after the other.
    ///
    /// # Errors
    /// [`TreasuryKeyError`].
    pub fn from_bytes(bytes: &[u8], members: usize, threshold: usize) -> Result<Self, TreasuryKeyError> {
        let wrong = |reason| TreasuryKeyError { threshold, reason };
        if bytes.len() != threshold.saturating_mul(TREASURY_POINT_SIZE) {
            return Err(wrong("wrong length"));
        }
        let commitment = VerifiableSecretSharingCommitment::deserialize_whole(bytes)
            .map_err(|_| wrong("not points of the curve"))?;
        let places: Option<BTreeSet<_>> =
            (0..members).map(|i| identifier(MemberIndex(u16::try_from(i).ok()?))).collect();
        let places = places.ok_or_else(|| wrong("too many members"))?;
        let package =
            PublicKeyPackage::from_commitment(&places, &commitment).map_err(|_| wrong("there is no key in it"))?;
        let key = package.verifying_key().serialize().map_err(|_| wrong("the key is the neutral element"))?;
        let internal_key = key.get(1..).and_then(|x| XOnlyPublicKey::from_slice(x).ok());
        let internal_key = internal_key.ok_or_else(|| wrong("the key is no point"))?;
        Ok(Self { commitment: bytes.to_vec(), package, internal_key })
    }

    /// The commitment to the common polynomial.
    pub fn to_bytes(&self) -> &[u8] {
        &self.commitment
    }

    /// The key itself, as BIP 340 has it. The treasury output tweaks it with its scripts (BIP 341).
    pub fn internal_key(&self) -> XOnlyPublicKey {
        self.internal_key
    }

    /// What a member's signature shares are checked with, as compressed point.
    pub fn verifying_share(&self, member: MemberIndex) -> Option<[u8; 33]> {
        let share = self.package.verifying_shares().get(&identifier(member)?)?;
        share.serialize().ok()?.try_into().ok()
    }

    pub(crate) fn package(&self) -> &PublicKeyPackage {
        &self.package
    }
}

/// A member's share of the treasury key, made by the ceremony. Wiped on drop.
#[derive(Clone, PartialEq, Eq)]
pub struct TreasuryShare {
    member: MemberIndex,
    package: KeyPackage,
}

/// Bytes that are not this member's share of the treasury key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TreasuryShareError {
    /// The number is not below the order of secp256k1.
    #[error("not a share of a treasury key: the number is not below the order of secp256k1")]
    Range,
    /// It belongs to another member or to another key.
    #[error("the share is not the share of member {0} in this treasury key")]
    Foreign(MemberIndex),
}

impl TreasuryShare {
    /// Reads the share of a member, 32 bytes, big-endian, and checks that it belongs to the key.
    ///
    /// # Errors
    /// [`TreasuryShareError`].
    pub fn from_bytes(bytes: &[u8; 32], member: MemberIndex, key: &TreasuryKey) -> Result<Self, TreasuryShareError> {
        let share = SigningShare::deserialize(bytes).map_err(|_| TreasuryShareError::Range)?;
        let foreign = TreasuryShareError::Foreign(member);
        let place = identifier(member).ok_or(foreign)?;
        let public = key.package.verifying_shares().get(&place).ok_or(foreign)?;
        if VerifyingShare::from(share) != *public {
            return Err(foreign);
        }
        let threshold = key.package.min_signers().ok_or(foreign)?;
        let package = KeyPackage::new(place, share, *public, *key.package.verifying_key(), threshold);
        Ok(Self { member, package })
    }

    /// The share as 32 big-endian bytes. Secret.
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        let mut bytes = Zeroizing::new([0; 32]);
        let share = Zeroizing::new(self.package.signing_share().serialize());
        if share.len() == bytes.len() {
            bytes.copy_from_slice(&share);
        }
        bytes
    }

    /// Whose share it is.
    pub fn member(&self) -> MemberIndex {
        self.member
    }

    pub(crate) fn package(&self) -> &KeyPackage {
        &self.package
    }
}

impl fmt::Debug for TreasuryShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TreasuryShare(..)")
    }
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use frost_core::{
        Field, Group, Scalar,
        keys::{CoefficientCommitment, VerifiableSecretSharingCommitment},
    };
    use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

    use super::*;

    type Curve = <TreasurySuite as Ciphersuite>::Group;

    /// A key that is dealt by nobody but the test, with the shares of all members.
    pub(crate) fn dealt_treasury_key(members: usize, threshold: usize) -> (TreasuryKey, Vec<TreasuryShare>) {
        let mut rng = ChaCha20Rng::seed_from_u64(u64::try_from(members).unwrap());
        let random = || <<Curve as Group>::Field as Field>::random(&mut rng);
        let coefficients: Vec<Scalar<TreasurySuite>> = std::iter::repeat_with(random).take(threshold).collect();
        let points =
            coefficients.iter().map(|c| CoefficientCommitment::new(<Curve as Group>::generator() * *c)).collect();
        let commitment = VerifiableSecretSharingCommitment::<TreasurySuite>::new(points);
        let key = TreasuryKey::from_bytes(&commitment.serialize_whole().unwrap(), members, threshold).unwrap();
        let share = |member: u16| {
            let member = MemberIndex(member);
            let share = SigningShare::from_coefficients(&coefficients, identifier(member).unwrap());
            TreasuryShare::from_bytes(&share.serialize().try_into().unwrap(), member, &key).unwrap()
        };
        let shares = (0..u16::try_from(members).unwrap()).map(share).collect();
        (key, shares)
    }

    #[test]
    fn shares_of_others_and_bytes_that_are_none_are_refused() {
        let (key, shares) = dealt_treasury_key(4, 3);
        let first = shares.first().unwrap();
        assert_eq!(TreasuryShare::from_bytes(&first.to_bytes(), MemberIndex(0), &key).as_ref(), Ok(first));
        let foreign = TreasuryShare::from_bytes(&first.to_bytes(), MemberIndex(1), &key);
        assert_eq!(foreign, Err(TreasuryShareError::Foreign(MemberIndex(1))));
        let nobody = TreasuryShare::from_bytes(&first.to_bytes(), MemberIndex(4), &key);
        assert_eq!(nobody, Err(TreasuryShareError::Foreign(MemberIndex(4))));
        let high = TreasuryShare::from_bytes(&[0xff; 32], MemberIndex(0), &key);
        assert_eq!(high, Err(TreasuryShareError::Range));
        let zero = TreasuryShare::from_bytes(&[0; 32], MemberIndex(0), &key);
        assert_eq!(zero, Err(TreasuryShareError::Foreign(MemberIndex(0))));
        assert_eq!(format!("{first:?}"), "TreasuryShare(..)");
    }

    #[test]
    fn keys_of_the_wrong_form_are_refused() {
        let (key, _) = dealt_treasury_key(4, 3);
        let read = |bytes: &[u8], threshold| TreasuryKey::from_bytes(bytes, 4, threshold);
        assert_eq!(read(key.to_bytes(), 3), Ok(key.clone()));
        assert!(read(key.to_bytes(), 4).is_err());
        assert!(read(&[0; 99], 3).is_err());
        assert!(read(&[0xff; 99], 3).is_err());
        assert!(read(&[], 0).is_err());
    }
}
