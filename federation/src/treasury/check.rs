//! Checking a batch that somebody else proposes.
//!
//! Nothing of the proposal is taken on trust. From the transaction come only the coins it spends, the requests its outputs
//! pay, and its fee; each must be allowed by itself, and together they must rebuild the same transaction.

use std::collections::BTreeSet;

use aquifer_assets::peg::PegoutRequest;
use bitcoin::{OutPoint, ScriptBuf, Transaction};

use super::{
    assemble::{BatchPlan, assemble, change_sat, signed_weight},
    change::{ChangeForm, is_change, key_state_of},
    coins::{CoinKind, SpendPath, TreasuryCoin},
    holdings::{Due, Holdings},
    plan::{distinct, is_worth_its_fee, may_consolidate},
    rules::{
        FeeRateBounds, MAX_ACCEPTED_WEIGHT, MAX_CONSOLIDATED, MAX_FAMILY, MAX_INPUTS, MAX_PAYMENTS, MAX_REFRESHED,
        MIN_CHANGE_SAT, ParkReason, PayoutKind, Treasury, equal_parts, is_good_change, park_reason,
    },
};

/// A batch that a member does not vote for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// It pays nobody, or too many.
    #[error("the batch pays {0} requests, it must pay 1 to {MAX_PAYMENTS}")]
    PaymentCount(usize),
    /// It spends what is not an unspent coin of the treasury, as this member sees it.
    #[error("input {0} is not an unspent coin of the treasury")]
    UnknownCoin(OutPoint),
    /// Inputs are in the order of their outpoints, each once.
    #[error("input {0} is out of order or comes twice")]
    InputOrder(OutPoint),
    /// Two alternatives of one coin never exist together.
    #[error("input {0} is an alternative of another input")]
    Alternatives(OutPoint),
    /// Too many coins.
    #[error("the batch spends {0} coins, at most {MAX_INPUTS} are allowed")]
    InputCount(usize),
    /// The coins are worth less than what is paid.
    #[error("inputs are worth {inputs_sat} sat, outputs {outputs_sat} sat")]
    Overspent {
        /// Sum of the inputs, in satoshi.
        inputs_sat: u64,
        /// Sum of the outputs, in satoshi.
        outputs_sat: u64,
    },
    /// An output pays no request that is still open.
    #[error("output {vout} ({amount_sat} sat to {script:x}) pays no pending request in order")]
    NoSuchRequest {
        /// The output.
        vout: usize,
        /// What it pays, with its part of the fee, in satoshi.
        amount_sat: u64,
        /// Whom it pays.
        script: ScriptBuf,
    },
    /// A request that must not be paid.
    #[error("output {vout} pays request {request}: {reason}")]
    Parked {
        /// The output.
        vout: usize,
        /// The request.
        request: elements::OutPoint,
        /// Why it is not paid.
        reason: ParkReason,
    },
    /// A payment too small to be relayed.
    #[error("output {vout} of {amount_sat} sat is dust")]
    Dust {
        /// The output.
        vout: usize,
        /// Its amount in satoshi.
        amount_sat: u64,
    },
    /// The fee rate is not near this member's estimate.
    #[error("fee rate {found} sat/kvB is outside of {} to {} sat/kvB", .bounds.min_sat_per_kvb, .bounds.max_sat_per_kvb)]
    FeeRate {
        /// Fee rate of the batch.
        found: u64,
        /// What this member accepts.
        bounds: FeeRateBounds,
    },
    /// Spent by script, it would pay too little to be relayed.
    #[error("the fee of {fee_sat} sat is below the {least_sat} sat that a batch of this size needs to be relayed")]
    RelayFee {
        /// The fee, in satoshi.
        fee_sat: u64,
        /// The least fee, in satoshi.
        least_sat: u64,
    },
    /// It would be too heavy once it is signed.
    #[error("the batch would have {0} WU, at most {MAX_ACCEPTED_WEIGHT} are accepted")]
    Weight(u64),
    /// It spends a coin that it does not need, at the expense of those it pays.
    #[error("the batch spends more coins than it needs")]
    NeedlessInput,
    /// It leaves change below the limit although there are coins to avoid it.
    #[error("change of {0} sat is below {MIN_CHANGE_SAT} sat, and there are other coins to spend")]
    SmallChange(u64),
    /// A replacement that does not exclude what it replaces in the one way that is allowed.
    #[error("the batch does not spend exactly the coins of the batch of block {family}, which it replaces")]
    OtherCoins {
        /// Height of the block with the first batch.
        family: u32,
    },
    /// A replacement by fee that Bitcoin nodes would not take.
    #[error("the fee of {fee_sat} sat is below the {least_sat} sat that replacing the earlier batch takes")]
    FeeIncrement {
        /// The fee, in satoshi.
        fee_sat: u64,
        /// The least fee, in satoshi.
        least_sat: u64,
    },
    /// Replacing it by fee would undo a later batch; that one is to be replaced.
    #[error("the change of the batch of block {family} is spent already: its fee is not raised any more")]
    ChangeSpent {
        /// Height of the block with the first batch.
        family: u32,
    },
    /// Enough is enough.
    #[error("the batch of block {family} was replaced so often that it is not replaced again ({MAX_FAMILY} batches)")]
    FamilyFull {
        /// Height of the block with the first batch.
        family: u32,
    },
    /// Some other byte is not as it must be: version, lock time, sequence, a witness or script in an unsigned input.
    #[error("the batch is not the transaction that its coins, requests and fee make")]
    NotCanonical,
}

/// Checks a proposed fresh batch against this member's own view: all coins it may spend, and the pending requests, oldest
/// first. Returns the batch as this member would have built it, which is then equal to the proposal.
///
/// `holdings` are all that the proposer may spend: confirmed, and not spent by an earlier batch. A coin that only this member
/// knows of can make it refuse a batch with small change; the next proposer will know of it too. So do not take
/// [`BatchError::SmallChange`] and [`BatchError::NeedlessInput`] for a broken rule while other views of Bitcoin could differ.
///
/// Which of the pending requests are paid is the choice of the proposer: it may not have heard of the newest. Proposers
/// take turns, so none can keep a request waiting for long.
///
/// # Errors
/// [`BatchError`].
pub fn check_batch<'a>(
    treasury: &Treasury,
    holdings: impl Into<Holdings<'a>>,
    pending: &[PegoutRequest],
    transaction: &Transaction,
    bounds: &FeeRateBounds,
) -> Result<BatchPlan, BatchError> {
    let holdings = holdings.into();
    let (spent, fee_sat) = spent_coins(&holdings, transaction)?;
    let requests = match_requests(treasury, pending, transaction, fee_sat)?;
    let held_after = holdings.held.saturating_sub(spent.len());
    // Whether it had to be careful with the key is the proposer's choice; in either form there is one way to make the change.
    let change_sat = change_sat(&spent, &requests).unwrap_or(0);
    let form = ChangeForm::of_fresh(key_state_of(treasury, transaction), change_sat, held_after);
    let batch = rebuild(treasury, &spent, &requests, fee_sat, form, transaction)?;
    check_limits(treasury, &spent, &batch, bounds)?;
    check_choice_of_coins(treasury, &holdings, &spent, &batch)?;
    Ok(batch)
}

/// The coins that the transaction spends, and its fee.
pub(super) fn spent_coins<'a>(
    holdings: &Holdings<'a>,
    transaction: &Transaction,
) -> Result<(Vec<&'a TreasuryCoin>, u64), BatchError> {
    let (coins, mut booked) = (holdings.by_outpoint(), BTreeSet::new());
    let mut spent: Vec<&TreasuryCoin> = Vec::with_capacity(transaction.input.len().min(MAX_INPUTS));
    for input in &transaction.input {
        let outpoint = input.previous_output;
        if spent.last().is_some_and(|last| last.outpoint >= outpoint) {
            return Err(BatchError::InputOrder(outpoint));
        }
        let coin = coins.get(&outpoint).ok_or(BatchError::UnknownCoin(outpoint))?;
        if !booked.insert(coin.booked_as) {
            return Err(BatchError::Alternatives(outpoint));
        }
        spent.push(coin);
    }
    if spent.len() > MAX_INPUTS {
        return Err(BatchError::InputCount(spent.len()));
    }
    let inputs_sat = spent.iter().fold(0u64, |sum, coin| sum.saturating_add(coin.amount_sat));
    let outputs_sat = transaction.output.iter().fold(0u64, |sum, output| sum.saturating_add(output.value.to_sat()));
    let fee_sat = inputs_sat.checked_sub(outputs_sat).ok_or(BatchError::Overspent { inputs_sat, outputs_sat })?;
    Ok((spent, fee_sat))
}

/// Builds the batch that these parts make, which must be the one proposed.
pub(super) fn rebuild(
    treasury: &Treasury,
    spent: &[&TreasuryCoin],
    requests: &[&PegoutRequest],
    fee_sat: u64,
    form: ChangeForm,
    transaction: &Transaction,
) -> Result<BatchPlan, BatchError> {
    assemble(treasury, spent, requests, fee_sat, form)
        .filter(|batch| batch.transaction == *transaction)
        .ok_or(BatchError::NotCanonical)
}

/// Weight, dust and fee.
pub(super) fn check_limits(
    treasury: &Treasury,
    spent: &[&TreasuryCoin],
    batch: &BatchPlan,
    bounds: &FeeRateBounds,
) -> Result<(), BatchError> {
    if let Some((vout, amount_sat)) = batch.dust() {
        return Err(BatchError::Dust { vout, amount_sat });
    }
    let weight = signed_weight(treasury, &batch.transaction, spent, SpendPath::Members);
    if weight > MAX_ACCEPTED_WEIGHT {
        return Err(BatchError::Weight(weight));
    }
    let (fee_sat, least_sat) = (batch.fee_sat, batch.relay_fee_sat);
    if fee_sat < least_sat {
        return Err(BatchError::RelayFee { fee_sat, least_sat });
    }
    if !batch.has_fee_within(bounds) {
        return Err(BatchError::FeeRate { found: batch.fee_rate_sat_per_kvb, bounds: *bounds });
    }
    Ok(())
}

/// Finds the request that each output pays. Outputs are in the order of the requests, so the first that fits is the one;
/// of identical requests the oldest is paid first.
fn match_requests<'a>(
    treasury: &Treasury,
    pending: &'a [PegoutRequest],
    transaction: &Transaction,
    fee_sat: u64,
) -> Result<Vec<&'a PegoutRequest>, BatchError> {
    let parts = transaction.output.iter().rev().take_while(|output| is_change(treasury, output)).count();
    let payments = transaction.output.get(..transaction.output.len().saturating_sub(parts)).unwrap_or_default();
    if payments.is_empty() || payments.len() > MAX_PAYMENTS {
        return Err(BatchError::PaymentCount(payments.len()));
    }
    let mut candidates = distinct(pending).into_iter();
    let mut requests = Vec::with_capacity(payments.len());
    for ((vout, output), share) in payments.iter().enumerate().zip(equal_parts(fee_sat, payments.len())) {
        let amount_sat = output.value.to_sat().saturating_add(share);
        let script = &output.script_pubkey;
        let request = candidates
            .find(|request| request.amount_sat == amount_sat && request.parent_script == *script)
            .ok_or_else(|| BatchError::NoSuchRequest { vout, amount_sat, script: script.clone() })?;
        if let Some(reason) = park_reason(treasury, request) {
            return Err(BatchError::Parked { vout, request: request.outpoint, reason });
        }
        requests.push(request);
    }
    Ok(requests)
}

/// Inputs cost those who are paid, and small change costs the treasury: neither without a reason.
fn check_choice_of_coins(
    treasury: &Treasury,
    holdings: &Holdings<'_>,
    spent: &[&TreasuryCoin],
    batch: &BatchPlan,
) -> Result<(), BatchError> {
    let has_aged = |coin: &TreasuryCoin| match holdings.due {
        // For its age, or to show what the treasury key can.
        Due::NotAsked => coin.kind == CoinKind::Treasury,
        Due::Known(_) => holdings.is_due(coin),
    };
    let (aged, mut others): (Vec<&TreasuryCoin>, Vec<&TreasuryCoin>) =
        spent.iter().copied().partition(|coin| has_aged(coin));
    // Of coins that may be due it cannot be told which were put together with others instead.
    let most_aged = match holdings.due {
        Due::NotAsked => MAX_REFRESHED.saturating_add(MAX_CONSOLIDATED),
        Due::Known(_) => MAX_REFRESHED,
    };
    let mut change_sat = batch.change_sat();
    let small = needless(&mut change_sat, &mut others);
    let held_after = holdings.held.saturating_sub(spent.len());
    if small > MAX_CONSOLIDATED || (small > 0 && !may_consolidate(batch, held_after)) {
        return Err(BatchError::NeedlessInput);
    }
    if needless(&mut change_sat, &mut aged.clone()) > most_aged {
        return Err(BatchError::NeedlessInput);
    }
    let change_sat = batch.change_sat();
    if is_good_change(change_sat) {
        return Ok(());
    }
    let booked: BTreeSet<OutPoint> = spent.iter().map(|coin| coin.booked_as).collect();
    let another = holdings
        .coins
        .iter()
        .any(|coin| !booked.contains(&coin.booked_as) && is_worth_its_fee(treasury, coin, batch.fee_rate_sat_per_kvb));
    if another || change_sat < PayoutKind::P2tr.dust_limit_sat() {
        return Err(BatchError::SmallChange(change_sat));
    }
    Ok(())
}

/// How many of these coins, smallest first, could be left out with good change; takes them out of the change.
fn needless(change_sat: &mut u64, coins: &mut [&TreasuryCoin]) -> usize {
    coins.sort_by_key(|coin| coin.amount_sat);
    let mut count = 0usize;
    for coin in coins {
        match change_sat.checked_sub(coin.amount_sat).filter(|change_sat| is_good_change(*change_sat)) {
            Some(rest_sat) => *change_sat = rest_sat,
            None => break,
        }
        count = count.saturating_add(1);
    }
    count
}
