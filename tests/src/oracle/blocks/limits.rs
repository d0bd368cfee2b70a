//! Blocks at the borders of what a block may hold.

use aquifer_assets::block::{MAX_BLOCK_SIGOPS_COST, MAX_BLOCK_WEIGHT, block_weight};
use aquifer_assets::primitives::Block;
use elements::Script;
use rand::Rng as _;
use rand::seq::SliceRandom as _;
use rand_chacha::ChaCha20Rng;

use super::super::world::FEE_SAT;
use super::super::{Subject, World};
use super::{Made, choose};
use crate::forge::{ForgeError, Pay, Payment};

/// What each byte of an output weighs.
const WEIGHT_OF_BYTE: u64 = 4;
/// What each signature operation in an output script costs.
const COST_OF_SIGOP: u64 = 4;

pub(super) fn make(world: &World, rng: &mut ChaCha20Rng) -> Made {
    let name = choose(rng, &["weight", "sigops", "sigops", "immature-coinbase"]);
    let more = rng.gen_range(0..3);
    let block = match name {
        "weight" => {
            let probe = with_script(world, rng, vec![0x6a; 100_000])?;
            // One unit may be missing to a whole byte.
            let left = MAX_BLOCK_WEIGHT.saturating_sub(block_weight(&probe)).checked_div(WEIGHT_OF_BYTE).unwrap_or(0);
            let size = left.saturating_add(100_000).saturating_add(more).saturating_sub(1);
            // The count of bytes is as long for both sizes but for two bytes of length.
            with_script(world, rng, vec![0x6a; usize::try_from(size).unwrap_or(0)])?
        }
        "sigops" => {
            let checks = MAX_BLOCK_SIGOPS_COST.checked_div(COST_OF_SIGOP).unwrap_or(0);
            let checks = checks.saturating_add(more).saturating_sub(2);
            with_script(world, rng, vec![0xac; usize::try_from(checks).unwrap_or(0)])?
        }
        _ => immature(world, rng)?,
    };
    Ok((name, Subject::Proposal(Box::new(block))))
}

/// A block with a payment from an open coin to a script.
fn with_script(world: &World, rng: &mut ChaCha20Rng, script: Vec<u8>) -> Result<Block, ForgeError> {
    let is_plain = |coin: &&super::super::world::Locked| {
        coin.lock.family == "p2wpkh" && coin.coin.output.value.explicit().is_some()
    };
    let Some(locked) = world.coins.iter().find(is_plain) else { return world.chain.propose(vec![]) };
    let pegged = world.chain.pegged();
    let value = locked.coin.secrets.value.saturating_sub(FEE_SAT);
    let pays = [Pay::explicit(pegged, value, Script::from(script))];
    let payment = Payment::new(rng, std::slice::from_ref(&locked.coin), &pays, (pegged, FEE_SAT))?;
    world.chain.propose(vec![world.signed(payment, &locked.lock).transaction])
}

/// Spends what the coinbase of an earlier block collected.
fn immature(world: &World, rng: &mut ChaCha20Rng) -> Result<Block, ForgeError> {
    let coinbases: Vec<_> = world
        .blocks
        .iter()
        .filter_map(|block| block.txdata.first())
        .filter(|coinbase| coinbase.output.len() > 1)
        .collect();
    let mut transactions = world.payments(rng)?;
    if let (Some(coinbase), Some(payment)) = (coinbases.choose(rng), transactions.first_mut())
        && let Some(input) = payment.input.first_mut()
    {
        input.previous_output = elements::OutPoint::new(coinbase.txid(), 0);
    }
    world.chain.propose(transactions)
}
