//! Transactions, what spends them, and handing them in.

use aquifer_assets::block::merkle_branch;
use aquifer_assets::primitives::Transaction;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::routing::{get, post};
use elements::{OutPoint, Txid};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json as document};

use super::transaction::{Status, TransactionValue};
use super::view::View;
use super::{Node, parse};
use crate::api::http::{Answer, Keep, Refusal, binary, json, text};
use crate::api::{Sources, SubmitError};

/// Transactions that may be handed in together.
const MAX_PACKAGE: usize = 25;

pub(super) fn routes() -> Router<Node> {
    Router::new()
        .route("/tx", post(submit))
        .route("/broadcast", get(broadcast))
        .route("/txs/package", post(package))
        .route("/tx/{txid}", get(about))
        .route("/tx/{txid}/{part}", get(part))
        .route("/tx/{txid}/outspend/{vout}", get(outspend))
}

fn unknown() -> Refusal {
    Refusal::NotFound("Transaction not found".to_owned())
}

/// What follows from a final block is settled.
fn keep(is_final: bool) -> Keep {
    if is_final { Keep::Settled } else { Keep::SHORT }
}

async fn about(State(node): State<Node>, Path(txid): Path<String>) -> Answer {
    let txid = parse(&txid, "transaction id")?;
    node.read(move |view| {
        let found = view.transaction(&txid)?.ok_or_else(unknown)?;
        json(&TransactionValue::new(view, &found), keep(found.block.is_some()))
    })
    .await
}

async fn part(State(node): State<Node>, Path((txid, part)): Path<(String, String)>) -> Answer {
    let txid: Txid = parse(&txid, "transaction id")?;
    node.read(move |view| match part.as_str() {
        "hex" => {
            let raw = view.raw(&txid)?.ok_or_else(unknown)?;
            text(hex::encode(raw.bytes), keep(raw.place.is_some()))
        }
        "raw" => {
            let raw = view.raw(&txid)?.ok_or_else(unknown)?;
            binary(raw.bytes, keep(raw.place.is_some()))
        }
        "status" => {
            let place = view.index.place(&txid)?;
            let block = place.map(|place| view.known(place.height)).transpose()?;
            json(&Status::from(block), keep(block.is_some()))
        }
        "merkle-proof" => merkle_proof(view, &txid),
        "outspends" => outspends(view, &txid),
        _ => Err(super::no_endpoint()),
    })
    .await
}

#[derive(Debug, Serialize)]
struct MerkleProof {
    block_height: u32,
    /// From the leaf up.
    merkle: Vec<Txid>,
    pos: u32,
}

fn merkle_proof(view: &View<'_>, txid: &Txid) -> Answer {
    let place = view.index.place(txid)?;
    let place = place.ok_or_else(|| Refusal::NotFound("Transaction not found or is unconfirmed".to_owned()))?;
    let branch = merkle_branch(&view.index.txids(place.height)?, place.position);
    // The nodes of the tree are shown as transaction ids are.
    let merkle = branch.into_iter().map(Txid::from_byte_array).collect();
    json(&MerkleProof { block_height: place.height, merkle, pos: place.position }, Keep::Settled)
}

#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Outspend {
    spent: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    txid: Option<Txid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vin: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status>,
}

impl Outspend {
    fn by(txid: Txid, vin: u32, status: Status) -> Self {
        Self { spent: true, txid: Some(txid), vin: Some(vin), status: Some(status) }
    }

    fn waiting(view: &View<'_>, outpoint: &OutPoint) -> Self {
        let spender = view.waiting().spender(outpoint);
        spender.map_or_else(Self::default, |(txid, vin)| Self::by(txid, vin, Status::from(None)))
    }
}

async fn outspend(State(node): State<Node>, Path((txid, vout)): Path<(String, String)>) -> Answer {
    let outpoint = OutPoint::new(parse(&txid, "transaction id")?, parse(&vout, "number")?);
    node.read(move |view| match view.index.spender(&outpoint)? {
        Some(spender) => {
            let block = view.known(spender.transaction.height)?;
            json(&Outspend::by(spender.transaction.txid, spender.vin, Status::from(Some(block))), Keep::Settled)
        }
        None => json(&Outspend::waiting(view, &outpoint), Keep::SHORT),
    })
    .await
}

fn outspends(view: &View<'_>, txid: &Txid) -> Answer {
    let found = view.transaction(txid)?.ok_or_else(unknown)?;
    let outputs = (0u32..).zip(&found.transaction.output);
    let mut outspends: Vec<Outspend> =
        outputs.map(|(vout, _)| Outspend::waiting(view, &OutPoint::new(*txid, vout))).collect();
    for (vout, spender) in view.index.spenders(txid)? {
        let status = Status::from(Some(view.known(spender.transaction.height)?));
        if let Some(outspend) = usize::try_from(vout).ok().and_then(|vout| outspends.get_mut(vout)) {
            *outspend = Outspend::by(spender.transaction.txid, spender.vin, status);
        }
    }
    json(&outspends, Keep::SHORT)
}

fn decode(hexadecimal: &str) -> Result<Transaction, Refusal> {
    let bytes = hex::decode(hexadecimal.trim()).map_err(|_| Refusal::Malformed("Invalid hex string".to_owned()))?;
    Transaction::decode(bytes).map_err(|error| Refusal::Malformed(format!("not a transaction: {error}")))
}

fn hand_in(sources: &Sources, transaction: Transaction) -> Result<Txid, Refusal> {
    sources.backend.submit(transaction).map_err(|error| match error {
        SubmitError::Invalid(reason) | SubmitError::NotNow(reason) => {
            Refusal::Malformed(format!("sendrawtransaction RPC error: {reason}"))
        }
        SubmitError::Backend(error) => Refusal::Failed(error.to_string()),
    })
}

async fn submit(State(node): State<Node>, body: Bytes) -> Answer {
    node.act(move |sources| {
        let line = std::str::from_utf8(&body).map_err(|_| Refusal::Malformed("Invalid hex string".to_owned()))?;
        text(hand_in(sources, decode(line)?)?, Keep::No)
    })
    .await
}

#[derive(Debug, Deserialize)]
struct Broadcast {
    tx: Option<String>,
}

async fn broadcast(State(node): State<Node>, Query(query): Query<Broadcast>) -> Answer {
    let line = query.tx.ok_or_else(|| Refusal::Malformed("Missing tx".to_owned()))?;
    node.act(move |sources| text(hand_in(sources, decode(&line)?)?, Keep::No)).await
}

/// Hands in one after the other, parents first. Each must pay for itself.
async fn package(State(node): State<Node>, body: Bytes) -> Answer {
    node.act(move |sources| {
        let lines: Vec<String> =
            serde_json::from_slice(&body).map_err(|error| Refusal::Malformed(error.to_string()))?;
        if lines.len() > MAX_PACKAGE {
            return Err(Refusal::Malformed(format!("Exceeded maximum of {MAX_PACKAGE} transactions")));
        }
        let transactions = lines.iter().map(|line| decode(line)).collect::<Result<Vec<_>, _>>()?;
        let mut results = Map::new();
        let mut is_complete = true;
        for transaction in transactions {
            let (wtxid, txid, vsize) = (transaction.wtxid(), transaction.txid(), transaction.vsize());
            let result = match hand_in(sources, transaction) {
                Ok(_) => document!({ "txid": txid, "vsize": vsize }),
                Err(Refusal::Malformed(error)) => {
                    is_complete = false;
                    document!({ "txid": txid, "error": error })
                }
                Err(other) => return Err(other),
            };
            results.insert(wtxid.to_string(), result);
        }
        let message = if is_complete { "success" } else { "transaction failed" };
        let answer =
            document!({ "package_msg": message, "tx-results": Value::Object(results), "replaced-transactions": [] });
        json(&answer, Keep::No)
    })
    .await
}
