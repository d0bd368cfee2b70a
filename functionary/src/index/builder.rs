//! The thread that keeps the index.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use aquifer_assets::chain::ChainParams;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::follow::{Follower, Step};
use super::read::IndexReader;
use crate::mempool::Mempool;
use crate::store::StoreError;
use crate::store::ledger::LedgerReader;

/// How long until a step that failed is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(5);

/// The thread that keeps the index. It ends when the member stops; nothing of the member waits for it.
pub struct Indexing {
    thread: JoinHandle<()>,
}

impl Indexing {
    /// Opens the index and keeps it up to date until `stop` is cancelled.
    ///
    /// # Errors
    /// [`StoreError`] if there is no index to be had, or no thread.
    pub fn start(
        path: PathBuf,
        params: Arc<ChainParams>,
        ledger: Arc<LedgerReader>,
        mempool: Arc<Mempool>,
        runtime: Handle,
        stop: CancellationToken,
    ) -> Result<(Arc<IndexReader>, Self), StoreError> {
        let changes = mempool.changes();
        let follower = Follower::open(&path, params, ledger, mempool)?;
        let reader = Arc::clone(follower.reader());
        let thread = std::thread::Builder::new()
            .name("index".into())
            .spawn(move || keep(follower, changes, &runtime, &stop))
            .map_err(|error| StoreError::Sqlite { file: super::NAME.into(), reason: error.to_string() })?;
        Ok((reader, Self { thread }))
    }

    /// Waits for the end of the thread, which comes after the step that it is in once it has been told to stop.
    pub fn wait(self) {
        if self.thread.join().is_err() {
            tracing::error!("the thread of the index had failed before it was stopped");
        }
    }
}

fn keep(mut follower: Follower, mut changes: watch::Receiver<u64>, runtime: &Handle, stop: &CancellationToken) {
    while !stop.is_cancelled() {
        // The mempool counts final blocks as well: each is connected through it.
        changes.mark_unchanged();
        let outcome = follower.step().and_then(|step| Ok((step, step == Step::UpToDate && follower.is_behind()?)));
        let pause = match outcome {
            Ok((Step::More, _) | (Step::UpToDate, true)) => continue,
            Ok((Step::UpToDate | Step::Ahead, _)) => None,
            Err(error) => {
                tracing::error!(%error, "the index does not go on");
                let mut progress = follower.reader().locked_progress();
                progress.is_ready = false;
                progress.problem = Some(error.to_string());
                Some(TRY_AGAIN)
            }
        };
        runtime.block_on(async {
            let waited = async {
                match pause {
                    Some(pause) => tokio::time::sleep(pause).await,
                    None if changes.changed().await.is_err() => stop.cancelled().await,
                    None => {}
                }
            };
            tokio::select! {
                () = waited => {}
                () = stop.cancelled() => {}
            }
        });
    }
}
