//! How peers behave, and who is let in.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

/// Points that end a connection.
pub(super) const TOO_MUCH: u32 = 100;
/// Seconds after which a point is forgiven.
const FORGIVEN_AFTER_S: u64 = 10;
/// Most addresses that are remembered as banned.
const MAX_BANS: usize = 10_000;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each change is a single step.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Addresses that are not let in for a while. In memory: a new start forgives.
#[derive(Debug)]
pub(super) struct Bans {
    length: Duration,
    until: Mutex<HashMap<IpAddr, Instant>>,
}

impl Bans {
    pub(super) fn new(length: Duration) -> Self {
        Self { length, until: Mutex::default() }
    }

    pub(super) fn contains(&self, address: IpAddr) -> bool {
        lock(&self.until).get(&address).is_some_and(|until| *until > Instant::now())
    }

    fn insert(&self, address: IpAddr) {
        // Whoever comes through a proxy or a tunnel comes from there.
        if address.is_loopback() {
            return;
        }
        let now = Instant::now();
        let mut until = lock(&self.until);
        if until.len() >= MAX_BANS {
            until.retain(|_, until| *until > now);
        }
        if until.len() < MAX_BANS {
            until.insert(address, now + self.length);
        }
    }
}

/// The behaviour of one peer.
#[derive(Debug)]
pub(super) struct Conduct {
    remote: SocketAddr,
    /// Where the address of a peer that misbehaved is kept; nowhere if we called it.
    bans: Option<Arc<Bans>>,
    score: Mutex<(u32, Instant)>,
    closed: CancellationToken,
}

impl Conduct {
    pub(super) fn new(remote: SocketAddr, bans: Option<Arc<Bans>>, closed: CancellationToken) -> Self {
        Self { remote, bans, score: Mutex::new((0, Instant::now())), closed }
    }

    /// Points for something that an honest peer does not do, or not often.
    pub(super) fn misbehaved(&self, points: u32, what: impl std::fmt::Display) {
        let total = {
            let mut score = lock(&self.score);
            let now = Instant::now();
            let forgiven = now.saturating_duration_since(score.1).as_secs() / FORGIVEN_AFTER_S;
            if forgiven > 0 {
                *score = (score.0.saturating_sub(u32::try_from(forgiven).unwrap_or(u32::MAX)), now);
            }
            score.0 = score.0.saturating_add(points);
            score.0
        };
        tracing::debug!(remote = %self.remote, points, total, %what, "a peer misbehaves");
        if total >= TOO_MUCH && !self.closed.is_cancelled() {
            tracing::info!(remote = %self.remote, %what, "a peer of the Elements network is dropped");
            if let Some(bans) = &self.bans {
                bans.insert(self.remote.ip());
            }
            self.closed.cancel();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn conduct(address: &str, bans: &Arc<Bans>) -> Conduct {
        Conduct::new(address.parse().unwrap(), Some(Arc::clone(bans)), CancellationToken::new())
    }

    #[test]
    fn too_many_points_end_the_connection_and_ban_the_address_for_a_while() {
        let bans = Arc::new(Bans::new(Duration::from_secs(60)));
        let peer = conduct("192.0.2.1:1", &bans);
        peer.misbehaved(TOO_MUCH - 2, "once");
        assert!(!peer.closed.is_cancelled() && !bans.contains(peer.remote.ip()));
        peer.misbehaved(TOO_MUCH, "twice");
        assert!(peer.closed.is_cancelled() && bans.contains(peer.remote.ip()));
        let short = Arc::new(Bans::new(Duration::ZERO));
        conduct("192.0.2.1:1", &short).misbehaved(TOO_MUCH, "again");
        assert!(!short.contains(peer.remote.ip()));
    }

    #[test]
    fn the_own_machine_and_peers_that_were_called_are_dropped_but_not_banned() {
        let bans = Arc::new(Bans::new(Duration::from_secs(60)));
        let peer = conduct("127.0.0.1:1", &bans);
        peer.misbehaved(TOO_MUCH, "at home");
        assert!(peer.closed.is_cancelled() && !bans.contains(peer.remote.ip()));
        let called = Conduct::new("192.0.2.1:1".parse().unwrap(), None, CancellationToken::new());
        called.misbehaved(TOO_MUCH, "when called");
        assert!(called.closed.is_cancelled() && !bans.contains(called.remote.ip()));
    }

    #[test]
    fn bans_are_bounded() {
        let bans = Bans::new(Duration::from_secs(60));
        for number in 0..=u32::try_from(MAX_BANS).unwrap() {
            bans.insert(IpAddr::from(number.saturating_add(0x0a00_0000).to_be_bytes()));
        }
        assert_eq!(lock(&bans.until).len(), MAX_BANS);
    }
}
