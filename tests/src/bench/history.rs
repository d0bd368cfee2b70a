//! What a long history of peg-outs costs: whether memory and the time of a block stay what they were.
//!
//! Every block requests a hundred peg-outs and carries the batch that pays those of the block before it. The requests are
//! real, the batch is planned by the treasury's own rules, and each block is judged and connected to a ledger on disk.

use aquifer_assets::peg::pegout_script;
use aquifer_federation::treasury::{MAX_PAYMENTS, plan_batch};
use bitcoin::hashes::Hash as _;
use serde::Serialize;

use super::measure::{self, Times, memory};
use super::{BenchError, Plan};
use crate::forge::{Chain, FEE_SAT, Owner, Pay};

/// What each request burns, in satoshi.
const REQUEST_SAT: u64 = 10_000;
/// Fee rate of the batches, in satoshi per 1,000 virtual bytes.
const FEE_RATE_SAT_PER_KVB: u64 = 1_000;
/// Parts of the history that are compared.
const PARTS: u32 = 10;

/// One part of the history.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct HistoryPart {
    /// Peg-outs paid at its end.
    pub paid: u64,
    /// Memory that was resident at its end, in bytes.
    pub resident_bytes: Option<u64>,
    /// Judging and connecting one of its blocks.
    pub block: Times,
}

/// Makes a chain with so many peg-outs, and measures it in ten parts of equal length.
///
/// # Errors
/// If the chain refuses a block, which would be a defect.
pub fn keep(plan: &Plan, progress: &mut dyn FnMut(u64)) -> Result<Vec<HistoryPart>, BenchError> {
    let mut chain = Chain::new(plan.seed)?;
    let owner = Owner::new(&mut chain.rng);
    let per_block = u32::try_from(MAX_PAYMENTS).map_err(|error| BenchError::Wrong(error.to_string()))?;
    let blocks = plan.pegouts.div_ceil(per_block).div_ceil(PARTS).saturating_mul(PARTS);
    let burned_sat = u64::from(per_block) * REQUEST_SAT + FEE_SAT;
    let mut coin = chain
        .peg_in(owner, &[(u64::from(blocks) + 1) * burned_sat + REQUEST_SAT])?
        .pop()
        .ok_or_else(|| BenchError::Wrong("nothing was pegged in".to_owned()))?;
    let pegged = chain.pegged();
    let genesis = chain.judge.params.parent_genesis;
    let (mut parts, mut paid) = (Vec::new(), 0);
    for part in 0..PARTS {
        let mut costs = Vec::new();
        for number in 0..blocks / PARTS {
            let mut pays = vec![Pay::explicit(pegged, coin.secrets.value - burned_sat, owner.script())];
            pays.extend((0..per_block).map(|request| {
                let name = [part, number, request].map(u32::to_le_bytes).concat();
                let hash = bitcoin::hashes::hash160::Hash::hash(&name);
                let script = bitcoin::ScriptBuf::new_p2wpkh(&bitcoin::WPubkeyHash::from_raw_hash(hash));
                Pay::explicit(pegged, REQUEST_SAT, pegout_script(&genesis, &script))
            }));
            let payment = chain.pay(&[coin], &pays)?;
            coin = payment.coin(0, owner)?;
            let batch = {
                let snapshot = chain.judge.ledger.snapshot()?;
                let waiting: Vec<_> = snapshot.waiting_pegouts()?.into_iter().map(|waiting| waiting.request).collect();
                plan_batch(&chain.judge.treasury, &snapshot.treasury_coins()?, &waiting, FEE_RATE_SAT_PER_KVB)
            };
            paid += batch.as_ref().map_or(0, |batch| u64::try_from(batch.paid.len()).unwrap_or(u64::MAX));
            let (block, _) = chain.seal(chain.propose_paying(vec![payment.transaction], batch.as_ref())?)?;
            costs.push(measure::time(|| chain.follow_paying(&block, batch.as_ref()))?);
        }
        parts.push(HistoryPart { paid, resident_bytes: memory::resident_bytes(), block: Times::of(&costs) });
        progress(paid);
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn every_request_but_the_last_ones_is_paid() {
        let plan = Plan { seed: 8, full_blocks: 1, block_weight: 40_000, mixed_blocks: 1, pegouts: 1_000, runs: 1 };
        let parts = keep(&plan, &mut |_| {}).unwrap();
        let paid: Vec<u64> = parts.iter().map(|part| part.paid).collect();
        assert_eq!(paid, (0..10).map(|part| part * 100).collect::<Vec<_>>());
    }
}
