//! The ceremony: all members make the certificate key together, and nobody ever knows it.
//!
//! # The protocol
//! Every message is signed by the host key of its sender and bound to the session, a hash of the roster. A step begins for a
//! member when it has the messages of the step before from *all* members.
//!
//! | step | a member says | and has checked before |
//! |---|---|---|
//! | commit | the hash of its reveal | |
//! | reveal | commitment to its polynomial, proof of possession, all encrypted shares | everybody has committed |
//! | echo | the hash of all commits and reveals | reveals match commits, proofs hold, its own shares fit |
//! | success | transcript hash, key set, all public shares | everybody saw the same messages |
//! | test | a signature with its new share | everybody stated the same outcome |
//! | stored | that the outcome is safe | every test signature, and their combination under the key |
//!
//! # Why it is safe
//! * Commit before reveal: nobody can choose its part, and so bias the key, after seeing those of others.
//! * All shares are in the broadcast, and echoes cover every byte of it: a member cannot tell different members different
//!   things. If it tries, the two messages meet as they spread, and prove it ([`CeremonyFault::Equivocation`]).
//! * The success certificate, `n` signatures under one outcome, convinces anybody later that all members finished with the
//!   same key. Before it is complete the share is not used, not even for the test.
//! * The test catches a member that signed success without a usable share.
//!
//! # How it travels
//! A [`Ceremony`] is a set of messages that only grows. Members pull each other's set and [`Ceremony::accept`] what they
//! find, in any order, any number of times, from anyone; then [`Ceremony::advance`] says what can be said. Silence delays,
//! nothing else: there are no clocks.
//!
//! # Crashes
//! A member's part is dealt once, in [`Ceremony::new`]; the polynomial is forgotten at once, only its encrypted shares are
//! kept. [`Ceremony::save`] holds everything. A caller persists it **before** it hands out [`Ceremony::messages`]; then a
//! restart, at any point, says the same things again. A member that lost it must not start over in the same session:
//! others would see, rightly, two different messages of one step.
//!
//! The share itself is never saved here: it follows from the messages and the host key, and is computed again.

mod deal;
mod fault;
mod message;
mod saved;
mod suite;

use std::{collections::BTreeMap, fmt};

use bitcoin::secp256k1::{Keypair, schnorr};
use rand_core::{CryptoRng, RngCore};
use threshold_crypto::{PublicKeySet, PublicKeyShare, SignatureShare};

pub use fault::{CeremonyError, CeremonyFault};
use message::{Body, Reveal, Signed};
pub use message::{MAX_MESSAGE_SIZE, Step};

use crate::{
    encoding::tagged_hash,
    federation::{FEDERATION_FILE_VERSION, FederationFile, parse_key_set},
    keys::{BlsShare, MemberSeed},
    roster::{MemberIndex, Roster},
};

/// One member's view of a ceremony.
pub struct Ceremony {
    roster: Roster,
    session: [u8; 32],
    me: MemberIndex,
    host: Keypair,
    /// This member's part. Dealt once and never again.
    reveal: Reveal,
    /// The first message seen of each member and step.
    log: BTreeMap<(MemberIndex, Step), Signed>,
    /// The first message seen that contradicts one in the log.
    contradiction: Option<Signed>,
    /// What follows from the reveals, once it was computed.
    result: Option<Outcome>,
}

/// What follows from the commits, reveals and echoes.
struct Outcome {
    round_hash: [u8; 32],
    key_set_bytes: Vec<u8>,
    key_set: PublicKeySet,
    public_shares: Vec<PublicKeyShare>,
    share: BlsShare,
}

/// The session of the ceremony of a roster.
fn session_of(roster: &Roster) -> [u8; 32] {
    tagged_hash("aquifer/ceremony/session/v1", &[&roster.hash()])
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
        Ok(Self { roster, session, me, host, reveal, log: BTreeMap::new(), contradiction: None, result: None })
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
        let (member, step) = (signed.from, signed.body.step());
        self.check_form(&signed).map_err(|reason| CeremonyFault::Malformed { member, step, reason })?;
        let Some(known) = self.log.get(&(member, step)) else {
            self.log.insert((member, step), signed);
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

    fn check_form(&self, signed: &Signed) -> Result<(), &'static str> {
        match &signed.body {
            Body::Reveal(reveal) => deal::has_right_form(&self.roster, reveal),
            _ => Ok(()),
        }
    }

    /// Says what can be said now: goes on to further steps as long as all messages of the step before are there.
    /// `true` if there is a new message of ours; persist [`Ceremony::save`] then.
    ///
    /// # Errors
    /// [`CeremonyFault`] if what the others said cannot lead to a key. It comes back on every call.
    pub fn advance<R: RngCore + CryptoRng>(&mut self, rng: &mut R) -> Result<bool, CeremonyFault> {
        let mut advanced = false;
        while let Some(body) = self.next_body()? {
            let signed = message::sign(&self.session, self.me, body, &self.host, rng);
            self.log.insert((self.me, signed.body.step()), signed);
            advanced = true;
        }
        Ok(advanced)
    }

    /// The content of this member's next message, or `None` while others are missing or everything is said.
    fn next_body(&mut self) -> Result<Option<Body>, CeremonyFault> {
        if let Some(second) = &self.contradiction
            && let Some(first) = self.log.get(&(second.from, second.body.step()))
        {
            return Err(equivocation(first, second));
        }
        let Some(step) = Step::ALL.into_iter().find(|step| !self.log.contains_key(&(self.me, *step))) else {
            return Ok(None);
        };
        if step.previous().is_some_and(|previous| !self.is_complete(previous)) {
            return Ok(None);
        }
        let body = match step {
            Step::Commit => Body::Commit { reveal_hash: self.reveal.hash(&self.session) },
            Step::Reveal => Body::Reveal(self.reveal.clone()),
            Step::Echo => Body::Echo { round_hash: self.result()?.round_hash },
            Step::Success => {
                self.check_echoes()?;
                self.success_body()?
            }
            Step::Test => {
                self.check_outcomes()?;
                let message = self.test_message();
                Body::Test { share: self.result()?.share.sign(&message).to_bytes() }
            }
            Step::Stored => {
                self.check_tests()?;
                Body::Stored
            }
        };
        Ok(Some(body))
    }

    /// Whether all members' messages of a step are known.
    fn is_complete(&self, step: Step) -> bool {
        self.roster.indexed().all(|(index, _)| self.log.contains_key(&(index, step)))
    }

    fn bodies(&self, step: Step) -> impl Iterator<Item = (MemberIndex, &Body)> {
        self.log.iter().filter(move |((_, s), _)| *s == step).map(|((member, _), signed)| (*member, &signed.body))
    }

    /// A hash of the messages of these steps, signatures excluded.
    fn hash_of(&self, tag: &str, steps: &[Step]) -> [u8; 32] {
        let digests = self.log.iter().filter(|((_, step), _)| steps.contains(step)).map(|(_, signed)| &signed.digest);
        let mut parts: Vec<&[u8]> = vec![&self.session];
        parts.extend(digests.map(<[u8; 32]>::as_slice));
        tagged_hash(tag, &parts)
    }

    fn transcript_hash(&self) -> [u8; 32] {
        self.hash_of("aquifer/ceremony/transcript/v1", &[Step::Commit, Step::Reveal, Step::Echo])
    }

    fn test_message(&self) -> [u8; 32] {
        tagged_hash("aquifer/ceremony/test/v1", &[&self.session, &self.transcript_hash()])
    }

    /// Adds up the parts, the first time it is asked. All reveals must be there.
    fn result(&mut self) -> Result<&Outcome, CeremonyFault> {
        let outcome = match self.result.take() {
            Some(outcome) => outcome,
            None => self.add_up()?,
        };
        Ok(self.result.insert(outcome))
    }

    fn add_up(&self) -> Result<Outcome, CeremonyFault> {
        let commits: BTreeMap<MemberIndex, &Body> = self.bodies(Step::Commit).collect();
        let mut reveals = BTreeMap::new();
        for (member, body) in self.bodies(Step::Reveal) {
            if let Body::Reveal(reveal) = body {
                let expected = Body::Commit { reveal_hash: reveal.hash(&self.session) };
                if commits.get(&member) != Some(&&expected) {
                    return Err(CeremonyFault::RevealMismatch { member });
                }
                reveals.insert(member, reveal);
            }
        }
        let sum = deal::add_up(&self.roster, &self.session, self.me, &self.host, &reveals)?;
        let (key_set, _) = parse_key_set(&sum.key_set, self.roster.threshold()).map_err(|_| CeremonyFault::NoKey)?;
        let public_shares: Vec<PublicKeyShare> =
            self.roster.indexed().map(|(index, _)| key_set.public_key_share(index.position())).collect();
        if public_shares.get(self.me.position()) != Some(&sum.share.public()) {
            return Err(CeremonyFault::NoKey);
        }
        let round_hash = self.hash_of("aquifer/ceremony/round/v1", &[Step::Commit, Step::Reveal]);
        Ok(Outcome { round_hash, key_set_bytes: sum.key_set, key_set, public_shares, share: sum.share })
    }

    fn check_echoes(&mut self) -> Result<(), CeremonyFault> {
        let ours = Body::Echo { round_hash: self.result()?.round_hash };
        match self.bodies(Step::Echo).find(|(_, body)| **body != ours) {
            Some((member, _)) => Err(CeremonyFault::EchoDiffers { member }),
            None => Ok(()),
        }
    }

    fn success_body(&mut self) -> Result<Body, CeremonyFault> {
        let transcript_hash = self.transcript_hash();
        let outcome = self.result()?;
        Ok(success_body(&transcript_hash, &outcome.key_set_bytes, &outcome.public_shares))
    }

    fn check_outcomes(&mut self) -> Result<(), CeremonyFault> {
        let ours = self.success_body()?;
        match self.bodies(Step::Success).find(|(_, body)| **body != ours) {
            Some((member, _)) => Err(CeremonyFault::WrongOutcome { member }),
            None => Ok(()),
        }
    }

    /// Every member's share must work, and they must combine to a signature under the key.
    fn check_tests(&mut self) -> Result<(), CeremonyFault> {
        let message = self.test_message();
        self.result()?;
        let outcome = self.result.as_ref().ok_or(CeremonyFault::NoKey)?;
        let mut shares = Vec::new();
        for (member, body) in self.bodies(Step::Test) {
            let Body::Test { share } = body else { continue };
            let key = outcome.public_shares.get(member.position()).ok_or(CeremonyFault::UnknownMember(member))?;
            match SignatureShare::from_bytes(*share) {
                Ok(share) if key.verify(&share, message) => shares.push((member.position(), share)),
                _ => return Err(CeremonyFault::BadTest { member }),
            }
        }
        let signature = outcome.key_set.combine_signatures(shares).map_err(|_| CeremonyFault::NoKey)?;
        if outcome.key_set.public_key().verify(&signature, message) { Ok(()) } else { Err(CeremonyFault::NoKey) }
    }

    /// The furthest step of each member of whom anything is known.
    pub fn progress(&self) -> Vec<(MemberIndex, Step)> {
        let furthest: BTreeMap<MemberIndex, Step> = self.log.keys().copied().collect();
        furthest.into_iter().collect()
    }

    /// The federation file and this member's share, once the success certificate is complete and the test signature of
    /// every member was verified; never before.
    pub fn outcome(&self) -> Option<(FederationFile, BlsShare)> {
        if !self.log.contains_key(&(self.me, Step::Stored)) {
            return None;
        }
        let outcome = self.result.as_ref()?;
        let signatures =
            self.log.iter().filter(|((_, step), _)| *step == Step::Success).map(|(_, signed)| signed.signature);
        let file = FederationFile {
            version: FEDERATION_FILE_VERSION,
            roster: self.roster.clone(),
            key_set: outcome.key_set_bytes.clone(),
            transcript_hash: self.transcript_hash(),
            signatures: signatures.collect(),
        };
        Some((file, outcome.share.clone()))
    }

    /// Whether every member has said that its outcome is stored. Until then others may still need our messages.
    pub fn all_stored(&self) -> bool {
        self.is_complete(Step::Stored)
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
        member: second.from,
        step: second.body.step(),
        first: first.bytes.clone(),
        second: second.bytes.clone(),
    }
}

fn success_body(transcript_hash: &[u8; 32], key_set: &[u8], public_shares: &[PublicKeyShare]) -> Body {
    Body::Success {
        transcript_hash: *transcript_hash,
        key_set: key_set.to_vec(),
        public_shares: public_shares.iter().map(|share| share.to_bytes()).collect(),
    }
}

/// Verifies a member's signature under the statement that the ceremony of this roster ended with this key set.
pub(crate) fn verify_success(
    roster: &Roster,
    member: MemberIndex,
    transcript_hash: &[u8; 32],
    key_set: &[u8],
    public_shares: &[PublicKeyShare],
    signature: &schnorr::Signature,
) -> Result<(), CeremonyFault> {
    let body = success_body(transcript_hash, key_set, public_shares);
    message::verify(roster, member, &message::digest(&session_of(roster), member, &body), signature)
}

#[cfg(test)]
pub(crate) mod tests;
