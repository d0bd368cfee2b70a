//! Batches that take each other's place: raised fees, and other alternatives of a coin after a reorganisation of Bitcoin.

use aquifer_assets::peg::PegoutRequest;
use bitcoin::{OutPoint, Transaction};

use super::{
    assemble::{BatchKind, BatchPlan, assemble, dust_limit_sat},
    change::ChangeForm,
    check::{BatchError, check_limits, rebuild, spent_coins},
    coins::TreasuryCoin,
    holdings::Holdings,
    rules::{FeeRateBounds, MAX_FAMILY, Treasury, clamp_fee_rate, fee_sat},
};

/// A batch is replaced when its proposer's estimate is above its fee rate by this much, in hundredths.
const CLEARLY_HIGHER_PERCENT: u64 = 125;

/// All batches that pay one set of requests. They spend the same coins of the books and make the same change, so at most one
/// of them comes to exist on Bitcoin, and for the books it does not matter which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Family {
    /// Height of the block with the first batch, which names the family.
    pub height: u32,
    /// The coins that each of them spends, with every alternative of each.
    pub coins: Vec<TreasuryCoin>,
    /// The requests that each of them pays, in the order of the payments.
    pub requests: Vec<PegoutRequest>,
    /// The change of the first batch, in the order of the outputs: that of the others is booked as this.
    pub change: Vec<TreasuryCoin>,
    /// Whether a later family spends change of this one.
    pub change_use: ChangeUse,
    /// The batches so far, oldest first.
    pub batches: Vec<FamilyBatch>,
}

/// Whether the change of a family was spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeUse {
    /// No batch spends it.
    Unspent,
    /// A later batch spends some of it.
    Spent,
}

/// A batch of a family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FamilyBatch {
    /// The outputs that it spends, in order.
    pub inputs: Vec<OutPoint>,
    /// Its fee in satoshi.
    pub fee_sat: u64,
}

/// Why a batch is not replaced now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoReplacement {
    /// Bitcoin does not show a coin: a batch of the family is confirmed, or what made the coin is not.
    #[error("no alternative of the coin {0} is confirmed and unspent")]
    CoinNotThere(OutPoint),
    /// The fee rate is not clearly above that of the batch.
    #[error("the batch has {found} sat/kvB, wanted are {wanted} sat/kvB")]
    FeeIsEnough {
        /// Its fee rate.
        found: u64,
        /// The fee rate now.
        wanted: u64,
    },
    /// The next step is more than members accept at this estimate.
    #[error("the least fee of a replacement comes to {0} sat/kvB, too far above the estimate")]
    StepTooLarge(u64),
    /// A payment would be dust.
    #[error("the payments are too small for a fee of {0} sat")]
    PaymentsTooSmall(u64),
    /// It would break a rule.
    #[error("{0}")]
    Rule(#[from] BatchError),
}

impl Family {
    /// The highest fee of a batch that spends exactly these outputs, in satoshi.
    fn highest_fee_sat(&self, inputs: &[OutPoint]) -> Option<u64> {
        self.batches.iter().filter(|batch| batch.inputs == inputs).map(|batch| batch.fee_sat).max()
    }

    /// The fee rate of the best paid batch that spends the same outputs as this one, in satoshi per 1,000 virtual bytes. A
    /// replacement is wanted when the estimate is above it. `None` if there is none: other alternatives are spent.
    pub fn outbid_rate_sat_per_kvb(&self, replacement: &BatchPlan) -> Option<u64> {
        self.highest_fee_sat(&replacement.inputs)?.saturating_mul(1_000).checked_div(replacement.virtual_size)
    }

    /// The least fee of this batch as a replacement, whatever its fee is.
    fn least_fee_sat(&self, batch: &BatchPlan) -> Result<u64, BatchError> {
        let family = self.height;
        if self.batches.len() >= MAX_FAMILY {
            return Err(BatchError::FamilyFull { family });
        }
        let Some(highest_sat) = self.highest_fee_sat(&batch.inputs) else { return Ok(batch.relay_fee_sat) };
        if self.change_use == ChangeUse::Spent {
            return Err(BatchError::ChangeSpent { family });
        }
        // BIP 125, rule 4, however it is signed: for its own size the rate at which Bitcoin nodes relay at all.
        Ok(highest_sat.saturating_add(batch.relay_fee_sat))
    }

    /// The batch with the names that the books have for its change.
    fn booked(&self, mut batch: BatchPlan) -> BatchPlan {
        for (coin, first) in batch.change.iter_mut().zip(&self.change) {
            coin.booked_as = first.outpoint;
        }
        BatchPlan { kind: BatchKind::Replacement { family: self.height }, ..batch }
    }

    fn requests(&self) -> Vec<&PegoutRequest> {
        self.requests.iter().collect()
    }
}

/// Plans a replacement. `is_there` says which outputs are confirmed, and not spent by a confirmed transaction.
///
/// # Errors
/// [`NoReplacement`]: none can be made, or none is wanted.
pub fn plan_replacement(
    treasury: &Treasury,
    family: &Family,
    is_there: impl Fn(&OutPoint) -> bool,
    fee_rate_sat_per_kvb: u64,
) -> Result<BatchPlan, NoReplacement> {
    let estimate = clamp_fee_rate(fee_rate_sat_per_kvb);
    let mut coins: Vec<&TreasuryCoin> = family.coins.iter().filter(|coin| is_there(&coin.outpoint)).collect();
    coins.sort_by_key(|coin| coin.booked_as);
    coins.dedup_by_key(|coin| coin.booked_as);
    if let Some(missing) = family.coins.iter().find(|coin| !coins.iter().any(|there| there.booked_as == coin.booked_as))
    {
        return Err(NoReplacement::CoinNotThere(missing.booked_as));
    }
    let requests = family.requests();
    let form = ChangeForm::of_change(&family.change);
    let build = |fee_sat| assemble(treasury, &coins, &requests, fee_sat, form);
    // Sizes do not depend on amounts.
    let draft = build(0).ok_or(BatchError::NotCanonical)?;
    if let Some(found) = family.outbid_rate_sat_per_kvb(&draft) {
        let clearly_higher = found.saturating_mul(CLEARLY_HIGHER_PERCENT).div_ceil(100);
        if estimate < clearly_higher {
            return Err(NoReplacement::FeeIsEnough { found, wanted: estimate });
        }
    }
    let least_sat = family.least_fee_sat(&draft)?;
    let wanted_sat = fee_sat(draft.virtual_size.saturating_mul(4), estimate).max(least_sat);
    // A smaller step rather than none, and none rather than dust.
    let room = |request: &&PegoutRequest| request.amount_sat.saturating_sub(dust_limit_sat(&request.parent_script));
    let count = u64::try_from(requests.len()).unwrap_or(u64::MAX);
    let affordable_sat = requests.iter().map(room).min().unwrap_or(0).saturating_mul(count);
    let fee_sat = wanted_sat.min(affordable_sat);
    if fee_sat < least_sat {
        return Err(NoReplacement::PaymentsTooSmall(least_sat));
    }
    let plan = build(fee_sat).ok_or(NoReplacement::PaymentsTooSmall(fee_sat))?;
    if !plan.has_fee_within(&FeeRateBounds::around(estimate)) {
        return Err(NoReplacement::StepTooLarge(plan.fee_rate_sat_per_kvb));
    }
    Ok(family.booked(plan))
}

/// Checks a replacement of the batches of a family, up to what Bitcoin says: that all its inputs are confirmed and not spent
/// by a confirmed transaction, so that no batch of the family is confirmed; and that fees are above
/// [`Family::outbid_rate_sat_per_kvb`]. Returns the batch as this member would have built it.
///
/// # Errors
/// [`BatchError`].
pub fn check_replacement(
    treasury: &Treasury,
    family: &Family,
    transaction: &Transaction,
    bounds: &FeeRateBounds,
) -> Result<BatchPlan, BatchError> {
    let holdings = Holdings::from(&family.coins);
    let (spent, fee_sat) = spent_coins(&holdings, transaction)?;
    if spent.len() != holdings.held {
        return Err(BatchError::OtherCoins { family: family.height });
    }
    let form = ChangeForm::of_change(&family.change);
    let batch = rebuild(treasury, &spent, &family.requests(), fee_sat, form, transaction)?;
    let least_sat = family.least_fee_sat(&batch)?;
    if fee_sat < least_sat {
        return Err(BatchError::FeeIncrement { fee_sat, least_sat });
    }
    check_limits(treasury, &spent, &batch, bounds)?;
    Ok(family.booked(batch))
}
