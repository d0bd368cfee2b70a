//! `aquiferd`: the node of a federation member. See `aquiferd --help`.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    aquifer_functionary::cli::main()
}
