//! The interfaces for other software, as the configuration of the member asks for them.

use std::net::SocketAddr;
use std::sync::Arc;

use aquifer_assets::chain::ChainParams;
use aquifer_federation::roster::Roster;
use axum::Router;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::bind::{ListenError, bind};
use super::electrum::ElectrumServer;
use super::esplora::Node;
use super::http::{HttpServer, Limits, open_to_all_origins};
use super::jsonrpc::JsonRpcServer;
use super::metrics::{self, Requests};
use super::registry::Registry;
use super::waterfalls::{DescriptorKey, Waterfalls};
use super::{LedgerBackend, esplora, registry, waterfalls, web};
use crate::chain::CoreStatus;
use crate::config::{DataDir, InterfacesConfig};
use crate::index::IndexReader;
use crate::mempool::Mempool;
use crate::p2p;
use crate::peers::TlsIdentity;
use crate::store::ledger::LedgerReader;

/// What the interfaces read and whom they hand transactions to. Cheap to clone.
#[derive(Clone)]
pub struct Sources {
    /// The chain.
    pub params: Arc<ChainParams>,
    /// The members.
    pub roster: Arc<Roster>,
    /// How agreeing goes.
    pub status: Arc<CoreStatus>,
    /// Final blocks and what follows from them.
    pub ledger: Arc<LedgerReader>,
    /// What waits for a block.
    pub mempool: Arc<Mempool>,
    /// Takes transactions, and knows of the member's health, the peg and the valve.
    pub backend: Arc<dyn LedgerBackend>,
    /// Histories, spends and assets; `None` where it is switched off.
    pub index: Option<Arc<IndexReader>>,
}

/// The interfaces, listening.
pub struct Interfaces {
    http: Option<Http>,
    electrum: ElectrumServer,
    p2p: Option<(TcpListener, SocketAddr)>,
    p2p_connect: Vec<SocketAddr>,
    jsonrpc: Option<JsonRpcServer>,
}

/// What is served over HTTP.
struct Http {
    server: HttpServer,
    limits: Limits,
    registry: Option<Arc<Registry>>,
    descriptor_key: Arc<DescriptorKey>,
}

impl Interfaces {
    /// Takes the addresses of those that the configuration names, and reads the files that they need in `data`. With TLS,
    /// `identity` is shown.
    ///
    /// # Errors
    /// [`ListenError`] for the first that is not to be had.
    pub async fn bind(config: &InterfacesConfig, identity: &TlsIdentity, data: &DataDir) -> Result<Self, ListenError> {
        let http = match config.http {
            Some(address) => Some(Http {
                server: HttpServer::bind("explorers and Esplora clients", address).await?,
                limits: Limits::new(config.http_rate),
                registry: config.registry.as_ref().map(|folder| Arc::new(Registry::new(data.path().join(folder)))),
                descriptor_key: Arc::new(DescriptorKey::open(data)?),
            }),
            None => None,
        };
        let electrum = ElectrumServer::bind(config.electrum, config.electrum_tls, identity).await?;
        let p2p = match config.p2p {
            Some(address) => Some(bind("nodes of the Elements network", address).await?),
            None => None,
        };
        let jsonrpc = match config.jsonrpc {
            Some(address) => Some(JsonRpcServer::bind(address, data.path()).await?),
            None => None,
        };
        Ok(Self { http, electrum, p2p, p2p_connect: config.p2p_connect.clone(), jsonrpc })
    }

    /// Where HTTP is served; the port that was found where the configured one was 0.
    pub fn http_address(&self) -> Option<SocketAddr> {
        self.http.as_ref().map(|http| http.server.address())
    }

    /// Serves until `stop` is cancelled. An interface that fails does not stop the member.
    pub fn serve(self, sources: &Sources, stop: &CancellationToken) -> JoinSet<()> {
        let mut serving = JoinSet::new();
        if let Some(http) = self.http {
            tracing::info!(address = %http.server.address(), "HTTP");
            let pages = http.pages(sources);
            serving.spawn(http.server.serve(pages, stop.clone()));
        }
        for address in self.electrum.addresses() {
            tracing::info!(%address, "Electrum");
        }
        serving.spawn(self.electrum.serve(sources.clone(), stop.clone()));
        if self.p2p.is_some() || !self.p2p_connect.is_empty() {
            if let Some((_, address)) = &self.p2p {
                tracing::info!(%address, "Elements network");
            }
            let listener = self.p2p.map(|(listener, _)| listener);
            let (parts, limits) = (Self::network_parts(sources), p2p::Limits::default());
            serving.spawn(p2p::serve(parts, limits, listener, self.p2p_connect, stop.clone()));
        }
        if let Some(jsonrpc) = self.jsonrpc {
            tracing::info!(address = %jsonrpc.address(), cookie = %jsonrpc.cookie().display(), "JSON-RPC");
            serving.spawn(jsonrpc.serve(sources.clone(), stop.clone()));
        }
        serving
    }

    fn network_parts(sources: &Sources) -> p2p::Parts {
        let backend = Arc::clone(&sources.backend);
        p2p::Parts {
            params: Arc::clone(&sources.params),
            ledger: Arc::clone(&sources.ledger),
            mempool: Arc::clone(&sources.mempool),
            submit: Arc::new(move |transaction| backend.submit(transaction)),
        }
    }
}

impl Http {
    /// Everything that is served over HTTP.
    fn pages(&self, sources: &Sources) -> Router {
        let node = Node::new(sources.clone(), self.registry.clone());
        let waterfalls = Waterfalls::new(node.clone(), Arc::clone(&self.descriptor_key));
        let api = esplora::routes().with_state(node.clone()).merge(waterfalls::routes().with_state(waterfalls));
        let registry = registry::routes().with_state(node);
        let public = |router: Router| {
            let router = router.fallback(async || esplora::no_endpoint());
            open_to_all_origins(self.limits.around(router))
        };
        let requests = Requests::default();
        let pages = self.limits.around(web::router(sources.clone()));
        let all = pages.nest("/api", public(api)).nest("/registry", public(registry));
        requests.counted(all.merge(metrics::router(sources, &requests)))
    }
}
