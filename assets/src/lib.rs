//! What is valid: the confidential ledger of Aquifer.
//!
//! Everything here is a pure function of its arguments: no I/O, no clock, no randomness of its own, no async. The rules
//! are those of Elements for a custom chain with dynamic federations (dynafed) always active, so that a stock
//! `elementsd` started with the output of [`chain::elements_conf`] follows the chain and checks every block.
//!
//! `elements`, `bitcoin` and `secp256k1-zkp` give the smaller types and proof primitives; transactions and blocks as they
//! are on the wire ([`primitives`]) and the rules are written here.

#![forbid(unsafe_code)]

pub mod block;
pub mod chain;
#[cfg(test)]
mod fixtures;
pub mod peg;
pub mod primitives;
pub mod proof;
pub mod script;
pub mod state;
pub mod transaction;
pub mod verdicts;
