#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::collections::{HashMap, HashSet};

use elements::confidential::{Asset, Value};
use elements::{AssetId, OutPoint, Script, Sequence, Txid};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha20Rng;
use tokio_util::sync::CancellationToken;

use super::keeper::Keeper;
use super::pool::Totals;
use super::testing::{COIN_SAT, FIXED, REPLACEABLE, World, coin, output_of, own_script, sign};
use super::*;

use aquifer_assets::primitives::Transaction;

const HOUR_S: u32 = 3_600;

impl Mempool {
    /// Recomputes everything that the pool keeps beside its entries, and compares.
    fn check(&self) {
        let pool = self.lock();
        let mut spends = HashMap::new();
        for (txid, entry) in &pool.entries {
            for outpoint in entry.effects.spent.keys() {
                assert_eq!(spends.insert(*outpoint, *txid), None, "two spend {outpoint}");
            }
            assert_eq!(pool.arrivals.get(&entry.arrival), Some(txid));
            for parent in pool.parents(&entry.transaction) {
                assert!(pool.entries[&parent].arrival < entry.arrival, "a child before its parent");
            }
            let mut family = Totals::default();
            pool.family(*txid).iter().for_each(|txid| family.add(Totals::of(&pool.entries[txid])));
            assert_eq!(family, entry.family, "family of {txid}");
        }
        assert_eq!(spends, pool.spends);
        assert_eq!(pool.arrivals.len(), pool.entries.len());
        assert_eq!(pool.worst().is_none(), pool.entries.is_empty());
    }
}

fn world() -> World {
    World::new(60, Limits::default())
}

fn chosen(world: &World, weight: u64) -> Vec<Txid> {
    world.pool.candidates(weight).iter().map(|candidate| candidate.transaction.txid()).collect()
}

#[test]
fn open_and_hidden_payments_are_admitted_once() {
    let mut world = world();
    let open = world.pay(&[coin(0)], 1, 100, FIXED);
    let hidden = world.pay_hidden(coin(1), 100);
    for transaction in [&open, &hidden] {
        let admission = world.pool.submit(transaction.clone()).unwrap();
        assert_eq!(admission, Admission::New(transaction.txid()));
        assert_eq!(world.pool.submit(transaction.clone()).unwrap(), Admission::Known(transaction.txid()));
    }
    world.pool.check();
    let effects = world.effects_of(&open);
    world.connect(vec![open.clone()], &effects);
    assert_eq!(world.pool.submit(open.clone()).unwrap(), Admission::Final(open.txid()));
    assert_eq!(world.pool.txids(), [hidden.txid()]);
    world.pool.check();
}

#[test]
fn the_fee_is_measured_by_the_discounted_size() {
    let mut world = world();
    let hidden = world.pay_hidden(coin(0), 100);
    let vsize = u64::try_from(aquifer_assets::transaction::discount_vsize(&hidden)).unwrap();
    let least = policy::fee_at(MIN_FEE_RATE_SAT_PER_KVB, vsize);
    assert!(least < policy::fee_at(MIN_FEE_RATE_SAT_PER_KVB, u64::try_from(hidden.vsize()).unwrap()) / 2);
    let error = {
        let cheap = world.pay_hidden(coin(0), least - 1);
        world.pool.submit(cheap).unwrap_err()
    };
    assert!(matches!(error, MempoolError::FeeTooLow { paid_sat, needed_sat, .. } if paid_sat + 1 == needed_sat));
    assert_eq!((error.name(), error.elements_reason()), ("fee-too-low", Some("min relay fee not met")));
    let enough = world.pay_hidden(coin(0), least);
    world.pool.submit(enough).unwrap();
}

#[test]
fn forms_that_are_not_relayed_are_refused_by_name() {
    let world = world();
    let refused = |change: &dyn Fn(&mut Transaction)| {
        let mut transaction = world.pay(&[coin(0)], 2, 1_000, FIXED);
        change(&mut transaction);
        let error = world.pool.submit(sign(transaction, &[coin(0)])).unwrap_err();
        assert!(world.pool.is_empty() && !error.is_temporary());
        error.name()
    };
    let data = |length: u16| {
        let push = [vec![0x6a, 0x4d], length.to_le_bytes().to_vec(), vec![1; usize::from(length)]].concat();
        Script::from(push)
    };
    assert_eq!(refused(&|tx| tx.version = 3), "nonstandard-version");
    assert_eq!(refused(&|tx| tx.version = 0), "nonstandard-version");
    assert_eq!(
        refused(&|tx| tx.output[..2].iter_mut().for_each(|output| output.script_pubkey = data(80))),
        "multiple-data-outputs"
    );
    assert_eq!(refused(&|tx| tx.output[0].script_pubkey = Script::from(vec![0x52, 0x93])), "nonstandard-output");
    assert_eq!(refused(&|tx| tx.output[0].script_pubkey = Script::from(vec![0x51])), "nonstandard-output");
    let four_keys = [vec![0x51], [vec![33, 2], vec![7; 32]].concat().repeat(4), vec![0x54, 0xae]].concat();
    assert_eq!(refused(&|tx| tx.output[0].script_pubkey = Script::from(four_keys.clone())), "nonstandard-output");
    // A push that is cut short makes no data output.
    assert_eq!(refused(&|tx| tx.output[0].script_pubkey = Script::from(vec![0x6a, 5, 1])), "nonstandard-output");
    assert_eq!(refused(&|tx| tx.output[0].script_pubkey = Script::from(vec![0, 2, 1, 1])), "nonstandard-output");
    assert_eq!(refused(&|tx| tx.input[0].script_sig = Script::from(vec![0x61])), "script-sig-not-push-only");
    assert_eq!(refused(&|tx| tx.input[0].script_sig = Script::from(vec![0x51; 1_651])), "script-sig-size");
    assert_eq!(refused(&|tx| tx.output.extend(vec![tx.output[0].clone(); 1_600])), "too-heavy");
    let mut longest = world.pay(&[coin(0)], 2, 10_000, FIXED);
    longest.output[0].script_pubkey = data(60_000);
    longest.output[0].value = Value::Explicit(1);
    longest.output[1].value = Value::Explicit(COIN_SAT - 10_001);
    world.pool.submit(sign(longest, &[coin(0)])).unwrap();
}

#[test]
fn dust_is_judged_in_the_policy_asset_alone() {
    let world = world();
    let mut transaction = world.pay(&[coin(0)], 2, 1_000, FIXED);
    let paid = |transaction: &mut Transaction, value| {
        transaction.output[1].value = Value::Explicit(value);
        transaction.output[0].value = Value::Explicit(COIN_SAT - 1_000 - value);
    };
    paid(&mut transaction, 13);
    let error = world.pool.submit(sign(transaction.clone(), &[coin(0)])).unwrap_err();
    let MempoolError::NonStandard(NonStandard::Dust { vout: 1, value_sat: 13, least_sat: 14 }) = error else {
        panic!("{error}");
    };
    // 66 bytes of output and 67 to spend it: 13.3 sat at 100 sat/kvB.
    paid(&mut transaction, 14);
    policy::check_form(&transaction, &world.pool.params).unwrap();
    paid(&mut transaction, 13);
    transaction.output[1].asset = Asset::Explicit(AssetId::from_byte_array([5; 32]));
    policy::check_form(&transaction, &world.pool.params).unwrap();
}

#[test]
fn a_spend_with_an_undefined_hash_type_is_valid_and_not_relayed() {
    let world = world();
    let transaction = world.pay(&[coin(0)], 1, 1_000, FIXED);
    world.pool.submit(world.sign_as(transaction.clone(), COIN_SAT, 0x05)).map_or_else(
        |error| {
            assert_eq!(
                (error.name(), error.elements_reason()),
                ("nonstandard-spend", Some("mempool-script-verify-flag-failed"))
            )
        },
        |admission| panic!("{admission:?}"),
    );
    world.pool.submit(world.sign_as(transaction, COIN_SAT, 0x01)).unwrap();
}

#[test]
fn only_what_offers_it_is_replaced_and_only_by_what_pays_for_it() {
    let world = world();
    let fixed = world.pay(&[coin(0)], 1, 100, FIXED);
    world.pool.submit(fixed.clone()).unwrap();
    let error = world.pool.submit(world.pay(&[coin(0)], 1, 10_000, FIXED)).unwrap_err();
    let MempoolError::Conflict { vin: 0, what: Contested::Output(outpoint), by } = error else { panic!("{error}") };
    assert_eq!((outpoint, by), (coin(0).0, fixed.txid()));

    let first = world.pay(&[coin(1)], 1, 1_000, REPLACEABLE);
    let child = world.pay(&[output_of(&first, 0)], 1, 2_000, FIXED);
    for transaction in [&first, &child] {
        world.pool.submit(transaction.clone()).unwrap();
    }
    let refused = |transaction: Transaction| match world.pool.submit(transaction).unwrap_err() {
        MempoolError::Replacement(error) => error,
        other => panic!("{other}"),
    };
    assert!(matches!(refused(world.pay(&[coin(1)], 1, 999, FIXED)), ReplacementError::Rate { .. }));
    // The rate of what it replaces directly is enough, the fees of all that would go are not.
    assert!(matches!(
        refused(world.pay(&[coin(1)], 1, 3_000, FIXED)),
        ReplacementError::Fee { paid_sat: 3_000, needed_sat } if needed_sat > 3_000
    ));
    let both = world.pay(&[coin(1), output_of(&child, 0)], 1, 50_000, FIXED);
    assert!(matches!(refused(both), ReplacementError::SpendsReplaced { .. }));
    let unconfirmed = world.pay(&[coin(1), output_of(&fixed, 0)], 1, 50_000, FIXED);
    assert!(matches!(refused(unconfirmed), ReplacementError::NewUnconfirmed { vin: 1, .. }));
    assert_eq!(world.pool.len(), 3);

    let better = world.pay(&[coin(1)], 1, 4_000, FIXED);
    world.pool.submit(better.clone()).unwrap();
    assert_eq!(world.pool.txids(), [fixed.txid(), better.txid()]);
    world.pool.check();
    // What was replaced is a stranger now.
    let error = world.pool.submit(child).unwrap_err();
    assert!(error.is_temporary(), "{error}");
}

#[test]
fn a_replacement_that_is_invalid_replaces_nothing() {
    let world = world();
    let first = world.pay(&[coin(0)], 1, 1_000, REPLACEABLE);
    world.pool.submit(first.clone()).unwrap();
    let mut forged = world.pay(&[coin(0)], 1, 9_000, FIXED);
    forged.output[0].value = Value::Explicit(COIN_SAT);
    assert!(matches!(world.pool.submit(sign(forged, &[coin(0)])), Err(MempoolError::Invalid(_))));
    assert_eq!(world.pool.txids(), [first.txid()]);
    world.pool.check();
}

#[test]
fn chains_end_at_25_and_a_full_family_takes_one_more() {
    let world = world();
    let mut last = coin(0);
    for _ in 0..25 {
        let next = world.pay(&[last], 1, 100, FIXED);
        last = output_of(&next, 0);
        world.pool.submit(next).unwrap();
    }
    let error = world.pool.submit(world.pay(&[last], 1, 100, FIXED)).unwrap_err();
    assert!(
        matches!(error, MempoolError::TooLongChain { limit: PackageLimit::AncestorCount, found: 26, most: 25 }),
        "{error}"
    );

    let parent = world.pay(&[coin(1)], 30, 2_000, FIXED);
    world.pool.submit(parent.clone()).unwrap();
    for vout in 0..25 {
        world.pool.submit(world.pay(&[output_of(&parent, vout)], 1, 100, FIXED)).unwrap();
    }
    let error = world.pool.submit(world.pay(&[output_of(&parent, 25)], 1, 100, FIXED)).unwrap_err();
    assert!(matches!(error, MempoolError::TooLongChain { limit: PackageLimit::DescendantCount, .. }), "{error}");
    assert_eq!((error.name(), error.is_temporary()), ("too-long-mempool-chain", true));
    world.pool.check();
}

#[test]
fn families_end_at_101_000_vbytes() {
    let world = world();
    let parents: Vec<Transaction> = (0..5).map(|number| world.pay(&[coin(number)], 310, 5_000, FIXED)).collect();
    for parent in &parents {
        world.pool.submit(parent.clone()).unwrap();
    }
    let ends: Vec<_> = parents.iter().map(|parent| output_of(parent, 0)).collect();
    let error = world.pool.submit(world.pay(&ends, 1, 1_000, FIXED)).unwrap_err();
    assert!(matches!(error, MempoolError::TooLongChain { limit: PackageLimit::AncestorSize, .. }), "{error}");
    world.pool.submit(world.pay(&ends[1..], 1, 1_000, FIXED)).unwrap();
}

#[test]
fn blocks_take_the_best_packages_first() {
    let world = world();
    let poor = world.pay(&[coin(0)], 1, 50, FIXED);
    let rich_child = world.pay(&[output_of(&poor, 0)], 1, 5_000, FIXED);
    let middle = world.pay(&[coin(1)], 1, 1_000, FIXED);
    let low = world.pay(&[coin(2)], 1, 60, FIXED);
    for transaction in [&low, &poor, &middle, &rich_child] {
        world.pool.submit(transaction.clone()).unwrap();
    }
    let best = [poor.txid(), rich_child.txid(), middle.txid(), low.txid()];
    assert_eq!(chosen(&world, 4_000_000), best);
    let weight = u64::try_from(poor.weight() + rich_child.weight()).unwrap();
    assert_eq!(chosen(&world, weight), best[..2]);
    // The child does not fit with its parent; what fits comes instead.
    assert_eq!(chosen(&world, weight / 2 + 40), [middle.txid()]);
    assert!(chosen(&world, 0).is_empty());
}

/// Random families: parents first, within the limit, and the same as the plain rule gives it.
#[test]
fn the_order_is_that_of_the_plain_rule() {
    for seed in 0..4 {
        let (world, mut rng) = (world(), ChaCha20Rng::seed_from_u64(seed));
        let mut open: Vec<(OutPoint, u64)> = (0..20).map(coin).collect();
        for _ in 0..60 {
            let count = rng.gen_range(1..=2.min(open.len()));
            let inputs: Vec<_> = (0..count).map(|_| open.swap_remove(rng.gen_range(0..open.len()))).collect();
            let transaction = world.pay(&inputs, 2, rng.gen_range(60..3_000), FIXED);
            match world.pool.submit(transaction.clone()) {
                Ok(_) => open.extend([output_of(&transaction, 0), output_of(&transaction, 1)]),
                Err(MempoolError::TooLongChain { .. }) => open.extend(inputs),
                Err(other) => panic!("seed {seed}: {other}"),
            }
        }
        world.pool.check();
        for limit in [3_000, 12_000, 1_000_000] {
            assert_eq!(chosen(&world, limit), plain_order(&world, limit), "seed {seed}, limit {limit}");
        }
        assert_eq!(chosen(&world, 1_000_000).len(), world.pool.len(), "seed {seed}");
    }
}

/// The rule in its plainest form: look at all packages for every choice.
fn plain_order(world: &World, limit: u64) -> Vec<Txid> {
    let pool = world.pool.lock();
    let (mut done, mut left, mut misfits) = (Vec::new(), limit, HashSet::new());
    loop {
        let best = pool
            .entries
            .iter()
            .filter(|(txid, _)| !done.contains(*txid))
            .map(|(txid, entry)| {
                let mut members: Vec<Txid> = pool.ancestors(&entry.transaction).into_iter().collect();
                members.retain(|txid| !done.contains(txid));
                members.push(*txid);
                members.sort_by_key(|txid| pool.entries[txid].arrival);
                let mut totals = Totals::default();
                members.iter().for_each(|txid| totals.add(Totals::of(&pool.entries[txid])));
                let weight: u64 = members.iter().map(|txid| pool.entries[txid].measure.weight).sum();
                (totals.rate(), std::cmp::Reverse(entry.arrival), weight, members)
            })
            .filter(|(_, _, _, members)| !misfits.contains(members))
            .max_by(|left, right| (left.0, left.1).cmp(&(right.0, right.1)));
        let Some((_, _, weight, members)) = best else { return done };
        match left.checked_sub(weight) {
            Some(rest) => {
                left = rest;
                done.extend(members);
            }
            None => {
                misfits.insert(members);
            }
        }
    }
}

#[test]
fn a_full_pool_pushes_out_what_pays_least_and_remembers_it() {
    let limits = Limits { memory_bytes: 30_000, ..Limits::default() };
    let mut world = World::new(60, limits);
    let pays: Vec<Transaction> =
        (0..30u8).map(|number| world.pay(&[coin(number)], 1, 100 + 50 * u64::from(number), FIXED)).collect();
    for transaction in &pays {
        world.pool.submit(transaction.clone()).unwrap();
        world.pool.check();
    }
    let kept = world.pool.txids();
    let best: Vec<Txid> = pays.iter().skip(pays.len() - kept.len()).map(Transaction::txid).collect();
    assert!(kept.len() < 30 && kept == best);
    let floor = world.pool.min_fee_rate_sat_per_kvb();
    assert!(floor > MIN_FEE_RATE_SAT_PER_KVB);

    let low = world.pay(&[coin(40)], 1, 100, FIXED);
    let error = world.pool.submit(low.clone()).unwrap_err();
    assert!(matches!(error, MempoolError::BelowFloor { rate_sat_per_kvb, .. } if rate_sat_per_kvb == floor), "{error}");
    assert!(error.is_temporary());

    // It sinks only when a block has come, and then by half in three hours in an empty pool.
    world.clock.advance(HOUR_S);
    assert_eq!(world.pool.min_fee_rate_sat_per_kvb(), floor);
    let included: Vec<Transaction> = pays.iter().filter(|tx| kept.contains(&tx.txid())).cloned().collect();
    world.connect(included, &Effects::default());
    assert!(world.pool.is_empty());
    world.clock.advance(3 * HOUR_S);
    assert_eq!(world.pool.min_fee_rate_sat_per_kvb(), (floor / 2).max(MIN_FEE_RATE_SAT_PER_KVB));
    world.clock.advance(40 * HOUR_S);
    assert_eq!(world.pool.min_fee_rate_sat_per_kvb(), MIN_FEE_RATE_SAT_PER_KVB);
    world.pool.submit(low).unwrap();
}

#[test]
fn what_is_pushed_out_at_once_is_refused() {
    let world = World::new(2, Limits { memory_bytes: 100, ..Limits::default() });
    let error = world.pool.submit(world.pay(&[coin(0)], 1, 100, FIXED)).unwrap_err();
    assert!(matches!(error, MempoolError::Full { .. }), "{error}");
    assert!(world.pool.is_empty());
    world.pool.check();
}

#[test]
fn a_rich_child_keeps_its_poor_parent() {
    let world = World::new(60, Limits { memory_bytes: 20_000, ..Limits::default() });
    let poor = world.pay(&[coin(0)], 1, 30, FIXED);
    let rich = world.pay(&[output_of(&poor, 0)], 1, 90_000, FIXED);
    world.pool.submit(poor.clone()).unwrap();
    world.pool.submit(rich.clone()).unwrap();
    for number in 1..30 {
        let _ = world.pool.submit(world.pay(&[coin(number)], 1, 1_000, FIXED));
    }
    assert!(world.pool.get(&poor.txid()).is_some() && world.pool.get(&rich.txid()).is_some());
    world.pool.check();
}

#[test]
fn what_waits_too_long_goes_with_its_children() {
    let mut world = world();
    let old = world.pay(&[coin(0)], 1, 100, FIXED);
    world.pool.submit(old.clone()).unwrap();
    world.clock.advance(336 * HOUR_S);
    let child = world.pay(&[output_of(&old, 0)], 1, 100, FIXED);
    let young = world.pay(&[coin(1)], 1, 100, FIXED);
    for transaction in [&child, &young] {
        world.pool.submit(transaction.clone()).unwrap();
    }
    world.connect(Vec::new(), &Effects::default());
    assert_eq!(world.pool.len(), 3);
    world.clock.advance(1);
    world.connect(Vec::new(), &Effects::default());
    assert_eq!(world.pool.txids(), [young.txid()]);
    world.pool.check();
}

#[test]
fn a_block_takes_out_what_it_includes_and_what_it_contradicts() {
    let mut world = world();
    let parent = world.pay(&[coin(0)], 1, 100, FIXED);
    let child = world.pay(&[output_of(&parent, 0)], 1, 100, FIXED);
    let loser = world.pay(&[coin(1)], 1, 100, FIXED);
    let orphan = world.pay(&[output_of(&loser, 0)], 1, 100, FIXED);
    for transaction in [&parent, &child, &loser, &orphan] {
        world.pool.submit(transaction.clone()).unwrap();
    }
    let winner = world.pay(&[coin(1)], 1, 500, FIXED);
    let (mut effects, other) = (world.effects_of(&parent), world.effects_of(&winner));
    effects.spent.extend(other.spent);
    effects.created.extend(other.created);
    world.connect(vec![parent, winner], &effects);
    assert_eq!(world.pool.txids(), [child.txid()]);
    world.pool.check();
    assert!(world.pool.verify_again().unwrap().is_empty());
    assert_eq!(world.pool.txids(), [child.txid()]);
    world.pool.check();
}

/// Random submissions, replacements and blocks: what the pool keeps beside its entries always follows from them.
#[test]
fn the_books_are_right_after_anything() {
    for seed in 10..13 {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let mut world = World::new(30, Limits { memory_bytes: 60_000, ..Limits::default() });
        let mut known: Vec<(OutPoint, u64)> = (0..30).map(coin).collect();
        for _ in 0..120 {
            let inputs = [known[rng.gen_range(0..known.len())]];
            let sequence: Sequence = if rng.gen_range(0..3) == 0 { FIXED } else { REPLACEABLE };
            let transaction = world.pay(&inputs, 2, rng.gen_range(60..20_000), sequence);
            if world.pool.submit(transaction.clone()).is_ok() {
                known.extend([output_of(&transaction, 0), output_of(&transaction, 1)]);
            }
            world.pool.check();
            if rng.gen_range(0..30) == 0 {
                let block: Vec<Transaction> =
                    world.pool.candidates(4_000).into_iter().map(|c| (*c.transaction).clone()).collect();
                let mut effects = Effects::default();
                for transaction in &block {
                    let of_one = world.effects_of(transaction);
                    effects.spent.extend(of_one.spent);
                    effects.created.extend(of_one.created);
                }
                world.connect(block, &effects);
                world.pool.check();
            }
        }
        assert!(world.pool.verify_again().unwrap().is_empty(), "seed {seed}");
        world.pool.check();
    }
}

#[test]
fn what_waits_survives_a_restart_and_is_verified_anew() {
    let mut world = world();
    let path = world.folder.path().join("mempool.db");
    let stop = CancellationToken::new();
    let parent = world.pay(&[coin(0)], 2, 1_000, FIXED);
    let child = world.pay(&[output_of(&parent, 0)], 1, 1_000, FIXED);
    let hidden = world.pay_hidden(coin(1), 1_000);
    let spent = world.pay(&[coin(2)], 1, 1_000, FIXED);
    let gone = world.pay(&[coin(3)], 1, 1_000, REPLACEABLE);
    let mut keeper = Keeper::open(&path).unwrap();
    for transaction in [&parent, &child, &hidden, &spent, &gone] {
        world.pool.submit(transaction.clone()).unwrap();
    }
    keeper.save(&world.pool).unwrap();
    let replacing = world.pay(&[coin(3)], 1, 9_000, FIXED);
    world.pool.submit(replacing.clone()).unwrap();
    keeper.save(&world.pool).unwrap();
    drop(keeper);
    let before = world.pool.txids();

    world.restart();
    // Spent by somebody else while we were away.
    let winner = world.pay(&[coin(2)], 1, 2_000, FIXED);
    let effects = world.effects_of(&winner);
    world.connect(vec![winner], &effects);
    let mut keeper = Keeper::open(&path).unwrap();
    assert!(keeper.has_open());
    keeper.restore(&world.pool, &stop);
    assert!(!keeper.has_open());
    let expected: Vec<Txid> = before.into_iter().filter(|txid| *txid != spent.txid()).collect();
    assert_eq!(world.pool.txids(), expected);
    world.pool.check();
    keeper.save(&world.pool).unwrap();
    drop(keeper);

    // Its time goes on: after two weeks in all it is too old.
    world.restart();
    world.clock.advance(337 * HOUR_S);
    let mut keeper = Keeper::open(&path).unwrap();
    keeper.restore(&world.pool, &stop);
    assert!(world.pool.is_empty());
    keeper.save(&world.pool).unwrap();
    drop(keeper);
    assert!(!Keeper::open(&path).unwrap().has_open());
}

#[test]
fn a_stop_during_the_restart_forgets_nothing() {
    let mut world = world();
    let path = world.folder.path().join("mempool.db");
    world.pool.submit(world.pay(&[coin(0)], 1, 1_000, FIXED)).unwrap();
    Keeper::open(&path).unwrap().save(&world.pool).unwrap();
    world.restart();
    let stop = CancellationToken::new();
    stop.cancel();
    let mut keeper = Keeper::open(&path).unwrap();
    keeper.restore(&world.pool, &stop);
    keeper.save(&world.pool).unwrap();
    drop(keeper);
    assert!(world.pool.is_empty() && Keeper::open(&path).unwrap().has_open());
}

#[test]
fn a_damaged_file_is_set_aside() {
    let world = world();
    let path = world.folder.path().join("mempool.db");
    std::fs::write(&path, vec![0x5a; 8_192]).unwrap();
    let mut keeper = Keeper::open(&path).unwrap();
    assert!(!keeper.has_open());
    assert!(world.folder.path().join("mempool.db.damaged").exists());
    world.pool.submit(world.pay(&[coin(0)], 1, 1_000, FIXED)).unwrap();
    keeper.save(&world.pool).unwrap();
    drop(keeper);
    // Bytes that are no transaction are passed over.
    let file = rusqlite::Connection::open(&path).unwrap();
    file.execute("INSERT INTO transactions (txid, admitted_at, bytes) VALUES (zeroblob(32), 1, x'00')", []).unwrap();
    drop(file);
    let mut keeper = Keeper::open(&path).unwrap();
    keeper.restore(&world.pool, &CancellationToken::new());
    assert!(!keeper.has_open() && world.pool.len() == 1);
}

#[test]
fn the_history_of_a_script_shows_what_waits() {
    let world = world();
    let transaction = world.pay(&[coin(0)], 1, 1_000, FIXED);
    world.pool.submit(transaction.clone()).unwrap();
    assert_eq!(world.pool.touching(&own_script()), [transaction.txid()]);
    assert!(world.pool.touching(&Script::from(vec![0x51])).is_empty());
}
