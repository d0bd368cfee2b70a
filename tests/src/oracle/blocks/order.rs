//! Which transactions stand in a block, and in which order.

use aquifer_assets::primitives::Transaction;
use rand::Rng as _;
use rand::seq::SliceRandom as _;
use rand_chacha::ChaCha20Rng;

use super::super::lock::Lock;
use super::super::{Subject, World};
use super::{Made, choose};
use crate::forge::{ForgeError, commit_to_transactions, commit_to_witnesses};

const CHANGES: [&str; 11] = [
    "chain",
    "child-first",
    "twice",
    "last-twice",
    "last-two-twice",
    "conflict",
    "confirmed-again",
    "coinbase-last",
    "coinbase-twice",
    "coinbase-missing",
    "shuffled",
];

pub(super) fn make(world: &World, rng: &mut ChaCha20Rng) -> Made {
    let name = choose(rng, &CHANGES);
    let mut transactions = world.payments(rng)?;
    add(name, world, rng, &mut transactions)?;
    let mut block = world.chain.propose(transactions)?;
    let all = &mut block.txdata;
    match name {
        // The root of both lists of transactions is the same (CVE-2012-2459).
        "last-twice" => all.extend(all.last().cloned()),
        "last-two-twice" => {
            let from = all.len().saturating_sub(2);
            all.extend_from_within(from..);
        }
        "coinbase-last" => all.rotate_left(1),
        "coinbase-twice" => {
            let at = rng.gen_range(0..=all.len());
            let coinbase = all.first().cloned().into_iter();
            coinbase.for_each(|coinbase| all.insert(at, coinbase));
        }
        "coinbase-missing" => drop(all.remove(0)),
        "shuffled" => {
            if let Some((_, others)) = all.split_first_mut() {
                others.shuffle(rng);
            }
        }
        _ => {}
    }
    if name.ends_with("twice") {
        commit_to_transactions(&mut block);
    } else {
        commit_to_witnesses(&mut block);
    }
    Ok((name, Subject::Proposal(Box::new(block))))
}

/// Adds transactions that depend on each other, contradict each other, or have been seen before.
fn add(
    name: &str,
    world: &World,
    rng: &mut ChaCha20Rng,
    transactions: &mut Vec<Transaction>,
) -> Result<(), ForgeError> {
    let free = |coin: &&super::super::world::Locked| coin.lock.family == "p2sh-p2wpkh";
    let coins: Vec<_> = world.coins.iter().filter(free).collect();
    let Some(locked) = coins.choose(rng) else { return Ok(()) };
    match name {
        "chain" | "child-first" | "shuffled" => {
            let parent = world.spend(rng, &locked.coin, &locked.lock)?;
            let child = world.spend(rng, &parent.coin(0, world.owner)?, &Lock::open())?;
            let grandchild = world.spend(rng, &child.coin(0, world.owner)?, &Lock::open())?;
            let mut chain: Vec<Transaction> = [parent, child, grandchild].map(|payment| payment.transaction).into();
            if name == "child-first" {
                chain.swap(0, 1);
            }
            transactions.extend(chain);
        }
        "twice" => {
            let payment = world.spend(rng, &locked.coin, &locked.lock)?.transaction;
            transactions.insert(0, payment.clone());
            transactions.push(payment);
        }
        "conflict" => {
            for _ in 0..2 {
                transactions.push(world.spend(rng, &locked.coin, &locked.lock)?.transaction);
            }
        }
        "confirmed-again" => {
            let confirmed: Vec<&Transaction> = world.blocks.iter().flat_map(|block| &block.txdata).collect();
            transactions.extend(confirmed.choose(rng).map(|transaction| (*transaction).clone()));
        }
        _ => {}
    }
    Ok(())
}
