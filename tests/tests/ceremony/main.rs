//! Ceremonies between processes: one member silent, one killed at every step, one that lies. What every operator is shown
//! names the member, and a run that failed leaves no share behind.

// Positions in a story of four are no input from outside.
#![allow(clippy::indexing_slicing)]

mod liar;
mod operators;

use aquifer_federation::ceremony::Step;
use aquifer_tests::HarnessError;
use aquifer_tests::process::Process;
use aquifer_tests::turn::Turn;

use liar::Liar;
use operators::{LIMIT, Operators};

/// Three members go on without the fourth as far as they can, and say whom they wait for; it comes, and all end.
#[test]
fn a_silent_member_is_named_by_all_and_may_come_late() -> Result<(), HarnessError> {
    let _turn = Turn::take()?;
    let operators = Operators::new()?;
    let mut running: Vec<Process> = (0..3).map(|member| operators.ceremony(member)).collect::<Result<_, _>>()?;
    for member in 0..3 {
        operators.wait_shown(member, 0, &["waiting for delta"])?;
        operators.wait_shown(member, 0, &["delta nothing yet (no answer"])?;
        let shown = operators.shown(member)?;
        assert!(shown.contains(operators.fingerprint()), "what to compare is not shown: {shown}");
    }
    running.push(operators.ceremony(3)?);
    for process in &mut running {
        let status = process.wait(LIMIT)?;
        assert!(status.success(), "{}", process.tail());
    }
    operators.check_success()
}

#[test]
fn a_member_that_is_killed_at_every_step_goes_on_and_says_nothing_else() -> Result<(), HarnessError> {
    let _turn = Turn::take()?;
    let operators = Operators::new()?;
    let mut others: Vec<Process> = (0..3).map(|member| operators.ceremony(member)).collect::<Result<_, _>>()?;
    let mut run_begins = 0;
    let mut delta = operators.ceremony(3)?;
    for (position, step) in Step::ALL.iter().enumerate() {
        let reached: Vec<String> = Step::ALL.iter().skip(position).map(|step| format!("delta {step}")).collect();
        let mut reached: Vec<&str> = reached.iter().map(String::as_str).collect();
        reached.push("delta complete");
        operators.wait_shown(3, run_begins, &reached)?;
        delta.kill9();
        // Shares are there when the federation is, and not before.
        let there = operators.shares(3).map(|share| share.exists());
        assert!(there == [false; 2] || operators.has_stored(3), "shares {there:?} after the kill at {step}");
        run_begins = operators.shown(3)?.len();
        delta = operators.ceremony(3)?;
    }
    for process in &mut others {
        let status = process.wait(LIMIT)?;
        assert!(status.success(), "{}", process.tail());
    }
    // Killed between fetching the last messages and writing them down, it finds that the others have ended: then it has
    // them from a node.
    let mut node = operators.node(0)?;
    let status = delta.wait(LIMIT)?;
    assert!(status.success(), "{}", delta.tail());
    node.terminate(LIMIT)?;
    operators.check_success()
}

/// Plays a ceremony in which `lie` makes the fourth member of what an honest one would say, until the others have failed.
fn lied_to(lie: impl FnOnce(&mut Liar) -> Result<(), HarnessError>, fault: &str) -> Result<(), HarnessError> {
    let _turn = Turn::take()?;
    let operators = Operators::new()?;
    let mut liar = Liar::new(&operators, 3)?;
    lie(&mut liar)?;
    let serving = liar.serve()?;
    let mut running: Vec<Process> = (0..3).map(|member| operators.ceremony(member)).collect::<Result<_, _>>()?;
    for (member, process) in running.iter_mut().enumerate() {
        let status = process.wait(LIMIT)?;
        let shown = operators.shown(member)?;
        assert_eq!(status.code(), Some(1), "member {member} did not fail: {shown}");
        assert!(shown.contains(fault), "member {member} did not see it: {shown}");
        assert!(shown.contains("(member \"delta\")"), "member {member} did not name the liar: {shown}");
        assert!(shown.contains("no key has come of it"), "{shown}");
        operators.check_nothing_left(member)?;
    }
    drop(serving);
    Ok(())
}

#[test]
fn a_wrong_share_is_complained_about_and_its_dealer_named_by_all() -> Result<(), HarnessError> {
    lied_to(Liar::spoil_share_of_first, "what member #3 dealt to member #0 is wrong")
}

#[test]
fn a_member_that_says_two_different_things_is_named_by_all() -> Result<(), HarnessError> {
    lied_to(Liar::say_two_things, "member #3 signed two different commit messages")
}

#[test]
fn a_wrong_proof_of_possession_is_named_by_all() -> Result<(), HarnessError> {
    lied_to(Liar::spoil_proof, "the proof of possession of member #3 is wrong")
}

/// A failed run is no end: the same folders hold a ceremony under another roster.
#[test]
fn after_a_liar_the_others_begin_again_under_another_roster() -> Result<(), HarnessError> {
    let _turn = Turn::take()?;
    let mut operators = Operators::new()?;
    let mut liar = Liar::new(&operators, 3)?;
    liar.spoil_proof()?;
    let serving = liar.serve()?;
    let mut running: Vec<Process> = (0..3).map(|member| operators.ceremony(member)).collect::<Result<_, _>>()?;
    for process in &mut running {
        assert_eq!(process.wait(LIMIT)?.code(), Some(1));
    }
    drop(serving);
    operators.agree_on_another_roster()?;
    let mut running: Vec<Process> = (0..4).map(|member| operators.ceremony(member)).collect::<Result<_, _>>()?;
    for process in &mut running {
        let status = process.wait(LIMIT)?;
        assert!(status.success(), "{}", process.tail());
    }
    operators.check_success()
}
