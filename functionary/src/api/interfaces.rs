//! The interfaces for other software, as the configuration of the member asks for them.

use std::sync::Arc;

use aquifer_assets::chain::ChainParams;
use aquifer_federation::roster::Roster;
use axum::Router;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::LedgerBackend;
use super::bind::ListenError;
use super::http::HttpServer;
use super::jsonrpc::JsonRpcServer;
use super::web;
use crate::config::{DataDir, InterfacesConfig};
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
    jsonrpc: Option<JsonRpcServer>,
}

impl Interfaces {
    /// Takes the addresses of those that the configuration names. What callers need for logging in is left in `data`.
    ///
    /// # Errors
    /// [`ListenError`] for the first that is not to be had.
    pub async fn bind(config: &InterfacesConfig, data: &DataDir) -> Result<Self, ListenError> {
        let http = match config.http {
            Some(address) => Some(HttpServer::bind("explorers and Esplora clients", address).await?),
            None => None,
        };
        let jsonrpc = match config.jsonrpc {
            Some(address) => Some(JsonRpcServer::bind(address, data.path()).await?),
            None => None,
        };
        Ok(Self { http, jsonrpc })
    }

    /// Serves until `stop` is cancelled. An interface that fails does not stop the member.
    pub fn serve(self, sources: &Sources, stop: &CancellationToken) -> JoinSet<()> {
        let mut serving = JoinSet::new();
        if let Some(http) = self.http {
            tracing::info!(address = %http.address(), "HTTP");
            serving.spawn(http.serve(Self::pages(sources), stop.clone()));
        }
        if let Some(jsonrpc) = self.jsonrpc {
            tracing::info!(address = %jsonrpc.address(), cookie = %jsonrpc.cookie().display(), "JSON-RPC");
            serving.spawn(jsonrpc.serve(sources.clone(), stop.clone()));
        }
        serving
    }

    /// Everything that is served over HTTP.
    fn pages(sources: &Sources) -> Router {
        web::router(sources.clone())
    }
}
