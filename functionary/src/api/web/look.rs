//! How amounts, times and hashes look.

use std::time::{SystemTime, UNIX_EPOCH};

use aquifer_federation::blocksign::signers;
use aquifer_federation::roster::Roster;
use elements::{AssetId, BlockHeader};
use maud::{Markup, html};
use time::OffsetDateTime;

/// Digits that are left of a shortened hash, at each end.
const SHOWN_DIGITS: usize = 8;
/// Satoshi of a bitcoin.
const COIN: u64 = 100_000_000;

/// An amount of the pegged asset.
pub(super) fn btc(sat: u64) -> String {
    format!("{}.{:08} BTC", sat / COIN, sat % COIN)
}

/// An amount that may be negative.
pub(super) fn signed_btc(sat: i64) -> String {
    format!("{}{}", if sat < 0 { "-" } else { "" }, btc(sat.unsigned_abs()))
}

/// An amount of any asset: of the pegged one in bitcoin, of others in the smallest unit, since the chain knows no decimals.
pub(super) fn amount(raw: u64, asset: &AssetId, pegged: &AssetId) -> Markup {
    html! {
        @if asset == pegged {
            span.amount { (btc(raw)) }
        } @else {
            span.amount { (raw) } " of " (asset_link(asset, pegged))
        }
    }
}

pub(super) fn asset_link(asset: &AssetId, pegged: &AssetId) -> Markup {
    html! {
        @if asset == pegged {
            a href={ "/asset/" (asset) } { "BTC" }
        } @else {
            (link("/asset/", &asset.to_string()))
        }
    }
}

/// A hash with a link to its page, shortened.
pub(super) fn link(place: &str, hash: &str) -> Markup {
    html! { a.hash href={ (place) (hash) } title=(hash) { (shortened(hash)) } }
}

/// An output or input of a transaction, with a link to its page.
pub(super) fn part_link(txid: impl std::fmt::Display, index: u32) -> Markup {
    let txid = txid.to_string();
    html! { a.hash href={ "/tx/" (txid) } title={ (txid) ":" (index) } { (shortened(&txid)) ":" (index) } }
}

/// A hash without a page, shortened.
pub(super) fn short(hash: &str) -> Markup {
    html! { span.hash title=(hash) { (shortened(hash)) } }
}

/// A hash in full.
pub(super) fn full(hash: impl std::fmt::Display) -> Markup {
    html! { span.hash.full { (hash) } }
}

fn shortened(hash: &str) -> String {
    let (Some(head), Some(tail)) =
        (hash.get(..SHOWN_DIGITS), hash.len().checked_sub(SHOWN_DIGITS).and_then(|at| hash.get(at..)))
    else {
        return hash.to_owned();
    };
    if hash.len() <= 2 * SHOWN_DIGITS + 1 { hash.to_owned() } else { format!("{head}…{tail}") }
}

/// Seconds since 1970, now.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// A moment, in seconds since 1970, and how long ago it is.
pub(super) fn moment(seconds: u64) -> Markup {
    // In tables on a phone only how long ago it is has room.
    html! {
        time datetime=(utc(seconds, 'T')) title={ (utc(seconds, ' ')) " UTC" } {
            span.utc { (utc(seconds, ' ')) " UTC · " }
            (ago(seconds))
        }
    }
}

/// How long ago a moment is.
pub(super) fn ago(seconds: u64) -> String {
    match now().checked_sub(seconds) {
        None => format!("in {}", span_of(seconds.saturating_sub(now()))),
        Some(0) => "now".to_owned(),
        Some(since) => format!("{} ago", span_of(since)),
    }
}

/// A span of time in its two greatest units at most.
pub(super) fn span_of(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min"),
        (0, _, _) => format!("{hours} h {} min", minutes % 60),
        (_, _, _) => format!("{days} d {} h", hours % 24),
    }
}

fn utc(seconds: u64, between: char) -> String {
    let moment = i64::try_from(seconds).ok().and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    moment.map_or_else(
        || seconds.to_string(),
        |at| {
            let date = at.date();
            format!(
                "{:04}-{:02}-{:02}{between}{:02}:{:02}:{:02}",
                date.year(),
                u8::from(date.month()),
                date.day(),
                at.hour(),
                at.minute(),
                at.second()
            )
        },
    )
}

/// The members, and which of them has signed.
pub(super) fn grid(header: &BlockHeader, roster: &Roster) -> Markup {
    let signed = signers(header, roster);
    html! {
        span.grid role="list" {
            @for (member, signed) in roster.members().iter().zip(signed) {
                @let said = if signed { "signed" } else { "not in the witness" };
                span.member.signed[signed] role="listitem" title={ (member.name) ": " (said) } {
                    (member.name.chars().next().unwrap_or('?'))
                }
            }
        }
    }
}

/// Names and values, one below the other.
pub(super) fn facts(rows: &[(&str, Markup)]) -> Markup {
    html! {
        dl.facts {
            @for (name, value) in rows {
                dt { (name) }
                dd { (value) }
            }
        }
    }
}

/// A table that scrolls by itself where it is too wide.
pub(super) fn table(heads: &[&str], rows: &[Vec<Markup>], empty: &str) -> Markup {
    html! {
        @if rows.is_empty() {
            p.empty { (empty) }
        } @else {
            div.scroll {
                table {
                    thead { tr { @for head in heads { th { (head) } } } }
                    tbody { @for row in rows { tr { @for cell in row { td { (cell) } } } } }
                }
            }
        }
    }
}

/// Numbers that are seen first.
pub(super) fn cards(cards: &[(&str, Markup)]) -> Markup {
    html! {
        div.cards {
            @for (name, value) in cards {
                div.card { div.name { (name) } div.value { (value) } }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_and_spans() {
        assert_eq!(btc(123_456_789), "1.23456789 BTC");
        assert_eq!(signed_btc(-1), "-0.00000001 BTC");
        assert_eq!([5, 61, 3_700, 90_000].map(span_of), ["5 s", "1 min", "1 h 1 min", "1 d 1 h"].map(str::to_owned));
        assert_eq!(utc(0, ' '), "1970-01-01 00:00:00");
        assert_eq!(utc(1_795_653_296, 'T'), "2026-11-26T00:34:56");
    }

    #[test]
    fn only_long_hashes_are_shortened() {
        assert_eq!(shortened(&"ab".repeat(32)), "abababab…abababab");
        assert_eq!(shortened("0123456789abcdef"), "0123456789abcdef");
        assert_eq!(shortened("ü"), "ü");
    }
}
