//! What a peer is answered and told.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aquifer_assets::primitives::Transaction;
use bitcoin::hashes::{Hash as _, sha256d};
use bytes::Bytes;
use elements::encode::serialize;
use elements::{BlockHash, Txid};
use tokio::io::{AsyncRead, AsyncWrite};

use super::compact;
use super::conduct::TOO_MUCH;
use super::herald::Tip;
use super::inventory::{Inventory, Named};
use super::message::{self, Message};
use super::outbox::Closed;
use super::session::{Session, SessionError};
use super::shelf::{Asked, ShelfError};
use super::wire::{Command, MAX_INVENTORY};
use crate::mempool::{Arrival, Mempool};

/// Blocks that a peer may lack to be told of the last one by headers (`MAX_BLOCKS_TO_ANNOUNCE`).
const MAX_ANNOUNCED_HEADERS: u32 = 8;
/// Transactions are read and sent by so many bytes.
const BATCH_LEN: usize = 1 << 20;
/// How often a peer may ask for everything that waits.
const POOL_PAUSE: Duration = Duration::from_secs(60);
/// Points for something out of place.
const OUT_OF_PLACE: u32 = 10;

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Session<S> {
    /// Says how this side wants to be told of things.
    pub(super) async fn greet(&mut self) -> Result<(), SessionError> {
        self.send(Command::SendHeaders, Vec::new()).await?;
        self.send(Command::SendCompact, message::send_compact(false, compact::VERSION)).await?;
        self.tell_floor().await
    }

    /// Looks at the pool off the threads of the runtime: it is locked while it verifies.
    pub(super) async fn with_pool<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Mempool) -> T + Send + 'static,
    ) -> Result<T, ShelfError> {
        let pool = Arc::clone(&self.shared.mempool);
        tokio::task::spawn_blocking(move || look(&pool)).await.map_err(|_| ShelfError::Thread)
    }

    pub(super) async fn handle(&mut self, message: Message) -> Result<(), SessionError> {
        match message {
            Message::Version(_) | Message::Verack | Message::WtxidRelay => {
                self.misbehaved(OUT_OF_PLACE, "it introduces itself again");
            }
            Message::SendHeaders => self.wishes.headers = true,
            Message::SendCompact { unasked, version: compact::VERSION } => self.wishes.compact = unasked,
            // Of version 1 there are no witnesses to be had; a pong is as good as any other word.
            Message::SendCompact { .. } | Message::Pong(_) => {}
            Message::FeeFilter(rate) => self.floor_sat_per_kvb = rate,
            Message::Ping(nonce) => self.send(Command::Pong, nonce.to_le_bytes().to_vec()).await?,
            Message::GetHeaders { locator, stop } => self.give_headers(locator, stop).await?,
            Message::GetData(asked) => self.give(asked).await?,
            Message::GetBlockTransactions { block, positions } => self.give_positions(block, positions).await?,
            Message::Inventory(announced) => self.hear_of(announced).await?,
            Message::NotFound(missing) => {
                for entry in missing {
                    self.requests.answered(&entry.hash, |_| false);
                }
            }
            Message::Transaction(bytes) => self.take(&bytes),
            Message::Mempool => self.give_pool().await?,
            // Whom this side knows is nobody's business, and members need nobody else.
            Message::GetAddresses => self.send(Command::Addresses, vec![0]).await?,
        }
        Ok(())
    }

    async fn give_headers(&mut self, locator: Vec<BlockHash>, stop: BlockHash) -> Result<(), SessionError> {
        let headers = self.shared.shelf.headers_behind(locator, stop).await?;
        self.outbox.push(headers.frame).await?;
        self.has_up_to = self.has_up_to.max(headers.up_to);
        Ok(())
    }

    async fn give(&mut self, asked: Vec<Inventory>) -> Result<(), SessionError> {
        let is_transaction = |entry: &Inventory| matches!(entry.named(), Named::Txid(_) | Named::Wtxid(_));
        let (transactions, blocks): (VecDeque<_>, VecDeque<_>) = asked.into_iter().partition(is_transaction);
        let mut missing = self.give_transactions(transactions).await?;
        let mut rest = blocks;
        while !rest.is_empty() {
            let mut blocks = self.shared.shelf.blocks(rest).await?;
            for frame in blocks.frames {
                self.outbox.push(frame).await?;
            }
            missing.append(&mut blocks.missing);
            rest = blocks.rest;
        }
        if !missing.is_empty() {
            self.send(Command::NotFound, message::inventories(&missing)).await?;
        }
        Ok(())
    }

    async fn give_transactions(&mut self, asked: VecDeque<Inventory>) -> Result<Vec<Inventory>, SessionError> {
        let (mut missing, mut rest) = (Vec::new(), asked);
        while !rest.is_empty() {
            let mut asked = std::mem::take(&mut rest);
            let found = self.with_pool(move |pool| {
                let (mut found, mut missing, mut length) = (Vec::new(), Vec::new(), 0_usize);
                while length < BATCH_LEN
                    && let Some(entry) = asked.pop_front()
                {
                    match waiting(pool, entry) {
                        Some(transaction) => {
                            let bytes = serialize(&*transaction);
                            length = length.saturating_add(bytes.len());
                            found.push((entry.hash, bytes));
                        }
                        None => missing.push(entry),
                    }
                }
                (found, missing, asked)
            });
            let (found, mut not_found, left) = found.await?;
            for (hash, bytes) in found {
                self.known.insert(hash);
                self.send(Command::Transaction, bytes).await?;
            }
            missing.append(&mut not_found);
            rest = left;
        }
        Ok(missing)
    }

    async fn give_positions(&mut self, block: BlockHash, positions: Vec<usize>) -> Result<(), SessionError> {
        match self.shared.shelf.transactions(block, positions).await? {
            Asked::Answer(frame) => self.outbox.push(frame).await?,
            Asked::Unknown => {}
            Asked::OutOfRange => self.misbehaved(TOO_MUCH, "it asks for transactions that a block does not have"),
        }
        Ok(())
    }

    async fn hear_of(&mut self, announced: Vec<Inventory>) -> Result<(), SessionError> {
        let (tip, height) = {
            let tip = self.shared.tip.borrow();
            (tip.hash, tip.height)
        };
        let mut transactions = Vec::new();
        for entry in announced {
            match entry.named() {
                Named::Txid(_) | Named::Wtxid(_) => {
                    self.known.insert(entry.hash);
                    transactions.push(entry);
                }
                Named::Block(hash) if hash == tip => self.has_up_to = self.has_up_to.max(Some(height)),
                // Blocks are final here first.
                Named::Block(_) | Named::CompactBlock(_) | Named::Unknown => {}
            }
        }
        if transactions.is_empty() {
            return Ok(());
        }
        let now = Instant::now();
        for entry in self.unknown(transactions).await? {
            self.requests.announced(entry, self.shared.intake.may_ask(entry.hash, now));
        }
        self.ask_for_announced().await
    }

    async fn unknown(&self, announced: Vec<Inventory>) -> Result<Vec<Inventory>, ShelfError> {
        let intake = Arc::clone(&self.shared.intake);
        tokio::task::spawn_blocking(move || intake.unknown(announced)).await.map_err(|_| ShelfError::Thread)
    }

    /// Asks for announced transactions that are due and not here by now.
    pub(super) async fn ask_for_announced(&mut self) -> Result<(), SessionError> {
        let now = Instant::now();
        let due = self.requests.due(now);
        if due.is_empty() {
            return Ok(());
        }
        let mut wanted = Vec::new();
        for entry in self.unknown(due).await? {
            let from = self.shared.intake.may_ask(entry.hash, now);
            if from > now {
                self.requests.announced(entry, from);
                continue;
            }
            self.shared.intake.asking(entry.hash, now);
            self.requests.asked(entry, now);
            wanted.push(entry.wanted());
        }
        if !wanted.is_empty() {
            self.send(Command::GetData, message::inventories(&wanted)).await?;
        }
        Ok(())
    }

    pub(super) async fn ask_for_parents(&mut self, parents: &[Txid]) -> Result<(), Closed> {
        self.send(Command::GetData, message::inventories(&message::by_txid(parents))).await
    }

    fn take(&mut self, bytes: &Bytes) {
        let hash = sha256d::Hash::hash(bytes).to_byte_array();
        self.requests.answered(&hash, |entry| matches!(entry.named(), Named::Txid(_)));
        self.known.insert(hash);
        // What keeps it must not keep the buffer of the connection, which is larger.
        self.shared.intake.offer(Bytes::copy_from_slice(bytes), Some(self.source.clone()));
    }

    async fn give_pool(&mut self) -> Result<(), SessionError> {
        let now = Instant::now();
        if self.pool_asked.is_some_and(|asked| now.saturating_duration_since(asked) < POOL_PAUSE) {
            self.misbehaved(OUT_OF_PLACE, "it asks for the whole mempool again");
            return Ok(());
        }
        self.pool_asked = Some(now);
        let all = self.with_pool(|pool| pool.arrivals_after(0, MAX_INVENTORY)).await?;
        self.announce_transactions(&all).await
    }

    /// Tells of transactions that the peer wants and does not know.
    pub(super) async fn announce_transactions(&mut self, arrivals: &[Arrival]) -> Result<(), SessionError> {
        if !self.introduction.wants_transactions {
            return Ok(());
        }
        let mut told = Vec::new();
        for arrival in arrivals.iter().filter(|arrival| arrival.fee_rate_sat_per_kvb >= self.floor_sat_per_kvb) {
            let entry = match self.introduction.by_wtxid {
                true => Inventory::wtxid(arrival.wtxid),
                false => Inventory::txid(arrival.txid),
            };
            // A peer that names it by its id still sent it as a whole.
            if !self.known.contains(&arrival.wtxid.to_byte_array()) && self.known.insert(entry.hash) {
                told.push(entry);
            }
        }
        if !told.is_empty() {
            self.send(Command::Inventory, message::inventories(&told)).await?;
        }
        Ok(())
    }

    /// Tells of the last block as the peer wishes, and as far as it has the block before it.
    pub(super) async fn announce_block(&mut self, tip: &Tip) -> Result<(), SessionError> {
        let lacks = self.has_up_to.map(|height| tip.height.saturating_sub(height));
        match lacks {
            Some(0) => return Ok(()),
            Some(1) if self.wishes.compact => self.outbox.push(tip.compact.clone()).await?,
            Some(lacks) if lacks <= MAX_ANNOUNCED_HEADERS && (self.wishes.headers || self.wishes.compact) => {
                let has = tip.height.saturating_sub(lacks);
                let headers = self.shared.shelf.headers_between(has, tip.height).await?;
                self.outbox.push(headers.frame).await?;
            }
            _ => {
                // It asks for what it lacks.
                let inventory = message::inventories(&[Inventory::block(tip.hash)]);
                return Ok(self.send(Command::Inventory, inventory).await?);
            }
        }
        self.has_up_to = Some(tip.height);
        Ok(())
    }
}

/// The waiting transaction that an inventory names.
fn waiting(pool: &Mempool, entry: Inventory) -> Option<Arc<Transaction>> {
    match entry.named() {
        Named::Txid(txid) => pool.get(&txid),
        Named::Wtxid(wtxid) => pool.get_by_wtxid(&wtxid),
        Named::Block(_) | Named::CompactBlock(_) | Named::Unknown => None,
    }
}
