//! An Electrum server, protocol 1.4 to 1.6, over TCP and over TLS with the member's own certificate.
//!
//! The methods are those that Blockstream's electrs has for Liquid. Headers are those of Elements, complete and of different
//! lengths; amounts and assets are commitments where they are confidential, and there are no balances. What is answered
//! comes from the [index](crate::index), as of its height.
//!
//! Anybody may connect. So everything is bounded: connections, the length of lines and the time they take, lines that wait
//! for an answer, subscriptions, work at a time, and requests of one caller, who waits when it asks for too much. A client
//! that does not read what it is sent loses its connection, and one that goes on sending what is no request.

mod callers;
mod chain;
mod connection;
mod history;
mod hub;
mod lines;
mod methods;
mod rpc;
mod session;
mod shape;
mod version;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::Sources;
use super::bind::{ListenError, bind};
use crate::peers::{TlsIdentity, open_server};
use crate::sockets::{Socket, accept_each};
use callers::Callers;
use hub::Hub;
use lines::MAX_LONG_LINES;
use methods::Methods;

/// Most connections to one address at a time.
const MAX_CONNECTIONS: usize = 2_048;
/// Connections that are answered at the same time.
const MAX_WORK: usize = 8;
/// How long a TLS handshake may take.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(5);
/// How often callers are forgotten who have not asked for a while.
const FORGET_INTERVAL: Duration = Duration::from_secs(60);

/// What all connections share.
struct Shared {
    methods: Methods,
    hub: Arc<Hub>,
    long_lines: Arc<Semaphore>,
    work: Arc<Semaphore>,
    callers: Arc<Callers>,
}

/// How connections begin.
enum Transport {
    Plain,
    Tls(TlsAcceptor),
}

/// A server, listening on up to two addresses.
pub struct ElectrumServer {
    listeners: Vec<(TcpListener, SocketAddr, Transport)>,
}

impl ElectrumServer {
    /// Takes the addresses: one without TLS, one with.
    ///
    /// # Errors
    /// [`ListenError`] if one cannot be had.
    pub async fn bind(
        plain: Option<SocketAddr>,
        tls: Option<SocketAddr>,
        identity: &TlsIdentity,
    ) -> Result<Self, ListenError> {
        let mut listeners = Vec::new();
        if let Some(address) = plain {
            let (listener, address) = bind("Electrum clients", address).await?;
            listeners.push((listener, address, Transport::Plain));
        }
        if let Some(address) = tls {
            let tls = TlsAcceptor::from(Arc::new(open_server(identity)?));
            let (listener, address) = bind("Electrum clients with TLS", address).await?;
            listeners.push((listener, address, Transport::Tls(tls)));
        }
        Ok(Self { listeners })
    }

    /// Where it listens, without TLS first; the ports that were found where the configured ones were 0.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners.iter().map(|(_, address, _)| *address).collect()
    }

    /// Serves until `stop` is cancelled; connections end with it.
    pub async fn serve(self, sources: Sources, stop: CancellationToken) {
        if self.listeners.is_empty() {
            return;
        }
        let hub = Arc::new(Hub::new());
        let index = sources.index.clone().map(|index| (index.changes(), index));
        let shared = Arc::new(Shared {
            methods: Methods::new(sources, Arc::clone(&hub)),
            hub,
            long_lines: Arc::new(Semaphore::new(MAX_LONG_LINES)),
            work: Arc::new(Semaphore::new(MAX_WORK)),
            callers: Arc::new(Callers::new()),
        });
        let telling = async {
            match index {
                Some((changes, index)) => shared.hub.run(&index, changes, &stop).await,
                None => stop.cancelled().await,
            }
        };
        let forgetting = async {
            loop {
                tokio::time::sleep(FORGET_INTERVAL).await;
                shared.callers.forget();
            }
        };
        let accepting = self
            .listeners
            .into_iter()
            .map(|(listener, _, transport)| accept_all(listener, transport, Arc::clone(&shared), stop.clone()));
        tokio::select! {
            () = telling => {}
            () = forgetting => {}
            _ = futures::future::join_all(accepting) => {}
        }
    }
}

async fn accept_all(listener: TcpListener, transport: Transport, shared: Arc<Shared>, stop: CancellationToken) {
    accept_each(listener, MAX_CONNECTIONS, &stop, |socket| {
        let (shared, stop) = (Arc::clone(&shared), stop.clone());
        let tls = match &transport {
            Transport::Plain => None,
            Transport::Tls(tls) => Some(tls.clone()),
        };
        tokio::spawn(async move {
            tokio::select! {
                () = serve(shared, tls, socket) => {}
                () = stop.cancelled() => {}
            }
        });
    })
    .await;
}

async fn serve(shared: Arc<Shared>, tls: Option<TlsAcceptor>, socket: Socket) {
    let Some(place) = shared.callers.connect(socket.remote().ip()) else { return };
    match tls {
        None => connection::serve(shared, place, socket).await,
        Some(tls) => {
            // A handshake that fails concerns nobody but its client.
            if let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE_LIMIT, tls.accept(socket)).await {
                connection::serve(shared, place, stream).await;
            }
        }
    }
}
