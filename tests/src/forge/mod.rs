//! A maker of transactions, deposits and blocks, good ones and bad ones, and a chain to try them on.
//!
//! What is made here is as real as what wallets and members make: blinded, proved and signed, claimed from Bitcoin blocks
//! with proof of work, in blocks that k members sign and certify. It stands on the public interfaces only. Everything
//! honest is made by default; whoever wants it wrong takes it apart and changes one thing ([`Payment::with`]).
//!
//! Randomness is seeded: the same seed makes the same bytes.

mod backend;
mod block;
mod chain;
mod deposit;
mod error;
mod guest;
mod life;
mod parent;
mod payment;
mod proofs;
mod served;
mod theft;

pub use backend::MempoolBackend;
pub use block::{commit_to_transactions, commit_to_witnesses, set_witness};
pub use chain::{Chain, FEE_SAT, Refusal};
pub use deposit::Deposit;
pub use error::ForgeError;
pub use guest::for_wallets;
pub use life::{ISSUED, Life, PEGGED_OUT_SAT};
pub use parent::DepthTable;
pub use payment::{Coin, Issue, Origin, Owner, Pay, Payment, Shape};
pub use proofs::{commitment, prove_range, prove_surjection};
pub use served::Served;
pub use theft::mint;
