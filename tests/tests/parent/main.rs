//! The parent chain as a member sees it, with a real bitcoind: deposits, outages, reorganisations and peg-out batches.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "tests")]

mod batches;
mod deposits;
mod lookback;
mod support;
