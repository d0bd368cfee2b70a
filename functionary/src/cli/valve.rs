//! The part of `aquiferd status` that shows the valve: who has halted peg-outs, what has left, and what waits.

use aquifer_proto::ledger::{PegoutStatus, Valve, pegout_status::State};
use elements::{OutPoint, Txid};
use serde_json::{Value, json};

use super::CliError;
use super::status::hash;

/// Lines for people.
pub(super) fn text(valve: &Valve) -> Result<String, CliError> {
    use std::fmt::Write as _;
    let mut text = String::new();
    let state = if valve.closed.is_empty() { "open" } else { valve.closed.as_str() };
    // Writing to a string cannot fail.
    let _ =
        writeln!(text, "Valve    {state}; {} of {} sat left in this window", valve.counting_sat, valve.window_cap_sat);
    if !valve.own_halt.is_empty() {
        let _ = writeln!(text, "Valve    THIS MEMBER HAS HALTED PEG-OUTS: {}", valve.own_halt);
    }
    let is_closed = !valve.closed.is_empty();
    for member in valve.positions.iter().filter(|member| is_closed || member.halts || member.changing) {
        let position = if member.halts { "halt" } else { "resume" };
        let changing = if member.changing { ", a notice to the contrary waits for a block" } else { "" };
        let _ = writeln!(text, "Valve    {:<16} {position}{changing}", member.name);
    }
    for pegout in &valve.waiting {
        let expected = match pegout.expected_seconds.map(|expected| expected.saturating_sub(valve.time_seconds)) {
            Some(0) => "; expected with the next batch".to_owned(),
            Some(seconds) => format!("; expected in {seconds} s of the chain's time"),
            None => String::new(),
        };
        let _ =
            writeln!(text, "Peg-out  {} {} sat waits: {}{expected}", name(pegout)?, pegout.amount_sat, pegout.reason);
    }
    Ok(text)
}

/// The same for programs.
pub(super) fn json(valve: &Valve) -> Result<Value, CliError> {
    let positions: Vec<Value> = valve
        .positions
        .iter()
        .map(|member| json!({ "name": member.name, "halts": member.halts, "changing": member.changing }))
        .collect();
    let waiting: Result<Vec<Value>, CliError> = valve
        .waiting
        .iter()
        .map(|pegout| {
            Ok(json!({
                "pegout": name(pegout)?,
                "parked": pegout.state() == State::Parked,
                "amount_sat": pegout.amount_sat,
                "reason": pegout.reason,
                "expected_seconds": pegout.expected_seconds,
            }))
        })
        .collect();
    Ok(json!({
        "open": valve.closed.is_empty(),
        "closed": valve.closed,
        "own_halt": valve.own_halt,
        "positions": positions,
        "counting_sat": valve.counting_sat,
        "window_cap_sat": valve.window_cap_sat,
        "time_seconds": valve.time_seconds,
        "waiting": waiting?,
    }))
}

fn name(pegout: &PegoutStatus) -> Result<String, CliError> {
    let OutPoint { txid, vout } = OutPoint::new(Txid::from_byte_array(hash(&pegout.txid)?), pegout.vout);
    Ok(format!("{txid}:{vout}"))
}
