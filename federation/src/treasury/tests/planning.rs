//! What is planned, and what is left out.

use super::*;

#[test]
fn dust_limits_are_those_of_bitcoin() {
    for kind in KINDS {
        let script = script(kind, 1);
        assert_eq!(PayoutKind::of(&script), Some(kind));
        assert_eq!(kind.dust_limit_sat(), script.minimal_non_dust().to_sat(), "{kind:?}");
    }
}

#[test]
fn one_request_is_paid_with_change() {
    let fixture = Fixture::new();
    let coins = [fixture.deposit(1, BTC, 1)];
    let pending = [request(1, 30_000_000)];
    let plan = plan_batch(&fixture.treasury, &coins, &pending, RATE).unwrap();
    check_sums(&plan, &coins);
    assert_eq!(plan.inputs, [outpoint(1)]);
    assert_eq!(plan.paid[0].request, pending[0].outpoint);
    let txid = plan.transaction.compute_txid();
    assert_eq!(plan.change, [1, 2].map(|vout| fixture_change(&fixture, txid, vout, 35_000_000)));
    assert!(plan.fee_rate_sat_per_kvb >= RATE && plan.fee_rate_sat_per_kvb < RATE + 10);
}

fn fixture_change(fixture: &Fixture, txid: Txid, vout: u32, amount_sat: u64) -> TreasuryCoin {
    TreasuryCoin::from_change(fixture.treasury.output(), OutPoint::new(txid, vout), amount_sat)
}

#[test]
fn identical_requests_are_each_paid() {
    let fixture = Fixture::new();
    let coins = [fixture.change(1, BTC)];
    let to = script(PayoutKind::P2wpkh, 9);
    let pending = [1, 2, 3].map(|number| request_to(number, 1_000_000, to.clone()));
    let plan = plan_batch(&fixture.treasury, &coins, &pending, RATE).unwrap();
    check_sums(&plan, &coins);
    let paid: Vec<_> = plan.paid.iter().map(|paid| paid.request).collect();
    assert_eq!(paid, pending.each_ref().map(|request| request.outpoint));
    assert_eq!(plan.transaction.output.len(), 3 + plan.change.len());
}

#[test]
fn a_request_listed_twice_is_paid_once() {
    let fixture = Fixture::new();
    let coins = [fixture.change(1, BTC)];
    let pending = [request(1, 1_000_000), request(1, 1_000_000)];
    let plan = plan_batch(&fixture.treasury, &coins, &pending, RATE).unwrap();
    assert_eq!(plan.paid.len(), 1);
    assert_eq!(fixture.check(&coins, &pending, &plan.transaction).unwrap(), plan);
}

#[test]
fn the_fee_is_shared_equally() {
    let fixture = Fixture::new();
    let coins = [fixture.change(1, BTC)];
    let pending = [1, 2, 3].map(|number| request(number, 1_000_000 * u64::from(number)));
    let rate = (5_000..5_100)
        .find(|rate| plan_batch(&fixture.treasury, &coins, &pending, *rate).unwrap().fee_sat % 3 == 2)
        .unwrap();
    let plan = plan_batch(&fixture.treasury, &coins, &pending, rate).unwrap();
    let shares: Vec<u64> = plan.paid.iter().map(|paid| paid.fee_sat).collect();
    let part = plan.fee_sat / 3;
    assert_eq!(shares, [part + 1, part + 1, part]);
}

#[test]
fn the_smallest_coin_that_is_enough_is_spent() {
    let fixture = Fixture::new();
    let coins = [fixture.change(1, 4 * BTC), fixture.change(2, 2 * BTC), fixture.change(3, BTC)];
    let inputs = |amount| plan_batch(&fixture.treasury, &coins, &[request(1, amount)], RATE).unwrap().inputs;
    assert_eq!(inputs(BTC / 2), [outpoint(3)]);
    assert_eq!(inputs(BTC), [outpoint(3)]);
    // Change of 1 satoshi is none that can be made.
    assert_eq!(inputs(BTC - 1), [outpoint(2)]);
    assert_eq!(inputs(3 * BTC), [outpoint(1)]);
    // None is enough alone: the largest ones.
    assert_eq!(inputs(5 * BTC), [outpoint(1), outpoint(2)]);
    assert_eq!(inputs(7 * BTC), [outpoint(1), outpoint(2), outpoint(3)]);
}

#[test]
fn change_is_never_given_to_the_miners() {
    let fixture = Fixture::new();
    let coins = [fixture.change(1, BTC)];
    let plan_of = |amount: u64| plan(&fixture.treasury, &coins, &[request(1, amount)], RATE);
    // Nothing is left over.
    let exact = plan_of(BTC).batch.unwrap();
    assert_eq!(exact.change, []);
    check_sums(&exact, &coins);
    // Too little to be an output: it waits.
    for left in [1, 329] {
        let planning = plan_of(BTC - left);
        assert_eq!(planning.batch, None);
        assert_eq!(planning.waiting[0].reason, WaitingReason::NotEnoughCoins);
    }
    // Small, but all there is.
    for left in [330, MIN_CHANGE_SAT - 1] {
        let small = plan_of(BTC - left).batch.unwrap();
        assert_eq!(small.change_sat(), left);
        assert!(fixture.check(&coins, &[request(1, BTC - left)], &small.transaction).is_ok());
    }
    // With another coin the change is a good one.
    let coins = [fixture.change(1, BTC), fixture.change(2, BTC / 10)];
    let plan = plan_batch(&fixture.treasury, &coins, &[request(1, BTC - 330)], RATE).unwrap();
    assert_eq!(plan.change_sat(), BTC / 10 + 330);
}

#[test]
fn what_cannot_be_paid_is_parked_with_a_reason() {
    let fixture = Fixture::new();
    let coins = [fixture.change(1, BTC)];
    let odd = ScriptBuf::from_bytes(vec![0x51]);
    let future = ScriptBuf::from_bytes([&[0x52, 0x20][..], &[7; 32]].concat());
    let own = ScriptBuf::from_bytes(fixture.params.fedpeg_script.to_bytes()).to_p2wsh();
    let own_p2sh = own.to_p2sh();
    let pending = [
        request_to(1, 1_000_000, odd),
        request_to(2, 1_000_000, future),
        request_to(3, 1_000_000, own),
        request_to(4, 1_000_000, own_p2sh),
        request_to(5, 293, script(PayoutKind::P2wpkh, 5)),
        request_to(6, 1_000_000, script(PayoutKind::P2wpkh, 6)),
    ];
    let planning = plan(&fixture.treasury, &coins, &pending, RATE);
    let reasons: Vec<_> = planning.waiting.iter().map(|waiting| waiting.reason).collect();
    assert_eq!(
        reasons,
        [
            WaitingReason::Parked(ParkReason::NotStandard),
            WaitingReason::Parked(ParkReason::NotStandard),
            WaitingReason::Parked(ParkReason::Donation),
            WaitingReason::Parked(ParkReason::Donation),
            WaitingReason::Parked(ParkReason::Dust { amount_sat: 293, limit_sat: 294 }),
        ]
    );
    assert_eq!(planning.batch.unwrap().paid[0].request, pending[5].outpoint);
}

#[test]
fn too_small_for_the_fee_waits_and_the_others_go() {
    let fixture = Fixture::new();
    let coins = [fixture.change(1, BTC)];
    let pending = [request(1, 1_000), request(2, 1_000_000)];
    let planning = plan(&fixture.treasury, &coins, &pending, 100_000);
    assert!(matches!(planning.waiting[..], [Waiting { reason: WaitingReason::TooSmallForFee { .. }, .. }]));
    let batch = planning.batch.unwrap();
    assert_eq!(batch.paid.len(), 1);
    check_sums(&batch, &coins);
    // At a low rate it goes too.
    assert_eq!(plan_batch(&fixture.treasury, &coins, &pending, 1_000).unwrap().paid.len(), 2);
    // Many that are too small do not keep the others from their turn.
    let mut many: Vec<_> = (0..150).map(|number| request(number, 600)).collect();
    many.push(request(200, 1_000_000));
    let plan = plan_batch(&fixture.treasury, &coins, &many, 100_000).unwrap();
    assert_eq!(plan.paid[0].request, many[150].outpoint);
}

#[test]
fn more_than_the_coins_cover_waits() {
    let fixture = Fixture::new();
    let coins = [fixture.change(1, BTC)];
    let pending = [request(1, 60_000_000), request(2, 60_000_000), request(3, 30_000_000)];
    let planning = plan(&fixture.treasury, &coins, &pending, RATE);
    let paid: Vec<_> = planning.batch.unwrap().paid.iter().map(|paid| paid.request).collect();
    assert_eq!(paid, [pending[0].outpoint, pending[2].outpoint]);
    assert_eq!(planning.waiting, [Waiting { request: pending[1].outpoint, reason: WaitingReason::NotEnoughCoins }]);
    assert_eq!(plan_batch(&fixture.treasury, &[], &pending, RATE), None);
    assert_eq!(plan_batch(&fixture.treasury, &coins, &[], RATE), None);
}

#[test]
fn a_batch_has_room_for_so_many() {
    let fixture = Fixture::new();
    let coins = [fixture.change(1, BTC)];
    let pending: Vec<_> = (0..=101).map(|number| request(number, 100_000)).collect();
    let planning = plan(&fixture.treasury, &coins, &pending, RATE);
    assert_eq!(planning.batch.unwrap().paid.len(), MAX_PAYMENTS);
    assert!(planning.waiting.iter().all(|waiting| waiting.reason == WaitingReason::BatchFull));
    assert_eq!(planning.waiting.len(), 2);
}

#[test]
fn a_batch_of_many_small_coins_keeps_its_weight() {
    let fixture = Fixture::new();
    let mut coins = Vec::new();
    for number in 0..400u32 {
        let mut coin = fixture.deposit(1, 1_000_000, 1);
        coin.outpoint.vout = number;
        coin.booked_as = coin.outpoint;
        coins.push(coin);
    }
    let pending: Vec<_> = (0..80).map(|number| request(number, 5_000_000)).collect();
    let planning = plan(&fixture.treasury, &coins, &pending, RATE);
    let batch = planning.batch.unwrap();
    check_sums(&batch, &coins);
    assert!(batch.inputs.len() > 200 && batch.inputs.len() < 300, "{}", batch.inputs.len());
    assert!(!planning.waiting.is_empty());
    assert!(fixture.check(&coins, &pending, &batch.transaction).is_ok());
}

#[test]
fn coins_not_worth_their_fee_are_left() {
    let fixture = Fixture::new();
    let coins = [fixture.deposit(1, 500, 1), fixture.change(2, BTC)];
    let plan = plan_batch(&fixture.treasury, &coins, &[request(1, BTC - 1_000)], RATE).unwrap();
    assert_eq!(plan.inputs, [outpoint(2)]);
    assert!(fixture.check(&coins, &[request(1, BTC - 1_000)], &plan.transaction).is_ok());
}

#[test]
fn the_fee_rate_has_hard_limits() {
    let fixture = Fixture::new();
    let coins = [fixture.deposit(1, BTC, 1)];
    let rate =
        |rate| plan_batch(&fixture.treasury, &coins, &[request(1, 50_000_000)], rate).unwrap().fee_rate_sat_per_kvb;
    assert!((MIN_FEE_RATE_SAT_PER_KVB..MIN_FEE_RATE_SAT_PER_KVB + 10).contains(&rate(0)));
    assert!((MAX_FEE_RATE_SAT_PER_KVB..MAX_FEE_RATE_SAT_PER_KVB + 10).contains(&rate(u64::MAX)));
    let bounds = FeeRateBounds::around(u64::MAX);
    assert_eq!(bounds.max_sat_per_kvb, MAX_FEE_RATE_SAT_PER_KVB);
    assert_eq!(bounds.min_sat_per_kvb, MAX_FEE_RATE_SAT_PER_KVB / 4);
    assert_eq!(FeeRateBounds::around(0), FeeRateBounds { min_sat_per_kvb: 1_000, max_sat_per_kvb: 4_000 });
}

/// At low rates the fee is what the script needs to be relayed, and every member accepts that, whatever rate it comes to.
#[test]
fn the_least_fee_is_that_of_the_script() {
    let fixture = Fixture::new();
    let coins: Vec<TreasuryCoin> = (1..=10).map(|number| fixture.change(number, BTC)).collect();
    let pending = [request(1, 9 * BTC)];
    let plan = plan_batch(&fixture.treasury, &coins, &pending, MIN_FEE_RATE_SAT_PER_KVB).unwrap();
    assert_eq!(plan.fee_sat, plan.relay_fee_sat);
    let bounds = FeeRateBounds { min_sat_per_kvb: 1_000, max_sat_per_kvb: 1_100 };
    assert!(!bounds.contains(plan.fee_rate_sat_per_kvb));
    let check = |transaction| check_batch(&fixture.treasury, &coins, &pending, transaction, &bounds);
    assert_eq!(check(&plan.transaction), Ok(plan.clone()));
    let mut cheaper = plan.transaction.clone();
    cheaper.output[0].value += Amount::from_sat(1);
    let (fee_sat, least_sat) = (plan.fee_sat - 1, plan.fee_sat);
    assert_eq!(check(&cheaper), Err(BatchError::RelayFee { fee_sat, least_sat }));
    // At ordinary rates the key's weight counts alone.
    let ordinary = plan_batch(&fixture.treasury, &coins, &pending, 20_000).unwrap();
    assert!((20_000..20_010).contains(&ordinary.fee_rate_sat_per_kvb));
}

/// From 200 satoshi up to a bitcoin, all orders of magnitude alike.
fn any_amount(rng: &mut ChaCha20Rng) -> u64 {
    let digits = rng.gen_range(3..9);
    rng.gen_range(200..10u64.pow(digits))
}

/// Whatever is planned adds up, is accepted by a member with the same view, and is the same when planned again.
#[test]
fn every_plan_is_accepted() {
    let fixture = Fixture::new();
    for seed in 0..300 {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let coins: Vec<TreasuryCoin> = (0..rng.gen_range(0..8u8))
            .map(|number| {
                let amount = any_amount(&mut rng);
                match rng.gen_range(0..4) {
                    0 => fixture.change(number, amount),
                    1 => fixture.rest(number, amount),
                    2 => fixture.deposit(number, amount, 0),
                    _ => fixture.deposit(number, amount, 1),
                }
            })
            .collect();
        let pending: Vec<PegoutRequest> =
            (0..rng.gen_range(0..12)).map(|number| request(number, any_amount(&mut rng))).collect();
        let planning = plan(&fixture.treasury, &coins, &pending, RATE);
        assert_eq!(plan(&fixture.treasury, &coins, &pending, RATE), planning, "seed {seed}");
        let paid = planning.batch.as_ref().map_or(0, |batch| batch.paid.len());
        assert_eq!(paid + planning.waiting.len(), pending.len(), "seed {seed}");
        let holdings = Holdings::from(&coins).with_key(KeyState::Unproven);
        let careful = plan_batch(&fixture.treasury, holdings, &pending, RATE);
        for batch in planning.batch.into_iter().chain(careful) {
            check_sums(&batch, &coins);
            let checked = fixture.check(&coins, &pending, &batch.transaction);
            assert_eq!(checked, Ok(batch), "seed {seed}");
        }
    }
}
