//! What the rest of the node may look at of the chain's thread.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use aquifer_federation::roster::MemberIndex;

/// So many alarms are shown, the latest.
const MAX_ALARMS: usize = 32;
/// So many heights are shown, the latest.
const MAX_HEIGHTS: usize = 32;
/// Longest version of a peer that is shown, in characters.
const MAX_VERSION_LEN: usize = 32;

/// What the rest of the node may look at.
#[derive(Default)]
pub struct CoreStatus {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    round: u32,
    peers: BTreeMap<MemberIndex, PeerNote>,
    alarms: VecDeque<String>,
    waiting_batches: BTreeMap<u32, String>,
    pace: Pace,
    started: Option<Instant>,
    decided: Option<(HeightTimes, Instant)>,
}

/// What another member told of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerNote {
    /// Its final height, as it last told.
    pub height: u32,
    /// Its version; empty before its first greeting.
    pub version: String,
    /// When anything came from it.
    pub heard: Option<Instant>,
}

/// How the heights went that this member agreed on, since it started. What it fetched when it was behind is not in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    /// Heights.
    pub heights: u64,
    /// Rounds beyond the first of each height.
    pub extra_rounds: u64,
    /// From the start of a height to the decision, in sum.
    pub deciding: Duration,
    /// From the decision to the last signature that was needed, in sum.
    pub signing: Duration,
    /// Blocks by the member that proposed them.
    pub proposed: BTreeMap<MemberIndex, u64>,
    /// The latest heights, oldest first.
    pub latest: VecDeque<HeightTimes>,
}

/// How one height went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeightTimes {
    /// The height.
    pub height: u32,
    /// The round in which it was decided, from 0.
    pub round: u32,
    /// Who proposed the block.
    pub proposer: Option<MemberIndex>,
    /// From the start of the height to the decision.
    pub deciding: Duration,
    /// From the decision to the last signature that was needed.
    pub signing: Duration,
}

impl CoreStatus {
    fn update(&self, change: impl FnOnce(&mut Inner)) {
        change(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn read<T>(&self, read: impl FnOnce(&Inner) -> T) -> T {
        read(&self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Round of the height that is being agreed on.
    pub fn round(&self) -> u32 {
        self.read(|inner| inner.round)
    }

    /// What another member told of itself.
    pub fn peer(&self, member: MemberIndex) -> PeerNote {
        self.read(|inner| inner.peers.get(&member).cloned().unwrap_or_default())
    }

    /// What an operator must look at, oldest first.
    pub fn alarms(&self) -> Vec<String> {
        self.read(|inner| inner.alarms.iter().cloned().collect())
    }

    /// Batches of final blocks that this member has not signed, by height, and what each waits for.
    pub fn waiting_batches(&self) -> BTreeMap<u32, String> {
        self.read(|inner| inner.waiting_batches.clone())
    }

    /// How the heights went.
    pub fn pace(&self) -> Pace {
        self.read(|inner| inner.pace.clone())
    }

    pub(super) fn note_waiting_batches(&self, waiting: BTreeMap<u32, String>) {
        self.update(|inner| {
            for (height, reason) in waiting.iter().filter(|(height, _)| !inner.waiting_batches.contains_key(height)) {
                tracing::info!(height, reason, "a peg-out batch waits to be signed");
            }
            inner.waiting_batches = waiting;
        });
    }

    pub(super) fn note_round(&self, round: u32) {
        self.update(|inner| inner.round = round);
    }

    pub(super) fn note_peer_height(&self, member: MemberIndex, height: u32) {
        self.update(|inner| inner.peers.entry(member).or_default().height = height);
    }

    pub(super) fn note_peer_version(&self, member: MemberIndex, version: &str) {
        let version = version.chars().take(MAX_VERSION_LEN).collect();
        self.update(|inner| inner.peers.entry(member).or_default().version = version);
    }

    pub(super) fn note_heard(&self, member: MemberIndex) {
        self.update(|inner| inner.peers.entry(member).or_default().heard = Some(Instant::now()));
    }

    pub(super) fn note_started(&self) {
        self.update(|inner| inner.started = Some(Instant::now()));
    }

    pub(super) fn note_decided(&self, height: u32, round: u32, proposer: Option<MemberIndex>) {
        let now = Instant::now();
        self.update(|inner| {
            // A height that was decided before a restart has not been started since: nobody knows how long it took.
            let Some(started) = inner.started.take() else { return };
            let deciding = now.duration_since(started);
            let times = HeightTimes { height, round, proposer, deciding, signing: Duration::ZERO };
            inner.decided = Some((times, now));
        });
    }

    pub(super) fn note_final(&self, height: u32) {
        self.update(|inner| {
            inner.started = None;
            let Some((mut times, decided)) = inner.decided.take().filter(|(times, _)| times.height == height) else {
                return;
            };
            times.signing = decided.elapsed();
            let pace = &mut inner.pace;
            pace.heights = pace.heights.saturating_add(1);
            pace.extra_rounds = pace.extra_rounds.saturating_add(times.round.into());
            pace.deciding = pace.deciding.saturating_add(times.deciding);
            pace.signing = pace.signing.saturating_add(times.signing);
            if let Some(proposer) = times.proposer {
                let proposed = pace.proposed.entry(proposer).or_default();
                *proposed = proposed.saturating_add(1);
            }
            if pace.latest.len() >= MAX_HEIGHTS {
                pace.latest.pop_front();
            }
            pace.latest.push_back(times);
        });
    }

    /// Raises an alarm that an operator must look at.
    pub(crate) fn raise(&self, alarm: String) {
        tracing::error!("ALARM: {alarm}");
        self.update(|inner| {
            inner.alarms.retain(|known| *known != alarm);
            if inner.alarms.len() >= MAX_ALARMS {
                inner.alarms.pop_front();
            }
            inner.alarms.push_back(alarm);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heights_that_were_agreed_on_here_are_counted() {
        let status = CoreStatus::default();
        let proposer = MemberIndex(2);
        for height in 1..=40 {
            status.note_started();
            status.note_decided(height, u32::from(height == 7), Some(proposer));
            status.note_final(height);
        }
        // Decided before a restart, and fetched from others.
        status.note_decided(41, 0, Some(proposer));
        status.note_final(41);
        status.note_started();
        status.note_final(42);
        status.note_decided(43, 0, Some(proposer));
        status.note_final(43);
        let pace = status.pace();
        assert_eq!((pace.heights, pace.extra_rounds, pace.proposed.get(&proposer)), (40, 1, Some(&40)));
        assert_eq!(pace.latest.len(), MAX_HEIGHTS);
        assert_eq!(pace.latest.back().map(|times| times.height), Some(40));
    }

    #[test]
    fn a_version_is_no_longer_than_it_is_shown() {
        let status = CoreStatus::default();
        let member = MemberIndex(1);
        status.note_peer_version(member, &"ä".repeat(1_000));
        assert_eq!(status.peer(member).version.chars().count(), MAX_VERSION_LEN);
        assert_eq!(status.peer(MemberIndex(0)), PeerNote::default());
    }
}
