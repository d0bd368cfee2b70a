//! Which announced transactions a peer is asked for, and when.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::inventory::Inventory;

/// Announcements of a peer that wait to be asked for (`MAX_PEER_TX_ANNOUNCEMENTS`). Later ones are dropped.
const MAX_ANNOUNCED: usize = 5_000;
/// Transactions that a peer is asked for at a time (`MAX_PEER_TX_REQUEST_IN_FLIGHT`).
const MAX_IN_FLIGHT: usize = 100;
/// How long a peer may take to send one.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(super) struct Requests {
    /// With the time from which on they may be asked for.
    announced: VecDeque<(Instant, Inventory)>,
    in_flight: VecDeque<(Instant, Inventory)>,
}

impl Requests {
    pub(super) fn announced(&mut self, entry: Inventory, due: Instant) {
        if self.announced.len() < MAX_ANNOUNCED {
            self.announced.push_back((due, entry));
        }
    }

    /// Takes those that can be asked for now; what comes of them is for the caller to say, with [`Requests::asked`].
    pub(super) fn due(&mut self, now: Instant) -> Vec<Inventory> {
        self.in_flight.retain(|(asked, _)| now.saturating_duration_since(*asked) < ANSWER_LIMIT);
        let mut room = MAX_IN_FLIGHT.saturating_sub(self.in_flight.len());
        let mut due = Vec::new();
        self.announced.retain(|(from, entry)| {
            let is_due = *from <= now && room > 0;
            if is_due {
                room -= 1;
                due.push(*entry);
            }
            !is_due
        });
        due
    }

    pub(super) fn asked(&mut self, entry: Inventory, now: Instant) {
        self.in_flight.push_back((now, entry));
    }

    /// A transaction came, or will not. Peers answer in order, so one whose hash was not asked for is the first that was
    /// asked for by its id.
    pub(super) fn answered(&mut self, hash: &[u8; 32], by_id: impl Fn(&Inventory) -> bool) {
        let exact = self.in_flight.iter().position(|(_, entry)| entry.hash == *hash);
        let place = exact.or_else(|| self.in_flight.iter().position(|(_, entry)| by_id(entry)));
        if let Some(place) = place {
            self.in_flight.remove(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use elements::Wtxid;

    use super::*;

    fn entry(number: usize) -> Inventory {
        let mut hash = [0; 32];
        hash.iter_mut().zip(number.to_le_bytes()).for_each(|(to, from)| *to = from);
        Inventory::wtxid(Wtxid::from_byte_array(hash))
    }

    #[test]
    fn a_peer_is_asked_for_so_many_at_a_time_and_keeps_so_many_waiting() {
        let (mut requests, start) = (Requests::default(), Instant::now());
        for number in 0..2 * MAX_ANNOUNCED {
            requests.announced(entry(number), start);
        }
        let due = requests.due(start);
        assert_eq!(due, (0..MAX_IN_FLIGHT).map(entry).collect::<Vec<_>>());
        due.iter().for_each(|entry| requests.asked(*entry, start));
        assert!(requests.due(start).is_empty());
        requests.answered(&entry(5).hash, |_| false);
        assert_eq!(requests.due(start), [entry(MAX_IN_FLIGHT)]);
        assert_eq!(requests.due(start + ANSWER_LIMIT).len(), MAX_IN_FLIGHT);
        assert_eq!(requests.announced.len(), MAX_ANNOUNCED - 2 * MAX_IN_FLIGHT - 1);
    }

    #[test]
    fn one_that_another_peer_is_asked_for_waits() {
        let (mut requests, start) = (Requests::default(), Instant::now());
        requests.announced(entry(1), start + Duration::from_secs(2));
        assert!(requests.due(start).is_empty());
        assert_eq!(requests.due(start + Duration::from_secs(2)), [entry(1)]);
    }
}
