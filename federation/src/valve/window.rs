//! What was paid in the rolling window, in bounded memory.
//!
//! Time is cut into slices of `1/288` of the window (five minutes of a day), aligned to the epoch. A payment counts from the
//! moment it is charged until one window after the *end* of its slice, so never shorter than a window, and at most one
//! slice longer. Hence: if what counts never exceeds a limit, no window of that length, wherever it begins, contains more
//! payments than the limit. There are at most 290 slices, however many blocks or payments there are.

use std::collections::VecDeque;

use borsh::{BorshDeserialize, BorshSerialize};

/// Slices of a window.
const SLICES: u64 = 288;

/// All payments of one slice of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
struct Slice {
    /// The first second after it.
    end_seconds: u64,
    paid_sat: u64,
}

/// The payments that still count.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(super) struct Window {
    /// Oldest first.
    slices: VecDeque<Slice>,
}

impl Window {
    pub(super) fn new() -> Self {
        Self { slices: VecDeque::new() }
    }

    /// Counts a payment from now on. Times must not fall.
    pub(super) fn charge(&mut self, window_seconds: u64, now_seconds: u64, amount_sat: u64) {
        if amount_sat == 0 {
            return;
        }
        let length = window_seconds.div_ceil(SLICES).max(1);
        let into_slice = now_seconds.checked_rem(length).unwrap_or(0);
        let end_seconds = now_seconds.saturating_add(length.saturating_sub(into_slice));
        match self.slices.back_mut() {
            Some(last) if last.end_seconds >= end_seconds => last.paid_sat = last.paid_sat.saturating_add(amount_sat),
            _ => self.slices.push_back(Slice { end_seconds, paid_sat: amount_sat }),
        }
    }

    /// Drops what counts no more.
    pub(super) fn forget(&mut self, window_seconds: u64, now_seconds: u64) {
        while self.slices.front().is_some_and(|slice| slice.end_seconds.saturating_add(window_seconds) <= now_seconds) {
            self.slices.pop_front();
        }
    }

    /// Slices kept.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.slices.len()
    }

    /// How what counts falls from now on, if nothing more is paid.
    pub(super) fn outlook(&self, window_seconds: u64, now_seconds: u64) -> Outlook {
        // From the end, so that the last amount is 0 whatever the sums are.
        let mut counting_sat = 0u64;
        let mut steps = Vec::with_capacity(self.slices.len().saturating_add(1));
        for slice in self.slices.iter().rev() {
            let from_seconds = slice.end_seconds.saturating_add(window_seconds).max(now_seconds);
            steps.push(Step { from_seconds, counting_sat });
            counting_sat = counting_sat.saturating_add(slice.paid_sat);
        }
        steps.push(Step { from_seconds: now_seconds, counting_sat });
        steps.reverse();
        Outlook { steps }
    }
}

#[derive(Clone, Copy, Debug)]
struct Step {
    from_seconds: u64,
    counting_sat: u64,
}

/// What counts from now on: times rise, amounts fall, the last amount is 0.
#[derive(Clone, Debug)]
pub(super) struct Outlook {
    steps: Vec<Step>,
}

impl Outlook {
    /// What counts now, in satoshi.
    pub(super) fn counting_now_sat(&self) -> u64 {
        self.steps.first().map_or(0, |step| step.counting_sat)
    }

    /// The first time at which no more than `counting_sat` counts, and what then counts.
    pub(super) fn first_at_most(&self, counting_sat: u64) -> (u64, u64) {
        let position = self.steps.partition_point(|step| step.counting_sat > counting_sat);
        self.steps.get(position).or(self.steps.last()).map_or((0, 0), |step| (step.from_seconds, step.counting_sat))
    }
}
