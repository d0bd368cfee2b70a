//! Who asks, how often and from how many connections.

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

/// Requests of one caller: at once, and then in a second. A wallet of some thousand transactions asks for all of them.
const BURST: NonZeroU32 = NonZeroU32::new(20_000).unwrap();
const REQUESTS_PER_SECOND: NonZeroU32 = NonZeroU32::new(1_000).unwrap();
/// Connections of one caller: half of all, so that nobody alone has them all.
const MAX_CONNECTIONS_OF_ONE: usize = 1_024;

/// An address, or, of IPv6, the network that one customer has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Caller(IpAddr);

impl Caller {
    /// Who has this address.
    pub(super) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V6(address) => {
                let network = address.to_bits() & !u128::from(u64::MAX);
                Self(IpAddr::V6(network.into()))
            }
            address => Self(address),
        }
    }
}

/// All callers.
pub(super) struct Callers {
    requests: DefaultKeyedRateLimiter<Caller>,
    connections: Mutex<HashMap<Caller, usize>>,
}

/// A connection of a caller. Given back when dropped.
pub(super) struct Place {
    pub(super) caller: Caller,
    callers: Arc<Callers>,
}

impl Callers {
    pub(super) fn new() -> Self {
        let quota = Quota::per_second(REQUESTS_PER_SECOND).allow_burst(BURST);
        Self { requests: RateLimiter::keyed(quota), connections: Mutex::default() }
    }

    fn connections(&self) -> MutexGuard<'_, HashMap<Caller, usize>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a connection; `None` if the caller has too many.
    pub(super) fn connect(self: &Arc<Self>, caller: Caller) -> Option<Place> {
        let mut connections = self.connections();
        let count = connections.entry(caller).or_default();
        if *count >= MAX_CONNECTIONS_OF_ONE {
            return None;
        }
        *count = count.saturating_add(1);
        Some(Place { caller, callers: Arc::clone(self) })
    }

    /// A caller that has asked for much waits until it may ask for more.
    pub(super) async fn charge(&self, caller: &Caller, requests: u32) {
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

impl Drop for Place {
    fn drop(&mut self) {
        let mut connections = self.callers.connections();
        if let Some(count) = connections.get_mut(&self.caller) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                connections.remove(&self.caller);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn caller(address: &str) -> Caller {
        Caller::of(address.parse().unwrap())
    }

    #[test]
    fn a_network_of_ipv6_is_one_caller() {
        assert_eq!(caller("203.0.113.7").0.to_string(), "203.0.113.7");
        assert_eq!(caller("::ffff:203.0.113.7").0.to_string(), "203.0.113.7");
        assert_eq!(caller("2001:db8:1:2:3:4:5:6"), caller("2001:db8:1:2::1"));
        assert_ne!(caller("2001:db8:1:2::1"), caller("2001:db8:1:3::1"));
    }

    #[test]
    fn nobody_has_all_connections() {
        let callers = Arc::new(Callers::new());
        let [one, other] = [caller("203.0.113.7"), caller("203.0.113.8")];
        let places: Vec<_> = (0..MAX_CONNECTIONS_OF_ONE).map(|_| callers.connect(one).unwrap()).collect();
        assert!(callers.connect(one).is_none() && callers.connect(other).is_some());
        drop(places);
        assert!(callers.connect(one).is_some());
        assert!(callers.connections().is_empty(), "nobody is connected any more");
    }
}
