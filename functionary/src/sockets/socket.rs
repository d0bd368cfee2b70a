//! Accepted connections that can be closed from outside, and a bound on their number.
//!
//! TLS and HTTP/2 sit on top of a [`Socket`]; who the other side is shows only there. So a socket carries a
//! [`CancellationToken`] that is handed to every request on it: when the server learns that the member behind it
//! misbehaves, it cancels the token, and the connection ends at once with everything on it.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::{Stream, StreamExt as _};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep};
use tokio_util::sync::{CancellationToken, DropGuard, WaitForCancellationFutureOwned};
use tonic::transport::server::Connected;

use super::{Counted, Tally, origin};

/// Pause after the system refused to accept a connection (no file descriptors left, for instance).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long a client of a server of calls may take to its first one, with all that comes before: TLS, HTTP/2. Once there has
/// been a call, HTTP/2 itself finds out whether somebody is there.
const FIRST_CALL_LIMIT: Duration = Duration::from_secs(10);

/// What a request can learn of the connection it came on.
#[derive(Clone, Debug)]
pub struct SocketInfo {
    /// Number of the connection, different for each.
    pub id: u64,
    /// The other end.
    pub remote: SocketAddr,
    /// Ends the connection; also cancelled once the connection has ended by itself.
    pub closed: CancellationToken,
    has_called: Arc<AtomicBool>,
}

impl SocketInfo {
    /// A call has come on the connection.
    pub(crate) fn note_call(&self) {
        self.has_called.store(true, Ordering::Relaxed);
    }
}

/// A TCP connection that ends when its token is cancelled, and gives back its place among the counted ones.
#[derive(Debug)]
pub struct Socket {
    stream: TcpStream,
    info: SocketInfo,
    cancelled: Pin<Box<WaitForCancellationFutureOwned>>,
    /// When the first call is due, until it has come.
    first_call: Option<Pin<Box<Sleep>>>,
    _counted: Option<Counted>,
    _ended: DropGuard,
    _place: OwnedSemaphorePermit,
}

impl Socket {
    fn new(id: u64, stream: TcpStream, remote: SocketAddr, place: OwnedSemaphorePermit) -> Self {
        let closed = CancellationToken::new();
        Self {
            stream,
            cancelled: Box::pin(closed.clone().cancelled_owned()),
            _ended: closed.clone().drop_guard(),
            first_call: None,
            _counted: None,
            info: SocketInfo { id, remote, closed, has_called: Arc::default() },
            _place: place,
        }
    }

    /// The other end.
    pub(crate) fn remote(&self) -> SocketAddr {
        self.info.remote
    }

    fn poll_open(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match self.cancelled.as_mut().poll(cx) {
            Poll::Ready(()) => Err(io::Error::new(io::ErrorKind::ConnectionAborted, "closed by this member")),
            Poll::Pending => Ok(()),
        }
    }

    /// The first call must come in time.
    fn poll_called(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let Some(due) = &mut self.first_call else { return Ok(()) };
        if self.info.has_called.load(Ordering::Relaxed) {
            self.first_call = None;
        } else if due.as_mut().poll(cx).is_ready() {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "no call has come on this connection"));
        }
        Ok(())
    }
}

/// Accepts connections, at most `limit` at a time; the next one waits in the system's queue until one ends.
fn accept(listener: TcpListener, limit: usize) -> impl Stream<Item = io::Result<Socket>> {
    let places = Arc::new(Semaphore::new(limit));
    futures::stream::unfold((listener, places, 0_u64), |(listener, places, id)| async move {
        let place = Arc::clone(&places).acquire_owned().await.ok()?;
        let socket = loop {
            match listener.accept().await {
                Ok((stream, remote)) => {
                    // Votes are small and wait for nothing; without this the system would hold them back.
                    let ready = stream.set_nodelay(true);
                    break ready.map(|()| Socket::new(id, stream, remote, place));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        };
        Some((socket, (listener, places, id.wrapping_add(1))))
    })
}

/// Accepts connections for a server of calls, at most `limit` at a time, as [`accept`]. Whoever has `of_caller` of them gets no
/// other: it is closed at once. One on which no call comes for [`FIRST_CALL_LIMIT`] ends.
pub(crate) fn accept_callers(
    listener: TcpListener,
    limit: usize,
    of_caller: u32,
) -> impl Stream<Item = io::Result<Socket>> {
    let callers = Tally::default();
    accept(listener, limit).filter_map(move |socket| {
        let admitted = match socket {
            Ok(socket) => callers.count(origin(socket.remote().ip()), of_caller).map(|counted| {
                let first_call = Some(Box::pin(sleep(FIRST_CALL_LIMIT)));
                Ok(Socket { first_call, _counted: Some(counted), ..socket })
            }),
            Err(error) => Some(Err(error)),
        };
        std::future::ready(admitted)
    })
}

/// Hands every accepted connection to `with`, until `stop` is cancelled; at most `limit` at a time, as [`accept`].
pub(crate) async fn accept_each(
    listener: TcpListener,
    limit: usize,
    stop: &CancellationToken,
    mut with: impl FnMut(Socket),
) {
    let mut sockets = Box::pin(accept(listener, limit));
    loop {
        tokio::select! {
            socket = sockets.next() => match socket {
                Some(Ok(socket)) => with(socket),
                Some(Err(_)) => {}
                None => return,
            },
            () = stop.cancelled() => return,
        }
    }
}

impl Connected for Socket {
    type ConnectInfo = SocketInfo;

    fn connect_info(&self) -> SocketInfo {
        self.info.clone()
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.poll_open(cx)?;
        self.poll_called(cx)?;
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_open(cx)?;
        Pin::new(&mut self.stream).poll_write(cx, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
