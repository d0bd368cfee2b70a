//! The index against the blocks that it is made from: however it comes to be, it says what a look at every block says.

mod answers;
mod making;
mod support;
