//! The program `aquifer`; everything is in the library.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    aquifer_wallet::cli::main()
}
