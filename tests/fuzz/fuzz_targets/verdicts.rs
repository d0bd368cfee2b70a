//! See `aquifer_fuzz_targets::verdicts`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| aquifer_fuzz_targets::verdicts::run(input));
