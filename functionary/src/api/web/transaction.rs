//! A transaction.

use std::collections::BTreeMap;

use aquifer_assets::chain::ChainParams;
use aquifer_assets::peg::parse_pegout;
use aquifer_assets::primitives::{Transaction, TxIn, TxOut, decode_header};
use aquifer_assets::script::is_unspendable;
use aquifer_assets::transaction::{fee_in, issued_assets};
use elements::confidential::{Asset, Value};
use elements::{Address, AddressParams, AssetId, OutPoint, Script, Txid};
use maud::{Markup, html};

use super::layout::{Page, Section};
use super::look::{amount, asset_link, btc, facts, full, link, moment, part_link};
use super::unblind::Openings;
use super::{Refusal, Site};
use crate::api::PegoutState;
use crate::api::fees::rate;
use crate::index::IndexView;

/// What a transaction is, in a word or two.
pub(super) fn kind(params: &ChainParams, transaction: &Transaction) -> &'static str {
    // Only whether it is one counts here, not its name.
    let pegs_out = |output: &TxOut| parse_pegout(params, OutPoint::default(), output).is_some();
    if transaction.is_coinbase() {
        "coinbase"
    } else if transaction.input.iter().any(|input| input.is_pegin) {
        "peg-in"
    } else if transaction.output.iter().any(pegs_out) {
        "peg-out"
    } else if transaction.input.iter().any(TxIn::has_issuance) {
        "issuance"
    } else {
        "payment"
    }
}

/// A transaction with what surrounds it.
struct Scene<'a> {
    site: &'a Site,
    view: Option<IndexView<'a>>,
    txid: Txid,
    transaction: Transaction,
    openings: Openings,
}

pub(super) fn page(site: &Site, name: &str, blinded: Option<&str>) -> Result<Page, Refusal> {
    let txid: Txid =
        name.parse().map_err(|_| Refusal::Malformed(format!("`{name}` is not the id of a transaction")))?;
    let found = site.sources.backend.transaction(&txid)?;
    let found = found.ok_or_else(|| Refusal::NotFound(format!("no transaction {txid} is final or waits here")))?;
    let transaction = Transaction::decode(found.transaction).map_err(|error| Refusal::Failed(error.to_string()))?;
    let size = transaction.size();
    let pegged = site.sources.params.pegged_asset();
    let fee_sat = fee_in(&transaction, pegged);
    let place = match &found.proof {
        None => html! { "waits for a block" },
        Some(proof) => {
            let stored = site.sources.ledger.snapshot()?.header(proof.height)?;
            let time = stored.and_then(|stored| decode_header(stored.header).ok()).map(|header| header.time);
            html! {
                "final in block " a href={ "/block/" (proof.height) } { (proof.height) } ", position " (proof.position)
                @if let Some(time) = time { ", " (moment(time.into())) }
            }
        }
    };
    // Without an index the page says less, and is there all the same.
    let openings = Openings::read(blinded.unwrap_or_default());
    let scene = Scene { site, view: site.index().ok(), txid, transaction, openings };
    let transaction = &scene.transaction;
    let body = html! {
        h1 { "Transaction" }
        @if blinded.is_some() {
            p.notice { "Amounts that this link carries are shown where they give the commitments of an output. The server of this page has seen them." }
        }
        (facts(&[
            ("Id", full(txid)),
            ("Where", place),
            ("What", html! { (kind(&site.sources.params, transaction)) }),
            ("Fee", html! {
                @if transaction.is_coinbase() { "none" } @else {
                    (btc(fee_sat)) ", "
                    (rate(fee_sat, u64::try_from(transaction.discount_vsize()).unwrap_or(u64::MAX)))
                    " sat/kvB"
                }
            }),
            ("Size", html! {
                (size) " bytes, " (transaction.vsize()) " virtual, " (transaction.discount_vsize()) " with the discount for hidden outputs"
            }),
        ]))
        div.sides {
            section {
                h2 { (transaction.input.len()) @if transaction.input.len() == 1 { " input" } @else { " inputs" } }
                ol.ends start="0" { @for (position, input) in transaction.input.iter().enumerate() { li { (scene.input(position, input)?) } } }
            }
            section {
                h2 { (transaction.output.len()) @if transaction.output.len() == 1 { " output" } @else { " outputs" } }
                (scene.outputs()?)
            }
        }
    };
    Ok(Page::new(Section::Blocks, format!("Transaction {txid}"), body))
}

impl Scene<'_> {
    fn pegged(&self) -> AssetId {
        self.site.sources.params.pegged_asset()
    }

    /// The output that an input spends, where it can be found.
    fn spent(&self, position: usize, previous: &OutPoint) -> Result<Option<TxOut>, Refusal> {
        let Some(view) = &self.view else { return Ok(None) };
        if let Some(waiting) = view.waiting().get(&self.txid) {
            return Ok(waiting.spent.get(position).cloned().flatten());
        }
        let Some((_, bytes)) = view.transaction(&previous.txid)? else { return Ok(None) };
        let before = Transaction::decode(bytes).map_err(|error| Refusal::Failed(error.to_string()))?;
        Ok(usize::try_from(previous.vout).ok().and_then(|vout| before.output.get(vout).cloned()))
    }

    fn input(&self, position: usize, input: &TxIn) -> Result<Markup, Refusal> {
        if input.is_coinbase() {
            return Ok(html! { "new in this block" });
        }
        if let Some(deposit) = input.pegin_prevout() {
            // The first item of the witness, which was checked before the transaction came here.
            let value = input.witness.pegin_witness.iter().next().and_then(|item| item.first_chunk());
            return Ok(html! {
                div {
                    span.tag { "peg-in" }
                    @if let Some(value) = value { " " span.amount { (btc(u64::from_le_bytes(*value))) } }
                }
                div.after { "Bitcoin output " span.hash.full { (deposit) } }
            });
        }
        let previous = input.previous_output;
        let spent = self.spent(position, &previous)?;
        let issued = issued_assets(input);
        Ok(html! {
            div { (part_link(previous.txid, previous.vout)) }
            @if let Some(output) = &spent { div { (self.value(output)) " " (owner(&output.script_pubkey)) } }
            @if let Some((_, asset, token)) = issued {
                @let again = !input.asset_issuance.asset_blinding_nonce.is_null();
                div {
                    span.tag { @if again { "reissuance" } @else { "issuance" } } " of " (asset_link(&asset, &self.pegged())) ": "
                    (raw(&input.asset_issuance.amount))
                    @if !again && !matches!(input.asset_issuance.inflation_keys, Value::Null) {
                        ", with " (raw(&input.asset_issuance.inflation_keys)) " reissuance tokens " (asset_link(&token, &self.pegged()))
                    }
                }
            }
        })
    }

    /// The inputs that spend the outputs: transaction, and whether it is final.
    fn spenders(&self) -> Result<BTreeMap<u32, Txid>, Refusal> {
        let Some(view) = &self.view else { return Ok(BTreeMap::new()) };
        let mut spenders: BTreeMap<u32, Txid> =
            view.spenders(&self.txid)?.into_iter().map(|(vout, spender)| (vout, spender.transaction.txid)).collect();
        for (vout, _) in (0..).zip(&self.transaction.output) {
            if let Some((txid, _)) = view.waiting().spender(&OutPoint::new(self.txid, vout)) {
                spenders.entry(vout).or_insert(txid);
            }
        }
        Ok(spenders)
    }

    fn outputs(&self) -> Result<Markup, Refusal> {
        let spenders = self.spenders()?;
        let mut items = Vec::new();
        for (vout, output) in (0..).zip(&self.transaction.output) {
            let spender = spenders.get(&vout);
            items.push(html! {
                (self.output(vout, output)?)
                @if let Some(spender) = spender { div.after { "spent in " (link("/tx/", &spender.to_string())) } }
            });
        }
        Ok(html! { ol.ends start="0" { @for item in items { li { (item) } } } })
    }

    fn output(&self, vout: u32, output: &TxOut) -> Result<Markup, Refusal> {
        if output.is_fee() {
            return Ok(html! { span.tag { "fee" } " " (self.value(output)) });
        }
        if let Some(request) = parse_pegout(&self.site.sources.params, OutPoint::new(self.txid, vout), output) {
            let state = self.site.sources.backend.pegout(&request.outpoint)?;
            return Ok(html! {
                div { span.tag { "peg-out" } " " span.amount { (btc(request.amount_sat)) } " to " (parent_owner(&self.site.sources.params, &request.parent_script)) }
                @if let Some(pegout) = state {
                    div.after {
                        (state_name(pegout.state))
                        @if !pegout.reason.is_empty() { ": " (pegout.reason) }
                        @if let Some((height, txid)) = pegout.batch {
                            "; batch of block " a href={ "/block/" (height) } { (height) } ", Bitcoin transaction " span.hash.full { (txid) }
                        }
                    }
                }
            });
        }
        Ok(html! {
            div {
                @if is_unspendable(&output.script_pubkey) {
                    span.tag { @if matches!(output.value, Value::Explicit(0)) { "data" } @else { "burn" } } " " (self.value(output))
                } @else {
                    (self.value(output)) " " (owner(&output.script_pubkey))
                }
            }
        })
    }

    /// The amount of an output: in the open, opened by the link, or hidden.
    fn value(&self, output: &TxOut) -> Markup {
        let pegged = self.pegged();
        if let Some(opened) = self.openings.of(output) {
            return html! { (amount(opened.value, &opened.asset, &pegged)) " " span.tag { "opened by the link" } };
        }
        match (&output.value, &output.asset) {
            (Value::Explicit(value), Asset::Explicit(asset)) => amount(*value, asset, &pegged),
            (_, Asset::Explicit(asset)) => html! { "hidden amount of " (asset_link(asset, &pegged)) },
            (Value::Explicit(value), _) => html! { (value) " of a hidden asset" },
            _ => html! { span.hidden { "hidden" } },
        }
    }
}

fn raw(value: &Value) -> Markup {
    match value {
        Value::Null => html! { "0" },
        Value::Explicit(value) => html! { (value) },
        Value::Confidential(_) => html! { "a hidden amount" },
    }
}

/// Who can spend an output.
pub(super) fn owner(script: &Script) -> Markup {
    match Address::from_script(script, None, &AddressParams::ELEMENTS) {
        Some(address) => html! { a.hash.full href={ "/address/" (address) } { (address) } },
        None => html! { "script " span.hash.full { (hex::encode(script.as_bytes())) } },
    }
}

/// Who gets bitcoin.
pub(super) fn parent_owner(params: &ChainParams, script: &bitcoin::Script) -> Markup {
    let address = params.parent_network().and_then(|network| bitcoin::Address::from_script(script, network).ok());
    match address {
        Some(address) => html! { span.hash.full { (address) } },
        None => html! { "the script " span.hash.full { (script.to_hex_string()) } },
    }
}

/// The state of a peg-out.
pub(super) const fn state_name(state: PegoutState) -> &'static str {
    match state {
        PegoutState::Requested => "requested",
        PegoutState::Batched => "batched",
        PegoutState::Signed => "signed",
        PegoutState::Broadcast => "sent to Bitcoin",
        PegoutState::Confirmed => "confirmed on Bitcoin",
        PegoutState::Parked => "can never be paid",
    }
}
