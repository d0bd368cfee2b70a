//! What a member keeps: SQLite files, one per concern, each with one writer and numbered migrations.
//!
//! | file | holds | durability |
//! |---|---|---|
//! | `ledger.db` | final blocks, unspent outputs, deposits, peg-outs, supply, histories | one transaction per block, synced |
//! | `consensus.db` | journal of the running height, bodies, vote slots, the decided block | synced before anything that depends on it is sent |
//! | `mempool.db` | what waited when the member stopped | a cache; nothing depends on it |
//! | `halt.db` | what this member has said of halting peg-outs; see [`crate::halt`] | synced before anybody hears of it |
//! | `index.db` | histories, spends and assets for other software; see [`crate::index`] | made again from the ledger |
//! | `signer.db` | header and batch signatures made | synced before a signature leaves |
//!
//! A crash at any instruction loses nothing that was acknowledged: every method that says so returns only after SQLite has
//! synced its write-ahead log (`synchronous=FULL`). Blocks are final, so nothing here is ever undone.

pub mod consensus;
pub mod db;
pub mod ledger;
pub mod mempool;
pub mod signer;

pub use db::{Gate, OpenGate, StoreError, Write};
