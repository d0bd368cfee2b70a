//! Listens to everything that members send, and remembers what each has signed.

use std::collections::BTreeMap;

use aquifer_federation::consensus::{BlockId, ConsensusMessage, VoteSlot};
use aquifer_federation::roster::MemberIndex;
use aquifer_proto::peer::{PeerMessage, peer_message::Kind};

/// Everything that was ever signed, and whatever was signed twice.
#[derive(Debug, Default)]
pub struct Audit {
    votes: BTreeMap<(MemberIndex, VoteSlot), Option<BlockId>>,
    headers: BTreeMap<(MemberIndex, u32), Vec<u8>>,
    violations: Vec<String>,
}

impl Audit {
    /// Takes in a message of a member.
    pub fn hear(&mut self, from: MemberIndex, message: &PeerMessage) {
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

    /// The latest slot a member has signed in.
    pub fn latest(&self, member: MemberIndex) -> Option<VoteSlot> {
        self.votes.keys().filter(|(author, _)| *author == member).map(|(_, slot)| *slot).max()
    }
}
