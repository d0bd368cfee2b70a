//! What calls are answered from.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use aquifer_assets::primitives::Block;
use elements::BlockHash;

use super::error::{Code, RpcError};
use super::scan::Scan;
use crate::api::Sources;
use crate::store::ledger::Snapshot;

/// The member behind the calls.
pub(crate) struct Node {
    /// What it reads and hands transactions to.
    pub(crate) sources: Sources,
    /// The one scan of the unspent outputs that may run.
    pub(crate) scan: Scan,
    started: Instant,
    running: Mutex<BTreeMap<u64, (String, Instant)>>,
    next_call: AtomicU64,
}

impl Node {
    /// From what it has.
    pub(crate) fn new(sources: Sources) -> Self {
        Self {
            sources,
            scan: Scan::default(),
            started: Instant::now(),
            running: Mutex::default(),
            next_call: AtomicU64::new(0),
        }
    }

    /// Since it serves.
    pub(crate) fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// The final chain as it is now.
    pub(crate) fn snapshot(&self) -> Result<Snapshot<'_>, RpcError> {
        Ok(self.sources.ledger.snapshot()?)
    }

    fn running(&self) -> MutexGuard<'_, BTreeMap<u64, (String, Instant)>> {
        // Entries come and go in one step each.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a call runs, as long as the answer lives.
    pub(crate) fn note(&self, method: &str) -> Running<'_> {
        let number = self.next_call.fetch_add(1, Ordering::Relaxed);
        self.running().insert(number, (method.to_owned(), Instant::now()));
        Running { node: self, number }
    }

    /// The calls that run, and for how long.
    pub(crate) fn calls(&self) -> Vec<(String, Duration)> {
        self.running().values().map(|(method, since)| (method.clone(), since.elapsed())).collect()
    }
}

/// A call that runs.
pub(crate) struct Running<'a> {
    node: &'a Node,
    number: u64,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.node.running().remove(&self.number);
    }
}

/// Height of a final block.
///
/// # Errors
/// Code -5 if there is none with this hash.
pub(crate) fn height_of(snapshot: &Snapshot<'_>, hash: &BlockHash) -> Result<u32, RpcError> {
    let height = snapshot.height_of(hash)?;
    height.ok_or_else(|| RpcError::new(Code::AddressOrKey, "Block not found"))
}

/// A final block.
///
/// # Errors
/// If the ledger has it not, or not as it should be.
pub(crate) fn block_at(snapshot: &Snapshot<'_>, height: u32) -> Result<Block, RpcError> {
    let missing = || RpcError::new(Code::Database, format!("block {height} cannot be read"));
    let stored = snapshot.block(height)?.ok_or_else(missing)?;
    Block::decode(stored.block).map_err(|_| missing())
}
