//! One full block: how long it takes to check, and how much of that are proofs.

use aquifer_assets::block::{ChainTip, block_weight, check_block_with};
use aquifer_assets::primitives::{Block, SurjectionProof, Transaction};
use aquifer_assets::proof::{RangeStatement, SurjectionStatement, generator};
use aquifer_assets::state::ChainView;
use aquifer_assets::verdicts::VerdictCache;
use aquifer_functionary::chain::judge::Judge;
use aquifer_functionary::verdicts::Verdicts;
use elements::confidential::{Asset, Value};
use secp256k1_zkp::Generator;

use super::follower::{Follower, stored_block};
use super::measure::{Cost, Times, pool, time};
use super::report::FullBlockReport;
use super::{BenchError, Plan};
use crate::forge::Chain;

/// Checks the last block of a chain in every way.
///
/// # Errors
/// If it is not valid.
pub fn check_full_block(plan: &Plan, chain: &Chain, cores: usize) -> Result<FullBlockReport, BenchError> {
    let height = chain.next_height()?.saturating_sub(1);
    let mut follower = Follower::new(chain)?;
    for height in 1..height {
        follower.take(&stored_block(&chain.judge.ledger, height)?)?;
    }
    let bytes = stored_block(&chain.judge.ledger, height)?.block;
    let judge = &follower.judge;
    let block = Block::decode(bytes).map_err(wrong)?;
    let (one, all) = (pool(1)?, pool(cores)?);
    let warm = Verdicts::default();
    check(judge, &block, Some(&warm))?;
    let mut runs = Runs::default();
    for _ in 0..plan.runs {
        runs.cold_one.push(one.install(|| time(|| check(judge, &block, None)))?);
        runs.cold_all.push(all.install(|| time(|| check(judge, &block, None)))?);
        runs.warm_one.push(one.install(|| time(|| check(judge, &block, Some(&warm))))?);
        runs.warm_all.push(all.install(|| time(|| check(judge, &block, Some(&warm))))?);
        let proofs = Proofs::of(&block, judge)?;
        runs.ranges.push(time(|| proofs.verify_ranges())?);
        runs.surjections.push(time(|| proofs.verify_surjections())?);
    }
    let proofs = Proofs::of(&block, judge)?;
    let times = [&runs.cold_one, &runs.cold_all, &runs.warm_one, &runs.warm_all, &runs.ranges, &runs.surjections];
    let [cold_one_core, cold_all_cores, warm_one_core, warm_all_cores, range_proofs, surjection_proofs] =
        times.map(|runs| Times::of(runs));
    let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let range_proof_count = count(proofs.ranges.len());
    Ok(FullBlockReport {
        weight: block_weight(&block),
        transactions: count(block.txdata.len()),
        range_proof_count,
        range_proofs_per_second_and_core: f64::from(range_proof_count) * 1_000.0 / range_proofs.cpu_ms,
        cold_one_core,
        cold_all_cores,
        warm_one_core,
        warm_all_cores,
        range_proofs,
        surjection_proofs,
        all_cores_to_one: cold_all_cores.share_of(&cold_one_core),
        proof_share: range_proofs.cpu_share_of(&cold_one_core) + surjection_proofs.cpu_share_of(&cold_one_core),
        warm_to_cold_one_core: warm_one_core.cpu_share_of(&cold_one_core),
        warm_to_cold_all_cores: warm_all_cores.share_of(&cold_all_cores),
    })
}

fn wrong(error: impl std::fmt::Display) -> BenchError {
    BenchError::Wrong(error.to_string())
}

#[derive(Default)]
struct Runs {
    cold_one: Vec<Cost>,
    cold_all: Vec<Cost>,
    warm_one: Vec<Cost>,
    warm_all: Vec<Cost>,
    ranges: Vec<Cost>,
    surjections: Vec<Cost>,
}

fn check(judge: &Judge, block: &Block, verdicts: Option<&dyn VerdictCache>) -> Result<(), BenchError> {
    let snapshot = judge.ledger.snapshot()?;
    let tip = snapshot.tip()?;
    let tip = ChainTip { height: tip.height, hash: tip.hash, median_time_past: tip.median_time_past };
    check_block_with(&judge.params, &tip, block, &snapshot, judge.clock.now(), verdicts).map_err(wrong)?;
    Ok(())
}

/// The proofs of a block, without the block.
struct Proofs<'a> {
    ranges: Vec<RangeStatement<'a>>,
    surjections: Vec<Surjection<'a>>,
}

struct Surjection<'a> {
    proof: &'a SurjectionProof,
    asset: Generator,
    targets: Vec<Generator>,
}

impl<'a> Proofs<'a> {
    fn of(block: &'a Block, judge: &Judge) -> Result<Self, BenchError> {
        let snapshot = judge.ledger.snapshot()?;
        let mut proofs = Proofs { ranges: Vec::new(), surjections: Vec::new() };
        for transaction in block.txdata.iter().skip(1) {
            proofs.add(transaction, &snapshot)?;
        }
        Ok(proofs)
    }

    fn add(&mut self, transaction: &'a Transaction, view: &dyn ChainView) -> Result<(), BenchError> {
        let mut targets = Vec::new();
        for input in &transaction.input {
            let coin = view.coin(&input.previous_output).map_err(wrong)?;
            let coin = coin.ok_or_else(|| wrong("a payment spends one of its own block"))?;
            targets.extend(generator(&coin.output.asset));
        }
        for output in &transaction.output {
            if let (Value::Confidential(commitment), Asset::Confidential(asset)) = (output.value, output.asset) {
                let script = output.script_pubkey.as_bytes();
                let proof = &output.witness.rangeproof;
                self.ranges.push(RangeStatement { proof, commitment, generator: asset, script });
                let proof = &output.witness.surjection_proof;
                self.surjections.push(Surjection { proof, asset, targets: targets.clone() });
            }
        }
        Ok(())
    }

    fn verify_ranges(&self) -> Result<(), BenchError> {
        self.ranges.iter().try_for_each(|statement| statement.verify().map(drop)).map_err(wrong)
    }

    fn verify_surjections(&self) -> Result<(), BenchError> {
        let statement = |each: &Surjection<'_>| {
            SurjectionStatement { proof: each.proof, asset: each.asset, targets: &each.targets }.verify()
        };
        self.surjections.iter().try_for_each(statement).map_err(wrong)
    }
}
