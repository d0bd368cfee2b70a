//! What must never be accepted, tried on a member's real mempool and on the judge that decides its votes.
//!
//! Every case has a sibling that differs in the one thing that is wrong, and which both accept: so no case is refused for
//! another reason than its own. A bad transaction stands in a block whose commitments are right.
//!
//! The chain begins with deposits that were claimed on it, on a real ledger, in blocks that k members signed.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "tests")]

mod amounts;
mod blocks;
mod issuances;
mod opinion;
mod peg;
mod proofs;
mod replacement;
mod support;
mod valve;
