//! Brings the pool over a restart: writes what waits to `mempool.db`, in batches, and submits it again when the member
//! starts. Everything is verified anew; the file is trusted for nothing. A damaged file costs what was in it.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use elements::Txid;
use elements::encode::serialize;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio_util::sync::CancellationToken;

use super::{Mempool, MempoolError};
use crate::store::StoreError;
use crate::store::mempool::{KeptTransaction, MempoolStore};

use aquifer_assets::primitives::Transaction;

/// Changes are gathered this long before they are written.
const BATCH_PAUSE: Duration = Duration::from_secs(2);
/// How often transactions that could not be judged yet are tried again: peg-ins while bitcoind is still out of reach.
const TRY_AGAIN: Duration = Duration::from_secs(10);

/// Keeps the file equal to the pool.
pub struct Keeper {
    store: MempoolStore,
    /// What the file holds.
    stored: HashSet<Txid>,
    /// What the file holds and the pool has not taken back yet, parents before children.
    open: Vec<KeptTransaction>,
}

impl Keeper {
    /// Opens the file; what it holds is to be taken back by [`Keeper::restore`].
    ///
    /// # Errors
    /// [`StoreError`] if no file can be made; a damaged one is set aside.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let (store, open) = MempoolStore::open_or_replace(path)?;
        Ok(Keeper { store, stored: open.iter().map(|kept| kept.txid).collect(), open })
    }

    /// Submits what waited before to the pool. What cannot be judged now stays in the file, to be tried again.
    pub fn restore(&mut self, mempool: &Mempool, stop: &CancellationToken) {
        let mut later: Vec<KeptTransaction> = Vec::new();
        let mut later_ids = HashSet::new();
        for kept in std::mem::take(&mut self.open) {
            let Ok(transaction) = aquifer_assets::transaction::decode(kept.bytes.clone()) else { continue };
            let waits = stop.is_cancelled()
                || depends_on(&transaction, &later_ids)
                || match mempool.submit_since(transaction, kept.admitted_at) {
                    Ok(_) => false,
                    Err(MempoolError::ParentUnavailable { .. } | MempoolError::Store(_)) => true,
                    Err(error) => {
                        tracing::info!(txid = %kept.txid, %error, "what waited before the restart is not admitted again");
                        false
                    }
                };
            if waits {
                later_ids.insert(kept.txid);
                later.push(kept);
            }
        }
        self.open = later;
    }

    /// Whether something could not be judged yet.
    pub fn has_open(&self) -> bool {
        !self.open.is_empty()
    }

    /// Writes what has come and gone since the last time.
    ///
    /// # Errors
    /// [`StoreError`]; it can be tried again.
    pub fn save(&mut self, mempool: &Mempool) -> Result<(), StoreError> {
        let waiting = mempool.txids();
        let wanted: HashSet<Txid> = waiting.iter().copied().chain(self.open.iter().map(|kept| kept.txid)).collect();
        let removed: Vec<Txid> = self.stored.difference(&wanted).copied().collect();
        let new = waiting.iter().filter(|txid| !self.stored.contains(*txid));
        let added: Vec<KeptTransaction> = new
            .filter_map(|txid| {
                let (transaction, admitted_at) = mempool.admitted(txid)?;
                Some(KeptTransaction { txid: *txid, admitted_at, bytes: serialize(&*transaction) })
            })
            .collect();
        if added.is_empty() && removed.is_empty() {
            return Ok(());
        }
        self.store.update(&added, &removed)?;
        for txid in removed {
            self.stored.remove(&txid);
        }
        self.stored.extend(added.iter().map(|kept| kept.txid));
        Ok(())
    }

    /// Restores the pool and then keeps the file, until `stop` is cancelled. Nothing of the node waits for it.
    pub fn start(path: PathBuf, mempool: Arc<Mempool>, stop: CancellationToken) -> JoinHandle<()> {
        tokio::spawn(async move {
            let opened = {
                let (mempool, stop) = (Arc::clone(&mempool), stop.clone());
                spawn_blocking(move || {
                    let mut keeper = Keeper::open(&path)?;
                    keeper.restore(&mempool, &stop);
                    Ok::<_, StoreError>(keeper)
                })
            };
            match opened.await {
                Ok(Ok(keeper)) => keeper.keep(mempool, stop).await,
                Ok(Err(error)) => tracing::warn!(%error, "the mempool will not survive a restart"),
                // The runtime is ending.
                Err(_) => {}
            }
        })
    }

    async fn keep(mut self, mempool: Arc<Mempool>, stop: CancellationToken) {
        let mut changes = mempool.changes();
        loop {
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(TRY_AGAIN), if self.has_open() => {}
                () = stop.cancelled() => {}
            }
            tokio::select! {
                () = tokio::time::sleep(BATCH_PAUSE) => {}
                () = stop.cancelled() => {}
            }
            let work = {
                let (mempool, stop) = (Arc::clone(&mempool), stop.clone());
                spawn_blocking(move || {
                    self.restore(&mempool, &stop);
                    if let Err(error) = self.save(&mempool) {
                        tracing::warn!(%error, "cannot write what waits");
                    }
                    self
                })
            };
            match work.await {
                Ok(keeper) if !stop.is_cancelled() => self = keeper,
                _ => return,
            }
        }
    }
}

fn depends_on(transaction: &Transaction, txids: &HashSet<Txid>) -> bool {
    transaction.input.iter().any(|input| txids.contains(&input.previous_output.txid))
}
