//! The auditor: verifies every block of a chain again, cold and from genesis, in a process of its own.
//!
//! It knows nothing but the federation's `network.json`, follows one member over the service for wallets, and believes
//! nothing of what that member says. With the node it shares the rules (`aquifer-assets`) and no state, no memory of
//! verdicts, no mempool: what slipped into a node's memory cannot slip through here. For every block it checks
//!
//! 1. the certificate and the header's signatures, and that the body is the one that was certified;
//! 2. every rule of the ledger, without any memory of earlier verdicts (`check_block`);
//! 3. that the batch beside the block is the one the coinbase commits to, that it spends coins of the reserve and nothing
//!    else, pays open requests only, each at most once, and each its amount less its share of the fee ([`payments`]);
//! 4. its own count of every asset and of the reserve ([`store`]).
//!
//! # Verdicts
//! A block is *passed* when all that holds; its hash covers everything before it. It is *refused* when it carries a valid
//! certificate and something of 2 to 4 does not hold: then the federation has signed what it must not, and the auditor says
//! so loudly, reports it and ends. What the certificate does not cover (a body or a witness that was tampered with) is the
//! fault of the member that sent it, and no verdict on the chain. How deep deposits are on Bitcoin it cannot see; members
//! judge that before they vote.
//!
//! Verdicts are signed with the auditor's key and reported to the member, which signs peg-out batches only when its auditors
//! have passed them. The latest pass is reported again after every reconnection; a refused block is never made part of the
//! auditor's chain, so it is judged, refused and reported again at each start.

mod examine;
mod follow;
mod key;
mod link;
mod payments;
mod store;
mod summary;

#[cfg(test)]
mod tests;

pub use follow::{AuditorError, Options, Progress, Until, run};
pub use key::{AuditKey, AuditKeyError};
pub use payments::{BatchFault, Request};
pub use summary::{AssetCount, ReserveCount, Summary};
