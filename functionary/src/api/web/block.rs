//! A block.

use aquifer_assets::primitives::Block;
use aquifer_federation::blocksign::signers;
use elements::dynafed::Params;
use elements::{BlockExtData, BlockHash};
use maud::{Markup, html};

use super::layout::{Page, Section};
use super::look::{self, facts, full, grid, link, moment, table};
use super::{Refusal, Site};

/// Transactions that are listed; the rest is said to be there.
const LISTED: usize = 500;

pub(super) fn page(site: &Site, name: &str) -> Result<Page, Refusal> {
    let nothing = || Refusal::NotFound(format!("there is no final block `{name}`"));
    let snapshot = site.sources.ledger.snapshot()?;
    let height = match (name.parse::<u32>(), name.parse::<BlockHash>()) {
        (Ok(height), _) => height,
        (_, Ok(hash)) => snapshot.height_of(&hash)?.ok_or_else(nothing)?,
        _ => return Err(Refusal::Malformed(format!("`{name}` is neither a height nor the hash of a block"))),
    };
    let stored = snapshot.block(height)?.ok_or_else(nothing)?;
    let block = Block::decode(stored.block).map_err(|error| Refusal::Failed(error.to_string()))?;
    let header = &block.header;
    let signers = signers(header, &site.sources.roster);
    let signed = signers.iter().filter(|signed| **signed).count();
    let tip = snapshot.tip()?.height;
    let body = html! {
        h1 { "Block " (height) }
        p.pages {
            @if let Some(before) = height.checked_sub(1) { a href={ "/block/" (before) } { "← Block " (before) } }
            @if height < tip { a href={ "/block/" (height.saturating_add(1)) } { "Block " (height.saturating_add(1)) " →" } }
        }
        (facts(&[
            ("Hash", full(stored.hash)),
            ("Previous block", link("/block/", &header.prev_blockhash.to_string())),
            ("Time", moment(header.time.into())),
            ("Transactions", html! { (block.txdata.len()) }),
            ("Size", html! { (stored.size) " bytes, weight " (stored.weight) }),
            ("Merkle root", full(header.merkle_root)),
            ("Parameters", parameters(&header.ext)),
        ]))
        @if height > 0 {
            h2 { "Signatures" }
            p { (grid(header, &site.sources.roster)) " " (signed) " of " (site.sources.roster.members().len()) " keys: the witness takes those of the first "
                (site.sources.roster.threshold()) " members that have signed." }
            (table(&["Member", "In the witness"], &site.sources.roster.members().iter().zip(&signers).map(|(member, signed)| {
                vec![html! { (member.name) }, html! { @if *signed { "signed" } @else { "—" } }]
            }).collect::<Vec<_>>(), ""))
            (facts(&[("Certificate", full(hex::encode(&stored.certificate)))]))
        }
        @if let Some(batch) = &stored.batch {
            h2 { "Peg-out batch" }
            (self::batch(batch)?)
        }
        h2 { "Transactions" }
        (table(&["Transaction", "Inputs", "Outputs", "Virtual bytes", "What"], &block.txdata.iter().take(LISTED).map(|transaction| {
            vec![
                link("/tx/", &transaction.txid().to_string()),
                html! { (transaction.input.len()) },
                html! { (transaction.output.len()) },
                html! { (transaction.discount_vsize()) },
                html! { (super::transaction::kind(&site.sources.params, transaction)) },
            ]
        }).collect::<Vec<_>>(), ""))
        @if block.txdata.len() > LISTED { p { "and " (block.txdata.len().saturating_sub(LISTED)) " more" } }
    };
    Ok(Page::new(Section::Blocks, format!("Block {height}"), body))
}

fn parameters(ext: &BlockExtData) -> Markup {
    let said = |params: &Params| match params {
        Params::Null => "none",
        Params::Compact { .. } => "in short",
        Params::Full(_) => "in full",
    };
    html! {
        @match ext {
            BlockExtData::Proof { .. } => "fixed",
            BlockExtData::Dynafed { current, proposed, .. } => {
                "current: " (said(current)) "; proposed: " (said(proposed))
                @if let Some(root) = (!matches!(current, Params::Null)).then(|| current.calculate_root()) {
                    "; root " (look::short(&root.to_string()))
                }
            }
        }
    }
}

fn batch(bytes: &[u8]) -> Result<Markup, Refusal> {
    let batch: bitcoin::Transaction =
        bitcoin::consensus::deserialize(bytes).map_err(|error| Refusal::Failed(error.to_string()))?;
    Ok(facts(&[
        ("Bitcoin transaction", full(batch.compute_txid())),
        ("Spends", html! { (batch.input.len()) " coins of the federation" }),
        (
            "Outputs",
            html! {
                @for output in &batch.output { div { (look::btc(output.value.to_sat())) " to " span.hash.full { (output.script_pubkey) } } }
            },
        ),
    ]))
}
