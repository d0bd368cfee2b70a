//! Checking a batch that somebody else proposes.
//!
//! Nothing of the proposal is taken on trust. From the transaction come only the coins it spends, the requests its outputs
//! pay, and its fee; each must be allowed by itself, and together they must rebuild the same transaction.

use std::collections::BTreeMap;

use aquifer_assets::peg::PegoutRequest;
use bitcoin::{OutPoint, ScriptBuf, Transaction};

use super::{
    coins::{SpendPath, TreasuryCoin},
    plan::{BatchPlan, assemble, distinct, fee_shares, is_worth_its_fee, signed_weight},
    rules::{
        FeeRateBounds, MAX_ACCEPTED_WEIGHT, MAX_PAYMENTS, MIN_CHANGE_SAT, ParkReason, PayoutKind, Treasury,
        is_good_change, park_reason,
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
    /// Some other byte is not as it must be: version, lock time, sequence, a witness or script in an unsigned input.
    #[error("the batch is not the transaction that its coins, requests and fee make")]
    NotCanonical,
}

/// Checks a proposed batch against this member's own view: all coins it may spend, and the pending requests, oldest first.
/// Returns the batch as this member would have built it, which is then equal to the proposal.
///
/// `coins` are all that the proposer may spend: confirmed, and not spent by an earlier batch. A coin that only this member
/// knows of can make it refuse a batch with small change; the next proposer will know of it too.
///
/// Which of the pending requests are paid is the choice of the proposer: it may not have heard of the newest. Proposers
/// take turns, so none can keep a request waiting for long.
///
/// # Errors
/// [`BatchError`].
pub fn check_batch(
    treasury: &Treasury,
    coins: &BTreeMap<OutPoint, TreasuryCoin>,
    pending: &[PegoutRequest],
    transaction: &Transaction,
    bounds: &FeeRateBounds,
) -> Result<BatchPlan, BatchError> {
    let spent = spent_coins(coins, transaction)?;
    let inputs_sat = spent.iter().fold(0u64, |sum, coin| sum.saturating_add(coin.amount_sat));
    let outputs_sat = transaction.output.iter().fold(0u64, |sum, output| sum.saturating_add(output.value.to_sat()));
    let fee_sat = inputs_sat.checked_sub(outputs_sat).ok_or(BatchError::Overspent { inputs_sat, outputs_sat })?;

    let requests = match_requests(treasury, pending, transaction, fee_sat)?;
    let rebuilt =
        assemble(treasury, &spent, &requests, fee_sat).ok_or(BatchError::Overspent { inputs_sat, outputs_sat })?;
    if rebuilt.transaction != *transaction {
        return Err(BatchError::NotCanonical);
    }
    let weight = signed_weight(treasury, transaction, &spent, SpendPath::Members);
    if weight > MAX_ACCEPTED_WEIGHT {
        return Err(BatchError::Weight(weight));
    }
    let least_sat = rebuilt.relay_fee_sat;
    if fee_sat < least_sat {
        return Err(BatchError::RelayFee { fee_sat, least_sat });
    }
    let found = rebuilt.fee_rate_sat_per_kvb;
    if !rebuilt.has_fee_within(bounds) {
        return Err(BatchError::FeeRate { found, bounds: *bounds });
    }
    check_choice_of_coins(treasury, coins, &spent, &rebuilt)?;
    Ok(rebuilt)
}

/// The coins that the transaction spends.
fn spent_coins<'a>(
    coins: &'a BTreeMap<OutPoint, TreasuryCoin>,
    transaction: &Transaction,
) -> Result<Vec<&'a TreasuryCoin>, BatchError> {
    let mut spent: Vec<&TreasuryCoin> = Vec::with_capacity(transaction.input.len());
    for input in &transaction.input {
        let outpoint = input.previous_output;
        if spent.last().is_some_and(|last| last.outpoint >= outpoint) {
            return Err(BatchError::InputOrder(outpoint));
        }
        let coin = coins.get(&outpoint).filter(|coin| coin.outpoint == outpoint);
        spent.push(coin.ok_or(BatchError::UnknownCoin(outpoint))?);
    }
    Ok(spent)
}

/// Finds the request that each output pays. Outputs are in the order of the requests, so the first that fits is the one;
/// of identical requests the oldest is paid first.
fn match_requests<'a>(
    treasury: &Treasury,
    pending: &'a [PegoutRequest],
    transaction: &Transaction,
    fee_sat: u64,
) -> Result<Vec<&'a PegoutRequest>, BatchError> {
    let payments = match transaction.output.split_last() {
        Some((last, others)) if last.script_pubkey == *treasury.output().script_pubkey() => others,
        _ => transaction.output.as_slice(),
    };
    if payments.is_empty() || payments.len() > MAX_PAYMENTS {
        return Err(BatchError::PaymentCount(payments.len()));
    }
    let mut candidates = distinct(pending).into_iter();
    let mut requests = Vec::with_capacity(payments.len());
    for ((vout, output), share) in payments.iter().enumerate().zip(fee_shares(fee_sat, payments.len())) {
        let paid_sat = output.value.to_sat();
        let amount_sat = paid_sat.saturating_add(share);
        let script = &output.script_pubkey;
        let request = candidates
            .find(|request| request.amount_sat == amount_sat && request.parent_script == *script)
            .ok_or_else(|| BatchError::NoSuchRequest { vout, amount_sat, script: script.clone() })?;
        if let Some(reason) = park_reason(treasury, request) {
            return Err(BatchError::Parked { vout, request: request.outpoint, reason });
        }
        if PayoutKind::of(script).is_none_or(|kind| paid_sat < kind.dust_limit_sat()) {
            return Err(BatchError::Dust { vout, amount_sat: paid_sat });
        }
        requests.push(request);
    }
    Ok(requests)
}

/// Inputs cost those who are paid, and small change costs the treasury: neither without need.
fn check_choice_of_coins(
    treasury: &Treasury,
    coins: &BTreeMap<OutPoint, TreasuryCoin>,
    spent: &[&TreasuryCoin],
    batch: &BatchPlan,
) -> Result<(), BatchError> {
    let change_sat = batch.change.as_ref().map_or(0, |change| change.amount_sat);
    let smallest_sat = spent.iter().map(|coin| coin.amount_sat).min().unwrap_or(0);
    if change_sat.checked_sub(smallest_sat).is_some_and(is_good_change) {
        return Err(BatchError::NeedlessInput);
    }
    if is_good_change(change_sat) {
        return Ok(());
    }
    let another = coins.values().any(|coin| {
        !batch.inputs.contains(&coin.outpoint) && is_worth_its_fee(treasury, coin, batch.fee_rate_sat_per_kvb)
    });
    if another || change_sat < PayoutKind::P2tr.dust_limit_sat() {
        return Err(BatchError::SmallChange(change_sat));
    }
    Ok(())
}
