//! Assets.

use elements::AssetId;
use maud::html;

use super::history::{PAGE, history, read_start};
use super::layout::{Page, Section};
use super::look::{amount, asset_link, btc, cards, facts, full, part_link, table};
use super::{Refusal, Site};
use crate::index::Order;

/// Assets on a page.
const ASSETS: usize = 25;

pub(super) fn list(site: &Site, from: Option<u32>) -> Result<Page, Refusal> {
    let view = site.index()?;
    let pegged = site.sources.params.pegged_asset();
    let from = from.unwrap_or_default();
    let skip = usize::try_from(from).unwrap_or(usize::MAX);
    let listed = view.assets(skip, ASSETS)?;
    let is_full = listed.len() == ASSETS;
    let mut rows = Vec::new();
    for (asset, token_of) in listed {
        let totals = view.asset_totals(&asset)?.unwrap_or_default();
        rows.push(vec![
            asset_link(&asset, &pegged),
            html! {
                @if asset == pegged { "the pegged bitcoin" }
                @else if let Some(of) = token_of { "reissuance token of " (asset_link(&of, &pegged)) }
                @else { "issued" }
            },
            html! { (totals.transactions) },
            html! { @if totals.blinded_issuances > 0 { "hidden" } @else if asset == pegged { (btc(totals.pegged_in_sat)) " in" } @else { (totals.issued) } },
            html! { @if asset == pegged { (btc(totals.pegged_out_sat)) " out" } @else { (totals.burned) } },
        ]);
    }
    let body = html! {
        h1 { "Assets" }
        p { "The chain knows assets by their ids. A name is what an issuer’s contract and domain say; " code { "aquifer asset learn" } " checks it." }
        (table(&["Asset", "What", "Transactions", "Issued", "Removed"], &rows, "None but the pegged bitcoin."))
        p.pages {
            @if is_full { a href={ "/assets?from=" (skip.saturating_add(ASSETS)) } { "More" } }
        }
    };
    Ok(Page::new(Section::Assets, "Assets", body))
}

pub(super) fn page(site: &Site, name: &str, after: Option<&str>) -> Result<Page, Refusal> {
    let id: AssetId = name.parse().map_err(|_| Refusal::Malformed(format!("`{name}` is not the id of an asset")))?;
    let after = read_start(after)?;
    let view = site.index()?;
    let pegged = site.sources.params.pegged_asset();
    let known = site.sources.backend.asset(&id)?;
    let totals = view.asset_totals(&id)?;
    if known.is_none() && totals.is_none() {
        return Err(Refusal::NotFound(format!("no asset {id} was ever issued here")));
    }
    let totals = totals.unwrap_or_default();
    let listed = view.asset_history(&id, Order::NewestFirst, after.as_ref(), PAGE)?;
    let waiting = if after.is_none() { view.waiting().asset_history(&id) } else { Vec::new() };
    let history = history(&view, &waiting, &listed, &format!("/asset/{id}"), "Nothing.")?;
    let issuance = known.as_ref().and_then(|asset| asset.issuance.as_ref());
    let body = html! {
        h1 { "Asset" }
        (facts(&[("Id", full(id))]))
        @if id == pegged {
            (cards(&[
                ("Pegged in", html! { (btc(totals.pegged_in_sat)) " in " (totals.pegins) }),
                ("Pegged out", html! { (btc(totals.pegged_out_sat)) " in " (totals.pegouts) }),
                ("Burned", html! { (btc(totals.burned)) }),
            ]))
            p { "The bitcoin of the peg; what stands behind it is on the page of the " a href="/peg" { "peg audit" } "." }
        } @else {
            (cards(&[
                ("Issued", html! { @if totals.blinded_issuances > 0 { "hidden" } @else { (totals.issued) } }),
                ("Burned", html! { (totals.burned) }),
                ("Issuances", html! { (totals.issuances) }),
                ("Reissuance tokens", html! { @if totals.blinded_tokens > 0 { "hidden" } @else { (totals.tokens) } }),
            ]))
        }
        @if let Some(issuance) = issuance {
            (facts(&[
                ("Issued in", html! { (part_link(issuance.txid, issuance.vin)) ", block " a href={ "/block/" (issuance.height) } { (issuance.height) } }),
                ("Reissuance token", asset_link(&issuance.token, &pegged)),
                ("Contract hash", html! {
                    @if issuance.contract_hash == [0; 32] { "none" } @else { (full(reversed(&issuance.contract_hash))) }
                }),
                ("Entropy", full(reversed(&issuance.entropy))),
            ]))
        }
        @if let Some(asset) = known.as_ref().filter(|_| id != pegged) {
            p { "Shown in the open and not burned: " (amount(asset.supply.issued_sat.saturating_sub(asset.supply.removed_sat), &id, &pegged)) }
        }
        h2 { "What changed its supply" }
        (history)
    };
    Ok(Page::new(Section::Assets, format!("Asset {id}"), body))
}

/// A hash as the field writes it.
fn reversed(bytes: &[u8; 32]) -> String {
    hex::encode(bytes.iter().rev().copied().collect::<Vec<_>>())
}
