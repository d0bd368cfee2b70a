//! Formats: the messages members exchange and the records of the journal. Both begin with a version byte.

use borsh::{BorshDeserialize, BorshSerialize};
use malachite_core::{Input, LivenessMsg, SignedConsensusMsg};
use malachite_types::{Round, Timeout, TimeoutKind, ValueOrigin};

use super::context::Agreement;
use crate::roster::MemberIndex;

const VERSION: u8 = 1;

/// Bytes that are no consensus message or journal record of this version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The first byte is no version that is known here.
    #[error("unknown version {0}")]
    Version(u8),
    /// The rest cannot be decoded.
    #[error("malformed: {0}")]
    Malformed(String),
    /// An input that never goes into the journal.
    #[error("{0} is not kept in the journal")]
    NotJournaled(&'static str),
}

/// A message of one member's engine to the others'.
#[derive(Clone, Debug)]
pub struct ConsensusMessage(pub(super) Kind);

#[derive(Clone, Debug, BorshSerialize, BorshDeserialize)]
pub(super) enum Kind {
    Consensus(SignedConsensusMsg<Agreement>),
    Liveness(LivenessMsg<Agreement>),
}

impl ConsensusMessage {
    /// Encodes the message.
    pub fn to_bytes(&self) -> Result<Vec<u8>, CodecError> {
        encode(&self.0)
    }

    /// Decodes a message of a peer. Lengths inside are bounded by the input's own length.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CodecError> {
        decode(bytes).map(ConsensusMessage)
    }

    /// The block height the message speaks of.
    pub fn height(&self) -> u32 {
        match &self.0 {
            Kind::Consensus(message) => message.height().0,
            Kind::Liveness(LivenessMsg::Vote(vote)) => vote.message.height.0,
            Kind::Liveness(LivenessMsg::PolkaCertificate(certificate)) => certificate.height.0,
            Kind::Liveness(LivenessMsg::SkipRoundCertificate(certificate)) => certificate.height.0,
        }
    }

    /// The proposal inside, as (height, round, block), if it is one.
    pub fn proposed(&self) -> Option<(u32, u32, super::BlockId)> {
        match &self.0 {
            Kind::Consensus(SignedConsensusMsg::Proposal(proposal)) => {
                let message = &proposal.message;
                Some((message.height.0, message.round.as_u32()?, message.value))
            }
            _ => None,
        }
    }

    /// Who signed it, and in which slot: height, round, step. Certificates carry many signatures and give `None`.
    pub fn slot(&self) -> Option<(MemberIndex, super::VoteSlot)> {
        match &self.0 {
            Kind::Consensus(SignedConsensusMsg::Vote(vote)) | Kind::Liveness(LivenessMsg::Vote(vote)) => {
                Some((vote.message.voter, super::VoteSlot::of_vote(&vote.message)))
            }
            Kind::Consensus(SignedConsensusMsg::Proposal(proposal)) => {
                Some((proposal.message.proposer, super::VoteSlot::of_proposal(&proposal.message)))
            }
            Kind::Liveness(_) => None,
        }
    }

    /// The block that is voted for or proposed; `None` for a vote for none and for certificates.
    pub fn value(&self) -> Option<super::BlockId> {
        match &self.0 {
            Kind::Consensus(SignedConsensusMsg::Vote(vote)) | Kind::Liveness(LivenessMsg::Vote(vote)) => {
                match vote.message.value {
                    malachite_types::NilOrVal::Val(id) => Some(id),
                    malachite_types::NilOrVal::Nil => None,
                }
            }
            Kind::Consensus(SignedConsensusMsg::Proposal(proposal)) => Some(proposal.message.value),
            Kind::Liveness(_) => None,
        }
    }
}

pub(super) fn encode<T: BorshSerialize>(value: &T) -> Result<Vec<u8>, CodecError> {
    let mut bytes = vec![VERSION];
    borsh::to_writer(&mut bytes, value).map_err(|error| CodecError::Malformed(error.to_string()))?;
    Ok(bytes)
}

pub(super) fn decode<T: BorshDeserialize>(bytes: &[u8]) -> Result<T, CodecError> {
    match bytes.split_first() {
        Some((&VERSION, rest)) => borsh::from_slice(rest).map_err(|error| CodecError::Malformed(error.to_string())),
        Some((&version, _)) => Err(CodecError::Version(version)),
        None => Err(CodecError::Malformed("no bytes".into())),
    }
}

#[derive(BorshSerialize, BorshDeserialize)]
enum Record {
    Vote(malachite_types::SignedVote<Agreement>),
    Proposal(malachite_types::SignedProposal<Agreement>),
    Polka(malachite_types::PolkaCertificate<Agreement>),
    Value(malachite_core::ProposedValue<Agreement>),
    Timeout { kind: u8, round: Round },
}

/// Encodes an input for the journal. The engine journals five kinds; any other is a change of the engine to look at.
pub(super) fn encode_input(input: Input<Agreement>) -> Result<Vec<u8>, CodecError> {
    let record = match input {
        Input::Vote(vote) => Record::Vote(vote),
        Input::Proposal(proposal) => Record::Proposal(proposal),
        Input::PolkaCertificate(certificate) => Record::Polka(certificate),
        Input::ProposedValue(value, _) => Record::Value(value),
        Input::TimeoutElapsed(timeout) => Record::Timeout {
            kind: match timeout.kind {
                TimeoutKind::Propose => 0,
                TimeoutKind::Prevote => 1,
                TimeoutKind::Precommit => 2,
                _ => return Err(CodecError::NotJournaled("this time-out")),
            },
            round: timeout.round,
        },
        Input::StartHeight(..) => return Err(CodecError::NotJournaled("a height's start")),
        Input::RoundCertificate(_) => return Err(CodecError::NotJournaled("a round certificate")),
        Input::Propose(_) => return Err(CodecError::NotJournaled("a local proposal")),
        Input::SyncValueResponse(_) => return Err(CodecError::NotJournaled("a sync response")),
    };
    encode(&record)
}

/// Decodes a record of the journal.
pub(super) fn decode_input(bytes: &[u8]) -> Result<Input<Agreement>, CodecError> {
    Ok(match decode(bytes)? {
        Record::Vote(vote) => Input::Vote(vote),
        Record::Proposal(proposal) => Input::Proposal(proposal),
        Record::Polka(certificate) => Input::PolkaCertificate(certificate),
        Record::Value(value) => Input::ProposedValue(value, ValueOrigin::Consensus),
        Record::Timeout { kind, round } => {
            let kind = match kind {
                0 => TimeoutKind::Propose,
                1 => TimeoutKind::Prevote,
                2 => TimeoutKind::Precommit,
                other => return Err(CodecError::Malformed(format!("unknown time-out kind {other}"))),
            };
            Input::TimeoutElapsed(Timeout::new(round, kind))
        }
    })
}
