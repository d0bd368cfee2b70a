//! The secrets of a member: one seed, and every key that follows from it.
//!
//! A [`MemberSeed`] is all that an operator must keep: its 24 words give back every key of [`MemberKeys`]. Two secrets
//! are not derived, the [`BlsShare`] and the [`TreasuryShare`]: they are the outcome of the ceremony, in which all members
//! take part.
//!
//! Secrets are wiped from memory when they are dropped, and none of them prints itself.

mod derive;
mod seed;
mod share;
mod treasury;

pub use derive::MemberKeys;
pub use seed::{MemberSeed, SeedError};
pub use share::{BlsShare, BlsShareError};
#[cfg(test)]
pub(crate) use treasury::tests;
pub use treasury::{TreasuryKey, TreasuryKeyError, TreasuryShare, TreasuryShareError};
pub(crate) use treasury::{TreasurySuite, identifier, member_at};
