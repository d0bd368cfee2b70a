//! The user: a confidential wallet on LWK that trusts certificates instead of its server.
//!
//! * [`backend`]: the chain, verified before anybody sees it.
//! * [`keystore`]: encrypted seeds and the keys in use. [`store`]: what is kept on disk.
//! * [`wallet`]: addresses, balance, payments. [`assets`]: issuing, reissuing, burning. [`peg`]: bitcoin in and out.
//! * [`pset`]: transactions that several cosigners sign.
//! * [`cli`]: the program `aquifer`.

#![forbid(unsafe_code)]

pub mod amount;
pub mod assets;
pub mod backend;
pub mod cli;
mod files;
pub mod keystore;
pub mod network;
pub mod peg;
pub mod pset;
pub mod store;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
pub mod wallet;
