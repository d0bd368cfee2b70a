//! The peg audit: what is held, what is owed, and what is on its way.

use std::collections::BTreeMap;

use aquifer_federation::treasury::CoinKind;
use aquifer_federation::valve::NoticeKind;
use maud::{Markup, html};

use super::chart::{Line, chart};
use super::layout::{Page, Section};
use super::look::{self, ago, btc, cards, facts, part_link, signed_btc, table};
use super::transaction::{parent_owner, state_name};
use super::{Refusal, Site};
use crate::api::{KeyProof, Pegout, PegoutState, ValveState};
use crate::store::ledger::Snapshot;

/// Points of the chart.
const POINTS: u32 = 180;
/// Peg-outs that are listed.
const PEGOUTS: u32 = 50;
/// Coins that are listed.
const COINS: usize = 500;

pub(super) fn page(site: &Site) -> Result<Page, Refusal> {
    let info = site.sources.backend.info()?;
    let reserve = site.sources.backend.supply()?.reserve;
    let pegouts = site.sources.backend.pegouts(PEGOUTS)?;
    let snapshot = site.sources.ledger.snapshot()?;
    let about_sat = reserve.pegged_in_sat.saturating_sub(reserve.pegged_out_sat);
    let body = html! {
        h1 { "Peg audit" }
        @if reserve.difference_sat < 0 {
            p.alarm { "The coins do not cover what is owed: " (signed_btc(reserve.difference_sat)) }
        }
        (cards(&[
            ("Held on Bitcoin", html! { span.amount { (btc(reserve.coins_sat)) } }),
            ("Owed", html! { span.amount { (btc(reserve.owed_sat)) } }),
            ("Difference", html! { span.amount { (signed_btc(reserve.difference_sat)) } }),
            ("On the sidechain", html! { span.amount { (btc(about_sat)) } }),
            ("Peg-outs that wait", html! { span.amount { (btc(reserve.pending_pegouts_sat)) } }),
            ("Coins", html! { (reserve.coins) }),
        ]))
        (reserve_over_time(&snapshot)?)
        (facts(&[
            ("Pegged in", html! { span.amount { (btc(reserve.pegged_in_sat)) } }),
            ("Pegged out", html! { span.amount { (btc(reserve.pegged_out_sat)) } }),
            ("Burned otherwise", html! { span.amount { (btc(reserve.burned_sat)) } }),
            ("Spent by batches that are not buried yet", html! { span.amount { (btc(reserve.in_flight_sat)) } }),
            ("Bitcoin", html! {
                @if let Some(height) = info.parent_height { "at height " (height) } @else { "not followed: " (info.parent_problem) }
            }),
            ("Treasury key", html! {
                @match &info.key_proof {
                    KeyProof::Seen(txid) => { "has signed on Bitcoin, first in " span.hash.full { (txid) } }
                    KeyProof::Missing(missing) => { "has not signed on Bitcoin yet; it takes " (missing) }
                }
            }),
        ]))
        h2 { "The valve" }
        (valve(&info.valve))
        h2 { "Coins of the federation" }
        (coins(&snapshot)?)
        h2 { "Peg-outs" }
        (pegout_table(site, &pegouts))
        h2 { "Batches" }
        (batches(&pegouts))
    };
    Ok(Page::new(Section::Peg, "Peg audit", body))
}

fn reserve_over_time(snapshot: &Snapshot<'_>) -> Result<Markup, Refusal> {
    let tip = snapshot.tip()?.height;
    let step = tip.div_ceil(POINTS).max(1);
    let wanted = (0..=tip).filter(|height| height % step == 0 || *height == tip);
    let (mut heights, mut held, mut owed) = (Vec::new(), Vec::new(), Vec::new());
    for height in wanted {
        if let Some(books) = snapshot.books_at(height)? {
            heights.push(height);
            held.push(books.coins_sat);
            owed.push(books.owed_sat());
        }
    }
    Ok(chart(
        &heights,
        &[
            Line { name: "held on Bitcoin", class: "held", values: held },
            Line { name: "owed", class: "owed", values: owed },
        ],
    ))
}

fn valve(valve: &ValveState) -> Markup {
    let positions: Vec<_> = valve
        .positions
        .iter()
        .map(|member| {
            vec![
                html! { (member.name) },
                html! {
                    @match member.position { NoticeKind::Halt => span.tag.bad { "halt" }, NoticeKind::Resume => span.tag.good { "open" } }
                    @if member.changing { " (about to change)" }
                },
            ]
        })
        .collect();
    html! {
        @match valve.closure {
            Some(closure) => p.alarm { "Closed: " (closure) },
            None => p { span.tag.good { "open" } " Peg-outs are paid." },
        }
        @if let Some(reason) = &valve.own_halt { p.notice { "This member takes no part in batches: " (reason) } }
        (facts(&[("Counts against the window", html! {
            (btc(valve.counting_sat)) " of " (btc(valve.window_cap_sat)) " "
            meter min="0" max=(valve.window_cap_sat.max(1)) value=(valve.counting_sat) {}
        })]))
        (table(&["Member", "Says"], &positions, ""))
    }
}

fn coins(snapshot: &Snapshot<'_>) -> Result<Markup, Refusal> {
    let coins = snapshot.treasury_coins()?;
    let rows: Vec<_> = coins
        .iter()
        .filter(|coin| coin.booked_as == coin.outpoint)
        .take(COINS)
        .map(|coin| {
            vec![
                html! { span.hash title=(coin.outpoint) { (look::short(&coin.outpoint.txid.to_string())) ":" (coin.outpoint.vout) } },
                html! { span.amount { (btc(coin.amount_sat)) } },
                html! {
                    @match coin.kind {
                        CoinKind::Deposit { .. } => "deposit, under the federation's script",
                        CoinKind::Federation { .. } => "change, under the federation's script",
                        CoinKind::Treasury => "under the treasury key",
                    }
                },
            ]
        })
        .collect();
    Ok(table(&["Bitcoin output", "Amount", "How it is held"], &rows, "The federation holds nothing."))
}

fn pegout_table(site: &Site, pegouts: &[Pegout]) -> Markup {
    let rows: Vec<_> = pegouts
        .iter()
        .map(|pegout| {
            vec![
                part_link(pegout.request.txid, pegout.request.vout),
                html! { span.amount { (btc(pegout.amount_sat)) } },
                parent_owner(&site.sources.params, &pegout.parent_script),
                html! {
                    span.tag.bad[pegout.state == PegoutState::Parked].good[pegout.state == PegoutState::Confirmed] { (state_name(pegout.state)) }
                    @if !pegout.reason.is_empty() { " " (pegout.reason) }
                    @if let Some(seconds) = pegout.expected_seconds { ", expected " (ago(seconds)) }
                    @if pegout.confirmations > 0 { ", " (pegout.confirmations) " confirmations" }
                },
                html! { @if pegout.fee_sat > 0 { (pegout.fee_sat) " sat" } },
            ]
        })
        .collect();
    table(&["Request", "Amount", "To", "State", "Bitcoin fee"], &rows, "Nobody has asked for one.")
}

fn batches(pegouts: &[Pegout]) -> Markup {
    let mut batches: BTreeMap<u32, (bitcoin::Txid, PegoutState, u32, u64)> = BTreeMap::new();
    for pegout in pegouts {
        if let Some((height, txid)) = pegout.batch {
            let batch = batches.entry(height).or_insert((txid, pegout.state, 0, 0));
            batch.2 = batch.2.saturating_add(1);
            batch.3 = batch.3.saturating_add(pegout.amount_sat);
        }
    }
    let rows: Vec<_> = batches
        .iter()
        .rev()
        .map(|(height, (txid, state, count, sum))| {
            vec![
                html! { a href={ "/block/" (height) } { (height) } },
                look::short(&txid.to_string()),
                html! { (count) },
                html! { span.amount { (btc(*sum)) } },
                html! { span.tag.good[*state == PegoutState::Confirmed] { (state_name(*state)) } },
            ]
        })
        .collect();
    table(&["Block", "Bitcoin transaction", "Peg-outs", "Amount", "State"], &rows, "None yet.")
}
