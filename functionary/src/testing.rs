//! What tests of several modules share.
#![allow(clippy::unwrap_used)]

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

/// First port handed out, and how many there are: below the range from which the system takes ports for outgoing
/// connections, so that a port stays free while the member that listens on it is away.
const FIRST: u16 = 10_000;
const COUNT: u16 = 20_000;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// Addresses of this machine that nobody listens on, different ones for each call.
pub(crate) fn free_addresses(count: usize) -> Vec<SocketAddr> {
    let start = u16::try_from(std::process::id().wrapping_mul(97) % u32::from(COUNT)).unwrap();
    let candidates = std::iter::repeat_with(|| {
        let offset = u32::from(start) + u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
        FIRST + u16::try_from(offset % u32::from(COUNT)).unwrap()
    });
    let addresses = candidates.map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    addresses.take(usize::from(COUNT)).filter(|address| TcpListener::bind(address).is_ok()).take(count).collect()
}
