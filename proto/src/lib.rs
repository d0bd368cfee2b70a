//! What is said: the messages and services that members and wallets speak, generated from `proto/*.proto`.
//!
//! Nothing else lives here. Hashes and identifiers travel as raw bytes in internal byte order, transactions and headers
//! in their consensus encoding; amounts are in satoshi.

#![forbid(unsafe_code)]
#![allow(
    missing_docs,
    clippy::all,
    clippy::restriction,
    clippy::as_conversions,
    unreachable_pub,
    unused_qualifications
)]

/// The service to which auditors report (`proto/audit.proto`).
pub mod audit {
    tonic::include_proto!("aquifer.audit.v1");
}

/// The service through which an operator halts and resumes peg-outs (`proto/halt.proto`).
pub mod halt {
    tonic::include_proto!("aquifer.halt.v1");
}

/// The service that wallets, explorers and the command line use (`proto/ledger.proto`).
pub mod ledger {
    tonic::include_proto!("aquifer.ledger.v1");
}

/// The service between members of the federation (`proto/peer.proto`).
pub mod peer {
    tonic::include_proto!("aquifer.peer.v1");
}
