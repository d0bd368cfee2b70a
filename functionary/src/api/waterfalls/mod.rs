//! Waterfalls: everything that a wallet must know of the chain, in one answer to its descriptor.
//!
//! As LWK's client speaks it, second version. Where it asks for blocks and transactions, it uses Esplora's paths at the same
//! place. Descriptors come encrypted to this member's key or plain; they are kept nowhere, but whoever serves a wallet so
//! learns all of its addresses.

mod descriptor;
mod key;
mod scan;
mod subscribe;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Query, State};
use axum::routing::get;
use elements::{Address, BlockHash, Script};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

pub(crate) use self::key::DescriptorKey;
use self::scan::{Range, Wanted, window};
use super::esplora::{ADDRESSES, Node, parse};
use super::http::{Answer, Keep, Refusal, json, text};

/// Addresses in one question.
const MAX_ADDRESSES: usize = 100;
/// Addresses of a chain among which the last used one is looked for.
const MAX_INDEX: u32 = 10_000;
/// Clients that listen for changes at a time.
const MAX_SUBSCRIPTIONS: usize = 512;

/// What the handlers work with. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Waterfalls {
    node: Node,
    key: Arc<DescriptorKey>,
    subscriptions: Arc<Semaphore>,
}

impl Waterfalls {
    pub(crate) fn new(node: Node, key: Arc<DescriptorKey>) -> Self {
        Self { node, key, subscriptions: Arc::new(Semaphore::new(MAX_SUBSCRIPTIONS)) }
    }
}

/// What is below `/api` for Waterfalls.
pub(crate) fn routes() -> Router<Waterfalls> {
    Router::new()
        .route("/v1/server_recipient", get(recipient))
        .route("/v1/last_used_index", get(last_used))
        .route("/v1/subscribe", get(subscribe))
        .route("/v2/waterfalls", get(scan))
}

async fn recipient(State(state): State<Waterfalls>) -> Answer {
    text(state.key.recipient(), Keep::No)
}

#[derive(Debug, Deserialize)]
struct Question {
    descriptor: Option<String>,
    addresses: Option<String>,
    page: Option<String>,
    to_index: Option<String>,
    utxo_only: Option<String>,
}

async fn scan(State(state): State<Waterfalls>, Query(question): Query<Question>) -> Answer {
    let number = |given: &Option<String>| given.as_deref().map(|given| parse::<u32>(given, "number")).transpose();
    let page = number(&question.page)?.unwrap_or(0);
    let page = u16::try_from(page).map_err(|_| Refusal::Malformed(format!("there is no page {page}")))?;
    let to_index = number(&question.to_index)?.unwrap_or(0);
    let wanted = match question.utxo_only.as_deref() {
        None | Some("false") => Wanted::History,
        Some("true") => Wanted::Unspent,
        Some(_) => return Err(Refusal::Malformed("utxo_only is true or false".to_owned())),
    };
    match (question.descriptor, question.addresses) {
        (Some(_), Some(_)) => Err(Refusal::Malformed("CannotSpecifyBothDescriptorAndAddresses".to_owned())),
        (None, None) => Err(Refusal::Malformed("AtLeastOneFieldMandatory".to_owned())),
        (Some(sent), None) => {
            let descriptor = state.key.open_descriptor(&sent)?;
            let answer = state.node.read(move |view| {
                let chains = descriptor::chains(&descriptor)?;
                json(&scan::of_chains(view, &chains, Range { page, to_index }, wanted)?, Keep::No)
            });
            answer.await
        }
        (None, Some(addresses)) => {
            let scripts = scripts(&addresses)?;
            if page > 0 && scripts.len() > 1 {
                return Err(Refusal::Malformed("AddressPageRequiresSingleAddress".to_owned()));
            }
            state.node.read(move |view| json(&scan::of_addresses(view, &scripts, page, wanted)?, Keep::No)).await
        }
    }
}

fn scripts(addresses: &str) -> Result<Vec<Script>, Refusal> {
    let addresses: Vec<&str> = addresses.split(',').collect();
    if addresses.len() > MAX_ADDRESSES {
        return Err(Refusal::Malformed(format!("TooManyAddresses: at most {MAX_ADDRESSES}")));
    }
    let script = |text: &str| {
        let address = Address::parse_with_params(text, ADDRESSES);
        let address = address.map_err(|error| Refusal::Malformed(format!("Invalid address: {error}")))?;
        // The blinding key would tell more than is needed.
        if address.is_blinded() {
            return Err(Refusal::Malformed("AddressCannotBeBlinded".to_owned()));
        }
        Ok(address.script_pubkey())
    };
    addresses.into_iter().map(script).collect()
}

#[derive(Debug, Deserialize)]
struct Wallet {
    descriptor: Option<String>,
}

impl Wallet {
    fn descriptor(self, state: &Waterfalls) -> Result<String, Refusal> {
        let sent = self.descriptor.ok_or_else(|| Refusal::Malformed("AtLeastOneFieldMandatory".to_owned()))?;
        state.key.open_descriptor(&sent)
    }
}

#[derive(Debug, Serialize)]
struct LastUsed {
    external: Option<u32>,
    internal: Option<u32>,
    tip: BlockHash,
}

async fn last_used(State(state): State<Waterfalls>, Query(wallet): Query<Wallet>) -> Answer {
    let descriptor = wallet.descriptor(&state)?;
    let answer = state.node.read(move |view| {
        let mut last = Vec::new();
        for chain in descriptor::chains(&descriptor)? {
            last.push(window(view, &chain, MAX_INDEX)?.1);
        }
        let of = |chain: usize| last.get(chain).copied().flatten();
        json(&LastUsed { external: of(0), internal: of(1), tip: view.tip.hash }, Keep::No)
    });
    answer.await
}

async fn subscribe(State(state): State<Waterfalls>, Query(wallet): Query<Wallet>) -> Answer {
    let descriptor = wallet.descriptor(&state)?;
    let place = Arc::clone(&state.subscriptions).try_acquire_owned();
    let place = place.map_err(|_| Refusal::NotNow("too many clients listen at the moment".to_owned()))?;
    subscribe::subscribe(state.node, descriptor, place).await
}
