//! What fees the mempool asks for. Rates are by the discounted size, as everywhere on this chain.

use serde_json::{Value, json};

use crate::index::Waiting;

/// A step of the histogram ends once it has this many virtual bytes.
const STEP_VSIZE: u64 = 50_000;
/// What a block takes, in virtual bytes.
const BLOCK_VSIZE: u64 = 1_000_000;

/// In BTC per 1,000 virtual bytes, as Electrum wants rates.
pub(super) fn btc_per_kvb(sat_per_kvb: u64) -> Value {
    // Rates are far below 2^53, so the division is the only rounding.
    let rate = u32::try_from(sat_per_kvb).unwrap_or(u32::MAX);
    json!(f64::from(rate) / 1e8)
}

/// Rate in satoshi per 1,000 virtual bytes, discounted and full size of each waiting transaction, highest rate first.
fn rates(waiting: &Waiting) -> Vec<(u64, u64, u64)> {
    let rate = |fee_sat: u64, vsize: u64| fee_sat.saturating_mul(1_000).checked_div(vsize).unwrap_or(u64::MAX);
    let mut rates: Vec<_> =
        waiting.latest().map(|tx| (rate(tx.fee_sat, tx.discounted_vsize), tx.discounted_vsize, tx.vsize)).collect();
    rates.sort_unstable_by(|left, right| right.cmp(left));
    rates
}

/// `mempool.get_fee_histogram`: pairs of a rate in satoshi per virtual byte and the virtual bytes that pay it or more, up to
/// the pair before.
pub(super) fn histogram(waiting: &Waiting) -> Value {
    let mut steps = Vec::new();
    let (mut size, mut lowest) = (0_u64, 0);
    for (rate, vsize, _) in rates(waiting) {
        if size > STEP_VSIZE && rate < lowest {
            steps.push(step(lowest, size));
            size = 0;
        }
        (size, lowest) = (size.saturating_add(vsize), rate);
    }
    if size > 0 {
        steps.push(step(lowest, size));
    }
    Value::Array(steps)
}

fn step(sat_per_kvb: u64, size: u64) -> Value {
    let rate = u32::try_from(sat_per_kvb).unwrap_or(u32::MAX);
    json!([f64::from(rate) / 1_000.0, size])
}

/// The rate for one of the next `blocks` blocks, in satoshi per 1,000 virtual bytes: what has to be paid to stand before
/// all that does not fit into them.
pub(super) fn estimate(waiting: &Waiting, blocks: u32, floor: u64) -> u64 {
    let room = BLOCK_VSIZE.saturating_mul(blocks.into());
    let mut size = 0_u64;
    for (rate, _, vsize) in rates(waiting) {
        size = size.saturating_add(vsize);
        if size > room {
            return rate.saturating_add(1).max(floor);
        }
    }
    floor
}
