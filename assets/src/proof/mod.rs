//! Zero-knowledge proofs of amounts and asset types: the one place that calls `secp256k1-zkp`.
//!
//! A verdict is a function of the *whole* statement: a range proof speaks about a commitment, a generator and a script,
//! a surjection proof about a generator and an ordered list of generators. Each statement is one struct, its fields are
//! typed and never joined into one byte string, and nothing here remembers a verdict. So no proof can be accepted for a
//! statement other than its own, which is what happened to Liquid in September 2026.
//!
//! Nothing here panics on any input: the two calls of the library that would (a commitment to zero without blinding, the
//! end of the range of a 64-bit proof) are never reached or never used; tests hold both.

mod balance;
mod range;
mod surjection;

pub use balance::{Tally, blinded_generator, explicit_commitment, generator};
pub use range::{InvalidRangeProof, RangeStatement};
pub use surjection::{InvalidSurjectionProof, MAX_SURJECTION_TARGETS, SurjectionStatement};
