//! The connection with one peer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use elements::Txid;
use tokio::io::{AsyncRead, AsyncWrite, ReadHalf};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::conduct::{Conduct, TOO_MUCH};
use super::handshake::{HandshakeError, Introduction, introduce};
use super::intake::Source;
use super::inventory::Recent;
use super::limits::Purse;
use super::message::Message;
use super::outbox::{Closed, Outbox};
use super::requests::Requests;
use super::shelf::ShelfError;
use super::wire::{Command, Frame, FrameReader, Received, WireError};

/// How often it is looked whether something is due.
const TICK: Duration = Duration::from_millis(250);
/// Transactions that a peer is known to have.
const MAX_KNOWN: usize = 20_000;
/// Questions for missing parents that may wait.
const MAX_ASKS: usize = 16;

/// Who opened a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// The peer.
    Inbound,
    /// This side.
    Outbound,
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum SessionError {
    /// The peer did not introduce itself.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    /// What it sends cannot be read.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// It does not read, or was dropped.
    #[error(transparent)]
    Closed(#[from] Closed),
    /// It has been silent for too long.
    #[error("nothing was heard of the peer for {} s", .0.as_secs())]
    Silent(Duration),
    /// A message takes too long on its way.
    #[error("a message of {length} bytes has been on its way for {} s", .taking.as_secs())]
    Slow {
        /// Length of its payload, in bytes.
        length: usize,
        /// How long so far.
        taking: Duration,
    },
    /// This side cannot serve it.
    #[error(transparent)]
    Shelf(#[from] ShelfError),
}

/// How a peer wants to hear of new blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Wishes {
    /// By their headers, rather than by their names.
    pub(super) headers: bool,
    /// As compact blocks, at once.
    pub(super) compact: bool,
}

pub(super) struct Session<S> {
    reader: FrameReader<ReadHalf<S>>,
    pub(super) outbox: Outbox,
    pub(super) shared: Arc<Shared>,
    pub(super) introduction: Introduction,
    pub(super) source: Source,
    asks: mpsc::Receiver<Vec<Txid>>,
    pub(super) requests: Requests,
    /// Hashes of transactions that it has.
    pub(super) known: Recent<[u8; 32]>,
    /// Height up to which it has the headers of the chain, as far as we know.
    pub(super) has_up_to: Option<u32>,
    pub(super) wishes: Wishes,
    /// It wants no transactions that pay less, in satoshi per 1,000 vbytes.
    pub(super) floor_sat_per_kvb: u64,
    /// What it was told that we want.
    told_floor_sat_per_kvb: Option<u64>,
    /// When it last asked for everything that waits.
    pub(super) pool_asked: Option<Instant>,
    heard: Instant,
    pinged: Instant,
    purse: Purse,
}

/// Talks with a peer until the connection ends or `closed` is cancelled.
pub(super) async fn run<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(
    stream: S,
    remote: SocketAddr,
    direction: Direction,
    shared: Arc<Shared>,
    closed: CancellationToken,
) {
    let (input, output) = tokio::io::split(stream);
    let mut reader = FrameReader::new(input, shared.magic);
    let outbox = Outbox::start(output, shared.limits, closed.clone());
    let limit = shared.limits.handshake;
    let introducing = tokio::time::timeout(limit, introduce(&mut reader, &outbox, direction, remote, &shared));
    let introduced = tokio::select! {
        introduced = introducing => introduced.unwrap_or(Err(HandshakeError::Late(limit))),
        () = closed.cancelled() => Err(Closed.into()),
    };
    let ended = match introduced {
        Err(error) => Err(error.into()),
        Ok(introduction) => {
            tracing::debug!(%remote, ?direction, user_agent = %introduction.user_agent, "a peer is connected");
            let bans = (direction == Direction::Inbound).then(|| Arc::clone(&shared.bans));
            let conduct = Arc::new(Conduct::new(remote, bans, closed.clone()));
            let session = Session::new(reader, outbox, shared, introduction, conduct);
            tokio::select! {
                ended = session.talk() => ended,
                () = closed.cancelled() => Err(Closed.into()),
            }
        }
    };
    closed.cancel();
    match ended {
        Err(SessionError::Shelf(error)) => tracing::error!(%remote, %error, "a peer cannot be served"),
        Err(error) => tracing::debug!(%remote, %error, "a peer is gone"),
        Ok(()) => {}
    }
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Session<S> {
    fn new(
        reader: FrameReader<ReadHalf<S>>,
        outbox: Outbox,
        shared: Arc<Shared>,
        introduction: Introduction,
        conduct: Arc<Conduct>,
    ) -> Self {
        let (ask, asks) = mpsc::channel(MAX_ASKS);
        let now = Instant::now();
        Self {
            reader,
            outbox,
            shared,
            introduction,
            source: Source { conduct, asks: ask },
            asks,
            requests: Requests::default(),
            known: Recent::new(MAX_KNOWN),
            has_up_to: None,
            wishes: Wishes::default(),
            floor_sat_per_kvb: 0,
            told_floor_sat_per_kvb: None,
            pool_asked: None,
            heard: now,
            pinged: now,
            purse: Purse::full(now),
        }
    }

    async fn talk(mut self) -> Result<(), SessionError> {
        let mut tip = self.shared.tip.clone();
        tip.mark_unchanged();
        let mut arrivals = self.shared.arrivals.subscribe();
        self.greet().await?;
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                received = self.reader.next() => self.receive(received?).await?,
                changed = tip.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                    let tip = Arc::clone(&tip.borrow_and_update());
                    self.announce_block(&tip).await?;
                }
                batch = arrivals.recv() => match batch {
                    Ok(batch) => self.announce_transactions(&batch).await?,
                    // What it missed comes in a block.
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return Ok(()),
                },
                Some(parents) = self.asks.recv() => self.ask_for_parents(&parents).await?,
                _ = ticks.tick() => self.tick().await?,
            }
        }
    }

    pub(super) async fn send(&self, command: Command, payload: Vec<u8>) -> Result<(), Closed> {
        self.outbox.push(Frame::new(self.shared.magic, command, payload)).await
    }

    pub(super) fn misbehaved(&self, points: u32, what: impl std::fmt::Display) {
        self.source.conduct.misbehaved(points, what);
    }

    async fn receive(&mut self, received: Received) -> Result<(), SessionError> {
        self.heard = Instant::now();
        let wait = match received {
            Received::Skipped(length) => self.purse.pay(length, self.heard),
            Received::Message(command, payload) => {
                let wait = self.purse.pay(payload.len(), self.heard);
                match Message::decode(command, payload) {
                    Ok(Some(message)) => self.handle(message).await?,
                    Ok(None) => {}
                    Err(error) => self.misbehaved(TOO_MUCH, error),
                }
                wait
            }
        };
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        Ok(())
    }

    async fn tick(&mut self) -> Result<(), SessionError> {
        let (now, limits) = (Instant::now(), self.shared.limits);
        if let Some((begun, length)) = self.reader.under_way() {
            let taking = now.saturating_duration_since(begun);
            if taking > limits.transfer_of(length) {
                return Err(SessionError::Slow { length, taking });
            }
        }
        if now.saturating_duration_since(self.heard) > limits.silence {
            return Err(SessionError::Silent(limits.silence));
        }
        if now.saturating_duration_since(self.pinged) > limits.ping_interval {
            self.pinged = now;
            self.send(Command::Ping, rand::random::<u64>().to_le_bytes().to_vec()).await?;
            self.tell_floor().await?;
        }
        self.ask_for_announced().await
    }

    /// Tells the peer below which fee rate it need not offer transactions, where that has changed.
    pub(super) async fn tell_floor(&mut self) -> Result<(), SessionError> {
        let floor = self.with_pool(|pool| pool.min_fee_rate_sat_per_kvb()).await?;
        if self.told_floor_sat_per_kvb.replace(floor) != Some(floor) {
            self.send(Command::FeeFilter, floor.to_le_bytes().to_vec()).await?;
        }
        Ok(())
    }
}
