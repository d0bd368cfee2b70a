//! Transactions of peers that cannot be admitted yet: those whose parents are missing, and claims of deposits that this
//! member's bitcoind does not know deep enough. A peer tells of them once; so they are kept for a while and tried again.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use elements::{Txid, Wtxid};

/// Most that wait.
const MOST: usize = 100;
/// Bytes that they may have together.
const MOST_BYTES: usize = 4_000_000;
/// How long one waits.
const EXPIRY: Duration = Duration::from_secs(20 * 60);

struct Held {
    bytes: Bytes,
    missing: Vec<Txid>,
    since: Instant,
}

#[derive(Default)]
pub(super) struct Waiting {
    held: HashMap<Wtxid, Held>,
    bytes: usize,
}

impl Waiting {
    /// Keeps a transaction; the one that waits longest makes room.
    pub(super) fn put(&mut self, wtxid: Wtxid, bytes: Bytes, missing: Vec<Txid>, now: Instant) {
        if let Some(held) = self.held.get_mut(&wtxid) {
            held.missing = missing;
            return;
        }
        self.bytes = self.bytes.saturating_add(bytes.len());
        self.held.insert(wtxid, Held { bytes, missing, since: now });
        while self.held.len() > MOST || self.bytes > MOST_BYTES {
            let oldest = self.held.iter().min_by_key(|(_, held)| held.since).map(|(wtxid, _)| *wtxid);
            let Some(oldest) = oldest else { return };
            self.remove(&oldest);
        }
    }

    pub(super) fn remove(&mut self, wtxid: &Wtxid) {
        if let Some(held) = self.held.remove(wtxid) {
            self.bytes = self.bytes.saturating_sub(held.bytes.len());
        }
    }

    pub(super) fn contains(&self, wtxid: &Wtxid) -> bool {
        self.held.contains_key(wtxid)
    }

    /// Those that miss a transaction.
    pub(super) fn children(&self, txid: &Txid) -> Vec<Bytes> {
        let children = self.held.values().filter(|held| held.missing.contains(txid));
        children.map(|held| held.bytes.clone()).collect()
    }

    /// All that have not waited too long, oldest first.
    pub(super) fn all(&mut self, now: Instant) -> Vec<Bytes> {
        let is_expired = |held: &Held| now.saturating_duration_since(held.since) > EXPIRY;
        let expired: Vec<Wtxid> =
            self.held.iter().filter(|(_, held)| is_expired(held)).map(|(wtxid, _)| *wtxid).collect();
        expired.iter().for_each(|wtxid| self.remove(wtxid));
        let mut all: Vec<&Held> = self.held.values().collect();
        all.sort_by_key(|held| held.since);
        all.into_iter().map(|held| held.bytes.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(number: u8) -> (Wtxid, Txid) {
        (Wtxid::from_byte_array([number; 32]), Txid::from_byte_array([number; 32]))
    }

    #[test]
    fn they_are_bounded_by_number_bytes_and_time() {
        let (mut waiting, start) = (Waiting::default(), Instant::now());
        for number in 0..=100_u8 {
            let now = start + Duration::from_secs(number.into());
            waiting.put(names(number).0, Bytes::from(vec![number; 10]), vec![names(200).1], now);
        }
        assert!(!waiting.contains(&names(0).0) && waiting.contains(&names(1).0));
        assert_eq!((waiting.held.len(), waiting.bytes), (MOST, 10 * MOST));
        assert_eq!(waiting.children(&names(200).1).len(), MOST);
        assert!(waiting.children(&names(201).1).is_empty());
        let late = start + Duration::from_secs(300);
        waiting.put(names(150).0, Bytes::from(vec![0; MOST_BYTES - 500]), Vec::new(), late);
        assert!(waiting.held.len() <= 51 && waiting.bytes <= MOST_BYTES, "{}", waiting.held.len());
        assert_eq!(waiting.all(start + EXPIRY + Duration::from_secs(250)).len(), 1);
        assert_eq!(waiting.all(late + EXPIRY + Duration::from_secs(1)).len(), 0);
        assert_eq!(waiting.bytes, 0);
    }
}
