//! The member's side of the audit: which auditors it listens to, what they say, and what that means for batches.
//!
//! An auditor ([`crate::auditor`]) is another process that verifies every block from genesis on and signs what it thinks of
//! each. The member lists the keys of its auditors in `aquiferd.toml`. What holds:
//!
//! * A batch may be signed only when `required` auditors have passed a block at or above the one with the batch, and that
//!   very block is final here too. Its hash covers everything before it, so the blocks that requested the peg-outs are
//!   passed as well. A verdict on a block that is not final here yet counts when it is.
//! * Passes are kept in memory: after a restart auditors report again, and until then batches wait. What was signed before
//!   is signed.
//! * An objection (a refused block, or a pass of another block than the final one) is durable before the auditor gets its
//!   answer. No batch is signed from then on, also after a restart, until the operator dismisses it.

mod desk;
mod service;
mod store;
mod verdict;

#[cfg(test)]
mod tests;

pub(crate) use desk::describe;
pub use desk::{AuditDesk, AuditorStatus, FinalBlocks, Hold, OnRefusal, ReportError};
pub use service::AuditService;
pub use store::AuditStore;
pub use verdict::{SignedVerdict, Verdict, VerdictError};
