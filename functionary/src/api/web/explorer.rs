//! The latest blocks, what waits, and the search.

use aquifer_assets::primitives::decode_header;
use elements::{Address, AddressParams, AssetId, BlockHash, Txid};
use maud::{Markup, html};

use super::layout::{Page, Section};
use super::look::{ago, btc, cards, grid, link, moment, table};
use super::{Refusal, Site};
use crate::api::TransactionStatus;
use crate::api::fees::rate;
use crate::index::{ScriptHash, WaitingTx};
use crate::store::ledger::Snapshot;

/// Blocks on the first page.
const LATEST: u32 = 8;
/// Blocks on a page of them.
const BLOCKS: u32 = 25;
/// Waiting transactions that are listed.
const WAITING: usize = 100;
/// Waiting transactions on the first page.
const LATEST_WAITING: usize = 6;

pub(super) fn home(site: &Site) -> Result<Page, Refusal> {
    let info = site.sources.backend.info()?;
    let supply = site.sources.backend.supply()?;
    let snapshot = site.sources.ledger.snapshot()?;
    let tip = snapshot.tip()?;
    let members = site.sources.roster.members().len();
    let online = info.peers.iter().filter(|peer| peer.connected).count().saturating_add(1);
    let waiting = match site.index() {
        Ok(view) => view.waiting().latest().take(LATEST_WAITING).map(|waiting| waiting_row(waiting)).collect(),
        Err(_) => Vec::new(),
    };
    let body = html! {
        @if !info.alarms.is_empty() {
            p.alarm { (info.alarms.len()) " alarms: see " a href="/operator" { "the operator's page" } }
        }
        (cards(&[
            ("Height", html! { a href={ "/block/" (tip.height) } { (tip.height) } }),
            ("Last block", html! { (ago(tip.time.into())) }),
            ("Waiting", html! { a href="/mempool" { (info.mempool_transactions) " transactions" } }),
            ("Least fee", html! { (info.min_fee_rate_sat_per_kvb) " sat/kvB" }),
            ("Held on Bitcoin", html! { a.amount href="/peg" { (btc(supply.reserve.coins_sat)) } }),
            ("Members here", html! { (online) " of " (members) }),
        ]))
        h2 { "Latest blocks" }
        (block_table(site, &snapshot, tip.height, LATEST)?)
        p { a href="/blocks" { "All blocks" } }
        h2 { "Waiting for a block" }
        (table(&WAITING_HEADS, &waiting, "Nothing waits: whatever came is final."))
    };
    Ok(Page::new(Section::Home, "Explorer", body))
}

pub(super) fn blocks(site: &Site, from: Option<u32>) -> Result<Page, Refusal> {
    let snapshot = site.sources.ledger.snapshot()?;
    let tip = snapshot.tip()?.height;
    let from = from.unwrap_or(tip).min(tip);
    let body = html! {
        h1 { "Blocks" }
        (block_table(site, &snapshot, from, BLOCKS)?)
        p.pages {
            @if from < tip { a rel="prev" href={ "/blocks?from=" (from.saturating_add(BLOCKS).min(tip)) } { "Newer" } }
            @if let Some(older) = from.checked_sub(BLOCKS) { a rel="next" href={ "/blocks?from=" (older) } { "Older" } }
        }
    };
    Ok(Page::new(Section::Blocks, "Blocks", body))
}

fn block_table(site: &Site, snapshot: &Snapshot<'_>, from: u32, count: u32) -> Result<Markup, Refusal> {
    let mut rows = Vec::new();
    for height in (0..=from).rev().zip(0..count).map(|(height, _)| height) {
        let Some(stored) = snapshot.header(height)? else { continue };
        let header = decode_header(stored.header).map_err(|error| Refusal::Failed(error.to_string()))?;
        rows.push(vec![
            html! { a href={ "/block/" (height) } { (height) } },
            html! { (moment(header.time.into())) },
            html! { @if height == 0 { "genesis" } @else { (grid(&header, &site.sources.roster)) } },
            html! { (snapshot.txids(height)?.len()) },
            html! { (stored.size) },
            link("/block/", &stored.hash.to_string()),
        ]);
    }
    Ok(table(&["Height", "Time", "Signatures", "Transactions", "Bytes", "Hash"], &rows, "There is no block."))
}

const WAITING_HEADS: [&str; 5] = ["Transaction", "Since", "Fee", "Virtual bytes", "Rate"];

fn waiting_row(waiting: &WaitingTx) -> Vec<Markup> {
    let rate = rate(waiting.fee_sat, waiting.discounted_vsize);
    vec![
        link("/tx/", &waiting.txid.to_string()),
        html! { (ago(waiting.admitted_at.into())) },
        html! { (waiting.fee_sat) " sat" },
        html! { (waiting.discounted_vsize) },
        html! { (rate) " sat/kvB" },
    ]
}

pub(super) fn mempool(site: &Site) -> Result<Page, Refusal> {
    let view = site.index()?;
    let waiting = view.waiting();
    let bytes = waiting.latest().fold(0u64, |sum, waiting| sum.saturating_add(waiting.discounted_vsize));
    let rows: Vec<_> = waiting.latest().take(WAITING).map(|waiting| waiting_row(waiting)).collect();
    let body = html! {
        h1 { "Mempool" }
        (cards(&[
            ("Transactions", html! { (waiting.len()) }),
            ("Virtual bytes", html! { (bytes) }),
            ("Least fee", html! { (site.sources.mempool.min_fee_rate_sat_per_kvb()) " sat/kvB" }),
        ]))
        (table(&WAITING_HEADS, &rows, "Nothing waits: whatever came is final."))
    };
    Ok(Page::new(Section::Mempool, "Mempool", body))
}

/// Where the thing with this name is.
pub(super) fn search(site: &Site, name: &str) -> Result<String, Refusal> {
    let nothing = || Refusal::NotFound(format!("nothing here is called `{name}`"));
    let snapshot = site.sources.ledger.snapshot()?;
    if let Ok(height) = name.parse::<u32>() {
        return if height <= snapshot.tip()?.height { Ok(format!("/block/{height}")) } else { Err(nothing()) };
    }
    if Address::parse_with_params(name, &AddressParams::ELEMENTS).is_ok() {
        return Ok(format!("/address/{name}"));
    }
    if let Ok(hash) = name.parse::<BlockHash>()
        && snapshot.height_of(&hash)?.is_some()
    {
        return Ok(format!("/block/{hash}"));
    }
    if let Ok(txid) = name.parse::<Txid>()
        && site.sources.backend.transaction_status(&txid)? != TransactionStatus::Unknown
    {
        return Ok(format!("/tx/{txid}"));
    }
    if let Ok(asset) = name.parse::<AssetId>()
        && site.sources.backend.asset(&asset)?.is_some()
    {
        return Ok(format!("/asset/{asset}"));
    }
    match ScriptHash::from_electrum(name) {
        Some(script) if site.index()?.counts(&script)?.transactions > 0 => Ok(format!("/address/{name}")),
        _ => Err(nothing()),
    }
}
