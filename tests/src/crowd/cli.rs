//! The command line of the measurement.

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Parser;

use super::{Plan, run, tell};
use crate::HarnessError;
use crate::demo::{Stage, Teller};
use crate::interrupt;

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
    let mut teller = Teller::new(Stage::Errors);
    match measure(&plan, &mut teller) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            teller.give_up();
            // If even that cannot be said, the exit code says it.
            let _ = writeln!(io::stderr(), "\nThe measurement failed: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(plan: &Plan, teller: &mut Teller) -> Result<(), HarnessError> {
    interrupt::watch()?;
    let report = run(plan, teller)?;
    tell(teller, &report);
    let json = serde_json::to_string(&report).map_err(|error| HarnessError::Story(error.to_string()))?;
    writeln!(io::stdout(), "{json}").map_err(HarnessError::program("print the result of", "the measurement"))
}
