//! Signing sessions with the treasury key: carries the state machines of `aquifer_federation::treasury::roast`.
//!
//! Here are the member's share, its nonces and the sessions that it leads, for the batches that the chain has opened
//! ([`Sessions::open`]), and for no others: what has not passed the guard has no entry here, and gets no signature.
//!
//! # Who leads
//! Everybody can, and at first one member does: the members take turns by the height of the block. Whoever does not see it
//! end within [`LEAD_INTERVAL`] offers to the next in turn as well, which then leads a session of its own. So normally one
//! session runs, and a leader that is away costs a second.
//!
//! # What is lost
//! Links deliver in order, and lose what was under way when they break. So offers, answers and requests are repeated every
//! [`RESEND_INTERVAL`] until the batch is closed; repeated ones change nothing. A restart loses every nonce: whoever was
//! restarted offers new ones, and a coordinator that was restarted begins with a number of its own.
//!
//! # How long it takes
//! With many inputs, as long as a block may. So all of this runs on a thread ([`SessionHost`]), and what it has to say comes
//! back to the chain as an event. Messages of peers that it does not get done with are dropped, as if they were lost.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use aquifer_federation::keys::{TreasuryKey, TreasuryShare};
use aquifer_federation::roster::MemberIndex;
use aquifer_federation::treasury::roast::{Coordinator, Effect, Misbehaviour, Offer, Refusal, Request, Signer};
use aquifer_federation::treasury::{KeySpends, Treasury};
use bitcoin::secp256k1::schnorr;
use bitcoin::{OutPoint, Txid};
use rand::RngCore as _;
use rand::rngs::OsRng;

use super::messages::SessionMessage;

/// After this time without signatures the next member in turn leads as well.
pub const LEAD_INTERVAL: Duration = Duration::from_secs(1);
/// How often what may have been lost is sent again.
pub const RESEND_INTERVAL: Duration = Duration::from_secs(2);
/// How often the thread looks at its clock while batches are open.
const TICK: Duration = Duration::from_millis(250);
/// Offers of a member for batches that are not open here yet.
const MAX_EARLY_OFFERS: usize = 4;
/// Messages of one member that wait for the thread. An honest one has few under way for each batch.
const MAX_WAITING: usize = 32;

/// What the chain must see to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionEffect {
    /// Send this to a member.
    Send(MemberIndex, SessionMessage),
    /// All signatures of the treasury key for the batch of a block, verified, by the coin that each spends.
    Finished {
        /// Height of the block.
        height: u32,
        /// The batch.
        batch: Txid,
        /// The signatures.
        signatures: BTreeMap<OutPoint, schnorr::Signature>,
    },
    /// A member did what no honest one does.
    Misbehaved {
        /// Who.
        member: MemberIndex,
        /// What it did.
        fault: Fault,
    },
}

/// What a member did.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// As a signer.
    #[error("it cannot be signed with: {0}")]
    Signer(#[from] Misbehaviour),
    /// As a coordinator.
    #[error("it leads no honest session: {0}")]
    Coordinator(#[from] Refusal),
}

impl Fault {
    /// Whether its own message shows it. Otherwise it may only be unlucky.
    pub fn is_evident(&self) -> bool {
        !matches!(self, Self::Signer(Misbehaviour::Restarts(_)))
    }
}

/// A batch that is being signed.
struct Open {
    height: u32,
    spends: KeySpends,
    since: Instant,
    /// Members in the order in which they lead.
    turns: Vec<MemberIndex>,
    /// How many of them have been offered to.
    invited: usize,
    repeated: Instant,
    /// From the first offer to this member on.
    coordinator: Option<Coordinator>,
}

/// The sessions of a member, as signer and as coordinator.
pub struct Sessions {
    me: MemberIndex,
    members: u16,
    treasury: Treasury,
    key: TreasuryKey,
    signer: Signer,
    open: BTreeMap<Txid, Open>,
    /// Offers for batches that are not open here yet: this member's auditor may be slower than those of others.
    early: BTreeMap<MemberIndex, VecDeque<Offer>>,
}

/// Messages on their way, by their receiver.
type Mail = Vec<(MemberIndex, SessionMessage)>;

impl Sessions {
    /// The sessions of the member that holds this share, in a federation of `members`. None is open.
    pub fn new(members: u16, treasury: &Treasury, key: &TreasuryKey, share: &TreasuryShare) -> Self {
        Self {
            me: share.member(),
            members,
            treasury: treasury.clone(),
            key: key.clone(),
            signer: Signer::new(treasury, share),
            open: BTreeMap::new(),
            early: BTreeMap::new(),
        }
    }

    /// From now on signs the batch of the block at `height`, until it is closed.
    ///
    /// The caller vouches that the block is final and that the guard lets the batch pass.
    pub fn open(&mut self, height: u32, spends: KeySpends, now: Instant) -> Vec<SessionEffect> {
        let batch = spends.batch();
        if spends.count() == 0 || self.open.contains_key(&batch) {
            return Vec::new();
        }
        self.signer.add_batch(spends.clone());
        let first = height.checked_rem(u32::from(self.members)).and_then(|first| u16::try_from(first).ok());
        let first = first.unwrap_or(0);
        let turns = (first..self.members).chain(0..first).map(MemberIndex).collect();
        let open = Open { height, spends, since: now, turns, invited: 0, repeated: now, coordinator: None };
        self.open.insert(batch, open);
        let mut effects = self.invite(&batch, now);
        let mut early = Vec::new();
        for (member, offers) in &mut self.early {
            let (for_it, others) = offers.drain(..).partition(|offer| offer.batch == batch);
            *offers = others;
            early.extend(Vec::from(for_it).into_iter().map(|offer| (*member, offer)));
        }
        for (member, offer) in early {
            effects.extend(self.receive(member, SessionMessage::Offer(offer)));
        }
        effects
    }

    /// No longer signs a batch: it has its signatures, or must not be signed any more. Its nonces are dropped.
    pub fn close(&mut self, batch: &Txid) {
        self.signer.forget(batch);
        self.open.remove(batch);
    }

    /// Whether no batch is open.
    pub fn is_idle(&self) -> bool {
        self.open.is_empty()
    }

    /// Takes a message of another member.
    pub fn receive(&mut self, from: MemberIndex, message: SessionMessage) -> Vec<SessionEffect> {
        let mut effects = Vec::new();
        // This member is signer and coordinator at once: what it says to itself does not leave.
        let mut mail = VecDeque::from([(from, message)]);
        while let Some((from, message)) = mail.pop_front() {
            for (to, message) in self.deliver(from, message, &mut effects) {
                if to == self.me {
                    mail.push_back((self.me, message));
                } else {
                    effects.push(SessionEffect::Send(to, message));
                }
            }
        }
        effects
    }

    /// Sends again what may have been lost, and invites the next in turn.
    pub fn tick(&mut self, now: Instant) -> Vec<SessionEffect> {
        let batches: Vec<Txid> = self.open.keys().copied().collect();
        let mut effects = Vec::new();
        for batch in batches {
            effects.extend(self.repeat(&batch, now));
            effects.extend(self.invite(&batch, now));
        }
        effects
    }

    fn deliver(&mut self, from: MemberIndex, message: SessionMessage, effects: &mut Vec<SessionEffect>) -> Mail {
        match message {
            SessionMessage::Offer(offer) => self.offer(from, offer, effects),
            SessionMessage::Request(request) => self.request(from, &request, effects),
            SessionMessage::Answer(answer) => {
                let batch = answer.batch;
                let coordinator = self.open.get_mut(&batch).and_then(|open| open.coordinator.as_mut());
                let led = coordinator.map(|coordinator| coordinator.answer(from, answer));
                self.led(&batch, led.unwrap_or_default(), effects)
            }
        }
    }

    fn offer(&mut self, from: MemberIndex, offer: Offer, effects: &mut Vec<SessionEffect>) -> Mail {
        let batch = offer.batch;
        let Some(open) = self.open.get_mut(&batch) else {
            let early = self.early.entry(from).or_default();
            early.retain(|known| known.batch != batch);
            early.push_back(offer);
            if early.len() > MAX_EARLY_OFFERS {
                early.pop_front();
            }
            return Mail::new();
        };
        let coordinator = open.coordinator.get_or_insert_with(|| {
            Coordinator::new(self.me, OsRng.next_u64(), &self.treasury, &self.key, open.spends.clone())
        });
        let led = coordinator.offer(from, offer);
        self.led(&batch, led, effects)
    }

    fn request(&mut self, from: MemberIndex, request: &Request, effects: &mut Vec<SessionEffect>) -> Mail {
        match self.signer.sign(from, request, &mut OsRng) {
            Ok(answer) => vec![(from, SessionMessage::Answer(answer))],
            // Used, or lost in a restart.
            Err(Refusal::UnknownNonces) => self.offer_to(&request.batch, from).into_iter().collect(),
            // Not open yet: it will be asked again.
            Err(Refusal::UnknownBatch(_)) => Mail::new(),
            Err(refusal) => {
                effects.push(SessionEffect::Misbehaved { member: from, fault: refusal.into() });
                Mail::new()
            }
        }
    }

    /// Does what a coordinator of ours wants.
    fn led(&self, batch: &Txid, led: Vec<Effect>, effects: &mut Vec<SessionEffect>) -> Mail {
        let Some(open) = self.open.get(batch) else { return Mail::new() };
        let mut mail = Mail::new();
        for effect in led {
            match effect {
                Effect::Ask(request) => {
                    tracing::debug!(height = open.height, session = %request.session, "asks for signatures");
                    let asked = request.commitments.keys();
                    mail.extend(asked.map(|member| (*member, SessionMessage::Request(request.clone()))));
                }
                Effect::Excluded { member, reason } => {
                    effects.push(SessionEffect::Misbehaved { member, fault: reason.into() });
                }
                Effect::Finished(signatures) => {
                    effects.push(SessionEffect::Finished { height: open.height, batch: *batch, signatures });
                }
            }
        }
        mail
    }

    fn offer_to(&mut self, batch: &Txid, coordinator: MemberIndex) -> Option<(MemberIndex, SessionMessage)> {
        let offer = self.signer.offer(*batch, coordinator, &mut OsRng).ok()?;
        Some((coordinator, SessionMessage::Offer(offer)))
    }

    /// Offers to everybody whose turn has come.
    fn invite(&mut self, batch: &Txid, now: Instant) -> Vec<SessionEffect> {
        let Some(open) = self.open.get_mut(batch) else { return Vec::new() };
        let passed = now.saturating_duration_since(open.since).as_millis() / LEAD_INTERVAL.as_millis();
        let due = usize::try_from(passed).unwrap_or(usize::MAX).saturating_add(1).min(open.turns.len());
        let next: Vec<MemberIndex> = open.turns.iter().take(due).skip(open.invited).copied().collect();
        open.invited = open.invited.max(due);
        let offers: Mail = next.into_iter().filter_map(|leader| self.offer_to(batch, leader)).collect();
        self.post(offers)
    }

    fn repeat(&mut self, batch: &Txid, now: Instant) -> Vec<SessionEffect> {
        let Some(open) = self.open.get_mut(batch) else { return Vec::new() };
        if now.saturating_duration_since(open.repeated) < RESEND_INTERVAL {
            return Vec::new();
        }
        open.repeated = now;
        let mut mail = Mail::new();
        if let Some(coordinator) = &open.coordinator {
            for member in coordinator.awaited() {
                let request = coordinator.request_for(member).cloned();
                mail.extend(request.map(|request| (member, SessionMessage::Request(request))));
            }
        }
        let leaders: Vec<MemberIndex> = open.turns.iter().take(open.invited).copied().collect();
        for leader in leaders {
            // The answer first: to a coordinator that has lost it, the offer alone would look like a restart of ours.
            let answer = self.signer.last_answer(*batch, leader).cloned();
            mail.extend(answer.map(|answer| (leader, SessionMessage::Answer(answer))));
            mail.extend(self.offer_to(batch, leader));
        }
        self.post(mail)
    }

    /// Sends to others, and delivers what is for this member.
    fn post(&mut self, mail: Mail) -> Vec<SessionEffect> {
        let mut effects = Vec::new();
        for (to, message) in mail {
            if to == self.me {
                effects.extend(self.receive(self.me, message));
            } else {
                effects.push(SessionEffect::Send(to, message));
            }
        }
        effects
    }
}

enum Command {
    Open { height: u32, spends: KeySpends },
    Close(Txid),
    Message { from: MemberIndex, message: SessionMessage },
}

/// The thread of the sessions. It ends when this is dropped, and its nonces with it.
pub struct SessionHost {
    commands: Sender<Command>,
    /// By member: messages that wait.
    waiting: Arc<[AtomicUsize]>,
}

/// The thread of the sessions has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the thread of the signing sessions has ended")]
pub struct HostEnded;

impl SessionHost {
    /// Starts the thread; `tell` gets what it has to say, and answers whether anybody still listens.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(
        sessions: Sessions,
        tell: impl FnMut(SessionEffect) -> bool + Send + 'static,
    ) -> std::io::Result<Self> {
        let (commands, queue) = channel();
        let waiting: Arc<[AtomicUsize]> = (0..sessions.members).map(|_| AtomicUsize::new(0)).collect();
        let counter = Arc::clone(&waiting);
        std::thread::Builder::new().name("sessions".into()).spawn(move || run(sessions, &queue, &counter, tell))?;
        Ok(Self { commands, waiting })
    }

    /// As [`Sessions::open`].
    ///
    /// # Errors
    /// [`HostEnded`].
    pub fn open(&self, height: u32, spends: KeySpends) -> Result<(), HostEnded> {
        self.commands.send(Command::Open { height, spends }).map_err(|_| HostEnded)
    }

    /// As [`Sessions::close`].
    ///
    /// # Errors
    /// [`HostEnded`].
    pub fn close(&self, batch: Txid) -> Result<(), HostEnded> {
        self.commands.send(Command::Close(batch)).map_err(|_| HostEnded)
    }

    /// As [`Sessions::receive`]. Dropped when too many of its sender wait: it is sent again.
    ///
    /// # Errors
    /// [`HostEnded`].
    pub fn receive(&self, from: MemberIndex, message: SessionMessage) -> Result<(), HostEnded> {
        let Some(waiting) = self.waiting.get(from.position()) else { return Ok(()) };
        if waiting.fetch_add(1, Ordering::AcqRel) >= MAX_WAITING {
            waiting.fetch_sub(1, Ordering::AcqRel);
            tracing::debug!(member = %from, "too many of its messages of signing sessions wait; one is dropped");
            return Ok(());
        }
        self.commands.send(Command::Message { from, message }).map_err(|_| HostEnded)
    }
}

fn run(
    mut sessions: Sessions,
    queue: &Receiver<Command>,
    waiting: &[AtomicUsize],
    mut tell: impl FnMut(SessionEffect) -> bool,
) {
    let mut ticked = Instant::now();
    loop {
        let command = if sessions.is_idle() {
            queue.recv().map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            queue.recv_timeout(TICK.saturating_sub(ticked.elapsed()))
        };
        let mut effects = match command {
            Ok(Command::Open { height, spends }) => sessions.open(height, spends, Instant::now()),
            Ok(Command::Close(batch)) => {
                sessions.close(&batch);
                Vec::new()
            }
            Ok(Command::Message { from, message }) => {
                waiting.get(from.position()).map(|waiting| waiting.fetch_sub(1, Ordering::AcqRel));
                sessions.receive(from, message)
            }
            Err(RecvTimeoutError::Timeout) => Vec::new(),
            Err(RecvTimeoutError::Disconnected) => return,
        };
        if ticked.elapsed() >= TICK {
            ticked = Instant::now();
            effects.extend(sessions.tick(ticked));
        }
        for effect in effects {
            if !tell(effect) {
                return;
            }
        }
    }
}
