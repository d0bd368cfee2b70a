//! How fast the ledger is judged and connected, and how fast an elementsd does the same.
//!
//! Two chains are made from a seed ([`making`]): one of full blocks of confidential payments with two hidden outputs
//! each, and one of many small blocks of mixed content. What is timed is the node's own code ([`follower`]): a block as
//! it lies in a member's ledger is decoded, its signatures and its certificate are checked, it is judged without any
//! verdict from before, and connected to another ledger, durably. On one core means in a pool of one thread.
//!
//! An elementsd ([`rival`]) is given the same blocks, and then made to connect them again from its own block files with
//! `-reindex-chainstate`, with as many threads as we had. Its time is what it counts itself (`-debug=bench`), from
//! reading a block to having connected it, so neither its start nor its RPC is held against it. It leaves out what we
//! count: signatures of headers, which it checked when it first saw them, and waiting for the disk after every block.
//!
//! Everything is measured several times, one core and all cores in turn, and the least time of each counts: whatever
//! else the machine does can only add. Beside the clock on the wall stands the time that the process had of its cores,
//! which another program on the machine lengthens little; that of elementsd is without what starting it costs.

pub mod checking;
pub mod cli;
pub mod follower;
pub mod history;
pub mod making;
pub mod measure;
pub mod report;
pub mod rival;

use crate::HarnessError;
use crate::demo::Teller;
use crate::elementsd::Elementsd;
use crate::forge::{Chain, ForgeError};
use checking::check_full_block;
use follower::connect_chain;
use measure::{cores, memory};
use report::{ChainReport, Report, RivalChain, RivalReport};

/// What to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What everything is made from.
    pub seed: u64,
    /// Full blocks of confidential payments.
    pub full_blocks: u32,
    /// Weight of a full block.
    pub block_weight: u64,
    /// Blocks of mixed content.
    pub mixed_blocks: u32,
    /// Peg-outs in the long history.
    pub pegouts: u32,
    /// How often everything is measured.
    pub runs: u32,
}

/// The measurement could not be done.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// A chain could not be made or followed.
    #[error("{0}")]
    Forge(#[from] ForgeError),
    /// The elementsd could not be run.
    #[error("{0}")]
    Harness(#[from] HarnessError),
    /// There are not that many threads.
    #[error("cannot make a pool of threads: {0}")]
    Threads(#[from] rayon::ThreadPoolBuildError),
    /// What was made is not what should be measured, or does not hold.
    #[error("{0}")]
    Wrong(String),
}

impl From<aquifer_functionary::store::StoreError> for BenchError {
    fn from(error: aquifer_functionary::store::StoreError) -> Self {
        Self::Forge(error.into())
    }
}

/// Makes the chains and measures everything.
///
/// # Errors
/// If a chain cannot be made, is refused by us or by the elementsd, or the elementsd cannot be run.
pub fn run(plan: &Plan, teller: &mut Teller) -> Result<Report, BenchError> {
    let cores = cores();
    teller.chapter("Making the chains");
    teller.step("full blocks of confidential payments");
    let confidential =
        making::confidential(plan, &mut |done| teller.detail(&format!("{done} of {}", plan.full_blocks)))?;
    teller.step("blocks of mixed content");
    let mixed = making::mixed(plan, &mut |done| teller.detail(&format!("{done} of {}", plan.mixed_blocks)))?;
    teller.chapter("Measuring");
    teller.step("a full block");
    let full_block = check_full_block(plan, &confidential, cores)?;
    teller.step("connecting the full blocks");
    let (confidential_chain, _) = connect(plan, &confidential, cores)?;
    teller.step("connecting the blocks of mixed content");
    let (mixed_chain, peak) = connect(plan, &mixed, cores)?;
    teller.step("a long history of peg-outs");
    let history = history::keep(plan, &mut |done| teller.detail(&format!("{done} of {}", plan.pegouts)))?;
    let elementsd = match Elementsd::program() {
        None => None,
        Some(program) => {
            teller.step("elementsd: connecting the full blocks");
            let (version, theirs) = rival::measure(plan, &program, &confidential, cores)?;
            teller.step("elementsd: connecting the blocks of mixed content");
            let (_, theirs_mixed) = rival::measure(plan, &program, &mixed, cores)?;
            Some(RivalReport {
                version,
                confidential_chain: RivalChain::new(theirs, &confidential_chain),
                mixed_chain: RivalChain::new(theirs_mixed, &mixed_chain),
            })
        }
    };
    Ok(Report {
        seed: plan.seed,
        cores,
        runs: plan.runs,
        full_block,
        confidential_chain,
        mixed_chain,
        peak_memory_bytes: peak,
        history,
        elementsd,
    })
}

/// Connects a chain on one core and on all, and tells the peak of memory while it did.
fn connect(plan: &Plan, chain: &Chain, cores: usize) -> Result<(ChainReport, Option<u64>), BenchError> {
    memory::forget_peak();
    let (mut one, mut all) = (Vec::new(), Vec::new());
    for _ in 0..plan.runs {
        one.push(connect_chain(chain, 1)?);
        all.push(connect_chain(chain, cores)?);
    }
    Ok((ChainReport::new(chain, &one, &all)?, memory::peak_bytes(std::process::id())))
}
