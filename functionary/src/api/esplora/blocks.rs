//! Blocks.

use aquifer_assets::block::block_weight;
use axum::Router;
use axum::extract::{Path, State};
use axum::routing::get;
use elements::{BlockExtData, BlockHash, TxMerkleNode};
use serde::Serialize;

use super::transaction::TransactionValue;
use super::view::View;
use super::{Node, PAGE, parse};
use crate::api::http::{Answer, Keep, Refusal, binary, json, text};
use crate::store::ledger::Tip;

/// Blocks on a page.
const BLOCKS_ON_PAGE: u32 = 10;

pub(super) fn routes() -> Router<Node> {
    Router::new()
        .route("/blocks", get(async |State(node): State<Node>| node.read(|view| list(view, view.tip.height)).await))
        .route(
            "/blocks/tip/hash",
            get(async |State(node): State<Node>| node.read(|view| text(view.tip.hash, Keep::SHORT)).await),
        )
        .route(
            "/blocks/tip/height",
            get(async |State(node): State<Node>| node.read(|view| text(view.tip.height, Keep::SHORT)).await),
        )
        .route("/blocks/{start}", get(from_height))
        .route("/block-height/{height}", get(at_height))
        .route("/block/{hash}", get(about))
        .route("/block/{hash}/{part}", get(part))
        .route("/block/{hash}/txid/{index}", get(txid))
        .route("/block/{hash}/txs/{start}", get(transactions_from))
        .route(
            "/block-template",
            get(async || -> Answer { Err(Refusal::Forbidden("blocks are made by the federation alone")) }),
        )
}

#[derive(Debug, Serialize)]
struct BlockValue {
    id: BlockHash,
    height: u32,
    version: u32,
    timestamp: u32,
    tx_count: usize,
    size: u32,
    weight: u64,
    merkle_root: TxMerkleNode,
    previousblockhash: Option<BlockHash>,
    mediantime: u32,
    /// Signatures and parameters of the federation; left out in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    ext: Option<BlockExtData>,
}

impl BlockValue {
    fn new(view: &View<'_>, height: u32) -> Result<Self, Refusal> {
        let stored = view.ledger().header(height)?.ok_or_else(unknown)?;
        let (block, at) = (view.block(height)?, view.known(height)?);
        let header = &block.header;
        Ok(Self {
            id: stored.hash,
            height,
            version: header.version,
            timestamp: header.time,
            tx_count: block.txdata.len(),
            size: stored.size,
            weight: block_weight(&block),
            merkle_root: header.merkle_root,
            previousblockhash: (height > 0).then_some(header.prev_blockhash),
            mediantime: at.median_time_past,
            ext: Some(header.ext.clone()),
        })
    }
}

#[derive(Debug, Serialize)]
struct BlockStatus {
    in_best_chain: bool,
    height: Option<u32>,
    next_best: Option<BlockHash>,
}

fn unknown() -> Refusal {
    Refusal::NotFound("Block not found".to_owned())
}

/// The final block with this hash.
fn named(view: &View<'_>, hash: &BlockHash) -> Result<Tip, Refusal> {
    let height = view.ledger().height_of(hash)?.ok_or_else(unknown)?;
    view.at(height)?.ok_or_else(unknown)
}

/// The page of blocks that ends at `height` on top.
fn list(view: &View<'_>, height: u32) -> Answer {
    let lowest = height.saturating_sub(BLOCKS_ON_PAGE - 1);
    let blocks = (lowest..=height).rev().map(|height| Ok(BlockValue { ext: None, ..BlockValue::new(view, height)? }));
    json(&blocks.collect::<Result<Vec<_>, Refusal>>()?, Keep::SHORT)
}

async fn from_height(State(node): State<Node>, Path(start): Path<String>) -> Answer {
    let start: u32 = parse(&start, "height")?;
    node.read(move |view| if start > view.tip.height { Err(unknown()) } else { list(view, start) }).await
}

async fn at_height(State(node): State<Node>, Path(height): Path<String>) -> Answer {
    let height: u32 = parse(&height, "height")?;
    node.read(move |view| text(view.at(height)?.ok_or_else(unknown)?.hash, Keep::Settled)).await
}

async fn about(State(node): State<Node>, Path(hash): Path<String>) -> Answer {
    let hash = parse(&hash, "block hash")?;
    node.read(move |view| json(&BlockValue::new(view, named(view, &hash)?.height)?, Keep::Settled)).await
}

async fn part(State(node): State<Node>, Path((hash, part)): Path<(String, String)>) -> Answer {
    let hash = parse(&hash, "block hash")?;
    node.read(move |view| match part.as_str() {
        "status" => status(view, &hash),
        "txids" => json(&view.index.txids(named(view, &hash)?.height)?, Keep::Settled),
        "header" => {
            let stored = view.ledger().header(named(view, &hash)?.height)?.ok_or_else(unknown)?;
            text(hex::encode(stored.header), Keep::Settled)
        }
        "raw" => {
            let stored = view.ledger().block(named(view, &hash)?.height)?.ok_or_else(unknown)?;
            binary(stored.block, Keep::Settled)
        }
        "txs" => transactions(view, &hash, 0),
        _ => Err(super::no_endpoint()),
    })
    .await
}

/// A block is final or unknown: one that is not in the chain never will be.
fn status(view: &View<'_>, hash: &BlockHash) -> Answer {
    match named(view, hash) {
        Ok(block) => {
            let next_best = view.at(block.height.saturating_add(1))?.map(|next| next.hash);
            let keep = if next_best.is_some() { Keep::Settled } else { Keep::SHORT };
            json(&BlockStatus { in_best_chain: true, height: Some(block.height), next_best }, keep)
        }
        Err(Refusal::NotFound(_)) => {
            json(&BlockStatus { in_best_chain: false, height: None, next_best: None }, Keep::SHORT)
        }
        Err(other) => Err(other),
    }
}

async fn txid(State(node): State<Node>, Path((hash, index)): Path<(String, String)>) -> Answer {
    let hash = parse(&hash, "block hash")?;
    let index: usize = parse(&index, "number")?;
    node.read(move |view| {
        let txids = view.index.txids(named(view, &hash)?.height)?;
        let txid = txids.get(index).ok_or_else(|| Refusal::NotFound("tx index out of range".to_owned()))?;
        text(txid, Keep::Settled)
    })
    .await
}

async fn transactions_from(State(node): State<Node>, Path((hash, start)): Path<(String, String)>) -> Answer {
    let hash = parse(&hash, "block hash")?;
    let start: usize = parse(&start, "number")?;
    node.read(move |view| transactions(view, &hash, start)).await
}

fn transactions(view: &View<'_>, hash: &BlockHash, start: usize) -> Answer {
    if !start.is_multiple_of(PAGE) {
        return Err(Refusal::Malformed(format!("start index must be a multiple of {PAGE}")));
    }
    let at = named(view, hash)?;
    let block = view.block(at.height)?;
    if start >= block.txdata.len() {
        return Err(Refusal::Malformed("start index out of range".to_owned()));
    }
    let page = block.txdata.into_iter().skip(start).take(PAGE);
    let values = page.map(|transaction| Ok(TransactionValue::new(view, &view.with_spent(transaction.into(), at)?)));
    json(&values.collect::<Result<Vec<_>, Refusal>>()?, Keep::Settled)
}
