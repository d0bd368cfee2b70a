//! The bitcoin behind the peg: coins, and the batches that pay peg-outs.
//!
//! A batch is a Bitcoin transaction that pays pending peg-outs from treasury coins. The proposer of a block plans one
//! ([`plan()`]); every member rebuilds and compares it before it votes ([`check_batch`]); the coinbase of the block commits to
//! its txid ([`batch_commitment`]); when the block is final, members sign, each with its own keys ([`sign_batch`]) and
//! together with the treasury key ([`roast`]), and put the signatures together ([`finalize_batch`]).
//!
//! # Coins
//! Users pay *deposits* to the federation's script, which every Elements node can check; their first spend moves them to the
//! *treasury output* ([`TreasuryOutput`]), where change goes as well: one FROST key of all members, with scripts for the
//! day when FROST fails. One batch may spend both.
//!
//! # What holds
//! * **Supply equals reserve, exactly.** The requests paid burned `a₁ + … + aₘ`; the coins spent are worth that plus the
//!   change, to the satoshi. The Bitcoin fee comes out of the payments: each request pays an equal part, the first ones one
//!   satoshi more where it does not divide. Change too small to be an output is never left to the miners: the batch takes
//!   other coins or pays fewer requests.
//! * **A batch is a function of what it spends, what it pays and its fee.** The verifier takes these three from the
//!   transaction, checks each against its own view, rebuilds the transaction and compares every byte.
//! * **The txid is final before anybody signs.** Inputs are segwit; the redeem script of a P2SH-P2WSH deposit, which is part
//!   of the txid, already stands in the transaction that is planned. So a block can commit to it.
//! * **Two identical requests are two requests.** Each gets its own output, in the order of the requests.
//! * Signatures cover every input and output, and none is used before it was verified.
//!
//! # What the caller must see to
//! Only confirmed coins that no earlier batch spends are offered, only requests of final blocks that no earlier batch pays,
//! and only a batch that stands in a final block is signed.

mod assemble;
mod check;
mod coins;
mod commitment;
mod family;
mod holdings;
mod output;
mod plan;
mod proposal;
pub mod roast;
mod rules;
mod signing;

pub use assemble::{BatchKind, BatchPlan, PaidPegout};
pub use check::{BatchError, check_batch};
pub use coins::{CoinKind, SpendPath, TreasuryCoin};
pub use commitment::{CommitmentError, batch_commitment, find_batch_commitment};
pub use family::{ChangeUse, Family, FamilyBatch, NoReplacement, check_replacement, plan_replacement};
pub use holdings::{Due, Holdings};
pub use output::{Leaf, TreasuryOutput, TreasuryOutputError};
pub use plan::{Planning, Waiting, WaitingReason, plan, plan_batch};
pub use proposal::{BatchVerdict, BitcoinView, judge_batch, judge_replacement, propose_batch, propose_replacement};
pub use rules::{
    CONSOLIDATION_FEE_RATE_SAT_PER_KVB, FEE_RATE_FACTOR, FeeRateBounds, MAX_ACCEPTED_WEIGHT, MAX_BATCH_WEIGHT,
    MAX_CHANGE_PARTS, MAX_CONSOLIDATED, MAX_FAMILY, MAX_FEE_RATE_SAT_PER_KVB, MAX_INPUTS, MAX_PAYMENTS, MAX_REFRESHED,
    MIN_CHANGE_SAT, MIN_FEE_RATE_SAT_PER_KVB, ParkReason, PayoutKind, TARGET_COINS, Treasury, park_reason,
};
pub use signing::{KeySpends, Signed, SigningError, finalize_batch, sign_batch, verify_batch_signatures};

#[cfg(test)]
mod tests;
