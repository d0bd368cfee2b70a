//! What answers look like: the JSON of elementsd.

mod header;
mod json;
mod opcodes;
mod script;
mod transaction;

pub(crate) use header::header_fields;
pub(crate) use json::{Json, Object};
pub(crate) use script::{ADDRESSES, asm, checksum, described, output_script};
pub(crate) use transaction::{coin_fields, put_amount, put_asset, transaction_fields};
