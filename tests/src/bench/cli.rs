//! The command line of the benchmark.

use std::process::ExitCode;

use clap::Parser;

use super::{Plan, report, run};
use crate::measuring;

/// Measures how fast blocks are checked and connected; with ELEMENTSD_EXE set, an elementsd on the same blocks as well.
///
/// Progress and a table go to standard error, one line of JSON to standard output.
///
/// Connecting from disk is what a member does that was away: each block is decoded, its signatures and its certificate
/// are checked, it is judged without verdicts from before, and written durably. elementsd connects the same blocks from
/// its own files with -reindex-chainstate -assumevalid=0; -par=1 is compared with one thread of ours, -par=<cores> with
/// as many. Its time is what it counts itself from reading a block to having connected it (-debug=bench); its start,
/// the headers' signatures and waiting for the disk after every block are not in it, so the comparison favours it.
///
/// Example: cargo run --release -p aquifer-tests --bin bench -- --quick
#[derive(Debug, Parser)]
#[command(name = "bench")]
pub struct Arguments {
    /// What everything is made from: the same seed gives the same blocks.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Full blocks of confidential payments [default: 4, with --quick 2].
    #[arg(long)]
    blocks: Option<u32>,
    /// Weight of a full block [default: 4000000, with --quick 400000].
    #[arg(long)]
    weight: Option<u64>,
    /// Blocks of mixed content [default: 1000, with --quick 50].
    #[arg(long)]
    mixed: Option<u32>,
    /// Peg-outs in the long history [default: 100000, with --quick 2000].
    #[arg(long)]
    pegouts: Option<u32>,
    /// How often everything is measured [default: 5, with --quick 2].
    #[arg(long)]
    runs: Option<u32>,
    /// A small measurement, to see that it works: its numbers say little.
    #[arg(long)]
    quick: bool,
    /// Given by `cargo bench`; means nothing.
    #[arg(long, hide = true)]
    bench: bool,
}

impl Arguments {
    fn plan(&self) -> Plan {
        let standard = if self.quick {
            Plan { seed: self.seed, full_blocks: 2, block_weight: 400_000, mixed_blocks: 50, pegouts: 2_000, runs: 2 }
        } else {
            Plan {
                seed: self.seed,
                full_blocks: 4,
                block_weight: 4_000_000,
                mixed_blocks: 1_000,
                pegouts: 100_000,
                runs: 5,
            }
        };
        Plan {
            full_blocks: self.blocks.unwrap_or(standard.full_blocks).max(1),
            block_weight: self.weight.unwrap_or(standard.block_weight),
            mixed_blocks: self.mixed.unwrap_or(standard.mixed_blocks).max(1),
            pegouts: self.pegouts.unwrap_or(standard.pegouts).max(1),
            runs: self.runs.unwrap_or(standard.runs).max(1),
            ..standard
        }
    }
}

/// The whole program.
pub fn main() -> ExitCode {
    let plan = Arguments::parse().plan();
    measuring::run(|teller| run(&plan, teller), report::tell)
}
