//! JSON-RPC over HTTP, as elementsd serves it: for `elements-cli`, and for the servers and wallets that stand on elementsd.
//!
//! What a caller sees of the protocol is what Bitcoin and Elements do: the cookie, versions 1.0, 1.1 and 2.0, batches, named
//! arguments, HTTP statuses, numbers of errors (`protocol.rs`, `arguments.rs`, `error.rs`). What can be called is one table
//! (`table.rs`), from which `help` and the documentation are made; what elementsd has beyond it is refused by name, with the
//! reason (`refused.rs`). Answers have the fields, units and order of elementsd's (`shape/`).
//!
//! Nobody is heard without the cookie. Calls run on threads for blocking work, a few at a time; a few more may wait, and
//! whoever comes then is told to come again. Bodies, batches and answers are bounded.

mod arguments;
mod blocks;
#[cfg(test)]
mod documentation;
mod error;
mod login;
mod mempool;
mod network;
mod node;
mod protocol;
mod refused;
mod scan;
mod shape;
mod sidechain;
mod table;
mod transactions;
mod utilities;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, HttpBody as _};
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use self::login::Login;
use self::node::Node;
use self::protocol::{Reply, Scope};
use super::Sources;
use super::bind::ListenError;
use super::http::HttpServer;

/// Name of the file with the login, in the member's data folder.
pub const COOKIE_FILE: &str = ".cookie";

/// Longest body of a request, in bytes.
const MAX_BODY_LEN: usize = 16 << 20;
/// How long a caller may take to send it.
const BODY_LIMIT: Duration = Duration::from_secs(30);
/// Calls that run at a time.
const WORKERS: usize = 4;
/// Calls that run or wait.
const MAX_CALLS: usize = 4 * WORKERS;
/// How long a wrong login waits for its answer, so that guessing takes long.
const WRONG_LOGIN_DELAY: Duration = Duration::from_millis(250);

/// The service, listening.
pub struct JsonRpcServer {
    http: HttpServer,
    cookie: PathBuf,
    login: Login,
}

impl JsonRpcServer {
    /// Takes the address, and leaves a new login in the folder.
    ///
    /// # Errors
    /// [`ListenError`].
    pub async fn bind(address: SocketAddr, folder: &Path) -> Result<Self, ListenError> {
        let http = HttpServer::bind("JSON-RPC", address).await?;
        let cookie = folder.join(COOKIE_FILE);
        let login = Login::make(&cookie)?;
        Ok(Self { http, cookie, login })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.http.address()
    }

    /// Where the login is.
    pub fn cookie(&self) -> &Path {
        &self.cookie
    }

    /// Serves until `stop` is cancelled.
    pub async fn serve(self, sources: Sources, stop: CancellationToken) {
        let desk = Desk {
            node: Arc::new(Node::new(sources)),
            login: self.login,
            calls: Arc::new(Semaphore::new(MAX_CALLS)),
            workers: Arc::new(Semaphore::new(WORKERS)),
        };
        self.http.serve(Router::new().fallback(receive).with_state(desk), stop).await;
        // A login for nothing; the next start writes another one.
        let _ = std::fs::remove_file(&self.cookie);
    }
}

/// What receives requests. Cheap to clone.
#[derive(Clone)]
struct Desk {
    node: Arc<Node>,
    login: Login,
    calls: Arc<Semaphore>,
    workers: Arc<Semaphore>,
}

async fn receive(State(desk): State<Desk>, request: Request) -> Response {
    if *request.method() != Method::POST {
        return text(StatusCode::METHOD_NOT_ALLOWED, "JSONRPC server handles only POST requests");
    }
    let authorization = request.headers().get(header::AUTHORIZATION);
    if !authorization.is_some_and(|shown| desk.login.accepts(shown.as_bytes())) {
        if authorization.is_some() {
            tokio::time::sleep(WRONG_LOGIN_DELAY).await;
        }
        let challenge = [(header::WWW_AUTHENTICATE, "Basic realm=\"jsonrpc\"")];
        return (StatusCode::UNAUTHORIZED, challenge, "").into_response();
    }
    let scope = match request.uri().path() {
        "/" | "" => Scope::Node,
        path => match path.strip_prefix("/wallet/") {
            Some(name) => Scope::Wallet(name.to_owned()),
            None => return text(StatusCode::NOT_FOUND, "There is nothing here: JSON-RPC is served at /"),
        },
    };
    let Ok(_call) = Arc::clone(&desk.calls).try_acquire_owned() else {
        return text(StatusCode::SERVICE_UNAVAILABLE, "Work queue depth exceeded");
    };
    let body = match read_body(request.into_body()).await {
        Ok(body) => body,
        Err(refusal) => return refusal,
    };
    // The semaphore is never closed.
    let worker = desk.workers.acquire_owned().await;
    let node = Arc::clone(&desk.node);
    let answer = tokio::task::spawn_blocking(move || {
        let _worker = worker;
        protocol::answer(&node, &scope, &body)
    });
    match answer.await {
        Ok(reply) => respond(reply),
        Err(error) => {
            tracing::error!(%error, "a call ended without an answer");
            text(StatusCode::INTERNAL_SERVER_ERROR, "the call failed; see the log of this node")
        }
    }
}

async fn read_body(body: Body) -> Result<Bytes, Response> {
    // Not waited for, if its head says that it is too long.
    if usize::try_from(body.size_hint().lower()).is_ok_and(|length| length > MAX_BODY_LEN) {
        return Err(text(StatusCode::PAYLOAD_TOO_LARGE, "the request is too long"));
    }
    match tokio::time::timeout(BODY_LIMIT, axum::body::to_bytes(body, MAX_BODY_LEN)).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(_)) => Err(text(StatusCode::PAYLOAD_TOO_LARGE, "the request is too long, or was cut off")),
        Err(_) => Err(text(StatusCode::REQUEST_TIMEOUT, "the request took too long to arrive")),
    }
}

fn text(status: StatusCode, message: &'static str) -> Response {
    (status, format!("{message}\n")).into_response()
}

fn respond(reply: Reply) -> Response {
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, [(header::CONTENT_TYPE, "application/json")], reply.body).into_response()
}
