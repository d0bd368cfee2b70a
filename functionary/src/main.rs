//! `aquiferd`
fn main() {}
