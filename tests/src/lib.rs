//! The devnet harness: a real bitcoind, real members and real wallets, each a process of its own, started in a temporary
//! folder on free ports and always reaped.
//!
//! The demo (`cargo demo`) and the scenario tests stand on it. It drives the programs the way a person does, through
//! their command lines and their `--json` output, so what passes here works by hand.

#![forbid(unsafe_code)]

pub mod error;
pub mod interrupt;
pub mod ports;
pub mod process;
pub mod wait;

pub use error::HarnessError;
