//! Bringing the index up to the ledger, and what waits up to the mempool.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use aquifer_assets::chain::ChainParams;

use super::read::{IndexChange, IndexReader};
use super::write::{Changed, IndexStore};
use crate::mempool::Mempool;
use crate::store::StoreError;
use crate::store::ledger::{LedgerReader, Tip};

/// Most blocks in one commit while the index is being built.
const BATCH_BLOCKS: u32 = 100;
/// How often the log tells how far a build is.
const TELL_AFTER: Duration = Duration::from_secs(10);

/// Brings the index of a member up to its ledger and its mempool, one step at a time.
pub struct Follower {
    params: Arc<ChainParams>,
    mempool: Arc<Mempool>,
    reader: Arc<IndexReader>,
    store: IndexStore,
    build: Option<Build>,
}

/// A build that takes more than one commit.
struct Build {
    began: Instant,
    from_height: u32,
    told: Instant,
}

/// What is left to do after a step.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// More blocks wait to be added.
    More,
    /// The index has every block that was final when the step began, and what waits beside them.
    UpToDate,
    /// The ledger has fewer blocks than the index: it is being fetched anew. The index waits for it.
    Ahead,
}

impl Follower {
    /// Opens or makes the index at `path`. One that cannot be read, or was made from another ledger, is deleted: it is
    /// made again.
    ///
    /// # Errors
    /// [`StoreError`] if no file can be made or the ledger cannot be read.
    pub fn open(
        path: &Path,
        params: Arc<ChainParams>,
        ledger: Arc<LedgerReader>,
        mempool: Arc<Mempool>,
    ) -> Result<Self, StoreError> {
        let store = match IndexStore::open(path).and_then(|store| check_origin(&store, &ledger).map(|()| store)) {
            Ok(store) => store,
            Err(error) => {
                tracing::warn!(%error, "the index cannot be used: making it again from the ledger");
                delete(path)?;
                IndexStore::open(path)?
            }
        };
        let reader = Arc::new(IndexReader::new(path, ledger));
        let follower = Self { params, mempool, reader, store, build: None };
        follower.tell_height()?;
        Ok(follower)
    }

    /// Opens views of what this makes.
    pub fn reader(&self) -> &Arc<IndexReader> {
        &self.reader
    }

    /// Adds blocks, at most 100, and looks at what waits once there are no more. All or nothing.
    ///
    /// # Errors
    /// [`StoreError`] if a file cannot be read or written; the step can be tried again.
    pub fn step(&mut self) -> Result<Step, StoreError> {
        let reader = Arc::clone(&self.reader);
        let ledger = reader.ledger().snapshot()?;
        let tip = ledger.tip()?;
        let next = self.store.tip()?.map_or(0, |(height, _)| height.saturating_add(1));
        if next > tip.height.saturating_add(1) {
            reader.locked_progress().is_ready = false;
            return Ok(Step::Ahead);
        }
        let last = tip.height.min(next.saturating_add(BATCH_BLOCKS - 1));
        let is_last = last == tip.height;
        if !is_last {
            let now = Instant::now();
            self.build.get_or_insert(Build { began: now, from_height: next, told: now });
        }
        let (pending, changed) = self.store.add(&self.params, &ledger, next..=last)?;
        let Changed { mut scripts, txids, spent } = changed;
        // What waits belongs to the ledger's state of that moment. If that has gone on, the next step looks again.
        let difference = is_last.then(|| reader.waiting().difference(&self.mempool));
        let difference = match difference {
            Some(difference) if reader.ledger().snapshot()?.tip()?.height == tip.height => Some(difference),
            _ => None,
        };
        {
            let mut waiting = reader.changing();
            pending.commit()?;
            let waiting = Arc::make_mut(&mut waiting);
            scripts.extend(waiting.leave_out(&txids, &spent));
            scripts.extend(difference.into_iter().flat_map(|difference| waiting.apply(&self.params, difference)));
            if next <= last || !scripts.is_empty() {
                waiting.begin_state();
            }
        }
        self.tell_progress(last, tip.height);
        let is_new_block = next <= last;
        if is_last && (is_new_block || !scripts.is_empty()) {
            reader.announce(IndexChange { height: tip.height, hash: tip.hash, scripts });
        }
        Ok(if is_last { Step::UpToDate } else { Step::More })
    }

    /// Whether the ledger has gone on since the last step.
    ///
    /// # Errors
    /// [`StoreError`] if a file cannot be read.
    pub fn is_behind(&self) -> Result<bool, StoreError> {
        let Tip { height, .. } = self.reader.ledger().snapshot()?.tip()?;
        Ok(self.store.tip()?.is_none_or(|(indexed, _)| indexed < height))
    }

    fn tell_height(&self) -> Result<(), StoreError> {
        let tip = self.reader.ledger().snapshot()?.tip()?.height;
        let height = self.store.tip()?.map_or(0, |(height, _)| height);
        let mut progress = self.reader.locked_progress();
        (progress.height, progress.tip) = (height, tip);
        Ok(())
    }

    fn tell_progress(&mut self, height: u32, tip: u32) {
        let mut progress = self.reader.locked_progress();
        (progress.height, progress.tip, progress.problem) = (height, tip, None);
        let Some(build) = &mut self.build else {
            progress.is_ready = true;
            progress.remaining_s = None;
            return;
        };
        let done = u64::from(height.saturating_sub(build.from_height).saturating_add(1));
        let elapsed = build.began.elapsed();
        if height == tip {
            progress.is_ready = true;
            progress.remaining_s = None;
            tracing::info!(height, blocks = done, seconds = elapsed.as_secs(), "the index is built");
            self.build = None;
            return;
        }
        let remaining_ms =
            elapsed.as_millis().saturating_mul(tip.saturating_sub(height).into()) / u128::from(done.max(1));
        let remaining_s = u64::try_from(remaining_ms / 1_000).unwrap_or(u64::MAX);
        progress.remaining_s = Some(remaining_s);
        if build.told.elapsed() >= TELL_AFTER {
            build.told = Instant::now();
            tracing::info!(height, tip, remaining_seconds = remaining_s, "building the index");
        }
    }
}

/// An index must have been made from this ledger. One that is ahead of it is taken: what is final once stays so, and a
/// member that has lost its ledger fetches the same blocks again.
fn check_origin(store: &IndexStore, ledger: &LedgerReader) -> Result<(), StoreError> {
    let Some((height, _)) = store.tip()? else { return Ok(()) };
    let ledger = ledger.snapshot()?;
    let common = height.min(ledger.tip()?.height);
    let found = ledger.header(common)?.map(|block| block.hash);
    if found.is_some() && found == store.hash(common)? {
        return Ok(());
    }
    let reason = format!("its block {common} is not that of the ledger");
    Err(StoreError::Inconsistent { file: super::NAME.into(), reason })
}

/// Deletes a database with what SQLite keeps beside it.
fn delete(path: &Path) -> Result<(), StoreError> {
    for ending in ["-wal", "-shm", ""] {
        let mut name = path.as_os_str().to_owned();
        name.push(ending);
        let name = PathBuf::from(name);
        match std::fs::remove_file(&name) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(StoreError::Sqlite { file: name.display().to_string(), reason: error.to_string() });
            }
            _ => {}
        }
    }
    Ok(())
}
