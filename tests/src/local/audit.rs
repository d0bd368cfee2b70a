//! Listens to everything that members send, and remembers what each has signed, and with which nonces.

use std::collections::BTreeMap;

use aquifer_federation::consensus::{BlockId, ConsensusMessage, VoteSlot};
use aquifer_federation::roster::MemberIndex;
use aquifer_proto::peer::{PeerMessage, SigningAnswer, SigningRequest, peer_message::Kind};

/// Everything that was ever signed, and whatever was signed twice.
#[derive(Debug, Default)]
pub struct Audit {
    votes: BTreeMap<(MemberIndex, VoteSlot), Option<BlockId>>,
    headers: BTreeMap<(MemberIndex, u32), Vec<u8>>,
    /// The one batch that may be signed at a height.
    batches: BTreeMap<u32, Vec<u8>>,
    nonces: NonceRecorder,
    violations: Vec<String>,
}

impl Audit {
    /// Takes in a message of a member: to one other, or to all.
    pub fn hear(&mut self, from: MemberIndex, to: Option<MemberIndex>, message: &PeerMessage) {
        match &message.kind {
            Some(Kind::Consensus(bytes)) => match ConsensusMessage::from_bytes(bytes) {
                Ok(message) => {
                    if let Some((author, slot)) = message.slot() {
                        self.hear_vote(author, slot, message.value());
                    }
                }
                Err(error) => self.violations.push(format!("{from} sent a malformed message: {error}")),
            },
            Some(Kind::HeaderShare(share)) => {
                let hash = share.block_hash.to_vec();
                let known = self.headers.entry((from, share.height)).or_insert_with(|| hash.clone());
                if *known != hash {
                    self.violations.push(format!("{from} signed two headers at height {}", share.height));
                }
            }
            Some(Kind::BatchShare(share)) => {
                let txid = share.txid.to_vec();
                let known = self.batches.entry(share.height).or_insert_with(|| txid.clone());
                if *known != txid {
                    self.violations.push(format!("{from} signed another batch at height {}", share.height));
                }
            }
            Some(Kind::SigningRequest(request)) => {
                if let Some(to) = to {
                    self.nonces.hear_request(from, to, request);
                }
            }
            Some(Kind::SigningAnswer(answer)) => {
                if let Some(to) = to {
                    let violation = self.nonces.hear_answer(from, to, answer);
                    self.violations.extend(violation);
                }
            }
            _ => {}
        }
    }

    /// Takes in a vote or proposal.
    pub fn hear_vote(&mut self, author: MemberIndex, slot: VoteSlot, value: Option<BlockId>) {
        let known = *self.votes.entry((author, slot)).or_insert(value);
        if known != value {
            self.violations.push(format!("{author} signed {known:?} and {value:?} in {slot:?}"));
        }
    }

    /// What must not have happened.
    pub fn violations(&self) -> &[String] {
        &self.violations
    }

    /// Votes and header signatures heard so far.
    pub fn heard(&self) -> (usize, usize) {
        (self.votes.len(), self.headers.len())
    }

    /// How many nonces have signed.
    pub fn nonces_used(&self) -> usize {
        self.nonces.used.len()
    }

    /// The latest slot a member has signed in.
    pub fn latest(&self, member: MemberIndex) -> Option<VoteSlot> {
        self.votes.keys().filter(|(author, _)| *author == member).map(|(_, slot)| *slot).max()
    }
}

/// Bytes of the commitments to one pair of nonces, and of a share that they make.
const COMMITMENT_LEN: usize = 66;
const SHARE_LEN: usize = 32;

/// A session as those that take part name it: the coordinator, and its run and number for a batch.
type Session = (MemberIndex, Vec<u8>, u64, u32);
/// What a nonce was used for: the batch, the position of its input, and the share that came of it.
type Use = (Vec<u8>, usize, Vec<u8>);

/// Knows what every nonce has signed, whatever members forget when they are restarted: a nonce that gives two different
/// shares gives the key away.
#[derive(Debug, Default)]
struct NonceRecorder {
    /// The commitments that a member was asked to sign with.
    asked: BTreeMap<(MemberIndex, Session), Vec<Vec<u8>>>,
    /// By member and commitment.
    used: BTreeMap<(MemberIndex, Vec<u8>), Use>,
}

impl NonceRecorder {
    fn hear_request(&mut self, from: MemberIndex, to: MemberIndex, request: &SigningRequest) {
        let (signers, _) = request.signers.as_chunks::<2>();
        let position = signers.iter().position(|signer| *signer == to.0.to_be_bytes());
        let length = request.commitments.len().checked_div(signers.len()).filter(|length| *length > 0);
        let own = position.zip(length).and_then(|(at, length)| request.commitments.chunks(length).nth(at));
        if let Some(own) = own {
            let session = (from, request.txid.to_vec(), request.run, request.number);
            self.asked.entry((to, session)).or_default().push(own.to_vec());
        }
    }

    /// What is wrong with an answer, if anything.
    fn hear_answer(&mut self, from: MemberIndex, to: MemberIndex, answer: &SigningAnswer) -> Option<String> {
        let session = (to, answer.txid.to_vec(), answer.run, answer.number);
        let Some(asked) = self.asked.get(&(from, session)) else {
            return Some(format!("{from} answered a session of {to} in which it was not asked"));
        };
        for commitments in asked {
            let both = commitments.chunks(COMMITMENT_LEN).zip(answer.shares.chunks(SHARE_LEN));
            for (input, (nonce, share)) in both.enumerate() {
                let use_of_it = (answer.txid.to_vec(), input, share.to_vec());
                let earlier = self.used.entry((from, nonce.to_vec())).or_insert_with(|| use_of_it.clone());
                if *earlier != use_of_it {
                    return Some(format!("{from} used a nonce twice, in a session of {to} for input {input}"));
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(audit: &mut Audit, number: u32, commitments: u8) {
        let request = SigningRequest {
            txid: vec![7; 32].into(),
            run: 1,
            number,
            signers: vec![0, 0, 0, 2].into(),
            commitments: [vec![9; COMMITMENT_LEN], vec![commitments; COMMITMENT_LEN]].concat().into(),
        };
        let message = PeerMessage { kind: Some(Kind::SigningRequest(request)) };
        audit.hear(MemberIndex(0), Some(MemberIndex(2)), &message);
    }

    fn answered(audit: &mut Audit, number: u32, share: u8) {
        let answer = SigningAnswer {
            txid: vec![7; 32].into(),
            run: 1,
            number,
            shares: vec![share; SHARE_LEN].into(),
            next: vec![1; COMMITMENT_LEN].into(),
        };
        let message = PeerMessage { kind: Some(Kind::SigningAnswer(answer)) };
        audit.hear(MemberIndex(2), Some(MemberIndex(0)), &message);
    }

    #[test]
    fn a_nonce_that_signs_twice_is_seen() {
        let mut audit = Audit::default();
        asked(&mut audit, 0, 3);
        answered(&mut audit, 0, 5);
        answered(&mut audit, 0, 5);
        asked(&mut audit, 1, 4);
        answered(&mut audit, 1, 6);
        assert!(audit.violations().is_empty(), "{:?}", audit.violations());
        assert_eq!(audit.nonces_used(), 2);
        asked(&mut audit, 2, 3);
        answered(&mut audit, 2, 7);
        assert_eq!(audit.violations().len(), 1);
    }
}
