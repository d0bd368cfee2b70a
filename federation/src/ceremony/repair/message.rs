//! What members say to each other in a repair. Every message is signed by the host key of its sender and bound to one request.

use bitcoin::secp256k1::{Keypair, Message, SECP256K1, schnorr};
use borsh::{BorshDeserialize, BorshSerialize};

use super::{RepairFault, room_of};
use crate::{
    ceremony::{
        message::{MAX_MESSAGE_SIZE, encode},
        sealing::SEALED_SIZE,
    },
    encoding::tagged_hash,
    roster::{MemberIndex, Roster},
};

const MESSAGE_VERSION: u8 = 1;

/// The points of one delta, on either curve.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(super) struct DeltaPoints {
    pub(super) certificate: [u8; 48],
    pub(super) treasury: [u8; 33],
}

/// Encrypted for others: an ephemeral key, and one secret for each of them.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(super) struct Letter {
    pub(super) ephemeral_key: [u8; 33],
    pub(super) sealed: Vec<[u8; SEALED_SIZE]>,
}

/// Which message of a member it is. Each member says one of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kind {
    Request,
    Deltas,
    Sum,
}

#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(super) enum Body {
    /// The member in need asks these helpers, in ascending order. The number makes every request another one.
    Request { helpers: Vec<MemberIndex>, number: [u8; 32] },
    /// A helper's deltas, one for each helper in order, in points for all and encrypted for each.
    Deltas { points: Vec<DeltaPoints>, letter: Letter },
    /// The sum of the deltas that a helper was given, for the member in need; and which deltas it has seen.
    Sum { deltas_hash: [u8; 32], letter: Letter },
}

impl Body {
    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Request { .. } => Kind::Request,
            Self::Deltas { .. } => Kind::Deltas,
            Self::Sum { .. } => Kind::Sum,
        }
    }
}

/// A message whose signature was verified.
#[derive(Clone, Debug)]
pub(super) struct Signed {
    pub(super) from: MemberIndex,
    pub(super) body: Body,
    pub(super) digest: [u8; 32],
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

/// The session that a request opens: everything that is fixed by it.
pub(super) fn session_of_request(
    roster: &Roster,
    from: MemberIndex,
    helpers: &[MemberIndex],
    number: &[u8; 32],
) -> [u8; 32] {
    tagged_hash("aquifer/repair/session/v1", &[&room_of(roster, from), &encode(&helpers), number])
}

/// A function of the content alone, without randomness: said again after a restart, a message has the same bytes.
pub(super) fn sign(session: &[u8; 32], from: MemberIndex, body: Body, host: &Keypair) -> Signed {
    let digest = digest(session, from, &body);
    let signature = SECP256K1.sign_schnorr_no_aux_rand(&Message::from_digest(digest), host);
    let envelope =
        Envelope { version: MESSAGE_VERSION, session: *session, from, body, signature: signature.serialize() };
    let bytes = encode(&envelope);
    Signed { from, body: envelope.body, digest, bytes }
}

fn digest(session: &[u8; 32], from: MemberIndex, body: &Body) -> [u8; 32] {
    tagged_hash("aquifer/repair/message/v1", &[&[MESSAGE_VERSION], session, &from.0.to_le_bytes(), &encode(body)])
}

/// Reads a message of any session and verifies who sent it. Nothing in it is believed before that.
pub(super) fn open(roster: &Roster, bytes: &[u8]) -> Result<([u8; 32], Signed), RepairFault> {
    if bytes.len() > MAX_MESSAGE_SIZE {
        return Err(RepairFault::TooLarge(bytes.len()));
    }
    let envelope: Envelope = borsh::from_slice(bytes).map_err(|_| RepairFault::Undecodable)?;
    if envelope.version != MESSAGE_VERSION {
        return Err(RepairFault::Version(envelope.version));
    }
    let Envelope { session, from, body, signature, .. } = envelope;
    let card = roster.member(from).ok_or(RepairFault::UnknownMember(from))?;
    let digest = digest(&session, from, &body);
    schnorr::Signature::from_slice(&signature)
        .and_then(|signature| {
            let (host, _) = card.host_key.x_only_public_key();
            SECP256K1.verify_schnorr(&signature, &Message::from_digest(digest), &host)
        })
        .map_err(|_| RepairFault::BadSignature { claimed: from })?;
    Ok((session, Signed { from, body, digest, bytes: bytes.to_vec() }))
}
