//! Planning a batch: which requests, which coins, what fee.
//!
//! Requests are taken in the given order, oldest first. Coins: the smallest one that is enough alone; if none is, the
//! largest ones until it is enough. That spends few coins, so fees stay low, and leaves the others free for the next batch.
//! Coins that are not worth the fee of spending them are left alone. Equal coins are ordered by outpoint.
//!
//! Outputs of the treasury can be spent by one signature or by a script four to eight times as heavy. The fee is that of
//! the former at the wanted rate, but never less than what Bitcoin nodes relay the latter for: whichever way a batch is signed
//! in the end, it can be sent. Limits of weight hold for the latter.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use aquifer_assets::peg::PegoutRequest;
use bitcoin::{Amount, OutPoint, ScriptBuf, Transaction, TxOut, absolute::LockTime, transaction::Version};

use super::{
    coins::{SpendPath, TreasuryCoin},
    rules::{
        FeeRateBounds, MAX_BATCH_WEIGHT, MAX_PAYMENTS, MIN_FEE_RATE_SAT_PER_KVB, ParkReason, PayoutKind, Treasury,
        clamp_fee_rate, fee_sat, fee_share_sat, is_good_change, park_reason,
    },
};

/// A request that a batch pays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaidPegout {
    /// The request.
    pub request: elements::OutPoint,
    /// Output of the batch that pays it.
    pub vout: u32,
    /// Amount that was burned for it, in satoshi. The output is worth this less the fee.
    pub amount_sat: u64,
    /// Its part of the fee, in satoshi.
    pub fee_sat: u64,
}

/// A batch: the transaction, and what each part of it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchPlan {
    /// The transaction without witnesses. Its txid is final.
    pub transaction: Transaction,
    /// The requests it pays, in the order of its outputs.
    pub paid: Vec<PaidPegout>,
    /// The coin that its last output makes, if there is change.
    pub change: Option<TreasuryCoin>,
    /// The coins it spends, in the order of its inputs.
    pub inputs: Vec<OutPoint>,
    /// The whole fee in satoshi.
    pub fee_sat: u64,
    /// The fee rate with the longest signatures and outputs of the treasury spent by its key, in satoshi per 1,000 virtual
    /// bytes, rounded down.
    pub fee_rate_sat_per_kvb: u64,
    /// The least fee with which it is relayed even if outputs of the treasury are spent by script, in satoshi.
    pub relay_fee_sat: u64,
}

impl BatchPlan {
    /// Whether the fee is acceptable: at a rate within the bounds, or the least there can be, at whatever rate that is.
    pub fn has_fee_within(&self, bounds: &FeeRateBounds) -> bool {
        bounds.contains(self.fee_rate_sat_per_kvb) || self.fee_sat == self.relay_fee_sat
    }
}

/// Why a request is not in the planned batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WaitingReason {
    /// It can never be paid.
    #[error("{0}")]
    Parked(ParkReason),
    /// After its part of the fee the payment would be too small for Bitcoin; lower fees or a fuller batch may help.
    #[error("after its part of the fee ({fee_sat} sat) the payment would be dust")]
    TooSmallForFee {
        /// Its part of the fee, in satoshi.
        fee_sat: u64,
    },
    /// The coins at hand do not cover it: others are in flight or not confirmed.
    #[error("the coins at hand do not cover it yet")]
    NotEnoughCoins,
    /// The batch is full.
    #[error("the batch is full, it waits for the next one")]
    BatchFull,
}

/// A request that is not in the planned batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The request.
    pub request: elements::OutPoint,
    /// Why.
    pub reason: WaitingReason,
}

/// The outcome of planning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planning {
    /// The batch, if there is anything that can be paid now.
    pub batch: Option<BatchPlan>,
    /// Every request that it does not pay, in the order given.
    pub waiting: Vec<Waiting>,
}

/// Plans a batch; the same arguments always give the same one. See [`plan`] for why a request is left out.
pub fn plan_batch(
    treasury: &Treasury,
    coins: &[TreasuryCoin],
    pending: &[PegoutRequest],
    fee_rate_sat_per_kvb: u64,
) -> Option<BatchPlan> {
    plan(treasury, coins, pending, fee_rate_sat_per_kvb).batch
}

/// Plans a batch and says of every request that is left out why. The fee rate is kept within the hard limits.
pub fn plan(
    treasury: &Treasury,
    coins: &[TreasuryCoin],
    pending: &[PegoutRequest],
    fee_rate_sat_per_kvb: u64,
) -> Planning {
    let pending = distinct(pending);
    let mut reasons: BTreeMap<elements::OutPoint, WaitingReason> = pending
        .iter()
        .filter_map(|request| Some((request.outpoint, WaitingReason::Parked(park_reason(treasury, request)?))))
        .collect();
    let mut batch = None;
    let fee_rate = clamp_fee_rate(fee_rate_sat_per_kvb);
    let usable = usable_coins(treasury, coins, fee_rate);
    loop {
        let open: Vec<&PegoutRequest> =
            pending.iter().copied().filter(|request| !reasons.contains_key(&request.outpoint)).collect();
        let chosen = open.get(..MAX_PAYMENTS).unwrap_or(&open);
        if chosen.is_empty() {
            break;
        }
        match attempt(treasury, &usable, chosen, fee_rate) {
            Ok(plan) => {
                let full = open.iter().skip(chosen.len());
                reasons.extend(full.map(|request| (request.outpoint, WaitingReason::BatchFull)));
                batch = Some(plan);
                break;
            }
            // Every failed attempt leaves out at least one request more, so this ends.
            Err(left_out) => reasons.extend(left_out),
        }
    }
    let waiting = pending
        .iter()
        .filter_map(|request| Some(Waiting { request: request.outpoint, reason: *reasons.get(&request.outpoint)? }));
    Planning { batch, waiting: waiting.collect() }
}

/// Whether the coin is worth more than spending it costs.
pub(super) fn is_worth_its_fee(treasury: &Treasury, coin: &TreasuryCoin, fee_rate: u64) -> bool {
    coin.amount_sat > fee_sat(coin.input_weight(treasury, SpendPath::Key), fee_rate)
}

/// The coins worth spending, largest first, each once.
fn usable_coins<'a>(treasury: &Treasury, coins: &'a [TreasuryCoin], fee_rate: u64) -> Vec<&'a TreasuryCoin> {
    let mut usable: Vec<&TreasuryCoin> =
        coins.iter().filter(|coin| is_worth_its_fee(treasury, coin, fee_rate)).collect();
    usable.sort_by_key(|coin| (Reverse(coin.amount_sat), coin.outpoint));
    usable.dedup_by_key(|coin| coin.outpoint);
    usable
}

type LeftOut = Vec<(elements::OutPoint, WaitingReason)>;

/// Tries to pay exactly these requests; otherwise says which to leave out, at least one.
fn attempt(
    treasury: &Treasury,
    usable: &[&TreasuryCoin],
    requests: &[&PegoutRequest],
    fee_rate: u64,
) -> Result<BatchPlan, LeftOut> {
    let available = usable.iter().fold(0u64, |sum, coin| sum.saturating_add(coin.amount_sat));
    let mut total = 0u64;
    let mut too_much = Vec::new();
    for request in requests {
        match total.checked_add(request.amount_sat) {
            Some(sum) if sum <= available => total = sum,
            _ => too_much.push((request.outpoint, WaitingReason::NotEnoughCoins)),
        }
    }
    if !too_much.is_empty() {
        return Err(too_much);
    }
    let without_last = |reason| Err(requests.last().map(|request| (request.outpoint, reason)).into_iter().collect());
    let Some(coins) = choose_coins(usable, total) else { return without_last(WaitingReason::NotEnoughCoins) };
    // The weight does not depend on amounts, so a fee of zero will do to measure it.
    let Some(draft) = assemble(treasury, &coins, requests, 0) else {
        return without_last(WaitingReason::NotEnoughCoins);
    };
    let weight = |path| signed_weight(treasury, &draft.transaction, &coins, path);
    if weight(SpendPath::Members) > MAX_BATCH_WEIGHT {
        return without_last(WaitingReason::BatchFull);
    }
    let fee = fee_sat(weight(SpendPath::Key), fee_rate).max(relay_fee_sat(treasury, &draft.transaction, &coins));
    let too_small = too_small_for_fee(requests, fee);
    if !too_small.is_empty() {
        return Err(too_small);
    }
    match assemble(treasury, &coins, requests, fee) {
        Some(plan) => Ok(plan),
        None => without_last(WaitingReason::NotEnoughCoins),
    }
}

/// The coins to spend for a total, or `None` if every choice leaves change that cannot be an output.
fn choose_coins<'a>(usable: &[&'a TreasuryCoin], total: u64) -> Option<Vec<&'a TreasuryCoin>> {
    let is_enough = |amount: u64| amount.checked_sub(total).is_some_and(is_good_change);
    if let Some(coin) = usable.iter().rev().find(|coin| is_enough(coin.amount_sat)) {
        return Some(vec![*coin]);
    }
    let mut chosen = Vec::new();
    let mut sum = 0u64;
    for coin in usable {
        chosen.push(*coin);
        sum = sum.saturating_add(coin.amount_sat);
        if is_enough(sum) {
            return Some(chosen);
        }
    }
    // Everything is spent: small change is better than peg-outs that wait for a deposit, if it can be an output at all.
    sum.checked_sub(total).filter(|change| *change >= PayoutKind::P2tr.dust_limit_sat()).map(|_| chosen)
}

/// The requests whose payment would be dust after their part of the fee.
fn too_small_for_fee(requests: &[&PegoutRequest], fee: u64) -> LeftOut {
    let mut too_small = Vec::new();
    for (request, fee_sat) in requests.iter().zip(fee_shares(fee, requests.len())) {
        let dust = PayoutKind::of(&request.parent_script).map_or(u64::MAX, PayoutKind::dust_limit_sat);
        if request.amount_sat < dust.saturating_add(fee_sat) {
            too_small.push((request.outpoint, WaitingReason::TooSmallForFee { fee_sat }));
        }
    }
    too_small
}

/// What each of `count` requests pays of the fee.
pub(super) fn fee_shares(fee_sat: u64, count: usize) -> impl Iterator<Item = u64> {
    let count = u64::try_from(count).unwrap_or(u64::MAX);
    (0..count).map(move |position| fee_share_sat(fee_sat, position, count))
}

/// Builds the one batch that spends these coins, pays these requests in this order, and costs this fee. `None` if the
/// amounts do not work out.
pub(super) fn assemble(
    treasury: &Treasury,
    coins: &[&TreasuryCoin],
    requests: &[&PegoutRequest],
    fee_sat: u64,
) -> Option<BatchPlan> {
    let mut coins = coins.to_vec();
    coins.sort_by_key(|coin| coin.outpoint);
    let spent = coins.iter().try_fold(0u64, |sum, coin| sum.checked_add(coin.amount_sat))?;
    let burned = requests.iter().try_fold(0u64, |sum, request| sum.checked_add(request.amount_sat))?;
    let change_sat = spent.checked_sub(burned)?;
    let mut output = Vec::with_capacity(requests.len().saturating_add(1));
    let mut paid = Vec::with_capacity(requests.len());
    for ((vout, request), share) in (0u32..).zip(requests).zip(fee_shares(fee_sat, requests.len())) {
        output.push(pay(request.amount_sat.checked_sub(share)?, request.parent_script.clone()));
        paid.push(PaidPegout { request: request.outpoint, vout, amount_sat: request.amount_sat, fee_sat: share });
    }
    if change_sat > 0 {
        output.push(pay(change_sat, treasury.output().script_pubkey().clone()));
    }
    let transaction = Transaction {
        version: Version::TWO,
        lock_time: LockTime::ZERO,
        input: coins.iter().map(|coin| coin.unsigned_input()).collect(),
        output,
    };
    let change_vout = u32::try_from(requests.len()).ok()?;
    let change = (change_sat > 0).then(|| {
        let outpoint = OutPoint::new(transaction.compute_txid(), change_vout);
        TreasuryCoin::from_change(treasury.output(), outpoint, change_sat)
    });

    let virtual_size = signed_weight(treasury, &transaction, &coins, SpendPath::Key).div_ceil(4);
    let relay_fee_sat = relay_fee_sat(treasury, &transaction, &coins);
    Some(BatchPlan {
        inputs: coins.iter().map(|coin| coin.outpoint).collect(),
        fee_rate_sat_per_kvb: fee_sat.saturating_mul(1_000).checked_div(virtual_size)?,
        transaction,
        paid,
        change,
        fee_sat,
        relay_fee_sat,
    })
}

fn pay(amount_sat: u64, script_pubkey: ScriptBuf) -> TxOut {
    TxOut { value: Amount::from_sat(amount_sat), script_pubkey }
}

/// The least fee with which Bitcoin nodes relay the transaction also when outputs of the treasury are spent by script.
pub(super) fn relay_fee_sat(treasury: &Treasury, transaction: &Transaction, coins: &[&TreasuryCoin]) -> u64 {
    fee_sat(signed_weight(treasury, transaction, coins, SpendPath::Members), MIN_FEE_RATE_SAT_PER_KVB)
}

/// Weight of the transaction once it is signed, with the longest signatures.
pub(super) fn signed_weight(
    treasury: &Treasury,
    transaction: &Transaction,
    coins: &[&TreasuryCoin],
    path: SpendPath,
) -> u64 {
    let by_outpoint: BTreeMap<OutPoint, &&TreasuryCoin> = coins.iter().map(|coin| (coin.outpoint, coin)).collect();
    let mut signed = transaction.clone();
    for input in &mut signed.input {
        if let Some(coin) = by_outpoint.get(&input.previous_output) {
            input.witness = coin.longest_witness(treasury, path);
        }
    }
    signed.weight().to_wu()
}

/// The requests of a list, each once: a request that came up twice would be paid twice.
pub(super) fn distinct(pending: &[PegoutRequest]) -> Vec<&PegoutRequest> {
    let mut seen = BTreeSet::new();
    pending.iter().filter(|request| seen.insert(request.outpoint)).collect()
}
