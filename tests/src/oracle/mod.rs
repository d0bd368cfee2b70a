//! A seeded maker of transactions and blocks of every kind, good ones and broken ones, to be judged by us and by elementsd.
//!
//! A world is a small forged chain with coins under all kinds of locks. A case on it is a transaction, good or broken in one
//! place, or a block, broken in its header, its coinbase, the order of its transactions or its signatures. The same seed
//! and number make the same bytes, so a case is written down as its number; a digest of its bytes tells when the maker has
//! changed.

mod blocks;
mod case;
mod child;
mod lock;
mod mutation;
mod scripts;
mod world;

pub use case::{Call, Case, Question, Subject};
pub use lock::{Item, Lock, Wrap};
pub use world::World;
