//! The secrets of a member: one seed, and every key that follows from it.
//!
//! A [`MemberSeed`] is all that an operator must keep: its 24 words give back every key of [`MemberKeys`]. Two secrets
//! are not derived, the [`BlsShare`] and the [`TreasuryShare`]: they are the outcome of the ceremony, in which all members
//! take part, and follow from the seed and the ceremony's messages ([`crate::ceremony::recover_shares`]).
//!
//! Secrets are wiped from memory when they are dropped, and none of them prints itself.

mod backup;
mod derive;
mod seed;
mod share;
mod treasury;

pub use backup::{BackupError, open_backup, seal_backup};
pub use derive::MemberKeys;
pub use seed::{MemberSeed, SeedError};
pub use share::{BlsShare, BlsShareError};
#[cfg(test)]
pub(crate) use treasury::tests;
pub use treasury::{TreasuryKey, TreasuryKeyError, TreasuryShare, TreasuryShareError};
pub(crate) use treasury::{TreasurySuite, identifier, member_at};
