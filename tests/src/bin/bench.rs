//! How fast blocks are checked and connected, and how fast an elementsd does it.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    aquifer_tests::bench::cli::main()
}
