//! Who may leave now, who waits, and why: the decision on all pending requests together.

use std::collections::BTreeSet;

use elements::OutPoint;

use super::{Closure, Decision, Limit, Request, RequestId, Valve, Verdict, WaitReason, window::Outlook};
use crate::treasury::PayoutKind;

/// The oldest due request that does not leave now. Younger ones may leave only where they do not delay it.
struct Head {
    request: OutPoint,
    amount_sat: u64,
    /// What will still count of earlier batches, and whether this batch will, when it can leave.
    then: Then,
}

enum Then {
    /// Earlier payments have made room, this batch still counts.
    ThisBatchCounts { earlier_sat: u64 },
    /// It has to wait until this batch counts no more, so nothing in this batch delays it further.
    NothingCounts,
}

/// The requests in their order, and what has been given out so far.
struct Queue<'a> {
    valve: &'a Valve,
    outlook: Outlook,
    /// Charged to the window by what leaves now.
    released_sat: u64,
    /// All that was in front, leaving or not, for the estimates.
    ahead_sat: u64,
    head: Option<Head>,
}

/// Decides on all requests. The result does not depend on their order.
pub(super) fn decide(valve: &Valve, requests: &[Request]) -> Vec<Decision> {
    let mut sorted: Vec<&Request> = requests.iter().collect();
    sorted.sort_by_key(|request| (request.requested_seconds, request.outpoint));
    let mut seen = BTreeSet::new();
    sorted.retain(|request| seen.insert(request.outpoint));
    let charged: BTreeSet<&RequestId> = valve.state.charged.iter().collect();
    let closure = valve.closure();
    let mut queue = Queue {
        valve,
        outlook: valve.state.window.outlook(valve.settings.window_seconds, valve.state.time_seconds),
        released_sat: 0,
        ahead_sat: 0,
        head: None,
    };
    let decisions = sorted.into_iter().map(|request| {
        let verdict = match closure {
            Some(closure) => Verdict::Wait { reason: WaitReason::Closed(closure), expected_seconds: None },
            None if charged.contains(&RequestId::of(&request.outpoint)) => Verdict::Release,
            None => queue.next(request),
        };
        Decision { request: request.outpoint, verdict }
    });
    decisions.collect()
}

/// Why a request can never be paid while the treasury holds no more than this.
pub(super) fn never(valve: &Valve, amount_sat: u64, kind: PayoutKind, reserve_sat: u64) -> Option<WaitReason> {
    let settings = &valve.settings;
    let minimum_sat = settings.minimums.of(kind);
    if amount_sat < minimum_sat {
        return Some(WaitReason::BelowMinimum { amount_sat, minimum_sat });
    }
    let limits = [
        (settings.window_limit_sat, Limit::Window),
        (settings.window_cap_sat(reserve_sat), Limit::ReserveShareOfWindow),
        (settings.batch_cap_sat(reserve_sat), Limit::ReserveShareOfBatch),
    ];
    let broken = limits.into_iter().find(|(limit_sat, _)| amount_sat > *limit_sat);
    broken.map(|(limit_sat, limit)| WaitReason::TooLarge { amount_sat, limit_sat, limit })
}

impl Queue<'_> {
    /// Decides on the next request in order.
    fn next(&mut self, request: &Request) -> Verdict {
        let Request { amount_sat, kind, .. } = *request;
        let reserve_sat = self.valve.state.reserve_sat;
        if let Some(reason) = never(self.valve, amount_sat, kind, reserve_sat) {
            return Verdict::Wait { reason, expected_seconds: None };
        }
        let delay_seconds = self.valve.settings.delay_seconds(amount_sat);
        let due_seconds = request.requested_seconds.saturating_add(delay_seconds);
        let verdict = if due_seconds > self.valve.state.time_seconds {
            Err(WaitReason::Delay { delay_seconds })
        } else {
            self.fits(amount_sat).inspect_err(|_| self.protect(request))
        };
        let verdict = match verdict {
            Ok(()) => {
                self.released_sat = self.released_sat.saturating_add(amount_sat);
                Verdict::Release
            }
            Err(reason) => Verdict::Wait { reason, expected_seconds: Some(self.expected(amount_sat, due_seconds)) },
        };
        self.ahead_sat = self.ahead_sat.saturating_add(amount_sat);
        verdict
    }

    /// Whether a due request may leave with those before it.
    fn fits(&self, amount_sat: u64) -> Result<(), WaitReason> {
        let (settings, reserve_sat) = (&self.valve.settings, self.valve.state.reserve_sat);
        let batch_sat = self.released_sat.saturating_add(amount_sat);
        if self.outlook.counting_now_sat().saturating_add(batch_sat) > settings.window_cap_sat(reserve_sat) {
            return Err(WaitReason::WindowFull);
        }
        if batch_sat > settings.batch_cap_sat(reserve_sat) {
            return Err(WaitReason::BatchFull);
        }
        match &self.head {
            Some(head) if self.delays(head, batch_sat) => Err(WaitReason::Behind { older: head.request }),
            _ => Ok(()),
        }
    }

    /// Whether a batch of this amount would let the head leave later than without it. The batch also takes from the
    /// reserve, of which the caps are shares.
    fn delays(&self, head: &Head, batch_sat: u64) -> bool {
        let settings = &self.valve.settings;
        let rest_sat = self.valve.state.reserve_sat.saturating_sub(batch_sat);
        let counting_sat = match head.then {
            Then::ThisBatchCounts { earlier_sat } => earlier_sat.saturating_add(batch_sat),
            Then::NothingCounts => 0,
        };
        counting_sat.saturating_add(head.amount_sat) > settings.window_cap_sat(rest_sat)
            || head.amount_sat > settings.batch_cap_sat(rest_sat)
    }

    /// Makes a due request that does not leave now the head, if there is none.
    fn protect(&mut self, request: &Request) {
        let amount_sat = request.amount_sat;
        let rest_sat = self.valve.state.reserve_sat.saturating_sub(self.released_sat);
        // What leaves now may take so much from the reserve that this one is too large afterwards: nothing to protect.
        if self.head.is_some() || never(self.valve, amount_sat, request.kind, rest_sat).is_some() {
            return;
        }
        let room_sat = self.valve.settings.window_cap_sat(rest_sat).saturating_sub(amount_sat);
        let then = match room_sat.checked_sub(self.released_sat) {
            Some(room_sat) => Then::ThisBatchCounts { earlier_sat: self.outlook.first_at_most(room_sat).1 },
            None => Then::NothingCounts,
        };
        self.head = Some(Head { request: request.outpoint, amount_sat, then });
    }

    /// When a request may leave if all before it leave as soon as they can, in seconds.
    fn expected(&self, amount_sat: u64, due_seconds: u64) -> u64 {
        let settings = &self.valve.settings;
        let cap_sat = settings.window_cap_sat(self.valve.state.reserve_sat).max(1);
        let needed_sat = self.ahead_sat.saturating_add(amount_sat);
        let whole_windows = needed_sat.saturating_sub(1).checked_div(cap_sat).unwrap_or(0);
        let in_last_sat = needed_sat.saturating_sub(whole_windows.saturating_mul(cap_sat));
        let (room_seconds, _) = self.outlook.first_at_most(cap_sat.saturating_sub(in_last_sat));
        room_seconds.saturating_add(whole_windows.saturating_mul(settings.window_seconds)).max(due_seconds)
    }
}

/// Whether the valve is closed to all requests alike.
pub(super) fn closure(valve: &Valve) -> Option<Closure> {
    let state = &valve.state;
    if let Some(since_height) = state.switch.closed_since() {
        return Some(Closure::Halted { since_height });
    }
    let (reserve_sat, liabilities_sat) = (state.reserve_sat, state.liabilities_sat);
    (reserve_sat < liabilities_sat).then_some(Closure::Shortfall { reserve_sat, liabilities_sat })
}
