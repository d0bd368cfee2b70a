//! Our verdicts beside those of elementsd, on generated and broken transactions.
//!
//! `cargo test -p aquifer-tests --test oracle` replays the recorded corpus. With `ELEMENTSD_EXE` it also compares fresh
//! cases with a running elementsd: `AQUIFER_ORACLE_SEED`, `AQUIFER_ORACLE_CASES` (transactions), `AQUIFER_ORACLE_BLOCKS`
//! and `AQUIFER_ORACLE_BYTES` (blocks changed in their bytes; each a count, or `from..to`) choose them. Transactions are judged in a block (`testproposedblock`) and for the mempool
//! (`testmempoolaccept`), blocks without signatures by `testproposedblock` and with them by `submitblock`.
//! Disagreements are printed and kept in the folder `AQUIFER_ORACLE_KEEP`; `AQUIFER_ORACLE_RECORD` names a file for the
//! corpus.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "tests")]
#![allow(clippy::print_stdout, reason = "the counts are for whoever runs it")]

mod compare;
mod forms;
mod listed;
mod replay;
mod walk;
