//! Whether the member does its work.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;

use crate::api::{BackendError, ChainInfo, Sources};

/// So many blocks behind the highest member are no reason to worry.
const BEHIND_BLOCKS: u32 = 2;
/// A chain makes no block for so many idle intervals before it counts as stalled.
const STALLED_INTERVALS: u64 = 3;
/// Added to that, for rounds that fail, in seconds.
const STALLED_S: u64 = 60;

/// What keeps a member from doing its work.
pub(super) struct Readiness {
    member: String,
    height: u32,
    problems: Vec<String>,
}

impl Readiness {
    pub(super) fn read(sources: &Sources) -> Result<Self, BackendError> {
        let info = sources.backend.info()?;
        let tip = sources.ledger.snapshot()?.tip()?;
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        // Genesis is as old as the federation's settings say; nothing follows from it.
        let age_s = if tip.height == 0 { 0 } else { now_s.saturating_sub(tip.time.into()) };
        let idle_s = sources.roster.settings().idle_interval_ms.div_ceil(1_000);
        Ok(Self::of(&info, sources.roster.threshold(), idle_s, age_s))
    }

    /// Of a chain whose blocks `needed` members sign, and that makes one every `idle_s` seconds when nothing happens. The last
    /// block is `age_s` seconds old.
    pub(super) fn of(info: &ChainInfo, needed: usize, idle_s: u64, age_s: u64) -> Self {
        let mut problems = Vec::new();
        let connected = info.peers.iter().filter(|peer| peer.connected).count();
        if connected.saturating_add(1) < needed {
            problems.push(format!("{connected} other members are connected; blocks need {needed} members"));
        }
        let highest = info.peers.iter().map(|peer| peer.height).max().unwrap_or(0);
        if highest > info.height.saturating_add(BEHIND_BLOCKS) {
            problems.push(format!("it is at block {}, others are at {highest}", info.height));
        }
        if age_s > idle_s.saturating_mul(STALLED_INTERVALS).saturating_add(STALLED_S) {
            problems.push(format!("the last block is {age_s} seconds old"));
        }
        if info.parent_height.is_none() {
            problems.push(format!("bitcoind: {}", info.parent_problem));
        }
        Self { member: info.member.clone(), height: info.height, problems }
    }

    pub(super) fn is_ready(&self) -> bool {
        self.problems.is_empty()
    }

    pub(super) fn json(&self) -> String {
        let Self { member, height, problems } = self;
        format!("{}\n", json!({ "ready": self.is_ready(), "member": member, "height": height, "problems": problems }))
    }
}
