//! The test: all members sign once with their new shares of both keys, before anything depends on them.
//!
//! What the treasury key signs is what it is for: the key path of its own output, scripts and tweak included, in a transaction
//! that moves that output to itself. The coin it spends is named by a hash of the ceremony, so there is no such coin and
//! never will be.
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

use bitcoin::{
    Amount, OutPoint, Sequence, TapSighashType, Transaction, TxIn, TxOut, Txid, Witness,
    absolute::LockTime,
    hashes::Hash,
    secp256k1::{Message, SECP256K1, schnorr},
    sighash::{Prevouts, SighashCache},
    transaction::Version,
};
use frost_core::{CheaterDetection, aggregate_custom};
use frost_secp256k1_tr::{
    Error, Identifier, SigningPackage,
    keys::Tweak,
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
    pub(super) nonces: SigningNonces,
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
        let outcome = self.outcome_of_round()?;
        let message = self.test_message(attempt);
        let package = self.test_package(attempt, &test_sighash(outcome, &message)?)?;
        let key = outcome.treasury_share.package().clone().tweak(Some(merkle_root(outcome)));
        let treasury = round2::sign(&package, &nonces, &key).map_err(|_| CeremonyFault::NoKey)?;
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

    pub(super) fn test_message(&self, attempt: u32) -> [u8; 32] {
        let attempt = attempt.to_le_bytes();
        tagged_hash("aquifer/ceremony/test/v2", &[&self.session, &self.transcript_hash(), &attempt])
    }

    /// What everybody signs in an attempt with the treasury key. All nonces must be there.
    pub(super) fn test_package(&self, attempt: u32, sighash: &[u8; 32]) -> Result<SigningPackage, CeremonyFault> {
        let mut commitments = BTreeMap::new();
        for (member, body) in self.bodies((Step::Nonces, attempt)) {
            let Body::Nonces { commitments: bytes, .. } = body else { continue };
            let place: Option<Identifier> = identifier(member);
            let (Some(place), Some(read)) = (place, parse_commitments(bytes)) else { return Err(CeremonyFault::NoKey) };
            commitments.insert(place, read);
        }
        Ok(SigningPackage::new(commitments, sighash))
    }

    /// Every member's shares must work, and they must combine to signatures under the keys.
    pub(super) fn check_tests(&mut self, attempt: u32) -> Result<(), CeremonyFault> {
        self.round()?;
        let outcome = self.outcome_of_round()?;
        let message = self.test_message(attempt);
        let sighash = test_sighash(outcome, &message)?;
        let package = self.test_package(attempt, &sighash)?;
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
        check_treasury(outcome, &package, &sighash, &treasury, self.roster.members().len())
    }
}

/// With what the scripts of the treasury's output change its key (BIP 341).
fn merkle_root(outcome: &Outcome) -> [u8; 32] {
    outcome.output.merkle_root().to_byte_array()
}

/// What Bitcoin would check in a transaction that spends the treasury's output to itself along the key path, if there was a
/// transaction with the id `message`.
pub(super) fn test_sighash(outcome: &Outcome, message: &[u8; 32]) -> Result<[u8; 32], CeremonyFault> {
    let coin = TxOut { value: Amount::ONE_BTC, script_pubkey: outcome.output.script_pubkey().clone() };
    let input = TxIn {
        previous_output: OutPoint::new(Txid::from_byte_array(*message), 0),
        script_sig: bitcoin::ScriptBuf::new(),
        sequence: Sequence::ENABLE_RBF_NO_LOCKTIME,
        witness: Witness::new(),
    };
    let transaction = Transaction {
        version: Version::TWO,
        lock_time: LockTime::ZERO,
        input: vec![input],
        output: vec![coin.clone()],
    };
    SighashCache::new(&transaction)
        .taproot_key_spend_signature_hash(0, &Prevouts::All(&[coin]), TapSighashType::Default)
        .map(|sighash| sighash.to_byte_array())
        .map_err(|_| CeremonyFault::NoKey)
}

fn check_treasury(
    outcome: &Outcome,
    package: &SigningPackage,
    sighash: &[u8; 32],
    shares: &BTreeMap<Identifier, SignatureShare>,
    members: usize,
) -> Result<(), CeremonyFault> {
    let key = outcome.keys.treasury_key.package().clone().tweak(Some(merkle_root(outcome)));
    let signature = aggregate_custom(package, shares, &key, CheaterDetection::AllCheaters);
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
        .verify_schnorr(&signature, &Message::from_digest(*sighash), &outcome.output.output_key())
        .map_err(|_| CeremonyFault::NoKey)
}
