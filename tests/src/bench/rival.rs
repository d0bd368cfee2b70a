//! An elementsd on the same blocks.

use std::ffi::OsStr;
use std::time::Duration;

use aquifer_assets::chain::{ElementsConfOptions, elements_conf};
use serde::Serialize;
use serde_json::Value;

use super::follower::stored_block;
use super::measure::{Cost, Times, cpu_time_of, memory, time};
use super::{BenchError, Plan};
use crate::elementsd::Elementsd;
use crate::forge::Chain;
use crate::wait::{self, Answer};

/// For connecting a whole chain.
const LIMIT: Duration = Duration::from_secs(3_600);
/// What its log says of the time from reading a block to having connected it: `- Connect block: 1.00ms [0.50s (0.10ms/blk)]`,
/// of the last block and, in brackets, of all.
const CONNECTED: &str = "- Connect block:";

/// What an elementsd needed.
#[derive(Clone, Debug, Serialize)]
pub struct Rival {
    /// Blocks handed over with `submitblock`, with everything that costs, once, on all cores. The time of the cores is
    /// ours.
    pub submitted: Times,
    /// Connecting the chain again from its own files, on one core.
    pub one_core: Times,
    /// The same on all cores.
    pub all_cores: Times,
    /// Whether the system tells the time of the cores that other processes have; it is 0 otherwise.
    pub tells_cpu: bool,
    /// The most memory that it had resident while it did so, where the system tells.
    pub peak_memory_bytes: Option<u64>,
}

/// Hands the chain to an elementsd and has it connected again and again. Gives its version too.
///
/// # Errors
/// If it cannot be run or refuses a block.
pub fn measure(plan: &Plan, program: &OsStr, chain: &Chain, cores: usize) -> Result<(String, Rival), BenchError> {
    let params = &chain.judge.params;
    let configuration = elements_conf(params, &ElementsConfOptions::default());
    let mut elementsd = Elementsd::start_with(program.to_owned(), &configuration, &params.name, &[&threads(cores)])?;
    let info: Value = elementsd.call("getnetworkinfo", &[])?;
    let version = info.get("subversion").and_then(Value::as_str).unwrap_or("unknown").to_owned();
    let tip = chain.next_height()?.saturating_sub(1);
    let blocks = (1..=tip).map(|height| Ok((height, hex::encode(stored_block(&chain.judge.ledger, height)?.block))));
    let blocks = blocks.collect::<Result<Vec<_>, BenchError>>()?;
    let submitted = time(|| blocks.iter().try_for_each(|(height, block)| elementsd.submit_block(*height, block)))?;
    let start = start_up(&mut elementsd)?;
    let (mut one, mut all, mut peak) = (Vec::new(), Vec::new(), None);
    for _ in 0..plan.runs {
        for (runs, cores) in [(&mut one, 1), (&mut all, cores)] {
            let (connected, bytes) = connect_again(&mut elementsd, tip, cores, start)?;
            runs.push(connected);
            peak = peak.max(bytes);
        }
    }
    let rival = Rival {
        submitted: Times::of(&[submitted]),
        one_core: Times::of(&one),
        all_cores: Times::of(&all),
        tells_cpu: start.is_some(),
        peak_memory_bytes: peak,
    };
    Ok((version, rival))
}

fn threads(cores: usize) -> String {
    format!("-par={cores}")
}

/// The time of the cores that it takes to start on a chain that is connected, with the least look at it.
fn start_up(elementsd: &mut Elementsd) -> Result<Option<Duration>, BenchError> {
    elementsd.restart(&["-checkblocks=1", "-checklevel=0"])?;
    Ok(cpu_time_of(elementsd.process_id()))
}

fn connect_again(
    elementsd: &mut Elementsd,
    tip: u32,
    cores: usize,
    start: Option<Duration>,
) -> Result<(Cost, Option<u64>), BenchError> {
    elementsd.restart(&["-reindex-chainstate", "-assumevalid=0", "-debug=bench", &threads(cores)])?;
    wait::until("elementsd has connected the chain again", LIMIT, || {
        let height: u32 = elementsd.call("getblockcount", &[])?;
        Ok(if height == tip { Answer::Ready(()) } else { Answer::NotYet(format!("it is at height {height}")) })
    })?;
    let process = elementsd.process_id();
    let (cpu, bytes) = (cpu_time_of(process), memory::peak_bytes(process));
    let cpu = cpu.zip(start).map(|(cpu, start)| cpu.saturating_sub(start)).unwrap_or_default();
    let log = elementsd.stop()?;
    let wall = log.lines().rev().find_map(connected_total);
    let wall = wall.ok_or_else(|| BenchError::Wrong(format!("elementsd's log has no `{CONNECTED}`")))?;
    Ok((Cost { wall, cpu }, bytes))
}

/// The time in brackets, in seconds with two places.
fn connected_total(line: &str) -> Option<Duration> {
    let (_, times) = line.split_once(CONNECTED)?;
    let (_, total) = times.split_once('[')?;
    let seconds: f64 = total.split_once('s')?.0.parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_stands_in_brackets() {
        let line = "2024-01-01T00:00:00Z - Connect block: 1543.21ms [12.34s (1234.00ms/blk)]";
        assert_eq!(connected_total(line), Some(Duration::from_millis(12_340)));
        assert_eq!(connected_total("2024-01-01T00:00:00Z   - Connect total: 1.00ms [1.00s (1.00ms/blk)]"), None);
    }
}
