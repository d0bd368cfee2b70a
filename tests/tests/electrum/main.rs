//! Electrum wallets: every method on a chain with one of everything, clients that mean no good, and LWK on a devnet.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "tests")]

mod hostile;
mod methods;
mod server;
mod story;
