//! Transactions of peers on their way to the mempool.
//!
//! One is verified at a time, and as long as that took nothing is: what peers send takes at most half a core, and the pool is
//! free for members and wallets in between. What waits to be verified is bounded by its bytes; what finds no room is
//! dropped.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use aquifer_assets::primitives::Transaction;
use bitcoin::hashes::{Hash as _, sha256d};
use bytes::Bytes;
use elements::{Txid, Wtxid};
use tokio::sync::{Semaphore, mpsc};

use super::conduct::{Conduct, TOO_MUCH};
use super::inventory::{Inventory, Named, Recent};
use super::waiting::Waiting;
use super::{Parts, Submit};
use crate::api::SubmitError;
use crate::mempool::Mempool;
use crate::store::ledger::LedgerReader;

/// What may wait to be verified, in kilobytes.
const ROOM_KB: u32 = 16 << 10;
/// What each takes beside its own bytes, in kilobytes: its task.
const TASK_KB: u32 = 8;
/// Refused transactions that are not looked at again before the next block.
const MAX_REFUSED: usize = 50_000;
/// Transactions of which it is known who was asked last.
const MAX_ASKED: usize = 50_000;
/// How long others wait before they are asked for the same transaction.
const ASK_PAUSE: Duration = Duration::from_secs(2);
/// Points for a transaction that breaks a rule. Honest peers may have other rules for what they relay, and send some.
const REFUSED_POINTS: u32 = 1;

/// Who sent a transaction.
#[derive(Clone)]
pub(super) struct Source {
    pub(super) conduct: Arc<Conduct>,
    /// Takes the ids of parents that are missing.
    pub(super) asks: mpsc::Sender<Vec<Txid>>,
}

/// What came of a transaction.
enum Judgement {
    /// It waits for a block, or is in one.
    Taken(Txid),
    /// It is no transaction.
    Unreadable(String),
    /// It breaks a rule.
    Refused(String),
    /// It may fit later.
    Later { missing: Vec<Txid>, is_claim: bool },
    /// It could not be judged.
    Failed(String),
}

struct State {
    busy: HashSet<Wtxid>,
    refused: Recent<Wtxid>,
    waiting: Waiting,
    asked: HashMap<[u8; 32], Instant>,
}

pub(super) struct Intake {
    submit: Arc<Submit>,
    mempool: Arc<Mempool>,
    ledger: Arc<LedgerReader>,
    room: Arc<Semaphore>,
    turn: Arc<Semaphore>,
    state: Mutex<State>,
}

impl Intake {
    pub(super) fn new(parts: &Parts) -> Arc<Self> {
        Arc::new(Self {
            submit: Arc::clone(&parts.submit),
            mempool: Arc::clone(&parts.mempool),
            ledger: Arc::clone(&parts.ledger),
            room: Arc::new(Semaphore::new(usize::try_from(ROOM_KB).unwrap_or(usize::MAX))),
            turn: Arc::new(Semaphore::new(1)),
            state: Mutex::new(State {
                busy: HashSet::new(),
                refused: Recent::new(MAX_REFUSED),
                waiting: Waiting::default(),
                asked: HashMap::new(),
            }),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change is made in full under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those announced transactions that are not here. Waits for the pool: not for the threads of the runtime.
    pub(super) fn unknown(&self, announced: Vec<Inventory>) -> Vec<Inventory> {
        let is_unknown = |entry: &Inventory| match entry.named() {
            Named::Txid(txid) => self.mempool.get(&txid).is_none(),
            Named::Wtxid(wtxid) => {
                let known = {
                    let state = self.state();
                    state.busy.contains(&wtxid) || state.refused.contains(&wtxid) || state.waiting.contains(&wtxid)
                };
                !known && self.mempool.get_by_wtxid(&wtxid).is_none()
            }
            Named::Block(_) | Named::CompactBlock(_) | Named::Unknown => false,
        };
        announced.into_iter().filter(is_unknown).collect()
    }

    /// From when on a peer may be asked for a transaction: at once, unless another one has just been asked.
    pub(super) fn may_ask(&self, hash: [u8; 32], now: Instant) -> Instant {
        let asked = self.state().asked.get(&hash).copied();
        asked.map_or(now, |asked| (asked + ASK_PAUSE).max(now))
    }

    /// A peer is asked for a transaction.
    pub(super) fn asking(&self, hash: [u8; 32], now: Instant) {
        let mut state = self.state();
        if state.asked.len() >= MAX_ASKED {
            state.asked.clear();
        }
        state.asked.insert(hash, now);
    }

    /// Takes the bytes of a transaction, if there is room for them.
    pub(super) fn offer(self: &Arc<Self>, bytes: Bytes, source: Option<Source>) {
        let size_kb = u32::try_from(bytes.len() >> 10).unwrap_or(ROOM_KB).saturating_add(TASK_KB);
        let Ok(room) = Arc::clone(&self.room).try_acquire_many_owned(size_kb) else { return };
        let wtxid = Wtxid::from_byte_array(sha256d::Hash::hash(&bytes).to_byte_array());
        {
            let mut state = self.state();
            state.asked.remove(&wtxid.to_byte_array());
            if let Some(source) = &source {
                if state.refused.contains(&wtxid) {
                    return source.conduct.misbehaved(REFUSED_POINTS, format!("{wtxid} was refused before"));
                }
                if state.waiting.contains(&wtxid) {
                    return;
                }
            }
            if !state.busy.insert(wtxid) {
                return;
            }
        }
        let intake = Arc::clone(self);
        tokio::spawn(async move {
            // First come, first served: parents come before their children.
            let turn = Arc::clone(&intake.turn).acquire_owned().await;
            let judging = {
                let (intake, bytes) = (Arc::clone(&intake), bytes.clone());
                tokio::task::spawn_blocking(move || {
                    let begun = Instant::now();
                    (intake.judge(bytes), begun.elapsed())
                })
            };
            let (judgement, took) =
                judging.await.unwrap_or_else(|error| (Judgement::Failed(error.to_string()), Duration::ZERO));
            drop(room);
            intake.settle(wtxid, bytes, judgement, source);
            tokio::time::sleep(took).await;
            drop(turn);
        });
    }

    fn judge(&self, bytes: Bytes) -> Judgement {
        let transaction = match Transaction::decode(bytes) {
            Ok(transaction) => transaction,
            // Nor does any node of Elements read it, or find it valid.
            Err(error) => return Judgement::Unreadable(error.to_string()),
        };
        let is_claim = transaction.input.iter().any(|input| input.is_pegin);
        let mut parents: Vec<Txid> =
            transaction.input.iter().filter(|input| !input.is_pegin).map(|input| input.previous_output.txid).collect();
        match (self.submit)(transaction) {
            Ok(txid) => Judgement::Taken(txid),
            Err(SubmitError::Invalid(reason)) => Judgement::Refused(reason),
            Err(SubmitError::NotNow(_)) => {
                parents.sort_unstable();
                parents.dedup();
                parents.retain(|parent| self.mempool.get(parent).is_none());
                match self.not_final(parents) {
                    Ok(missing) => Judgement::Later { missing, is_claim },
                    Err(error) => Judgement::Failed(error.to_string()),
                }
            }
            Err(SubmitError::Backend(error)) => Judgement::Failed(error.to_string()),
        }
    }

    fn not_final(&self, parents: Vec<Txid>) -> Result<Vec<Txid>, crate::store::StoreError> {
        let snapshot = self.ledger.snapshot()?;
        let mut missing = Vec::new();
        for parent in parents {
            if snapshot.place(&parent)?.is_none() {
                missing.push(parent);
            }
        }
        Ok(missing)
    }

    fn settle(self: &Arc<Self>, wtxid: Wtxid, bytes: Bytes, judgement: Judgement, source: Option<Source>) {
        let mut again = Vec::new();
        {
            let mut state = self.state();
            state.busy.remove(&wtxid);
            match &judgement {
                Judgement::Taken(txid) => {
                    state.waiting.remove(&wtxid);
                    again = state.waiting.children(txid);
                }
                Judgement::Later { missing, is_claim } if *is_claim || !missing.is_empty() => {
                    state.waiting.put(wtxid, bytes, missing.clone(), Instant::now());
                }
                Judgement::Later { .. } | Judgement::Failed(_) => state.waiting.remove(&wtxid),
                Judgement::Unreadable(_) | Judgement::Refused(_) => {
                    state.refused.insert(wtxid);
                    state.waiting.remove(&wtxid);
                }
            }
        }
        for bytes in again {
            self.offer(bytes, None);
        }
        let Some(source) = source else { return };
        match judgement {
            Judgement::Taken(_) => {}
            Judgement::Later { missing, .. } if missing.is_empty() => {}
            // Where it has no room for the question, parents come by themselves or not at all.
            Judgement::Later { missing, .. } => drop(source.asks.try_send(missing)),
            Judgement::Unreadable(reason) => source.conduct.misbehaved(TOO_MUCH, format!("{wtxid}: {reason}")),
            Judgement::Refused(reason) => source.conduct.misbehaved(REFUSED_POINTS, format!("{wtxid}: {reason}")),
            Judgement::Failed(error) => tracing::error!(%wtxid, %error, "a peer's transaction cannot be judged"),
        }
    }

    /// The chain has grown: what was refused or had to wait may fit now.
    pub(super) fn block_connected(self: &Arc<Self>) {
        let waiting = {
            let mut state = self.state();
            state.refused.clear();
            state.waiting.all(Instant::now())
        };
        for bytes in waiting {
            self.offer(bytes, None);
        }
    }
}
