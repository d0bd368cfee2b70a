//! `cargo demo`: a federation on one machine, end to end.

#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use aquifer_tests::demo::{self, Afterwards, Stage, Summary, Teller};
use aquifer_tests::{HarnessError, interrupt};
use clap::Parser;

/// Starts bitcoind and four functionaries and walks the main road: peg in, pay, issue, reissue, burn, peg out.
///
/// Example: cargo demo -- --once --json
#[derive(Debug, Parser)]
#[command(name = "cargo demo --", bin_name = "cargo demo --")]
struct Arguments {
    /// End after the story instead of staying up until Ctrl-C.
    #[arg(long)]
    once: bool,
    /// Print a summary as one JSON object, the only line on standard output; the story goes to standard error.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse_from(without_separator(std::env::args_os()));
    let stage = if arguments.json { Stage::Errors } else { Stage::Output };
    let afterwards = if arguments.once { Afterwards::End } else { Afterwards::StayUp };
    let mut teller = Teller::new(stage);
    let finished = |teller: &mut Teller, summary: &Summary| {
        if arguments.json { print_json(summary) } else { demo::tell_summary(teller, summary) }
    };
    match demo::run(&mut teller, afterwards, finished) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            teller.give_up();
            let text = if matches!(error, HarnessError::Interrupted) || interrupt::requested() {
                "The demo was interrupted before its end.".to_owned()
            } else {
                format!("The demo failed: {error}")
            };
            // If even that cannot be said, the exit code says it.
            let _ = writeln!(io::stderr(), "\n{text}");
            ExitCode::FAILURE
        }
    }
}

/// `cargo demo --once` and `cargo demo -- --once` mean the same: the alias ends with `--` already, and the second one
/// arrives here as the first argument.
fn without_separator(arguments: impl Iterator<Item = OsString>) -> impl Iterator<Item = OsString> {
    arguments
        .enumerate()
        .filter(|(position, argument)| *position != 1 || argument != "--")
        .map(|(_, argument)| argument)
}

fn print_json(summary: &Summary) -> Result<(), HarnessError> {
    let text = serde_json::to_string(summary).map_err(|error| HarnessError::Story(error.to_string()))?;
    writeln!(io::stdout(), "{text}").map_err(HarnessError::program("print the summary of", "the demo"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_separator_may_be_written_or_not() {
        for line in ["demo --once --json", "demo -- --once --json"] {
            let words = line.split(' ').map(OsString::from);
            let parsed = Arguments::try_parse_from(without_separator(words));
            assert!(parsed.is_ok_and(|arguments| arguments.once && arguments.json), "{line}");
        }
    }
}
