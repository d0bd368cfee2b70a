//! The API for our wallets, auditors and the command line: the gRPC services `Ledger`, `Audit` and `Halt` over TLS.
//!
//! The server shows the member's pinned certificate and asks for none. Nothing it says has to be believed: headers come
//! with certificates, transactions with Merkle proofs. It may be slow to one caller, never because of another: connections,
//! calls, streams and answers are bounded. A client that makes no call, that answers no sign of life, or whose call takes too
//! long to arrive, is let go.

mod convert;
mod service;

#[cfg(test)]
pub(crate) mod tests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use aquifer_proto::audit::audit_server::AuditServer;
use aquifer_proto::halt::halt_server::HaltServer;
use aquifer_proto::ledger::ledger_server::LedgerServer;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::Response;
use axum::middleware::{Next, from_fn_with_state};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::server::TlsConnectInfo;

pub use service::{LedgerService, MAX_HEADERS, MAX_PEGOUTS, MAX_SCRIPTS, MAX_STREAMS, MAX_TRANSACTIONS};

use super::LedgerBackend;
use super::bind::{BindError, bind};
use crate::audit::{AuditDesk, AuditService};
use crate::halt::HaltService;
use crate::peers::{TlsIdentity, chain, wallet_server};
use crate::sockets::{LongBodies, SocketInfo, accept_callers};

/// Longest request, in bytes: the largest transaction, or a full list of scripts.
const MAX_REQUEST_LEN: usize = 5 << 20;
/// Most connections at a time.
const MAX_CONNECTIONS: usize = 1_024;
/// Most connections of one caller.
const MAX_CONNECTIONS_OF_CALLER: u32 = 256;
/// Calls that one connection may have open at once.
const MAX_CALLS: u32 = 128;
/// Long requests that come in at a time, of all callers and of one.
const MAX_LONG_REQUESTS: usize = 16;
const MAX_LONG_REQUESTS_OF_CALLER: u32 = 8;
/// How long a call may take until its answer begins, with the time that the request takes to arrive.
const CALL_LIMIT: Duration = Duration::from_secs(60);
/// How often an idle connection is probed, and how long the answer may take.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the server waits for open calls to end when it shuts down.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(2);

/// The API could not be started or has failed.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The certificate cannot be used.
    #[error("cannot set up TLS: {}", chain(.0))]
    Tls(#[source] tonic::transport::Error),
    /// The server ended by an error.
    #[error("the server for wallets failed: {}", chain(.0))]
    Serve(#[source] tonic::transport::Error),
}

/// The API, listening.
#[derive(Debug)]
pub struct Api {
    listener: TcpListener,
    address: SocketAddr,
}

impl Api {
    /// Takes the listening address.
    ///
    /// # Errors
    /// [`BindError`] if it cannot be had.
    pub async fn bind(address: SocketAddr) -> Result<Self, BindError> {
        let (listener, address) = bind("wallets", address).await?;
        Ok(Self { listener, address })
    }

    /// Where it listens; the port that was found when the configured one was 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves wallets, auditors and, on a member, its operator until `shutdown` is cancelled.
    ///
    /// # Errors
    /// [`ApiError::Serve`] if the server failed.
    pub async fn serve(
        self,
        identity: &TlsIdentity,
        backend: Arc<dyn LedgerBackend>,
        desk: Arc<AuditDesk>,
        halting: Option<HaltService>,
        shutdown: CancellationToken,
    ) -> Result<(), ApiError> {
        let service = LedgerServer::new(LedgerService::new(backend, shutdown.clone()))
            .max_decoding_message_size(MAX_REQUEST_LEN)
            .max_encoding_message_size(usize::MAX);
        let mut routes = Routes::new(service).add_service(AuditServer::new(AuditService::new(desk)));
        if let Some(halting) = halting {
            routes = routes.add_service(HaltServer::new(halting));
        }
        let long = LongBodies::new(MAX_LONG_REQUESTS, MAX_LONG_REQUESTS_OF_CALLER);
        let routes = routes.into_axum_router().layer(from_fn_with_state(long, admit));
        let serving = tonic::transport::Server::builder()
            .tls_config(wallet_server(identity))
            .map_err(ApiError::Tls)?
            .max_concurrent_streams(MAX_CALLS)
            .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
            .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
            .timeout(CALL_LIMIT)
            .add_routes(routes.into())
            .serve_with_incoming_shutdown(
                Box::pin(accept_callers(self.listener, MAX_CONNECTIONS, MAX_CONNECTIONS_OF_CALLER)),
                shutdown.clone().cancelled_owned(),
            );
        tokio::select! {
            result = serving => result.map_err(ApiError::Serve),
            () = async { shutdown.cancelled().await; tokio::time::sleep(SHUTDOWN_GRACE).await } => Ok(()),
        }
    }
}

/// A call has come: its connection is of use, and it takes a place if it is long.
async fn admit(State(long): State<LongBodies>, request: Request, next: Next) -> Response<Body> {
    let Some(info) = request.extensions().get::<TlsConnectInfo<SocketInfo>>() else { return next.run(request).await };
    info.get_ref().note_call();
    let caller = info.get_ref().remote.ip();
    let (head, body) = request.into_parts();
    let (body, _place) = long.bound(body, caller);
    next.run(Request::from_parts(head, body)).await
}
