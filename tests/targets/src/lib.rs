//! What must hold whatever bytes come in: the bodies of the fuzz targets.
//!
//! Each module has one function that takes bytes and panics if a promise is broken. `tests/fuzz` runs them under libFuzzer,
//! `cargo test` on a few hundred inputs of a seed, so that they keep up with the code. They need nothing but
//! `aquifer-assets` and a few files of the node, so a fuzzer instruments little else.
//!
//! Random bytes get past no signature and no proof. So most inputs are read as a program ([`program`]) that changes
//! something valid, taken from the [`ground`]: a few transactions of every kind and what they spend.

#![forbid(unsafe_code)]

pub mod block;
pub mod ground;
pub mod p2p;
pub mod pegin;
pub mod program;
pub mod proof;
pub mod script;
pub mod seeds;
pub mod transaction;
pub mod verdicts;
mod wire;

/// A target: takes any bytes.
pub type Target = fn(&[u8]);

/// All targets by their names.
pub const TARGETS: [(&str, Target); 7] = [
    ("transaction", transaction::run),
    ("block", block::run),
    ("script", script::run),
    ("pegin", pegin::run),
    ("proof", proof::run),
    ("verdicts", verdicts::run),
    ("p2p", p2p::run),
];
