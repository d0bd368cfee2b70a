//! What every server of the node does with connections: accepts them, bounds their number, of all and of each caller, and can
//! close them from outside.

mod bodies;
mod socket;
mod tally;

pub(crate) use bodies::LongBodies;
pub use socket::{Socket, SocketInfo};
pub(crate) use socket::{accept_callers, accept_each};
pub(crate) use tally::{Counted, Tally, origin};
