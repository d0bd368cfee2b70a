//! `cargo bench`: the same as the program `bench`, with its arguments after `--`.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    aquifer_tests::bench::cli::main()
}
