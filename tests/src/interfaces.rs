//! Where members serve other software.

use std::net::SocketAddr;

use crate::error::HarnessError;
use crate::ports::ReservedPort;

/// The addresses of one member's interfaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interfaces {
    /// Explorer, Esplora, Waterfalls, registry, metrics.
    pub http: SocketAddr,
    /// Electrum without TLS.
    pub electrum: SocketAddr,
    /// Electrum with TLS.
    pub electrum_tls: SocketAddr,
    /// JSON-RPC as elementsd has it.
    pub jsonrpc: SocketAddr,
    /// The network of Elements nodes.
    pub p2p: SocketAddr,
}

impl Interfaces {
    /// Addresses that are free.
    ///
    /// # Errors
    /// [`HarnessError::NoPort`].
    pub fn find() -> Result<Self, HarnessError> {
        // All are held until all are found.
        let ports: Vec<ReservedPort> = (0..5).map(|_| ReservedPort::new()).collect::<Result<_, _>>()?;
        let addresses: Vec<SocketAddr> = ports.iter().map(ReservedPort::address).collect();
        let [http, electrum, electrum_tls, jsonrpc, p2p] = addresses.as_slice() else {
            return Err(HarnessError::Story("five ports were asked for".to_owned()));
        };
        Ok(Self { http: *http, electrum: *electrum, electrum_tls: *electrum_tls, jsonrpc: *jsonrpc, p2p: *p2p })
    }

    /// The section of `aquiferd.toml` that names them.
    pub fn section(&self) -> String {
        let Self { http, electrum, electrum_tls, jsonrpc, p2p } = self;
        format!(
            "[interfaces]\nhttp = \"{http}\"\nelectrum = \"{electrum}\"\nelectrum_tls = \"{electrum_tls}\"\n\
             jsonrpc = \"{jsonrpc}\"\np2p = \"{p2p}\"\n"
        )
    }
}
