//! What a new user does first: `cargo demo -- --once --json`.

use std::process::Command;
use std::time::Duration;

use aquifer_federation::treasury::PROBE_SAT;
use aquifer_tests::HarnessError;
use aquifer_tests::json::Printed;
use aquifer_tests::turn::Turn;

const LIMIT: Duration = Duration::from_secs(600);

#[test]
fn demo_once() -> Result<(), HarnessError> {
    let _turn = Turn::take()?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_demo"));
    command.args(["--once", "--json"]);
    let summary = Printed::by(command, LIMIT)?;

    let kinds: Vec<String> =
        summary.list("payments")?.iter().map(|payment| payment.text("kind")).collect::<Result<_, _>>()?;
    assert_eq!(
        kinds,
        [
            "peg-in claim",
            "payment",
            "issuance",
            "asset payment",
            "reissuance",
            "burn",
            "peg-out request",
            "peg-out request",
            "peg-out request",
            "peg-out request"
        ],
        "the story has all its steps"
    );
    for payment in summary.list("payments")? {
        assert!(payment.height("height")? > 0 && payment.number("final_after_ms")? > 0, "{}", payment.value());
    }
    let held = summary.number("reserve/coins_sat")?;
    let paid_in = summary.number("reserve/pegged_in_sat")?;
    let paid_out = summary.number("reserve/pegged_out_sat")?;
    assert_eq!(held, paid_in - paid_out, "what is held is what came in and did not go out");
    let pegouts = summary.list("pegouts")?;
    let amounts: Vec<u64> = pegouts.iter().map(|pegout| pegout.number("amount_sat")).collect::<Result<_, _>>()?;
    assert_eq!(amounts.iter().sum::<u64>(), paid_out);
    let spent: Vec<String> = pegouts.iter().map(|pegout| pegout.text("spent")).collect::<Result<_, _>>()?;
    assert_eq!(spent, ["deposits", "script_and_probe", "script", "treasury_by_key"]);
    let change =
        |kind: &str| -> Result<Vec<u64>, HarnessError> { pegouts.iter().map(|pegout| pegout.number(kind)).collect() };
    // A probe of the key, then a second one, then everything.
    let under_key: [u64; 4] = change("to_treasury_sat")?.try_into().unwrap_or_default();
    let in_script: [u64; 4] = change("to_script_sat")?.try_into().unwrap_or_default();
    assert!(
        matches!(under_key, [PROBE_SAT, PROBE_SAT, third, fourth] if third.min(fourth) > paid_out),
        "{under_key:?}"
    );
    assert!(matches!(in_script, [first, second, 0, 0] if first.min(second) > paid_out), "{in_script:?}");
    let [key, multisig] = ["treasury_key", "multisig"].map(|kind| summary.number(&format!("costs/{kind}/vsize")));
    let (key, multisig) = (key?, multisig?);
    assert!(key > 0 && multisig > 2 * key, "{key} vbytes by key, {multisig} by script");
    Ok(())
}
