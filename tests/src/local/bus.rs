//! A network in memory. Messages to a member that is away are lost, as on a real one.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aquifer_federation::consensus::BlockId;
use aquifer_federation::roster::MemberIndex;
use aquifer_functionary::chain::{Event, Network};
use aquifer_functionary::peers::PeerEvent;
use aquifer_functionary::store::consensus::BodyReader;
use aquifer_functionary::store::ledger::LedgerReader;
use aquifer_proto::peer::{FinalBlock, PeerMessage};
use elements::BlockHash;

use super::Audit;

/// Blocks that one call gives.
const BLOCKS_PER_FETCH: u32 = 100;

/// A member's files, opened anew for every look: a restored backup replaces them.
struct Store {
    folder: PathBuf,
}

impl Store {
    fn ledger(&self) -> LedgerReader {
        LedgerReader::new(&self.folder.join("ledger.db"))
    }

    fn bodies(&self) -> BodyReader {
        BodyReader::new(&self.folder.join("consensus.db"))
    }
}

/// Joins the members that run, and lets the auditor listen.
pub struct Bus {
    stores: Vec<Store>,
    present: Mutex<BTreeMap<MemberIndex, SyncSender<Event>>>,
    audit: Mutex<Audit>,
    post: Mutex<Option<Box<Handling>>>,
    /// Who dropped the connection with whom, and why.
    disconnects: Mutex<Vec<(MemberIndex, MemberIndex, String)>>,
}

/// What becomes of a message on its way.
pub enum Post {
    /// It arrives as it was sent.
    Deliver,
    /// It is lost.
    Lose,
    /// Its sender has said something else.
    Change(PeerMessage),
}

/// Decides over every message, by sender, receiver and content.
type Handling = dyn Fn(MemberIndex, MemberIndex, &PeerMessage) -> Post + Send;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Bus {
    pub(super) fn new(folders: &[PathBuf]) -> Self {
        let store = |folder: &PathBuf| Store { folder: folder.clone() };
        Bus {
            stores: folders.iter().map(store).collect(),
            present: Mutex::default(),
            audit: Mutex::default(),
            post: Mutex::default(),
            disconnects: Mutex::default(),
        }
    }

    /// From now on `handle` decides over every message.
    pub fn handle(&self, handle: impl Fn(MemberIndex, MemberIndex, &PeerMessage) -> Post + Send + 'static) {
        *lock(&self.post) = Some(Box::new(handle));
    }

    /// From now on every message arrives.
    pub fn deliver_all(&self) {
        *lock(&self.post) = None;
    }

    /// Members that were disconnected, by whom and why.
    pub fn disconnects(&self) -> Vec<(MemberIndex, MemberIndex, String)> {
        lock(&self.disconnects).clone()
    }

    /// Hands a message over, as it is decided.
    fn carry(&self, from: MemberIndex, to: MemberIndex, message: PeerMessage) {
        let decision = lock(&self.post).as_ref().map_or(Post::Deliver, |handle| handle(from, to, &message));
        let message = match decision {
            Post::Deliver => message,
            Post::Lose => return,
            Post::Change(other) => other,
        };
        self.deliver(to, Event::Peer(PeerEvent::Message { from, message }));
    }

    pub(super) fn audit(&self) -> MutexGuard<'_, Audit> {
        lock(&self.audit)
    }

    pub(super) fn network(self: &Arc<Self>, me: MemberIndex) -> Arc<dyn Network> {
        Arc::new(Line { bus: Arc::clone(self), me })
    }

    pub(super) fn join(&self, member: MemberIndex, events: SyncSender<Event>) {
        let mut present = lock(&self.present);
        for (other, sender) in present.iter() {
            let _ = sender.try_send(Event::Peer(PeerEvent::Connected(member)));
            let _ = events.try_send(Event::Peer(PeerEvent::Connected(*other)));
        }
        present.insert(member, events);
    }

    pub(super) fn leave(&self, member: MemberIndex) {
        let mut present = lock(&self.present);
        present.remove(&member);
        for sender in present.values() {
            let _ = sender.try_send(Event::Peer(PeerEvent::Disconnected(member)));
        }
    }

    pub(super) fn height(&self, member: MemberIndex) -> u32 {
        let store = self.stores.get(member.position());
        store.and_then(|store| store.ledger().snapshot().ok()?.tip().ok()).map_or(0, |tip| tip.height)
    }

    pub(super) fn block_hash(&self, member: MemberIndex, height: u32) -> Option<BlockHash> {
        let header = self.stores.get(member.position())?.ledger().snapshot().ok()?.header(height).ok()?;
        header.map(|header| header.hash)
    }

    fn deliver(&self, to: MemberIndex, event: Event) {
        if let Some(sender) = lock(&self.present).get(&to) {
            let _ = sender.try_send(event);
        }
    }

    fn final_blocks(&self, of: MemberIndex, from_height: u32) -> Result<Vec<FinalBlock>, String> {
        let store = self.stores.get(of.position()).ok_or("no such member")?;
        let ledger = store.ledger();
        let snapshot = ledger.snapshot().map_err(|error| error.to_string())?;
        let mut blocks = Vec::new();
        for height in from_height..from_height.saturating_add(BLOCKS_PER_FETCH) {
            let Some(block) = snapshot.block(height).map_err(|error| error.to_string())? else { break };
            blocks.push(FinalBlock {
                height,
                block: block.block.into(),
                certificate: block.certificate.into(),
                batch: block.batch.unwrap_or_default().into(),
            });
        }
        Ok(blocks)
    }
}

/// One member's end of the bus.
struct Line {
    bus: Arc<Bus>,
    me: MemberIndex,
}

impl Network for Line {
    fn broadcast(&self, message: PeerMessage) {
        lock(&self.bus.audit).hear(self.me, None, &message);
        let others: Vec<MemberIndex> = lock(&self.bus.present).keys().copied().filter(|to| *to != self.me).collect();
        for to in others {
            self.bus.carry(self.me, to, message.clone());
        }
    }

    fn send(&self, to: MemberIndex, message: PeerMessage) {
        lock(&self.bus.audit).hear(self.me, Some(to), &message);
        self.bus.carry(self.me, to, message);
    }

    fn fetch_body(&self, from: MemberIndex, height: u32, block: BlockId) {
        let body = match self.bus.stores.get(from.position()) {
            Some(store) => store.bodies().body(height, block).map_err(|error| error.to_string()),
            None => Err("no such member".into()),
        };
        let result = body.and_then(|body| body.ok_or_else(|| "it does not have it".into()));
        self.bus.deliver(self.me, Event::Body { from, height, block, result });
    }

    fn fetch_blocks(&self, from: MemberIndex, from_height: u32) {
        let result = self.bus.final_blocks(from, from_height);
        self.bus.deliver(self.me, Event::FinalBlocks { from, result });
    }

    fn disconnect(&self, member: MemberIndex, reason: &str) {
        tracing::warn!(%member, reason, "disconnected");
        lock(&self.bus.disconnects).push((self.me, member, reason.to_owned()));
    }
}
