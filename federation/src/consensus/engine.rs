//! The engine and what it asks of its host.

use std::collections::HashMap;
use std::time::Duration;

use borsh::{BorshDeserialize, BorshSerialize};
use malachite_core::{
    ConsensusMsg, Effect, Error as CoreError, Input, LivenessMsg, LocallyProposedValue, Params, ProposedValue,
    Resumable as _, Resume, SignedConsensusMsg, State, process,
};
use malachite_types::{
    self as mt, LinearTimeouts, NilOrVal, Round, SignedMessage, ThresholdParams, Timeout, Validity, ValueOrigin,
    ValuePayload, VoteExtensionPolicy, VoteType,
};

use super::codec::{self, CodecError, ConsensusMessage, Kind};
use super::context::{Agreement, BlockId, ConsensusSignature, Height, Members, Proposal, Vote};
use super::signing::{ChainVerifier, proposal_digest, vote_digest};
use crate::roster::MemberIndex;

/// Heights ahead of ours for which messages are kept, and messages per such height.
const BUFFERED_HEIGHTS: usize = 4;
const BUFFERED_MESSAGES_PER_HEIGHT: usize = 512;

/// How far a block's agreement had come when a message was signed. The order is the order in time within a round.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize)]
pub enum Step {
    /// A proposal.
    Propose,
    /// A prevote.
    Prevote,
    /// A precommit.
    Precommit,
}

/// A place in which a member may sign one value only.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize)]
pub struct VoteSlot {
    /// Height of the block.
    pub height: u32,
    /// Round of the height.
    pub round: u32,
    /// Proposal, prevote or precommit.
    pub step: Step,
}

impl VoteSlot {
    pub(super) fn of_vote(vote: &Vote) -> Self {
        let step = match vote.kind {
            VoteType::Prevote => Step::Prevote,
            VoteType::Precommit => Step::Precommit,
        };
        VoteSlot { height: vote.height.0, round: vote.round.as_u32().unwrap_or(0), step }
    }

    pub(super) fn of_proposal(proposal: &Proposal) -> Self {
        VoteSlot { height: proposal.height.0, round: proposal.round.as_u32().unwrap_or(0), step: Step::Propose }
    }
}

/// Names a timer. A fresh one for every timer that is started.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub struct TimerId(pub u64);

/// How long a member waits in each step of round 0, and by how much that grows with each round. Liveness only.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For the proposal: covers building, sending and checking a block.
    pub propose: Duration,
    /// For prevotes and for precommits.
    pub vote: Duration,
    /// Added in each further round.
    pub per_round: Duration,
    /// After which the last votes are sent again.
    pub rebroadcast: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts {
            propose: Duration::from_secs(3),
            vote: Duration::from_secs(1),
            per_round: Duration::from_millis(500),
            rebroadcast: Duration::from_secs(2),
        }
    }
}

impl From<Timeouts> for LinearTimeouts {
    fn from(timeouts: Timeouts) -> Self {
        LinearTimeouts {
            propose: timeouts.propose,
            propose_delta: timeouts.per_round,
            prevote: timeouts.vote,
            prevote_delta: timeouts.per_round,
            precommit: timeouts.vote,
            precommit_delta: timeouts.per_round,
            rebroadcast: timeouts.rebroadcast,
            max_timeout: Duration::from_secs(60),
        }
    }
}

/// Precommits of a quorum for one block: the proof that it was decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitCertificate(pub(super) mt::CommitCertificate<Agreement>);

impl CommitCertificate {
    /// Height of the decided block.
    pub fn height(&self) -> u32 {
        self.0.height.0
    }

    /// Round in which it was decided.
    pub fn round(&self) -> u32 {
        self.0.round.as_u32().unwrap_or(0)
    }

    /// The decided block.
    pub fn block(&self) -> BlockId {
        self.0.value_id
    }

    /// Encodes the certificate.
    pub fn to_bytes(&self) -> Result<Vec<u8>, CodecError> {
        codec::encode(&self.0)
    }

    /// Decodes a certificate; its signatures are not checked here.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CodecError> {
        codec::decode(bytes).map(CommitCertificate)
    }
}

/// A member signed two values in one slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// Who.
    pub culprit: MemberIndex,
    /// What, in words that name the slot and both values.
    pub description: String,
}

/// The host could not do what the engine needs. The engine stops.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct HostError(pub String);

/// Everything that touches the world. Calls come in order, from one thread.
pub trait Host {
    /// Adds a record to the journal of a height. It need not be durable before [`Host::sync`] returns.
    fn append(&mut self, height: u32, record: &[u8]) -> Result<(), HostError>;
    /// Makes everything appended and recorded so far durable.
    fn sync(&mut self) -> Result<(), HostError>;
    /// Signs `digest` with the consensus key (BIP 340), after recording that `slot` now belongs to `value`. Must refuse
    /// when the slot is already recorded with another value.
    fn sign(&mut self, slot: VoteSlot, value: Option<BlockId>, digest: [u8; 32]) -> Result<[u8; 64], HostError>;
    /// Sends a message to all other members.
    fn publish(&mut self, message: &ConsensusMessage) -> Result<(), HostError>;
    /// Calls [`Engine::timer`] with this id after the given time.
    fn start_timer(&mut self, timer: TimerId, after: Duration);
    /// Asks for a block to propose; the answer comes as [`Engine::propose`], or never if none can be made in time.
    fn build(&mut self, height: u32, round: u32);
    /// A round has begun.
    fn round_started(&mut self, height: u32, round: u32, proposer: MemberIndex);
    /// The block of this height is decided.
    fn decided(&mut self, certificate: CommitCertificate) -> Result<(), HostError>;
    /// A member signed twice.
    fn misbehaved(&mut self, evidence: Evidence);
}

/// Why an input was not taken, or why the engine stopped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// The host failed; the member must stop.
    #[error("consensus stopped: {0}")]
    Host(HostError),
    /// The engine refused an input in a way that it never should; the member must stop.
    #[error("consensus stopped, the engine failed: {0}")]
    Core(String),
    /// The journal of this height cannot be read back.
    #[error("the journal of height {height} is damaged: {reason}")]
    Journal {
        /// The height.
        height: u32,
        /// What is wrong.
        reason: CodecError,
    },
    /// A member sent a vote or proposal that names another member as its author.
    #[error("member {from} sent a message that claims to be of member {author}")]
    ForeignAuthor {
        /// Who sent it.
        from: MemberIndex,
        /// Whom it names.
        author: MemberIndex,
    },
}

/// The BFT engine of one member.
pub struct Engine {
    state: State<Agreement>,
    effects: Effects,
}

/// What handling effects needs beside the engine's own state.
struct Effects {
    members: Members,
    verifier: ChainVerifier,
    timeouts: LinearTimeouts,
    timers: HashMap<Timeout, TimerId>,
    next_timer: u64,
    replaying: bool,
    failed: Option<HostError>,
}

impl Engine {
    /// An engine for the member `me`, about to start `height`. `chain` is the genesis hash in internal byte order.
    pub fn new(chain: [u8; 32], members: Members, me: MemberIndex, height: u32, timeouts: Timeouts) -> Self {
        let params = Params {
            address: me,
            threshold_params: ThresholdParams::default(),
            // The engine then asks for a verdict on every block; with `ProposalOnly` it would take all as valid.
            value_payload: ValuePayload::ProposalAndParts,
            enabled: true,
        };
        let state = State::new(
            Agreement,
            Height(height),
            members.clone(),
            params,
            BUFFERED_HEIGHTS,
            BUFFERED_MESSAGES_PER_HEIGHT,
        );
        let effects = Effects {
            members,
            verifier: ChainVerifier { chain },
            timeouts: timeouts.into(),
            timers: HashMap::new(),
            next_timer: 0,
            replaying: false,
            failed: None,
        };
        Engine { state, effects }
    }

    /// The height that is being agreed on.
    pub fn height(&self) -> u32 {
        self.state.height().0
    }

    /// The round of that height; 0 before the first.
    pub fn round(&self) -> u32 {
        self.state.round().as_u32().unwrap_or(0)
    }

    /// Starts a height and replays its journal, which is empty unless the member was interrupted in it.
    pub fn start<H: Host>(&mut self, height: u32, journal: &[Vec<u8>], host: &mut H) -> Result<(), EngineError> {
        let entries = journal
            .iter()
            .map(|record| codec::decode_input(record))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|reason| EngineError::Journal { height, reason })?;
        self.effects.timers.clear();
        let members = self.effects.members.clone();
        self.feed(Input::StartHeight(Height(height), members, false, None, VoteExtensionPolicy::Disabled), host)?;
        if entries.is_empty() {
            return Ok(());
        }
        self.effects.replaying = true;
        self.state.index_wal_entries(entries.iter());
        for entry in entries {
            self.feed(entry, host)?;
        }
        self.state.reset_entries_index();
        self.effects.replaying = false;
        Ok(())
    }

    /// Takes a message that the member `from` sent over its authenticated connection.
    pub fn receive<H: Host>(
        &mut self,
        from: MemberIndex,
        message: ConsensusMessage,
        host: &mut H,
    ) -> Result<(), EngineError> {
        // The engine buffers messages of future heights before it checks signatures: the sender must be the author.
        if let Some((author, _)) = message.slot().filter(|(author, _)| *author != from) {
            return Err(EngineError::ForeignAuthor { from, author });
        }
        self.feed(
            match message.0 {
                Kind::Consensus(SignedConsensusMsg::Vote(vote)) | Kind::Liveness(LivenessMsg::Vote(vote)) => {
                    Input::Vote(vote)
                }
                Kind::Consensus(SignedConsensusMsg::Proposal(proposal)) => Input::Proposal(proposal),
                Kind::Liveness(LivenessMsg::PolkaCertificate(certificate)) => Input::PolkaCertificate(certificate),
                Kind::Liveness(LivenessMsg::SkipRoundCertificate(certificate)) => Input::RoundCertificate(certificate),
            },
            host,
        )
    }

    /// Offers the block that [`Host::build`] asked for. Its body must be durable already.
    pub fn propose<H: Host>(
        &mut self,
        height: u32,
        round: u32,
        block: BlockId,
        host: &mut H,
    ) -> Result<(), EngineError> {
        self.feed(Input::Propose(LocallyProposedValue::new(Height(height), Round::new(round), block)), host)
    }

    /// Gives the verdict on a proposed block. The body of a valid block must be durable already.
    pub fn judged<H: Host>(
        &mut self,
        height: u32,
        round: u32,
        block: BlockId,
        valid: bool,
        host: &mut H,
    ) -> Result<(), EngineError> {
        let Some(proposer) = self.effects.members.proposer(height, round) else { return Ok(()) };
        let value = ProposedValue {
            height: Height(height),
            round: Round::new(round),
            valid_round: Round::Nil,
            proposer,
            value: block,
            validity: if valid { Validity::Valid } else { Validity::Invalid },
        };
        self.feed(Input::ProposedValue(value, ValueOrigin::Consensus), host)
    }

    /// A timer fired. Timers that were cancelled or replaced in the meantime are ignored.
    pub fn timer<H: Host>(&mut self, timer: TimerId, host: &mut H) -> Result<(), EngineError> {
        let found = self.effects.timers.iter().find(|(_, id)| **id == timer).map(|(timeout, _)| *timeout);
        match found {
            Some(timeout) => {
                self.effects.timers.remove(&timeout);
                self.feed(Input::TimeoutElapsed(timeout), host)
            }
            None => Ok(()),
        }
    }

    fn feed<H: Host>(&mut self, input: Input<Agreement>, host: &mut H) -> Result<(), EngineError> {
        if let Some(error) = &self.effects.failed {
            return Err(EngineError::Host(error.clone()));
        }
        let effects = &mut self.effects;
        let result: Result<(), CoreError<Agreement>> = process!(
            input: input,
            state: &mut self.state,
            metrics: &(),
            with: effect => effects.handle(effect, host)
        );
        match (self.effects.failed.clone(), result) {
            (Some(error), _) => Err(EngineError::Host(error)),
            (None, Err(error)) => {
                let error = error.to_string();
                self.effects.failed = Some(HostError(error.clone()));
                Err(EngineError::Core(error))
            }
            (None, Ok(())) => Ok(()),
        }
    }
}

impl Effects {
    /// Handles one effect; after the first failure nothing more is done.
    fn handle<H: Host>(&mut self, effect: Effect<Agreement>, host: &mut H) -> Result<Resume<Agreement>, HostError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let result = self.perform(effect, host);
        if let Err(error) = &result {
            self.failed = Some(error.clone());
        }
        result
    }

    fn perform<H: Host>(&mut self, effect: Effect<Agreement>, host: &mut H) -> Result<Resume<Agreement>, HostError> {
        Ok(match effect {
            Effect::CancelAllTimeouts(resume) => {
                self.timers.clear();
                resume.resume_with(())
            }
            Effect::CancelTimeout(timeout, resume) => {
                self.timers.remove(&timeout);
                resume.resume_with(())
            }
            Effect::ScheduleTimeout(timeout, resume) => {
                self.next_timer = self.next_timer.wrapping_add(1);
                let timer = TimerId(self.next_timer);
                self.timers.insert(timeout, timer);
                host.start_timer(timer, self.timeouts.duration_for(timeout));
                resume.resume_with(())
            }
            Effect::StartRound(height, round, proposer, _role, resume) => {
                host.sync()?;
                host.round_started(height.0, round.as_u32().unwrap_or(0), proposer);
                resume.resume_with(())
            }
            Effect::SignVote(vote, resume) => {
                let digest = vote_digest(&self.verifier.chain, &vote).map_err(encoding)?;
                let value = match vote.value {
                    NilOrVal::Val(id) => Some(id),
                    NilOrVal::Nil => None,
                };
                let signature = host.sign(VoteSlot::of_vote(&vote), value, digest)?;
                resume.resume_with(SignedMessage::new(vote, ConsensusSignature(signature)))
            }
            Effect::SignProposal(proposal, resume) => {
                let digest = proposal_digest(&self.verifier.chain, &proposal).map_err(encoding)?;
                let signature = host.sign(VoteSlot::of_proposal(&proposal), Some(proposal.value), digest)?;
                resume.resume_with(SignedMessage::new(proposal, ConsensusSignature(signature)))
            }
            Effect::VerifySignature(message, key, resume) => {
                let valid = match &message.message {
                    ConsensusMsg::Vote(vote) => self.verifier.vote(vote, &message.signature, &key),
                    ConsensusMsg::Proposal(proposal) => self.verifier.proposal(proposal, &message.signature, &key),
                };
                resume.resume_with(valid)
            }
            Effect::VerifyCommitCertificate(certificate, members, thresholds, resume) => {
                resume.resume_with(ready(self.verifier.commit(&certificate, &members, thresholds))?)
            }
            Effect::VerifyPolkaCertificate(certificate, members, thresholds, resume) => {
                resume.resume_with(ready(self.verifier.polka(&certificate, &members, thresholds))?)
            }
            Effect::VerifyRoundCertificate(certificate, members, thresholds, resume) => {
                resume.resume_with(ready(self.verifier.round(&certificate, &members, thresholds))?)
            }
            Effect::VerifyExtendedCommitCertificate(..) => {
                return Err(HostError("the engine's own value sync is not used".into()));
            }
            Effect::ExtendVote(_, _, _, _, resume) => resume.resume_with(None),
            Effect::VerifyVoteExtension(_, _, _, _, _, _, resume) => {
                resume.resume_with(Err(malachite_core::VoteExtensionError::InvalidVoteExtension))
            }
            Effect::PublishConsensusMsg(message, resume) => {
                // Durable before it escapes: a vote that others have seen is never forgotten.
                host.sync()?;
                host.publish(&ConsensusMessage(Kind::Consensus(message)))?;
                resume.resume_with(())
            }
            Effect::PublishLivenessMsg(message, resume) => {
                host.sync()?;
                host.publish(&ConsensusMessage(Kind::Liveness(message)))?;
                resume.resume_with(())
            }
            Effect::RepublishVote(vote, resume) => {
                host.publish(&ConsensusMessage(Kind::Liveness(LivenessMsg::Vote(vote))))?;
                resume.resume_with(())
            }
            Effect::RepublishRoundCertificate(certificate, resume) => {
                host.publish(&ConsensusMessage(Kind::Liveness(LivenessMsg::SkipRoundCertificate(certificate))))?;
                resume.resume_with(())
            }
            Effect::GetValue(height, round, _timeout, resume) => {
                host.build(height.0, round.as_u32().unwrap_or(0));
                resume.resume_with(())
            }
            // Bodies are fetched by hash from whoever proposes them again.
            Effect::RestreamProposal(_, _, _, _, _, resume) => resume.resume_with(()),
            Effect::WalAppend(height, input, resume) => {
                if !self.replaying {
                    let record = codec::encode_input(input).map_err(|error| HostError(error.to_string()))?;
                    host.append(height.0, &record)?;
                }
                resume.resume_with(())
            }
            Effect::Decide(certificate, _extensions, resume) => {
                host.sync()?;
                host.decided(CommitCertificate(certificate))?;
                resume.resume_with(())
            }
            Effect::Finalize(_certificate, _extensions, evidence, resume) => {
                for (culprit, votes) in evidence.votes.iter() {
                    let description = format!("double votes: {votes:?}");
                    host.misbehaved(Evidence { culprit: *culprit, description });
                }
                for (culprit, proposals) in evidence.proposals.iter() {
                    let description = format!("double proposals: {proposals:?}");
                    host.misbehaved(Evidence { culprit: *culprit, description });
                }
                resume.resume_with(())
            }
            Effect::CertVerifiedSyncValue(_, _, resume) => resume.resume_with(()),
            Effect::CertRejectedSyncValue(_, _, _, resume) => resume.resume_with(()),
        })
    }
}

fn encoding(error: std::io::Error) -> HostError {
    HostError(format!("a consensus message could not be encoded: {error}"))
}

fn ready<T>(answer: Option<T>) -> Result<T, HostError> {
    answer.ok_or_else(|| HostError("a certificate check did not finish at once".into()))
}
