//! The test vectors of Elements and Bitcoin for scripts, run against the interpreter.
//!
//! They are read from the folder in the environment variable `AQUIFER_VECTORS`. Rows are in the formats of Bitcoin Core's
//! files of the same names and in Bitcoin's serialization, so the interpreter runs with a checker for Bitcoin's
//! transactions. Every row must pass; comments are rows of one element.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr
)]

#[path = "vectors/assembly.rs"]
mod assembly;
#[path = "vectors/bitcoin_side.rs"]
mod bitcoin_side;

use std::collections::BTreeMap;
use std::path::PathBuf;

use aquifer_assets::script::{Flags, ScriptError, verify_script};
use bitcoin::consensus::encode::deserialize;
use bitcoin::hashes::Hash;
use bitcoin::{OutPoint, Transaction, Txid};
use serde_json::Value;

use assembly::{parse_flags, parse_script};
use bitcoin_side::{BitcoinChecker, check_transaction, credit_and_spend, legacy_parts};

/// Rows that are not run: file, text of the row, reason. A row may be skipped for no other reason than one listed here.
const SKIPPED: &[(&str, &str, &str)] = &[];

/// The rows of a file, without comments; `None` if there are no vectors.
fn rows(file: &str) -> Option<Vec<Vec<Value>>> {
    let Some(folder) = std::env::var_os("AQUIFER_VECTORS") else {
        eprintln!("SKIPPED: AQUIFER_VECTORS is not set, {file} is not run");
        return None;
    };
    let path = PathBuf::from(folder).join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let rows: Vec<Vec<Value>> = serde_json::from_str(&text).expect("rows are arrays");
    Some(rows.into_iter().filter(|row| row.len() > 1).collect())
}

/// Runs every row and reports all that fail.
fn run_all(file: &str, run: impl Fn(&[Value]) -> Result<(), String>) {
    let Some(rows) = rows(file) else { return };
    let (mut failed, mut skipped) = (Vec::new(), 0);
    for row in &rows {
        let text = serde_json::to_string(row).unwrap();
        if let Some((_, _, reason)) = SKIPPED.iter().find(|(name, row, _)| *name == file && *row == text) {
            println!("{file}: skipped, {reason}: {text}");
            skipped += 1;
        } else if let Err(why) = run(row) {
            failed.push(format!("{why}\n    {}", text.chars().take(600).collect::<String>()));
        }
    }
    println!(
        "{file}: {} rows, {} passed, {skipped} skipped, {} failed",
        rows.len(),
        rows.len() - failed.len() - skipped,
        failed.len()
    );
    assert!(!rows.is_empty(), "{file} has no rows");
    assert!(failed.is_empty(), "{file}: {} of {} rows fail\n{}", failed.len(), rows.len(), failed.join("\n"));
}

fn text(value: &Value) -> Result<&str, String> {
    value.as_str().ok_or_else(|| format!("{value} is no text"))
}

fn bytes(value: &Value) -> Result<Vec<u8>, String> {
    hex::decode(text(value)?).map_err(|error| error.to_string())
}

/// An amount in bitcoin as satoshi.
fn satoshi(value: &Value) -> Result<u64, String> {
    let amount = bitcoin::Amount::from_btc(value.as_f64().ok_or("no amount")?);
    amount.map(bitcoin::Amount::to_sat).map_err(|error| error.to_string())
}

/// Whether a set of flags makes sense: WITNESS comes with P2SH, CLEANSTACK with both.
fn is_consistent(flags: Flags) -> bool {
    (!flags.contains(Flags::WITNESS) || flags.contains(Flags::P2SH))
        && (!flags.contains(Flags::CLEANSTACK) || flags.contains(Flags::P2SH | Flags::WITNESS))
}

fn fill(flags: Flags) -> Flags {
    let flags = if flags.contains(Flags::CLEANSTACK) { flags | Flags::WITNESS } else { flags };
    if flags.contains(Flags::WITNESS) { flags | Flags::P2SH } else { flags }
}

fn trim(flags: Flags) -> Flags {
    let flags = if flags.contains(Flags::P2SH) { flags } else { flags.without(Flags::WITNESS) };
    if flags.contains(Flags::WITNESS) { flags } else { flags.without(Flags::CLEANSTACK) }
}

/// Every flag that the files can name.
fn every_flag() -> Flags {
    Flags::ALL.iter().fold(Flags::NONE, |all, (_, flag)| all | *flag)
}

/// The flags that only take away from what is valid. With SIGHASH_RANGEPROOF there are more hash types.
fn restricting_flags() -> impl Iterator<Item = &'static (&'static str, Flags)> {
    Flags::ALL.iter().filter(|(_, flag)| *flag != Flags::SIGHASH_RANGEPROOF)
}

#[test]
fn script_tests() {
    run_all("elements_script_tests.json", |row| {
        let (witness, amount, row) = match row[0].as_array() {
            Some(list) => {
                let (amount, elements) = list.split_last().ok_or("an empty witness")?;
                (elements.iter().map(bytes).collect::<Result<Vec<_>, _>>()?, satoshi(amount)?, &row[1..])
            }
            None => (Vec::new(), 0, row),
        };
        if row.len() < 4 {
            return Err("a row has four elements".to_owned());
        }
        let (script_sig, script_pubkey) = (parse_script(text(&row[0])?)?, parse_script(text(&row[1])?)?);
        let mut flags = parse_flags(text(&row[2])?)?;
        if flags.contains(Flags::CLEANSTACK) {
            flags = flags | Flags::P2SH | Flags::WITNESS;
        }
        let expected = text(&row[3])?;
        let spend = credit_and_spend(&script_sig, &script_pubkey, amount);
        let checker = BitcoinChecker::new(&spend, 0, amount);
        let witness: Vec<&[u8]> = witness.iter().map(Vec::as_slice).collect();
        let verify = |flags| verify_script(&script_sig, &script_pubkey, &witness, flags, &checker);
        let found = verdict(verify(flags));
        if found != expected {
            return Err(format!("{expected} expected, {found} found"));
        }
        // Flags only take away from what is valid.
        for (name, flag) in restricting_flags() {
            let (other, valid) = match expected {
                "OK" => (flags.without(*flag), true),
                _ => (flags | *flag, false),
            };
            if is_consistent(other) && verify(other).is_ok() != valid {
                return Err(format!("another verdict with {name} changed"));
            }
        }
        Ok(())
    });
}

/// A verdict in the words of the file.
fn verdict(result: Result<(), ScriptError>) -> &'static str {
    match result {
        Ok(()) => "OK",
        Err(ScriptError::NullFail) => "NULLFAIL",
        Err(error) => error.elements_name(),
    }
}

#[test]
fn sighash() {
    run_all("elements_sighash.json", |row| {
        let transaction: Transaction = deserialize(&bytes(&row[0])?).map_err(|error| error.to_string())?;
        let script_code = bytes(&row[1])?;
        let vin = row[2].as_u64().and_then(|vin| usize::try_from(vin).ok()).ok_or("no index of an input")?;
        let hash_type = row[3].as_i64().and_then(|value| i32::try_from(value).ok()).ok_or("no hash type")?;
        let digest = legacy_parts(&transaction)
            .digest(vin, &script_code, hash_type.cast_unsigned(), Flags::NONE)
            .ok_or("no such input")?;
        let found = bitcoin::hashes::sha256d::Hash::from_byte_array(digest).to_string();
        if found == text(&row[4])? { Ok(()) } else { Err(format!("{found} found")) }
    });
}

/// A row of `tx_valid` or `tx_invalid`: the transaction and, by outpoint, the scripts and amounts that it spends.
struct Spend {
    transaction: Transaction,
    spent: BTreeMap<OutPoint, (Vec<u8>, u64)>,
    flags: Flags,
}

impl Spend {
    fn parse(row: &[Value]) -> Result<Self, String> {
        let mut spent = BTreeMap::new();
        for input in row[0].as_array().ok_or("no list of outputs")? {
            let input = input.as_array().filter(|list| (3..=4).contains(&list.len())).ok_or("no output")?;
            let txid: Txid = text(&input[0])?.parse().map_err(|_| "no txid")?;
            let vout = input[1].as_i64().ok_or("no index of an output")?;
            // -1 stands for the index of a coinbase.
            let vout = u32::try_from(vout).unwrap_or(u32::MAX);
            let amount = input.get(3).and_then(Value::as_u64).unwrap_or(0);
            spent.insert(OutPoint { txid, vout }, (parse_script(text(&input[2])?)?, amount));
        }
        let transaction = deserialize(&bytes(&row[1])?).map_err(|error| error.to_string())?;
        Ok(Self { transaction, spent, flags: parse_flags(text(&row[2])?)? })
    }

    fn verify(&self, flags: Flags) -> Result<(), String> {
        for (vin, input) in self.transaction.input.iter().enumerate() {
            let (script, amount) = self.spent.get(&input.previous_output).ok_or("an output is missing")?;
            let checker = BitcoinChecker::new(&self.transaction, vin, *amount);
            let witness: Vec<&[u8]> = input.witness.iter().collect();
            verify_script(input.script_sig.as_bytes(), script, &witness, flags, &checker)
                .map_err(|error| format!("input {vin}: {error}"))?;
        }
        Ok(())
    }
}

#[test]
fn tx_valid() {
    run_all("elements_tx_valid.json", |row| {
        let spend = Spend::parse(row)?;
        check_transaction(&spend.transaction)?;
        // The row names the flags that may not be set.
        let flags = every_flag().without(spend.flags);
        if !is_consistent(flags) {
            return Err(format!("flags {flags} make no sense"));
        }
        spend.verify(flags)?;
        for (name, flag) in restricting_flags() {
            let fewer = trim(flags.without(*flag));
            spend.verify(fewer).map_err(|error| format!("without {name}: {error}"))?;
            // The row names no more flags than it has to: with any of them set the spend fails.
            let named = trim(spend.flags.without(*flag));
            if named != spend.flags && spend.verify(every_flag().without(named)).is_ok() {
                return Err(format!("also valid with {name}"));
            }
        }
        Ok(())
    });
}

#[test]
fn tx_invalid() {
    run_all("elements_tx_invalid.json", |row| {
        if text(&row[2])? == "BADTX" {
            let transaction = deserialize(&bytes(&row[1])?).map_err(|error| error.to_string())?;
            return match check_transaction(&transaction) {
                Err(_) => Ok(()),
                Ok(()) => Err("a bad transaction passes".to_owned()),
            };
        }
        let spend = Spend::parse(row)?;
        check_transaction(&spend.transaction)?;
        if !is_consistent(spend.flags) {
            return Err(format!("flags {} make no sense", spend.flags));
        }
        if spend.verify(spend.flags).is_ok() {
            return Err("valid".to_owned());
        }
        for (name, flag) in restricting_flags() {
            if spend.verify(fill(spend.flags | *flag)).is_ok() {
                return Err(format!("valid with {name}"));
            }
            if spend.flags.contains(*flag) {
                let fewer = trim(spend.flags.without(*flag));
                spend.verify(fewer).map_err(|error| format!("not valid without {name}: {error}"))?;
            }
        }
        Ok(())
    });
}
