//! The header's own fields.

use aquifer_assets::primitives::Block;
use elements::{BlockExtData, BlockHash, BlockHeader, Script, TxMerkleNode};
use rand::Rng as _;
use rand::seq::SliceRandom as _;
use rand_chacha::ChaCha20Rng;

use super::super::{Subject, World};
use super::{Made, choose};
use crate::forge::ForgeError;

const CHANGES: [&str; 7] = ["version", "previous", "height", "time", "merkle-root", "legacy-header", "none"];

pub(super) fn make(world: &World, rng: &mut ChaCha20Rng) -> Made {
    let mut block = world.good_block(rng)?;
    let name = choose(rng, &CHANGES);
    change(name, world, rng, &mut block.header)?;
    Ok((name, Subject::Proposal(Box::new(block))))
}

fn change(name: &str, world: &World, rng: &mut ChaCha20Rng, header: &mut BlockHeader) -> Result<(), ForgeError> {
    match name {
        "version" => {
            header.version = match rng.gen_range(0..3) {
                0 => rng.gen_range(0..6),
                1 => 0x2000_0000 | (1 << rng.gen_range(20..31)),
                _ => 1 << rng.gen_range(2..31),
            };
        }
        "previous" => {
            let blocks = &world.blocks;
            let other = blocks.get(rng.gen_range(0..blocks.len().max(1))).map(Block::block_hash);
            header.prev_blockhash = match rng.gen_range(0..3) {
                0 => BlockHash::from_byte_array(rng.r#gen()),
                1 => BlockHash::from_byte_array([0; 32]),
                _ => other.unwrap_or_else(|| BlockHash::from_byte_array([0; 32])),
            };
        }
        "height" => {
            let height = header.height;
            let heights = [0, height.saturating_sub(1), height.saturating_add(1), u32::MAX];
            header.height = heights.choose(rng).copied().unwrap_or(0);
        }
        "time" => {
            let median = world.chain.judge.ledger.snapshot()?.tip()?.median_time_past;
            let times = [0, median.saturating_sub(1), median, median.saturating_add(1), u32::MAX];
            header.time = times.choose(rng).copied().unwrap_or(0);
        }
        "merkle-root" => header.merkle_root = TxMerkleNode::from_byte_array(rng.r#gen()),
        "legacy-header" => {
            let challenge = world.chain.signblock_script();
            let solution = Script::from(vec![0x51]);
            header.ext = BlockExtData::Proof { challenge, solution };
        }
        _ => {}
    }
    Ok(())
}
