//! What has to go: the worst when there is no room, and what has waited too long. What was pushed out for want of room sets
//! a floor under the fee rate, which sinks to nothing in time, so that the same does not come again at once.

use elements::Txid;

use super::policy::{INCREMENTAL_FEE_RATE_SAT_PER_KVB, MIN_FEE_RATE_SAT_PER_KVB};
use super::pool::Pool;

/// Time in which the floor sinks to half, in seconds, while the pool is nearly full. It sinks twice as fast in a pool that
/// is less than half full, four times in one that is less than a quarter full.
const FLOOR_HALF_LIFE_S: u64 = 12 * 60 * 60;

/// Bounds of the pool.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Memory that waiting transactions may take, in bytes (`-maxmempool`).
    pub memory_bytes: u64,
    /// How long a transaction may wait, in seconds (`-mempoolexpiry`).
    pub expiry_s: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { memory_bytes: 300_000_000, expiry_s: 336 * 60 * 60 }
    }
}

/// The rolling floor under the fee rate.
#[derive(Clone, Debug, Default)]
pub(super) struct Floor {
    /// What was pushed out last, in satoshi per 1,000 vbytes, and the increment.
    start_sat_per_kvb: u64,
    /// How far it has sunk since, in seconds of the slowest pace.
    age_s: u64,
    /// Up to when `age_s` counts, in seconds since 1970.
    counted_to: u32,
    /// Whether a block has come since it was set: only then is there new room, and it begins to sink.
    sinking: bool,
}

impl Floor {
    /// The floor at a time, for a pool with `used` of `limit` bytes taken, in satoshi per 1,000 vbytes.
    pub(super) fn rate(&mut self, now: u32, used: u64, limit: u64) -> u64 {
        let pace = if used < limit / 4 {
            4
        } else if used < limit / 2 {
            2
        } else {
            1
        };
        if self.sinking {
            let passed = u64::from(now.saturating_sub(self.counted_to));
            self.age_s = self.age_s.saturating_add(passed.saturating_mul(pace));
        }
        self.counted_to = now;
        let rate = self.sunk();
        if rate < INCREMENTAL_FEE_RATE_SAT_PER_KVB / 2 {
            self.start_sat_per_kvb = 0;
            return MIN_FEE_RATE_SAT_PER_KVB;
        }
        rate.max(MIN_FEE_RATE_SAT_PER_KVB)
    }

    /// Halved for every half-life, and in a straight line between.
    fn sunk(&self) -> u64 {
        let (halvings, rest) = (self.age_s / FLOOR_HALF_LIFE_S, self.age_s % FLOOR_HALF_LIFE_S);
        let halved = u32::try_from(halvings).ok().and_then(|by| self.start_sat_per_kvb.checked_shr(by)).unwrap_or(0);
        let scaled = u128::from(halved) * u128::from(2 * FLOOR_HALF_LIFE_S - rest) / u128::from(2 * FLOOR_HALF_LIFE_S);
        u64::try_from(scaled).unwrap_or(u64::MAX)
    }

    /// Something of this rate was pushed out: whatever comes must pay more.
    fn raise(&mut self, now: u32, pushed_out_sat_per_kvb: u64) {
        let rate = pushed_out_sat_per_kvb.saturating_add(INCREMENTAL_FEE_RATE_SAT_PER_KVB);
        if rate > self.sunk() {
            *self = Floor { start_sat_per_kvb: rate, age_s: 0, counted_to: now, sinking: false };
        }
    }

    /// A block was connected.
    pub(super) fn block_connected(&mut self, now: u32) {
        if !self.sinking {
            self.sinking = true;
            self.counted_to = now;
        }
    }
}

/// Takes out the worst families until the rest fits. What went.
pub(super) fn make_room(pool: &mut Pool, limits: &Limits, now: u32) -> Vec<Txid> {
    let mut gone = Vec::new();
    while pool.memory() > limits.memory_bytes {
        let Some((txid, family)) = pool.worst() else { break };
        pool.floor.raise(now, family.rate().sat_per_kvb());
        gone.extend(pool.take_families([txid]));
    }
    gone
}

/// Takes out what has waited too long, with what depends on it. What went.
pub(super) fn expire(pool: &mut Pool, limits: &Limits, now: u32) -> Vec<Txid> {
    let old = pool.admitted_before(now.saturating_sub(limits.expiry_s));
    pool.take_families(old)
}
