//! The node of a federation member: `aquiferd`.
//!
//! All input and output of the node lives here: storage, the parent chain, the networks, the mempool, the APIs. What is
//! valid is decided in `aquifer-assets`, who agrees and signs in `aquifer-federation`.

#![forbid(unsafe_code)]

#[cfg(test)]
mod testing;

pub mod api;
pub mod audit;
pub mod auditor;
pub mod backup;
pub mod ceremony;
pub mod chain;
pub mod cli;
pub mod config;
pub mod files;
pub mod halt;
pub mod identity;
pub mod index;
pub mod mempool;
pub mod node;
pub mod opinion;
pub mod p2p;
pub mod parent;
pub mod peers;
pub mod peg;
pub mod rpc;
pub mod sockets;
pub mod store;
pub mod verdicts;
