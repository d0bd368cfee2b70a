//! What members say to each other in a ceremony: six steps, each one signed message per member.

use std::fmt;

use bitcoin::secp256k1::{Keypair, Message, SECP256K1, schnorr};
use borsh::{BorshDeserialize, BorshSerialize};
use rand_core::{CryptoRng, RngCore};

use super::CeremonyFault;
use crate::{
    encoding::tagged_hash,
    roster::{MemberIndex, Roster},
};

/// Version of the message format.
const MESSAGE_VERSION: u8 = 1;

/// Largest message accepted, in bytes. The longest real one, a reveal among 20 members, has less than 2,000.
pub const MAX_MESSAGE_SIZE: usize = 16_384;

/// The steps of a ceremony, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// A hash of the reveal, so that nobody chooses its part after seeing those of others.
    Commit,
    /// Commitment to the polynomial, proof of possession, the encrypted shares.
    Reveal,
    /// A hash of everything seen so far, so that all know that all saw the same.
    Echo,
    /// The outcome, signed. All of these together are the success certificate.
    Success,
    /// A signature with the new share.
    Test,
    /// The outcome is safe on disk.
    Stored,
}

impl Step {
    /// All steps in order.
    pub const ALL: [Self; 6] = [Self::Commit, Self::Reveal, Self::Echo, Self::Success, Self::Test, Self::Stored];

    /// The step that must be complete before this one.
    pub(super) fn previous(self) -> Option<Self> {
        Self::ALL.into_iter().rev().find(|step| *step < self)
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Commit => "commit",
            Self::Reveal => "reveal",
            Self::Echo => "echo",
            Self::Success => "success",
            Self::Test => "test",
            Self::Stored => "stored",
        })
    }
}

/// A member's part in the key: public, but for the shares, each of which only its recipient can read.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(super) struct Reveal {
    /// Commitments to the coefficients of the polynomial, `k` compressed points.
    pub(super) commitment: Vec<[u8; 48]>,
    /// Proof that the dealer knows the constant coefficient: a Schnorr signature, point and scalar.
    pub(super) proof: [u8; 80],
    /// Key with which, and the host keys of the recipients, the shares are encrypted.
    pub(super) ephemeral_key: [u8; 33],
    /// One encrypted share for each member in roster order, the dealer included: so a member's share follows from the
    /// messages of all and its host key alone.
    pub(super) shares: Vec<[u8; 48]>,
}

impl Reveal {
    /// What the commit message of the first step holds.
    pub(super) fn hash(&self, session: &[u8; 32]) -> [u8; 32] {
        tagged_hash("aquifer/ceremony/commit/v1", &[session, &encode(self)])
    }
}

/// The content of a message.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(super) enum Body {
    Commit { reveal_hash: [u8; 32] },
    Reveal(Reveal),
    Echo { round_hash: [u8; 32] },
    Success { transcript_hash: [u8; 32], key_set: Vec<u8>, public_shares: Vec<[u8; 48]> },
    Test { share: [u8; 96] },
    Stored,
}

impl Body {
    pub(super) fn step(&self) -> Step {
        match self {
            Self::Commit { .. } => Step::Commit,
            Self::Reveal(_) => Step::Reveal,
            Self::Echo { .. } => Step::Echo,
            Self::Success { .. } => Step::Success,
            Self::Test { .. } => Step::Test,
            Self::Stored => Step::Stored,
        }
    }
}

/// A message whose signature was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Signed {
    pub(super) from: MemberIndex,
    pub(super) body: Body,
    pub(super) signature: schnorr::Signature,
    /// What the signature covers: session, member and content.
    pub(super) digest: [u8; 32],
    /// The message as it is sent.
    pub(super) bytes: Vec<u8>,
}

#[derive(BorshSerialize, BorshDeserialize)]
struct Envelope {
    version: u8,
    session: [u8; 32],
    from: MemberIndex,
    body: Body,
    signature: [u8; 64],
}

/// What a signature covers. It is a function of the content, so it does not change when the same message is signed again.
pub(super) fn digest(session: &[u8; 32], from: MemberIndex, body: &Body) -> [u8; 32] {
    tagged_hash("aquifer/ceremony/message/v1", &[&[MESSAGE_VERSION], session, &from.0.to_le_bytes(), &encode(body)])
}

pub(super) fn sign<R: RngCore + CryptoRng>(
    session: &[u8; 32],
    from: MemberIndex,
    body: Body,
    host: &Keypair,
    rng: &mut R,
) -> Signed {
    let digest = digest(session, from, &body);
    let mut aux = [0; 32];
    rng.fill_bytes(&mut aux);
    let signature = SECP256K1.sign_schnorr_with_aux_rand(&Message::from_digest(digest), host, &aux);
    let envelope =
        Envelope { version: MESSAGE_VERSION, session: *session, from, body, signature: signature.serialize() };
    let bytes = encode(&envelope);
    Signed { from, body: envelope.body, signature, digest, bytes }
}

/// Reads a message and verifies who sent it. Nothing in it is believed before that.
pub(super) fn open(roster: &Roster, session: &[u8; 32], bytes: &[u8]) -> Result<Signed, CeremonyFault> {
    if bytes.len() > MAX_MESSAGE_SIZE {
        return Err(CeremonyFault::TooLarge(bytes.len()));
    }
    let envelope: Envelope = borsh::from_slice(bytes).map_err(|_| CeremonyFault::Undecodable)?;
    if envelope.version != MESSAGE_VERSION {
        return Err(CeremonyFault::Version(envelope.version));
    }
    if envelope.session != *session {
        return Err(CeremonyFault::WrongSession { theirs: envelope.session, ours: *session });
    }
    let from = envelope.from;
    let digest = digest(session, from, &envelope.body);
    let signature = schnorr::Signature::from_slice(&envelope.signature)
        .map_err(|_| CeremonyFault::BadSignature { claimed: from })?;
    if roster.member(from).is_none() {
        return Err(CeremonyFault::UnknownMember(from));
    }
    verify(roster, from, &digest, &signature)?;
    Ok(Signed { from, body: envelope.body, signature, digest, bytes: bytes.to_vec() })
}

/// Verifies the host signature of a member.
pub(super) fn verify(
    roster: &Roster,
    from: MemberIndex,
    digest: &[u8; 32],
    signature: &schnorr::Signature,
) -> Result<(), CeremonyFault> {
    let card = roster.member(from).ok_or(CeremonyFault::UnknownMember(from))?;
    let (host, _) = card.host_key.x_only_public_key();
    SECP256K1
        .verify_schnorr(signature, &Message::from_digest(*digest), &host)
        .map_err(|_| CeremonyFault::BadSignature { claimed: from })
}

/// Borsh writes fail only when the writer does or a list is longer than 2^32; neither happens with these types in memory.
pub(super) fn encode<T: BorshSerialize>(value: &T) -> Vec<u8> {
    borsh::to_vec(value).unwrap_or_default()
}
