//! The devnet harness: a real bitcoind, real members and real wallets, each a process of its own, started in a temporary
//! folder on free ports and always reaped.

#![forbid(unsafe_code)]

pub mod bitcoind;
pub mod error;

pub use error::HarnessError;
