//! Assets, their supply, and what the registry calls them.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::header::HeaderValue;
use axum::routing::get;
use elements::{AssetId, ContractHash, OutPoint, Txid};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::addresses::{of_places, of_waiting};
use super::transaction::{Status, TransactionValue};
use super::view::View;
use super::{Node, PAGE, no_endpoint, parse};
use crate::api::http::{Answer, Keep, Refusal, json, text};
use crate::api::registry::{Listed, Listing};
use crate::index::{AssetTotals, Order};

/// Decimals of the pegged asset: satoshi.
const PEGGED_PRECISION: u8 = 8;
/// Assets on a page of the registry, and most of them.
const LISTED: usize = 25;
const MAX_LISTED: usize = 100;

pub(super) fn routes() -> Router<Node> {
    Router::new()
        .route("/asset/{asset}", get(about))
        .route("/asset/{asset}/{part}", get(part))
        .route("/asset/{asset}/txs/{part}", get(history))
        .route("/asset/{asset}/txs/chain/{last}", get(chain))
        .route("/asset/{asset}/supply/decimal", get(decimal))
        .route("/assets/registry", get(registry))
}

#[derive(Debug, Serialize)]
struct PeggedStats {
    tx_count: u64,
    peg_in_count: u64,
    peg_in_amount: u64,
    peg_out_count: u64,
    peg_out_amount: u64,
    burn_count: u64,
    burned_amount: u64,
}

impl From<AssetTotals> for PeggedStats {
    fn from(totals: AssetTotals) -> Self {
        Self {
            tx_count: totals.transactions,
            peg_in_count: totals.pegins,
            peg_in_amount: totals.pegged_in_sat,
            peg_out_count: totals.pegouts,
            peg_out_amount: totals.pegged_out_sat,
            burn_count: totals.burns,
            burned_amount: totals.burned,
        }
    }
}

#[derive(Debug, Serialize)]
struct IssuedStats {
    tx_count: u64,
    issuance_count: u64,
    issued_amount: u64,
    burned_amount: u64,
    has_blinded_issuances: bool,
    /// `null` if none was made here, or it is hidden how many.
    reissuance_tokens: Option<u64>,
    burned_reissuance_tokens: u64,
}

impl IssuedStats {
    fn new(asset: AssetTotals, token: AssetTotals) -> Self {
        Self {
            tx_count: asset.transactions,
            issuance_count: asset.issuances,
            issued_amount: asset.issued,
            burned_amount: asset.burned,
            has_blinded_issuances: asset.blinded_issuances > 0,
            reissuance_tokens: (asset.issuances > 0 && asset.blinded_tokens == 0).then_some(asset.tokens),
            burned_reissuance_tokens: token.burned,
        }
    }
}

#[derive(Debug, Serialize)]
struct Entry {
    txid: Txid,
    vin: u32,
}

#[derive(Debug, Serialize)]
struct Prevout {
    txid: Txid,
    vout: u32,
}

/// What the registry says of an asset.
#[derive(Debug, Serialize)]
struct Meta {
    contract: Value,
    entity: Option<Value>,
    precision: u8,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ticker: Option<String>,
}

impl From<&Listed> for Meta {
    fn from(listed: &Listed) -> Self {
        let contract = &listed.contract;
        Self {
            entity: contract.document.get("entity").cloned(),
            precision: contract.precision,
            name: contract.name.clone(),
            ticker: contract.ticker.clone(),
            contract: contract.document.clone(),
        }
    }
}

#[derive(Debug, Serialize)]
struct Issued {
    asset_id: AssetId,
    issuance_txin: Entry,
    issuance_prevout: Prevout,
    reissuance_token: AssetId,
    #[serde(skip_serializing_if = "Option::is_none")]
    contract_hash: Option<ContractHash>,
    status: Status,
    chain_stats: IssuedStats,
    mempool_stats: IssuedStats,
    #[serde(flatten)]
    meta: Option<Meta>,
}

#[derive(Debug, Serialize)]
struct Pegged {
    asset_id: AssetId,
    chain_stats: PeggedStats,
    mempool_stats: PeggedStats,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum AssetValue {
    Issued(Box<Issued>),
    Pegged(Pegged),
}

impl AssetValue {
    fn find(view: &View<'_>, listing: &Listing, asset: &AssetId) -> Result<Self, Refusal> {
        let (chain, waiting) = totals(view, asset)?;
        if *asset == view.params.pegged_asset() {
            let (chain_stats, mempool_stats) = (chain.into(), waiting.into());
            return Ok(Self::Pegged(Pegged { asset_id: *asset, chain_stats, mempool_stats }));
        }
        let first = Issuance::find(view, asset)?.ok_or_else(|| Refusal::NotFound("Asset id not found".to_owned()))?;
        let (chain_tokens, waiting_tokens) = totals(view, &first.token)?;
        Ok(Self::Issued(Box::new(Issued {
            asset_id: *asset,
            issuance_txin: Entry { txid: first.txid, vin: first.vin },
            issuance_prevout: Prevout { txid: first.prevout.txid, vout: first.prevout.vout },
            reissuance_token: first.token,
            contract_hash: Some(first.contract_hash).filter(|hash| hash.to_byte_array() != [0; 32]),
            status: first.status,
            chain_stats: IssuedStats::new(chain, chain_tokens),
            mempool_stats: IssuedStats::new(waiting, waiting_tokens),
            meta: listing.assets.get(asset).map(|listed| Meta::from(&**listed)),
        })))
    }

    /// What is on the chain or about to be; `None` where part of it is hidden.
    fn supply(&self) -> Option<u64> {
        let (issued, removed) = match self {
            Self::Pegged(Pegged { chain_stats: chain, mempool_stats: waiting, .. }) => (
                [chain.peg_in_amount, waiting.peg_in_amount],
                [chain.peg_out_amount, chain.burned_amount, waiting.peg_out_amount, waiting.burned_amount].to_vec(),
            ),
            Self::Issued(issued) => {
                let (chain, waiting) = (&issued.chain_stats, &issued.mempool_stats);
                if chain.has_blinded_issuances || waiting.has_blinded_issuances {
                    return None;
                }
                ([chain.issued_amount, waiting.issued_amount], vec![chain.burned_amount, waiting.burned_amount])
            }
        };
        let issued = issued.into_iter().fold(0, u64::saturating_add);
        Some(removed.into_iter().fold(issued, u64::saturating_sub))
    }

    fn precision(&self) -> u8 {
        match self {
            Self::Pegged(_) => PEGGED_PRECISION,
            Self::Issued(issued) => issued.meta.as_ref().map_or(0, |meta| meta.precision),
        }
    }
}

/// Of the chain and of what waits.
fn totals(view: &View<'_>, asset: &AssetId) -> Result<(AssetTotals, AssetTotals), Refusal> {
    Ok((view.index.asset_totals(asset)?.unwrap_or_default(), view.waiting().asset_totals(asset)))
}

/// The first issuance of an asset, final or waiting.
struct Issuance {
    txid: Txid,
    vin: u32,
    prevout: OutPoint,
    token: AssetId,
    contract_hash: ContractHash,
    status: Status,
}

impl Issuance {
    fn find(view: &View<'_>, asset: &AssetId) -> Result<Option<Self>, Refusal> {
        let stored = view.ledger().issuance(asset)?.filter(|stored| stored.height <= view.tip.height);
        if let Some(stored) = stored {
            let record = stored.record;
            let transaction = view.decoded(&record.txid)?;
            let input = transaction.as_ref().and_then(|found| found.input.get(usize::try_from(record.vin).ok()?));
            return Ok(input.map(|input| Self {
                txid: record.txid,
                vin: record.vin,
                prevout: input.previous_output,
                token: record.token,
                contract_hash: ContractHash::from_byte_array(record.contract_hash.unwrap_or_default()),
                status: Status::from(view.at(stored.height).ok().flatten()),
            }));
        }
        for waiting in view.waiting().asset_history(asset) {
            for (vin, input) in (0u32..).zip(&waiting.transaction.input) {
                let issued = aquifer_assets::transaction::issued_assets(input);
                if let Some((_, issued, token)) = issued
                    && issued == *asset
                    && input.asset_issuance.asset_blinding_nonce.is_null()
                {
                    return Ok(Some(Self {
                        txid: waiting.txid,
                        vin,
                        prevout: input.previous_output,
                        token,
                        contract_hash: input.asset_issuance.asset_entropy.into_contract_hash(),
                        status: Status::from(None),
                    }));
                }
            }
        }
        Ok(None)
    }
}

/// The registry, as far as the chain confirms it.
fn listing(node: &Node, view: &View<'_>) -> Result<Arc<Listing>, Refusal> {
    match &node.registry {
        Some(registry) => registry.listing(view),
        None => Ok(Arc::default()),
    }
}

async fn about(State(node): State<Node>, Path(asset): Path<String>) -> Answer {
    let asset = parse(&asset, "asset id")?;
    let names = node.clone();
    node.read(move |view| json(&AssetValue::find(view, &*listing(&names, view)?, &asset)?, Keep::SHORT)).await
}

async fn part(State(node): State<Node>, Path((asset, part)): Path<(String, String)>) -> Answer {
    let asset = parse(&asset, "asset id")?;
    let names = node.clone();
    node.read(move |view| match part.as_str() {
        "txs" => {
            let mut values = waiting(view, &asset);
            values.extend(confirmed(view, &asset, None)?);
            json(&values, Keep::SHORT)
        }
        "supply" => text(supply(&names, view, &asset)?.0, Keep::SHORT),
        _ => Err(no_endpoint()),
    })
    .await
}

async fn decimal(State(node): State<Node>, Path(asset): Path<String>) -> Answer {
    let asset = parse(&asset, "asset id")?;
    let names = node.clone();
    node.read(move |view| {
        let (supply, precision) = supply(&names, view, &asset)?;
        text(as_decimal(supply, precision), Keep::SHORT)
    })
    .await
}

fn supply(node: &Node, view: &View<'_>, asset: &AssetId) -> Result<(u64, u8), Refusal> {
    let value = AssetValue::find(view, &*listing(node, view)?, asset)?;
    let supply = value.supply().ok_or_else(|| Refusal::Malformed("Asset supply is blinded".to_owned()))?;
    Ok((supply, value.precision()))
}

/// Without zeros at the end, and exact.
fn as_decimal(amount: u64, precision: u8) -> String {
    let Some(unit) = 10u64.checked_pow(precision.into()).filter(|unit| *unit > 1) else { return amount.to_string() };
    let (whole, rest) = (amount / unit, amount % unit);
    let rest = format!("{rest:0width$}", width = usize::from(precision));
    format!("{whole}.{rest}").trim_end_matches('0').trim_end_matches('.').to_owned()
}

async fn history(State(node): State<Node>, Path((asset, part)): Path<(String, String)>) -> Answer {
    let asset = parse(&asset, "asset id")?;
    node.read(move |view| match part.as_str() {
        "chain" => json(&confirmed(view, &asset, None)?, Keep::SHORT),
        "mempool" => json(&waiting(view, &asset), Keep::SHORT),
        _ => Err(no_endpoint()),
    })
    .await
}

async fn chain(State(node): State<Node>, Path((asset, last)): Path<(String, String)>) -> Answer {
    let asset = parse(&asset, "asset id")?;
    let last: Txid = parse(&last, "transaction id")?;
    node.read(move |view| json(&confirmed(view, &asset, Some(&last))?, Keep::SHORT)).await
}

fn waiting(view: &View<'_>, asset: &AssetId) -> Vec<TransactionValue> {
    of_waiting(view, &view.waiting().asset_history(asset))
}

fn confirmed(view: &View<'_>, asset: &AssetId, after: Option<&Txid>) -> Result<Vec<TransactionValue>, Refusal> {
    of_places(view, &view.index.asset_history(asset, Order::NewestFirst, after, PAGE)?)
}

#[derive(Debug, Deserialize)]
struct Page {
    start_index: Option<String>,
    limit: Option<String>,
    sort_field: Option<String>,
    sort_dir: Option<String>,
}

/// What the list is ordered by.
#[derive(Clone, Copy, Debug)]
enum Field {
    Name,
    Ticker,
    Domain,
}

async fn registry(State(node): State<Node>, Query(page): Query<Page>) -> Answer {
    let number = |text: Option<&String>| text.map(|text| parse::<usize>(text, "number")).transpose();
    let skip = number(page.start_index.as_ref())?.unwrap_or(0);
    let limit = number(page.limit.as_ref())?.unwrap_or(LISTED).min(MAX_LISTED);
    let field = match page.sort_field.as_deref() {
        None | Some("ticker") => Field::Ticker,
        Some("name") => Field::Name,
        Some("domain") => Field::Domain,
        Some(_) => return Err(Refusal::Malformed("invalid sort field".to_owned())),
    };
    let is_descending = match page.sort_dir.as_deref() {
        None | Some("asc") => false,
        Some("desc") => true,
        Some(_) => return Err(Refusal::Malformed("invalid sort direction".to_owned())),
    };
    let names = node.clone();
    node.read(move |view| {
        let listing = listing(&names, view)?;
        let mut listed: Vec<&Arc<Listed>> = listing.assets.values().collect();
        listed.sort_by_cached_key(|listed| {
            let contract = &listed.contract;
            let key = match field {
                Field::Name => Some(contract.name.to_lowercase()),
                Field::Ticker => contract.ticker.as_ref().map(|ticker| ticker.to_lowercase()),
                Field::Domain => Some(contract.domain.clone()),
            };
            (key, listed.asset)
        });
        if is_descending {
            listed.reverse();
        }
        let page = listed.iter().skip(skip).take(limit);
        let values = page.map(|listed| AssetValue::find(view, &listing, &listed.asset));
        let mut answer = json(&values.collect::<Result<Vec<_>, _>>()?, Keep::No)?;
        answer.headers_mut().insert("X-Total-Results", HeaderValue::from(listed.len()));
        Ok(answer)
    })
    .await
}
