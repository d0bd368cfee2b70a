//! Transactions and blocks as Elements has them on the wire.
//!
//! The types of the `elements` crate parse every proof, nonce and peg-in witness when they are decoded, and refuse what
//! cannot be parsed. Elements decodes nearly anything and looks at proofs when it verifies, at some bytes never. What is
//! decoded differently is judged differently, so the rules of this crate stand on types of their own:
//!
//! * A value is decoded if and only if Elements decodes it (`primitives/transaction.h`, `primitives/block.h`,
//!   `serialize.h`), and has exactly one encoding. The exception are commitments to assets and values: bytes that are no
//!   point of the curve are refused here already, because no rule accepts them (`confidential_validation.cpp`).
//! * Witnesses are slices of the buffer that was decoded, shared and not copied; proofs are parsed when they are verified.
//! * No length from outside allocates memory: lists grow with what was in fact read.
//!
//! Fields and methods have the names they have in the `elements` crate, whose smaller types, which are exact, are used
//! here. Conversions lead from its transactions to ours, and back where it can express them.

mod block;
mod convert;
mod decode;
mod encode;
mod nonce;
#[cfg(test)]
mod tests;
mod transaction;
mod witness;

pub use block::{Block, decode_header};
pub use convert::Inexpressible;
pub use decode::DecodeError;
pub use nonce::Nonce;
pub use transaction::{Transaction, TxIn, TxOut};
pub use witness::{RangeProof, SurjectionProof, TxInWitness, TxOutWitness, Witness};
