//! The asset registry: what assets are called, in the form that wallets of the field read.
//!
//! The names come from contracts that issuances commit to; see [`folder`] for where the contracts come from. Whether the
//! domain in a contract stands behind its asset is for whoever puts the file there to find out.

mod contract;
mod date;
mod folder;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::header::{HeaderMap, HeaderValue, IF_MODIFIED_SINCE, LAST_MODIFIED};
use axum::routing::get;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use elements::AssetId;
use serde::Serialize;
use serde_json::{Map, Value, json as document};

pub(crate) use self::folder::{Listed, Listing, Registry};
use super::esplora::{Node, parse};
use super::http::{Answer, Keep, Refusal, json, not_modified};

/// How long wallets may keep the lists before they ask whether there is a newer one.
const KEEP: Keep = Keep::Seconds(60);

/// Everything below `/registry`.
pub(crate) fn routes() -> Router<Node> {
    Router::new()
        .route("/", get(index))
        .route("/index.json", get(index))
        .route("/index.minimal.json", get(minimal))
        .route("/icons.json", get(icons))
        .route("/{asset}", get(about))
}

/// An entry as wallets read it.
fn entry(listed: &Listed) -> Value {
    let contract = &listed.contract;
    let (txid, vin) = listed.issuance;
    let mut entry = Map::new();
    let mut put = |name: &str, value: Value| entry.insert(name.to_owned(), value);
    put("asset_id", document!(listed.asset));
    put("contract", contract.document.clone());
    put("entity", document!({ "domain": contract.domain }));
    put("issuance_prevout", document!({ "txid": listed.prevout.txid, "vout": listed.prevout.vout }));
    put("issuance_txin", document!({ "txid": txid, "vin": vin }));
    put("name", document!(contract.name));
    put("precision", document!(contract.precision));
    if let Some(ticker) = &contract.ticker {
        put("ticker", document!(ticker));
    }
    put("version", document!(contract.version));
    Value::Object(entry)
}

/// Answers with a document about the whole listing, unless the caller has it.
async fn whole<T: Serialize>(
    node: Node,
    asked: HeaderMap,
    make: impl Fn(&Listed) -> Option<T> + Send + 'static,
) -> Answer {
    let registry = registry(&node)?;
    node.read(move |view| {
        let listing = registry.listing(view)?;
        let since = listing.since.and_then(|since| HeaderValue::try_from(date::http_date(since)).ok());
        let mut answer = if since.is_some() && asked.get(IF_MODIFIED_SINCE) == since.as_ref() {
            not_modified(KEEP)?
        } else {
            let made = listing.assets.iter().filter_map(|(asset, listed)| Some((*asset, make(listed)?)));
            json(&made.collect::<BTreeMap<AssetId, T>>(), KEEP)?
        };
        if let Some(since) = since {
            answer.headers_mut().insert(LAST_MODIFIED, since);
        }
        Ok(answer)
    })
    .await
}

fn registry(node: &Node) -> Result<Arc<Registry>, Refusal> {
    node.registry.clone().ok_or_else(|| Refusal::NotFound("this member keeps no asset registry".to_owned()))
}

async fn index(State(node): State<Node>, asked: HeaderMap) -> Answer {
    whole(node, asked, |listed| Some(entry(listed))).await
}

async fn minimal(State(node): State<Node>, asked: HeaderMap) -> Answer {
    whole(node, asked, |listed| {
        let contract = &listed.contract;
        Some(document!([contract.domain, contract.ticker, contract.name, contract.precision]))
    })
    .await
}

async fn icons(State(node): State<Node>, asked: HeaderMap) -> Answer {
    whole(node, asked, |listed| listed.icon.as_ref().map(|icon| BASE64_STANDARD.encode(icon))).await
}

async fn about(State(node): State<Node>, Path(asset): Path<String>) -> Answer {
    let asset: AssetId = parse(&asset, "asset id")?;
    let registry = registry(&node)?;
    node.read(move |view| {
        let listing = registry.listing(view)?;
        let listed = listing.assets.get(&asset).ok_or_else(|| Refusal::NotFound("Asset id not found".to_owned()))?;
        json(&entry(listed), KEEP)
    })
    .await
}
