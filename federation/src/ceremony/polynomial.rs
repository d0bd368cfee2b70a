//! Sharing a secret in the way of Feldman, over either curve.
//!
//! A dealer draws a random polynomial of degree `k - 1`, commits to its coefficients, and proves that it knows the constant
//! one. The value at a member's place (index + 1) is that member's share; anybody can check a share against the commitment.

use frost_core::{
    Ciphersuite, Field, Group, Identifier, Scalar, Signature, SigningKey,
    keys::{CoefficientCommitment, SecretShare, SigningShare, VerifiableSecretSharingCommitment, dkg, sum_commitments},
};
use rand_core::{CryptoRng, RngCore};

use super::message::Section;
use crate::{encoding::tagged_hash, keys::identifier, roster::MemberIndex};

pub(super) type Commitment<C> = VerifiableSecretSharingCommitment<C>;

/// A secret polynomial, wiped on drop.
pub(super) struct Polynomial<C: Ciphersuite>(Vec<Scalar<C>>);

impl<C: Ciphersuite> Drop for Polynomial<C> {
    fn drop(&mut self) {
        self.0.fill(<<C::Group as Group>::Field as Field>::zero());
        // Keeps the compiler from dropping a write that nothing reads.
        std::hint::black_box(&self.0);
    }
}

/// Under which name a dealer proves that it knows its secret. It contains the session and the curve, so a proof is of no use
/// anywhere else.
fn prover<C: Ciphersuite>(session: &[u8; 32], dealer: MemberIndex) -> Option<Identifier<C>> {
    let name = tagged_hash("aquifer/ceremony/prover/v2", &[session, C::ID.as_bytes(), &dealer.0.to_le_bytes()]);
    Identifier::derive(&name).ok()
}

impl<C: Ciphersuite> Polynomial<C> {
    pub(super) fn random<R: RngCore + CryptoRng>(threshold: usize, rng: &mut R) -> Self {
        // A signing key is a scalar that is not zero; the other coefficients may be anything.
        let mut coefficients = vec![SigningKey::<C>::new(rng).to_scalar()];
        coefficients.resize_with(threshold, || <<C::Group as Group>::Field as Field>::random(&mut *rng));
        Self(coefficients)
    }

    /// The value at a member's place.
    pub(super) fn share(&self, to: MemberIndex) -> Option<SigningShare<C>> {
        Some(SigningShare::from_coefficients(&self.0, identifier(to)?))
    }

    fn commitment(&self) -> Commitment<C> {
        let point = |c: &Scalar<C>| CoefficientCommitment::new(<C::Group as Group>::generator() * *c);
        Commitment::new(self.0.iter().map(point).collect())
    }

    /// The public side: commitment and proof.
    pub(super) fn section<const POINT: usize, const PROOF: usize, R: RngCore + CryptoRng>(
        &self,
        session: &[u8; 32],
        dealer: MemberIndex,
        rng: &mut R,
    ) -> Option<Section<POINT, PROOF>> {
        let commitment = self.commitment();
        let proof = dkg::compute_proof_of_knowledge(prover(session, dealer)?, &self.0, &commitment, rng).ok()?;
        let points = commitment.serialize().ok()?;
        let points = points.into_iter().map(|point| point.try_into().ok()).collect::<Option<_>>()?;
        Some(Section { commitment: points, proof: proof.serialize().ok()?.try_into().ok()? })
    }
}

/// Reads the public side of a dealer's part and checks its proof.
pub(super) fn open<C: Ciphersuite, const POINT: usize, const PROOF: usize>(
    section: &Section<POINT, PROOF>,
    session: &[u8; 32],
    dealer: MemberIndex,
) -> Option<Commitment<C>> {
    let commitment = Commitment::<C>::deserialize(&section.commitment).ok()?;
    let proof = Signature::<C>::deserialize(&section.proof).ok()?;
    dkg::verify_proof_of_knowledge(prover(session, dealer)?, &commitment, &proof).ok()?;
    Some(commitment)
}

/// Whether a share lies on the polynomial at this member's place.
pub(super) fn fits<C: Ciphersuite>(share: &SigningShare<C>, to: MemberIndex, commitment: &Commitment<C>) -> bool {
    identifier(to).is_some_and(|place| SecretShare::new(place, *share, commitment.clone()).verify().is_ok())
}

/// The commitment to the sum of all polynomials, one point after the other. `None` if one of them is the neutral element.
pub(super) fn sum<'a, C: Ciphersuite>(commitments: impl Iterator<Item = &'a Commitment<C>>) -> Option<Vec<u8>> {
    sum_commitments(&commitments.collect::<Vec<_>>()).ok()?.serialize_whole().ok()
}

/// The sum of what a member was dealt.
pub(super) fn sum_shares<'a, C: Ciphersuite>(shares: impl Iterator<Item = &'a SigningShare<C>>) -> SigningShare<C> {
    let zero = <<C::Group as Group>::Field as Field>::zero();
    SigningShare::new(shares.fold(zero, |sum, share| sum + share.to_scalar()))
}
