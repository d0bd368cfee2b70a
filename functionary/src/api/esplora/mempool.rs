//! What waits, what it pays, and what a place in the next blocks costs.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use aquifer_assets::block::MAX_BLOCK_WEIGHT;
use axum::Router;
use axum::extract::State;
use axum::routing::get;
use elements::Txid;
use serde::Serialize;

use super::Node;
use crate::api::http::{Answer, Keep, json};
use crate::index::Waiting;

/// Newest transactions that are shown.
const RECENT: usize = 10;
/// The histogram has steps of at least this many vbytes.
const STEP_VSIZE: u64 = 50_000;
/// Virtual size of what fits into a block.
const BLOCK_VSIZE: u64 = MAX_BLOCK_WEIGHT / 4;

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
            fee_histogram: histogram(waiting),
        };
        json(&backlog, Keep::SHORT)
    })
    .await
}

fn histogram(waiting: &Waiting) -> Vec<(f64, u64)> {
    let mut steps: Vec<(u64, u64)> =
        waiting.latest().map(|entry| (rate(entry.fee_sat, entry.vsize), entry.vsize)).collect();
    steps.sort_unstable_by_key(|(rate, _)| Reverse(*rate));
    let mut histogram: Vec<(u64, u64)> = Vec::new();
    for (rate, vsize) in steps {
        match histogram.last_mut() {
            Some(step) if step.1 <= STEP_VSIZE || step.0 == rate => *step = (rate, step.1.saturating_add(vsize)),
            _ => histogram.push((rate, vsize)),
        }
    }
    histogram.into_iter().map(|(rate, vsize)| (sat_per_vbyte(rate), vsize)).collect()
}

/// In satoshi per 1,000 vbytes: whole numbers can be ordered.
fn rate(fee_sat: u64, vsize: u64) -> u64 {
    fee_sat.saturating_mul(1_000).checked_div(vsize).unwrap_or(0)
}

fn sat_per_vbyte(sat_per_kvb: u64) -> f64 {
    f64::from(u32::try_from(sat_per_kvb).unwrap_or(u32::MAX)) / 1_000.0
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
        let estimates: BTreeMap<u32, f64> =
            targets.map(|blocks| (blocks, sat_per_vbyte(rate_for(view.waiting(), blocks, floor)))).collect();
        json(&estimates, Keep::SHORT)
    })
    .await
}

/// The rate that brings a transaction into one of the next `blocks` blocks if nothing else comes, in satoshi per 1,000
/// vbytes; never less than what is admitted.
fn rate_for(waiting: &Waiting, blocks: u32, floor: u64) -> u64 {
    let mut paid: Vec<(u64, u64)> =
        waiting.latest().map(|entry| (rate(entry.fee_sat, entry.discounted_vsize), entry.vsize)).collect();
    paid.sort_unstable_by_key(|(rate, _)| Reverse(*rate));
    let mut room = BLOCK_VSIZE.saturating_mul(blocks.into());
    for (rate, vsize) in paid {
        match room.checked_sub(vsize) {
            Some(rest) => room = rest,
            // A little more than the first that is left out.
            None => return floor.max(rate.saturating_add(1)),
        }
    }
    floor
}
