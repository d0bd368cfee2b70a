//! A seeded maker of transactions of every kind, good ones and broken ones, to be judged by us and by elementsd.
//!
//! A case is a parent, which is always valid and pays some locks, and its child, which spends them and may be broken in one
//! place. Both stand in one candidate block on a small forged chain. The same seed and number make the same bytes, so a case
//! is written down as its number; a digest of its bytes tells when the maker has changed.

mod lock;
mod mutation;
mod scripts;
mod world;

pub use lock::{Item, Lock, Wrap};
pub use world::{Case, Subject, World, elements_hex};
