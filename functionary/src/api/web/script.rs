//! An address, or a script by its hash.

use elements::{Address, AddressParams};
use maud::html;

use super::history::{PAGE, history, read_start};
use super::layout::{Page, Section};
use super::look::{amount, cards, facts, full, part_link, table};
use super::{Refusal, Site};
use crate::index::{Order, ScriptHash};

/// Unspent outputs that are listed.
const UNSPENT: usize = 100;

pub(super) fn page(site: &Site, name: &str, after: Option<&str>) -> Result<Page, Refusal> {
    let address = Address::parse_with_params(name, &AddressParams::ELEMENTS).ok();
    let script = address.as_ref().map(|address| ScriptHash::of(&address.script_pubkey()));
    let script = script.or_else(|| ScriptHash::from_electrum(name)).ok_or_else(|| {
        Refusal::Malformed(format!("`{name}` is neither an address of this chain nor the hash of a script"))
    })?;
    let after = read_start(after)?;
    let view = site.index()?;
    let counts = view.counts(&script)?;
    let listed = view.history(&script, Order::NewestFirst, after.as_ref(), PAGE)?;
    let waiting = if after.is_none() { view.waiting().history(&script) } else { Vec::new() };
    let history = history(&view, &waiting, &listed, &format!("/address/{name}"), "None.")?;
    let pegged = site.sources.params.pegged_asset();
    let unspent = view.unspent(&script, UNSPENT)?;
    let unspent: Vec<_> = unspent
        .iter()
        .map(|unspent| {
            vec![
                part_link(unspent.transaction.txid, unspent.vout),
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
        (history)
    };
    Ok(Page::new(Section::Blocks, name, body))
}

fn counted(outputs: u64) -> String {
    if outputs == 1 { "1 output".to_owned() } else { format!("{outputs} outputs") }
}
