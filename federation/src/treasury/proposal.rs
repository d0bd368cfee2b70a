//! Which batch to propose, and whether to vote for one: the rules together with what a member's bitcoind says.
//!
//! # A key that has not shown what it can
//! The ceremony ends with a test signature, over a spend of the treasury's very output. Bitcoin itself has not seen one yet.
//! Until it has, a batch is *careful*: it puts [`PROBE_SAT`] at most under the key, and the rest of its change back into the
//! federation's own script; and if anything lies under the key, it spends some of that, and so waits until it is confirmed. So
//! an unproven key holds one probe at most. When Bitcoin has taken a spend by the key, the way there and back is proven, and all
//! change goes there. If the key fails, the probe is spent by script, and the federation goes on being careful.
//!
//! Each member goes by what it has seen itself. One that has not seen the key sign votes for careful batches only, and blames
//! nobody. One that has seen it votes for either: to be careful is no fault, and costs one needless input at most.

use std::{collections::BTreeSet, fmt::Display};

use aquifer_assets::peg::PegoutRequest;
use bitcoin::{OutPoint, Transaction};

use super::{
    assemble::BatchPlan,
    change::{KeyState, PROBE_SAT, is_probe_at_most},
    check::{BatchError, check_batch},
    coins::{CoinKind, TreasuryCoin},
    family::{Family, NoReplacement, check_replacement, plan_replacement},
    holdings::Holdings,
    plan::{plan_batch, smallest_under_key},
    rules::{FeeRateBounds, Treasury},
};

/// What a member's bitcoind says.
pub trait BitcoinView {
    /// Why it says nothing.
    type Error: Display;

    /// How many blocks confirm an output of the best chain that no transaction of that chain spends; what waits in the
    /// mempool counts for nothing. `None` if there is no such output.
    fn confirmations(&self, outpoint: &OutPoint) -> Result<Option<u32>, Self::Error>;

    /// The estimated fee rate, in satoshi per 1,000 virtual bytes.
    fn fee_rate_sat_per_kvb(&self) -> Result<u64, Self::Error>;

    /// Whether this member has seen the treasury key spend an output of the treasury in a block of Bitcoin. Once it has, that
    /// stays so.
    fn is_key_proven(&self) -> Result<bool, Self::Error>;
}

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

/// The fresh batch to propose now, if one can be made. `coins` are all coins of the treasury that no batch spends, with every
/// alternative; `pending` are requests that no batch pays yet, oldest first.
///
/// Plans, asks bitcoind about the coins that the plan spends, and plans again without those that cannot be spent now. So
/// only coins that matter are asked about.
///
/// # Errors
/// Bitcoin cannot be asked.
pub fn propose_batch<View: BitcoinView>(
    view: &View,
    treasury: &Treasury,
    coins: &[TreasuryCoin],
    pending: &[PegoutRequest],
) -> Result<Option<BatchPlan>, View::Error> {
    if pending.is_empty() {
        return Ok(None);
    }
    let fee_rate = view.fee_rate_sat_per_kvb()?;
    let key = key_state(view)?;
    let due = due_coins(view, treasury, coins)?;
    let mut usable = coins.to_vec();
    let mut confirmed = BTreeSet::new();
    loop {
        let holdings = Holdings::from(coins).restricted_to(&usable).with_due(&due).with_key(key);
        let Some(plan) = plan_batch(treasury, holdings, pending, fee_rate) else { return Ok(None) };
        let mut missing = BTreeSet::new();
        for input in &plan.inputs {
            if confirmed.contains(input) {
                continue;
            }
            if is_confirmed(view, input)? {
                confirmed.insert(*input);
            } else {
                missing.insert(*input);
            }
        }
        if missing.is_empty() {
            return Ok((key == KeyState::Proven || tries_the_key(coins, &plan.transaction)).then_some(plan));
        }
        usable.retain(|coin| !missing.contains(&coin.outpoint));
    }
}

/// Judges a fresh batch before a vote, with the coins and requests as for [`propose_batch`].
pub fn judge_batch<View: BitcoinView>(
    view: &View,
    treasury: &Treasury,
    transaction: &Transaction,
    coins: &[TreasuryCoin],
    pending: &[PegoutRequest],
) -> BatchVerdict {
    // Fees and the choice of coins aside, a batch is right or wrong whatever bitcoind says.
    match check_batch(treasury, coins, pending, transaction, &FeeRateBounds::HARD_LIMITS) {
        Ok(_) | Err(BatchError::SmallChange(_)) => {}
        Err(error) => return BatchVerdict::Bad(error.to_string()),
    }
    let judge = || {
        if let Some(verdict) = without_coins(view, transaction)? {
            return Ok(verdict);
        }
        let mut usable = Vec::new();
        for coin in coins {
            if is_confirmed(view, &coin.outpoint)? {
                usable.push(coin.clone());
            }
        }
        let mut due = due_coins(view, treasury, &usable)?;
        let is_careful = is_probe_at_most(treasury, transaction);
        if key_state(view)? == KeyState::Unproven && !(is_careful && tries_the_key(coins, transaction)) {
            let reason = format!(
                "Bitcoin has not shown this member a signature of the treasury key yet: until then a batch spends what is under \
                 that key, and puts {PROBE_SAT} sat there at most"
            );
            return Ok(BatchVerdict::Unknown(reason));
        }
        if is_careful {
            // Whoever proposes it may have to try the key, whatever this member knows.
            due.extend(smallest_under_key(spent_by(coins, transaction)).map(|coin| coin.outpoint));
        }
        let holdings = Holdings::from(coins).restricted_to(&usable).with_due(&due);
        // Members see Bitcoin at different times, and with other estimates: a difference of opinion, not a broken rule.
        let bounds = FeeRateBounds::around(view.fee_rate_sat_per_kvb()?);
        Ok(match check_batch(treasury, holdings, pending, transaction, &bounds) {
            Ok(plan) => BatchVerdict::Good(Box::new(plan)),
            Err(error) => BatchVerdict::Unknown(error.to_string()),
        })
    };
    judge().unwrap_or_else(|error: View::Error| BatchVerdict::Unknown(error.to_string()))
}

/// The replacement to propose for the batches of a family, or why there is none.
///
/// # Errors
/// Bitcoin cannot be asked.
pub fn propose_replacement<View: BitcoinView>(
    view: &View,
    treasury: &Treasury,
    family: &Family,
) -> Result<Result<BatchPlan, NoReplacement>, View::Error> {
    let mut there = BTreeSet::new();
    for coin in &family.coins {
        if is_confirmed(view, &coin.outpoint)? {
            there.insert(coin.outpoint);
        }
    }
    let is_there = |outpoint: &OutPoint| there.contains(outpoint);
    Ok(plan_replacement(treasury, family, is_there, view.fee_rate_sat_per_kvb()?))
}

/// Judges a replacement before a vote.
pub fn judge_replacement<View: BitcoinView>(
    view: &View,
    treasury: &Treasury,
    transaction: &Transaction,
    family: &Family,
) -> BatchVerdict {
    let plan = match check_replacement(treasury, family, transaction, &FeeRateBounds::HARD_LIMITS) {
        Ok(plan) => plan,
        Err(error) => return BatchVerdict::Bad(error.to_string()),
    };
    let judge = || {
        // If they are there, no batch of the family is confirmed.
        if let Some(verdict) = without_coins(view, transaction)? {
            return Ok(verdict);
        }
        let estimate = view.fee_rate_sat_per_kvb()?;
        let outbid = family.outbid_rate_sat_per_kvb(&plan);
        if outbid.is_some_and(|outbid| estimate <= outbid) || !plan.has_fee_within(&FeeRateBounds::around(estimate)) {
            let (offered, earlier) = (plan.fee_rate_sat_per_kvb, outbid.unwrap_or_default());
            return Ok(BatchVerdict::Unknown(format!(
                "it raises {earlier} sat/kvB to {offered}, this member's estimate is {estimate}"
            )));
        }
        Ok(BatchVerdict::Good(Box::new(plan)))
    };
    judge().unwrap_or_else(|error: View::Error| BatchVerdict::Unknown(error.to_string()))
}

fn key_state<View: BitcoinView>(view: &View) -> Result<KeyState, View::Error> {
    Ok(if view.is_key_proven()? { KeyState::Proven } else { KeyState::Unproven })
}

fn spent_by<'a>(coins: &'a [TreasuryCoin], transaction: &Transaction) -> impl Iterator<Item = &'a TreasuryCoin> {
    let spent: BTreeSet<OutPoint> = transaction.input.iter().map(|input| input.previous_output).collect();
    coins.iter().filter(move |coin| spent.contains(&coin.outpoint))
}

/// Whether the transaction spends some of what is under the treasury key, if anything is.
fn tries_the_key(coins: &[TreasuryCoin], transaction: &Transaction) -> bool {
    let is_under_key = |coin: &TreasuryCoin| coin.kind == CoinKind::Treasury;
    !coins.iter().any(is_under_key) || spent_by(coins, transaction).any(is_under_key)
}

/// The coins that have rested for half of the time after which the emergency keys could spend them. Where the federation
/// has chosen no such keys, bitcoind is not asked.
fn due_coins<View: BitcoinView>(
    view: &View,
    treasury: &Treasury,
    coins: &[TreasuryCoin],
) -> Result<BTreeSet<OutPoint>, View::Error> {
    let mut due = BTreeSet::new();
    let Some(refresh_after_blocks) = treasury.refresh_after_blocks() else { return Ok(due) };
    for coin in coins.iter().filter(|coin| coin.kind == CoinKind::Treasury) {
        if view.confirmations(&coin.outpoint)?.is_some_and(|blocks| blocks >= refresh_after_blocks) {
            due.insert(coin.outpoint);
        }
    }
    Ok(due)
}

/// The verdict on a batch whose coins bitcoind does not see.
fn without_coins<View: BitcoinView>(
    view: &View,
    transaction: &Transaction,
) -> Result<Option<BatchVerdict>, View::Error> {
    for input in &transaction.input {
        let coin = &input.previous_output;
        if !is_confirmed(view, coin)? {
            let reason = format!("bitcoind does not see the coin {coin} confirmed and unspent");
            return Ok(Some(BatchVerdict::Unknown(reason)));
        }
    }
    Ok(None)
}

fn is_confirmed<View: BitcoinView>(view: &View, coin: &OutPoint) -> Result<bool, View::Error> {
    Ok(view.confirmations(coin)?.is_some_and(|blocks| blocks > 0))
}
