//! See `aquifer_fuzz_targets::block`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| aquifer_fuzz_targets::block::run(input));
