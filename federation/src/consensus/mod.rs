//! Agreement on blocks: the BFT engine's context, its host logic, and the formats of its messages and journal.
//!
//! The engine is `arc-malachitebft-core-consensus`, used as a pure state machine: [`Engine`] takes inputs (messages of
//! members, timers, judged blocks) and calls a [`Host`] for everything that touches the world. One height is one block is
//! one commit certificate; the value that is agreed on is the 32-byte block hash, and bodies travel apart.
//!
//! What this module promises, and why it holds:
//!
//! * **Nothing escapes before it is durable.** Every vote and proposal of ours, and every input that led to it, is in the
//!   journal, and the journal is synchronised ([`Host::sync`]), before [`Host::publish`] or [`Host::decided`] is called.
//!   A restarted member replays the journal and comes to the same votes.
//! * **Never two votes in one slot.** A [`VoteSlot`] is recorded with its value before the signature is made; the host
//!   refuses another value for a recorded slot, even if the journal was lost.
//! * **A failing host stops the engine.** The engine's own effect loop goes on after a failed effect; here the first
//!   failure is kept, every later effect of the same input fails as well, and the engine refuses all further input. So a
//!   full disk can never be followed by a published vote.
//! * **A sender speaks for itself.** Votes and proposals are taken only from the member that signed them; messages of
//!   future heights are buffered unverified by the engine, in bounded queues.
//! * **Timers are tagged.** The engine's time-outs carry no height; each is given a fresh [`TimerId`], and a timer that was
//!   cancelled or belongs to an earlier height is dropped when it fires.

mod codec;
mod context;
mod engine;
mod signing;

pub use codec::{CodecError, ConsensusMessage};
pub use context::{BlockId, Height, Members, Proposal, Vote};
pub use engine::{
    CommitCertificate, Engine, EngineError, Evidence, Host, HostError, Step, Timeouts, TimerId, VoteSlot,
};
pub use signing::verify_commit_certificate;
