//! The secrets of a member: one seed, and every key that follows from it.
//!
//! A [`MemberSeed`] is all that an operator must keep: its 24 words give back every key of [`MemberKeys`]. The one
//! secret that is not derived is the [`BlsShare`]: it is the outcome of the ceremony, in which all members take part.
//!
//! Secrets are wiped from memory when they are dropped, and none of them prints itself.

mod derive;
mod seed;
mod share;

pub use derive::MemberKeys;
pub use seed::{MemberSeed, SeedError};
pub use share::{BlsShare, BlsShareError};
