//! The interfaces for other software, as the configuration of the member asks for them.

use std::sync::Arc;

use aquifer_assets::chain::ChainParams;
use aquifer_federation::roster::Roster;
use axum::Router;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::LedgerBackend;
use super::bind::ListenError;
use super::electrum::ElectrumServer;
use super::http::HttpServer;
use super::web;
use crate::config::InterfacesConfig;
use crate::index::IndexReader;
use crate::mempool::Mempool;
use crate::peers::TlsIdentity;
use crate::store::ledger::LedgerReader;

/// What the interfaces read and whom they hand transactions to. Cheap to clone.
#[derive(Clone)]
pub struct Sources {
    /// The chain.
    pub params: Arc<ChainParams>,
    /// The members.
    pub roster: Arc<Roster>,
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
    http: Option<HttpServer>,
    electrum: ElectrumServer,
}

impl Interfaces {
    /// Takes the addresses of those that the configuration names. With TLS, `identity` is shown.
    ///
    /// # Errors
    /// [`ListenError`] for the first that is not to be had.
    pub async fn bind(config: &InterfacesConfig, identity: &TlsIdentity) -> Result<Self, ListenError> {
        let http = match config.http {
            Some(address) => Some(HttpServer::bind("explorers and Esplora clients", address).await?),
            None => None,
        };
        let electrum = ElectrumServer::bind(config.electrum, config.electrum_tls, identity).await?;
        Ok(Self { http, electrum })
    }

    /// Serves until `stop` is cancelled. An interface that fails does not stop the member.
    pub fn serve(self, sources: &Sources, stop: &CancellationToken) -> JoinSet<()> {
        let mut serving = JoinSet::new();
        if let Some(http) = self.http {
            tracing::info!(address = %http.address(), "HTTP");
            serving.spawn(http.serve(Self::pages(sources), stop.clone()));
        }
        for address in self.electrum.addresses() {
            tracing::info!(%address, "Electrum");
        }
        serving.spawn(self.electrum.serve(sources.clone(), stop.clone()));
        serving
    }

    /// Everything that is served over HTTP.
    fn pages(sources: &Sources) -> Router {
        web::router(sources.clone())
    }
}
