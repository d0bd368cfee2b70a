//! A coordinator's side of signing: collects offers, opens sessions, puts shares together, names who lies.

use std::collections::{BTreeMap, BTreeSet};

use bitcoin::{OutPoint, Txid, hashes::Hash, secp256k1::schnorr};
use frost_core::{CheaterDetection, aggregate_custom};
use frost_secp256k1_tr::{
    Error, Identifier, SigningPackage,
    keys::{PublicKeyPackage, Tweak as _},
    round2::SignatureShare,
};

use super::{Answer, Commitments, Offer, Request, SessionId, signer::signing_packages};
use crate::{
    keys::{TreasuryKey, identifier, member_at},
    roster::MemberIndex,
    treasury::{KeySpends, Treasury},
};

/// How often a member may offer anew while it is awaited in a session, before it is taken for one that stalls.
const MAX_RESTARTS: u32 = 4;

/// What a coordinator must see to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Send this request to every member that it names.
    Ask(Request),
    /// A member is out: it is not asked again for this batch. Tell the operators.
    Excluded {
        /// Who.
        member: MemberIndex,
        /// Why.
        reason: Misbehaviour,
    },
    /// All signatures are there and were verified, by the coin that they spend.
    Finished(BTreeMap<OutPoint, schnorr::Signature>),
}

/// Why a member is excluded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misbehaviour {
    /// Its commitments are not one pair of points per input.
    #[error("its nonce commitments are malformed")]
    BadCommitments,
    /// It answers what it was not asked, or the same twice in different ways.
    #[error("it answers session {0}, in which it was not asked, or has answered something else")]
    Unsolicited(SessionId),
    /// A share of a signature is wrong.
    #[error("its share of the signature for input {0} is wrong")]
    BadShare(usize),
    /// It lost its nonces again and again while it was awaited.
    #[error("it lost its nonces {0} times while it was awaited")]
    Restarts(u32),
}

struct Session {
    request: Request,
    packages: Vec<SigningPackage>,
    answers: BTreeMap<MemberIndex, Answer>,
}

/// Leads the signing of one batch. Any number of members can do so at the same time.
pub struct Coordinator {
    me: MemberIndex,
    run: u64,
    members: usize,
    threshold: usize,
    key: PublicKeyPackage,
    treasury: Treasury,
    spends: KeySpends,
    /// Members that wait for a session.
    ready: BTreeMap<MemberIndex, Commitments>,
    /// The session in which a member is awaited.
    awaited: BTreeMap<MemberIndex, usize>,
    sessions: Vec<Session>,
    restarts: BTreeMap<MemberIndex, u32>,
    excluded: BTreeMap<MemberIndex, Misbehaviour>,
    signatures: Option<BTreeMap<OutPoint, schnorr::Signature>>,
}

impl Coordinator {
    /// Leads the signing of a batch as member `me`. `run` is random, so that no start of a coordinator is taken for another.
    pub fn new(me: MemberIndex, run: u64, treasury: &Treasury, key: &TreasuryKey, spends: KeySpends) -> Self {
        let root = treasury.output().merkle_root().to_byte_array();
        Self {
            me,
            run,
            members: treasury.peg_keys.len(),
            threshold: treasury.threshold,
            key: key.package().clone().tweak(Some(root)),
            treasury: treasury.clone(),
            spends,
            ready: BTreeMap::new(),
            awaited: BTreeMap::new(),
            sessions: Vec::new(),
            restarts: BTreeMap::new(),
            excluded: BTreeMap::new(),
            signatures: None,
        }
    }

    /// The batch.
    pub fn batch(&self) -> Txid {
        self.spends.batch()
    }

    /// Sessions opened so far.
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// Members that are out, and why.
    pub fn excluded(&self) -> &BTreeMap<MemberIndex, Misbehaviour> {
        &self.excluded
    }

    /// Members that have been asked and have not answered.
    pub fn awaited(&self) -> BTreeSet<MemberIndex> {
        self.awaited.keys().copied().collect()
    }

    /// The request that a member has not answered, to send it again.
    pub fn request_for(&self, member: MemberIndex) -> Option<&Request> {
        self.awaited.get(&member).and_then(|session| self.sessions.get(*session)).map(|session| &session.request)
    }

    /// The signatures, once they are there.
    pub fn signatures(&self) -> Option<&BTreeMap<OutPoint, schnorr::Signature>> {
        self.signatures.as_ref()
    }

    /// Whether a message of this member, for this batch and coordinator, is looked at at all.
    fn concerns(&self, from: MemberIndex, batch: Txid, coordinator: MemberIndex) -> bool {
        self.signatures.is_none()
            && batch == self.spends.batch()
            && coordinator == self.me
            && from.position() < self.members
            && !self.excluded.contains_key(&from)
    }

    /// Takes an offer in. A member that is awaited and offers other nonces has lost those that it was asked with.
    pub fn offer(&mut self, from: MemberIndex, offer: Offer) -> Vec<Effect> {
        if !self.concerns(from, offer.batch, offer.coordinator) {
            return Vec::new();
        }
        let commitments = offer.commitments;
        let mut used = self.sessions.iter().filter_map(|session| session.request.commitments.get(&from));
        if used.any(|used| *used == commitments) || self.ready.get(&from) == Some(&commitments) {
            // Late or repeated.
            return Vec::new();
        }
        if commitments.parse(self.spends.count()).is_none() {
            return vec![self.exclude(from, Misbehaviour::BadCommitments)];
        }
        if self.awaited.contains_key(&from) || self.ready.contains_key(&from) {
            let restarts = self.restarts.entry(from).or_default();
            *restarts = restarts.saturating_add(1);
            if *restarts > MAX_RESTARTS {
                let reason = Misbehaviour::Restarts(*restarts);
                return vec![self.exclude(from, reason)];
            }
            self.awaited.remove(&from);
        }
        self.ready.insert(from, commitments);
        self.open_session().into_iter().collect()
    }

    /// Takes an answer in.
    pub fn answer(&mut self, from: MemberIndex, answer: Answer) -> Vec<Effect> {
        if !self.concerns(from, answer.batch, answer.coordinator) {
            return Vec::new();
        }
        if answer.session.run != self.run {
            return Vec::new();
        }
        let position = usize::try_from(answer.session.number).unwrap_or(usize::MAX);
        let session = self.sessions.get(position);
        let known = session.and_then(|session| session.answers.get(&from));
        if known == Some(&answer) {
            return Vec::new();
        }
        if known.is_some() || session.is_none_or(|session| !session.request.commitments.contains_key(&from)) {
            let reason = Misbehaviour::Unsolicited(answer.session);
            return vec![self.exclude(from, reason)];
        }
        let count = self.spends.count();
        if answer.shares.len() != count {
            return vec![self.exclude(from, Misbehaviour::BadShare(answer.shares.len().min(count)))];
        }
        if let Some(input) = answer.shares.iter().position(|share| SignatureShare::deserialize(share).is_err()) {
            return vec![self.exclude(from, Misbehaviour::BadShare(input))];
        }
        if answer.next.parse(count).is_none() {
            return vec![self.exclude(from, Misbehaviour::BadCommitments)];
        }
        // If it is no longer awaited there, it was restarted after it answered, and has offered other nonces since.
        if self.awaited.get(&from) == Some(&position) {
            self.awaited.remove(&from);
            self.ready.insert(from, answer.next.clone());
        }
        let mut effects = Vec::new();
        if let Some(session) = self.sessions.get_mut(position) {
            session.answers.insert(from, answer);
            if session.answers.len() == session.request.commitments.len() {
                match self.put_together(position) {
                    Ok(signatures) => {
                        self.signatures = Some(signatures.clone());
                        return vec![Effect::Finished(signatures)];
                    }
                    Err(culprits) => {
                        let named = culprits.into_iter();
                        effects.extend(named.map(|(who, input)| self.exclude(who, Misbehaviour::BadShare(input))));
                    }
                }
            }
        }
        effects.extend(self.open_session());
        effects
    }

    fn exclude(&mut self, member: MemberIndex, reason: Misbehaviour) -> Effect {
        self.ready.remove(&member);
        self.awaited.remove(&member);
        self.excluded.insert(member, reason);
        Effect::Excluded { member, reason }
    }

    /// Opens a session as soon as enough members wait for one.
    fn open_session(&mut self) -> Option<Effect> {
        if self.ready.len() < self.threshold {
            return None;
        }
        let chosen: Vec<MemberIndex> = self.ready.keys().copied().take(self.threshold).collect();
        let commitments: BTreeMap<MemberIndex, Commitments> =
            chosen.iter().filter_map(|member| self.ready.remove_entry(member)).collect();
        let packages = signing_packages(&self.spends, &commitments)?;
        let position = self.sessions.len();
        let session = SessionId { run: self.run, number: u32::try_from(position).ok()? };
        self.awaited.extend(chosen.into_iter().map(|member| (member, position)));
        let request = Request { batch: self.spends.batch(), coordinator: self.me, session, commitments };
        self.sessions.push(Session { request: request.clone(), packages, answers: BTreeMap::new() });
        Some(Effect::Ask(request))
    }

    /// Puts the shares of a session together, or says whose are wrong, and for which input first.
    fn put_together(
        &self,
        position: usize,
    ) -> Result<BTreeMap<OutPoint, schnorr::Signature>, BTreeMap<MemberIndex, usize>> {
        let mut culprits = BTreeMap::new();
        let mut signatures = BTreeMap::new();
        let packages = self.sessions.get(position).map_or(&[][..], |session| &session.packages);
        for (input, (package, (coin, _))) in packages.iter().zip(&self.spends.messages).enumerate() {
            match self.aggregate(position, input, package) {
                Ok(signature) => _ = signatures.insert(*coin, signature),
                Err(liars) => liars.into_iter().for_each(|liar| _ = culprits.entry(liar).or_insert(input)),
            }
        }
        let verified = signatures.iter().all(|(coin, signature)| self.spends.verify(&self.treasury, coin, signature));
        if culprits.is_empty() && verified && signatures.len() == self.spends.count() {
            Ok(signatures)
        } else {
            Err(culprits)
        }
    }

    fn aggregate(
        &self,
        position: usize,
        input: usize,
        package: &SigningPackage,
    ) -> Result<schnorr::Signature, Vec<MemberIndex>> {
        let answers = self.sessions.get(position).map(|session| &session.answers);
        let shares: BTreeMap<Identifier, SignatureShare> = answers
            .into_iter()
            .flatten()
            .filter_map(|(member, answer)| {
                let share = SignatureShare::deserialize(answer.shares.get(input)?).ok()?;
                Some((identifier(*member)?, share))
            })
            .collect();
        match aggregate_custom(package, &shares, &self.key, CheaterDetection::AllCheaters) {
            Ok(signature) => {
                let bytes = signature.serialize().unwrap_or_default();
                schnorr::Signature::from_slice(&bytes).map_err(|_| Vec::new())
            }
            Err(Error::InvalidSignatureShare { culprits }) => {
                Err(culprits.iter().filter_map(|place| member_at(place, self.members)).collect())
            }
            Err(_) => Err(Vec::new()),
        }
    }
}
