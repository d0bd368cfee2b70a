//! Peers of the Elements network that speak its protocol by hand, and a network to try them on.
//!
//! Nothing of `aquifer-functionary` is used to read or write a message: what both sides mistake would not show otherwise.

mod network;
mod peer;

pub use network::Network;
pub use peer::{Kind, NOWHERE, Peer, read_headers};
