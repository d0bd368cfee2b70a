//! Connections that this side opens, and opens again.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::session::{self, Direction};
use crate::peers::Backoff;

/// How long a peer may take to answer at all.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// Stays connected to a peer until `stop` is cancelled.
pub(super) async fn keep_connected(address: SocketAddr, shared: Arc<Shared>, stop: CancellationToken) {
    let mut backoff = Backoff::new();
    while !stop.is_cancelled() {
        match connect(address).await {
            Ok(stream) => {
                let (shared, closed) = (Arc::clone(&shared), stop.child_token());
                if session::run(stream, address, Direction::Outbound, shared, closed).await {
                    backoff = Backoff::new();
                }
            }
            Err(error) => tracing::debug!(%address, %error, "a peer is out of reach"),
        }
        tokio::select! {
            () = tokio::time::sleep(backoff.next()) => {}
            () = stop.cancelled() => {}
        }
    }
}

async fn connect(address: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = tokio::time::timeout(CONNECT_LIMIT, TcpStream::connect(address)).await??;
    stream.set_nodelay(true)?;
    Ok(stream)
}
