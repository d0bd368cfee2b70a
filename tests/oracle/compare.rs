//! Fresh cases, judged by us and by a running elementsd.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::{env, fs};

use aquifer_tests::elementsd::{Elementsd, VARIABLE};
use aquifer_tests::oracle::{Case, World, elements_hex};
use elements::encode::serialize_hex;
use serde_json::{Value, json};

/// Cases where we are stricter on purpose.
const STRICTER: [(&str, &str); 3] = [
    ("commitment", "elementsd decodes a commitment that is no point of the curve, and refuses it when it verifies"),
    (
        "pegout-of-wrong-asset",
        "a peg-out of another asset than the pegged one, or of a hidden amount, would burn it: nobody can pay it",
    ),
    (
        "blinded-pegout",
        "a peg-out of another asset than the pegged one, or of a hidden amount, would burn it: nobody can pay it",
    ),
];

fn setting(name: &str, default: &str) -> String {
    env::var(name).unwrap_or_else(|_| default.to_owned())
}

#[test]
fn elementsd_says_the_same() {
    let Some(program) = Elementsd::program() else {
        writeln!(io::stderr(), "SKIPPED: {VARIABLE} is not set, so no elementsd judges fresh cases").unwrap();
        return;
    };
    let seed = setting("AQUIFER_ORACLE_SEED", "1").parse().unwrap();
    let cases = setting("AQUIFER_ORACLE_CASES", "200");
    let (from, to) = cases.split_once("..").unwrap_or(("0", &cases));
    let keep = setting("AQUIFER_ORACLE_KEEP", env!("CARGO_TARGET_TMPDIR"));
    let world = World::new(seed).unwrap();
    let elementsd = Elementsd::start(program, &world.configuration(), &world.chain.judge.params.name).unwrap();
    for (height, block) in (1..).zip(&world.blocks) {
        elementsd.submit_block(height, &serialize_hex(&world.chain.seal(block.clone()).unwrap().0)).unwrap();
    }
    let mut reasons = BTreeMap::new();
    let (mut counts, mut kinds, mut listed) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    let mut record = format!("seed {seed}\n");
    let mut different = 0;
    for number in from.parse::<u64>().unwrap()..to.parse().unwrap() {
        let case = world.case(number).unwrap();
        let ours = world.verdict(&case).unwrap();
        let theirs = judge(&elementsd, &case);
        let reason = |why: &Option<String>| why.as_deref().map_or("valid".to_owned(), brief);
        *reasons.entry(format!("{} / {}", reason(&ours), reason(&theirs))).or_insert(0) += 1;
        *counts.entry((case.mutation, ours.is_none())).or_insert(0) += 1;
        case.kind
            .split('+')
            .for_each(|kind| kinds.entry(kind.to_owned()).or_insert([0, 0])[usize::from(ours.is_none())] += 1);
        let known = STRICTER.iter().find(|(name, _)| ours.as_ref().is_some_and(|ours| ours.starts_with(name)));
        match known {
            Some((name, _)) if theirs.is_none() => *listed.entry(name).or_insert(0) += 1,
            _ => {
                writeln!(record, "{number} {} {}", case.digest(), if theirs.is_none() { '+' } else { '-' }).unwrap();
                if ours.is_none() != theirs.is_none() {
                    different += 1;
                    let (method, hex) = elements_hex(&case);
                    let text = format!(
                        "seed {seed} number {number}\nkind {}\nmutation {}\nours {ours:?}\ntheirs {theirs:?}\n\
                         transaction {}\n{method} {hex}\n",
                        case.kind,
                        case.mutation,
                        hex::encode(&case.bytes)
                    );
                    let head: Vec<&str> = text.lines().take(5).collect();
                    println!("DIFFERENT {}", head.join(" | "));
                    fs::write(format!("{keep}/oracle-{seed}-{number}.txt"), text).unwrap();
                }
            }
        }
    }
    println!("by mutation (name, accepted): {counts:?}");
    println!("by kind: [refused, accepted] {kinds:?}\nlisted differences: {listed:?}");
    println!("ours / theirs:");
    reasons.iter().for_each(|(pair, count): (&String, &u32)| println!("{count:6} {pair}"));
    if let Ok(path) = env::var("AQUIFER_ORACLE_RECORD") {
        fs::write(path, record).unwrap();
    }
    assert_eq!(different, 0, "disagreements, kept in {keep}");
}

/// A reason without what is special to the case.
fn brief(reason: &str) -> String {
    let reason = reason.split_once("message: \"").map_or(reason, |(_, message)| message);
    reason.split([':', '@']).next().unwrap_or_default().chars().take(60).collect()
}

/// Why elementsd refuses a case, if it does.
fn judge(elementsd: &Elementsd, case: &Case) -> Option<String> {
    let (method, hex) = elements_hex(case);
    let error = elementsd.call::<Value>(method, &[json!(hex), json!(true)]).err()?;
    let error = error.to_string();
    Some(error.lines().next().unwrap_or_default().to_owned())
}
