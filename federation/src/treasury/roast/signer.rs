//! A member's side of a signing session.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use bitcoin::{Txid, hashes::Hash};
use frost_secp256k1_tr::{
    Identifier, SigningPackage,
    keys::{KeyPackage, Tweak as _},
    round1::{SigningCommitments, SigningNonces},
    round2,
};
use rand_core::{CryptoRng, RngCore};

use super::{
    Answer, Offer, Request,
    nonces::{NonceStore, Purpose},
};
use crate::{
    keys::{TreasuryShare, identifier},
    roster::MemberIndex,
    treasury::{KeySpends, Treasury},
};

/// A request that a member does not sign.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No final block commits to this batch, as far as this member knows; or it is done with.
    #[error("batch {0} stands in no final block known here, or is done with")]
    UnknownBatch(Txid),
    /// The request names another coordinator than who sent it.
    #[error("member {from} sent a request of coordinator {named}")]
    NotTheCoordinator {
        /// Who sent it.
        from: MemberIndex,
        /// Whom it names.
        named: MemberIndex,
    },
    /// This member is not among those asked.
    #[error("the request does not ask this member")]
    NotAsked,
    /// The nonces are not here: used, lost in a restart, or never made. Offer again.
    #[error("the nonces of the request are not here; they are used once, and lost in a restart")]
    UnknownNonces,
    /// The coordinator is not in the roster.
    #[error("there is no member {0}")]
    NoMember(MemberIndex),
    /// Nothing can be signed with this request; the coordinator is at fault.
    #[error("the request of coordinator {coordinator} is malformed: {reason}")]
    Malformed {
        /// Who made it.
        coordinator: MemberIndex,
        /// What is wrong.
        reason: &'static str,
    },
}

/// Signs batches of final blocks with a member's share. Its nonces live here and nowhere else: a new one has none.
pub struct Signer {
    me: MemberIndex,
    members: usize,
    threshold: usize,
    /// The share with the tweak of the treasury's output.
    key: KeyPackage,
    batches: BTreeMap<Txid, KeySpends>,
    nonces: NonceStore,
    /// The last request signed for each purpose, and what was answered.
    answered: BTreeMap<Purpose, (Request, Answer)>,
}

impl Signer {
    /// The signer of a member.
    pub fn new(treasury: &Treasury, share: &TreasuryShare) -> Self {
        let root = treasury.output().merkle_root().to_byte_array();
        Self {
            me: share.member(),
            members: treasury.peg_keys.len(),
            threshold: treasury.threshold,
            key: share.package().clone().tweak(Some(root)),
            batches: BTreeMap::new(),
            nonces: NonceStore::default(),
            answered: BTreeMap::new(),
        }
    }

    /// Whose signer it is.
    pub fn me(&self) -> MemberIndex {
        self.me
    }

    /// From now on signs for this batch.
    ///
    /// # When
    /// Only for a batch that a *final* block commits to and that the valve lets pass. What is signed comes from here, never from
    /// a coordinator.
    pub fn add_batch(&mut self, spends: KeySpends) {
        self.batches.insert(spends.batch(), spends);
    }

    /// No longer signs for this batch, and drops its nonces.
    pub fn forget(&mut self, batch: &Txid) {
        self.batches.remove(batch);
        self.nonces.forget(batch);
        self.answered.retain(|(of, _), _| of != batch);
    }

    /// What was last answered to a coordinator, to send it again: it may have been lost.
    pub fn last_answer(&self, batch: Txid, coordinator: MemberIndex) -> Option<&Answer> {
        self.answered.get(&(batch, coordinator)).map(|(_, answer)| answer)
    }

    /// What this member offers to a coordinator. Asked again, it offers the same until it is used.
    ///
    /// # Errors
    /// [`Refusal`] if the batch or the coordinator is not known.
    pub fn offer<R: RngCore + CryptoRng>(
        &mut self,
        batch: Txid,
        coordinator: MemberIndex,
        rng: &mut R,
    ) -> Result<Offer, Refusal> {
        let count = self.batches.get(&batch).ok_or(Refusal::UnknownBatch(batch))?.count();
        if coordinator.position() >= self.members {
            return Err(Refusal::NoMember(coordinator));
        }
        let prepared = self.nonces.prepare((batch, coordinator), count, self.key.signing_share(), rng);
        let commitments = prepared.ok_or(Refusal::UnknownNonces)?;
        Ok(Offer { batch, coordinator, commitments })
    }

    /// Signs in a session, once. The same request again gets the same answer.
    ///
    /// # Errors
    /// [`Refusal`]. After [`Refusal::UnknownNonces`] the coordinator needs a new offer.
    pub fn sign<R: RngCore + CryptoRng>(
        &mut self,
        from: MemberIndex,
        request: &Request,
        rng: &mut R,
    ) -> Result<Answer, Refusal> {
        let (batch, coordinator) = (request.batch, request.coordinator);
        if from != coordinator {
            return Err(Refusal::NotTheCoordinator { from, named: coordinator });
        }
        let purpose = (batch, coordinator);
        let spends = self.batches.get(&batch).ok_or(Refusal::UnknownBatch(batch))?;
        if let Some((signed, answer)) = self.answered.get(&purpose)
            && signed == request
        {
            return Ok(answer.clone());
        }
        let own = request.commitments.get(&self.me).ok_or(Refusal::NotAsked)?;
        // Before the work with each point: nobody keeps this member busy with what it cannot sign.
        if !self.nonces.holds(&purpose, own) {
            return Err(Refusal::UnknownNonces);
        }
        let packages = self.packages(spends, request)?;
        // Removed before anything is signed: whatever happens from here on, they sign nothing else.
        let nonces = self.nonces.take(&purpose, own).ok_or(Refusal::UnknownNonces)?;
        let shares = self.shares(&packages, &nonces);
        let shares = shares.ok_or(Refusal::Malformed { coordinator, reason: "FROST refuses it" })?;
        drop(nonces);
        let next = self.offer(batch, coordinator, rng)?.commitments;
        let answer = Answer { batch, coordinator, session: request.session, shares, next };
        self.answered.insert(purpose, (request.clone(), answer.clone()));
        Ok(answer)
    }

    /// What is signed for each input: the hash is this member's own, only the commitments are the coordinator's.
    fn packages(&self, spends: &KeySpends, request: &Request) -> Result<Vec<SigningPackage>, Refusal> {
        let malformed = |reason| Refusal::Malformed { coordinator: request.coordinator, reason };
        let asked: BTreeSet<MemberIndex> = request.commitments.keys().copied().collect();
        if asked.len() != self.threshold {
            return Err(malformed("it does not ask as many members as must sign"));
        }
        if asked.iter().any(|member| member.position() >= self.members) {
            return Err(malformed("it asks somebody who is not in the roster"));
        }
        signing_packages(spends, &request.commitments)
            .ok_or_else(|| malformed("there are not commitments for every input, or some are no points"))
    }

    fn shares(&self, packages: &[SigningPackage], nonces: &[SigningNonces]) -> Option<Vec<[u8; 32]>> {
        let sign = |(package, nonces)| {
            round2::sign(package, nonces, &self.key).ok().and_then(|share| share.serialize().try_into().ok())
        };
        packages.iter().zip(nonces).map(sign).collect()
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").field("me", &self.me).finish_non_exhaustive()
    }
}

/// What FROST signs for each input: the batch's hash and everybody's commitments.
pub(super) fn signing_packages(
    spends: &KeySpends,
    commitments: &BTreeMap<MemberIndex, super::Commitments>,
) -> Option<Vec<SigningPackage>> {
    let mut by_input: Vec<BTreeMap<Identifier, SigningCommitments>> = vec![BTreeMap::new(); spends.count()];
    for (member, commitments) in commitments {
        let place: Identifier = identifier(*member)?;
        for (input, commitments) in by_input.iter_mut().zip(commitments.parse(spends.count())?) {
            input.insert(place, commitments);
        }
    }
    let packages = by_input.into_iter().zip(&spends.messages);
    Some(packages.map(|(commitments, (_, message))| SigningPackage::new(commitments, message)).collect())
}
