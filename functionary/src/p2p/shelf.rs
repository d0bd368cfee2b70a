//! Final blocks as peers ask for them, read off the threads of the runtime.

use std::collections::VecDeque;
use std::sync::Arc;

use aquifer_assets::primitives::Block;
use elements::BlockHash;
use tokio::sync::Semaphore;

use super::compact::{block_transactions, compact_block};
use super::herald::Tip;
use super::inventory::{Inventory, Named};
use super::message;
use super::wire::{Command, Frame, Magic};
use crate::store::StoreError;
use crate::store::ledger::{LedgerReader, Snapshot, StoredBlock};

/// Readers at a time.
const READERS: usize = 2;
/// Most headers of an answer (`MAX_HEADERS_RESULTS`). Fewer say that there are no more.
const MAX_HEADERS: u32 = 2_000;
/// Blocks are read and sent by so many bytes.
const BATCH_LEN: usize = 1 << 20;
/// Blocks below the tip that are sent compact (`MAX_CMPCTBLOCK_DEPTH`).
const MAX_COMPACT_DEPTH: u32 = 5;
/// Blocks below the tip of which single transactions are sent (`MAX_BLOCKTXN_DEPTH`).
const MAX_TRANSACTIONS_DEPTH: u32 = 10;

/// The ledger cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ShelfError {
    /// The store fails.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The node is ending.
    #[error("the thread that reads the ledger has ended")]
    Thread,
}

/// Reads for all peers.
#[derive(Clone)]
pub(super) struct Shelf {
    ledger: Arc<LedgerReader>,
    readers: Arc<Semaphore>,
    magic: Magic,
}

/// Headers for a peer.
pub(super) struct Headers {
    /// The message.
    pub(super) frame: Frame,
    /// Height up to which the peer has the chain when it has read them; `None` if it was told of nothing.
    pub(super) up_to: Option<u32>,
}

/// Blocks for a peer.
pub(super) struct Blocks {
    /// Messages, in order.
    pub(super) frames: Vec<Frame>,
    /// What is not here.
    pub(super) missing: Vec<Inventory>,
    /// What is left to be read.
    pub(super) rest: VecDeque<Inventory>,
}

/// Transactions of a block.
pub(super) enum Asked {
    /// The message; the whole block where it is too deep.
    Answer(Frame),
    /// The block is not here.
    Unknown,
    /// It has fewer transactions.
    OutOfRange,
}

impl Shelf {
    pub(super) fn new(ledger: Arc<LedgerReader>, magic: Magic) -> Self {
        Self { ledger, readers: Arc::new(Semaphore::new(READERS)), magic }
    }

    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Snapshot<'_>, Magic) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, ShelfError> {
        let reader = Arc::clone(&self.readers).acquire_owned().await.map_err(|_| ShelfError::Thread)?;
        let (ledger, magic) = (Arc::clone(&self.ledger), self.magic);
        let reading = tokio::task::spawn_blocking(move || {
            let _reader = reader;
            work(&ledger.snapshot()?, magic)
        });
        Ok(reading.await.map_err(|_| ShelfError::Thread)??)
    }

    /// The last final block, if it is above `height`.
    pub(super) async fn tip_above(&self, height: Option<u32>) -> Result<Option<Tip>, ShelfError> {
        let nonce = rand::random();
        self.read(move |snapshot, magic| {
            let tip = snapshot.tip()?;
            if height.is_some_and(|height| height >= tip.height) {
                return Ok(None);
            }
            let stored = snapshot.block(tip.height)?.ok_or_else(|| damaged(tip.height, "it is missing"))?;
            let (block, header) = decoded(stored)?;
            let compact = Frame::new(magic, Command::CompactBlock, compact_block(&header, &block.txdata, nonce));
            Ok(Some(Tip { height: tip.height, hash: tip.hash, compact }))
        })
        .await
    }

    /// Headers behind the first block of a locator that is here, up to `stop` or as many as one message takes.
    pub(super) async fn headers_behind(&self, locator: Vec<BlockHash>, stop: BlockHash) -> Result<Headers, ShelfError> {
        self.read(move |snapshot, magic| {
            let mut known = None;
            for hash in &locator {
                known = snapshot.height_of(hash)?;
                if known.is_some() {
                    break;
                }
            }
            if locator.is_empty() {
                // The one header that is named.
                let Some(height) = snapshot.height_of(&stop)? else { return Ok(headers(magic, &[], None)) };
                return Ok(headers(magic, &snapshot.headers_from(height, 1)?, None));
            }
            let from = known.map_or(1, |height| height.saturating_add(1));
            let mut found = snapshot.headers_from(from, MAX_HEADERS)?;
            if let Some(last) = found.iter().position(|(hash, _)| *hash == stop) {
                found.truncate(last.saturating_add(1));
            }
            let count = u32::try_from(found.len()).unwrap_or(u32::MAX);
            Ok(headers(magic, &found, Some(from.saturating_sub(1).saturating_add(count))))
        })
        .await
    }

    /// The headers above a height that the peer has, up to another.
    pub(super) async fn headers_between(&self, has: u32, up_to: u32) -> Result<Headers, ShelfError> {
        self.read(move |snapshot, magic| {
            let found = snapshot.headers_from(has.saturating_add(1), up_to.saturating_sub(has).min(MAX_HEADERS))?;
            Ok(headers(magic, &found, Some(up_to)))
        })
        .await
    }

    /// The first of the blocks that are asked for, by bytes that go on their way together.
    pub(super) async fn blocks(&self, mut asked: VecDeque<Inventory>) -> Result<Blocks, ShelfError> {
        self.read(move |snapshot, magic| {
            let tip = snapshot.tip()?.height;
            let (mut frames, mut missing, mut length) = (Vec::new(), Vec::new(), 0_usize);
            while length < BATCH_LEN
                && let Some(entry) = asked.pop_front()
            {
                let height = match entry.named() {
                    Named::Block(hash) | Named::CompactBlock(hash) => snapshot.height_of(&hash)?,
                    _ => None,
                };
                let stored = height.map(|height| snapshot.block(height)).transpose()?.flatten();
                let Some(stored) = stored else {
                    missing.push(entry);
                    continue;
                };
                let is_compact = matches!(entry.named(), Named::CompactBlock(_))
                    && tip.saturating_sub(stored.height) <= MAX_COMPACT_DEPTH;
                let frame = if is_compact {
                    let nonce = rand::random();
                    let (block, header) = decoded(stored)?;
                    Frame::new(magic, Command::CompactBlock, compact_block(&header, &block.txdata, nonce))
                } else {
                    Frame::new(magic, Command::Block, stored.block)
                };
                length = length.saturating_add(frame.len());
                frames.push(frame);
            }
            Ok(Blocks { frames, missing, rest: asked })
        })
        .await
    }

    /// Transactions of a block.
    pub(super) async fn transactions(&self, hash: BlockHash, positions: Vec<usize>) -> Result<Asked, ShelfError> {
        self.read(move |snapshot, magic| {
            let Some(height) = snapshot.height_of(&hash)? else { return Ok(Asked::Unknown) };
            let Some(stored) = snapshot.block(height)? else { return Ok(Asked::Unknown) };
            if snapshot.tip()?.height.saturating_sub(height) > MAX_TRANSACTIONS_DEPTH {
                return Ok(Asked::Answer(Frame::new(magic, Command::Block, stored.block)));
            }
            let (block, _) = decoded(stored)?;
            Ok(match block_transactions(hash, &block, &positions) {
                Some(payload) => Asked::Answer(Frame::new(magic, Command::BlockTransactions, payload)),
                None => Asked::OutOfRange,
            })
        })
        .await
    }
}

fn headers(magic: Magic, found: &[(BlockHash, Vec<u8>)], up_to: Option<u32>) -> Headers {
    let payload = message::headers(found.iter().map(|(_, header)| header.as_slice()));
    Headers { frame: Frame::new(magic, Command::Headers, payload), up_to }
}

/// The block and the bytes of its header.
fn decoded(stored: StoredBlock) -> Result<(Block, Vec<u8>), StoreError> {
    let block = Block::decode(stored.block).map_err(|error| damaged(stored.height, error))?;
    Ok((block, stored.header))
}

fn damaged(height: u32, what: impl std::fmt::Display) -> StoreError {
    StoreError::Inconsistent { file: "ledger.db".to_owned(), reason: format!("block {height}: {what}") }
}
