//! The one transaction that given coins, requests and fee make.

use aquifer_assets::peg::PegoutRequest;
use bitcoin::{Amount, OutPoint, ScriptBuf, Transaction, TxOut, absolute::LockTime, transaction::Version};

use super::{
    change::ChangeForm,
    coins::{SpendPath, TreasuryCoin},
    rules::{FeeRateBounds, MIN_FEE_RATE_SAT_PER_KVB, PayoutKind, Treasury, equal_parts, fee_sat},
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

/// What a batch is by the books.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchKind {
    /// It spends coins that no batch spends, and pays requests that no batch pays.
    Fresh,
    /// It takes the place of the batches of a family; see [`super::Family`].
    Replacement {
        /// Height of the block with the family's first batch.
        family: u32,
    },
}

/// A batch: the transaction, and what each part of it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchPlan {
    /// The transaction without witnesses. Its txid is final.
    pub transaction: Transaction,
    /// What it is by the books.
    pub kind: BatchKind,
    /// The requests it pays, in the order of its outputs.
    pub paid: Vec<PaidPegout>,
    /// The coins that its last outputs make.
    pub change: Vec<TreasuryCoin>,
    /// The coins it spends, in the order of its inputs.
    pub inputs: Vec<OutPoint>,
    /// The whole fee in satoshi.
    pub fee_sat: u64,
    /// Virtual size with the longest signatures, outputs of the treasury spent by its key.
    pub virtual_size: u64,
    /// The fee rate at that size, in satoshi per 1,000 virtual bytes, rounded down.
    pub fee_rate_sat_per_kvb: u64,
    /// The least fee with which it is relayed even if outputs of the treasury are spent by script, in satoshi.
    pub relay_fee_sat: u64,
}

impl BatchPlan {
    /// Whether the fee is acceptable: at a rate within the bounds, or the least there can be, at whatever rate that is.
    pub fn has_fee_within(&self, bounds: &FeeRateBounds) -> bool {
        bounds.contains(self.fee_rate_sat_per_kvb) || self.fee_sat == self.relay_fee_sat
    }

    /// All that goes back to the treasury, in satoshi.
    pub fn change_sat(&self) -> u64 {
        self.change.iter().fold(0, |sum, coin| sum.saturating_add(coin.amount_sat))
    }

    /// The first payment that Bitcoin nodes would not relay.
    pub(super) fn dust(&self) -> Option<(usize, u64)> {
        let payments = self.transaction.output.iter().take(self.paid.len()).enumerate();
        let mut payments = payments.map(|(vout, output)| (vout, output.value.to_sat(), &output.script_pubkey));
        let dust = payments.find(|(_, amount_sat, script)| *amount_sat < dust_limit_sat(script))?;
        Some((dust.0, dust.1))
    }
}

/// Smallest payment to a script; nothing is enough for one that is not standard.
pub(super) fn dust_limit_sat(script: &bitcoin::Script) -> u64 {
    PayoutKind::of(script).map_or(u64::MAX, PayoutKind::dust_limit_sat)
}

/// Builds the one fresh batch that spends these coins, pays these requests in this order, costs this fee and makes
/// change of this form. `None` if the amounts do not work out.
pub(super) fn assemble(
    treasury: &Treasury,
    coins: &[&TreasuryCoin],
    requests: &[&PegoutRequest],
    fee_sat: u64,
    form: ChangeForm,
) -> Option<BatchPlan> {
    let mut coins = coins.to_vec();
    coins.sort_by_key(|coin| coin.outpoint);
    let change_sat = change_sat(&coins, requests)?;
    let mut change = form.coins(treasury, change_sat);
    let mut output = Vec::with_capacity(requests.len().saturating_add(change.len()));
    let mut paid = Vec::with_capacity(requests.len());
    for ((vout, request), share) in (0u32..).zip(requests).zip(equal_parts(fee_sat, requests.len())) {
        output.push(pay(request.amount_sat.checked_sub(share)?, request.parent_script.clone()));
        paid.push(PaidPegout { request: request.outpoint, vout, amount_sat: request.amount_sat, fee_sat: share });
    }
    output.extend(change.iter().map(TreasuryCoin::txout));
    let transaction = Transaction {
        version: Version::TWO,
        lock_time: LockTime::ZERO,
        input: coins.iter().map(|coin| coin.unsigned_input()).collect(),
        output,
    };
    let (txid, first_vout) = (transaction.compute_txid(), u32::try_from(requests.len()).ok()?);
    for (vout, coin) in (first_vout..).zip(&mut change) {
        coin.outpoint = OutPoint::new(txid, vout);
        coin.booked_as = coin.outpoint;
    }
    let virtual_size = signed_weight(treasury, &transaction, &coins, SpendPath::Key).div_ceil(4);
    Some(BatchPlan {
        kind: BatchKind::Fresh,
        inputs: coins.iter().map(|coin| coin.outpoint).collect(),
        fee_rate_sat_per_kvb: fee_sat.saturating_mul(1_000).checked_div(virtual_size)?,
        relay_fee_sat: relay_fee_sat(treasury, &transaction, &coins),
        transaction,
        paid,
        change,
        fee_sat,
        virtual_size,
    })
}

/// What is left of these coins when these requests are paid. The fee comes out of the payments.
pub(super) fn change_sat(coins: &[&TreasuryCoin], requests: &[&PegoutRequest]) -> Option<u64> {
    let spent = coins.iter().try_fold(0u64, |sum, coin| sum.checked_add(coin.amount_sat))?;
    let burned = requests.iter().try_fold(0u64, |sum, request| sum.checked_add(request.amount_sat))?;
    spent.checked_sub(burned)
}

fn pay(amount_sat: u64, script_pubkey: ScriptBuf) -> TxOut {
    TxOut { value: Amount::from_sat(amount_sat), script_pubkey }
}

/// The least fee with which Bitcoin nodes relay the transaction also when outputs of the treasury are spent by script.
fn relay_fee_sat(treasury: &Treasury, transaction: &Transaction, coins: &[&TreasuryCoin]) -> u64 {
    fee_sat(signed_weight(treasury, transaction, coins, SpendPath::Members), MIN_FEE_RATE_SAT_PER_KVB)
}

/// Weight of the transaction that spends these coins once it is signed, with the longest signatures.
pub(super) fn signed_weight(
    treasury: &Treasury,
    transaction: &Transaction,
    coins: &[&TreasuryCoin],
    path: SpendPath,
) -> u64 {
    // Marker and flag of a transaction with witnesses, a byte each.
    let unsigned = transaction.weight().to_wu().saturating_add(2);
    coins.iter().fold(unsigned, |sum, coin| sum.saturating_add(coin.witness_weight(treasury, path)))
}
