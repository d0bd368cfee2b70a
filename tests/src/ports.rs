//! Free ports on 127.0.0.1. A reservation holds a listener until just before the port is used, so that two harnesses on
//! one machine do not choose the same one. Ports are taken from below the range the system uses for outgoing
//! connections: a member that is away for a moment must not find its port taken by somebody's client socket.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Mutex, PoisonError};

use rand::Rng;

use crate::error::HarnessError;

const FIRST: u16 = 15_000;
const LAST: u16 = 32_000;
const TRIES: u32 = 200;

/// Ports that this process has given out. A port is free between being let go and being used, and must not be found again.
static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// A port nobody else gets while this value lives, and that this process never gives out again.
#[derive(Debug)]
pub struct ReservedPort {
    port: u16,
    listener: TcpListener,
}

impl ReservedPort {
    /// Finds a free port and holds it.
    ///
    /// # Errors
    /// [`HarnessError::NoPort`].
    pub fn new() -> Result<Self, HarnessError> {
        let mut rng = rand::thread_rng();
        for _ in 0..TRIES {
            let port = rng.gen_range(FIRST..=LAST);
            let is_given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner).contains(&port);
            if is_given {
                continue;
            }
            if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
                GIVEN.lock().unwrap_or_else(PoisonError::into_inner).insert(port);
                return Ok(Self { port, listener });
            }
        }
        Err(HarnessError::NoPort { from: FIRST, to: LAST, tries: TRIES })
    }

    /// The number.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// 127.0.0.1 and the number.
    pub const fn address(&self) -> SocketAddr {
        SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), self.port)
    }

    /// Lets the port go, for the program that will use it.
    pub fn release(self) -> u16 {
        drop(self.listener);
        self.port
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserved_port_is_taken_until_it_is_released() -> Result<(), HarnessError> {
        let reserved = ReservedPort::new()?;
        let address = reserved.address();
        assert!(TcpListener::bind(address).is_err());
        assert_eq!(reserved.release(), address.port());
        assert!(TcpListener::bind(address).is_ok());
        Ok(())
    }
}
