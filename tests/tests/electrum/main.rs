//! Electrum wallets: every method on a chain with one of everything, clients that mean no good, and LWK on a devnet.

mod hostile;
mod methods;
mod server;
mod story;
