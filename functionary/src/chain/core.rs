//! The chain's thread: one event at a time.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use aquifer_assets::block::MAX_BLOCK_WEIGHT;
use aquifer_federation::consensus::{BlockId, ConsensusMessage, Engine, EngineError, Members, Timeouts, VoteSlot};
use aquifer_federation::federation::Federation;
use aquifer_federation::keys::{BlsShare, MemberKeys, TreasuryShare};
use aquifer_federation::roster::MemberIndex;
use aquifer_proto::peer::{Hello, PeerMessage, Tip as TipMessage, peer_message::Kind};

use super::finality::{Finality, Share};
use super::host::World;
use super::judge::{Examined, Judge};
use super::oversight::BatchGuard;
use super::parent::FinalBatch;
use super::sessions::{InSession, start_sessions};
use super::status::CoreStatus;
use super::timers::{Alarm, Timers};
use super::worker::{Job, Worker};
use super::{ChainError, Event, Network};
use crate::peers::PeerEvent;
use crate::peg::messages::{read_answer, read_offer, read_request};
use crate::peg::sessions::SessionHost;
use crate::store::consensus::{ConsensusStore, step_number};
use crate::store::ledger::{LedgerStore, Tip};
use crate::store::signer::SignerStore;

/// How often missing shares and blocks are looked for.
const TICK: Duration = Duration::from_millis(500);
/// Messages of the next height that are kept until it starts.
const MAX_EARLY_MESSAGES: usize = 1_024;

/// The secrets that the chain signs with.
pub struct SigningKeys {
    /// Keys derived from the member's seed.
    pub member: MemberKeys,
    /// Its share of the certificate key.
    pub bls: BlsShare,
    /// Its share of the treasury key.
    pub treasury: TreasuryShare,
}

/// When heights start, and how long their steps may take.
#[derive(Copy, Clone, Debug)]
pub struct Pacing {
    /// An idle chain makes a block after this time.
    pub idle_interval: Duration,
    /// Least time between two blocks.
    pub min_spacing: Duration,
    /// The engine's time-outs.
    pub timeouts: Timeouts,
}

/// Everything the chain needs.
pub struct CoreParts {
    /// The federation.
    pub federation: Arc<Federation>,
    /// Which member this is.
    pub me: MemberIndex,
    /// Its secrets.
    pub keys: SigningKeys,
    /// When heights start.
    pub pacing: Pacing,
    /// After this time without signatures of the treasury key a batch is signed by the script of the members.
    pub script_after: Duration,
    /// The ledger's writer.
    pub ledger: LedgerStore,
    /// Journal and votes.
    pub consensus: ConsensusStore,
    /// Signatures made.
    pub signer: SignerStore,
    /// Builds and judges blocks.
    pub judge: Judge,
    /// Stands in front of every signature for the treasury.
    pub guard: Arc<dyn BatchGuard>,
    /// The other members.
    pub network: Arc<dyn Network>,
    /// What others may look at.
    pub status: Arc<CoreStatus>,
}

/// Where the chain stands between two final blocks.
pub(super) enum Phase {
    /// Nothing to do yet at the next height.
    Waiting,
    /// The engine is at work on the next height.
    Agreeing,
    /// The next block is decided; its signatures are being collected.
    Signing(Box<Signing>),
}

pub(super) struct Signing {
    pub(super) examined: Examined,
    pub(super) finality: Finality,
}

/// What is known of a proposed block of the running height.
pub(super) enum Knowledge {
    /// Its body is being fetched or judged.
    Pending { from: MemberIndex, attempts: u32 },
    /// It was judged.
    Judged { valid: bool },
}

/// The chain of one member.
pub struct Core {
    pub(super) federation: Arc<Federation>,
    pub(super) me: MemberIndex,
    pub(super) keys: SigningKeys,
    pub(super) pacing: Pacing,
    pub(super) script_after: Duration,
    pub(super) ledger: LedgerStore,
    pub(super) signer: SignerStore,
    pub(super) judge: Judge,
    pub(super) guard: Arc<dyn BatchGuard>,
    pub(super) status: Arc<CoreStatus>,
    pub(super) world: World,
    pub(super) engine: Engine,
    pub(super) members: Members,
    worker: Worker,
    events: Receiver<Event>,
    pub(super) tip: Tip,
    pub(super) tip_since: Instant,
    pub(super) phase: Phase,
    pub(super) known: HashMap<BlockId, Knowledge>,
    /// Valid blocks of the running height, ready to be connected.
    pub(super) examined: HashMap<BlockId, Examined>,
    /// Consensus messages of heights that have not started here.
    early: Vec<(MemberIndex, ConsensusMessage)>,
    /// Header shares of the next block, from members that decided before us.
    pub(super) early_shares: BTreeMap<MemberIndex, (BlockId, Share)>,
    /// Members that have said hello since we started.
    greeted: HashSet<MemberIndex>,
    /// The latest slot peers saw us sign in, if it is later than what we remember: we do not vote up to its height.
    restored_below: Option<VoteSlot>,
    pub(super) peer_heights: BTreeMap<MemberIndex, u32>,
    /// The member asked for blocks, and since when.
    pub(super) fetching: Option<(MemberIndex, Instant)>,
    /// Tip at the last tick: a peer that is ahead for a whole tick is worth asking.
    pub(super) tip_at_last_tick: u32,
    /// Batches of final blocks that this member has not signed, by height.
    pub(super) unsigned: BTreeMap<u32, FinalBatch>,
    /// Whether this member's halt has been seen to.
    pub(super) was_halted: bool,
    /// Batches that the treasury key has still to sign, by height.
    pub(super) in_session: BTreeMap<u32, InSession>,
    pub(super) sessions: SessionHost,
}

impl Core {
    /// Opens the chain where the stores say it stands. `sender` is the other end of `events`.
    pub fn new(parts: CoreParts, sender: SyncSender<Event>, events: Receiver<Event>) -> Result<Self, ChainError> {
        let CoreParts {
            federation,
            me,
            keys,
            pacing,
            script_after,
            ledger,
            consensus,
            signer,
            judge,
            guard,
            network,
            status,
        } = parts;
        let mut ledger = ledger;
        judge.mend_valve(&mut ledger)?;
        let tip = judge.ledger.snapshot()?.tip()?;
        let members = Members::of(&federation.roster);
        let chain = federation.params.genesis_hash().to_byte_array();
        let engine = Engine::new(chain, members.clone(), me, tip.height.saturating_add(1), pacing.timeouts);
        let worker = Worker::start(judge.clone(), sender.clone()).map_err(|_| ChainError::Thread("judge"))?;
        let sessions = start_sessions(&federation, &keys.treasury, sender)?;
        let world = World {
            store: consensus,
            network,
            timers: Timers::default(),
            consensus_key: keys.member.consensus,
            wanted: Vec::new(),
            decided: None,
            failure: None,
            round: 0,
        };
        Ok(Core {
            federation,
            me,
            keys,
            pacing,
            script_after,
            ledger,
            signer,
            judge,
            guard,
            status,
            world,
            engine,
            members,
            worker,
            events,
            tip,
            tip_since: Instant::now(),
            phase: Phase::Waiting,
            known: HashMap::new(),
            examined: HashMap::new(),
            early: Vec::new(),
            early_shares: BTreeMap::new(),
            greeted: HashSet::new(),
            restored_below: None,
            peer_heights: BTreeMap::new(),
            fetching: None,
            tip_at_last_tick: tip.height,
            unsigned: BTreeMap::new(),
            was_halted: false,
            in_session: BTreeMap::new(),
            sessions,
        })
    }

    /// Runs until [`Event::Stop`] or a failure that the member must not survive.
    pub fn run(mut self) -> Result<(), ChainError> {
        self.recover()?;
        self.world.timers.after(TICK, Alarm::Tick);
        self.consider_start()?;
        loop {
            while let Some(alarm) = self.world.timers.due() {
                self.alarm(alarm)?;
            }
            match self.events.recv_timeout(self.world.timers.until_next()) {
                Ok(Event::Stop) => return Ok(()),
                Ok(event) => self.event(event)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(ChainError::Thread("event source")),
            }
        }
    }

    /// The height that is not final yet.
    pub(super) fn next_height(&self) -> u32 {
        self.tip.height.saturating_add(1)
    }

    /// Takes up what a crash interrupted: a decided block whose signatures are missing, batches to be signed again.
    fn recover(&mut self) -> Result<(), ChainError> {
        self.recount()?;
        self.judge.halts.refresh(&self.judge.valve(&self.judge.ledger.snapshot()?)?)?;
        self.reopen_batches_if_halted()?;
        if !self.was_halted {
            self.resume_batches()?;
        }
        if let Some(decided) = self.world.store.decided(self.next_height())? {
            tracing::info!(height = decided.height, block = %decided.block, "a decided block waits for its signatures");
            self.enter_signing(decided.block)?;
        }
        Ok(())
    }

    fn event(&mut self, event: Event) -> Result<(), ChainError> {
        match event {
            Event::Peer(PeerEvent::Connected(member)) => self.say_hello(member),
            Event::Peer(PeerEvent::Disconnected(_)) => Ok(()),
            Event::Peer(PeerEvent::Message { from, message }) => self.message(from, message),
            Event::Body { from, height, block, result } => self.body_arrived(from, height, block, result),
            Event::FinalBlocks { from, result } => self.final_blocks(from, result),
            Event::Work(done) => self.work_done(done.0),
            Event::Session(effect) => self.session_effect(effect),
            Event::TransactionsWait => self.consider_start(),
            Event::GuardMoved => self.sign_released_batches(),
            Event::NoticesMoved => self.notices_moved(),
            Event::Stop => Ok(()),
        }
    }

    fn alarm(&mut self, alarm: Alarm) -> Result<(), ChainError> {
        match alarm {
            Alarm::Engine(timer) => {
                if matches!(self.phase, Phase::Agreeing) {
                    let result = self.engine.timer(timer, &mut self.world);
                    self.after_engine(result)?;
                }
                Ok(())
            }
            Alarm::Pace => self.consider_start(),
            Alarm::JudgeAgain { height, block } => self.judge_again(height, block),
            Alarm::FetchAgain { height, block } => self.fetch_again(height, block),
            Alarm::Tick => {
                self.world.timers.after(TICK, Alarm::Tick);
                self.tick()
            }
        }
    }

    fn say_hello(&mut self, member: MemberIndex) -> Result<(), ChainError> {
        let seen = self.world.store.seen(member)?;
        let hello = Hello {
            genesis_hash: self.judge.params.genesis_hash().to_byte_array().to_vec().into(),
            tip: Some(self.tip_message()),
            seen_height: seen.map_or(0, |slot| slot.height),
            seen_round: seen.map_or(0, |slot| i64::from(slot.round)),
            seen_step: seen.map_or(0, |slot| u32::from(step_number(slot.step))),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        self.send(member, Kind::Hello(hello));
        for notice in self.judge.halts.pool() {
            self.send(member, Kind::Notice(notice.to_bytes().into()));
        }
        // What the next block would hold. More would only crowd its queue; this member proposes the rest in its turn.
        for candidate in self.judge.mempool.candidates(MAX_BLOCK_WEIGHT) {
            self.send(member, Kind::Transaction(elements::encode::serialize(&*candidate.transaction).into()));
        }
        Ok(())
    }

    pub(super) fn tip_message(&self) -> TipMessage {
        TipMessage { height: self.tip.height, hash: self.tip.hash.to_byte_array().to_vec().into() }
    }

    pub(super) fn send(&self, to: MemberIndex, kind: Kind) {
        self.world.network.send(to, PeerMessage { kind: Some(kind) });
    }

    pub(super) fn broadcast(&self, kind: Kind) {
        self.world.network.broadcast(PeerMessage { kind: Some(kind) });
    }

    fn message(&mut self, from: MemberIndex, message: PeerMessage) -> Result<(), ChainError> {
        self.status.note_heard(from);
        match message.kind {
            Some(Kind::Hello(hello)) => self.hello(from, &hello),
            Some(Kind::Consensus(bytes)) => match ConsensusMessage::from_bytes(&bytes) {
                Ok(message) => self.consensus_message(from, message),
                Err(error) => {
                    self.world.network.disconnect(from, &format!("consensus message: {error}"));
                    Ok(())
                }
            },
            Some(Kind::HeaderShare(share)) => self.header_share(from, &share),
            Some(Kind::HeaderShareRequest(request)) => self.header_share_wanted(from, request.height),
            Some(Kind::BatchShare(share)) => self.batch_share(from, &share),
            Some(Kind::BatchShareRequest(request)) => self.batch_share_wanted(from, request.height),
            Some(Kind::SigningOffer(offer)) => self.session_message(from, read_offer(self.me, &offer)),
            Some(Kind::SigningRequest(request)) => {
                self.session_message(from, read_request(from, self.federation.threshold(), &request))
            }
            Some(Kind::SigningAnswer(answer)) => self.session_message(from, read_answer(self.me, &answer)),
            Some(Kind::KeySignatures(signatures)) => self.key_signatures(from, &signatures),
            Some(Kind::Notice(bytes)) => self.notice(from, &bytes),
            Some(Kind::Tip(tip)) => self.peer_tip(from, tip.height),
            // Transactions are verified elsewhere and reach this thread through the mempool.
            Some(Kind::Transaction(_)) | None => Ok(()),
        }
    }

    fn hello(&mut self, from: MemberIndex, hello: &Hello) -> Result<(), ChainError> {
        if hello.genesis_hash.as_ref() != self.judge.params.genesis_hash().to_byte_array() {
            self.world.network.disconnect(from, "its chain has another genesis block");
            return Ok(());
        }
        self.greeted.insert(from);
        self.status.note_peer_version(from, &hello.version);
        let seen = VoteSlot {
            height: hello.seen_height,
            round: u32::try_from(hello.seen_round).unwrap_or(u32::MAX),
            step: crate::store::consensus::step_of_number(hello.seen_step),
        };
        let remembered = self.latest_signed()?;
        if seen.height > 0 && remembered.is_none_or(|remembered| remembered < seen) {
            self.restored_below = self.restored_below.max(Some(seen));
            if seen.height > self.tip.height {
                self.status.raise(format!(
                    "member {from} saw this member sign at height {}, which its own records do not show: they were \
                     restored from a backup or lost. It does not vote up to that height; it follows the others.",
                    seen.height
                ));
                self.phase = Phase::Waiting;
            }
        }
        if let Some(tip) = &hello.tip {
            self.peer_tip(from, tip.height)?;
        }
        self.consider_start()
    }

    /// The latest slot our own records show: votes, and headers after them.
    fn latest_signed(&self) -> Result<Option<VoteSlot>, ChainError> {
        let header = self.signer.highest_header()?.map(header_slot);
        Ok(self.world.store.highest_vote()?.max(header))
    }

    fn consensus_message(&mut self, from: MemberIndex, message: ConsensusMessage) -> Result<(), ChainError> {
        if let Some((author, slot)) = message.slot().filter(|(author, _)| *author == from) {
            self.world.store.note_seen(author, slot);
        }
        let height = message.height();
        let next = self.next_height();
        if height < next {
            // The sender lags; our tip tells it where to catch up.
            self.send(from, Kind::Tip(self.tip_message()));
            return Ok(());
        }
        if height == next && matches!(self.phase, Phase::Agreeing) {
            return self.deliver(from, message);
        }
        if height > next {
            self.peer_tip(from, height.saturating_sub(1))?;
        }
        if height <= next.saturating_add(1) && self.early.len() < MAX_EARLY_MESSAGES {
            self.early.push((from, message));
        }
        self.consider_start()
    }

    fn deliver(&mut self, from: MemberIndex, message: ConsensusMessage) -> Result<(), ChainError> {
        let proposed = message.proposed();
        match self.engine.receive(from, message, &mut self.world) {
            Err(error @ EngineError::ForeignAuthor { .. }) => {
                self.world.network.disconnect(from, &error.to_string());
                Ok(())
            }
            result => {
                self.after_engine(result)?;
                match proposed {
                    Some((height, round, block)) if self.members.proposer(height, round) == Some(from) => {
                        self.want_verdict(from, height, round, block)
                    }
                    _ => Ok(()),
                }
            }
        }
    }

    /// Starts the next height when there is reason to, and not before its time.
    pub(super) fn consider_start(&mut self) -> Result<(), ChainError> {
        if !matches!(self.phase, Phase::Waiting) {
            return Ok(());
        }
        let height = self.next_height();
        if self.greeted.len().saturating_add(1) < self.federation.threshold() {
            // Fewer cannot decide anything, and the others may know what a restored member has forgotten.
            return Ok(());
        }
        if self.restored_below.is_some_and(|slot| height <= slot.height) {
            return Ok(());
        }
        let since = self.tip_since.elapsed();
        let joined = self.early.iter().any(|(_, message)| message.height() == height);
        let work = joined || !self.judge.mempool.is_empty() || !self.judge.halts.is_empty();
        let due = if work { self.pacing.min_spacing } else { self.pacing.idle_interval };
        match due.checked_sub(since).filter(|left| !left.is_zero()) {
            Some(left) => {
                self.world.timers.after(left, Alarm::Pace);
                Ok(())
            }
            None => self.start(height),
        }
    }

    fn start(&mut self, height: u32) -> Result<(), ChainError> {
        self.phase = Phase::Agreeing;
        self.status.note_started();
        let journal = self.world.store.journal(height)?;
        if !journal.is_empty() {
            tracing::info!(height, records = journal.len(), "taking up the height from its journal");
        }
        let result = self.engine.start(height, &journal, &mut self.world);
        self.after_engine(result)?;
        let early = std::mem::take(&mut self.early);
        for (from, message) in early {
            if message.height() == height && matches!(self.phase, Phase::Agreeing) && self.next_height() == height {
                self.deliver(from, message)?;
            } else if message.height() > height {
                self.early.push((from, message));
            }
        }
        Ok(())
    }

    /// Does what the engine's effects left to do.
    pub(super) fn after_engine(&mut self, result: Result<(), EngineError>) -> Result<(), ChainError> {
        if let Some(failure) = self.world.failure.take() {
            return Err(ChainError::Store(failure));
        }
        result.map_err(ChainError::Engine)?;
        self.status.note_round(self.world.round);
        for (height, round) in std::mem::take(&mut self.world.wanted) {
            self.block_wanted(height, round)?;
        }
        if let Some(certificate) = self.world.decided.take() {
            tracing::info!(height = certificate.height(), round = certificate.round(), block = %certificate.block(), "decided");
            let (height, round) = (certificate.height(), certificate.round());
            self.status.note_decided(height, round, self.members.proposer(height, round));
            self.enter_signing(certificate.block())?;
        }
        Ok(())
    }

    /// The engine wants a block of ours: the one that was proposed before a crash, or a new one.
    fn block_wanted(&mut self, height: u32, round: u32) -> Result<(), ChainError> {
        match self.world.store.own(height, round)? {
            Some(block) => {
                let result = self.engine.propose(height, round, block, &mut self.world);
                self.after_engine(result)
            }
            None => self.ask(Job::Build { height, round }),
        }
    }

    pub(super) fn ask(&mut self, job: Job) -> Result<(), ChainError> {
        if self.worker.ask(job) { Ok(()) } else { Err(ChainError::Thread("judge")) }
    }

    pub(super) fn note_peer_height(&mut self, member: MemberIndex, height: u32) {
        let known = self.peer_heights.entry(member).or_default();
        *known = height.max(*known);
        self.status.note_peer_height(member, *known);
    }
}

/// A header is signed after every vote of its height.
pub(super) fn header_slot(height: u32) -> VoteSlot {
    VoteSlot { height, round: u32::MAX, step: aquifer_federation::consensus::Step::Precommit }
}
