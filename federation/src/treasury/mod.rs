//! The bitcoin behind the peg: coins, and the batches that pay peg-outs.
//!
//! A batch is a Bitcoin transaction that pays pending peg-outs from treasury coins. The proposer of a block plans one
//! ([`propose_batch`], [`propose_replacement`]); every member rebuilds and compares it before it votes ([`judge_batch`],
//! [`judge_replacement`]); the coinbase of the block commits to its txid ([`batch_commitment`]); when the block is final,
//! members sign, each with its own keys ([`sign_batch`]) and together with the treasury key ([`roast`]), and put the
//! signatures together ([`finalize_batch`]).
//!
//! # Coins
//! Users pay *deposits* to the federation's script, which every Elements node can check; their first spend moves them to the
//! *treasury output* ([`TreasuryOutput`]), where change goes as well: one FROST key of all members, with scripts for the
//! day when FROST fails. Until that key has signed on Bitcoin it is trusted with [`PROBE_SAT`] only, and the rest of the change
//! goes back to the federation's script, with untweaked keys ([`CoinKind::Federation`]). One batch may spend all of these.
//!
//! # Families
//! A batch that does not confirm is *replaced* by another one in a later block. All batches that pay one set of requests are
//! a [`Family`]. They spend the same coins, pay the same requests in the same order, and make the same change; they differ in
//! their fee, which comes out of the payments. So it does not matter to the books which of them Bitcoin confirms, and the
//! ledger, which does not see Bitcoin, need not know.
//!
//! The change of a family is one coin of the books in several places: each batch makes an *alternative* of it
//! ([`TreasuryCoin::booked_as`]). Whoever spends the coin spends the alternative that is confirmed. If a reorganisation of
//! Bitcoin then confirms another batch of that family, the spender is dead; it is replaced by one that spends the other
//! alternative of the same coins. That is the second reason for a replacement, and the only one once change is spent: to raise
//! the fee of a batch then would undo its child, whose own fee can be raised instead.
//!
//! **Nothing is paid twice.** A request is paid by one family only. Two batches of a family exclude each other in every
//! history of Bitcoin: take a coin that both spend, as they spend the same ones. Either both spend one output. Or they spend
//! outputs of two batches of an older family, and can only be in a history together with these, which exclude each other for
//! the same reason; deposits have one place only, so this ends.
//!
//! # Who pays
//! * **The requester pays the Bitcoin fee**, by a deducted and shown part: each request of a batch the same, the first ones
//!   one satoshi more where it does not divide. There is no other pool: the requests paid burned `a₁ + … + aₘ`, and the coins
//!   spent are worth that plus the change, to the satoshi. Reserve and supply stay equal. Donations (peg-outs to the
//!   federation's own scripts) stay in the reserve and are paid to nobody.
//! * **Change** under a proven key is split while the treasury has fewer coins than [`TARGET_COINS`], into [`MAX_CHANGE_PARTS`] at most, none
//!   below [`MIN_CHANGE_SAT`]. Change too small to be an output is never left to the miners: the batch takes other coins or
//!   pays fewer requests.
//! * **Small coins** are put together while there are more, at most [`MAX_CONSOLIDATED`] beside the coins that a batch
//!   needs, at fees of at most [`CONSOLIDATION_FEE_RATE_SAT_PER_KVB`].
//! * **Coins with an emergency script** are moved by the first batch after half of its time lock, before any other coins, at
//!   most [`MAX_REFRESHED`] in a batch beside what it needs. A federation that pays nobody for so long has to make a
//!   peg-out itself.
//! * **A raised fee** exceeds every earlier one for the same outputs by what Bitcoin relays a batch of its size for (BIP 125,
//!   rule 4), and is near the estimate of those who vote. No payment falls to dust: the step is smaller then, or none.
//!
//! # What holds
//! * **A batch is a function of what it spends, what it pays and its fee.** The verifier takes these three from the
//!   transaction, checks each against its own view, rebuilds the transaction and compares every byte.
//! * **The txid is final before anybody signs.** Inputs are segwit; the redeem script of a P2SH-P2WSH deposit, which is part
//!   of the txid, already stands in the transaction that is planned. So a block can commit to it.
//! * **What depends on Bitcoin is no fault.** Which coins are confirmed or due and what fees are, members see at different
//!   times: such a batch is not voted for, and nobody is blamed. The rest holds for all alike, for ever.
//! * **Two identical requests are two requests.** Each gets its own output, in the order of the requests.
//! * Signatures cover every input and output, and none is used before it was verified.
//!
//! # What the caller must see to
//! All coins are offered that no batch spends, with every alternative; only requests of final blocks that no batch pays;
//! what spends a coin that a family spends is judged as a replacement of that family; and only a batch that stands in a final
//! block is signed.

mod assemble;
mod change;
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
pub use change::PROBE_SAT;
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
