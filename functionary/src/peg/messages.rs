//! The messages of signing sessions as they travel between members, read strictly.
//!
//! Who sent a message is known from its connection, so no message names its sender or receiver: an offer and an answer are
//! for a session of whoever gets them, a request is for one of whoever sends it. Every list is one field of bytes whose
//! length is checked before anything is made of it.

use std::collections::BTreeMap;

use aquifer_federation::roster::MemberIndex;
use aquifer_federation::treasury::MAX_ACCEPTED_WEIGHT;
use aquifer_federation::treasury::roast::{Answer, Commitments, Offer, Request, SessionId};
use aquifer_proto::peer::{KeySignatures, SigningAnswer, SigningOffer, SigningRequest, peer_message::Kind};
use bitcoin::Txid;
use bitcoin::hashes::Hash as _;
use bitcoin::secp256k1::schnorr;

/// Two compressed points.
const COMMITMENT_LEN: usize = 66;
const SHARE_LEN: usize = 32;
const SIGNATURE_LEN: usize = 64;
/// Weight of the smallest input that spends an output of the treasury: outpoint, script length and sequence, and a witness
/// of one signature.
const LEAST_INPUT_WEIGHT: u64 = 41 * 4 + 66;

/// A message of a signing session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionMessage {
    /// To a coordinator: a member is ready.
    Offer(Offer),
    /// From a coordinator: sign.
    Request(Request),
    /// To a coordinator: signed.
    Answer(Answer),
}

impl SessionMessage {
    /// The batch that it is about.
    pub fn batch(&self) -> &Txid {
        match self {
            Self::Offer(offer) => &offer.batch,
            Self::Request(request) => &request.batch,
            Self::Answer(answer) => &answer.batch,
        }
    }
}

/// A message that no honest member sends.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// The transaction id has another length.
    #[error("a transaction id of {0} bytes")]
    Txid(usize),
    /// A list is empty, too long, or has no whole number of elements.
    #[error("{field} of {found} bytes: not between 1 and {most} elements of {element} bytes")]
    List {
        /// Which list.
        field: &'static str,
        /// Its length in bytes.
        found: usize,
        /// Length of an element in bytes.
        element: usize,
        /// Most elements.
        most: usize,
    },
    /// Other than as many members as must sign.
    #[error("signers of {found} bytes, {expected} are expected")]
    Signers {
        /// Bytes found.
        found: usize,
        /// Bytes for as many members as must sign.
        expected: usize,
    },
    /// The members are not in ascending order.
    #[error("the signers are not in ascending order")]
    Order,
    /// Bytes that are no BIP 340 signature.
    #[error("signature {0} is malformed")]
    Signature(usize),
}

/// Most outputs of the treasury that a batch within the limits can spend.
fn max_key_spends() -> usize {
    usize::try_from(MAX_ACCEPTED_WEIGHT / LEAST_INPUT_WEIGHT).unwrap_or(usize::MAX)
}

fn txid(bytes: &[u8]) -> Result<Txid, MessageError> {
    Ok(Txid::from_byte_array(bytes.try_into().map_err(|_| MessageError::Txid(bytes.len()))?))
}

/// Splits a list into its elements; `most` bounds what is made of it.
fn list<'a, const LEN: usize>(
    field: &'static str,
    bytes: &'a [u8],
    most: usize,
) -> Result<impl Iterator<Item = [u8; LEN]> + use<'a, LEN>, MessageError> {
    let wrong = MessageError::List { field, found: bytes.len(), element: LEN, most };
    let (elements, rest) = bytes.as_chunks::<LEN>();
    if elements.is_empty() || elements.len() > most || !rest.is_empty() {
        return Err(wrong);
    }
    Ok(elements.iter().copied())
}

fn commitments(field: &'static str, bytes: &[u8]) -> Result<Commitments, MessageError> {
    let pairs = list::<COMMITMENT_LEN>(field, bytes, max_key_spends())?;
    let pair = |bytes: [u8; COMMITMENT_LEN]| {
        let (mut hiding, mut binding) = ([0; 33], [0; 33]);
        let (first, second) = bytes.split_at(33);
        hiding.copy_from_slice(first);
        binding.copy_from_slice(second);
        [hiding, binding]
    };
    Ok(Commitments(pairs.map(pair).collect()))
}

fn write_commitments(commitments: &Commitments) -> Vec<u8> {
    commitments.0.iter().flatten().flatten().copied().collect()
}

/// Reads an offer that was sent to member `me`.
///
/// # Errors
/// [`MessageError`]; whoever sent it is at fault.
pub fn read_offer(me: MemberIndex, message: &SigningOffer) -> Result<SessionMessage, MessageError> {
    Ok(SessionMessage::Offer(Offer {
        batch: txid(&message.txid)?,
        coordinator: me,
        commitments: commitments("commitments", &message.commitments)?,
    }))
}

/// Reads a request of member `from` that asks `threshold` members to sign.
///
/// # Errors
/// [`MessageError`]; whoever sent it is at fault.
pub fn read_request(
    from: MemberIndex,
    threshold: usize,
    message: &SigningRequest,
) -> Result<SessionMessage, MessageError> {
    let (signers, expected) = (&message.signers, threshold.saturating_mul(2));
    if signers.len() != expected {
        return Err(MessageError::Signers { found: signers.len(), expected });
    }
    let members: Vec<MemberIndex> =
        list::<2>("signers", signers, threshold)?.map(|bytes| MemberIndex(u16::from_be_bytes(bytes))).collect();
    if !members.is_sorted_by(|one, next| one < next) {
        return Err(MessageError::Order);
    }
    let found = message.commitments.len();
    let most = max_key_spends().saturating_mul(threshold);
    let length = found.checked_div(threshold).filter(|length| length.checked_mul(threshold) == Some(found));
    let length = length.filter(|length| *length > 0).ok_or(MessageError::List {
        field: "commitments",
        found,
        element: COMMITMENT_LEN,
        most,
    })?;
    let of_each = message.commitments.chunks_exact(length).map(|bytes| commitments("commitments", bytes));
    let commitments = members.into_iter().zip(of_each).map(|(member, read)| Ok((member, read?)));
    Ok(SessionMessage::Request(Request {
        batch: txid(&message.txid)?,
        coordinator: from,
        session: SessionId { run: message.run, number: message.number },
        commitments: commitments.collect::<Result<BTreeMap<_, _>, MessageError>>()?,
    }))
}

/// Reads an answer to a session of member `me`.
///
/// # Errors
/// [`MessageError`]; whoever sent it is at fault.
pub fn read_answer(me: MemberIndex, message: &SigningAnswer) -> Result<SessionMessage, MessageError> {
    Ok(SessionMessage::Answer(Answer {
        batch: txid(&message.txid)?,
        coordinator: me,
        session: SessionId { run: message.run, number: message.number },
        shares: list::<SHARE_LEN>("shares", &message.shares, max_key_spends())?.collect(),
        next: commitments("next", &message.next)?,
    }))
}

/// The message on its way.
pub fn write(message: &SessionMessage) -> Kind {
    match message {
        SessionMessage::Offer(offer) => Kind::SigningOffer(SigningOffer {
            txid: txid_bytes(&offer.batch),
            commitments: write_commitments(&offer.commitments).into(),
        }),
        SessionMessage::Request(request) => Kind::SigningRequest(SigningRequest {
            txid: txid_bytes(&request.batch),
            run: request.session.run,
            number: request.session.number,
            signers: request.commitments.keys().flat_map(|member| member.0.to_be_bytes()).collect::<Vec<_>>().into(),
            commitments: request.commitments.values().flat_map(write_commitments).collect::<Vec<_>>().into(),
        }),
        SessionMessage::Answer(answer) => Kind::SigningAnswer(SigningAnswer {
            txid: txid_bytes(&answer.batch),
            run: answer.session.run,
            number: answer.session.number,
            shares: answer.shares.concat().into(),
            next: write_commitments(&answer.next).into(),
        }),
    }
}

/// Reads finished signatures: the batch, and one for every output of the treasury that it spends.
///
/// # Errors
/// [`MessageError`]; whoever sent it is at fault.
pub fn read_key_signatures(message: &KeySignatures) -> Result<(Txid, Vec<schnorr::Signature>), MessageError> {
    let signatures = list::<SIGNATURE_LEN>("signatures", &message.signatures, max_key_spends())?;
    let read = |(position, bytes): (usize, [u8; SIGNATURE_LEN])| {
        schnorr::Signature::from_slice(&bytes).map_err(|_| MessageError::Signature(position))
    };
    Ok((txid(&message.txid)?, signatures.enumerate().map(read).collect::<Result<_, _>>()?))
}

/// Finished signatures on their way.
pub fn write_key_signatures(height: u32, txid: &Txid, signatures: &[schnorr::Signature]) -> Kind {
    let signatures: Vec<u8> = signatures.iter().flat_map(schnorr::Signature::serialize).collect();
    Kind::KeySignatures(KeySignatures { height, txid: txid_bytes(txid), signatures: signatures.into() })
}

fn txid_bytes(txid: &Txid) -> bytes::Bytes {
    txid.to_byte_array().to_vec().into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use rand::{Rng as _, RngCore as _, SeedableRng as _};
    use rand_chacha::ChaCha20Rng;

    use super::*;

    const ME: MemberIndex = MemberIndex(3);

    fn batch() -> Txid {
        Txid::from_byte_array([7; 32])
    }

    fn some_commitments(count: u8) -> Commitments {
        Commitments((0..count).map(|number| [[number; 33], [number ^ 0xff; 33]]).collect())
    }

    fn request() -> Request {
        Request {
            batch: batch(),
            coordinator: ME,
            session: SessionId { run: u64::MAX - 1, number: 4 },
            commitments: [0, 2, 258].map(|member| (MemberIndex(member), some_commitments(2))).into(),
        }
    }

    fn read(kind: Kind) -> Result<SessionMessage, MessageError> {
        match kind {
            Kind::SigningOffer(message) => read_offer(ME, &message),
            Kind::SigningRequest(message) => read_request(ME, 3, &message),
            Kind::SigningAnswer(message) => read_answer(ME, &message),
            other => unreachable!("{other:?}"),
        }
    }

    #[test]
    fn messages_come_back_as_written() {
        let offer = Offer { batch: batch(), coordinator: ME, commitments: some_commitments(9) };
        let session = SessionId { run: 5, number: 6 };
        let shares = vec![[1; 32], [2; 32]];
        let answer = Answer { batch: batch(), coordinator: ME, session, shares, next: some_commitments(2) };
        for message in
            [SessionMessage::Offer(offer), SessionMessage::Request(request()), SessionMessage::Answer(answer)]
        {
            assert_eq!(read(write(&message)), Ok(message));
        }
    }

    #[test]
    fn requests_of_the_wrong_form_are_refused() {
        let Kind::SigningRequest(good) = write(&SessionMessage::Request(request())) else { unreachable!() };
        let refused = |change: &dyn Fn(&mut SigningRequest)| {
            let mut bad = good.clone();
            change(&mut bad);
            read_request(ME, 3, &bad).unwrap_err()
        };
        assert_eq!(refused(&|bad| bad.txid = bad.txid.slice(1..)), MessageError::Txid(31));
        let fewer = refused(&|bad| bad.signers = bad.signers.slice(2..));
        assert_eq!(fewer, MessageError::Signers { found: 4, expected: 6 });
        assert_eq!(refused(&|bad| bad.signers = vec![0, 1, 0, 1, 0, 2].into()), MessageError::Order);
        assert_eq!(refused(&|bad| bad.signers = vec![0, 2, 0, 1, 0, 3].into()), MessageError::Order);
        let is_list = |error| matches!(error, MessageError::List { field: "commitments", .. });
        assert!(is_list(refused(&|bad| bad.commitments = bad.commitments.slice(1..))));
        assert!(is_list(refused(&|bad| bad.commitments = bad.commitments.slice(3..))));
        assert!(is_list(refused(&|bad| bad.commitments = Vec::new().into())));
        assert!(is_list(refused(&|bad| bad.commitments = vec![0; 66 * 3 * (max_key_spends() + 1)].into())));
    }

    #[test]
    fn lists_are_bounded_before_anything_is_made_of_them() {
        let offer = |len| SigningOffer { txid: vec![7; 32].into(), commitments: vec![2; len].into() };
        assert!(read_offer(ME, &offer(66 * max_key_spends())).is_ok());
        for len in [0, 65, 67, 66 * (max_key_spends() + 1)] {
            assert!(matches!(read_offer(ME, &offer(len)), Err(MessageError::List { .. })), "{len}");
        }
        let signatures = |len| KeySignatures { height: 1, txid: vec![7; 32].into(), signatures: vec![2; len].into() };
        for len in [0, 63, 65, 64 * (max_key_spends() + 1)] {
            assert!(matches!(read_key_signatures(&signatures(len)), Err(MessageError::List { .. })), "{len}");
        }
        assert_eq!(read_key_signatures(&signatures(128)).unwrap().1.len(), 2);
    }

    #[test]
    fn no_bytes_panic() {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        for round in 0..2_000 {
            let mut bytes = vec![0; rng.gen_range(0..500)];
            rng.fill_bytes(&mut bytes);
            let (field, threshold) = (bytes::Bytes::from(bytes), round % 6);
            let txid = bytes::Bytes::from_static(&[1; 32]);
            let signers = field.slice(..field.len().min(threshold * 2));
            let request = SigningRequest { txid: txid.clone(), run: 1, number: 1, signers, commitments: field.clone() };
            let _ = read_request(ME, threshold, &request);
            let (shares, next) = (field.clone(), field.clone());
            let _ = read_answer(ME, &SigningAnswer { txid: txid.clone(), run: 1, number: 1, shares, next });
            let _ = read_key_signatures(&KeySignatures { height: 1, txid, signatures: field });
        }
    }
}
