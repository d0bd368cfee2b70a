//! Batches that take the place of others, and what is spent beside what a batch needs.

use std::collections::BTreeSet;

use super::*;
use crate::roster::{Emergency, Settings};

/// Two requests paid from one coin, with change in two parts, in block 7.
struct Story {
    fixture: Fixture,
    coins: Vec<TreasuryCoin>,
    requests: Vec<PegoutRequest>,
    first: BatchPlan,
    family: Family,
}

fn story() -> Story {
    let fixture = Fixture::new();
    let coins = vec![fixture.change(1, BTC), fixture.deposit(2, 3 * BTC, 1)];
    let requests = vec![request(1, 20_000_000), request(2, 30_000_000)];
    let first = plan_batch(&fixture.treasury, &coins, &requests, RATE).unwrap();
    let family = Family {
        height: 7,
        coins: vec![coins[0].clone()],
        requests: requests.clone(),
        change: first.change.clone(),
        change_use: ChangeUse::Unspent,
        batches: vec![FamilyBatch { inputs: first.inputs.clone(), fee_sat: first.fee_sat }],
    };
    Story { fixture, coins, requests, first, family }
}

impl Story {
    fn plan(&self, rate: u64) -> Result<BatchPlan, NoReplacement> {
        plan_replacement(&self.fixture.treasury, &self.family, |_| true, rate)
    }

    fn check(&self, transaction: &Transaction) -> Result<BatchPlan, BatchError> {
        check_replacement(&self.fixture.treasury, &self.family, transaction, &FeeRateBounds::HARD_LIMITS)
    }

    fn join(&mut self, batch: &BatchPlan) {
        self.family.batches.push(FamilyBatch { inputs: batch.inputs.clone(), fee_sat: batch.fee_sat });
    }

    /// The batch of these coins with this fee, whatever the rules say.
    fn forged(&self, coins: &[&TreasuryCoin], fee_sat: u64, parts: usize) -> Transaction {
        let requests: Vec<&PegoutRequest> = self.requests.iter().collect();
        assemble::assemble(&self.fixture.treasury, coins, &requests, fee_sat, in_parts(parts)).unwrap().transaction
    }
}

#[test]
fn a_replacement_spends_pays_and_keeps_the_same_at_a_higher_fee() {
    let mut story = story();
    let raised = story.plan(4 * RATE).unwrap();
    assert_eq!(raised.kind, BatchKind::Replacement { family: 7 });
    assert_eq!(story.check(&raised.transaction), Ok(raised.clone()));
    check_sums(&raised, &story.coins);
    assert_eq!(raised.inputs, story.first.inputs);
    assert_eq!(raised.change_sat(), story.first.change_sat());
    for (coin, first) in raised.change.iter().zip(&story.first.change) {
        assert_eq!((coin.booked_as, coin.amount_sat), (first.outpoint, first.amount_sat));
        assert_ne!(coin.outpoint, first.outpoint);
    }
    assert!((4 * RATE..4 * RATE + 10).contains(&raised.fee_rate_sat_per_kvb));
    assert!(story.family.outbid_rate_sat_per_kvb(&raised).is_some_and(|rate| (RATE..RATE + 10).contains(&rate)));
    // The next one must beat this one.
    story.join(&raised);
    assert!(matches!(story.plan(4 * RATE), Err(NoReplacement::FeeIsEnough { .. })));
    assert!(matches!(story.check(&raised.transaction), Err(BatchError::FeeIncrement { .. })));
    assert!(story.plan(8 * RATE).unwrap().fee_sat >= raised.fee_sat + raised.relay_fee_sat);
}

#[test]
fn a_fee_is_raised_by_what_bitcoin_asks_for_or_not_at_all() {
    let story = story();
    let coins = [&story.coins[0]];
    let least_sat = story.first.fee_sat + story.first.relay_fee_sat;
    let just = story.forged(&coins, least_sat, 2);
    assert_eq!(story.check(&just).unwrap().fee_sat, least_sat);
    let fee_sat = least_sat - 1;
    let short = story.forged(&coins, fee_sat, 2);
    assert_eq!(story.check(&short), Err(BatchError::FeeIncrement { fee_sat, least_sat }));
    // Hardly more than it has, or less.
    for rate in [RATE / 2, RATE, RATE + RATE / 5] {
        assert!(matches!(story.plan(rate), Err(NoReplacement::FeeIsEnough { .. })), "{rate}");
    }
}

#[test]
fn anything_else_is_no_replacement() {
    let story = story();
    let [coin, other] = [&story.coins[0], &story.coins[1]];
    assert_eq!(story.check(&story.forged(&[coin, other], 9_000, 2)), Err(BatchError::UnknownCoin(other.outpoint)));
    // Other parts of the change, another order or amount of the payments.
    assert_eq!(story.check(&story.forged(&[coin], 9_000, 1)), Err(BatchError::NotCanonical));
    let change = |change: fn(&mut Transaction)| {
        let mut transaction = story.forged(&[coin], 9_000, 2);
        change(&mut transaction);
        story.check(&transaction)
    };
    assert_eq!(change(|tx| tx.output.swap(0, 1)), Err(BatchError::NotCanonical));
    assert_eq!(change(|tx| tx.output[0].value -= Amount::from_sat(2)), Err(BatchError::NotCanonical));
    assert_eq!(change(|tx| _ = tx.output.pop()), Err(BatchError::NotCanonical));
    assert!(matches!(change(|tx| tx.input.clear()), Err(BatchError::Overspent { .. })));
    let dear = story.forged(&[coin], 30_000_000, 2);
    assert!(matches!(story.check(&dear), Err(BatchError::FeeRate { .. })));
}

/// A reorganisation has confirmed another batch of the family whose change is spent: the same coins, in their other place.
#[test]
fn what_spends_a_coin_that_moved_is_made_anew_even_after_its_change_is_spent() {
    let mut story = story();
    let moved = TreasuryCoin { outpoint: outpoint(50), ..story.coins[0].clone() };
    story.family.coins.push(moved.clone());
    story.family.change_use = ChangeUse::Spent;
    let is_there = |outpoint: &OutPoint| *outpoint == moved.outpoint;
    let treasury = &story.fixture.treasury.clone();
    // At the same fee: it does not compete with the other, which is dead.
    let anew = plan_replacement(treasury, &story.family, is_there, RATE).unwrap();
    assert_eq!((&anew.inputs, anew.fee_sat), (&vec![moved.outpoint], story.first.fee_sat));
    assert_eq!(story.check(&anew.transaction), Ok(anew.clone()));
    assert_eq!(story.family.outbid_rate_sat_per_kvb(&anew), None);
    // Both places never exist, and one of them has to be there.
    let both = story.forged(&[&story.coins[0], &moved], 9_000, 2);
    assert_eq!(story.check(&both), Err(BatchError::Alternatives(moved.outpoint)));
    let missing = plan_replacement(treasury, &story.family, |_| false, RATE);
    assert_eq!(missing, Err(NoReplacement::CoinNotThere(story.coins[0].outpoint)));
    // A higher fee alone is no reason any more: it would undo what spends the change.
    let raised = story.forged(&[&story.coins[0]], 60_000, 2);
    assert_eq!(story.check(&raised), Err(BatchError::ChangeSpent { family: 7 }));
    let raise = plan_replacement(treasury, &story.family, |outpoint| *outpoint != moved.outpoint, 4 * RATE);
    assert_eq!(raise, Err(NoReplacement::Rule(BatchError::ChangeSpent { family: 7 })));
    story.join(&anew);
    assert!(matches!(
        plan_replacement(treasury, &story.family, is_there, RATE),
        Err(NoReplacement::FeeIsEnough { .. })
    ));
}

#[test]
fn alternatives_are_one_coin_to_who_plans() {
    let fixture = Fixture::new();
    let one = fixture.change(1, BTC);
    let coins = [one.clone(), TreasuryCoin { outpoint: outpoint(2), ..one }];
    let planning = plan(&fixture.treasury, &coins, &[request(1, 3 * BTC / 2)], RATE);
    assert_eq!(planning.waiting[0].reason, WaitingReason::NotEnoughCoins);
    assert_eq!(plan_batch(&fixture.treasury, &coins, &[request(1, BTC / 2)], RATE).unwrap().inputs.len(), 1);
}

#[test]
fn all_coins_of_a_family_are_spent_again() {
    let mut story = story();
    story.family.coins.push(story.coins[1].clone());
    let one = story.forged(&[&story.coins[0]], 60_000, 2);
    assert_eq!(story.check(&one), Err(BatchError::OtherCoins { family: 7 }));
}

#[test]
fn a_payment_is_not_eaten_up_by_fees() {
    let fixture = Fixture::new();
    let coins = [fixture.change(1, BTC)];
    let pending = [request(1, 6_000), request(2, 10_000_000)];
    let first = plan_batch(&fixture.treasury, &coins, &pending, 1_000).unwrap();
    let mut story = Story { coins: coins.to_vec(), requests: pending.to_vec(), ..story() };
    story.family = Family {
        coins: coins.to_vec(),
        requests: pending.to_vec(),
        change: first.change.clone(),
        batches: vec![FamilyBatch { inputs: first.inputs.clone(), fee_sat: first.fee_sat }],
        ..story.family
    };
    // 5,460 sat of each can be given at most, where 60 sat/vB would take some 8,000.
    let step = story.plan(60_000).unwrap();
    assert_eq!(step.fee_sat, 2 * 5_460);
    assert_eq!(story.check(&step.transaction), Ok(step.clone()));
    story.join(&step);
    assert!(matches!(story.plan(200_000), Err(NoReplacement::PaymentsTooSmall(_))));
    let dust = story.forged(&[&coins[0]], 2 * 5_460 + step.relay_fee_sat, 2);
    assert!(matches!(story.check(&dust), Err(BatchError::Dust { vout: 0, .. })));
}

#[test]
fn a_batch_is_not_replaced_for_ever() {
    let mut story = story();
    let raised = story.plan(4 * RATE).unwrap();
    let first = story.family.batches[0].clone();
    story.family.batches = vec![first; MAX_FAMILY];
    assert_eq!(story.check(&raised.transaction), Err(BatchError::FamilyFull { family: 7 }));
    assert_eq!(story.plan(4 * RATE), Err(NoReplacement::Rule(BatchError::FamilyFull { family: 7 })));
}

/// At low rates the fee is that of the script, far above the rate that was wanted: only what is above that counts as higher.
#[test]
fn a_fee_that_the_script_needs_is_raised_when_the_key_would_pay_more() {
    let fixture = Fixture::of(15);
    let coins: Vec<TreasuryCoin> = (1..=10).map(|number| fixture.change(number, BTC)).collect();
    let pending = [request(1, 19 * BTC / 2)];
    let first = plan_batch(&fixture.treasury, &coins, &pending, 1_000).unwrap();
    let family = Family {
        height: 7,
        coins: coins.clone(),
        requests: pending.to_vec(),
        change: first.change.clone(),
        change_use: ChangeUse::Unspent,
        batches: vec![FamilyBatch { inputs: first.inputs.clone(), fee_sat: first.fee_sat }],
    };
    let plan = |rate| plan_replacement(&fixture.treasury, &family, |_| true, rate);
    assert!(matches!(plan(1_000), Err(NoReplacement::FeeIsEnough { .. })));
    let found = first.fee_rate_sat_per_kvb;
    assert!(found > 3_000, "{found}");
    assert!(plan(found + found / 4 + 1).is_ok());
}

#[test]
fn change_is_split_while_there_are_few_coins() {
    let fixture = Fixture::new();
    let parts = |coins: u8, change_sat: u64| {
        let coins: Vec<TreasuryCoin> = (1..=coins).map(|number| fixture.change(number, BTC)).collect();
        let pending = [request(1, BTC - change_sat)];
        let plan = plan_batch(&fixture.treasury, &coins, &pending, RATE).unwrap();
        check_sums(&plan, &coins);
        assert_eq!(fixture.check(&coins, &pending, &plan.transaction).as_ref(), Ok(&plan));
        // Who counts other coins builds another batch.
        let fewer = Holdings::from(&coins[..1]);
        let other = check_batch(&fixture.treasury, fewer, &pending, &plan.transaction, &FeeRateBounds::HARD_LIMITS);
        assert_eq!(other.is_ok(), plan.inputs == [coins[0].outpoint] && plan.change.len() == parts_alone(change_sat));
        plan.change.iter().map(|coin| coin.amount_sat).collect::<Vec<_>>()
    };
    fn parts_alone(change_sat: u64) -> usize {
        if change_sat >= 2 * MIN_CHANGE_SAT { 2 } else { 1 }
    }
    assert_eq!(parts(1, 50_000_001), [25_000_001, 25_000_000]);
    assert_eq!(parts(7, 50_000_000), [25_000_000, 25_000_000]);
    // Then there are eight with one part.
    assert_eq!(parts(8, 50_000_000), [50_000_000]);
    // No part is too small.
    assert_eq!(parts(1, 200_000), [100_000, 100_000]);
    assert_eq!(parts(1, 199_999), [199_999]);
}

#[test]
fn small_coins_are_put_together_at_low_fees_while_there_are_many() {
    let fixture = Fixture::new();
    let coins_of = |count: u8| -> Vec<TreasuryCoin> {
        let mut coins: Vec<_> =
            (1..count).map(|number| fixture.deposit(number, 1_000_000 + u64::from(number), 1)).collect();
        coins.push(fixture.change(count, BTC));
        coins
    };
    let pending = [request(1, 50_000_000)];
    let inputs = |count: u8, rate: u64| {
        let coins = coins_of(count);
        let plan = plan_batch(&fixture.treasury, &coins, &pending, rate).unwrap();
        check_sums(&plan, &coins);
        let checked = check_batch(&fixture.treasury, &coins, &pending, &plan.transaction, &FeeRateBounds::HARD_LIMITS);
        assert_eq!(checked.as_ref(), Ok(&plan));
        plan.inputs.len()
    };
    assert_eq!(inputs(11, 1_000), 3);
    assert_eq!(inputs(10, 1_000), 1, "eight would not be left");
    assert_eq!(inputs(11, RATE), 1, "fees are not low");
    // A third one, or any at ordinary fees, is at the expense of those who are paid.
    let coins = coins_of(20);
    let forged = |spent: &[usize], fee_sat: u64| {
        let spent: Vec<&TreasuryCoin> = spent.iter().map(|number| &coins[*number]).collect();
        let plan = assemble::assemble(&fixture.treasury, &spent, &[&pending[0]], fee_sat, in_parts(1)).unwrap();
        check_batch(&fixture.treasury, &coins, &pending, &plan.transaction, &FeeRateBounds::HARD_LIMITS)
    };
    let three = plan_batch(&fixture.treasury, &coins, &pending, 1_000).unwrap();
    assert_eq!(forged(&[0, 1, 19], three.fee_sat), Ok(three.clone()));
    assert_eq!(forged(&[0, 1, 2, 19], three.fee_sat * 3 / 2), Err(BatchError::NeedlessInput));
    assert_eq!(forged(&[0, 19], three.fee_sat * 3), Err(BatchError::NeedlessInput));
}

#[test]
fn a_payment_too_small_for_other_coins_is_still_made() {
    let fixture = Fixture::new();
    let mut coins: Vec<_> = (1..15).map(|number| fixture.deposit(number, 1_000_000, 1)).collect();
    coins.push(fixture.change(20, BTC));
    let rate = 1_000;
    let alone = plan_batch(&fixture.treasury, &coins[14..], &[request(1, 1_000)], rate).unwrap();
    // What is left is above dust for the one coin alone.
    let pending = [request(1, 546 + alone.fee_sat)];
    let plan = plan_batch(&fixture.treasury, &coins, &pending, rate).unwrap();
    assert_eq!(plan.inputs.len(), 1);
    assert_eq!(plan.paid.len(), 1);
}

/// A federation whose coins could be spent by emergency keys after a thousand blocks.
fn with_emergency() -> Fixture {
    let mut fixture = Fixture::new();
    let keys = fixture.seeds.iter().map(|seed| seed.keys().host.x_only_public_key().0).collect();
    let emergency = Some(Emergency { keys, threshold: 2, timelock_blocks: 1_000 });
    let settings = Settings { emergency, ..Settings::default() };
    let roster = Roster::new(settings, fixture.roster.members().to_vec()).unwrap();
    fixture.treasury = Treasury::new(&roster, &fixture.key).unwrap();
    fixture
}

/// What bitcoind says: how many blocks confirm each coin.
struct Ages(BTreeMap<OutPoint, u32>);

impl BitcoinView for Ages {
    type Error = std::convert::Infallible;

    fn confirmations(&self, outpoint: &OutPoint) -> Result<Option<u32>, Self::Error> {
        Ok(self.0.get(outpoint).copied())
    }

    fn fee_rate_sat_per_kvb(&self) -> Result<u64, Self::Error> {
        Ok(RATE)
    }

    fn is_key_proven(&self) -> Result<bool, Self::Error> {
        Ok(true)
    }
}

#[test]
fn coins_are_moved_long_before_emergency_keys_can_spend_them() {
    let fixture = with_emergency();
    let treasury = &fixture.treasury;
    assert_eq!(treasury.refresh_after_blocks(), Some(500));
    assert_eq!(Fixture::new().treasury.refresh_after_blocks(), None);
    let coins: Vec<TreasuryCoin> = (1..=8).map(|number| fixture.change(number, u64::from(number) * BTC)).collect();
    let pending = [request(1, 50_000_000)];
    let ages = |old: &[u8]| {
        let age = |coin: &TreasuryCoin| if old.contains(&coin.outpoint.txid.to_byte_array()[0]) { 500 } else { 499 };
        Ages(coins.iter().map(|coin| (coin.outpoint, age(coin))).collect())
    };
    let inputs = |old: &[u8]| {
        let view = ages(old);
        let plan = propose_batch(&view, treasury, &coins, &pending).unwrap().unwrap();
        check_sums(&plan, &coins);
        let verdict = judge_batch(&view, treasury, &plan.transaction, &coins, &pending);
        assert_eq!(verdict, BatchVerdict::Good(Box::new(plan.clone())));
        plan.inputs.iter().map(|input| input.txid.to_byte_array()[0]).collect::<BTreeSet<u8>>()
    };
    assert_eq!(inputs(&[]), BTreeSet::from([1]));
    assert_eq!(inputs(&[7]), BTreeSet::from([7]), "it is enough alone");
    assert_eq!(inputs(&[3, 7]), BTreeSet::from([3, 7]));
    assert_eq!(inputs(&[2, 3, 4, 5, 6, 7]).len(), MAX_REFRESHED);
    // Who does not see that they are due does not vote for it, and blames nobody.
    let plan = propose_batch(&ages(&[3, 7]), treasury, &coins, &pending).unwrap().unwrap();
    let verdict = judge_batch(&ages(&[]), treasury, &plan.transaction, &coins, &pending);
    assert!(matches!(&verdict, BatchVerdict::Unknown(reason) if reason.contains("more coins")), "{verdict:?}");
    // Later members know of the block, not of Bitcoin then.
    let checked = check_batch(treasury, &coins, &pending, &plan.transaction, &FeeRateBounds::HARD_LIMITS);
    assert_eq!(checked.as_ref(), Ok(&plan));
    // Without emergency keys it is wrong for ever.
    let plain = Fixture::new();
    let coins: Vec<TreasuryCoin> = (1..=8).map(|number| plain.change(number, u64::from(number) * BTC)).collect();
    let wasteful =
        assemble::assemble(&plain.treasury, &[&coins[2], &coins[6]], &[&pending[0]], 2_000, in_parts(1)).unwrap();
    let verdict = judge_batch(&ages(&[3, 7]), &plain.treasury, &wasteful.transaction, &coins, &pending);
    assert!(matches!(verdict, BatchVerdict::Bad(_)), "{verdict:?}");
}
