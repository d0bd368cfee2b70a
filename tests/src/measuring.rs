//! What programs that measure have in common: progress and a table go to standard error, the report is one line of JSON on
//! standard output.

use std::fmt::Display;
use std::io::{self, Write as _};
use std::process::ExitCode;

use serde::Serialize;

use crate::HarnessError;
use crate::demo::{Stage, Teller};
use crate::interrupt;

/// Measures, tells and prints; what a program of this kind does.
pub fn run<Report, Error>(
    measure: impl FnOnce(&mut Teller) -> Result<Report, Error>,
    tell: impl FnOnce(&mut Teller, &Report),
) -> ExitCode
where
    Report: Serialize,
    Error: Display + From<HarnessError>,
{
    let mut teller = Teller::new(Stage::Errors);
    let work = || -> Result<(), Error> {
        interrupt::watch()?;
        let report = measure(&mut teller)?;
        tell(&mut teller, &report);
        let json = serde_json::to_string(&report).map_err(|error| HarnessError::Story(error.to_string()))?;
        writeln!(io::stdout(), "{json}").map_err(HarnessError::program("print the result of", "the measurement"))?;
        Ok(())
    };
    match work() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            teller.give_up();
            // If even that cannot be said, the exit code says it.
            let _ = writeln!(io::stderr(), "\nThe measurement failed: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The middle one of several measurements, the upper one of two; nothing of none.
pub fn median<T: Copy + Default + Ord>(measured: &mut [T]) -> T {
    measured.sort_unstable();
    measured.get(measured.len() / 2).copied().unwrap_or_default()
}
