//! What waiting transactions pay, and what a place in the next blocks costs. Rates are in satoshi per 1,000 virtual bytes: whole
//! numbers can be ordered.

use std::cmp::Reverse;

use aquifer_assets::block::MAX_BLOCK_WEIGHT;

use crate::index::Waiting;

/// A step of a histogram ends once it has this many virtual bytes.
const STEP_VSIZE: u64 = 50_000;
/// Virtual size of what fits into a block.
const BLOCK_VSIZE: u64 = MAX_BLOCK_WEIGHT / 4;

/// The rate of a fee.
pub(super) fn rate(fee_sat: u64, vsize: u64) -> u64 {
    fee_sat.saturating_mul(1_000).checked_div(vsize).unwrap_or(0)
}

/// A rate in satoshi per virtual byte.
pub(super) fn sat_per_vbyte(sat_per_kvb: u64) -> f64 {
    f64::from(u32::try_from(sat_per_kvb).unwrap_or(u32::MAX)) / 1_000.0
}

/// Rates of the discounted size, as everywhere on this chain, and the full sizes that take up room, highest rate first.
pub(super) struct Rates(Vec<(u64, u64)>);

impl Rates {
    pub(super) fn of(waiting: &Waiting) -> Self {
        let mut rates: Vec<_> =
            waiting.latest().map(|entry| (rate(entry.fee_sat, entry.discounted_vsize), entry.vsize)).collect();
        rates.sort_unstable_by_key(|(rate, _)| Reverse(*rate));
        Self(rates)
    }

    /// The rate that brings a transaction into one of the next `blocks` blocks if nothing else comes: a little more than the first
    /// that is left out pays, and never less than what is admitted.
    pub(super) fn for_target(&self, blocks: u32, floor: u64) -> u64 {
        let mut room = BLOCK_VSIZE.saturating_mul(blocks.into());
        for (rate, vsize) in &self.0 {
            match room.checked_sub(*vsize) {
                Some(rest) => room = rest,
                None => return floor.max(rate.saturating_add(1)),
            }
        }
        floor
    }
}

/// Pairs of a rate and the size of what pays that, up to the rate of the pair before; of transactions by their rates and sizes.
pub(super) fn histogram(transactions: impl Iterator<Item = (u64, u64)>) -> Vec<(u64, u64)> {
    let mut sorted: Vec<(u64, u64)> = transactions.collect();
    sorted.sort_unstable_by_key(|(rate, _)| Reverse(*rate));
    let mut steps: Vec<(u64, u64)> = Vec::new();
    for (rate, vsize) in sorted {
        match steps.last_mut() {
            Some(step) if step.1 <= STEP_VSIZE || step.0 == rate => *step = (rate, step.1.saturating_add(vsize)),
            _ => steps.push((rate, vsize)),
        }
    }
    steps
}
