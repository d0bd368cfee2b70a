//! Connections that this side opens, and opens again.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::session::{self, Direction};

/// How long a peer may take to answer at all.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// Before the first new attempt; doubled with each that fails.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// Longest pause between attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Stays connected to a peer until `stop` is cancelled.
pub(super) async fn keep_connected(address: SocketAddr, shared: Arc<Shared>, stop: CancellationToken) {
    let mut pause = FIRST_PAUSE;
    while !stop.is_cancelled() {
        match connect(address).await {
            Ok(stream) => {
                let (shared, closed, begun) = (Arc::clone(&shared), stop.child_token(), Instant::now());
                session::run(stream, address, Direction::Outbound, shared, closed).await;
                // Who takes the call and hangs up is not called at once again.
                if begun.elapsed() > LONGEST_PAUSE {
                    pause = FIRST_PAUSE;
                }
            }
            Err(error) => tracing::debug!(%address, %error, "a peer is out of reach"),
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => {}
        }
        pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
    }
}

async fn connect(address: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = tokio::time::timeout(CONNECT_LIMIT, TcpStream::connect(address)).await??;
    stream.set_nodelay(true)?;
    Ok(stream)
}
