//! Opening views of the index.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use elements::BlockHash;
use rusqlite::Connection;
use tokio::sync::broadcast;

use super::view::IndexView;
use super::waiting::Waiting;
use super::{NAME, ScriptHash};
use crate::store::StoreError;
use crate::store::db::{failed, open_reader};
use crate::store::ledger::LedgerReader;

/// Spare connections kept for reuse.
const SPARE_CONNECTIONS: usize = 16;
/// Changes that a slow watcher may fall behind by before it has to look at everything again.
const CHANGES_KEPT: usize = 256;

/// The index does not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IndexError {
    /// It is being built, or has fallen behind.
    #[error("the index is being built: block {height} of {tip}")]
    Building {
        /// The last block in it.
        height: u32,
        /// The last final block.
        tip: u32,
    },
    /// A file could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How far the index is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IndexProgress {
    /// The last block in it; 0 before the first.
    pub height: u32,
    /// The last final block.
    pub tip: u32,
    /// Whether it answers.
    pub is_ready: bool,
    /// By estimate, how long until it does, in seconds.
    pub remaining_s: Option<u64>,
    /// Why it does not go on, if it does not.
    pub problem: Option<String>,
}

/// Something has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexChange {
    /// Height of the last block in the index.
    pub height: u32,
    /// Its hash.
    pub hash: BlockHash,
    /// The scripts that were paid or spent from, in blocks or among what waits, or are no longer.
    pub scripts: HashSet<ScriptHash>,
}

/// Opens views. Cheap to share; connections are pooled.
pub struct IndexReader {
    path: PathBuf,
    ledger: Arc<LedgerReader>,
    /// Held for writing from the commit of blocks to the change of what waits, so that a view never sees one without the
    /// other.
    waiting: RwLock<Arc<Waiting>>,
    progress: Mutex<IndexProgress>,
    spare: Mutex<Vec<Connection>>,
    changes: broadcast::Sender<Arc<IndexChange>>,
}

impl IndexReader {
    /// A reader of the file that an [`super::IndexStore`] has made from this ledger. It answers once
    /// [`super::Indexing`] says so.
    pub fn new(path: &Path, ledger: Arc<LedgerReader>) -> Self {
        Self {
            path: path.to_owned(),
            ledger,
            waiting: RwLock::default(),
            progress: Mutex::default(),
            spare: Mutex::default(),
            changes: broadcast::Sender::new(CHANGES_KEPT),
        }
    }

    /// How far the index is.
    pub fn progress(&self) -> IndexProgress {
        self.locked_progress().clone()
    }

    /// Tells of every change from now on: new blocks, and what comes to wait or goes. Whoever falls behind and is told so
    /// has missed some, and must take everything for changed.
    pub fn changes(&self) -> broadcast::Receiver<Arc<IndexChange>> {
        self.changes.subscribe()
    }

    /// The state as it is now. Reads files: not on a thread that must not wait.
    ///
    /// # Errors
    /// [`IndexError::Building`] before the index has caught up with the ledger.
    pub fn view(&self) -> Result<IndexView<'_>, IndexError> {
        let progress = self.progress();
        if !progress.is_ready {
            return Err(IndexError::Building { height: progress.height, tip: progress.tip });
        }
        let connection = match self.spare().pop() {
            Some(connection) => connection,
            None => open_reader(&self.path).map_err(|error| failed(NAME, error))?,
        };
        let waiting = self.waiting.read().unwrap_or_else(PoisonError::into_inner);
        self.begin(connection, &waiting)
    }

    fn begin(
        &self,
        connection: Connection,
        waiting: &RwLockReadGuard<'_, Arc<Waiting>>,
    ) -> Result<IndexView<'_>, IndexError> {
        let tip = || {
            connection.execute_batch("BEGIN DEFERRED")?;
            // The first read is what fixes the state that is seen.
            connection
                .prepare_cached("SELECT height, hash FROM blocks ORDER BY height DESC LIMIT 1")?
                .query_row([], |row| Ok((row.get(0)?, BlockHash::from_byte_array(row.get(1)?))))
        };
        let tip = tip().map_err(|error| failed(NAME, error))?;
        let ledger = self.ledger.snapshot()?;
        Ok(IndexView::new(self, connection, ledger, Arc::clone(waiting), tip))
    }

    pub(super) fn give_back(&self, connection: Connection) {
        let mut spare = self.spare();
        if spare.len() < SPARE_CONNECTIONS {
            spare.push(connection);
        }
    }

    pub(super) fn ledger(&self) -> &LedgerReader {
        &self.ledger
    }

    /// For the writer: no view is opened while this is held.
    pub(super) fn changing(&self) -> RwLockWriteGuard<'_, Arc<Waiting>> {
        self.waiting.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn waiting(&self) -> Arc<Waiting> {
        Arc::clone(&self.waiting.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn locked_progress(&self) -> MutexGuard<'_, IndexProgress> {
        // Plain numbers, and each is right by itself.
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn announce(&self, change: IndexChange) {
        // Nobody may be watching.
        let _ = self.changes.send(Arc::new(change));
    }

    fn spare(&self) -> MutexGuard<'_, Vec<Connection>> {
        // A list of idle connections cannot be left half-changed by a panic elsewhere.
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
