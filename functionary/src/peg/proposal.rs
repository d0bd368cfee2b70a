//! Which batch to propose, and whether to vote for one.

use std::collections::{BTreeMap, BTreeSet};

use aquifer_assets::peg::PegoutRequest;
use aquifer_federation::treasury::{
    BatchError, BatchPlan, FeeRateBounds, Treasury, TreasuryCoin, check_batch, plan_batch,
};
use bitcoin::{OutPoint, Transaction};

use crate::parent::{Parent, ParentError};

/// What a member thinks of a proposed batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BatchVerdict {
    /// It pays what it should, from coins that are there.
    Good(Box<BatchPlan>),
    /// It breaks a rule; who proposed it is at fault.
    Bad(String),
    /// This member's bitcoind cannot confirm it now. No vote for it, and nobody is to blame.
    Unknown(String),
}

/// The batch to propose now, or `None`: nothing to pay, not enough confirmed coins, or bitcoind cannot be asked.
///
/// `coins` are all coins of the treasury that no earlier batch spends; `pending` are the requests that no batch pays yet,
/// oldest first. Asks bitcoind and may block.
pub fn propose_batch(
    parent: &Parent,
    treasury: &Treasury,
    coins: &[TreasuryCoin],
    pending: &[PegoutRequest],
) -> Option<BatchPlan> {
    if pending.is_empty() {
        return None;
    }
    match plan_with_confirmed_coins(parent, treasury, coins, pending) {
        Ok(plan) => plan,
        Err(error) => {
            tracing::debug!(%error, "no batch is proposed");
            None
        }
    }
}

/// Plans, asks bitcoind about the coins that the plan spends, and plans again without those that cannot be spent now. So
/// only coins that matter are asked about.
fn plan_with_confirmed_coins(
    parent: &Parent,
    treasury: &Treasury,
    coins: &[TreasuryCoin],
    pending: &[PegoutRequest],
) -> Result<Option<BatchPlan>, ParentError> {
    let fee_rate = parent.fee_rate_sat_per_kvb()?;
    let mut usable = coins.to_vec();
    let mut confirmed = BTreeSet::new();
    loop {
        let Some(plan) = plan_batch(treasury, &usable, pending, fee_rate) else { return Ok(None) };
        let mut missing = BTreeSet::new();
        for input in &plan.inputs {
            if confirmed.contains(input) {
                continue;
            }
            if is_confirmed(parent, input)? {
                confirmed.insert(*input);
            } else {
                missing.insert(*input);
            }
        }
        if missing.is_empty() {
            return Ok(Some(plan));
        }
        usable.retain(|coin| !missing.contains(&coin.outpoint));
    }
}

/// Judges a proposed batch before a vote. `coins` and `pending` are those of the ledger before the block.
///
/// Asks bitcoind and may block.
pub fn judge_batch(
    parent: &Parent,
    treasury: &Treasury,
    transaction: &Transaction,
    coins: &BTreeMap<OutPoint, TreasuryCoin>,
    pending: &[PegoutRequest],
) -> BatchVerdict {
    // Fees aside, a batch is right or wrong whatever bitcoind says.
    let plan = match check_batch(treasury, coins, pending, transaction, &FeeRateBounds::HARD_LIMITS) {
        Ok(plan) => plan,
        // Whether another coin could have been spent depends on which are confirmed.
        Err(BatchError::SmallChange(_)) => {
            match check_with_confirmed_coins(parent, treasury, transaction, coins, pending) {
                Ok(Ok(plan)) => plan,
                Ok(Err(error)) => return BatchVerdict::Bad(error.to_string()),
                Err(error) => return BatchVerdict::Unknown(error.to_string()),
            }
        }
        Err(error) => return BatchVerdict::Bad(error.to_string()),
    };
    judge_against_bitcoind(parent, plan).unwrap_or_else(|error| BatchVerdict::Unknown(error.to_string()))
}

fn check_with_confirmed_coins(
    parent: &Parent,
    treasury: &Treasury,
    transaction: &Transaction,
    coins: &BTreeMap<OutPoint, TreasuryCoin>,
    pending: &[PegoutRequest],
) -> Result<Result<BatchPlan, BatchError>, ParentError> {
    let mut usable = BTreeMap::new();
    for (outpoint, coin) in coins {
        if is_confirmed(parent, outpoint)? {
            usable.insert(*outpoint, coin.clone());
        }
    }
    Ok(check_batch(treasury, &usable, pending, transaction, &FeeRateBounds::HARD_LIMITS))
}

fn judge_against_bitcoind(parent: &Parent, plan: BatchPlan) -> Result<BatchVerdict, ParentError> {
    let estimate = parent.fee_rate_sat_per_kvb()?;
    let offered = plan.fee_rate_sat_per_kvb;
    // Estimates differ between members: a fee rate out of bounds is a difference of opinion, not a broken rule.
    if !plan.has_fee_within(&FeeRateBounds::around(estimate)) {
        return Ok(BatchVerdict::Unknown(format!(
            "its fee rate of {offered} sat/kvB is too far from this member's estimate, {estimate} sat/kvB"
        )));
    }
    for input in &plan.inputs {
        if !is_confirmed(parent, input)? {
            let reason = format!("bitcoind does not see the coin {input} confirmed and unspent");
            return Ok(BatchVerdict::Unknown(reason));
        }
    }
    Ok(BatchVerdict::Good(Box::new(plan)))
}

fn is_confirmed(parent: &Parent, coin: &OutPoint) -> Result<bool, ParentError> {
    Ok(parent.is_unspent(coin)?.is_some_and(|confirmations| confirmations > 0))
}
