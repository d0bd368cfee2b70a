//! The command line of the measurement.

use std::process::ExitCode;

use clap::Parser;

use super::{Plan, run, tell};
use crate::measuring;

/// Measures the first look at the chain of a wallet with a long history: through our own servers and proofs, and as LWK takes
/// it over Electrum and over Waterfalls, from one member and in turn.
///
/// A federation is started and pays the wallet so many times, each time on a new address: with 5,000 payments that alone takes
/// some minutes. Progress and a summary go to standard error, one line of JSON to standard output.
///
/// Example: cargo run --release -p aquifer-tests --bin scan -- --payments 500
#[derive(Debug, Parser)]
#[command(name = "scan")]
pub struct Arguments {
    /// Payments that the wallet has received.
    #[arg(long, default_value_t = 5_000)]
    payments: u32,
    /// How often each way is measured; the median counts.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Where all randomness comes from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// The whole program.
pub fn main() -> ExitCode {
    let Arguments { payments, rounds, seed } = Arguments::parse();
    let plan = Plan { payments, rounds, seed };
    measuring::run(|teller| run(&plan, teller), tell)
}
