//! The ceremony: all members make the certificate key and the treasury key together, and nobody ever knows either.
//!
//! # The protocol
//! Every message is signed by the host key of its sender and bound to the session, a hash of the roster. A step begins for a
//! member when it has the messages of the step before from *all* members.
//!
//! | step | a member says | and has checked before |
//! |---|---|---|
//! | commit | the hash of its reveal | |
//! | reveal | commitments to its polynomials, proofs of possession, all encrypted shares | everybody has committed |
//! | echo | the hash of all commits and reveals; complaints about bad shares | reveals match commits, proofs hold |
//! | success | transcript hash, both keys, all public shares | everybody saw the same messages, nobody complains |
//! | nonces | commitments to nonces for the test | everybody stated the same outcome |
//! | test | a signature with each new share | everybody's nonces are there |
//! | stored | that the outcome is safe | every test signature, and their combination under both keys |
//!
//! Both keys are made in one run over the same messages, and have nothing else in common: two polynomials, two secrets. The
//! certificate key is of BLS12-381, the treasury key a FROST key of secp256k1.
//!
//! # Why it is safe
//! * Commit before reveal: nobody can choose its part, and so bias a key, after seeing those of others.
//! * All shares are in the broadcast, and echoes cover every byte of it: a member cannot tell different members different
//!   things. If it tries, the two messages meet as they spread, and prove it ([`CeremonyFault::Equivocation`]).
//! * A member whose share is bad complains, and everybody can see whether it is: the liar is named by all, be it the dealer
//!   ([`CeremonyFault::BadShare`]) or who complains ([`CeremonyFault::FalseComplaint`]).
//! * The success certificate, `n` signatures under one outcome, convinces anybody later that all members finished with the
//!   same keys. Before it is complete the shares are not used, not even for the test.
//! * The test catches a member that signed success without usable shares. Its treasury signature would spend the treasury's
//!   own output along the key path, if there was that coin. Its nonces exist in memory only; `testing` says how a restart in
//!   the middle of it is survived.
//!
//! # How it travels
//! A [`Ceremony`] is a set of messages that only grows. Members pull each other's set and [`Ceremony::accept`] what they
//! find, in any order, any number of times, from anyone; then [`Ceremony::advance`] says what can be said. Silence delays,
//! nothing else: there are no clocks.
//!
//! # Crashes
//! A member's part is dealt once, in [`Ceremony::new`]; the polynomials are forgotten at once, only their encrypted shares
//! are kept. [`Ceremony::save`] holds everything but nonces. A caller persists it **before** it hands out
//! [`Ceremony::messages`]; then a restart, at any point, says the same things again. A member that lost it must not start
//! over in the same session: others would see, rightly, two different messages of one step.
//!
//! The shares themselves are never saved here: they follow from the messages and the host key, and are computed again, also
//! long after the ceremony ([`recover_shares`]).

mod complaint;
mod deal;
mod fault;
mod message;
mod polynomial;
mod recovery;
pub mod repair;
mod saved;
mod sealing;
mod suite;
mod testing;

use std::{collections::BTreeMap, fmt};

use bitcoin::secp256k1::{Keypair, schnorr};
use rand_core::{CryptoRng, RngCore};

use deal::Part;
pub use fault::{CeremonyError, CeremonyFault};
use message::{Body, Place, Reveal, Signed, Statement};
pub use message::{MAX_MESSAGE_SIZE, Step};
pub use recovery::{MemberShares, RecoveryError, recover_shares};
use sealing::Route;
use testing::{AttemptNonces, MAX_ATTEMPTS};

use crate::{
    encoding::tagged_hash,
    federation::{FEDERATION_FILE_VERSION, FederationFile, GroupKeys},
    keys::{BlsShare, MemberSeed, TreasuryShare},
    roster::{MemberIndex, Roster},
    treasury::TreasuryOutput,
};

/// One member's view of a ceremony.
pub struct Ceremony {
    roster: Roster,
    session: [u8; 32],
    me: MemberIndex,
    host: Keypair,
    /// This member's part. Dealt once and never again.
    reveal: Reveal,
    /// The first message seen of each member and place.
    log: BTreeMap<(MemberIndex, Place), Signed>,
    /// The first message seen that contradicts one in the log.
    contradiction: Option<Signed>,
    /// What follows from the reveals, once it was computed.
    round: Option<Round>,
    /// Nonces for the test, while they wait to be used.
    nonces: Option<AttemptNonces>,
}

/// What follows from the commits and reveals.
struct Round {
    hash: [u8; 32],
    parts: BTreeMap<MemberIndex, Part>,
    own: Own,
}

/// What follows from what this member was dealt.
enum Own {
    Complete(Box<Outcome>),
    /// What these members dealt to this one is wrong.
    Bad(Vec<MemberIndex>),
}

/// The keys, and this member's shares.
struct Outcome {
    file_keys: FileKeys,
    keys: GroupKeys,
    /// What the treasury key will hold.
    output: TreasuryOutput,
    certificate_share: BlsShare,
    treasury_share: TreasuryShare,
}

/// The keys as the federation file holds them.
struct FileKeys {
    key_set: Vec<u8>,
    treasury_key: Vec<u8>,
}

/// What a ceremony leaves to a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CeremonyOutcome {
    /// The federation: public, and the same for all.
    pub file: FederationFile,
    /// The member's share of the certificate key.
    pub certificate_share: BlsShare,
    /// The member's share of the treasury key.
    pub treasury_share: TreasuryShare,
}

/// The session of the ceremony of a roster: the name under which its messages are asked for.
pub fn session_of(roster: &Roster) -> [u8; 32] {
    tagged_hash("aquifer/ceremony/session/v2", &[&roster.hash()])
}

impl Ceremony {
    /// Begins a ceremony as the member with this seed, and deals its part.
    ///
    /// # Errors
    /// [`CeremonyError`] if the seed does not belong to the card.
    pub fn new<R: RngCore + CryptoRng>(
        roster: Roster,
        seed: &MemberSeed,
        me: MemberIndex,
        rng: &mut R,
    ) -> Result<Self, CeremonyError> {
        let host = seed.keys().host;
        let session = session_of(&roster);
        check_host(&roster, me, &host)?;
        let reveal = deal::deal(&roster, &session, me, rng)?;
        Ok(Self {
            roster,
            session,
            me,
            host,
            reveal,
            log: BTreeMap::new(),
            contradiction: None,
            round: None,
            nonces: None,
        })
    }

    /// Names this ceremony; messages of another are refused.
    pub fn session(&self) -> [u8; 32] {
        self.session
    }

    /// The roster whose members hold this ceremony.
    pub fn roster(&self) -> &Roster {
        &self.roster
    }

    /// Which member this is.
    pub fn me(&self) -> MemberIndex {
        self.me
    }

    /// All messages known, own and others', for anyone who asks. Persist [`Ceremony::save`] before they leave.
    pub fn messages(&self) -> Vec<Vec<u8>> {
        self.log.values().chain(&self.contradiction).map(|signed| signed.bytes.clone()).collect()
    }

    /// Takes in a message, from whomever it came. `true` if it was new.
    ///
    /// # Errors
    /// [`CeremonyFault`]. Nothing is kept of a bad message, but for one that proves an equivocation.
    pub fn accept(&mut self, bytes: &[u8]) -> Result<bool, CeremonyFault> {
        let signed = message::open(&self.roster, &self.session, bytes)?;
        let (member, place) = (signed.from, signed.body.place());
        self.check_form(&signed.body).map_err(|reason| CeremonyFault::Malformed { member, step: place.0, reason })?;
        let Some(known) = self.log.get(&(member, place)) else {
            self.log.insert((member, place), signed);
            return Ok(true);
        };
        // The same content signed a second time says nothing new.
        if known.digest == signed.digest {
            return Ok(false);
        }
        let fault = equivocation(known, &signed);
        self.contradiction.get_or_insert(signed);
        Err(fault)
    }

    fn check_form(&self, body: &Body) -> Result<(), &'static str> {
        match body {
            Body::Reveal(reveal) => deal::has_right_form(&self.roster, reveal),
            Body::Echo { complaints, .. } => {
                if complaints.len() > self.roster.members().len() {
                    return Err("it has more complaints than there are members");
                }
                let all_known = complaints.iter().all(|complaint| self.roster.member(complaint.dealer).is_some());
                if all_known { Ok(()) } else { Err("it complains about somebody who is not in the roster") }
            }
            Body::Nonces { attempt, .. } | Body::Test { attempt, .. } if *attempt >= MAX_ATTEMPTS => {
                Err("there are not so many attempts")
            }
            Body::Nonces { commitments, .. } if testing::parse_commitments(commitments).is_none() => {
                Err("the nonce commitments are no points")
            }
            _ => Ok(()),
        }
    }

    /// Says what can be said now: goes on to further steps as long as all messages of the step before are there.
    /// `true` if there is a new message of ours; persist [`Ceremony::save`] then.
    ///
    /// # Errors
    /// [`CeremonyFault`] if what the others said cannot lead to a key. It comes back on every call. There may be new messages
    /// of ours even so, a complaint for one: persist and show them.
    pub fn advance<R: RngCore + CryptoRng>(&mut self, rng: &mut R) -> Result<bool, CeremonyFault> {
        let mut advanced = false;
        while let Some(body) = self.next_body(rng)? {
            let signed = message::sign(&self.session, self.me, body, &self.host, rng);
            self.log.insert((self.me, signed.body.place()), signed);
            advanced = true;
        }
        Ok(advanced)
    }

    /// The content of this member's next message, or `None` while others are missing or everything is said.
    fn next_body<R: RngCore + CryptoRng>(&mut self, rng: &mut R) -> Result<Option<Body>, CeremonyFault> {
        if let Some(second) = &self.contradiction
            && let Some(first) = self.log.get(&(second.from, second.body.place()))
        {
            return Err(equivocation(first, second));
        }
        if self.has_said(Step::Echo) {
            self.check_echoes()?;
        }
        let steps = [Step::Commit, Step::Reveal, Step::Echo, Step::Success, Step::Stored];
        let Some(position) = steps.iter().position(|step| !self.has_said(*step)) else { return Ok(None) };
        let before = position.checked_sub(1).and_then(|previous| steps.get(previous));
        if before.is_some_and(|step| !self.is_complete((*step, 0))) {
            return Ok(None);
        }
        let body = match steps.get(position) {
            Some(Step::Commit) => Body::Commit { reveal_hash: self.reveal.hash(&self.session) },
            Some(Step::Reveal) => Body::Reveal(self.reveal.clone()),
            Some(Step::Echo) => self.echo_body()?,
            Some(Step::Success) => Body::Success(self.statement()?),
            _ => {
                self.check_statements()?;
                match self.complete_attempt() {
                    Some(attempt) => {
                        self.check_tests(attempt)?;
                        Body::Stored
                    }
                    None => return self.test_body(rng),
                }
            }
        };
        Ok(Some(body))
    }

    /// Whether this member has said its message of a step that is not part of the test.
    fn has_said(&self, step: Step) -> bool {
        self.log.contains_key(&(self.me, (step, 0)))
    }

    /// Whether all members' messages of a place are known.
    fn is_complete(&self, place: Place) -> bool {
        self.roster.indexed().all(|(index, _)| self.log.contains_key(&(index, place)))
    }

    fn bodies(&self, place: Place) -> impl Iterator<Item = (MemberIndex, &Body)> {
        self.log.iter().filter(move |((_, p), _)| *p == place).map(|((member, _), signed)| (*member, &signed.body))
    }

    /// A hash of the messages of these steps, signatures excluded.
    fn hash_of(&self, tag: &str, steps: &[Step]) -> [u8; 32] {
        let digests =
            self.log.iter().filter(|((_, (step, _)), _)| steps.contains(step)).map(|(_, signed)| &signed.digest);
        let mut parts: Vec<&[u8]> = vec![&self.session];
        parts.extend(digests.map(<[u8; 32]>::as_slice));
        tagged_hash(tag, &parts)
    }

    fn transcript_hash(&self) -> [u8; 32] {
        self.hash_of("aquifer/ceremony/transcript/v2", &[Step::Commit, Step::Reveal, Step::Echo])
    }

    /// What follows from the reveals, computed the first time it is asked. All reveals must be there.
    fn round(&mut self) -> Result<&Round, CeremonyFault> {
        let round = match self.round.take() {
            Some(round) => round,
            None => self.work_out_round()?,
        };
        Ok(self.round.insert(round))
    }

    fn work_out_round(&self) -> Result<Round, CeremonyFault> {
        let commits: BTreeMap<MemberIndex, &Body> = self.bodies((Step::Commit, 0)).collect();
        let mut parts = BTreeMap::new();
        for (dealer, body) in self.bodies((Step::Reveal, 0)) {
            let Body::Reveal(reveal) = body else { continue };
            let expected = Body::Commit { reveal_hash: reveal.hash(&self.session) };
            if commits.get(&dealer) != Some(&&expected) {
                return Err(CeremonyFault::RevealMismatch { member: dealer });
            }
            parts.insert(dealer, Part::open(&self.session, dealer, reveal)?);
        }
        let hash = self.hash_of("aquifer/ceremony/round/v2", &[Step::Commit, Step::Reveal]);
        let own = self.work_out_own(&parts)?;
        Ok(Round { hash, parts, own })
    }

    /// Opens what was dealt to this member and adds everything up.
    fn work_out_own(&self, parts: &BTreeMap<MemberIndex, Part>) -> Result<Own, CeremonyFault> {
        let mut secret = self.host.secret_key();
        let (mut dealt, mut bad) = (Vec::new(), Vec::new());
        for (&dealer, part) in parts {
            let point = sealing::shared_point(&part.ephemeral, &secret);
            match part.dealt(&point, self.route(dealer, self.me)) {
                Some(share) => dealt.push(share),
                None => bad.push(dealer),
            }
        }
        secret.non_secure_erase();
        if !bad.is_empty() {
            return Ok(Own::Bad(bad));
        }
        self.add_up(parts, &dealt).map(|outcome| Own::Complete(Box::new(outcome))).ok_or(CeremonyFault::NoKey)
    }

    fn add_up(&self, parts: &BTreeMap<MemberIndex, Part>, dealt: &[deal::Dealt]) -> Option<Outcome> {
        let sum = deal::add_up(parts, dealt)?;
        let keys = GroupKeys::parse(&self.roster, &sum.key_set, &sum.treasury_key).ok()?;
        let certificate_share = BlsShare::from_bytes(&sum.certificate_share).ok()?;
        if keys.public_key_shares.get(self.me.position()) != Some(&certificate_share.public()) {
            return None;
        }
        let treasury_share = TreasuryShare::from_bytes(&sum.treasury_share, self.me, &keys.treasury_key).ok()?;
        let output = TreasuryOutput::new(&self.roster, keys.treasury_key.internal_key()).ok()?;
        let file_keys = FileKeys { key_set: sum.key_set, treasury_key: sum.treasury_key };
        Some(Outcome { file_keys, keys, output, certificate_share, treasury_share })
    }

    fn route(&self, from: MemberIndex, to: MemberIndex) -> Route<'_> {
        Route { session: &self.session, from, to }
    }

    /// What the round has led to. The round must have been computed.
    fn outcome_of_round(&self) -> Result<&Outcome, CeremonyFault> {
        match &self.round {
            Some(Round { own: Own::Complete(outcome), .. }) => Ok(outcome),
            _ => Err(CeremonyFault::NoKey),
        }
    }

    fn echo_body(&mut self) -> Result<Body, CeremonyFault> {
        let host = self.host;
        let (session, to) = (self.session, self.me);
        let round = self.round()?;
        let bad = match &round.own {
            Own::Bad(dealers) => dealers.as_slice(),
            Own::Complete(_) => &[],
        };
        let complaints = bad.iter().filter_map(|dealer| {
            let ephemeral = &round.parts.get(dealer)?.ephemeral;
            complaint::complain(&host, ephemeral, Route { session: &session, from: *dealer, to })
        });
        Ok(Body::Echo { round_hash: round.hash, complaints: complaints.collect() })
    }

    /// Everybody must have seen the same and have nothing to complain about; judges those that do.
    fn check_echoes(&mut self) -> Result<(), CeremonyFault> {
        self.round()?;
        let round = self.round.as_ref().ok_or(CeremonyFault::NoKey)?;
        for (member, body) in self.bodies((Step::Echo, 0)) {
            let Body::Echo { round_hash, complaints } = body else { continue };
            if *round_hash != round.hash {
                return Err(CeremonyFault::EchoDiffers { member });
            }
            if let Some(complaint) = complaints.first() {
                let dealer = complaint.dealer;
                let part = round.parts.get(&dealer).ok_or(CeremonyFault::UnknownMember(dealer))?;
                return Err(complaint::judge(&self.roster, complaint, part, self.route(dealer, member)));
            }
        }
        Ok(())
    }

    /// What this member states about the outcome.
    fn statement(&mut self) -> Result<Statement, CeremonyFault> {
        self.round()?;
        let outcome = self.outcome_of_round()?;
        let FileKeys { key_set, treasury_key } = &outcome.file_keys;
        Ok(statement(&self.transcript_hash(), key_set, treasury_key, &outcome.keys))
    }

    fn check_statements(&mut self) -> Result<(), CeremonyFault> {
        let ours = Body::Success(self.statement()?);
        match self.bodies((Step::Success, 0)).find(|(_, body)| **body != ours) {
            Some((member, _)) => Err(CeremonyFault::WrongOutcome { member }),
            None => Ok(()),
        }
    }

    /// The furthest step of each member of whom anything is known. Of the test only the attempt counts that goes on.
    pub fn progress(&self) -> Vec<(MemberIndex, Step)> {
        let attempt = self.complete_attempt().unwrap_or_else(|| self.current_attempt());
        let counts = |(step, of): &Place| !matches!(step, Step::Nonces | Step::Test) || *of == attempt;
        let furthest: BTreeMap<MemberIndex, Step> =
            self.log.keys().filter(|(_, place)| counts(place)).map(|(member, (step, _))| (*member, *step)).collect();
        furthest.into_iter().collect()
    }

    /// The federation file and this member's shares, once the success certificate is complete and the test signatures of
    /// every member were verified; never before.
    pub fn outcome(&self) -> Option<CeremonyOutcome> {
        if !self.has_said(Step::Stored) {
            return None;
        }
        let outcome = self.outcome_of_round().ok()?;
        let signatures =
            self.log.iter().filter(|((_, place), _)| *place == (Step::Success, 0)).map(|(_, signed)| signed.signature);
        let file = FederationFile {
            version: FEDERATION_FILE_VERSION,
            roster: self.roster.clone(),
            key_set: outcome.file_keys.key_set.clone(),
            treasury_key: outcome.file_keys.treasury_key.clone(),
            transcript_hash: self.transcript_hash(),
            signatures: signatures.collect(),
        };
        Some(CeremonyOutcome {
            file,
            certificate_share: outcome.certificate_share.clone(),
            treasury_share: outcome.treasury_share.clone(),
        })
    }

    /// Whether every member has said that its outcome is stored. Until then others may still need our messages.
    pub fn all_stored(&self) -> bool {
        self.is_complete((Step::Stored, 0))
    }
}

impl fmt::Debug for Ceremony {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ceremony").field("me", &self.me).field("progress", &self.progress()).finish_non_exhaustive()
    }
}

impl Drop for Ceremony {
    fn drop(&mut self) {
        self.host.non_secure_erase();
    }
}

fn check_host(roster: &Roster, me: MemberIndex, host: &Keypair) -> Result<(), CeremonyError> {
    let card = roster.member(me).ok_or(CeremonyError::NotAMember(me))?;
    if card.host_key == host.public_key() { Ok(()) } else { Err(CeremonyError::WrongSeed(me)) }
}

fn equivocation(first: &Signed, second: &Signed) -> CeremonyFault {
    CeremonyFault::Equivocation {
        member: first.from,
        step: first.body.place().0,
        first: first.bytes.clone(),
        second: second.bytes.clone(),
    }
}

fn statement(transcript_hash: &[u8; 32], key_set: &[u8], treasury_key: &[u8], keys: &GroupKeys) -> Statement {
    let members = (0..keys.public_key_shares.len()).filter_map(|position| u16::try_from(position).ok());
    Statement {
        transcript_hash: *transcript_hash,
        key_set: key_set.to_vec(),
        certificate_shares: keys.public_key_shares.iter().map(|share| share.to_bytes()).collect(),
        treasury_key: treasury_key.to_vec(),
        treasury_shares: members.filter_map(|member| keys.treasury_key.verifying_share(MemberIndex(member))).collect(),
    }
}

/// Verifies a member's signature under the statement that the ceremony of this roster ended with these keys.
pub(crate) fn verify_success(
    file: &FederationFile,
    keys: &GroupKeys,
    member: MemberIndex,
    signature: &schnorr::Signature,
) -> Result<(), CeremonyFault> {
    let roster = &file.roster;
    let body = Body::Success(statement(&file.transcript_hash, &file.key_set, &file.treasury_key, keys));
    message::verify(roster, member, &message::digest(&session_of(roster), member, &body), signature)
}

#[cfg(test)]
pub(crate) mod tests;
