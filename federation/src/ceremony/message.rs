//! What members say to each other in a ceremony: one signed message per member and step. The two steps of the test can be
//! repeated, as numbered attempts.

use std::fmt;

use bitcoin::secp256k1::{Keypair, Message, SECP256K1, schnorr};
use borsh::{BorshDeserialize, BorshSerialize};
use rand_core::{CryptoRng, RngCore};

use super::{CeremonyFault, complaint::Complaint, sealing::SEALED_SIZE};
use crate::{
    encoding::tagged_hash,
    roster::{MemberIndex, Roster},
};

/// Version of the message format.
const MESSAGE_VERSION: u8 = 2;

/// Largest message accepted, in bytes. The longest real one, a statement of success among 20 members, has less than 3,000.
pub const MAX_MESSAGE_SIZE: usize = 16_384;

/// The steps of a ceremony, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// A hash of the reveal, so that nobody chooses its part after seeing those of others.
    Commit,
    /// Commitments to the polynomials, proofs of possession, the encrypted shares.
    Reveal,
    /// A hash of everything seen so far, so that all know that all saw the same; and complaints about bad shares.
    Echo,
    /// The outcome, signed. All of these together are the success certificate.
    Success,
    /// Fresh nonces for the test signature under the treasury key. May be repeated.
    Nonces,
    /// A signature with each new share. May be repeated.
    Test,
    /// The outcome is safe on disk.
    Stored,
}

impl Step {
    /// All steps in order.
    pub const ALL: [Self; 7] =
        [Self::Commit, Self::Reveal, Self::Echo, Self::Success, Self::Nonces, Self::Test, Self::Stored];
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Commit => "commit",
            Self::Reveal => "reveal",
            Self::Echo => "echo",
            Self::Success => "success",
            Self::Nonces => "nonces",
            Self::Test => "test",
            Self::Stored => "stored",
        })
    }
}

/// The public side of a polynomial.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(super) struct Section<const POINT: usize, const PROOF: usize> {
    /// Commitments to the coefficients, `k` compressed points.
    pub(super) commitment: Vec<[u8; POINT]>,
    /// Proof that the dealer knows the constant coefficient: a Schnorr signature bound to session and dealer.
    pub(super) proof: [u8; PROOF],
}

/// A member's part in the keys: public, but for the shares, each of which only its recipient can read.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(super) struct Reveal {
    /// Its part in the certificate key, over BLS12-381 G1.
    pub(super) certificate: Section<48, 80>,
    /// Its part in the treasury key, over secp256k1.
    pub(super) treasury: Section<33, 64>,
    /// Key with which, and the host keys of the recipients, the shares are encrypted.
    pub(super) ephemeral_key: [u8; 33],
    /// Proof that the dealer knows the secret of that key: a BIP 340 signature bound to session and dealer.
    pub(super) ephemeral_proof: [u8; 64],
    /// The encrypted shares of both keys for each member in roster order, the dealer included: so a member's shares follow
    /// from the messages of all and its host key alone.
    pub(super) shares: Vec<[u8; SEALED_SIZE]>,
}

impl Reveal {
    /// What the commit message of the first step holds.
    pub(super) fn hash(&self, session: &[u8; 32]) -> [u8; 32] {
        tagged_hash("aquifer/ceremony/commit/v2", &[session, &encode(self)])
    }
}

/// What every member states at the end.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(super) struct Statement {
    pub(super) transcript_hash: [u8; 32],
    /// Commitment to the polynomial of the certificate key.
    pub(super) key_set: Vec<u8>,
    /// What the members' certificate shares are checked with.
    pub(super) certificate_shares: Vec<[u8; 48]>,
    /// Commitment to the polynomial of the treasury key.
    pub(super) treasury_key: Vec<u8>,
    /// What the members' treasury shares are checked with.
    pub(super) treasury_shares: Vec<[u8; 33]>,
}

/// The content of a message.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(super) enum Body {
    Commit {
        reveal_hash: [u8; 32],
    },
    Reveal(Reveal),
    Echo {
        round_hash: [u8; 32],
        complaints: Vec<Complaint>,
    },
    Success(Statement),
    /// Commitments to the hiding and the binding nonce.
    Nonces {
        attempt: u32,
        commitments: [[u8; 33]; 2],
    },
    Test {
        attempt: u32,
        certificate: [u8; 96],
        treasury: [u8; 32],
    },
    Stored,
}

/// Where a message stands: its step, and for the test the attempt, else 0.
pub(super) type Place = (Step, u32);

impl Body {
    pub(super) fn place(&self) -> Place {
        match self {
            Self::Commit { .. } => (Step::Commit, 0),
            Self::Reveal(_) => (Step::Reveal, 0),
            Self::Echo { .. } => (Step::Echo, 0),
            Self::Success(_) => (Step::Success, 0),
            Self::Nonces { attempt, .. } => (Step::Nonces, *attempt),
            Self::Test { attempt, .. } => (Step::Test, *attempt),
            Self::Stored => (Step::Stored, 0),
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
    tagged_hash("aquifer/ceremony/message/v2", &[&[MESSAGE_VERSION], session, &from.0.to_le_bytes(), &encode(body)])
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
