//! Who agrees and who signs: members, keys, the ceremony, block signatures and certificates, the treasury.
//!
//! Everything here is a state machine or a pure function: inputs in, effects out. No sockets, no files, no clock, no
//! async; randomness is an argument. What a member does with it (store, send, wait) is the business of the node.
//!
//! * [`roster`]: the members, their public cards, the settings they share, and the chain parameters that follow.
//! * [`keys`]: one seed per member and every key derived from it.
//! * [`ceremony`]: the dealerless generation of the certificate key and the treasury key; its public outcome is a [`federation`] file.
//! * [`blocksign`], [`certificate`]: the two signatures under a block.
//! * [`treasury`]: peg-out batches: planned, checked, signed.
//! * [`valve`]: how much of the treasury leaves, how soon, and who can stop it.

#![forbid(unsafe_code)]

pub mod blocksign;
pub mod ceremony;
pub mod certificate;
pub mod consensus;
pub mod federation;
pub mod keys;
pub mod roster;
pub mod treasury;
pub mod valve;

mod encoding;
