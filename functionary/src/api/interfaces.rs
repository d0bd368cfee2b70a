//! The interfaces for other software, as the configuration of the member asks for them.

use std::sync::Arc;

use aquifer_assets::chain::ChainParams;
use aquifer_federation::roster::Roster;
use axum::Router;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::LedgerBackend;
use super::bind::BindError;
use super::http::HttpServer;
use super::metrics::{self, Requests};
use super::web;
use crate::chain::CoreStatus;
use crate::config::InterfacesConfig;
use crate::index::IndexReader;
use crate::mempool::Mempool;
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
    http: Option<HttpServer>,
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
        Ok(Self { http })
    }

    /// Serves until `stop` is cancelled. An interface that fails does not stop the member.
    pub fn serve(self, sources: &Sources, stop: &CancellationToken) -> JoinSet<()> {
        let mut serving = JoinSet::new();
        if let Some(http) = self.http {
            tracing::info!(address = %http.address(), "HTTP");
            serving.spawn(http.serve(Self::pages(sources), stop.clone()));
        }
        serving
    }

    /// Everything that is served over HTTP.
    fn pages(sources: &Sources) -> Router {
        let requests = Requests::default();
        requests.counted(web::router(sources.clone()).merge(metrics::router(sources, &requests)))
    }
}
