//! What others use this member by.
//!
//! * `grpc`: our wallets, auditors and the command line.
//! * `electrum`: Electrum wallets, and wallets of Liquid that speak as they do.
//! * `http`: the server below everything that speaks HTTP.
//! * `esplora` and `waterfalls`, below `/api`: explorers and wallets that speak these.
//! * `registry`, below `/registry`: what assets are called.
//! * `metrics`: figures for Prometheus, health and readiness.
//! * `jsonrpc`: elements-cli, and what stands on elementsd.
//! * `web`: pages for people.
//!
//! [`LedgerBackend`] is what `grpc` asks of the node. What other software speaks reads the ledger, the index and the mempool
//! itself ([`Sources`]): its formats are made of transactions and blocks, not of answers. None of it is believed by anybody
//! who checks, and none of it may slow the members down: every connection, request and answer is bounded.

mod backend;
mod bind;
pub mod electrum;
mod esplora;
mod fees;
pub mod grpc;
pub mod http;
mod interfaces;
pub mod jsonrpc;
mod metrics;
mod registry;
mod waterfalls;
mod web;

pub use backend::{
    Asset, AssetSupply, BackendError, ChainInfo, Deposit, DepositState, Deposits, ElementsdState, HistoryEntry,
    Issuance, KeyProof, LedgerBackend, MemberPosition, MerkleProof, MissingProof, Oversight, PeerState, Pegout,
    PegoutState, ProvenTransaction, Reserve, SignedBlock, SignedHeader, SubmitError, Supply, TransactionStatus,
    ValveState,
};
pub use bind::{BindError, ListenError};
pub use interfaces::{Interfaces, Sources};
