//! Tells all sessions of new blocks and new transactions, by looking once for all.

use std::sync::Arc;
use std::time::Duration;

use elements::BlockHash;
use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;

use super::Parts;
use super::intake::Intake;
use super::shelf::{Shelf, ShelfError};
use super::wire::Frame;
use crate::mempool::{Arrival, Mempool};

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(20);
/// Transactions that are told of at once.
const MAX_ARRIVALS: usize = 1_000;
/// News that a session may be late by. What it misses comes in a block.
const BACKLOG: usize = 64;

/// The last final block.
#[derive(Debug)]
pub(super) struct Tip {
    pub(super) height: u32,
    pub(super) hash: BlockHash,
    /// It as a compact block.
    pub(super) compact: Frame,
}

pub(super) struct Herald {
    mempool: Arc<Mempool>,
    changes: watch::Receiver<u64>,
    tip: watch::Sender<Arc<Tip>>,
    arrivals: broadcast::Sender<Arc<[Arrival]>>,
    last_arrival: u64,
}

impl Herald {
    /// Begins with what is there now, of which nobody is told.
    pub(super) async fn new(shelf: &Shelf, parts: &Parts) -> Result<(Self, watch::Receiver<Arc<Tip>>), ShelfError> {
        let mempool = Arc::clone(&parts.mempool);
        let changes = mempool.changes();
        let tip = shelf.tip_above(None).await?.ok_or(ShelfError::Thread)?;
        let (tip, told) = watch::channel(Arc::new(tip));
        let mut herald = Self { mempool, changes, tip, arrivals: broadcast::Sender::new(BACKLOG), last_arrival: 0 };
        while !herald.next_arrivals().await?.is_empty() {}
        Ok((herald, told))
    }

    pub(super) fn arrivals(&self) -> broadcast::Sender<Arc<[Arrival]>> {
        self.arrivals.clone()
    }

    pub(super) async fn run(mut self, shelf: Shelf, intake: Arc<Intake>, stop: CancellationToken) {
        loop {
            tokio::select! {
                changed = self.changes.changed() => if changed.is_err() { return },
                () = stop.cancelled() => return,
            }
            if let Err(error) = self.look(&shelf, &intake).await {
                tracing::error!(%error, "peers of the Elements network are not told what is new");
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn look(&mut self, shelf: &Shelf, intake: &Arc<Intake>) -> Result<(), ShelfError> {
        let height = self.tip.borrow().height;
        if let Some(tip) = shelf.tip_above(Some(height)).await? {
            self.tip.send_replace(Arc::new(tip));
            intake.block_connected();
        }
        loop {
            let arrivals = self.next_arrivals().await?;
            if arrivals.is_empty() {
                return Ok(());
            }
            // Nobody may be connected.
            let _ = self.arrivals.send(arrivals.into());
        }
    }

    async fn next_arrivals(&mut self) -> Result<Vec<Arrival>, ShelfError> {
        let (mempool, last) = (Arc::clone(&self.mempool), self.last_arrival);
        // The pool is locked while it verifies.
        let arrivals = tokio::task::spawn_blocking(move || mempool.arrivals_after(last, MAX_ARRIVALS));
        let arrivals = arrivals.await.map_err(|_| ShelfError::Thread)?;
        self.last_arrival = arrivals.last().map_or(last, |arrival| arrival.number);
        Ok(arrivals)
    }
}
