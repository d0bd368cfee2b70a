//! The corpus: elementsd's verdicts, replayed without it.

use std::fs;
use std::path::Path;

use aquifer_tests::oracle::World;

use crate::compare::{Outcome, make};

/// A line is `number digest verdicts`, the number with `t` for a transaction, `b` for a block or `w` for a block changed in
/// its bytes, the verdicts in the order of the questions: `+` valid, `-` not. The first line says `seed <seed>`.
#[test]
fn the_recorded_verdicts_are_ours() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("oracle/corpus");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let mut lines = text.lines();
        let seed = lines.next().unwrap().strip_prefix("seed ").unwrap().parse().unwrap();
        let lines: Vec<&str> = lines.collect();
        let half = lines.len().div_ceil(2);
        let wrong: Vec<String> = std::thread::scope(|scope| {
            let parts: Vec<_> = lines.chunks(half).map(|part| scope.spawn(move || replay(seed, part))).collect();
            parts.into_iter().flat_map(|part| part.join().unwrap()).collect()
        });
        assert!(
            wrong.is_empty(),
            "{}: {} of {} differ:\n{}",
            file.display(),
            wrong.len(),
            lines.len(),
            wrong.join("\n")
        );
    }
}

fn replay(seed: u64, lines: &[&str]) -> Vec<String> {
    let world = World::new(seed).unwrap();
    let mut wrong = Vec::new();
    for line in lines {
        let [name, digest, verdicts] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("bad line {line}") };
        let (sort, number) = name.split_at(1);
        let case = make(&world, sort.chars().next().unwrap(), number.parse().unwrap());
        assert_eq!(case.digest(), digest, "case {name} of seed {seed} is not what was recorded");
        for (question, theirs) in case.questions().iter().zip(verdicts.chars()) {
            let ours = world.verdict(&case, *question).unwrap();
            let refused = (theirs == '-').then_some("");
            if Outcome::of(*question, ours.as_deref(), refused) == Outcome::Different {
                let (kind, mutation) = (&case.kind, case.mutation);
                wrong.push(format!("{name} {question:?} {kind} {mutation}: elementsd {theirs}, we {ours:?}"));
            }
        }
    }
    wrong
}
