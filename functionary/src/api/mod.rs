//! What others use this member by.
//!
//! * `grpc`: our wallets, auditors and the command line.
//! * `http`: the server below everything that speaks HTTP.
//!
//! [`LedgerBackend`] is what `grpc` asks of the node. What other software speaks reads the ledger, the index and the mempool
//! itself ([`Sources`]): its formats are made of transactions and blocks, not of answers. None of it is believed by anybody
//! who checks, and none of it may slow the members down: every connection, request and answer is bounded.

mod backend;
mod bind;
pub mod grpc;
pub mod http;
mod interfaces;

pub use backend::{
    Asset, AssetSupply, BackendError, ChainInfo, Deposit, DepositState, Deposits, ElementsdState, HistoryEntry,
    Issuance, KeyProof, LedgerBackend, MemberPosition, MerkleProof, MissingProof, Oversight, PeerState, Pegout,
    PegoutState, ProvenTransaction, Reserve, SignedBlock, SignedHeader, SubmitError, Supply, TransactionStatus,
    ValveState,
};
pub use bind::BindError;
pub use interfaces::{Interfaces, Sources};
