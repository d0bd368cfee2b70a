//! Addresses, and scripts by their hash.

use std::sync::Arc;

use aquifer_assets::primitives::TxOut;
use axum::Router;
use axum::extract::{Path, State};
use axum::routing::get;
use elements::{Address, OutPoint, Txid};
use serde::Serialize;
use serde_json::json as document;

use super::transaction::{ADDRESSES, Amount, Status, TransactionValue};
use super::view::{Found, View};
use super::{MAX_WAITING, Node, PAGE, no_endpoint, parse};
use crate::api::http::{Answer, Keep, Refusal, json};
use crate::index::{FinalTx, Order, ScriptHash, TouchPlace, WaitingTx};

/// Unspent outputs that are shown: they come with their proofs.
const MAX_UNSPENT: usize = 500;

/// What a script is called by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    Address,
    ScriptHash,
}

impl Name {
    fn word(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::ScriptHash => "scripthash",
        }
    }

    /// The script that a name means. Esplora shows hashes with the bytes in their own order, unlike Electrum.
    fn find(self, text: &str) -> Result<ScriptHash, Refusal> {
        match self {
            Self::Address => {
                let address = Address::parse_with_params(text, ADDRESSES);
                let address = address.map_err(|error| Refusal::Malformed(format!("Invalid address: {error}")))?;
                Ok(ScriptHash::of(&address.script_pubkey()))
            }
            Self::ScriptHash => {
                let mut hash = [0; 32];
                hex::decode_to_slice(text, &mut hash)
                    .map_err(|_| Refusal::Malformed("Invalid scripthash".to_owned()))?;
                Ok(ScriptHash::from_byte_array(hash))
            }
        }
    }
}

pub(super) fn routes() -> Router<Node> {
    Router::new().merge(routes_by(Name::Address)).merge(routes_by(Name::ScriptHash)).route(
        "/address-prefix/{prefix}",
        get(async || -> Answer { Err(Refusal::Malformed("address search disabled".to_owned())) }),
    )
}

fn routes_by(name: Name) -> Router<Node> {
    let path = |rest: &str| format!("/{}/{{script}}{rest}", name.word());
    type Two = Path<(String, String)>;
    let by_script = move |State(node): State<Node>, Path(script): Path<String>| about(node, name, script);
    let by_part = move |State(node): State<Node>, Path((script, rest)): Two| part(node, name, script, rest);
    let by_kind = move |State(node): State<Node>, Path((script, kind)): Two| history(node, name, script, kind);
    let by_last = move |State(node): State<Node>, Path((script, last)): Two| chain(node, name, script, last);
    Router::new()
        .route(&path(""), get(by_script))
        .route(&path("/{part}"), get(by_part))
        .route(&path("/txs/{kind}"), get(by_kind))
        .route(&path("/txs/chain/{last}"), get(by_last))
}

#[derive(Debug, Default, Serialize)]
struct Counts {
    tx_count: u64,
    funded_txo_count: u64,
    spent_txo_count: u64,
}

async fn about(node: Node, name: Name, script: String) -> Answer {
    let hash = name.find(&script)?;
    node.read(move |view| {
        let counts = view.index.counts(&hash)?;
        let chain =
            Counts { tx_count: counts.transactions, funded_txo_count: counts.funded, spent_txo_count: counts.spent };
        let mut waiting = Counts::default();
        let mut last = None;
        for (txid, place) in view.waiting().touches(&hash) {
            waiting.tx_count += u64::from(last != Some(txid));
            last = Some(txid);
            match place {
                TouchPlace::Output(_) => waiting.funded_txo_count += 1,
                TouchPlace::Input(_) => waiting.spent_txo_count += 1,
            }
        }
        json(&document!({ name.word(): script, "chain_stats": chain, "mempool_stats": waiting }), Keep::SHORT)
    })
    .await
}

async fn part(node: Node, name: Name, script: String, part: String) -> Answer {
    let hash = name.find(&script)?;
    node.read(move |view| match part.as_str() {
        "txs" => {
            let mut values = waiting(view, &hash);
            values.extend(confirmed(view, &hash, None)?);
            json(&values, Keep::SHORT)
        }
        "utxo" => json(&unspent(view, &hash)?, Keep::SHORT),
        _ => Err(no_endpoint()),
    })
    .await
}

async fn history(node: Node, name: Name, script: String, part: String) -> Answer {
    let hash = name.find(&script)?;
    node.read(move |view| match part.as_str() {
        "chain" => json(&confirmed(view, &hash, None)?, Keep::SHORT),
        "mempool" => json(&waiting(view, &hash), Keep::SHORT),
        _ => Err(no_endpoint()),
    })
    .await
}

async fn chain(node: Node, name: Name, script: String, last: String) -> Answer {
    let hash = name.find(&script)?;
    let last: Txid = parse(&last, "transaction id")?;
    node.read(move |view| json(&confirmed(view, &hash, Some(&last))?, Keep::SHORT)).await
}

fn waiting(view: &View<'_>, script: &ScriptHash) -> Vec<TransactionValue> {
    of_waiting(view, &view.waiting().history(script))
}

fn confirmed(view: &View<'_>, script: &ScriptHash, after: Option<&Txid>) -> Result<Vec<TransactionValue>, Refusal> {
    let page = view.index.history(script, Order::NewestFirst, after, PAGE)?;
    of_places(view, &page)
}

/// Waiting transactions, given in the order of arrival: the latest ones, latest first.
pub(super) fn of_waiting(view: &View<'_>, waiting: &[Arc<WaitingTx>]) -> Vec<TransactionValue> {
    let newest = waiting.iter().rev().take(MAX_WAITING);
    newest.map(|waiting| TransactionValue::new(view, &Found::from(&**waiting))).collect()
}

/// A page of final transactions.
pub(super) fn of_places(view: &View<'_>, page: &[FinalTx]) -> Result<Vec<TransactionValue>, Refusal> {
    page.iter().map(|place| Ok(TransactionValue::new(view, &view.final_transaction(place)?))).collect()
}

#[derive(Debug, Serialize)]
struct Unspent {
    txid: Txid,
    vout: u32,
    status: Status,
    #[serde(flatten)]
    amount: Amount,
    #[serde(skip_serializing_if = "Option::is_none")]
    noncecommitment: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    surjection_proof: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    range_proof: Option<String>,
}

impl Unspent {
    fn new(outpoint: OutPoint, output: &TxOut, status: Status) -> Self {
        let shown = |proof: &[u8]| (!proof.is_empty()).then(|| hex::encode(proof));
        Self {
            txid: outpoint.txid,
            vout: outpoint.vout,
            status,
            amount: Amount::from(output),
            noncecommitment: output.nonce.commitment().map(|key| hex::encode(key.serialize())),
            surjection_proof: shown(output.witness.surjection_proof.as_bytes()),
            range_proof: shown(output.witness.rangeproof.as_bytes()),
        }
    }
}

/// Outputs that no final and no waiting transaction spends.
fn unspent(view: &View<'_>, script: &ScriptHash) -> Result<Vec<Unspent>, Refusal> {
    let too_many = || Refusal::Malformed(format!("Too many unspent outputs, at most {MAX_UNSPENT} are shown"));
    let kept = view.index.unspent(script, MAX_UNSPENT + 1)?;
    let touches = view.waiting().touches(script);
    if kept.len().saturating_add(touches.len()) > MAX_UNSPENT {
        return Err(too_many());
    }
    let mut unspent = Vec::new();
    for (txid, place) in touches {
        let TouchPlace::Output(vout) = place else { continue };
        let outpoint = OutPoint::new(txid, vout);
        let output =
            view.waiting().get(&txid).and_then(|waiting| output_of(&waiting.transaction.output, vout).cloned());
        if let Some(output) = output.filter(|_| view.waiting().spender(&outpoint).is_none()) {
            unspent.push(Unspent::new(outpoint, &output, Status::from(None)));
        }
    }
    for kept in kept {
        let outpoint = OutPoint::new(kept.transaction.txid, kept.vout);
        if view.waiting().spender(&outpoint).is_some() {
            continue;
        }
        // Proofs are kept with the transaction alone.
        let found = view.decoded(&outpoint.txid)?;
        let output = found.as_ref().and_then(|transaction| output_of(&transaction.output, kept.vout));
        let status = Status::from(Some(view.known(kept.transaction.height)?));
        unspent.push(Unspent::new(outpoint, output.unwrap_or(&kept.output), status));
    }
    Ok(unspent)
}

fn output_of(outputs: &[TxOut], vout: u32) -> Option<&TxOut> {
    usize::try_from(vout).ok().and_then(|vout| outputs.get(vout))
}
