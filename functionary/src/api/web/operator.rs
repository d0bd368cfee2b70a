//! The operator's page: how this member and the others are.

use std::time::Instant;

use aquifer_assets::primitives::decode_header;
use aquifer_federation::blocksign::signers;
use maud::{Markup, html};

use super::layout::{Page, Section};
use super::look::{self, ago, cards, facts, full, table};
use super::{Refusal, Site};
use crate::api::{ChainInfo, Oversight};
use crate::chain::Pace;
use crate::index::IndexProgress;

/// Blocks whose signatures are counted.
const COUNTED: u32 = 100;
/// Heights whose rounds are shown.
const ROUNDS: usize = 15;
/// Seconds after which the page is loaded anew.
const REFRESH_S: u32 = 15;

pub(super) fn page(site: &Site) -> Result<Page, Refusal> {
    let info = site.sources.backend.info()?;
    let (snapshot, pace) = (site.sources.ledger.snapshot()?, site.sources.status.pace());
    let tip = snapshot.tip()?;
    let body = html! {
        h1 { "Member " (info.member) }
        @for alarm in &info.alarms { p.alarm { (alarm) } }
        @if info.alarms.is_empty() { p { span.tag.good { "no alarms" } } }
        (cards(&[
            ("Height", html! { (tip.height) }),
            ("Last block", html! { (ago(tip.time.into())) }),
            ("Round", html! { (info.round) }),
            ("Bitcoin", html! { @match info.parent_height { Some(height) => (height), None => "not followed" } }),
            ("Mempool", html! { (info.mempool_transactions) }),
            ("Peg-outs that wait", html! { (info.valve.waiting.len()) }),
        ]))
        @if !info.parent_problem.is_empty() { p.notice { "Peg-ins and peg-outs wait: " (info.parent_problem) } }
        h2 { "Members" }
        (members(site, &info, &pace, tip.height)?)
        p.small {
            "Signatures are counted over the last " (COUNTED.min(tip.height)) " blocks. A witness takes those of the first "
            (site.sources.roster.threshold()) " members that have signed in the order of the roster, so a member whose signature is not in it may have given it. "
            "Proposals are those of the " (pace.heights) " heights that this member agreed on since it started; they took "
            (pace.extra_rounds) " rounds more than one each."
        }
        h2 { "Rounds" }
        (rounds(site, &pace))
        h2 { "Who is asked before peg-outs are signed" }
        (oversight(&info.oversight))
        h2 { "This node" }
        (facts(&[
            ("Version", html! { (env!("CARGO_PKG_VERSION")) }),
            ("Chain", html! { (info.chain) }),
            ("Genesis", full(info.genesis)),
            ("Certificate key", full(hex::encode(&info.certificate_key))),
            ("Index", match &info.index {
                None => html! { "switched off" },
                Some(progress) => index(progress),
            }),
        ]))
    };
    Ok(Page::new(Section::Operator, format!("Member {}", info.member), body).refreshed_every(REFRESH_S))
}

fn index(progress: &IndexProgress) -> Markup {
    html! { "at block " (progress.height) " of " (progress.tip) @if let Some(problem) = &progress.problem { ": " (problem) } }
}

fn members(site: &Site, info: &ChainInfo, pace: &Pace, tip: u32) -> Result<Markup, Refusal> {
    let (snapshot, roster) = (site.sources.ledger.snapshot()?, &site.sources.roster);
    let mut signed = vec![0u32; roster.members().len()];
    for height in (1..=tip).rev().zip(0..COUNTED).map(|(height, _)| height) {
        let Some(stored) = snapshot.header(height)? else { continue };
        let header = decode_header(stored.header).map_err(|error| Refusal::Failed(error.to_string()))?;
        for (count, has_signed) in signed.iter_mut().zip(signers(&header, roster)) {
            *count = count.saturating_add(has_signed.into());
        }
    }
    let rows: Vec<_> = roster
        .indexed()
        .zip(signed)
        .map(|((index, member), signed)| {
            let peer = info.peers.iter().find(|peer| peer.name == member.name);
            let note = site.sources.status.peer(index);
            vec![
                html! { (member.name) },
                html! {
                    @match peer {
                        None => span.tag { "this member" },
                        Some(peer) if peer.connected => span.tag.good { "connected" },
                        Some(_) => span.tag.bad { "away" },
                    }
                },
                html! { @if peer.is_some() { (heard(note.heard)) } },
                html! { @match peer { None => (tip), Some(peer) => (peer.height) } },
                html! { (signed) },
                html! { (pace.proposed.get(&index).copied().unwrap_or(0)) },
                html! { @match peer { None => (env!("CARGO_PKG_VERSION")), Some(_) => (note.version) } },
                html! { (member.peer_address) },
            ]
        })
        .collect();
    let heads = ["Member", "Connection", "Last heard", "Height", "Signatures", "Proposed", "Version", "Address"];
    Ok(table(&heads, &rows, ""))
}

fn heard(at: Option<Instant>) -> String {
    match at.map(|at| at.elapsed().as_secs()) {
        None => "never".to_owned(),
        Some(0) => "now".to_owned(),
        Some(seconds) => format!("{} ago", look::span_of(seconds)),
    }
}

/// How the latest heights went, newest first.
fn rounds(site: &Site, pace: &Pace) -> Markup {
    let name = |index| site.sources.roster.member(index).map_or("?", |member| member.name.as_str());
    let rows: Vec<_> = pace
        .latest
        .iter()
        .rev()
        .take(ROUNDS)
        .map(|times| {
            vec![
                html! { a href={ "/block/" (times.height) } { (times.height) } },
                html! { @match times.proposer { Some(index) => (name(index)), None => "?" } },
                html! { @if times.round == 0 { "first" } @else { span.tag.bad { "number " (times.round.saturating_add(1)) } } },
                html! { (times.deciding.as_millis()) "\u{a0}ms" },
                html! { (times.signing.as_millis()) "\u{a0}ms" },
            ]
        })
        .collect();
    let empty = "This member has agreed on no height since it started.";
    table(&["Height", "Proposer", "Round", "To agree", "To sign"], &rows, empty)
}

fn oversight(oversight: &Oversight) -> Markup {
    let auditors: Vec<_> = oversight
        .auditors
        .iter()
        .map(|auditor| {
            vec![
                look::short(&auditor.key.to_string()),
                html! { @match auditor.passed { Some(height) => (height), None => "has not reported" } },
                html! { @if auditor.objection.is_some() { span.tag.bad { "objects" } } @else { "none" } },
            ]
        })
        .collect();
    html! {
        p { "Auditors that must have passed a block before its batch is signed: " (oversight.auditors_required) }
        (table(&["Auditor", "Has passed up to block", "Objection"], &auditors, "This member has no auditor."))
        @if let Some(elementsd) = &oversight.elementsd {
            (facts(&[("elementsd", html! {
                @match elementsd.status.follows { Some(height) => { "follows up to block " (height) }, None => "does not follow" }
                @if let Some(problem) = &elementsd.status.problem { ": " (problem) }
                @if let Some(disagreement) = &elementsd.status.disagreement { "; refuses " (disagreement) }
            })]))
        } @else { p { "No elementsd is asked for a second opinion." } }
        @if !oversight.waiting_batches.is_empty() {
            (table(&["Batch of block", "Waits for"], &oversight.waiting_batches.iter().map(|(height, reason)| {
                vec![html! { a href={ "/block/" (height) } { (height) } }, html! { (reason) }]
            }).collect::<Vec<_>>(), ""))
        }
    }
}
