//! What a crowd of clients of other software costs the members: whether payments become final as fast as without it.
//!
//! A whole devnet on one machine, with everything that a member serves. Payments are made one after the other, at times
//! with the crowd and at times without, so that both see the same machine. The crowd is Electrum connections that
//! subscribe to scripts and headers, and requests to Esplora at a fixed rate, all to one member.

pub mod cli;
mod clients;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::bench::measure::memory;
use crate::demo::Teller;
use crate::devnet::{Devnet, DevnetOptions, Served};
use crate::error::HarnessError;
use crate::measuring::median;
use crate::turn::Turn;
use crate::wallet::Wallet;
use clients::{Crowd, Seen};

/// What each payment is worth, in satoshi.
const PAYMENT_SAT: u64 = 10_000;

/// How much to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Electrum connections.
    pub connections: usize,
    /// Requests to Esplora per second.
    pub requests_per_second: u32,
    /// Payments in each phase.
    pub payments: u32,
    /// How often the crowd comes and goes.
    pub rounds: u32,
}

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Electrum connections.
    pub connections: usize,
    /// Median time from submission to verified finality without the crowd, in milliseconds.
    pub alone_ms: u64,
    /// The same with it.
    pub crowded_ms: u64,
    /// The second as a multiple of the first.
    pub ratio: f64,
    /// Requests to Esplora that were answered per second, while the crowd was there.
    pub answered_per_second: f64,
    /// What the crowd has seen.
    pub seen: Seen,
    /// Resident memory of the member after each phase, in bytes, beginning without the crowd.
    pub resident_bytes: Vec<u64>,
    /// Open files of the member at the end, when the crowd has gone.
    pub open_files: usize,
}

/// Measures.
///
/// # Errors
/// When the devnet fails, or a client is refused.
pub fn run(plan: &Plan, teller: &mut Teller) -> Result<Report, HarnessError> {
    let _turn = Turn::take()?;
    teller.chapter("A federation that serves everybody");
    teller.step("start it");
    let devnet = Devnet::start(DevnetOptions { served: Served::Everybody, ..DevnetOptions::default() })?;
    let (payer, payee) = (devnet.wallet("payer")?, devnet.wallet("payee")?);
    teller.step("give the payer coins");
    devnet.fund(&payer, 100_000_000)?;
    let member = devnet.members().first().ok_or_else(|| HarnessError::Story("there is no member".to_owned()))?;
    let (interfaces, process) = (member.interfaces()?, member.process_id()?);
    let asset = devnet.chain()?.pegged_asset().to_string();
    let address = payee.address()?;

    teller.chapter("With and without a crowd");
    let (mut alone, mut crowded, mut resident_bytes) = (Vec::new(), Vec::new(), Vec::new());
    let (mut seen, mut crowded_for) = (Seen::default(), Duration::ZERO);
    for round in 1..=plan.rounds {
        teller.step(&format!("round {round}: payments without it"));
        alone.extend(pay(&payer, &address, &asset, plan.payments)?);
        resident_bytes.extend(memory::resident_bytes_of(process));
        teller.step(&format!("round {round}: {} connections are made", plan.connections));
        let crowd = Crowd::gather(interfaces, plan.connections, plan.requests_per_second)?;
        let start = Instant::now();
        teller.step(&format!("round {round}: payments with it"));
        crowded.extend(pay(&payer, &address, &asset, plan.payments)?);
        resident_bytes.extend(memory::resident_bytes_of(process));
        crowded_for += start.elapsed();
        seen.add(&crowd.disperse());
    }
    let (alone_ms, crowded_ms) = (median(&mut alone), median(&mut crowded));
    Ok(Report {
        connections: plan.connections,
        alone_ms,
        crowded_ms,
        ratio: Duration::from_millis(crowded_ms).as_secs_f64() / Duration::from_millis(alone_ms.max(1)).as_secs_f64(),
        answered_per_second: f64::from(seen.answered) / crowded_for.as_secs_f64(),
        seen,
        resident_bytes,
        open_files: std::fs::read_dir(format!("/proc/{process}/fd")).map_or(0, Iterator::count),
    })
}

fn pay(payer: &Wallet, address: &str, asset: &str, payments: u32) -> Result<Vec<u64>, HarnessError> {
    (0..payments).map(|_| payer.send(address, PAYMENT_SAT, asset)?.number("elapsed_ms")).collect()
}

/// Tells a report to a person.
pub fn tell(teller: &mut Teller, report: &Report) {
    teller.chapter("In numbers");
    teller.fact(&format!(
        "final after {} ms alone and {} ms with {} connections: {:.2} times",
        report.alone_ms, report.crowded_ms, report.connections, report.ratio
    ));
    let Seen { answered, refused, latencies_ms, notifications, .. } = &report.seen;
    let percentile = |share: u32| percentile(latencies_ms, share);
    teller.fact(&format!(
        "{answered} answers of Esplora ({:.0} per second, {refused} refused), half within {} ms, 99 of 100 within {} ms",
        report.answered_per_second,
        percentile(50),
        percentile(99)
    ));
    teller.fact(&format!("{notifications} notifications over Electrum"));
    let megabytes: Vec<String> = report.resident_bytes.iter().map(|bytes| (bytes >> 20).to_string()).collect();
    teller.fact(&format!("MiB resident after each phase: {}; {} files open", megabytes.join(", "), report.open_files));
}

/// The time within which `share` of 100 answers came, in milliseconds.
fn percentile(latencies_ms: &BTreeMap<u64, u32>, share: u32) -> u64 {
    let all: u64 = latencies_ms.values().copied().map(u64::from).sum();
    let wanted = all.saturating_mul(share.into()).div_ceil(100);
    let mut counted = 0;
    for (latency, count) in latencies_ms {
        counted += u64::from(*count);
        if counted >= wanted {
            return *latency;
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_of_a_histogram() {
        let latencies = BTreeMap::from([(1, 98), (5, 1), (9, 1)]);
        assert_eq!([50, 98, 99, 100].map(|share| percentile(&latencies, share)), [1, 1, 5, 9]);
        assert_eq!(percentile(&BTreeMap::new(), 50), 0);
        assert_eq!(median(&mut [3, 1, 2]), 2);
    }
}
