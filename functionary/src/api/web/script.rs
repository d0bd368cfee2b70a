//! An address, or a script by its hash.

use elements::{Address, AddressParams, Txid};
use maud::html;

use super::layout::{Page, Section};
use super::look::{amount, cards, facts, full, link, table};
use super::{PageError, Site, explorer};
use crate::api::HistoryEntry;
use crate::index::{Order, ScriptHash};

/// Transactions on a page.
const PAGE: usize = 25;
/// Unspent outputs that are listed.
const UNSPENT: usize = 100;

pub(super) fn page(site: &Site, name: &str, after: Option<&str>) -> Result<Page, PageError> {
    let address = Address::parse_with_params(name, &AddressParams::ELEMENTS).ok();
    let script = address.as_ref().map(|address| ScriptHash::of(&address.script_pubkey()));
    let script = script.or_else(|| ScriptHash::from_electrum(name)).ok_or_else(|| {
        PageError::Malformed(format!("`{name}` is neither an address of this chain nor the hash of a script"))
    })?;
    let after: Option<Txid> = after
        .map(str::parse)
        .transpose()
        .map_err(|_| PageError::Malformed("pages are named after the last transaction of the one before".to_owned()))?;
    let view = site.index()?;
    let counts = view.counts(&script)?;
    let listed = view.history(&script, Order::NewestFirst, after.as_ref(), PAGE)?;
    let next = listed.last().filter(|_| listed.len() == PAGE).map(|last| last.txid);
    let mut entries = Vec::new();
    if after.is_none() {
        entries.extend(
            view.waiting().history(&script).iter().map(|waiting| HistoryEntry { txid: waiting.txid, block: None }),
        );
    }
    for place in listed {
        let hash = view.ledger().header(place.height)?.map(|stored| stored.hash);
        entries.push(HistoryEntry { txid: place.txid, block: hash.map(|hash| (place.height, hash)) });
    }
    let pegged = site.sources.params.pegged_asset();
    let unspent = view.unspent(&script, UNSPENT)?;
    let unspent: Vec<_> = unspent
        .iter()
        .map(|unspent| {
            vec![
                html! { (link("/tx/", &unspent.transaction.txid.to_string())) ":" (unspent.vout) },
                html! { a href={ "/block/" (unspent.transaction.height) } { (unspent.transaction.height) } },
                match (unspent.output.value.explicit(), unspent.output.asset.explicit()) {
                    (Some(value), Some(asset)) => amount(value, &asset, &pegged),
                    _ => html! { span.hidden { "hidden" } },
                },
            ]
        })
        .collect();
    let shown = address.as_ref().map(Address::to_unconfidential);
    let body = html! {
        h1 { @if address.is_some() { "Address" } @else { "Script" } }
        (facts(&[
            ("Address", match &shown { Some(address) => full(address), None => html! { "unknown: only the hash of the script was given" } }),
            ("Given as", full(name)),
        ]))
        (cards(&[
            ("Transactions", html! { (counts.transactions) }),
            ("Paid to it", html! { (counted(counts.funded)) }),
            ("Unspent", html! { (counted(counts.funded.saturating_sub(counts.spent))) }),
        ]))
        h2 { "Unspent outputs" }
        (table(&["Output", "Block", "Amount"], &unspent, "None."))
        h2 { "Transactions" }
        (explorer::history(&entries, "None."))
        p.pages { @if let Some(next) = next { a href={ "/address/" (name) "?after=" (next) } { "Older" } } }
    };
    Ok(Page::new(Section::Blocks, name, body))
}

fn counted(outputs: u64) -> String {
    if outputs == 1 { "1 output".to_owned() } else { format!("{outputs} outputs") }
}
