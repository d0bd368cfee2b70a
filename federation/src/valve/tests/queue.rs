//! Limits, delays, order and fairness, case by case.

use super::*;

#[test]
fn a_request_waits_for_its_delay() {
    let mut settings = plain();
    settings.delays = vec![
        DelayStep { from_amount_sat: 0, delay_seconds: 10 },
        DelayStep { from_amount_sat: 5_000, delay_seconds: 60 },
    ];
    let mut chain = Chain::new(4, settings, 1_000_000);
    let pending = [request(1, 4_999, chain.now()), request(2, 5_000, chain.now())];
    assert!(chain.released(&pending).is_empty());
    assert_eq!(chain.reason(&pending, 1), WaitReason::Delay { delay_seconds: 10 });
    assert_eq!((chain.expected_in(&pending, 1), chain.expected_in(&pending, 2)), (Some(10), Some(60)));
    chain.block(9, &[], &[]);
    assert!(chain.released(&pending).is_empty());
    chain.block(1, &[], &[]);
    assert_eq!(chain.released(&pending), [1]);
    assert_eq!(chain.reason(&pending, 2), WaitReason::Delay { delay_seconds: 60 });
    chain.block(50, &[], &[]);
    assert_eq!(chain.released(&pending), [1, 2]);
}

#[test]
fn the_window_is_filled_and_moves_on() {
    let mut chain = Chain::new(4, plain(), 1_000_000);
    let pending = [request(1, 6_000, chain.now()), request(2, 4_000, chain.now()), request(3, 330, chain.now())];
    assert_eq!(chain.released(&pending), [1, 2]);
    assert_eq!(chain.reason(&pending, 3), WaitReason::WindowFull);
    chain.block(0, &pending[..2], &[]);
    assert_eq!((chain.valve.counting_sat(), chain.valve.window_cap_sat()), (10_000, 10_000));
    let wait = chain.expected_in(&pending[2..], 3).unwrap();
    assert!((1_000..=1_004).contains(&wait), "{wait}");
    chain.block(1_000 - 1, &[], &[]);
    assert!(chain.released(&pending[2..]).is_empty());
    chain.block(u32::try_from(wait).unwrap() - 999, &[], &[]);
    assert_eq!(chain.released(&pending[2..]), [3]);
}

#[test]
fn shares_of_the_reserve_bind_batch_and_window() {
    let mut settings = plain();
    (settings.batch_share_permille, settings.window_share_permille) = (100, 150);
    let mut chain = Chain::new(4, settings, 10_000);
    let pending = [request(1, 1_001, chain.now()), request(2, 600, chain.now()), request(3, 401, chain.now())];
    let limit = Limit::ReserveShareOfBatch;
    let too_large = WaitReason::TooLarge { amount_sat: 1_001, limit_sat: 1_000, limit };
    assert_eq!(chain.reason(&pending, 1), too_large);
    assert_eq!(chain.expected_in(&pending, 1), None);
    assert_eq!(chain.released(&pending), [2]);
    assert_eq!(chain.reason(&pending, 3), WaitReason::BatchFull);
    assert_eq!(chain.expected_in(&pending, 3), Some(0));
    chain.block(1, &pending[1..2], &[]);
    // 600 count, the reserve is 9,400, its share 1,410.
    assert_eq!(chain.released(&pending[2..]), [3]);
    chain.block(1, &pending[2..], &[]);
    assert_eq!(chain.reason(&[request(4, 400, chain.now())], 4), WaitReason::WindowFull);
    // More coins, more room.
    chain.reserve_sat = 20_000;
    chain.block(1, &[], &[]);
    assert_eq!(chain.released(&[pending[0], request(4, 400, chain.now())]), [1, 4]);
}

#[test]
fn what_can_never_fit_says_so_and_holds_up_nobody() {
    let chain = Chain::new(4, plain(), 9_000);
    let pending = [
        request(1, 10_001, chain.now()),
        request(2, 9_001, chain.now()),
        request(3, 329, chain.now()),
        request(4, 9_000, chain.now()),
    ];
    assert_eq!(chain.released(&pending), [4]);
    let too_large = |amount_sat, limit_sat, limit| WaitReason::TooLarge { amount_sat, limit_sat, limit };
    assert_eq!(chain.reason(&pending, 1), too_large(10_001, 10_000, Limit::Window));
    assert_eq!(chain.reason(&pending, 2), too_large(9_001, 9_000, Limit::ReserveShareOfWindow));
    assert_eq!(chain.reason(&pending, 3), WaitReason::BelowMinimum { amount_sat: 329, minimum_sat: 330 });
    for number in 1..4 {
        assert_eq!(chain.expected_in(&pending, number), None);
    }
    // The same before anything is burned, by type of output.
    assert_eq!(chain.valve.refusal(10_001, PayoutKind::P2wsh), Some(too_large(10_001, 10_000, Limit::Window)));
    let too_small = WaitReason::BelowMinimum { amount_sat: 330, minimum_sat: 546 };
    assert_eq!(chain.valve.refusal(330, PayoutKind::P2pkh), Some(too_small));
    assert_eq!(chain.valve.refusal(9_000, PayoutKind::P2pkh), None);
}

#[test]
fn small_requests_pass_a_large_one_only_where_they_do_not_delay_it() {
    let mut chain = Chain::new(4, plain(), 1_000_000);
    let early = request(0, 3_000, chain.now());
    chain.block(0, &[early], &[]);
    chain.block(500, &[], &[]);
    // The large one can leave when the early payment has left the window. Then 2,000 are free beside it.
    let large = request(1, 8_000, chain.now());
    let pending = [large, request(2, 1_500, chain.now()), request(3, 501, chain.now()), request(4, 500, chain.now())];
    assert_eq!(chain.released(&pending), [2, 4]);
    assert_eq!(chain.reason(&pending, 1), WaitReason::WindowFull);
    assert_eq!(chain.reason(&pending, 3), WaitReason::Behind { older: large.outpoint });
    let before = chain.expected_in(&pending, 1).unwrap();
    chain.block(10, &[pending[1], pending[3]], &[]);
    assert_eq!(chain.expected_in(&pending[..1], 1), Some(before - 10));
    chain.block(u32::try_from(before).unwrap() - 10, &[], &[]);
    assert_eq!(chain.released(&[large]), [1]);
}

#[test]
fn a_large_request_is_not_starved_by_a_stream_of_small_ones() {
    let mut chain = Chain::new(4, plain(), 1_000_000);
    let mut number = 10;
    let mut left_at = None;
    // The window is full of small payments, and more come with every block.
    for _ in 0..100 {
        number += 1;
        let small = request(number, 400, chain.now());
        let paid = chain.released(&[small]).len() == 1;
        chain.block(40, if paid { std::slice::from_ref(&small) } else { &[] }, &[]);
    }
    let (begin, large) = (chain.now(), request(1, 10_000, chain.now()));
    for _ in 0..200 {
        number += 1;
        let pending = [large, request(number, 330, chain.now())];
        let paid: Vec<Request> =
            pending.iter().copied().filter(|r| chain.released(&pending).contains(&r.outpoint.vout)).collect();
        if paid.contains(&large) {
            left_at = Some(chain.now());
            break;
        }
        chain.block(20, &paid, &[]);
    }
    let waited = left_at.unwrap() - begin;
    assert!((900..=1_040).contains(&waited), "{waited}");
}

#[test]
fn small_requests_are_not_blocked_for_ever_by_large_ones() {
    let mut chain = Chain::new(4, plain(), 1_000_000);
    // Three requests that take a whole window each, and behind them a small one.
    let mut pending: Vec<Request> = (1..=3).map(|number| request(number, 10_000, chain.now())).collect();
    pending.push(request(4, 330, chain.now()));
    let begin = chain.now();
    let mut order = Vec::new();
    while !pending.is_empty() {
        let released = chain.released(&pending);
        let paid: Vec<Request> = pending.iter().copied().filter(|r| released.contains(&r.outpoint.vout)).collect();
        pending.retain(|r| !released.contains(&r.outpoint.vout));
        order.extend(released);
        chain.block(20, &paid, &[]);
    }
    assert_eq!(order, [1, 2, 3, 4]);
    assert!(chain.now() - begin <= 3 * 1_060);
    // The estimate, made at the beginning, was the truth up to the length of blocks and slices.
    let chain = Chain::new(4, plain(), 1_000_000);
    let pending: Vec<Request> = (1..=4).map(|number| request(number, 10_000, chain.now())).collect();
    let expected: Vec<Option<u64>> = (2..=4).map(|number| chain.expected_in(&pending, number)).collect();
    assert_eq!(expected, [Some(1_000), Some(2_000), Some(3_000)]);
}

#[test]
fn the_order_of_the_arguments_and_repetitions_make_no_difference() {
    let chain = Chain::new(4, plain(), 1_000_000);
    let mut pending: Vec<Request> = (0..8).map(|number| request(number, 3_000, u64::from(number / 3))).collect();
    let decisions = chain.valve.decide(&pending);
    assert_eq!(chain.released(&pending), [0, 1, 2]);
    pending.reverse();
    pending.extend(pending.clone());
    assert_eq!(chain.valve.decide(&pending), decisions);
}

#[test]
fn any_part_of_what_is_released_passes_and_nothing_else() {
    let chain = Chain::new(4, plain(), 1_000_000);
    let pending: Vec<Request> = (0..4).map(|number| request(number, 3_000, chain.now())).collect();
    let check = |numbers: &[u32]| {
        let paid: Vec<OutPoint> = numbers.iter().map(|number| outpoint(*number)).collect();
        chain.valve.check_batch(&pending, &paid)
    };
    for good in [&[0, 1, 2][..], &[2, 0], &[1]] {
        assert_eq!(check(good), Ok(()));
    }
    let must_wait = ValveError::MustWait { request: outpoint(3), reason: WaitReason::WindowFull };
    assert_eq!(check(&[0, 3]), Err(must_wait));
    assert_eq!(check(&[0, 0]), Err(ValveError::PaidTwice(outpoint(0))));
    assert_eq!(check(&[9]), Err(ValveError::NotPending(outpoint(9))));
}

#[test]
fn a_replacement_passes_without_being_charged_again() {
    let mut chain = Chain::new(4, plain(), 1_000_000);
    let paid = [request(1, 6_000, chain.now()), request(2, 4_000, chain.now())];
    let fresh = request(3, 1_000, chain.now());
    chain.block(0, &paid, &[]);
    let again = [paid[0].outpoint, paid[1].outpoint];
    // Whether the caller counts them as pending again or not.
    assert_eq!(chain.valve.check_batch(&[fresh], &again), Ok(()));
    assert_eq!(chain.valve.check_batch(&[paid[0], paid[1], fresh], &again), Ok(()));
    let with_fresh = chain.valve.check_batch(&[fresh], &[paid[0].outpoint, fresh.outpoint]);
    assert_eq!(with_fresh, Err(ValveError::MustWait { request: fresh.outpoint, reason: WaitReason::WindowFull }));
    chain.block_with(&paid, &[]);
    assert_eq!(chain.valve.counting_sat(), 10_000);

    // Long after it has left the window, too.
    chain.block(5_000, &[], &[]);
    assert_eq!(chain.valve.counting_sat(), 0);
    assert_eq!(chain.valve.check_batch(&[], &again), Ok(()));
    chain.block_with(&paid, &[]);
    assert_eq!(chain.valve.counting_sat(), 0);

    // Once it is forgotten it is charged like a new one.
    let many: Vec<Request> =
        (0..u32::try_from(MAX_CHARGED_REQUESTS).unwrap()).map(|number| request(100 + number, 1, chain.now())).collect();
    chain.block_with(&many, &[]);
    assert_eq!(chain.valve.check_batch(&[], &again), Err(ValveError::NotPending(again[0])));
    let counting_sat = chain.valve.counting_sat();
    chain.block_with(&paid[1..], &[]);
    assert_eq!(chain.valve.counting_sat(), counting_sat + 4_000);
}

#[test]
fn a_shortfall_closes_the_valve_while_it_lasts() {
    let mut chain = Chain::new(4, plain(), 100_000);
    let paid = request(1, 1_000, chain.now());
    chain.block(0, &[paid], &[]);
    chain.liabilities_sat = 99_001;
    chain.block(1, &[], &[]);
    let closure = Closure::Shortfall { reserve_sat: 99_000, liabilities_sat: 99_001 };
    let pending = [request(2, 1_000, chain.now())];
    assert_eq!(chain.valve.closure(), Some(closure));
    assert_eq!(chain.reason(&pending, 2), WaitReason::Closed(closure));
    assert_eq!(chain.expected_in(&pending, 2), None);
    assert_eq!(chain.valve.check_batch(&pending, &[paid.outpoint]), Err(ValveError::Closed(closure)));
    chain.liabilities_sat = 99_000;
    chain.block(1, &[], &[]);
    assert_eq!(chain.valve.closure(), None);
    assert_eq!(chain.released(&pending), [2]);
}

#[test]
fn sums_saturate_on_the_side_that_pays_less() {
    let mut chain = Chain::new(4, plain(), u64::MAX);
    let huge = [request(1, u64::MAX, 0), request(2, u64::MAX, 0)];
    chain.block_with(&huge, &[]);
    assert_eq!(chain.valve.counting_sat(), u64::MAX);
    let pending = [request(3, u64::MAX, u64::MAX), request(4, 5_000, 0), request(5, 5_000, u64::MAX)];
    assert!(chain.released(&pending).is_empty());
    chain.block(1_010, &[], &[]);
    assert_eq!(chain.released(&pending), [4]);
    chain.time = u32::MAX;
    chain.block_with(&pending, &[]);
    assert!(chain.released(&[request(6, 400, 0)]).is_empty());
}

#[test]
fn blocks_are_applied_in_order_and_time_never_falls() {
    let mut chain = Chain::new(4, plain(), 1_000);
    let mut block = chain.blocks[0].clone();
    let before = chain.valve.clone();
    for height in [0, 1, 3, u32::MAX] {
        block.height = height;
        let error = chain.valve.apply_block(&block).unwrap_err();
        assert_eq!(error, ValveError::OutOfOrder { found: height, expected: 2 });
        assert_eq!(chain.valve, before);
    }
    (block.height, block.median_time_past) = (2, 5);
    chain.valve.apply_block(&block).unwrap();
    assert_eq!((chain.valve.height(), chain.valve.time_seconds()), (2, 1_000_000));
}

#[test]
fn the_state_stays_small_however_much_is_paid() {
    let settings = ValveSettings { window_limit_sat: 2_000_000_000, ..ValveSettings::production() };
    let mut chain = Chain::new(4, settings, u64::MAX / 2);
    let mut number = 0;
    for _ in 0..3_000 {
        let paid: Vec<Request> = (0..4).map(|i| request(number + i, 1_000, 0)).collect();
        number += 4;
        chain.block(60, &paid, &[]);
        assert!(chain.valve.state.window.len() <= 290);
        assert!(chain.valve.state.charged.len() <= MAX_CHARGED_REQUESTS);
    }
    assert!(chain.valve.save().len() < 80_000);
    assert_eq!(chain.valve.state.window.len(), 289);
}
