//! What a peer may cost.

use std::time::Duration;

/// What a peer may cost, and how long it may take. The default is for use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most connections that others have opened.
    pub inbound: usize,
    /// Most of these from one address.
    pub inbound_per_address: u32,
    /// How long both sides may take to introduce themselves.
    pub handshake: Duration,
    /// After what time without a word a peer is gone.
    pub silence: Duration,
    /// How often a peer is asked for a sign of life.
    pub ping_interval: Duration,
    /// How long a message may take on the way beside what its length takes at [`SLOWEST_BYTES_PER_S`].
    pub transfer: Duration,
    /// For how long a peer that misbehaved is not let in again.
    pub ban: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            inbound: 117,
            inbound_per_address: 32,
            handshake: Duration::from_secs(20),
            silence: Duration::from_secs(600),
            ping_interval: Duration::from_secs(60),
            transfer: Duration::from_secs(60),
            ban: Duration::from_secs(3_600),
        }
    }
}

/// A peer that takes or gives less than this is too slow.
const SLOWEST_BYTES_PER_S: usize = 16 << 10;

impl Limits {
    /// How long a message of so many bytes may take.
    pub(super) fn transfer_of(&self, length: usize) -> Duration {
        let seconds = u64::try_from(length / SLOWEST_BYTES_PER_S).unwrap_or(u64::MAX);
        self.transfer.saturating_add(Duration::from_secs(seconds))
    }
}

/// What a peer may send, in units: one for a message and one for each of its kilobytes.
const INCOME_PER_S: u64 = 1_000;
/// What it can save up.
const SAVINGS: u64 = 5_000;

/// What a peer has left to send.
#[derive(Debug)]
pub(super) struct Purse {
    units: u64,
    filled: std::time::Instant,
}

impl Purse {
    pub(super) fn full(now: std::time::Instant) -> Self {
        Self { units: SAVINGS, filled: now }
    }

    /// Pays for a message. How long to wait before the next is read.
    pub(super) fn pay(&mut self, length: usize, now: std::time::Instant) -> Duration {
        let millis = u64::try_from(now.saturating_duration_since(self.filled).as_millis()).unwrap_or(u64::MAX);
        let earned = millis.saturating_mul(INCOME_PER_S) / 1_000;
        if earned > 0 {
            self.units = self.units.saturating_add(earned).min(SAVINGS);
            self.filled = now;
        }
        let price = u64::try_from(length >> 10).unwrap_or(u64::MAX).saturating_add(1);
        let missing = price.saturating_sub(self.units);
        self.units = self.units.saturating_sub(price);
        Duration::from_millis(missing.saturating_mul(1_000) / INCOME_PER_S)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn who_sends_too_much_waits_and_earns_again() {
        let start = Instant::now();
        let mut purse = Purse::full(start);
        let waits: Vec<Duration> = (0..SAVINGS).map(|_| purse.pay(0, start)).collect();
        assert!(waits.iter().all(Duration::is_zero));
        assert_eq!(purse.pay(0, start), Duration::from_millis(1));
        assert_eq!(purse.pay(1 << 20, start), Duration::from_millis(1_025));
        let later = start + Duration::from_secs(1);
        assert_eq!(purse.pay(500 << 10, later), Duration::ZERO);
        assert!(purse.pay(1_000 << 10, later) > Duration::ZERO);
    }
}
