//! How long the first look of a wallet with a long history takes.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    aquifer_tests::scan::cli::main()
}
