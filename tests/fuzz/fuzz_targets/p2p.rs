//! See `aquifer_fuzz_targets::p2p`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| aquifer_fuzz_targets::p2p::run(input));
