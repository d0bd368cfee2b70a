//! Whether an input may be spent: the interpreter of Elements' scripts.
//!
//! [`verify_spend`] runs the scripts of an input by the rules for blocks ([`Flags::CONSENSUS`]): base scripts, P2SH,
//! version 0 witness programs, and both paths of Taproot with all opcodes of Elements. What Elements lets pass because it
//! has no meaning yet (later witness versions and leaf versions, keys of other lengths in tapscript) passes here too. The
//! one exception are Simplicity leaves, which Elements runs: they are refused by [`ScriptError::Unsupported`], whatever
//! they say, which is stricter and therefore safe for those who make the blocks.
//!
//! * The interpreter ([`verify_script`]) asks a [`SignatureChecker`] about the transaction and knows none itself.
//! * Nothing that a script or witness contains makes it panic, and its memory is bounded by the limits of the stack.
//! * [`SighashData`] hashes what all inputs share once, so the work stays linear in the size of a transaction, except where
//!   consensus itself is not: signatures of base scripts hash the whole transaction each.
//!
//! What Elements asks only of transactions that it relays is in [`standard`].

mod checker;
mod error;
mod flags;
mod form;
mod legacy;
mod machine;
mod number;
pub mod opcode;
mod ops;
mod reader;
mod schnorr;
mod sighash;
mod signature;
mod sigops;
mod spend;
pub mod standard;
mod verify;

pub use checker::{ScriptVersion, SignatureChecker, TransactionChecker};
pub use error::ScriptError;
pub use flags::Flags;
pub use form::Form;
pub use legacy::{LegacyInput, LegacyOutput, LegacyParts};
pub(crate) use reader::Items;
pub use sighash::{NO_CODE_SEPARATOR, SighashData, TaprootHashType, TaprootLeaf, TaprootSpend, annex_hash};
pub use sigops::sigop_cost;
pub use spend::{is_unspendable, verify_spend, verify_spend_under};
pub use verify::verify_script;

#[cfg(test)]
mod family_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod vector_tests;
