//! The devnet harness: a real bitcoind, real members and real wallets, each a process of its own, started in a temporary
//! folder on free ports and always reaped.
//!
//! The demo (`cargo demo`) and the scenario tests stand on it. It drives the programs the way a person does, through
//! their command lines and their `--json` output, so what passes here works by hand.

#![forbid(unsafe_code)]

mod agreement;
pub mod auditor;
pub mod bench;
pub mod binaries;
pub mod bitcoind;
pub mod chromium;
pub mod crowd;
pub mod demo;
pub mod devnet;
pub mod documented;
pub mod elementsd;
pub mod error;
pub mod forge;
pub mod founding;
pub mod interfaces;
pub mod interrupt;
pub mod json;
pub mod load;
pub mod local;
pub mod lwk;
pub mod measuring;
pub mod member;
pub mod oracle;
pub mod p2p;
pub mod packages;
pub mod ports;
pub mod process;
pub mod scan;
pub mod turn;
pub mod wait;
pub mod wallet;

pub use error::HarnessError;
