//! What waits, what it pays, and what a place in the next blocks costs.

use std::collections::BTreeMap;

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use elements::Txid;
use serde::Serialize;

use super::Node;
use crate::api::fees::{self, Rates, rate, sat_per_vbyte};
use crate::api::http::{Answer, Keep, json};

/// Newest transactions that are shown.
const RECENT: usize = 10;

pub(super) fn routes() -> Router<Node> {
    Router::new()
        .route("/mempool", get(backlog))
        .route("/mempool/txids", get(txids))
        .route("/mempool/recent", get(recent))
        .route("/fee-estimates", get(estimates))
}

#[derive(Debug, Serialize)]
struct Backlog {
    count: usize,
    /// Without discount, as Blockstream's server counts.
    vsize: u64,
    total_fee: u64,
    /// Pairs of a fee rate in satoshi per vbyte and the size of what pays that to the rate of the pair before.
    fee_histogram: Vec<(f64, u64)>,
}

async fn backlog(State(node): State<Node>) -> Answer {
    node.read(|view| {
        let waiting = view.waiting();
        let backlog = Backlog {
            count: waiting.len(),
            vsize: waiting.latest().map(|entry| entry.vsize).sum(),
            total_fee: waiting.latest().map(|entry| entry.fee_sat).sum(),
            fee_histogram: fees::histogram(
                waiting.latest().map(|entry| (rate(entry.fee_sat, entry.vsize), entry.vsize)),
            )
            .into_iter()
            .map(|(rate, vsize)| (sat_per_vbyte(rate), vsize))
            .collect(),
        };
        json(&backlog, Keep::SHORT)
    })
    .await
}

async fn txids(State(node): State<Node>) -> Answer {
    node.read(|view| json(&view.waiting().latest().map(|entry| entry.txid).collect::<Vec<_>>(), Keep::SHORT)).await
}

#[derive(Debug, Serialize)]
struct Recent {
    txid: Txid,
    fee: u64,
    vsize: u64,
    discount_vsize: u64,
}

async fn recent(State(node): State<Node>) -> Answer {
    node.read(|view| {
        let newest = view.waiting().latest().take(RECENT).map(|entry| Recent {
            txid: entry.txid,
            fee: entry.fee_sat,
            vsize: entry.vsize,
            discount_vsize: entry.discounted_vsize,
        });
        json(&newest.collect::<Vec<_>>(), Keep::Seconds(5))
    })
    .await
}

/// Satoshi per vbyte of the discounted size, by the blocks that one is ready to wait.
async fn estimates(State(node): State<Node>) -> Answer {
    let floor = node.sources.mempool.min_fee_rate_sat_per_kvb();
    node.read(move |view| {
        let targets = (1..=25).chain([144, 504, 1_008]);
        let rates = Rates::of(view.waiting());
        let estimates: BTreeMap<u32, f64> =
            targets.map(|blocks| (blocks, sat_per_vbyte(rates.for_target(blocks, floor)))).collect();
        json(&estimates, Keep::SHORT)
    })
    .await
}
