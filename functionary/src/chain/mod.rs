//! The chain: one thread that agrees on blocks, makes them final, and is the ledger's one writer.
//!
//! ```text
//!            work, another member, or the idle interval
//!   Waiting ───────────────────────────────────────────► Agreeing ──decided──► Signing ──k shares──► connected ─► Waiting
//!      ▲                                                    │                     │
//!      └──────── final blocks of other members (catching up): checked in full, then connected ◄──────┘
//! ```
//!
//! [`Core`] owns the engine and the stores and handles one [`Event`] at a time; whatever takes long (building and judging
//! blocks, fetching bodies) happens elsewhere and comes back as an event. What makes it safe:
//!
//! * a vote leaves only after the journal and its vote slot are durable (`aquifer_federation::consensus`);
//! * a header is signed only when its block is decided, the decision is durable, and no other header was signed at that
//!   height ([`crate::store::signer`]);
//! * a batch is signed only when its block is final (connected, with k header signatures and a certificate) and the guard
//!   lets it pass: the member's auditors, where there is one its elementsd, and its own halt;
//! * a member that was restored from a backup does not vote at or below the latest slot its peers saw it sign in;
//! * any failure of a store stops the member, before anything that depended on the write is sent.

mod batches;
pub mod body;
mod building;
mod catching_up;
mod core;
mod finality;
mod halting;
mod host;
pub mod judge;
pub mod oversight;
pub mod parent;
mod proposals;
mod sessions;
mod signing;
mod status;
mod timers;
mod valve;
mod worker;

use std::time::{SystemTime, UNIX_EPOCH};

use aquifer_federation::consensus::{BlockId, EngineError};
use aquifer_federation::roster::MemberIndex;
use aquifer_proto::peer::{FinalBlock, PeerMessage};

pub use self::core::{Core, CoreParts, Pacing, SigningKeys};
pub use self::status::{CoreStatus, HeightTimes, Pace, PeerNote};
use crate::peers::PeerEvent;
use crate::store::StoreError;

/// The time of day, as a capability.
pub trait Clock: Send + Sync {
    /// Seconds since 1970.
    fn now(&self) -> u32;
}

/// The machine's clock.
#[derive(Copy, Clone, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> u32 {
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        u32::try_from(seconds).unwrap_or(u32::MAX)
    }
}

/// The other members, as a capability. Nothing here blocks; what is fetched comes back as an [`Event`].
pub trait Network: Send + Sync {
    /// Sends a message to every other member that is connected.
    fn broadcast(&self, message: PeerMessage);
    /// Sends a message to one member.
    fn send(&self, to: MemberIndex, message: PeerMessage);
    /// Fetches the body of a proposed block: answered by [`Event::Body`].
    fn fetch_body(&self, from: MemberIndex, height: u32, block: BlockId);
    /// Fetches final blocks from `from_height` on: answered by [`Event::FinalBlocks`].
    fn fetch_blocks(&self, from: MemberIndex, from_height: u32);
    /// Drops the connection with a member that sent something it must not, and says so in the log.
    fn disconnect(&self, member: MemberIndex, reason: &str);
}

/// What the chain reacts to.
#[derive(Debug)]
pub enum Event {
    /// From another member.
    Peer(PeerEvent),
    /// A body that was asked for, or why it could not be had.
    Body {
        /// Who was asked.
        from: MemberIndex,
        /// Height of the block.
        height: u32,
        /// The block.
        block: BlockId,
        /// The bytes.
        result: Result<Vec<u8>, String>,
    },
    /// Final blocks that were asked for, or why they could not be had.
    FinalBlocks {
        /// Who was asked.
        from: MemberIndex,
        /// The blocks, in order.
        result: Result<Vec<FinalBlock>, String>,
    },
    /// A block was built or judged.
    Work(WorkDone),
    /// Signing with the treasury key has come further.
    Session(crate::peg::sessions::SessionEffect),
    /// Transactions wait.
    TransactionsWait,
    /// Auditors or the second opinion have come further: batches that wait may be signed.
    GuardMoved,
    /// This member has halted or resumed peg-outs, or notices wait to be passed on.
    NoticesMoved,
    /// The member shuts down: nothing is lost at any point, so this is at once.
    Stop,
}

/// Results of the worker thread.
#[derive(Debug)]
pub struct WorkDone(pub(crate) worker::Done);

/// Why the chain stopped.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// A store failed.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// Consensus failed.
    #[error("{0}")]
    Engine(EngineError),
    /// Two different blocks at one height both carry what makes them final. Nothing may be signed any more.
    #[error(
        "SAFETY: at height {height} this member decided {ours}, but {theirs} is signed as final. Do not restart; call the other operators"
    )]
    Fork {
        /// The height.
        height: u32,
        /// What we decided.
        ours: BlockId,
        /// What is final elsewhere.
        theirs: BlockId,
    },
    /// A decided block turns out to be invalid, or its body is missing.
    #[error("the decided block {block} at height {height} cannot be used: {reason}")]
    Decided {
        /// The height.
        height: u32,
        /// The block.
        block: BlockId,
        /// Why.
        reason: String,
    },
    /// A batch could not be signed or kept.
    #[error("{0}")]
    Pegout(#[from] crate::peg::PegoutError),
    /// The coins of a batch are not those that it spends.
    #[error("{0}")]
    Signing(#[from] aquifer_federation::treasury::SigningError),
    /// A thread of the node ended.
    #[error("the {0} thread ended unexpectedly")]
    Thread(&'static str),
}
