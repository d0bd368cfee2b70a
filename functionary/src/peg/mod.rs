//! Peg-outs: batches proposed and judged against this member's bitcoind, signed when they stand in a final block, and
//! followed until they are buried.
//!
//! A batch is one Bitcoin transaction that pays pending peg-outs. All members agree on it as a part of a block (its
//! coinbase commits to the txid), so there is one transaction or none, and paying anything twice would need a block that
//! `k` members voted for. What holds here:
//!
//! * A member votes only for a batch that it has rebuilt, whose coins its own bitcoind sees confirmed and unspent, and
//!   whose fee rate is near its own estimate. What it cannot see it does not vote for, and does not call wrong.
//! * A signature is made only for a batch in a final block, once per height, and its record is durable before anybody
//!   gets the signature ([`SignerRecord`]).
//! * Outputs of the treasury are signed by its key, in sessions of the members ([`sessions`]); each member signs them with
//!   its own key as well only when that has taken too long. The record allows this one addition.
//! * Signatures of others are verified before they count; a bad one names its member.
//! * The txid is fixed before anybody signs (all inputs are segregated witness and the redeem scripts are in place), so
//!   whichever `k` signatures a member puts together, it broadcasts the same transaction.
//! * Batches that take each other's place are followed together: the newest is handed over, and when one is confirmed the
//!   others are not needed any more.
//! * Until it lies as deep as a peg-in has to, a batch that has fallen out of the mempool or of the best chain is handed
//!   over again.

mod batch;
mod driver;
mod following;
pub mod messages;
mod proposal;
pub mod sessions;
mod watch;

pub use batch::{BatchState, BuriedBatch, FinalBatch, Outcome, PegoutError, Shares, SignerRecord, WantedSignatures};
pub use driver::{DriverConfig, Driving, PegoutDriver};
pub use proposal::{propose_batch, propose_replacement};
pub use watch::{CoinAlarm, CoinWatch, GoneCoin};
