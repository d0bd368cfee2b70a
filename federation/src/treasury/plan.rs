//! Planning a batch: which requests, which coins, what fee.
//!
//! Requests are taken in the given order, oldest first. Coins: those that are due to be moved; then the smallest one that is
//! enough alone; if none is, the largest ones until it is enough. That spends few coins, so fees stay low, and leaves the
//! others free for the next batch. As long as the treasury key has to show what it can, a coin under it is spent in any case.
//! While there are many coins and fees are low, a few of the smallest are put together with
//! them. Coins that are not worth the fee of spending them are left alone. Equal coins are ordered by outpoint.
//!
//! Outputs of the treasury can be spent by one signature or by a script four to eight times as heavy. The fee is that of
//! the former at the wanted rate, but never less than what Bitcoin nodes relay the latter for: whichever way a batch is signed
//! in the end, it can be sent. Limits of weight hold for the latter.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use aquifer_assets::peg::PegoutRequest;

use super::{
    assemble::{BatchPlan, assemble, change_sat, dust_limit_sat, signed_weight},
    change::{ChangeForm, KeyState},
    coins::{CoinKind, SpendPath, TreasuryCoin},
    holdings::Holdings,
    rules::{
        CONSOLIDATION_FEE_RATE_SAT_PER_KVB, FeeRateBounds, MAX_BATCH_WEIGHT, MAX_CONSOLIDATED, MAX_INPUTS,
        MAX_PAYMENTS, MAX_REFRESHED, ParkReason, PayoutKind, TARGET_COINS, Treasury, clamp_fee_rate, equal_parts,
        fee_sat, is_good_change, park_reason,
    },
};

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
pub fn plan_batch<'a>(
    treasury: &Treasury,
    holdings: impl Into<Holdings<'a>>,
    pending: &[PegoutRequest],
    fee_rate_sat_per_kvb: u64,
) -> Option<BatchPlan> {
    plan(treasury, holdings, pending, fee_rate_sat_per_kvb).batch
}

/// Plans a batch and says of every request that is left out why. The fee rate is kept within the hard limits.
pub fn plan<'a>(
    treasury: &Treasury,
    holdings: impl Into<Holdings<'a>>,
    pending: &[PegoutRequest],
    fee_rate_sat_per_kvb: u64,
) -> Planning {
    let pending = distinct(pending);
    let mut reasons: BTreeMap<elements::OutPoint, WaitingReason> = pending
        .iter()
        .filter_map(|request| Some((request.outpoint, WaitingReason::Parked(park_reason(treasury, request)?))))
        .collect();
    let mut batch = None;
    let wallet = Wallet::new(treasury, holdings.into(), clamp_fee_rate(fee_rate_sat_per_kvb));
    loop {
        let open: Vec<&PegoutRequest> =
            pending.iter().copied().filter(|request| !reasons.contains_key(&request.outpoint)).collect();
        let chosen = open.get(..MAX_PAYMENTS).unwrap_or(&open);
        if chosen.is_empty() {
            break;
        }
        match wallet.attempt(chosen) {
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

/// Whether a batch of this fee, after which so many coins are left beside its change, may put small coins together.
pub(super) fn may_consolidate(batch: &BatchPlan, held_after: usize) -> bool {
    let low = FeeRateBounds { min_sat_per_kvb: 0, max_sat_per_kvb: CONSOLIDATION_FEE_RATE_SAT_PER_KVB };
    held_after >= TARGET_COINS && batch.has_fee_within(&low)
}

type LeftOut = Vec<(elements::OutPoint, WaitingReason)>;

/// What a batch is planned from.
struct Wallet<'a> {
    treasury: &'a Treasury,
    /// What is spent in any case: the coin with which the treasury key shows what it can, if it has to and there is one.
    probe: Vec<&'a TreasuryCoin>,
    /// The other coins worth spending and not due, largest first, each once.
    usable: Vec<&'a TreasuryCoin>,
    /// Those that are due, as many as a batch spends for that reason.
    due: Vec<&'a TreasuryCoin>,
    held: usize,
    key: KeyState,
    fee_rate: u64,
}

/// Coins chosen for a batch, and how many of them, the first ones, it needs.
struct Chosen<'a> {
    coins: Vec<&'a TreasuryCoin>,
    needed: usize,
}

impl<'a> Wallet<'a> {
    fn new(treasury: &'a Treasury, holdings: Holdings<'a>, fee_rate: u64) -> Self {
        let mut seen = BTreeSet::new();
        // One alternative of each coin: the caller leaves out those that bitcoind does not see, and plans again.
        let mut coins: Vec<&TreasuryCoin> = holdings.coins.iter().filter(|coin| seen.insert(coin.booked_as)).collect();
        let mut probe = Vec::new();
        if holdings.key == KeyState::Unproven
            && let Some(coin) = smallest_under_key(coins.iter().copied())
        {
            // Whatever it is worth: nothing else is spent before the key has signed.
            probe.push(coin);
            coins.retain(|other| other.booked_as != coin.booked_as);
        }
        let worthy = coins.into_iter().filter(|coin| is_worth_its_fee(treasury, coin, fee_rate));
        let (mut due, mut usable): (Vec<_>, Vec<_>) = worthy.partition(|coin| holdings.is_due(coin));
        usable.extend(due.split_off(due.len().min(MAX_REFRESHED.saturating_sub(probe.len()))));
        usable.sort_by_key(|coin| (Reverse(coin.amount_sat), coin.outpoint));
        Self { treasury, probe, usable, due, held: holdings.held, key: holdings.key, fee_rate }
    }

    /// Tries to pay exactly these requests; otherwise says which to leave out, at least one.
    fn attempt(&self, requests: &[&PegoutRequest]) -> Result<BatchPlan, LeftOut> {
        let all = self.usable.iter().chain(&self.due).chain(&self.probe);
        let available = all.fold(0u64, |sum, coin| sum.saturating_add(coin.amount_sat));
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
        // Coins that need not be spent are no reason to pay less.
        if !self.due.is_empty()
            && let Some(chosen) = self.choose_coins(total, &[self.probe.as_slice(), &self.due].concat())
            && let Ok(plan) = self.spend(&chosen.coins, requests)
        {
            return Ok(self.consolidate(&chosen, requests).unwrap_or(plan));
        }
        let all = self.without_due();
        let Some(chosen) = all.choose_coins(total, &self.probe) else {
            return Err(without_last(requests, WaitingReason::NotEnoughCoins));
        };
        let plan = all.spend(&chosen.coins, requests)?;
        Ok(all.consolidate(&chosen, requests).unwrap_or(plan))
    }

    /// The same coins, none of which has to be moved.
    fn without_due(&self) -> Self {
        let mut usable = [self.usable.as_slice(), &self.due].concat();
        usable.sort_by_key(|coin| (Reverse(coin.amount_sat), coin.outpoint));
        Self { usable, probe: self.probe.clone(), due: Vec::new(), ..*self }
    }

    /// The coins to spend for a total beside those given, or `None` if every choice leaves change that cannot be an output.
    fn choose_coins(&self, total: u64, given: &[&'a TreasuryCoin]) -> Option<Chosen<'a>> {
        let given_sat = given.iter().fold(0u64, |sum, coin| sum.saturating_add(coin.amount_sat));
        let change_of = |amount: u64| given_sat.saturating_add(amount).checked_sub(total);
        let is_enough = |amount: u64| change_of(amount).is_some_and(is_good_change);
        let chosen = |mut coins: Vec<&'a TreasuryCoin>| {
            let needed = coins.len();
            coins.extend(given);
            Some(Chosen { coins, needed })
        };
        if !given.is_empty() && is_enough(0) {
            return chosen(Vec::new());
        }
        if let Some(coin) = self.usable.iter().rev().find(|coin| is_enough(coin.amount_sat)) {
            return chosen(vec![*coin]);
        }
        let mut largest = Vec::new();
        let mut sum = 0u64;
        for coin in &self.usable {
            largest.push(*coin);
            sum = sum.saturating_add(coin.amount_sat);
            if is_enough(sum) {
                return chosen(largest);
            }
        }
        // Everything is spent: small change is better than peg-outs that wait for a deposit, if it can be an output at all.
        change_of(sum).filter(|change| *change >= PayoutKind::P2tr.dust_limit_sat()).and_then(|_| chosen(largest))
    }

    /// The batch that spends exactly these coins.
    fn spend(&self, coins: &[&TreasuryCoin], requests: &[&PegoutRequest]) -> Result<BatchPlan, LeftOut> {
        let treasury = self.treasury;
        let not_enough = || without_last(requests, WaitingReason::NotEnoughCoins);
        let change_sat = change_sat(coins, requests).ok_or_else(not_enough)?;
        let form = ChangeForm::of_fresh(self.key, change_sat, self.held.saturating_sub(coins.len()));
        // The weight does not depend on amounts, so a fee of zero will do to measure it.
        let draft = assemble(treasury, coins, requests, 0, form).ok_or_else(not_enough)?;
        let weight = signed_weight(treasury, &draft.transaction, coins, SpendPath::Members);
        if weight > MAX_BATCH_WEIGHT || coins.len() > MAX_INPUTS {
            return Err(without_last(requests, WaitingReason::BatchFull));
        }
        let fee = fee_sat(draft.virtual_size.saturating_mul(4), self.fee_rate).max(draft.relay_fee_sat);
        let too_small = too_small_for_fee(requests, fee);
        if !too_small.is_empty() {
            return Err(too_small);
        }
        assemble(treasury, coins, requests, fee, form).ok_or_else(not_enough)
    }

    /// The same batch with a few of the smallest coins, if this is a time to put them together.
    fn consolidate(&self, chosen: &Chosen<'_>, requests: &[&PegoutRequest]) -> Option<BatchPlan> {
        let needed = chosen.coins.get(..chosen.needed)?;
        let least_sat = needed.iter().map(|coin| coin.amount_sat).min().unwrap_or(u64::MAX);
        let smallest = self.usable.iter().rev().filter(|coin| coin.amount_sat < least_sat).take(MAX_CONSOLIDATED);
        let mut coins = chosen.coins.clone();
        coins.extend(smallest);
        let held_after = self.held.saturating_sub(coins.len());
        let plan = (coins.len() > chosen.coins.len()).then(|| self.spend(&coins, requests).ok()).flatten()?;
        may_consolidate(&plan, held_after).then_some(plan)
    }
}

/// The coin under the treasury key that costs least to risk.
pub(super) fn smallest_under_key<'a>(coins: impl Iterator<Item = &'a TreasuryCoin>) -> Option<&'a TreasuryCoin> {
    coins.filter(|coin| coin.kind == CoinKind::Treasury).min_by_key(|coin| (coin.amount_sat, coin.outpoint))
}

fn without_last(requests: &[&PegoutRequest], reason: WaitingReason) -> LeftOut {
    requests.last().map(|request| (request.outpoint, reason)).into_iter().collect()
}

/// The requests whose payment would be dust after their part of the fee.
fn too_small_for_fee(requests: &[&PegoutRequest], fee: u64) -> LeftOut {
    let mut too_small = Vec::new();
    for (request, fee_sat) in requests.iter().zip(equal_parts(fee, requests.len())) {
        if request.amount_sat < dust_limit_sat(&request.parent_script).saturating_add(fee_sat) {
            too_small.push((request.outpoint, WaitingReason::TooSmallForFee { fee_sat }));
        }
    }
    too_small
}

/// The requests of a list, each once: a request that came up twice would be paid twice.
pub(super) fn distinct(pending: &[PegoutRequest]) -> Vec<&PegoutRequest> {
    let mut seen = BTreeSet::new();
    pending.iter().filter(|request| seen.insert(request.outpoint)).collect()
}
