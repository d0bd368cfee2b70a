//! Esplora, Waterfalls and the asset registry: their routes and shapes on a chain with one of everything, and their clients
//! on a federation.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "tests")]

mod clients;
mod node;
mod refusals;
mod shapes;
mod waterfalls;
