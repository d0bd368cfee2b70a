//! What a crowd of clients of other software costs the members.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    aquifer_tests::crowd::cli::main()
}
