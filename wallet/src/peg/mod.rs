//! The two-way peg from the user's side: bitcoin in, bitcoin out.
//!
//! * [`pegin`]: what is known of a deposit and what to do next; pure.
//! * [`claim`]: the transaction that claims a deposit; pure but for randomness.
//! * [`follow`]: watches deposits, claims them by itself and survives interruption.
//! * [`pegout`]: requests a payment on Bitcoin and follows it.

pub mod claim;
pub mod follow;
pub mod pegin;
pub mod pegout;

use crate::backend::BackendError;
use crate::keystore::KeystoreError;
use crate::store::StoreError;
use crate::wallet::WalletError;

/// A peg-in or peg-out cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum PegError {
    /// The wallet cannot do its part.
    #[error(transparent)]
    Wallet(#[from] WalletError),
    /// The chain cannot be asked or believed.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// Keys cannot be used.
    #[error(transparent)]
    Keystore(#[from] KeystoreError),
    /// The records of the wallet cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The address of a deposit cannot be computed.
    #[error("the peg-in address cannot be computed: {0}")]
    Address(aquifer_assets::peg::PegError),
    /// A state of a deposit that contradicts itself.
    #[error("{server} told something impossible of a deposit: {what}; use another server with --server")]
    Deposit {
        /// Which server.
        server: String,
        /// What is impossible.
        what: String,
    },
    /// The claim cannot be built.
    #[error("the claim of {deposit} cannot be built: {reason}")]
    Claim {
        /// The deposit on Bitcoin.
        deposit: bitcoin::OutPoint,
        /// Why.
        reason: String,
    },
    /// No peg-in is open.
    #[error("no peg-in is open; `aquifer pegin` starts one")]
    NothingOpen,
    /// The peg-in address asked for is not of this wallet.
    #[error("`{0}` is not a peg-in address of this wallet; `aquifer pegin --list` shows them")]
    NoSuchAddress(String),
    /// Not a Bitcoin address of the parent chain.
    #[error("`{address}` is not a Bitcoin address on {network}: {reason}")]
    ParentAddress {
        /// What was given.
        address: String,
        /// The parent chain.
        network: bitcoin::Network,
        /// Why it is none.
        reason: String,
    },
    /// Too little to be paid out.
    #[error(
        "{amount_sat} sat is too little: Bitcoin does not relay payments below {minimum_sat} sat to this address, and the Bitcoin fee is taken from the amount"
    )]
    TooSmall {
        /// Asked for.
        amount_sat: u64,
        /// The least that makes sense.
        minimum_sat: u64,
    },
    /// The peg-out can never be paid.
    #[error("the federation cannot pay this peg-out: {0}")]
    Parked(String),
    /// Not the name of a peg-out.
    #[error("`{0}` is not the name of a peg-out; write it as TXID:VOUT, as `aquifer pegout` printed it")]
    BadPegout(String),
}
