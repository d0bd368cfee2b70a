//! Signing with the treasury key: sessions of `k` members, led by coordinators, that end although others are silent or lie.
//!
//! FROST makes a signature in two steps: each of `k` members publishes commitments to two fresh nonces, then each signs over
//! all of them. One member that stays silent or lies stops it. ROAST (Ruffing and others, 2022) wraps it so that this does not
//! matter:
//!
//! * Every member *offers* commitments ([`Offer`]). As soon as `k` of them wait, the coordinator opens a session with those
//!   ([`Request`]) and goes on collecting.
//! * A member answers with its share and, in the same message, its next commitments ([`Answer`]): it waits again, for another
//!   session, should this one fail.
//! * When all `k` have answered, their shares are put together. If the signature is wrong, every bad share is found, and
//!   its maker is named and excluded.
//!
//! # Why it ends
//! A member is awaited in one session at a time. Shares are looked at singly only when a complete session gives a wrong
//! signature, since that is much cheaper where all are honest. So a silent member stops one session, in which it stays for ever;
//! a liar stops the one in which it is found out and at most one more, in which it is awaited at that moment. The paper counts
//! `n - k + 1` sessions; here `s` silent members and `l` liars stop at most `s + 2l`, and `k` honest ones finish the next,
//! without any clock. Members that were restarted offer again, which costs another session each time; whoever does so too
//! often is excluded.
//!
//! # One session for a whole batch
//! A batch may spend many outputs of the treasury, each with its own hash to sign. Everything here is a list with one entry
//! per such input: commitments, shares, signatures. A nonce signs one input of one batch in one session.
//!
//! # Several coordinators
//! A coordinator that stays silent or lies can only delay: shares are of no use without `k` of them, and members sign nothing
//! but what they have worked out themselves. Every member can be a coordinator; nonces are kept per batch and coordinator, so
//! two of them never get the same ones.
//!
//! # Nonces
//! Two signatures with one nonce give the share away. So nonces come fresh from the random number generator, live in memory
//! only, are removed from there before they sign, and are gone after a restart ([`Signer`]). A session repeated by its
//! coordinator gets the recorded answer, not a second signature.

mod coordinator;
mod nonces;
mod signer;

use std::collections::BTreeMap;

use bitcoin::Txid;
use frost_secp256k1_tr::round1::{NonceCommitment, SigningCommitments};

pub use coordinator::{Coordinator, Effect, Misbehaviour};
pub use signer::{Refusal, Signer};

use crate::roster::MemberIndex;

/// A member's commitments to its nonces: hiding and binding, two compressed points, for every output of the treasury that
/// a batch spends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commitments(pub Vec<[[u8; 33]; 2]>);

/// A member is ready to sign a batch in a session of this coordinator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The batch.
    pub batch: Txid,
    /// Whose session it will be.
    pub coordinator: MemberIndex,
    /// For nonces that are used once.
    pub commitments: Commitments,
}

/// One session: which start of the coordinator, and which of its sessions for the batch.
///
/// A coordinator that was restarted knows nothing of its earlier sessions. Their answers may still be on the way, and must not
/// be taken for wrong answers to the new ones: so each start has a number of its own, drawn at random.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SessionId {
    /// The start of the coordinator.
    pub run: u64,
    /// The session, counted from 0.
    pub number: u32,
}

impl std::fmt::Display for SessionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}/{}", self.run, self.number)
    }
}

/// A coordinator asks the members named to sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The batch.
    pub batch: Txid,
    /// Who asks.
    pub coordinator: MemberIndex,
    /// In which session.
    pub session: SessionId,
    /// Who signs, and with which nonces.
    pub commitments: BTreeMap<MemberIndex, Commitments>,
}

/// A member's part in a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The batch.
    pub batch: Txid,
    /// Whose session it is.
    pub coordinator: MemberIndex,
    /// Which session it is.
    pub session: SessionId,
    /// A share of each signature.
    pub shares: Vec<[u8; 32]>,
    /// For the next session, should there be one.
    pub next: Commitments,
}

impl Commitments {
    /// Reads all of them, if there are `count` and all are points.
    fn parse(&self, count: usize) -> Option<Vec<SigningCommitments>> {
        // Before the work with each point.
        if self.0.len() != count {
            return None;
        }
        let read = |bytes: &[u8; 33]| NonceCommitment::deserialize(bytes).ok();
        self.0.iter().map(|[hiding, binding]| Some(SigningCommitments::new(read(hiding)?, read(binding)?))).collect()
    }

    fn write(commitments: &[SigningCommitments]) -> Option<Self> {
        let write = |commitment: &NonceCommitment| -> Option<[u8; 33]> { commitment.serialize().ok()?.try_into().ok() };
        let all: Option<Vec<[[u8; 33]; 2]>> = commitments
            .iter()
            .map(|commitments| Some([write(commitments.hiding())?, write(commitments.binding())?]))
            .collect();
        all.map(Self)
    }
}

#[cfg(test)]
mod tests;
