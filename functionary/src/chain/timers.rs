//! Alarms of the chain's thread, earliest first.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use aquifer_federation::consensus::{BlockId, TimerId};

/// What an alarm is for.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Alarm {
    /// A time-out of the engine.
    Engine(TimerId),
    /// Time to see whether the next height shall start.
    Pace,
    /// Time to judge a block again that could not be judged.
    JudgeAgain { height: u32, block: BlockId },
    /// Time to fetch a body again.
    FetchAgain { height: u32, block: BlockId },
    /// Twice a second: missing shares, missing blocks.
    Tick,
}

struct Entry {
    at: Instant,
    /// Keeps alarms of one instant in the order in which they were set.
    sequence: u64,
    alarm: Alarm,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.sequence).cmp(&(other.at, other.sequence))
    }
}

/// The alarms that are set.
#[derive(Default)]
pub(super) struct Timers {
    heap: BinaryHeap<Reverse<Entry>>,
    sequence: u64,
}

impl Timers {
    /// Sets an alarm.
    pub(super) fn after(&mut self, delay: Duration, alarm: Alarm) {
        self.at(Instant::now() + delay, alarm);
    }

    /// Sets an alarm for an instant.
    pub(super) fn at(&mut self, at: Instant, alarm: Alarm) {
        self.sequence = self.sequence.wrapping_add(1);
        self.heap.push(Reverse(Entry { at, sequence: self.sequence, alarm }));
    }

    /// Takes the next alarm that is due.
    pub(super) fn due(&mut self) -> Option<Alarm> {
        let next = self.heap.peek()?;
        if next.0.at > Instant::now() {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry.alarm)
    }

    /// How long until the next alarm.
    pub(super) fn until_next(&self) -> Duration {
        self.heap.peek().map_or(Duration::from_secs(1), |next| next.0.at.saturating_duration_since(Instant::now()))
    }
}
