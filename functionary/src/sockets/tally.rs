//! How many of something each caller has at the moment.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

/// What counts as one caller: an address, or, of IPv6, the network of 64 bits that one customer is given whole.
pub(crate) fn origin(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        v4 => v4,
    }
}

/// The counts. Cheap to clone; clones count together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally(Arc<Mutex<HashMap<IpAddr, u32>>>);

/// One that is counted, until it is dropped.
#[derive(Debug)]
pub(crate) struct Counted {
    tally: Tally,
    caller: IpAddr,
}

impl Tally {
    /// Counts one more, unless the caller has `most` of them.
    pub(crate) fn count(&self, caller: IpAddr, most: u32) -> Option<Counted> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(caller).or_default();
        if *count >= most {
            return None;
        }
        *count = count.saturating_add(1);
        Some(Counted { tally: self.clone(), caller })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut counts = self.tally.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.caller) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                counts.remove(&self.caller);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn callers_are_told_apart_by_what_one_customer_is_given() {
        let of = |text: &str| origin(text.parse().unwrap());
        assert_eq!(of("203.0.113.7").to_string(), "203.0.113.7");
        assert_eq!(of("::ffff:203.0.113.7").to_string(), "203.0.113.7");
        assert_ne!(of("10.0.0.1"), of("10.0.0.2"));
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:3:4:5:6"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
    }

    #[test]
    fn a_caller_has_so_many_at_a_time_and_gets_them_back() {
        let tally = Tally::default();
        let (one, other) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        let held: Vec<_> = (0..3).map(|_| tally.count(one, 3).unwrap()).collect();
        assert!(tally.count(one, 3).is_none());
        assert!(tally.count(other, 3).is_some(), "others are not concerned");
        drop(held);
        assert!(tally.count(one, 3).is_some());
        assert!(tally.0.lock().unwrap().is_empty());
    }
}
