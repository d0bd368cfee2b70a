//! The chain as the wallet may believe it.
//!
//! A member's `Ledger` service is asked, and never trusted: every header carries the federation's certificate, every
//! final transaction a Merkle branch to such a header, and both are verified before LWK, or anything else of the
//! wallet, sees them. What a lying server can still do is to be silent: to leave out transactions it was never caught
//! knowing, to keep the newest blocks back, or to invent transactions in its mempool, which is why those are shown as
//! pending. A server that goes back behind what the wallet has verified is refused.
//!
//! * [`verify`]: the checks, pure.
//! * [`cache`]: what was verified, on disk, so that the second look is quick.
//! * [`connection`]: TLS with the pinned certificate, and the next server when one is down.
//! * [`ledger`]: the questions a wallet asks. [`lwk`] hands the answers to LWK.

pub mod cache;
mod connection;
mod error;
mod fetch;
pub mod ledger;
mod lwk;
mod scan;
#[cfg(test)]
mod tests;
pub mod verify;
pub mod watch;

#[cfg(test)]
pub(crate) use connection::settle_cryptography;
pub use error::BackendError;
pub use ledger::{Ledger, Place};
