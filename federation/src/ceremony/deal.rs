//! Dealing a part of the key, and adding up the parts of all.
//!
//! Every member deals a random polynomial of degree `k - 1`: it commits to the coefficients, proves that it knows the
//! constant one, and gives each member the value at that member's place (index + 1). The key is the sum of the constant
//! terms; a member's share is the sum of what it was dealt (Pedersen's key generation in the form of FROST).
//!
//! Shares travel encrypted: the key is HKDF-SHA256 over the Diffie-Hellman secret of an ephemeral key of the dealer and the
//! host key of the recipient, bound to session, dealer and recipient; the cipher is ChaCha20-Poly1305. Each key encrypts
//! one message, so the nonce is zero.

use std::collections::BTreeMap;

use bitcoin::secp256k1::{Keypair, PublicKey, SECP256K1, SecretKey, ecdh};
use blstrs::{G1Projective, Scalar};
use chacha20poly1305::{
    ChaCha20Poly1305, KeyInit, Nonce,
    aead::{Aead, Payload},
};
use ff::Field as _;
use frost_core::{
    Identifier, Signature, SigningKey,
    keys::{CoefficientCommitment, SigningShare, VerifiableSecretSharingCommitment, dkg, sum_commitments},
};
use group::Group as _;
use hkdf::Hkdf;
use rand_core::{CryptoRng, RngCore};
use sha2::Sha256;
use zeroize::{Zeroize, Zeroizing};

use super::{CeremonyError, CeremonyFault, message::Reveal, suite::BlsG1};
use crate::{
    keys::BlsShare,
    roster::{MemberIndex, Roster},
};

/// What all parts add up to.
pub(super) struct Sum {
    /// Coefficients of the common polynomial, `k` compressed points one after the other.
    pub(super) key_set: Vec<u8>,
    /// This member's share.
    pub(super) share: BlsShare,
}

/// The coefficients of a polynomial, wiped on drop.
struct Coefficients(Vec<Scalar>);

impl Drop for Coefficients {
    fn drop(&mut self) {
        self.0.fill(Scalar::ZERO);
        // Keeps the compiler from dropping a write that nothing reads.
        std::hint::black_box(&self.0);
    }
}

fn identifier(index: MemberIndex) -> Option<Identifier<BlsG1>> {
    Identifier::try_from(index.0.checked_add(1)?).ok()
}

/// Deals a fresh part among the members. The polynomial is forgotten on return.
pub(super) fn deal<R: RngCore + CryptoRng>(
    roster: &Roster,
    session: &[u8; 32],
    me: MemberIndex,
    rng: &mut R,
) -> Result<Reveal, CeremonyError> {
    try_deal(roster, session, me, rng).ok_or(CeremonyError::Dealing)
}

fn try_deal<R: RngCore + CryptoRng>(
    roster: &Roster,
    session: &[u8; 32],
    me: MemberIndex,
    rng: &mut R,
) -> Option<Reveal> {
    // A signing key is a scalar that is not zero; the other coefficients may be anything.
    let mut coefficients = Coefficients(vec![SigningKey::<BlsG1>::new(rng).to_scalar()]);
    coefficients.0.resize_with(roster.threshold(), || Scalar::random(&mut *rng));
    let points = coefficients.0.iter().map(|c| CoefficientCommitment::new(G1Projective::generator() * c)).collect();
    let commitment = VerifiableSecretSharingCommitment::<BlsG1>::new(points);
    let proof = dkg::compute_proof_of_knowledge(identifier(me)?, &coefficients.0, &commitment, &mut *rng).ok()?;

    let mut ephemeral = secret_key(rng);
    let ephemeral_key = ephemeral.public_key(SECP256K1).serialize();
    let mut shares = Vec::with_capacity(roster.members().len());
    for (to, card) in roster.indexed() {
        let share = SigningShare::<BlsG1>::from_coefficients(&coefficients.0, identifier(to)?);
        let plain = Zeroizing::new(share.serialize());
        let secret = ecdh::shared_secret_point(&card.host_key, &ephemeral);
        let (cipher, context) = cipher(secret, session, me, to, &ephemeral_key)?;
        let sealed = cipher.encrypt(&Nonce::default(), Payload { msg: &plain, aad: &context }).ok()?;
        shares.push(sealed.try_into().ok()?);
    }
    ephemeral.non_secure_erase();
    let commitment =
        commitment.serialize().ok()?.into_iter().map(|point| point.try_into().ok()).collect::<Option<_>>()?;
    let proof = proof.serialize().ok()?.try_into().ok()?;
    Some(Reveal { commitment, proof, ephemeral_key, shares })
}

fn secret_key<R: RngCore + CryptoRng>(rng: &mut R) -> SecretKey {
    loop {
        let mut bytes = Zeroizing::new([0; 32]);
        rng.fill_bytes(&mut *bytes);
        if let Ok(key) = SecretKey::from_slice(&*bytes) {
            return key;
        }
    }
}

/// The cipher for one share, and the context it is bound to.
fn cipher(
    mut secret: [u8; 64],
    session: &[u8; 32],
    from: MemberIndex,
    to: MemberIndex,
    ephemeral_key: &[u8; 33],
) -> Option<(ChaCha20Poly1305, Vec<u8>)> {
    let mut context = b"aquifer/ceremony/share/v1".to_vec();
    context.extend(from.0.to_le_bytes());
    context.extend(to.0.to_le_bytes());
    context.extend(ephemeral_key);
    let mut key = Zeroizing::new([0; 32]);
    let expanded = Hkdf::<Sha256>::new(Some(session), &secret).expand(&context, &mut *key);
    secret.zeroize();
    expanded.ok()?;
    Some((ChaCha20Poly1305::new(key.as_slice().into()), context))
}

/// Whether a reveal has the number of points and shares that the roster asks for.
pub(super) fn has_right_form(roster: &Roster, reveal: &Reveal) -> Result<(), &'static str> {
    if reveal.commitment.len() != roster.threshold() {
        return Err("the commitment does not have one point per signature needed");
    }
    if reveal.shares.len() != roster.members().len() {
        return Err("there is not one share per member");
    }
    Ok(())
}

/// Checks every part, opens the shares dealt to this member, and adds everything up.
///
/// All reveals must be there, of the right form, and match their commit messages.
pub(super) fn add_up(
    roster: &Roster,
    session: &[u8; 32],
    me: MemberIndex,
    host: &Keypair,
    reveals: &BTreeMap<MemberIndex, &Reveal>,
) -> Result<Sum, CeremonyFault> {
    let my_identifier = identifier(me).ok_or(CeremonyFault::UnknownMember(me))?;
    let mut packages = BTreeMap::new();
    let mut shares = BTreeMap::new();
    let mut members = BTreeMap::new();
    for (&dealer, reveal) in reveals {
        let from = identifier(dealer).ok_or(CeremonyFault::UnknownMember(dealer))?;
        let package = parse_package(reveal).ok_or(CeremonyFault::BadProof { member: dealer })?;
        dkg::verify_proof_of_knowledge(from, package.commitment(), package.proof_of_knowledge())
            .map_err(|_| CeremonyFault::BadProof { member: dealer })?;
        let share = open_share(session, dealer, me, host, reveal).ok_or(CeremonyFault::BadShare { dealer })?;
        members.insert(from, dealer);
        packages.insert(from, package);
        shares.insert(from, share);
    }
    let commitments: Vec<_> = packages.values().map(|package| package.commitment().clone()).collect();
    let sum = sum_commitments(&commitments.iter().collect::<Vec<_>>()).map_err(|_| CeremonyFault::NoKey)?;
    let key_set: Vec<u8> = sum.serialize().map_err(|_| CeremonyFault::NoKey)?.concat();

    // FROST checks each share against its dealer's commitment and adds up; its own part goes in separately.
    let own_package = packages.remove(&my_identifier).ok_or(CeremonyFault::UnknownMember(me))?;
    let own_share = shares.remove(&my_identifier).ok_or(CeremonyFault::UnknownMember(me))?;
    let count = |number: usize| u16::try_from(number).map_err(|_| CeremonyFault::NoKey);
    let own = dkg::round2::SecretPackage::new(
        my_identifier,
        own_package.commitment().clone(),
        own_share.to_scalar(),
        count(roster.threshold())?,
        count(roster.members().len())?,
    );
    let shares = shares.into_iter().map(|(from, share)| (from, dkg::round2::Package::new(share))).collect();
    let (key_package, public) = dkg::part3(&own, &packages, &shares).map_err(|error| match error {
        frost_core::Error::InvalidSecretShare { culprit: Some(from) } => {
            members.get(&from).map_or(CeremonyFault::NoKey, |dealer| CeremonyFault::BadShare { dealer: *dealer })
        }
        _ => CeremonyFault::NoKey,
    })?;
    let key = public.verifying_key().serialize().map_err(|_| CeremonyFault::NoKey)?;
    if !key_set.starts_with(&key) {
        return Err(CeremonyFault::NoKey);
    }
    let share = Zeroizing::new(key_package.signing_share().serialize());
    let share: Zeroizing<[u8; 32]> = Zeroizing::new(share.as_slice().try_into().map_err(|_| CeremonyFault::NoKey)?);
    Ok(Sum { key_set, share: BlsShare::from_bytes(&share).map_err(|_| CeremonyFault::NoKey)? })
}

fn parse_package(reveal: &Reveal) -> Option<dkg::round1::Package<BlsG1>> {
    let commitment = VerifiableSecretSharingCommitment::deserialize(&reveal.commitment).ok()?;
    let proof = Signature::deserialize(&reveal.proof).ok()?;
    Some(dkg::round1::Package::new(commitment, proof))
}

fn open_share(
    session: &[u8; 32],
    dealer: MemberIndex,
    me: MemberIndex,
    host: &Keypair,
    reveal: &Reveal,
) -> Option<SigningShare<BlsG1>> {
    let ephemeral = PublicKey::from_slice(&reveal.ephemeral_key).ok()?;
    let mut host_secret = host.secret_key();
    let secret = ecdh::shared_secret_point(&ephemeral, &host_secret);
    host_secret.non_secure_erase();
    let (cipher, context) = cipher(secret, session, dealer, me, &reveal.ephemeral_key)?;
    let sealed = reveal.shares.get(me.position())?;
    let plain = Zeroizing::new(cipher.decrypt(&Nonce::default(), Payload { msg: sealed, aad: &context }).ok()?);
    SigningShare::deserialize(&plain).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

    use super::*;
    use crate::roster::tests::federation_of;

    /// What is dealt here is what FROST deals: its own key generation takes it in and ends with the same key.
    #[test]
    fn a_member_that_runs_plain_frost_gets_the_same_key() {
        let (seeds, roster) = federation_of(2);
        let mut rng = ChaCha20Rng::seed_from_u64(3);
        let (us, them) = (MemberIndex(0), MemberIndex(1));
        let (our_id, their_id) = (identifier(us).unwrap(), identifier(them).unwrap());
        let session = [7; 32];
        let ours = deal(&roster, &session, us, &mut rng).unwrap();
        let our_package = parse_package(&ours).unwrap();
        let our_share = open_share(&session, us, them, &seeds.last().unwrap().keys().host, &ours).unwrap();

        let (secret, their_package) = dkg::part1::<BlsG1, _>(their_id, 2, 2, &mut rng).unwrap();
        let packages = BTreeMap::from([(our_id, our_package.clone())]);
        let (secret, shares) = dkg::part2(secret, &packages).unwrap();
        let shares_for_them = BTreeMap::from([(our_id, dkg::round2::Package::new(our_share))]);
        let (_, public) = dkg::part3(&secret, &packages, &shares_for_them).unwrap();

        let mine = open_share(&session, us, us, &seeds.first().unwrap().keys().host, &ours).unwrap();
        let commitment = our_package.commitment().clone();
        let secret = dkg::round2::SecretPackage::new(our_id, commitment, mine.to_scalar(), 2, 2);
        let shares_for_us = BTreeMap::from([(their_id, shares.into_values().next().unwrap())]);
        let packages = BTreeMap::from([(their_id, their_package)]);
        let (_, same) = dkg::part3(&secret, &packages, &shares_for_us).unwrap();
        assert_eq!(public.verifying_key(), same.verifying_key());
        assert_eq!(public.verifying_shares(), same.verifying_shares());
    }
}
