//! Writes the inputs that a fuzzer begins with: `cargo run -p aquifer-fuzz-targets --bin fuzz-seeds -- <corpus folder>`.

#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::io::{Error, ErrorKind};
use std::path::Path;
use std::{env, fs};

use aquifer_fuzz_targets::seeds::seeds;

fn main() -> Result<(), Error> {
    let folder: OsString =
        env::args_os().nth(1).ok_or_else(|| Error::new(ErrorKind::InvalidInput, "name a folder for the inputs"))?;
    for (number, (target, seed)) in seeds().iter().enumerate() {
        let folder = Path::new(&folder).join(target);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(format!("seed-{number}")), seed)?;
    }
    Ok(())
}
