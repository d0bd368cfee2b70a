//! Families of waiting transactions: how large they may become, and in which order they go into blocks.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};

use elements::Txid;

use super::error::{MempoolError, PackageLimit};
use super::policy::Measure;
use super::pool::{FeeRate, Pool, Totals};

use aquifer_assets::primitives::Transaction;

/// A transaction and those that it depends on, at most (`-limitancestorcount`).
pub const MAX_ANCESTORS: u64 = 25;
/// The same in vbytes (`-limitancestorsize`).
pub const MAX_ANCESTOR_VSIZE: u64 = 101_000;
/// A transaction and those that depend on it, at most (`-limitdescendantcount`).
pub const MAX_DESCENDANTS: u64 = 25;
/// The same in vbytes (`-limitdescendantsize`).
pub const MAX_DESCENDANT_VSIZE: u64 = 101_000;

/// Largest transaction that may come on top of a full family, so that each of two parties can always raise the fee of
/// what they share, in vbytes.
const EXTRA_VSIZE: u64 = 10_000;
/// Packages that do not fit in a row before a nearly full block is left as it is.
const MAX_MISFITS: u32 = 1_000;
/// A block with less room than this is nearly full, in weight units.
const NEARLY_FULL_WEIGHT: u64 = 4_000;

/// Checks that a transaction does not make a family too large, once `replaced` are gone.
pub(super) fn check_limits(
    pool: &Pool,
    transaction: &Transaction,
    measure: Measure,
    replaced: &HashSet<Txid>,
) -> Result<(), MempoolError> {
    let ancestors = pool.ancestors(transaction);
    let mut above = Totals { count: 1, vsize: measure.vsize, ..Totals::default() };
    for entry in ancestors.iter().filter_map(|txid| pool.entries.get(txid)) {
        above.add(Totals::of(entry));
    }
    let lonely = above.count <= 2 && measure.vsize <= EXTRA_VSIZE;
    let (count_bonus, vsize_bonus) = if lonely { (1, EXTRA_VSIZE) } else { (0, 0) };
    let bound = |limit, found, most| match found > most {
        true => Err(MempoolError::TooLongChain { limit, found, most }),
        false => Ok(()),
    };
    bound(PackageLimit::AncestorCount, above.count, MAX_ANCESTORS)?;
    bound(PackageLimit::AncestorSize, above.vsize, MAX_ANCESTOR_VSIZE)?;
    let below = families_without(pool, &ancestors, replaced);
    for family in below {
        bound(PackageLimit::DescendantCount, family.count.saturating_add(1), MAX_DESCENDANTS + count_bonus)?;
        let vsize = family.vsize.saturating_add(measure.vsize);
        bound(PackageLimit::DescendantSize, vsize, MAX_DESCENDANT_VSIZE + vsize_bonus)?;
    }
    Ok(())
}

/// The families of some transactions, less what will be replaced.
fn families_without(pool: &Pool, txids: &HashSet<Txid>, replaced: &HashSet<Txid>) -> Vec<Totals> {
    let mut families: HashMap<Txid, Totals> =
        txids.iter().filter_map(|txid| Some((*txid, pool.entries.get(txid)?.family))).collect();
    for entry in replaced.iter().filter_map(|txid| pool.entries.get(txid)) {
        for ancestor in pool.ancestors(&entry.transaction) {
            if let Some(family) = families.get_mut(&ancestor) {
                family.subtract(Totals::of(entry));
            }
        }
    }
    families.into_values().collect()
}

/// What a block has room for.
#[derive(Copy, Clone, Debug)]
pub(super) struct Room {
    /// In weight units.
    pub(super) weight: u64,
    /// In signature operation cost.
    pub(super) sigop_cost: u64,
}

/// A transaction that is not chosen yet, with those of its ancestors that are not chosen either.
struct Package {
    totals: Totals,
    ancestors: HashSet<Txid>,
    arrival: u64,
}

/// The transactions for a block, parents before children: again and again the package of a transaction and its missing
/// ancestors that pays the highest rate and fits. Packages have at most [`MAX_ANCESTORS`] transactions and a choice
/// changes at most [`MAX_DESCENDANTS`] packages for each that is chosen, so this takes O(n log n).
pub(super) fn select(pool: &Pool, room: Room) -> Vec<Txid> {
    let mut open: HashMap<Txid, Package> = HashMap::with_capacity(pool.entries.len());
    let mut queue: BinaryHeap<(FeeRate, Reverse<u64>, Txid)> = BinaryHeap::with_capacity(pool.entries.len());
    for (txid, entry) in &pool.entries {
        let ancestors = pool.ancestors(&entry.transaction);
        let mut totals = Totals::of(entry);
        ancestors.iter().filter_map(|txid| pool.entries.get(txid)).for_each(|entry| totals.add(Totals::of(entry)));
        queue.push((totals.rate(), Reverse(entry.arrival), *txid));
        open.insert(*txid, Package { totals, ancestors, arrival: entry.arrival });
    }
    let mut left = room;
    let mut chosen = Vec::new();
    let mut misfits = 0u32;
    while let Some((rate, _, txid)) = queue.pop() {
        // A package whose rate has changed stands in the queue again, with the new rate.
        let Some(package) = open.get(&txid).filter(|package| package.totals.rate() == rate) else { continue };
        let mut members: Vec<(u64, Txid)> =
            package.ancestors.iter().filter_map(|txid| Some((open.get(txid)?.arrival, *txid))).collect();
        members.push((package.arrival, txid));
        members.sort_unstable();
        let needed = members.iter().filter_map(|(_, txid)| pool.entries.get(txid)).fold(
            Room { weight: 0, sigop_cost: 0 },
            |sum, entry| Room {
                weight: sum.weight.saturating_add(entry.measure.weight),
                sigop_cost: sum.sigop_cost.saturating_add(entry.measure.sigop_cost),
            },
        );
        let (Some(weight), Some(sigop_cost)) =
            (left.weight.checked_sub(needed.weight), left.sigop_cost.checked_sub(needed.sigop_cost))
        else {
            misfits = misfits.saturating_add(1);
            if misfits > MAX_MISFITS && left.weight < NEARLY_FULL_WEIGHT {
                break;
            }
            continue;
        };
        misfits = 0;
        left = Room { weight, sigop_cost };
        for (_, txid) in members {
            open.remove(&txid);
            chosen.push(txid);
            let Some(own) = pool.entries.get(&txid).map(Totals::of) else { continue };
            for child in pool.family(txid) {
                if let Some(package) = open.get_mut(&child) {
                    package.ancestors.remove(&txid);
                    package.totals.subtract(own);
                    queue.push((package.totals.rate(), Reverse(package.arrival), child));
                }
            }
        }
    }
    chosen
}
