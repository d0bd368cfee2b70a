//! Hints that something of a wallet has changed, as server-sent events.
//!
//! A client that hears one scans again. It is told of every new block (`tip`, or `block` if the wallet has to do with it)
//! and of changes among what waits (`mempool`). Blocks are final, so there is no `reorg`. What a slow client misses is made
//! up by a `block`.

use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::Response;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use elements::BlockHash;
use futures::Stream;
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use super::descriptor;
use super::scan::window;
use crate::api::esplora::Node;
use crate::api::http::{Answer, Refusal};
use crate::index::{IndexChange, ScriptHash};
use crate::store::ledger::Tip;

/// Addresses of each chain that are watched.
const MAX_WATCHED: u32 = 1_000;
/// How often a silent client is written to: only so does it show that one is gone.
const ALIVE_EVERY: Duration = Duration::from_secs(15);

/// What has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Tip,
    Mempool,
    Block,
}

#[derive(Debug, Serialize)]
struct Event {
    r#type: Kind,
    tip: TipValue,
}

#[derive(Debug, Serialize)]
struct TipValue {
    height: u32,
    block_hash: BlockHash,
    timestamp: u32,
}

impl Event {
    fn line(kind: Kind, tip: &Tip) -> Bytes {
        let tip = TipValue { height: tip.height, block_hash: tip.hash, timestamp: tip.time };
        // Of plain numbers and strings: cannot fail.
        let data = serde_json::to_string(&Self { r#type: kind, tip }).unwrap_or_default();
        format!("event: update\ndata: {data}\n\n").into()
    }
}

/// A client that listens.
struct Subscription {
    node: Node,
    descriptor: Arc<str>,
    changes: Receiver<Arc<IndexChange>>,
    watched: HashSet<ScriptHash>,
    height: u32,
    _place: OwnedSemaphorePermit,
}

/// Everything that is watched for a descriptor, and the tip at that time.
async fn watched(node: &Node, descriptor: Arc<str>) -> Result<(HashSet<ScriptHash>, Tip), Refusal> {
    node.read(move |view| {
        let mut watched = HashSet::new();
        for chain in descriptor::chains(&descriptor)? {
            watched.extend(window(view, &chain, MAX_WATCHED)?.0);
        }
        Ok((watched, view.tip))
    })
    .await
}

/// Answers with a stream of events.
pub(super) async fn subscribe(node: Node, descriptor: String, place: OwnedSemaphorePermit) -> Answer {
    let descriptor: Arc<str> = descriptor.into();
    // Before the first look, so that nothing falls between the two.
    let changes = node.index()?.changes();
    let (watched, tip) = watched(&node, Arc::clone(&descriptor)).await?;
    let subscription = Subscription { node, descriptor, changes, watched, height: tip.height, _place: place };
    let mut response = Response::new(Body::from_stream(events(subscription)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

fn events(subscription: Subscription) -> impl Stream<Item = Result<Bytes, Infallible>> {
    let ready = futures::stream::once(async { Ok(Bytes::from_static(b": ready\n\n")) });
    let updates = futures::stream::unfold(subscription, |mut subscription| async move {
        let line = match tokio::time::timeout(ALIVE_EVERY, subscription.next()).await {
            Ok(line) => line?,
            Err(_) => Bytes::from_static(b": alive\n\n"),
        };
        Some((Ok(line), subscription))
    });
    futures::StreamExt::chain(ready, updates)
}

impl Subscription {
    /// The next event; `None` when the member stops.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            let (height, is_touched) = match self.changes.recv().await {
                Ok(change) => (change.height, !change.scripts.is_disjoint(&self.watched)),
                Err(RecvError::Lagged(_)) => (u32::MAX, true),
                Err(RecvError::Closed) => return None,
            };
            let kind = match (height > self.height, is_touched) {
                (true, true) => Kind::Block,
                (true, false) => Kind::Tip,
                (false, true) => Kind::Mempool,
                (false, false) => continue,
            };
            // A used address moves the end of what is watched.
            let tip = if is_touched {
                let (watched, tip) = watched(&self.node, Arc::clone(&self.descriptor)).await.ok()?;
                self.watched = watched;
                tip
            } else {
                self.node.read(|view| Ok(view.tip)).await.ok()?
            };
            self.height = tip.height;
            return Some(Event::line(kind, &tip));
        }
    }
}
