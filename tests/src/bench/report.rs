//! What came out, for people and for programs.

use serde::Serialize;

use super::BenchError;
use super::history::HistoryPart;
use super::measure::{Cost, Times};
use super::rival::Rival;
use crate::demo::Teller;
use crate::forge::Chain;

/// Everything that was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What everything was made from.
    pub seed: u64,
    /// Cores that "all cores" means.
    pub cores: usize,
    /// How often everything was measured.
    pub runs: u32,
    /// One full block of confidential payments.
    pub full_block: FullBlockReport,
    /// Connecting full blocks of confidential payments from disk.
    pub confidential_chain: ChainReport,
    /// Connecting blocks of mixed content from disk.
    pub mixed_chain: ChainReport,
    /// The most memory that was resident while the mixed chain was connected, with everything the program keeps.
    pub peak_memory_bytes: Option<u64>,
    /// A long history of peg-outs, in parts of equal length.
    pub history: Vec<HistoryPart>,
    /// An elementsd on the same blocks, where there is one.
    pub elementsd: Option<RivalReport>,
}

/// One full block.
#[derive(Clone, Debug, Serialize)]
pub struct FullBlockReport {
    /// Its weight.
    pub weight: u64,
    /// Its transactions, with the coinbase.
    pub transactions: u32,
    /// Its range proofs.
    pub range_proof_count: u32,
    /// Range proofs by themselves, by the time of the core.
    pub range_proofs_per_second_and_core: f64,
    /// The whole check without verdicts from before, on one core.
    pub cold_one_core: Times,
    /// The same on all cores.
    pub cold_all_cores: Times,
    /// The check when all its transactions were verified before, on one core.
    pub warm_one_core: Times,
    /// The same on all cores.
    pub warm_all_cores: Times,
    /// All range proofs by themselves, on one core.
    pub range_proofs: Times,
    /// All surjection proofs by themselves, on one core.
    pub surjection_proofs: Times,
    /// The cold check on all cores as a share of that on one, by the clock on the wall.
    pub all_cores_to_one: f64,
    /// Range and surjection proofs as a share of the cold check on one core, by the time of the core.
    pub proof_share: f64,
    /// The warm check as a share of the cold one, on one core, by the time of the core.
    pub warm_to_cold_one_core: f64,
    /// The same on all cores, by the clock on the wall.
    pub warm_to_cold_all_cores: f64,
}

/// Connecting a chain from disk.
#[derive(Clone, Debug, Serialize)]
pub struct ChainReport {
    /// Blocks above genesis.
    pub blocks: u32,
    /// On one core.
    pub one_core: Times,
    /// On all cores.
    pub all_cores: Times,
}

impl ChainReport {
    /// Of these runs.
    ///
    /// # Errors
    /// If the chain cannot be read.
    pub fn new(chain: &Chain, one: &[Cost], all: &[Cost]) -> Result<Self, BenchError> {
        let blocks = chain.next_height()?.saturating_sub(1);
        Ok(ChainReport { blocks, one_core: Times::of(one), all_cores: Times::of(all) })
    }
}

/// An elementsd on the same blocks.
#[derive(Clone, Debug, Serialize)]
pub struct RivalReport {
    /// What it is called.
    pub version: String,
    /// Full blocks of confidential payments.
    pub confidential_chain: RivalChain,
    /// Blocks of mixed content.
    pub mixed_chain: RivalChain,
}

/// One chain, and its times as multiples of ours: above 1 we are faster.
#[derive(Clone, Debug, Serialize)]
pub struct RivalChain {
    /// What it needed.
    #[serde(flatten)]
    pub times: Rival,
    /// One core each, by the clock on the wall.
    pub ratio_one_core: f64,
    /// All cores each, by the clock on the wall.
    pub ratio_all_cores: f64,
    /// One core each, by the time of the core, where the system tells that of other processes.
    pub ratio_cpu: Option<f64>,
}

impl RivalChain {
    /// Theirs beside ours.
    pub fn new(times: Rival, ours: &ChainReport) -> Self {
        RivalChain {
            ratio_one_core: times.one_core.share_of(&ours.one_core),
            ratio_all_cores: times.all_cores.share_of(&ours.all_cores),
            ratio_cpu: times.tells_cpu.then(|| times.one_core.cpu_share_of(&ours.one_core)),
            times,
        }
    }
}

/// Tells a report to a person. The targets are those of the project, for a machine with two cores.
pub fn tell(teller: &mut Teller, report: &Report) {
    let Report { full_block: block, confidential_chain: full, mixed_chain: mixed, cores, .. } = report;
    let times = |name: &str, Times { min_ms, median_ms, cpu_ms }: &Times| {
        format!("  {name:<36} {min_ms:>10.1} ms {median_ms:>10.1} ms {cpu_ms:>10.1} ms")
    };
    let share = |name: &str, share: f64, target: &str| format!("  {name:<36} {share:>10.3}      {target}");
    teller.chapter(&format!(
        "Results (seed {}, {} runs, {cores} cores): least, median, least time of all cores",
        report.seed, report.runs
    ));
    teller.text(&format!(
        "\nA full block: weight {}, {} transactions, {} range proofs of 52 bits",
        block.weight, block.transactions, block.range_proof_count
    ));
    teller.text(&format!(
        "  {:<36} {:>10.0}",
        "range proofs per second and core", block.range_proofs_per_second_and_core
    ));
    teller.text(&times("cold, one core", &block.cold_one_core));
    teller.text(&times("cold, all cores", &block.cold_all_cores));
    teller.text(&times("warm, one core", &block.warm_one_core));
    teller.text(&times("warm, all cores", &block.warm_all_cores));
    teller.text(&times("its range proofs, one core", &block.range_proofs));
    teller.text(&times("its surjection proofs, one core", &block.surjection_proofs));
    teller.text(&share("all cores / one core", block.all_cores_to_one, "on two cores at most 0.6"));
    teller.text(&share("proofs / cold, one core", block.proof_share, "at least 0.9"));
    teller.text(&share("warm / cold, one core", block.warm_to_cold_one_core, "at most 0.1"));
    teller.text(&share("warm / cold, all cores", block.warm_to_cold_all_cores, "at most 0.1"));
    for (name, chain) in [("full blocks of confidential payments", full), ("blocks of mixed content", mixed)] {
        teller.text(&format!("\nConnecting {} {name} from disk", chain.blocks));
        teller.text(&times("one core", &chain.one_core));
        teller.text(&times("all cores", &chain.all_cores));
    }
    match report.peak_memory_bytes {
        Some(bytes) => teller.text(&format!("  {:<36} {:>10} MiB", "peak memory meanwhile", bytes >> 20)),
        None => teller.text("  peak memory: this system does not tell"),
    }
    teller.text("\nA long history of peg-outs: a block with 100 requests and a batch, judged and connected");
    for part in &report.history {
        teller.text(&times(&format!("{} paid", part.paid), &part.block));
        if let Some(bytes) = part.resident_bytes {
            teller.text(&format!("  {:<36} {:>10} MiB", "resident memory", bytes >> 20));
        }
    }
    let Some(rival) = &report.elementsd else {
        return teller.text("\nNo elementsd: ELEMENTSD_EXE is not set");
    };
    for (name, chain) in [("full blocks", &rival.confidential_chain), ("mixed content", &rival.mixed_chain)] {
        let theirs = &chain.times;
        teller.text(&format!("\nelementsd ({}), the same {name}", rival.version));
        teller.text(&times("handed over by RPC, all cores", &theirs.submitted));
        teller.text(&times("connected again, one core", &theirs.one_core));
        teller.text(&times("connected again, all cores", &theirs.all_cores));
        teller.text(&share("its time / ours, one core", chain.ratio_one_core, "at least 1"));
        teller.text(&share("its time / ours, all cores", chain.ratio_all_cores, ""));
        if let Some(ratio) = chain.ratio_cpu {
            teller.text(&share("the same by the time of the core", ratio, "at least 1"));
        }
        if let Some(bytes) = theirs.peak_memory_bytes {
            teller.text(&format!("  {:<36} {:>10} MiB", "peak memory", bytes >> 20));
        }
    }
}
