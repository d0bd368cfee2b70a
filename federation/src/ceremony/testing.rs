//! The test: all members sign once with their new shares of both keys, before anything depends on them.
//!
//! A certificate signature takes one message. A treasury signature takes two: everybody publishes commitments to fresh
//! nonces, then everybody signs over all of them. A nonce that signs twice gives the share away, so nonces are kept in memory
//! only, and taken out before they sign. A member that was restarted between the two steps has lost them: it begins another
//! *attempt*, by publishing fresh ones under the next number, and the others follow. So nobody ever says two different
//! things at one place, and no nonce ever meets two sets of commitments.
//!
//! Whoever begins an attempt can never finish the one before, since it has not signed in it and its nonces are gone. So at
//! most one attempt is completed, unless somebody lies, and then each completed one is as good as another.

use std::collections::{BTreeMap, BTreeSet};

use bitcoin::secp256k1::{Message, SECP256K1, schnorr};
use frost_core::{CheaterDetection, aggregate_custom};
use frost_secp256k1_tr::{
    Error, Identifier, SigningPackage,
    round1::{self, NonceCommitment, SigningCommitments, SigningNonces},
    round2::{self, SignatureShare},
};
use rand_core::{CryptoRng, RngCore};

use super::{
    Ceremony, CeremonyFault, Outcome,
    message::{Body, Step},
};
use crate::{
    encoding::tagged_hash,
    keys::{identifier, member_at},
    roster::MemberIndex,
};

/// Most attempts of the test. Each costs a member that dies at the one wrong moment.
pub(super) const MAX_ATTEMPTS: u32 = 64;

/// The nonces of the attempt that this member takes part in. Never saved.
pub(super) struct AttemptNonces {
    attempt: u32,
    nonces: SigningNonces,
}

/// Reads what a member says about its nonces.
pub(super) fn parse_commitments([hiding, binding]: &[[u8; 33]; 2]) -> Option<SigningCommitments> {
    let read = |bytes: &[u8; 33]| NonceCommitment::deserialize(bytes).ok();
    Some(SigningCommitments::new(read(hiding)?, read(binding)?))
}

impl Ceremony {
    /// The newest attempt that anybody has begun.
    pub(super) fn current_attempt(&self) -> u32 {
        self.log
            .keys()
            .filter(|(_, (step, _))| *step == Step::Nonces)
            .map(|(_, (_, attempt))| *attempt)
            .max()
            .unwrap_or(0)
    }

    /// The attempt in which everybody has signed.
    pub(super) fn complete_attempt(&self) -> Option<u32> {
        let attempts: BTreeSet<u32> =
            self.log.keys().filter(|(_, (step, _))| *step == Step::Test).map(|(_, (_, attempt))| *attempt).collect();
        attempts.into_iter().find(|attempt| self.is_complete((Step::Test, *attempt)))
    }

    /// This member's next message in the test, or `None` while it waits for others.
    pub(super) fn test_body<R: RngCore + CryptoRng>(&mut self, rng: &mut R) -> Result<Option<Body>, CeremonyFault> {
        let attempt = self.current_attempt();
        if !self.log.contains_key(&(self.me, (Step::Nonces, attempt))) {
            return self.begin_attempt(attempt, rng).map(Some);
        }
        if self.log.contains_key(&(self.me, (Step::Test, attempt))) {
            return Ok(None);
        }
        if self.nonces.as_ref().is_none_or(|nonces| nonces.attempt != attempt) {
            return self.begin_attempt(attempt.saturating_add(1), rng).map(Some);
        }
        if !self.is_complete((Step::Nonces, attempt)) {
            return Ok(None);
        }
        // Taken out before they are used: whatever happens from here on, they sign nothing else.
        let Some(AttemptNonces { nonces, .. }) = self.nonces.take() else { return Ok(None) };
        let message = self.test_message(attempt);
        let package = self.test_package(attempt, &message)?;
        let outcome = self.outcome_of_round()?;
        let treasury =
            round2::sign(&package, &nonces, outcome.treasury_share.package()).map_err(|_| CeremonyFault::NoKey)?;
        let treasury = treasury.serialize().try_into().map_err(|_| CeremonyFault::NoKey)?;
        let certificate = outcome.certificate_share.sign(&message).to_bytes();
        Ok(Some(Body::Test { attempt, certificate, treasury }))
    }

    fn begin_attempt<R: RngCore + CryptoRng>(&mut self, attempt: u32, rng: &mut R) -> Result<Body, CeremonyFault> {
        if attempt >= MAX_ATTEMPTS {
            return Err(CeremonyFault::TooManyAttempts(MAX_ATTEMPTS));
        }
        let outcome = self.outcome_of_round()?;
        let (nonces, commitments) = round1::commit(outcome.treasury_share.package().signing_share(), rng);
        let write = |commitment: &NonceCommitment| {
            commitment.serialize().ok().and_then(|bytes| bytes.try_into().ok()).ok_or(CeremonyFault::NoKey)
        };
        let commitments = [write(commitments.hiding())?, write(commitments.binding())?];
        self.nonces = Some(AttemptNonces { attempt, nonces });
        Ok(Body::Nonces { attempt, commitments })
    }

    fn test_message(&self, attempt: u32) -> [u8; 32] {
        let attempt = attempt.to_le_bytes();
        tagged_hash("aquifer/ceremony/test/v2", &[&self.session, &self.transcript_hash(), &attempt])
    }

    /// What everybody signs in an attempt. All nonces must be there.
    fn test_package(&self, attempt: u32, message: &[u8; 32]) -> Result<SigningPackage, CeremonyFault> {
        let mut commitments = BTreeMap::new();
        for (member, body) in self.bodies((Step::Nonces, attempt)) {
            let Body::Nonces { commitments: bytes, .. } = body else { continue };
            let place: Option<Identifier> = identifier(member);
            let (Some(place), Some(read)) = (place, parse_commitments(bytes)) else { return Err(CeremonyFault::NoKey) };
            commitments.insert(place, read);
        }
        Ok(SigningPackage::new(commitments, message))
    }

    /// Every member's shares must work, and they must combine to signatures under the keys.
    pub(super) fn check_tests(&mut self, attempt: u32) -> Result<(), CeremonyFault> {
        self.round()?;
        let message = self.test_message(attempt);
        let package = self.test_package(attempt, &message)?;
        let outcome = self.outcome_of_round()?;
        let mut certificate = Vec::new();
        let mut treasury = BTreeMap::new();
        for (member, body) in self.bodies((Step::Test, attempt)) {
            let Body::Test { certificate: certificate_share, treasury: treasury_share, .. } = body else { continue };
            let bad = CeremonyFault::BadTest { member };
            let key = outcome.keys.public_key_shares.get(member.position());
            let share = threshold_crypto::SignatureShare::from_bytes(*certificate_share);
            match (key, share) {
                (Some(key), Ok(share)) if key.verify(&share, message) => certificate.push((member.position(), share)),
                _ => return Err(bad),
            }
            let place: Identifier = identifier(member).ok_or(CeremonyFault::UnknownMember(member))?;
            treasury.insert(place, SignatureShare::deserialize(treasury_share).map_err(|_| bad)?);
        }
        let signature = outcome.keys.key_set.combine_signatures(certificate).map_err(|_| CeremonyFault::NoKey)?;
        if !outcome.keys.key_set.public_key().verify(&signature, message) {
            return Err(CeremonyFault::NoKey);
        }
        check_treasury(outcome, &package, &message, &treasury, self.roster.members().len())
    }
}

fn check_treasury(
    outcome: &Outcome,
    package: &SigningPackage,
    message: &[u8; 32],
    shares: &BTreeMap<Identifier, SignatureShare>,
    members: usize,
) -> Result<(), CeremonyFault> {
    let key = &outcome.keys.treasury_key;
    let signature = aggregate_custom(package, shares, key.package(), CheaterDetection::AllCheaters);
    let signature = signature.map_err(|error| match error {
        Error::InvalidSignatureShare { culprits } => {
            let named: Option<MemberIndex> = culprits.iter().find_map(|place| member_at(place, members));
            named.map_or(CeremonyFault::NoKey, |member| CeremonyFault::BadTest { member })
        }
        _ => CeremonyFault::NoKey,
    })?;
    // Also as Bitcoin will see it, by another library.
    let bytes = signature.serialize().map_err(|_| CeremonyFault::NoKey)?;
    let signature = schnorr::Signature::from_slice(&bytes).map_err(|_| CeremonyFault::NoKey)?;
    SECP256K1
        .verify_schnorr(&signature, &Message::from_digest(*message), &key.internal_key())
        .map_err(|_| CeremonyFault::NoKey)
}
