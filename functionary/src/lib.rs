//! The node of a federation member.

#![forbid(unsafe_code)]

pub mod parent;
