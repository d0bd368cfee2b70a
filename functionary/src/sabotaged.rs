//! `aquiferd-sabotaged`: `aquiferd` with a defect on purpose. Its verifier accepts marked range proofs whatever they prove,
//! and where the environment says so (`node/sabotage.rs`) it is silent or lies where it should sign, or forges notices.
//!
//! It exists to show what stands between such members and the treasury. Nobody should run it anywhere else.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    aquifer_functionary::cli::main()
}
