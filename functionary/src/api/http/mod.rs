//! HTTP/1.1 for Esplora, Waterfalls, JSON-RPC, the pages and the metrics.
//!
//! Answers carry `Content-Length` in just this spelling: older clients of Elements look for it by its letters. Requests
//! without `Host` and with bare line feeds are taken. A client that is slow to say what it wants or to take the answer, or
//! says too much, loses its connection, and connections and long requests are counted, all and of each caller. [`Limits`]
//! bounds what a caller may ask, [`Work`] what is done for all at a time.

mod answer;
mod limits;
mod patience;
#[cfg(test)]
mod tests;
mod work;

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::response::IntoResponse as _;
use hyper::body::Body as _;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

pub(crate) use self::answer::{Answer, Keep, Refusal, binary, json, not_modified, text};
pub(crate) use self::limits::{Limits, open_to_all_origins};
use self::patience::Patience;
pub(crate) use self::work::{Deadline, REQUEST_LIMIT, Work};
use super::bind::{BindError, bind};
use crate::sockets::{LongBodies, Socket, Tally, accept_each, origin};

/// Most connections at a time.
const MAX_CONNECTIONS: usize = 1_024;
/// Most connections of one caller.
const MAX_CONNECTIONS_OF_CALLER: u32 = 256;
/// How long a client may take for the head of a request; an idle connection ends after the same time.
const HEAD_LIMIT: Duration = Duration::from_secs(30);
/// How long a client may take nothing of an answer.
const STALL_LIMIT: Duration = Duration::from_secs(30);
/// Longest body of a request, in bytes: the largest transaction in hexadecimal, twice.
const MAX_BODY_LEN: u64 = 16 << 20;
/// Long bodies that come in or are worked on at a time, of all callers and of one.
const MAX_LONG_BODIES: usize = 16;
const MAX_LONG_BODIES_OF_CALLER: u32 = 8;

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
        let router = router.layer(DefaultBodyLimit::max(usize::try_from(MAX_BODY_LEN).unwrap_or(usize::MAX)));
        let connections = Tally::default();
        let long = LongBodies::new(MAX_LONG_BODIES, MAX_LONG_BODIES_OF_CALLER);
        accept_each(self.listener, MAX_CONNECTIONS, &stop, |socket| {
            let caller = Caller(socket.remote().ip());
            // Whoever has too many gets no answer: the next one is closed at once.
            if let Some(counted) = connections.count(origin(caller.0), MAX_CONNECTIONS_OF_CALLER) {
                let (router, long, stop) = (router.clone(), long.clone(), stop.clone());
                tokio::spawn(async move {
                    let _counted = counted;
                    tokio::select! {
                        () = converse(socket, caller, router, long) => {}
                        () = stop.cancelled() => {}
                    }
                });
            }
        })
        .await;
    }
}

/// Answers what comes on one connection.
async fn converse(socket: Socket, caller: Caller, router: Router, long: LongBodies) {
    let service = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(caller);
        let (router, long) = (router.clone(), long.clone());
        async move {
            // Not waited for: whoever says so may never send it.
            if request.body().size_hint().lower() > MAX_BODY_LEN {
                return Ok(Refusal::TooLong { most: MAX_BODY_LEN }.into_response());
            }
            let (head, body) = request.into_parts();
            let (body, _place) = long.bound(axum::body::Body::new(body), caller.0);
            let answer = router.oneshot(Request::from_parts(head, body));
            answer.await.map_err(|never: Infallible| never)
        }
    });
    let connection = http1::Builder::new()
        .title_case_headers(true)
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_LIMIT)
        .serve_connection(TokioIo::new(Patience::new(socket, STALL_LIMIT)), service);
    // A connection that breaks concerns nobody but its client.
    let _ = connection.await;
}
