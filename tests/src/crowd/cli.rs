//! The command line of the measurement.

use std::process::ExitCode;

use clap::Parser;

use super::{Plan, run, tell};
use crate::measuring;

/// Measures what a crowd of Electrum and Esplora clients costs a federation on this machine.
///
/// Payments are made with and without the crowd in turn; the ratio of the two times is what counts. Progress and a summary
/// go to standard error, one line of JSON to standard output.
///
/// Example: cargo run --release -p aquifer-tests --bin crowd -- --connections 1000
#[derive(Debug, Parser)]
#[command(name = "crowd")]
pub struct Arguments {
    /// Electrum connections, each with two subscriptions.
    #[arg(long, default_value_t = 1_000)]
    connections: usize,
    /// Requests to Esplora per second.
    #[arg(long, default_value_t = 200)]
    requests: u32,
    /// Payments in each phase.
    #[arg(long, default_value_t = 10)]
    payments: u32,
    /// How often the crowd comes and goes.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
}

/// The whole program.
pub fn main() -> ExitCode {
    let Arguments { connections, requests, payments, rounds } = Arguments::parse();
    let plan = Plan { connections, requests_per_second: requests, payments, rounds };
    measuring::run(|teller| run(&plan, teller), tell)
}
