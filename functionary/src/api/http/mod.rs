//! HTTP/1.1 for Esplora, Waterfalls, JSON-RPC, the pages and the metrics.
//!
//! Answers carry `Content-Length` in just this spelling: older clients of Elements look for it by its letters. Requests
//! without `Host` and with bare line feeds are taken. A client that is slow to say what it wants, or says too much, loses its
//! connection, and connections are counted.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use futures::StreamExt as _;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::bind::{BindError, bind};
use crate::peers::accept;

/// Most connections at a time.
const MAX_CONNECTIONS: usize = 1_024;
/// How long a client may take for the head of a request; an idle connection ends after the same time.
const HEAD_LIMIT: Duration = Duration::from_secs(30);
/// Longest body of a request, in bytes: the largest transaction in hexadecimal, twice.
const MAX_BODY_LEN: usize = 16 << 20;

/// Who sends a request; in the extensions of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller(pub IpAddr);

/// A server, listening.
#[derive(Debug)]
pub struct HttpServer {
    listener: TcpListener,
    address: SocketAddr,
}

impl HttpServer {
    /// Takes the listening address.
    ///
    /// # Errors
    /// [`BindError`] if it cannot be had.
    pub async fn bind(purpose: &'static str, address: SocketAddr) -> Result<Self, BindError> {
        let (listener, address) = bind(purpose, address).await?;
        Ok(Self { listener, address })
    }

    /// Where it listens; the port that was found when the configured one was 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` is cancelled; connections end with it.
    pub async fn serve(self, router: Router, stop: CancellationToken) {
        let router = router.layer(DefaultBodyLimit::max(MAX_BODY_LEN));
        let mut sockets = Box::pin(accept(self.listener, MAX_CONNECTIONS));
        loop {
            let socket = tokio::select! {
                socket = sockets.next() => match socket {
                    Some(Ok(socket)) => socket,
                    Some(Err(_)) => continue,
                    None => return,
                },
                () = stop.cancelled() => return,
            };
            let (router, stop) = (router.clone(), stop.clone());
            tokio::spawn(async move {
                let caller = Caller(socket.remote().ip());
                let service = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
                    request.extensions_mut().insert(caller);
                    let answer = router.clone().oneshot(Request::from(request.map(axum::body::Body::new)));
                    async move { answer.await.map_err(|never: Infallible| never) }
                });
                let connection = http1::Builder::new()
                    .title_case_headers(true)
                    .timer(TokioTimer::new())
                    .header_read_timeout(HEAD_LIMIT)
                    .serve_connection(TokioIo::new(socket), service);
                tokio::select! {
                    // A connection that breaks concerns nobody but its client.
                    _ = connection => {}
                    () = stop.cancelled() => {}
                }
            });
        }
    }
}
