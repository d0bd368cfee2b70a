//! The demo: a whole federation on one machine, and the main road through it, told step by step.
//!
//! What it shows is not staged: real processes, real keys, a real bitcoind, and the same command lines a person uses.
//! Each step checks what it claims; if something is not as told, the demo fails.

mod cost;
mod hints;
mod story;
mod summary;
mod teller;
mod verify;

use std::thread;
use std::time::{Duration, Instant};

pub use summary::Summary;
use summary::{CostComparison, btc};
pub use teller::{Stage, Teller};

use crate::devnet::{Devnet, DevnetOptions, Sabotaged, Served, StartStep};
use crate::error::HarnessError;
use crate::interrupt;

/// Time between two Bitcoin blocks while the devnet stays up for its user.
const PARENT_BLOCK_INTERVAL: Duration = Duration::from_secs(5);
/// Time for a member to reach the height of the others.
const CATCH_UP_LIMIT: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(100);

/// The devnet of the demo.
const DEVNET: DevnetOptions = DevnetOptions { members: 4, sabotaged: Sabotaged::Nobody, served: Served::Everybody };

/// What happens after the story.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Afterwards {
    /// Everything is taken down.
    End,
    /// The devnet stays up until Ctrl-C, with a Bitcoin block every five seconds.
    StayUp,
}

/// Starts a devnet and tells the story on it; `finished` gets the summary as soon as the story is over.
///
/// # Errors
/// The first thing that is not as told.
pub fn run(
    teller: &mut Teller,
    afterwards: Afterwards,
    finished: impl FnOnce(&mut Teller, &Summary) -> Result<(), HarnessError>,
) -> Result<(), HarnessError> {
    let begin = Instant::now();
    teller.chapter("A federation");
    let mut devnet = Devnet::start_with(DEVNET, |step| teller.step(announce(step)))?;
    let told = story::tell(&mut devnet, teller).and_then(|(mut summary, cast)| {
        summary.elapsed_ms = u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX);
        finished(teller, &summary)?;
        Ok(cast)
    });
    let cast = told.inspect_err(|_| devnet.keep_unless_interrupted())?;
    if afterwards == Afterwards::StayUp {
        teller.text(&hints::text(&devnet, &cast)?);
        stay_up(&mut devnet)?;
        teller.text("\nTaking everything down.");
    }
    Ok(())
}

/// Tells the story on a devnet that is running.
///
/// # Errors
/// The first thing that is not as told.
pub fn tell(devnet: &mut Devnet, teller: &mut Teller) -> Result<Summary, HarnessError> {
    story::tell(devnet, teller).map(|(summary, _)| summary)
}

const fn announce(step: StartStep) -> &'static str {
    match step {
        StartStep::Build => "build aquiferd and aquifer",
        StartStep::Bitcoind => "start bitcoind in regtest mode (obtaining it first, where there is none)",
        StartStep::Cards => "four members make their seeds and exchange their cards",
        StartStep::Ceremony => "the members generate their common key; no one ever holds it",
        StartStep::Members => "start the four members, each with an auditor beside it",
    }
}

/// Keeps Bitcoin going until Ctrl-C.
fn stay_up(devnet: &mut Devnet) -> Result<(), HarnessError> {
    let mut mined = Instant::now();
    while !interrupt::requested() {
        devnet.check_running()?;
        if mined.elapsed() >= PARENT_BLOCK_INTERVAL {
            devnet.bitcoind().mine(1)?;
            mined = Instant::now();
        }
        thread::sleep(PAUSE);
    }
    Ok(())
}

fn tell_costs(teller: &mut Teller, summary: &Summary) {
    for pegout in &summary.pegouts {
        teller.fact(&format!(
            "peg-out of {}: Bitcoin transaction of {} vbytes, {} sat; it spends {}, and leaves {} under the key, {} in the script",
            btc(pegout.amount_sat),
            pegout.vsize,
            pegout.amount_sat.saturating_sub(pegout.received_sat),
            pegout.spent,
            btc(pegout.to_treasury_sat),
            btc(pegout.to_script_sat),
        ));
    }
    let CostComparison { inputs, outputs, fee_rate_sat_per_kvb, treasury_key, multisig } = &summary.costs;
    teller.fact(&format!(
        "cost of a peg-out alone in its batch ({inputs} in, {outputs} out) at {} sat/vB:",
        fee_rate_sat_per_kvb.div_ceil(1_000)
    ));
    for cost in [treasury_key, multisig] {
        teller.fact(&format!("{:<34} {:>6} vB {:>8} sat", cost.federation, cost.vsize, cost.fee_sat));
    }
}

/// Tells the summary to a person.
///
/// # Errors
/// Never.
pub fn tell_summary(teller: &mut Teller, summary: &Summary) -> Result<(), HarnessError> {
    teller.chapter("In numbers");
    teller.fact(&format!(
        "{:<16} {:>6} {:>10} {:>8} {:>8} {:>9}",
        "transaction", "block", "final", "bytes", "vbytes", "fee"
    ));
    for payment in &summary.payments {
        teller.fact(&format!(
            "{:<16} {:>6} {:>7} ms {:>8} {:>8} {:>5} sat",
            payment.kind, payment.height, payment.final_after_ms, payment.size, payment.discount_vsize, payment.fee_sat
        ));
    }
    tell_costs(teller, summary);
    let largest = summary.blocks.iter().max_by_key(|block| block.size);
    if let Some(block) = largest {
        teller.fact(&format!(
            "{} blocks in all; the largest, {}, has {} transactions in {} bytes",
            summary.height, block.height, block.transactions, block.size
        ));
    }
    Ok(())
}
