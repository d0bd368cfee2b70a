//! Fresh cases, judged by us and by a running elementsd.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::{env, fs};

use aquifer_tests::elementsd::{Elementsd, VARIABLE};
use aquifer_tests::oracle::{Call, Case, Question, World};
use elements::encode::serialize_hex;
use serde_json::{Value, json};

use crate::listed::listed;

fn setting(name: &str, default: &str) -> String {
    env::var(name).unwrap_or_else(|_| default.to_owned())
}

/// Numbers of cases: a count, or `from..to`.
fn numbers(name: &str, default: &str) -> std::ops::Range<u64> {
    let text = setting(name, default);
    let (from, to) = text.split_once("..").unwrap_or(("0", &text));
    from.parse().unwrap()..to.parse().unwrap()
}

#[test]
fn elementsd_says_the_same() {
    let Some(program) = Elementsd::program() else {
        writeln!(io::stderr(), "SKIPPED: {VARIABLE} is not set, so no elementsd judges fresh cases").unwrap();
        return;
    };
    let seed = setting("AQUIFER_ORACLE_SEED", "1").parse().unwrap();
    let keep = setting("AQUIFER_ORACLE_KEEP", env!("CARGO_TARGET_TMPDIR"));
    let world = World::new(seed).unwrap();
    let elementsd = follow(&world, program);
    let mut tally = Tally::default();
    let mut record = format!("seed {seed}\n");
    let transactions = numbers("AQUIFER_ORACLE_CASES", "200").map(|number| ('t', number));
    let blocks = numbers("AQUIFER_ORACLE_BLOCKS", "100").map(|number| ('b', number));
    let bytes = numbers("AQUIFER_ORACLE_BYTES", "50").map(|number| ('w', number));
    for (sort, number) in transactions.chain(blocks).chain(bytes) {
        let case = make(&world, sort, number);
        let mut verdicts = String::new();
        for question in case.questions() {
            let ours = world.verdict(&case, *question).unwrap();
            let call = world.call(&case, *question).unwrap();
            let mut theirs = judge(&elementsd, &case, &call);
            let mut outcome = Outcome::of(*question, ours.as_deref(), theirs.as_deref());
            if outcome == Outcome::Different && theirs.is_none() {
                forget(&world, &elementsd, number);
                theirs = judge(&elementsd, &case, &call);
                if theirs.is_some() {
                    outcome = Outcome::Listed(REMEMBERED);
                }
            }
            tally.count(&case, *question, outcome, ours.as_deref(), theirs.as_deref());
            verdicts.push(if theirs.is_none() { '+' } else { '-' });
            if outcome == Outcome::Different {
                report(&keep, seed, sort, &case, (&ours, &theirs), &call);
            }
        }
        writeln!(record, "{sort}{number} {} {verdicts}", case.digest()).unwrap();
    }
    tally.print();
    if let Ok(path) = env::var("AQUIFER_ORACLE_RECORD") {
        fs::write(path, record).unwrap();
    }
    assert_eq!(tally.different, 0, "disagreements, kept in {keep}");
}

/// The case of a sort with a number.
pub(crate) fn make(world: &World, sort: char, number: u64) -> Case {
    match sort {
        't' => world.case(number),
        'b' => world.block_case(number),
        'w' => world.wire_case(number),
        _ => panic!("no sort of cases is called {sort}"),
    }
    .unwrap()
}

/// Why elementsd may accept what is not valid: it remembers proofs by less than they prove (trap 7.6), until 23.3.4.
const REMEMBERED: &str = "elementsd-remembers-another-proof";

/// Has elementsd judge so many other proofs that it forgets those it has seen.
fn forget(world: &World, elementsd: &Elementsd, number: u64) {
    let block = serialize_hex(&world.block_of_proofs(number).unwrap());
    elementsd.call::<Value>("testproposedblock", &[json!(block), json!(true)]).unwrap();
}

/// An elementsd with the blocks of a world, with the policy of nodes that relay only standard transactions, and with the
/// least memory for verdicts.
pub(crate) fn follow(world: &World, program: std::ffi::OsString) -> Elementsd {
    let configuration = format!("{}acceptnonstdtxn=0\nmaxsigcachesize=0\n", world.configuration());
    let elementsd = Elementsd::start(program, &configuration, &world.chain.judge.params.name).unwrap();
    for (height, block) in (1..).zip(&world.blocks) {
        elementsd.submit_block(height, &serialize_hex(&world.chain.seal(block.clone()).unwrap().0)).unwrap();
    }
    elementsd
}

/// Why elementsd refuses a case, if it does.
pub(crate) fn judge(elementsd: &Elementsd, case: &Case, (method, arguments): &Call) -> Option<String> {
    let answer = match elementsd.call::<Value>(method, arguments) {
        Ok(answer) => answer,
        Err(error) => return Some(error.to_string().lines().next().unwrap_or_default().to_owned()),
    };
    match *method {
        "testmempoolaccept" => {
            let verdict = &answer[0];
            let reason = || verdict["reject-reason"].as_str().unwrap_or("no reason").to_owned();
            (verdict["allowed"] != json!(true)).then(reason)
        }
        "submitblock" => {
            if let Some(reason) = answer.as_str() {
                assert!(!reason.starts_with("duplicate") && reason != "inconclusive", "no verdict: {reason}");
                return Some(reason.to_owned());
            }
            // Back to the tip on which all cases stand.
            let block = case.block_hash().unwrap();
            elementsd.call::<Value>("invalidateblock", &[json!(block.to_string())]).unwrap();
            None
        }
        _ => None,
    }
}

/// What the two verdicts are to each other.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    BothAccept,
    BothRefuse,
    /// We are stricter on purpose.
    Listed(&'static str),
    Different,
}

impl Outcome {
    pub(crate) fn of(question: Question, ours: Option<&str>, theirs: Option<&str>) -> Self {
        match (ours, theirs) {
            (None, None) => Outcome::BothAccept,
            (Some(_), Some(_)) => Outcome::BothRefuse,
            (Some(ours), None) => listed(question, ours).map_or(Outcome::Different, Outcome::Listed),
            (None, Some(_)) => Outcome::Different,
        }
    }
}

fn report(keep: &str, seed: u64, sort: char, case: &Case, verdicts: (&Option<String>, &Option<String>), call: &Call) {
    let (number, (ours, theirs), (method, arguments)) = (case.number, verdicts, call);
    let (kind, mutation) = (&case.kind, case.mutation);
    println!("DIFFERENT seed {seed} {sort}{number} {method} | {kind} | {mutation} | ours {ours:?} | theirs {theirs:?}");
    let text = format!(
        "seed {seed} number {sort}{number}\nkind {kind}\nmutation {mutation}\nours {ours:?}\ntheirs {theirs:?}\n\
         bytes {}\n{method} {}\n",
        hex::encode(case.bytes()),
        json!(arguments)
    );
    fs::write(format!("{keep}/oracle-{seed}-{sort}{number}-{method}.txt"), text).unwrap();
}

/// Counts for whoever runs it.
#[derive(Default)]
struct Tally {
    different: u32,
    /// Per question and mutation: both accept, both refuse, listed.
    mutations: BTreeMap<(Question, String), [u32; 3]>,
    kinds: BTreeMap<String, [u32; 3]>,
    reasons: BTreeMap<(Question, String), u32>,
    listed: BTreeMap<&'static str, u32>,
}

impl Tally {
    fn count(&mut self, case: &Case, question: Question, outcome: Outcome, ours: Option<&str>, theirs: Option<&str>) {
        let column = match outcome {
            Outcome::BothAccept => 0,
            Outcome::BothRefuse => 1,
            Outcome::Listed(name) => {
                *self.listed.entry(name).or_default() += 1;
                2
            }
            Outcome::Different => {
                self.different += 1;
                return;
            }
        };
        let sort = if case.kind.starts_with("block+") { case.kind.as_str() } else { "transaction" };
        self.mutations.entry((question, format!("{sort} {}", case.mutation))).or_default()[column] += 1;
        for kind in case.kind.split('+') {
            self.kinds.entry(kind.to_owned()).or_default()[column] += 1;
        }
        let pair = format!("{} / {}", ours.map_or("valid".to_owned(), brief), theirs.map_or("valid".to_owned(), brief));
        *self.reasons.entry((question, pair)).or_default() += 1;
    }

    fn print(&self) {
        println!("[both accept, both refuse, listed] by mutation:");
        self.mutations.iter().for_each(|((question, name), counts)| println!("  {question:?} {name} {counts:?}"));
        println!("by kind:");
        self.kinds.iter().for_each(|(name, counts)| println!("  {name} {counts:?}"));
        println!("ours / theirs:");
        self.reasons.iter().for_each(|((question, pair), count)| println!("{count:6} {question:?} {pair}"));
        let sum = |column: usize| self.mutations.values().map(|counts| counts[column]).sum::<u32>();
        println!("listed: {:?}", self.listed);
        println!("TOTAL accept {} refuse {} listed {} different {}", sum(0), sum(1), sum(2), self.different);
    }
}

/// A reason without what is special to the case.
fn brief(reason: &str) -> String {
    let reason = reason.split_once("message: \"").map_or(reason, |(_, message)| message);
    reason.split([':', '@']).next().unwrap_or_default().chars().take(60).collect()
}
