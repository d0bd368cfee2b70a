//! Batches that no member votes for.

use bitcoin::{Sequence, absolute::LockTime, transaction::Version};

use super::*;

struct Proposal {
    fixture: Fixture,
    coins: Vec<TreasuryCoin>,
    pending: Vec<PegoutRequest>,
    plan: BatchPlan,
}

/// A good batch: two requests paid from one coin, with change.
fn proposal() -> Proposal {
    let fixture = Fixture::new();
    let coins = vec![fixture.deposit(1, BTC, 1), fixture.change(2, 3 * BTC), fixture.deposit(3, 2 * BTC, 0)];
    let pending = vec![request(1, 20_000_000), request(2, 30_000_000), request(3, 9 * BTC)];
    let plan = plan_batch(&fixture.treasury, &coins, &pending, RATE).unwrap();
    assert_eq!((plan.paid.len(), plan.inputs.len()), (2, 1));
    Proposal { fixture, coins, pending, plan }
}

impl Proposal {
    fn check(&self, transaction: &Transaction) -> Result<BatchPlan, BatchError> {
        self.fixture.check(&self.coins, &self.pending, transaction)
    }

    fn fault(&self, change: impl FnOnce(&mut Transaction)) -> BatchError {
        let mut transaction = self.plan.transaction.clone();
        change(&mut transaction);
        self.check(&transaction).unwrap_err()
    }
}

fn add(value: &mut Amount, by: i64) {
    *value = Amount::from_sat(value.to_sat().checked_add_signed(by).unwrap());
}

#[test]
fn the_good_one_is_accepted() {
    let proposal = proposal();
    assert_eq!(proposal.check(&proposal.plan.transaction).unwrap(), proposal.plan);
}

#[test]
fn any_changed_byte_is_refused() {
    let proposal = proposal();
    use BatchError::NotCanonical;
    assert_eq!(proposal.fault(|tx| tx.version = Version::ONE), NotCanonical);
    assert_eq!(proposal.fault(|tx| tx.lock_time = LockTime::from_consensus(1)), NotCanonical);
    assert_eq!(proposal.fault(|tx| tx.input[0].sequence = Sequence::MAX), NotCanonical);
    assert_eq!(proposal.fault(|tx| tx.input[0].script_sig = ScriptBuf::from_bytes(vec![0x51])), NotCanonical);
    assert_eq!(proposal.fault(|tx| tx.input[0].witness.push([1])), NotCanonical);
}

/// Whatever bit of the proposal is flipped: it is refused, or it is the same batch at a fee that is a satoshi off.
#[test]
fn any_flipped_bit_is_refused() {
    let proposal = proposal();
    let good = bitcoin::consensus::serialize(&proposal.plan.transaction);
    for bit in 0..good.len() * 8 {
        let mut bytes = good.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        if let Ok(transaction) = bitcoin::consensus::deserialize::<Transaction>(&bytes) {
            let Ok(accepted) = proposal.check(&transaction) else { continue };
            assert_eq!(accepted.transaction, transaction, "bit {bit}");
            assert_eq!(accepted.fee_sat.abs_diff(proposal.plan.fee_sat), 1, "bit {bit}");
            assert_eq!(accepted.inputs, proposal.plan.inputs, "bit {bit}");
            let paid =
                |plan: &BatchPlan| plan.paid.iter().map(|paid| (paid.request, paid.amount_sat)).collect::<Vec<_>>();
            assert_eq!(paid(&accepted), paid(&proposal.plan), "bit {bit}");
            check_sums(&accepted, &proposal.coins);
        }
    }
}

#[test]
fn wrong_inputs_are_named() {
    let proposal = proposal();
    let unknown = outpoint(77);
    assert_eq!(proposal.fault(|tx| tx.input[0].previous_output = unknown), BatchError::UnknownCoin(unknown));
    let twice = proposal.fault(|tx| tx.input.push(tx.input[0].clone()));
    assert_eq!(twice, BatchError::InputOrder(outpoint(1)));
    // A coin that another batch spends is not in the map of the verifier.
    let without = &proposal.coins[1..];
    let error = proposal.fixture.check(without, &proposal.pending, &proposal.plan.transaction).unwrap_err();
    assert_eq!(error, BatchError::UnknownCoin(outpoint(1)));
    let none = proposal.fault(|tx| tx.input.clear());
    assert!(matches!(none, BatchError::Overspent { inputs_sat: 0, .. }));
}

#[test]
fn wrong_payments_are_named() {
    let proposal = proposal();
    let no_such = |error, vout| matches!(error, BatchError::NoSuchRequest { vout: v, .. } if v == vout);
    // More for one, less for the other; a stranger; the other way round.
    assert!(no_such(
        proposal.fault(|tx| {
            add(&mut tx.output[0].value, 1);
            add(&mut tx.output[1].value, -1);
        }),
        0
    ));
    assert!(no_such(proposal.fault(|tx| tx.output[1].script_pubkey = script(PayoutKind::P2tr, 66)), 1));
    // Which of the two is named depends on whose part of the fee is a satoshi more.
    assert!(matches!(proposal.fault(|tx| tx.output.swap(0, 1)), BatchError::NoSuchRequest { .. }));
    assert_eq!(proposal.fault(|tx| tx.output = tx.output.split_off(2)), BatchError::PaymentCount(0));
    // One request twice, with every sum right.
    let treasury = &proposal.fixture.treasury;
    let twice = [&proposal.pending[0], &proposal.pending[0], &proposal.pending[1]];
    let twice = assemble::assemble(treasury, &[&proposal.coins[0]], &twice, 1_500, in_parts(1)).unwrap();
    assert!(no_such(proposal.check(&twice.transaction).unwrap_err(), 1));
    // A request that an earlier batch paid is not pending any more.
    let error = proposal.fixture.check(&proposal.coins, &proposal.pending[1..], &proposal.plan.transaction);
    assert!(no_such(error.unwrap_err(), 0));
}

#[test]
fn stolen_or_lost_change_is_refused() {
    let proposal = proposal();
    // Less change is more fee, so no payment fits any more.
    assert!(matches!(proposal.fault(|tx| add(&mut tx.output[2].value, -1)), BatchError::NoSuchRequest { .. }));
    assert!(matches!(proposal.fault(|tx| _ = tx.output.pop()), BatchError::NoSuchRequest { .. }));
    let stolen = proposal.fault(|tx| tx.output[2].script_pubkey = script(PayoutKind::P2tr, 66));
    assert!(matches!(stolen, BatchError::NoSuchRequest { .. }));
    assert!(matches!(proposal.fault(|tx| add(&mut tx.output[2].value, 100_000)), BatchError::Overspent { .. }));
    let inflated = proposal.fault(|tx| tx.output[2].value = Amount::from_sat(u64::MAX));
    assert!(matches!(inflated, BatchError::Overspent { .. }));
}

/// The proposer takes a satoshi from the payments and gives it to the change: every share fits, but not the sum.
#[test]
fn reserve_and_supply_stay_equal() {
    let proposal = proposal();
    let error = proposal.fault(|tx| {
        add(&mut tx.output[0].value, -1);
        add(&mut tx.output[2].value, 1);
    });
    assert!(matches!(error, BatchError::NoSuchRequest { vout: 0, .. }), "{error:?}");
}

#[test]
fn identical_requests_are_matched_oldest_first() {
    let fixture = Fixture::new();
    let coins = [fixture.change(1, BTC)];
    let to = script(PayoutKind::P2wpkh, 9);
    let pending = [1, 2, 3].map(|number| request_to(number, 1_000_000, to.clone()));
    let plan = plan_batch(&fixture.treasury, &coins, &pending[..2], RATE).unwrap();
    let checked = fixture.check(&coins, &pending, &plan.transaction).unwrap();
    assert_eq!(checked, plan);
    let error = fixture.check(&coins, &pending[..1], &plan.transaction).unwrap_err();
    assert!(matches!(error, BatchError::NoSuchRequest { vout: 1, .. }));
}

/// A member pays no request that it would park itself, even if it is pending and every sum is right.
#[test]
fn parked_requests_are_not_paid() {
    let fixture = Fixture::new();
    let coins = [fixture.change(1, BTC)];
    let good = request(1, 50_000_000);
    let plan = plan_batch(&fixture.treasury, &coins, std::slice::from_ref(&good), RATE).unwrap();
    let odd = PegoutRequest { parent_script: ScriptBuf::from_bytes(vec![0x51]), ..good };
    let mut transaction = plan.transaction;
    transaction.output[0].script_pubkey = odd.parent_script.clone();
    let error = fixture.check(&coins, std::slice::from_ref(&odd), &transaction).unwrap_err();
    assert_eq!(error, BatchError::Parked { vout: 0, request: odd.outpoint, reason: ParkReason::NotStandard });
}

#[test]
fn payments_of_dust_are_refused() {
    let fixture = Fixture::new();
    let coins = [fixture.change(1, BTC)];
    let pending = [request(1, 1_000), request(2, 1_000_000)];
    let plan = plan_batch(&fixture.treasury, &coins, &pending, 1_000).unwrap();
    assert_eq!(plan.paid.len(), 2);
    // The same batch at a fee of 1,400 sat leaves 300 sat of the first, below the 540 of its type.
    let mut transaction = plan.transaction;
    transaction.output[0].value = Amount::from_sat(300);
    transaction.output[1].value = Amount::from_sat(1_000_000 - 700);
    let error = fixture.check(&coins, &pending, &transaction).unwrap_err();
    assert_eq!(error, BatchError::Dust { vout: 0, amount_sat: 300 });
}

#[test]
fn fee_rates_must_be_near_ours() {
    let proposal = proposal();
    let at = |rate| {
        let plan = plan_batch(&proposal.fixture.treasury, &proposal.coins, &proposal.pending, rate).unwrap();
        proposal.check(&plan.transaction).map(|plan| plan.fee_rate_sat_per_kvb)
    };
    assert!(at(RATE / 4).is_ok());
    assert!(at(RATE * 4 - 10).is_ok());
    for rate in [RATE / 4 - 50, RATE * 4 + 50] {
        let Err(BatchError::FeeRate { found, bounds }) = at(rate) else { unreachable!("accepted {rate} sat/kvB") };
        assert!((rate..rate + 10).contains(&found));
        assert_eq!(bounds, proposal.fixture.bounds());
    }
}

#[test]
fn coins_are_not_spent_without_need() {
    let proposal = proposal();
    let coins = [proposal.coins[0].clone(), proposal.coins[1].clone()];
    // Built by hand: the same payments from two coins, of which each would do.
    let treasury = &proposal.fixture.treasury;
    let requests: Vec<&PegoutRequest> = proposal.pending[..2].iter().collect();
    let coin_refs: Vec<&TreasuryCoin> = coins.iter().collect();
    let wasteful = assemble::assemble(treasury, &coin_refs, &requests, 2_000, in_parts(2)).unwrap();
    let check = |holdings: Holdings<'_>| {
        let (pending, bounds) = (&proposal.pending, proposal.fixture.bounds());
        check_batch(treasury, holdings, pending, &wasteful.transaction, &bounds).map(drop)
    };
    let (nothing_due, holdings) = (BTreeSet::new(), Holdings::from(&proposal.coins));
    assert_eq!(check(holdings.with_due(&nothing_due)), Err(BatchError::NeedlessInput));
    assert_eq!(check(holdings), Err(BatchError::NeedlessInput), "nor was a deposit ever due");
    let unsorted = {
        let mut transaction = wasteful.transaction.clone();
        transaction.input.swap(0, 1);
        transaction
    };
    assert_eq!(proposal.check(&unsorted), Err(BatchError::InputOrder(outpoint(1))));
}

#[test]
fn small_change_needs_a_reason() {
    let fixture = Fixture::new();
    let all = [fixture.change(1, BTC), fixture.change(2, BTC)];
    let pending = [request(1, BTC - 50_000)];
    let alone = plan_batch(&fixture.treasury, &all[..1], &pending, RATE).unwrap();
    assert_eq!(alone.change_sat(), 50_000);
    assert!(fixture.check(&all[..1], &pending, &alone.transaction).is_ok());
    assert_eq!(fixture.check(&all, &pending, &alone.transaction), Err(BatchError::SmallChange(50_000)));
    // A coin not worth its fee is no way out, so it is no objection either.
    let dust = [all[0].clone(), fixture.change(2, 250)];
    assert!(fixture.check(&dust, &pending, &alone.transaction).is_ok());
}

/// Change below dust cannot even be relayed.
#[test]
fn change_of_dust_is_refused() {
    let fixture = Fixture::new();
    let coins = [fixture.change(1, BTC)];
    let pending = [request(1, BTC - 100)];
    let treasury = &fixture.treasury;
    let plan = assemble::assemble(treasury, &[&coins[0]], &[&pending[0]], 1_000, in_parts(1)).unwrap();
    assert_eq!(fixture.check(&coins, &pending, &plan.transaction), Err(BatchError::SmallChange(100)));
}

#[test]
fn too_heavy_a_batch_is_refused() {
    let fixture = Fixture::of(15);
    let coins: Vec<TreasuryCoin> = (0..251u32)
        .map(|vout| {
            let outpoint = OutPoint::new(Txid::all_zeros(), vout);
            TreasuryCoin { outpoint, booked_as: outpoint, ..fixture.deposit(1, 1_000_000, 1) }
        })
        .collect();
    let error = |inputs: usize, amount_sat| {
        let pending = [request(1, amount_sat)];
        let coins: Vec<&TreasuryCoin> = coins[..inputs].iter().collect();
        let plan = assemble::assemble(&fixture.treasury, &coins, &[&pending[0]], 500_000, in_parts(1)).unwrap();
        fixture.check(&coins.iter().copied().cloned().collect::<Vec<_>>(), &pending, &plan.transaction).unwrap_err()
    };
    assert!(matches!(error(250, 250_000_000), BatchError::Weight(weight) if weight > MAX_ACCEPTED_WEIGHT));
    assert_eq!(error(251, 251_000_000), BatchError::InputCount(251));
}

#[test]
fn commitments_are_found_and_only_one_is_allowed() {
    use elements::{AssetId, confidential::Value};

    use aquifer_assets::primitives::{Transaction, TxOut};
    let output = |script: Script| TxOut {
        value: Value::Explicit(0),
        script_pubkey: script,
        ..TxOut::new_fee(0, AssetId::from_byte_array([1; 32]))
    };
    let coinbase = |scripts: Vec<Script>| Transaction {
        version: 2,
        lock_time: elements::LockTime::ZERO,
        input: vec![],
        output: scripts.into_iter().map(output).collect(),
    };
    let txid = Txid::from_byte_array([9; 32]);
    let good = batch_commitment(&txid);
    assert_eq!(good.len(), 1 + 1 + 4 + 32);
    let other = Script::from(vec![0x6a, 0x02, 1, 2]);
    assert_eq!(find_batch_commitment(&coinbase(vec![other.clone(), good.clone()])), Ok(Some(txid)));
    assert_eq!(find_batch_commitment(&coinbase(vec![other, Script::new()])), Ok(None));
    let twice = find_batch_commitment(&coinbase(vec![good.clone(), good.clone()]));
    assert_eq!(twice, Err(CommitmentError::Several(2)));
    for bad in [[good.as_bytes(), &[0x51]].concat(), good.as_bytes()[..20].to_vec()] {
        let found = find_batch_commitment(&coinbase(vec![Script::from(bad)]));
        assert_eq!(found, Err(CommitmentError::Malformed(0)));
    }
}
