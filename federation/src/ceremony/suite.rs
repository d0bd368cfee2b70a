//! The group of the certificate key, BLS12-381 G1, in the form in which `frost-core` generates keys over it.
//!
//! FROST is used for its key generation only; signatures under the key are BLS signatures. The trait also asks for the
//! hash functions of FROST signing. They are defined here like the others, so that every call has a meaning.
//!
//! Hash to scalar: SHA-512 over `ID ‖ purpose ‖ message`, read as a big-endian number of 512 bits, modulo the group order.
//! The order has 255 bits, so the result is uniform up to 2^-257.

use blstrs::{G1Projective, Scalar};
use ff::Field as _;
use frost_core::{Ciphersuite, Field, FieldError, Group, GroupError};
use group::Group as _;
use rand_core::{CryptoRng, RngCore};
use sha2::{Digest, Sha512};

/// The ciphersuite. Names the domain of every hash of the key generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BlsG1;

/// The scalar field of BLS12-381.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BlsScalarField;

/// The first source group of BLS12-381.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BlsGroup;

impl Field for BlsScalarField {
    type Scalar = Scalar;
    type Serialization = [u8; 32];

    fn zero() -> Scalar {
        Scalar::ZERO
    }

    fn one() -> Scalar {
        Scalar::ONE
    }

    fn invert(scalar: &Scalar) -> Result<Scalar, FieldError> {
        Option::from(scalar.invert()).ok_or(FieldError::InvalidZeroScalar)
    }

    fn random<R: RngCore + CryptoRng>(rng: &mut R) -> Scalar {
        Scalar::random(rng)
    }

    fn serialize(scalar: &Scalar) -> [u8; 32] {
        scalar.to_bytes_be()
    }

    fn little_endian_serialize(scalar: &Scalar) -> [u8; 32] {
        scalar.to_bytes_le()
    }

    fn deserialize(bytes: &[u8; 32]) -> Result<Scalar, FieldError> {
        Option::from(Scalar::from_bytes_be(bytes)).ok_or(FieldError::MalformedScalar)
    }
}

impl Group for BlsGroup {
    type Field = BlsScalarField;
    type Element = G1Projective;
    type Serialization = [u8; 48];

    /// Elements are checked to lie in the subgroup of prime order when they are read, so there is no cofactor left.
    fn cofactor() -> Scalar {
        Scalar::ONE
    }

    fn identity() -> G1Projective {
        G1Projective::identity()
    }

    fn generator() -> G1Projective {
        G1Projective::generator()
    }

    fn serialize(element: &G1Projective) -> Result<[u8; 48], GroupError> {
        if bool::from(element.is_identity()) {
            return Err(GroupError::InvalidIdentityElement);
        }
        Ok(element.to_compressed())
    }

    fn deserialize(bytes: &[u8; 48]) -> Result<G1Projective, GroupError> {
        let element: Option<G1Projective> = G1Projective::from_compressed(bytes).into();
        let element = element.ok_or(GroupError::MalformedElement)?;
        if bool::from(element.is_identity()) {
            return Err(GroupError::InvalidIdentityElement);
        }
        Ok(element)
    }
}

fn hash(purpose: &[u8], message: &[u8]) -> [u8; 64] {
    Sha512::new().chain_update(BlsG1::ID).chain_update(purpose).chain_update(message).finalize().into()
}

fn hash_to_scalar(purpose: &[u8], message: &[u8]) -> Scalar {
    let base = Scalar::from(256);
    hash(purpose, message).iter().fold(Scalar::ZERO, |sum, byte| sum * base + Scalar::from(u64::from(*byte)))
}

impl Ciphersuite for BlsG1 {
    const ID: &'static str = "AQUIFER-BLS12381G1-SHA512-v1";

    type Group = BlsGroup;
    type HashOutput = [u8; 64];
    type SignatureSerialization = [u8; 80];

    fn H1(message: &[u8]) -> Scalar {
        hash_to_scalar(b"rho", message)
    }

    fn H2(message: &[u8]) -> Scalar {
        hash_to_scalar(b"chal", message)
    }

    fn H3(message: &[u8]) -> Scalar {
        hash_to_scalar(b"nonce", message)
    }

    fn H4(message: &[u8]) -> [u8; 64] {
        hash(b"msg", message)
    }

    fn H5(message: &[u8]) -> [u8; 64] {
        hash(b"com", message)
    }

    fn HDKG(message: &[u8]) -> Option<Scalar> {
        Some(hash_to_scalar(b"dkg", message))
    }

    fn HID(message: &[u8]) -> Option<Scalar> {
        Some(hash_to_scalar(b"id", message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_differ_by_purpose_and_reduce_the_whole_number() {
        assert_ne!(BlsG1::H1(b"x"), BlsG1::H2(b"x"));
        // The same number, reduced another way: high half times 2^256 plus low half, each as 4 words of 64 bits.
        let digest = hash(b"dkg", b"x");
        let word = |chunk: &[u8]| Scalar::from(chunk.iter().fold(0u64, |sum, byte| (sum << 8) | u64::from(*byte)));
        let shift = Scalar::from(1 << 32).square();
        let expected = digest.chunks(8).fold(Scalar::ZERO, |sum, chunk| sum * shift + word(chunk));
        assert_eq!(BlsG1::HDKG(b"x"), Some(expected));
    }

    #[test]
    fn the_neutral_element_and_foreign_points_are_refused() {
        assert_eq!(BlsGroup::serialize(&BlsGroup::identity()), Err(GroupError::InvalidIdentityElement));
        assert_eq!(
            BlsGroup::deserialize(&G1Projective::identity().to_compressed()),
            Err(GroupError::InvalidIdentityElement)
        );
        assert_eq!(BlsGroup::deserialize(&[0xff; 48]), Err(GroupError::MalformedElement));
    }
}
