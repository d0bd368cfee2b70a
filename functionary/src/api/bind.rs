//! Taking the addresses that interfaces listen on.

use std::net::SocketAddr;

use tokio::net::TcpListener;

use crate::files::FileError;
use crate::peers::TlsError;

/// A listening address is not to be had.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen for {purpose} on {address}: {source}; is another aquiferd running, or the address in aquiferd.toml wrong?"
)]
pub struct BindError {
    /// For whom.
    pub purpose: &'static str,
    /// The address from the configuration.
    pub address: SocketAddr,
    /// What the system says.
    #[source]
    pub source: std::io::Error,
}

/// An interface cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Its address is not to be had.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// TLS does not take the member's certificate.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A file that it needs.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Listens on `address`; also returns the address with the port that was found where the configured one was 0.
pub(super) async fn bind(purpose: &'static str, address: SocketAddr) -> Result<(TcpListener, SocketAddr), BindError> {
    let listening = async {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    listening.await.map_err(|source| BindError { purpose, address, source })
}
