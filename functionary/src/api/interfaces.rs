//! The interfaces for other software, as the configuration of the member asks for them.

use std::net::SocketAddr;
use std::sync::Arc;

use aquifer_assets::chain::ChainParams;
use axum::Router;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::LedgerBackend;
use super::bind::{BindError, bind};
use super::http::HttpServer;
use crate::config::InterfacesConfig;
use crate::mempool::Mempool;
use crate::p2p;
use crate::store::ledger::LedgerReader;

/// What the interfaces read and whom they hand transactions to. Cheap to clone.
#[derive(Clone)]
pub struct Sources {
    /// The chain.
    pub params: Arc<ChainParams>,
    /// Final blocks and what follows from them.
    pub ledger: Arc<LedgerReader>,
    /// What waits for a block.
    pub mempool: Arc<Mempool>,
    /// Takes transactions, and knows of the member's health, the peg and the valve.
    pub backend: Arc<dyn LedgerBackend>,
}

/// The interfaces, listening.
pub struct Interfaces {
    http: Option<HttpServer>,
    p2p: Option<(TcpListener, SocketAddr)>,
    p2p_connect: Vec<SocketAddr>,
}

impl Interfaces {
    /// Takes the addresses of those that the configuration names.
    ///
    /// # Errors
    /// [`BindError`] for the first that is not to be had.
    pub async fn bind(config: &InterfacesConfig) -> Result<Self, BindError> {
        let http = match config.http {
            Some(address) => Some(HttpServer::bind("explorers and Esplora clients", address).await?),
            None => None,
        };
        let p2p = match config.p2p {
            Some(address) => Some(bind("nodes of the Elements network", address).await?),
            None => None,
        };
        Ok(Self { http, p2p, p2p_connect: config.p2p_connect.clone() })
    }

    /// Serves until `stop` is cancelled. An interface that fails does not stop the member.
    pub fn serve(self, sources: &Sources, stop: &CancellationToken) -> JoinSet<()> {
        let mut serving = JoinSet::new();
        if let Some(http) = self.http {
            tracing::info!(address = %http.address(), "HTTP");
            serving.spawn(http.serve(Self::pages(sources), stop.clone()));
        }
        if self.p2p.is_some() || !self.p2p_connect.is_empty() {
            if let Some((_, address)) = &self.p2p {
                tracing::info!(%address, "Elements network");
            }
            let listener = self.p2p.map(|(listener, _)| listener);
            let (parts, limits) = (Self::network_parts(sources), p2p::Limits::default());
            serving.spawn(p2p::serve(parts, limits, listener, self.p2p_connect, stop.clone()));
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

    /// Everything that is served over HTTP.
    fn pages(_sources: &Sources) -> Router {
        Router::new()
    }
}
