//! The index against the blocks that it is made from: however it comes to be, it says what a look at every block says.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "tests")]

mod answers;
mod making;
mod support;
