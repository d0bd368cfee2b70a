//! Who asks, how often and from how many connections.

use std::net::IpAddr;
use std::num::NonZeroU32;

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use crate::sockets::{Counted, Tally, origin};

/// Requests of one caller: at once, and then in a second. A wallet of some thousand transactions asks for all of them.
const BURST: NonZeroU32 = NonZeroU32::new(20_000).unwrap();
const REQUESTS_PER_SECOND: NonZeroU32 = NonZeroU32::new(1_000).unwrap();
/// Connections of one caller: half of all, so that nobody alone has them all.
const MAX_CONNECTIONS_OF_ONE: u32 = 1_024;

/// All callers.
pub(super) struct Callers {
    requests: DefaultKeyedRateLimiter<IpAddr>,
    connections: Tally,
}

/// A connection of a caller. Given back when dropped.
pub(super) struct Place {
    pub(super) caller: IpAddr,
    _counted: Counted,
}

impl Callers {
    pub(super) fn new() -> Self {
        let quota = Quota::per_second(REQUESTS_PER_SECOND).allow_burst(BURST);
        Self { requests: RateLimiter::keyed(quota), connections: Tally::default() }
    }

    /// Counts a connection from an address; `None` if its caller has too many.
    pub(super) fn connect(&self, address: IpAddr) -> Option<Place> {
        let caller = origin(address);
        let counted = self.connections.count(caller, MAX_CONNECTIONS_OF_ONE)?;
        Some(Place { caller, _counted: counted })
    }

    /// A caller that has asked for much waits until it may ask for more.
    pub(super) async fn charge(&self, caller: &IpAddr, requests: u32) {
        if let Some(requests) = NonZeroU32::new(requests.min(BURST.get())) {
            // Never more than there can be at once.
            let _ = self.requests.until_key_n_ready(caller, requests).await;
        }
    }

    /// Forgets those who have not asked for a while.
    pub(super) fn forget(&self) {
        self.requests.retain_recent();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn nobody_has_all_connections() {
        let callers = Callers::new();
        let [one, other] = ["203.0.113.7", "203.0.113.8"].map(|address| address.parse().unwrap());
        let places: Vec<_> = (0..MAX_CONNECTIONS_OF_ONE).map(|_| callers.connect(one).unwrap()).collect();
        assert!(callers.connect(one).is_none() && callers.connect(other).is_some());
        drop(places);
        assert!(callers.connect(one).is_some());
    }
}
