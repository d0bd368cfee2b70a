//! Esplora's HTTP interface, as Blockstream's server has it for Liquid.
//!
//! Everything is read from one [`View`]: the index, and what waits at the same height. Blocks are final when they are
//! there, so whatever follows from them alone may be kept for ever; Blockstream's server waits for ten confirmations before
//! it says so. Refusals are lines of text.
//!
//! What is not offered, and says so: searching addresses by their beginning, and templates of blocks.

mod addresses;
mod assets;
mod blocks;
mod mempool;
mod transaction;
mod transactions;
mod view;

use std::str::FromStr;
use std::sync::Arc;

use axum::Router;

pub(crate) use self::transaction::ADDRESSES;
pub(crate) use self::view::View;
use super::Sources;
use super::http::{Answer, Refusal, Work};
use super::registry::Registry;
use crate::index::IndexReader;

/// Final transactions on a page.
const PAGE: usize = 25;
/// Waiting transactions that are shown.
const MAX_WAITING: usize = 50;

/// What the handlers work with. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Node {
    sources: Sources,
    work: Work,
    /// The names of assets, where the member has a registry.
    pub(crate) registry: Option<Arc<Registry>>,
}

impl Node {
    pub(crate) fn new(sources: Sources, registry: Option<Arc<Registry>>) -> Self {
        Self { sources, work: Work::default(), registry }
    }

    /// Answers from one state of the chain, on a thread that may wait.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        answer: impl FnOnce(&View<'_>) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let sources = self.sources.clone();
        let index = self.index()?;
        self.work.run(move |deadline| answer(&View::new(&sources.params, &index, deadline)?)).await
    }

    /// Does something else that may wait.
    async fn act(&self, act: impl FnOnce(&Sources) -> Answer + Send + 'static) -> Answer {
        let sources = self.sources.clone();
        self.work.run(move |_| act(&sources)).await
    }

    /// The index.
    pub(crate) fn index(&self) -> Result<Arc<IndexReader>, Refusal> {
        self.sources.index.clone().ok_or(Refusal::Forbidden("this member keeps no index of the chain"))
    }
}

/// Everything below `/api` that Esplora's clients ask for.
pub(crate) fn routes() -> Router<Node> {
    Router::new()
        .merge(blocks::routes())
        .merge(addresses::routes())
        .merge(transactions::routes())
        .merge(mempool::routes())
        .merge(assets::routes())
}

/// Reads a part of a path.
pub(crate) fn parse<T: FromStr>(text: &str, what: &str) -> Result<T, Refusal> {
    text.parse().map_err(|_| Refusal::Malformed(format!("Invalid {what}")))
}

/// The answer to a path that nothing is at.
pub(crate) fn no_endpoint() -> Refusal {
    Refusal::NotFound("endpoint does not exist".to_owned())
}
