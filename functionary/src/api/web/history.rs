//! The transactions of a script or of an asset, page by page, the latest first.

use std::sync::Arc;

use elements::Txid;
use maud::{Markup, html};

use super::Refusal;
use super::look::{link, short, table};
use crate::index::{FinalTx, IndexView, WaitingTx};

/// Transactions on a page.
pub(super) const PAGE: usize = 25;

/// The transaction after which a page begins, as an address names it.
pub(super) fn read_start(text: Option<&str>) -> Result<Option<Txid>, Refusal> {
    let malformed = |_| Refusal::Malformed("pages are named after the last transaction of the one before".to_owned());
    text.map(str::parse).transpose().map_err(malformed)
}

/// A page of them: on the first one what waits, and then at most [`PAGE`] final ones. Older ones are found at `place`.
pub(super) fn history(
    view: &IndexView<'_>,
    waiting: &[Arc<WaitingTx>],
    listed: &[FinalTx],
    place: &str,
    empty: &str,
) -> Result<Markup, Refusal> {
    let waits =
        waiting.iter().map(|waiting| vec![link("/tx/", &waiting.txid.to_string()), html! { "waits" }, html! {}]);
    let mut rows: Vec<_> = waits.collect();
    for FinalTx { txid, height, .. } in listed {
        let hash = view.ledger().tip_at(*height)?.map(|block| block.hash.to_string()).unwrap_or_default();
        rows.push(vec![
            link("/tx/", &txid.to_string()),
            html! { a href={ "/block/" (height) } { (height) } },
            short(&hash),
        ]);
    }
    let last = listed.last().filter(|_| listed.len() == PAGE);
    Ok(html! {
        (table(&["Transaction", "Block", "Block hash"], &rows, empty))
        p.pages { @if let Some(last) = last { a href={ (place) "?after=" (last.txid) } { "Older" } } }
    })
}
