//! `aquiferd-sabotaged`: `aquiferd` with a defect on purpose. Its verifier accepts marked range proofs whatever they prove.
//!
//! It exists to show what stands between such a defect and the treasury. Nobody should run it anywhere else.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    aquifer_functionary::cli::main()
}
