//! Our verdicts beside those of elementsd, on generated and broken transactions.
//!
//! `cargo test -p aquifer-tests --test oracle` replays the recorded corpus. With `ELEMENTSD_EXE` it also compares fresh
//! cases with a running elementsd: `AQUIFER_ORACLE_SEED` and `AQUIFER_ORACLE_CASES` (a count, or `from..to`) choose them.
//! Disagreements are printed and kept in the folder `AQUIFER_ORACLE_KEEP`; `AQUIFER_ORACLE_RECORD` names a file for the
//! corpus.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "tests")]
#![allow(clippy::print_stdout, reason = "the counts are for whoever runs it")]

mod compare;
mod forms;
mod replay;
