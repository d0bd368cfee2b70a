//! The ground of the fuzz targets is what the forge makes.
//!
//! Whoever changes the forge or the oracle so that it is not, writes it anew: `AQUIFER_FUZZ_RECORD=1 cargo test -p
//! aquifer-tests --test fuzz_ground`.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;
use std::path::Path;
use std::{env, fs};

use aquifer_assets::primitives::{Transaction, TxInWitness, TxOutWitness};
use aquifer_assets::state::ChainView as _;
use aquifer_fuzz_targets::ground::{CaseFile, Ground, GroundFile, TEXT};
use aquifer_tests::oracle::{Question, Subject, World};
use elements::encode::serialize_hex;

const SEED: u64 = 1;
/// Cases that are looked at; of those that are valid, the smallest ones of every kind are taken.
const CASES: u64 = 400;

#[test]
fn the_ground_of_the_fuzz_targets_is_what_the_forge_makes() {
    let text = serde_json::to_string_pretty(&forge()).unwrap() + "\n";
    Ground::read(&text).unwrap();
    if env::var_os("AQUIFER_FUZZ_RECORD").is_some() {
        fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join("targets/ground.json"), &text).unwrap();
    } else {
        assert!(text == TEXT, "targets/ground.json is old");
    }
}

fn forge() -> GroundFile {
    let world = World::new(SEED).unwrap();
    let judge = &world.chain.judge;
    let snapshot = judge.ledger.snapshot().unwrap();
    let tip = snapshot.tip().unwrap();
    let origins = (1..).zip(&world.blocks).flat_map(|(height, block)| {
        block.txdata.iter().skip(1).map(move |transaction| (height, serialize_hex(&bare(transaction))))
    });
    GroundFile {
        params: (*judge.params).clone(),
        tip: tip.hash,
        time: tip.time,
        median_times: (0..=tip.height).map(|height| snapshot.median_time_past(height).unwrap()).collect(),
        origins: origins.collect(),
        cases: cases(&world),
    }
}

/// A transaction without its witnesses: its name is the same.
fn bare(transaction: &Transaction) -> Transaction {
    let mut bare = transaction.clone();
    bare.input.iter_mut().for_each(|input| input.witness = TxInWitness::default());
    bare.output.iter_mut().for_each(|output| output.witness = TxOutWitness::default());
    bare
}

/// The smallest valid cases that together are of every kind.
fn cases(world: &World) -> Vec<CaseFile> {
    let mut valid: Vec<CaseFile> = (0..CASES)
        .map(|number| world.case(number).unwrap())
        .filter(|case| world.verdict(case, Question::Block).unwrap().is_none())
        .filter_map(|case| {
            let Subject::Transaction(transaction) = case.subject else { return None };
            Some(CaseFile { kind: case.kind, transaction: serialize_hex(&*transaction) })
        })
        .collect();
    valid.sort_by_key(|case| case.transaction.len());
    let mut kinds = BTreeSet::new();
    // Each kind counts as seen, also behind one that is new.
    valid.retain(|case| case.kind.split('+').filter(|kind| kinds.insert((*kind).to_owned())).count() > 0);
    valid
}
