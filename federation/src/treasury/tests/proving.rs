//! What is put under a key of which Bitcoin has not seen a signature.

use super::*;
use crate::treasury::coins::SpendPath;

/// A bitcoind that shows these coins.
struct View {
    there: Vec<OutPoint>,
    is_key_proven: bool,
}

impl BitcoinView for View {
    type Error = std::convert::Infallible;

    fn confirmations(&self, outpoint: &OutPoint) -> Result<Option<u32>, Self::Error> {
        Ok(self.there.contains(outpoint).then_some(100))
    }

    fn fee_rate_sat_per_kvb(&self) -> Result<u64, Self::Error> {
        Ok(RATE)
    }

    fn is_key_proven(&self) -> Result<bool, Self::Error> {
        Ok(self.is_key_proven)
    }
}

fn view(coins: &[TreasuryCoin], is_key_proven: bool) -> View {
    View { there: coins.iter().map(|coin| coin.outpoint).collect(), is_key_proven }
}

/// What lies under the key, and in the federation's own script, of the change of a batch.
fn change_of(plan: &BatchPlan) -> [Vec<u64>; 2] {
    let amounts = |is_under_key: bool| {
        let coins = plan.change.iter().filter(|coin| (coin.kind == CoinKind::Treasury) == is_under_key);
        coins.map(|coin| coin.amount_sat).collect()
    };
    [amounts(true), amounts(false)]
}

/// A federation whose members all see these coins confirmed, and one request.
struct Story {
    fixture: Fixture,
    coins: Vec<TreasuryCoin>,
    pending: Vec<PegoutRequest>,
}

impl Story {
    fn propose(&self, is_key_proven: bool) -> Option<BatchPlan> {
        let view = view(&self.coins, is_key_proven);
        let plan = propose_batch(&view, &self.fixture.treasury, &self.coins, &self.pending).unwrap()?;
        check_sums(&plan, &self.coins);
        // Those who were not there, and read it in a final block, take it as it is.
        let bounds = FeeRateBounds::HARD_LIMITS;
        let checked = check_batch(&self.fixture.treasury, &self.coins, &self.pending, &plan.transaction, &bounds);
        assert_eq!(checked.as_ref(), Ok(&plan));
        Some(plan)
    }

    fn judge(&self, transaction: &Transaction, is_key_proven: bool) -> BatchVerdict {
        let view = view(&self.coins, is_key_proven);
        judge_batch(&view, &self.fixture.treasury, transaction, &self.coins, &self.pending)
    }

    fn assert_good(&self, plan: &BatchPlan, is_key_proven: bool) {
        let verdict = self.judge(&plan.transaction, is_key_proven);
        assert_eq!(verdict, BatchVerdict::Good(Box::new(plan.clone())), "proven: {is_key_proven}");
    }

    fn assert_waits(&self, transaction: &Transaction, is_key_proven: bool, why: &str) {
        let verdict = self.judge(transaction, is_key_proven);
        assert!(matches!(&verdict, BatchVerdict::Unknown(reason) if reason.contains(why)), "{verdict:?}");
    }
}

/// Two deposits of a bitcoin each, and a request for less than one.
fn story() -> Story {
    let fixture = Fixture::new();
    let coins = vec![fixture.deposit(1, BTC, 1), fixture.deposit(2, BTC, 0)];
    Story { fixture, coins, pending: vec![request(1, 30_000_000)] }
}

#[test]
fn an_unproven_key_is_trusted_with_a_probe() {
    let story = story();
    let careful = story.propose(false).unwrap();
    assert_eq!(careful.inputs.len(), 1);
    assert_eq!(change_of(&careful), [vec![PROBE_SAT], vec![70_000_000 - PROBE_SAT]]);
    story.assert_good(&careful, false);
    story.assert_good(&careful, true);

    let bold = story.propose(true).unwrap();
    assert_eq!(change_of(&bold), [vec![35_000_000; 2], vec![]]);
    story.assert_good(&bold, true);
    story.assert_waits(&bold.transaction, false, "treasury key");
}

#[test]
fn the_next_batch_spends_the_probe_and_waits_for_it() {
    let mut story = story();
    let first = story.propose(false).unwrap();
    let (probe, rest) = (first.change[0].clone(), first.change[1].clone());
    let deposit = story.coins[1].clone();
    story.coins = vec![probe.clone(), rest.clone(), deposit.clone()];
    let treasury = &story.fixture.treasury;

    // Not confirmed yet: nothing more is put beside it.
    let there = [rest.clone(), deposit.clone()];
    assert_eq!(propose_batch(&view(&there, false), treasury, &story.coins, &story.pending).unwrap(), None);
    let beside = propose_batch(&view(&there, true), treasury, &story.coins, &story.pending).unwrap().unwrap();
    story.assert_waits(&beside.transaction, false, "treasury key");
    story.assert_good(&beside, true);
    // Nor if it leaves the key alone altogether: then it would never be tried.
    let around =
        plan_batch(treasury, Holdings::from(&there).with_key(KeyState::Unproven), &story.pending, RATE).unwrap();
    story.assert_waits(&around.transaction, false, "treasury key");

    // Confirmed: it is spent first, together with what else the request takes.
    let second = story.propose(false).unwrap();
    assert!(second.inputs.contains(&probe.outpoint) && second.inputs.len() == 2, "{:?}", second.inputs);
    let [under_key, in_script] = change_of(&second);
    assert_eq!((under_key, in_script.len()), (vec![PROBE_SAT], 1));
    story.assert_good(&second, false);
    story.assert_good(&second, true);

    // Seen to be spent by the key: all change goes there, and a probe is not spent any more for its own sake.
    let third = story.propose(true).unwrap();
    assert_eq!((third.inputs.len(), change_of(&third)[1].len()), (1, 0));
}

/// To be careful is no fault, but it is no reason to move everything either.
#[test]
fn who_does_not_know_that_the_key_is_proven_tries_one_coin() {
    let mut story = story();
    story.coins = (1..=6).map(|number| story.fixture.change(number, u64::from(number) * 11_000_000)).collect();
    story.coins.push(story.fixture.deposit(7, BTC, 1));
    let careful = story.propose(false).unwrap();
    assert_eq!(careful.inputs, [outpoint(1), outpoint(2)], "the smallest, and what is enough with it");
    story.assert_good(&careful, false);
    story.assert_good(&careful, true);
    let treasury = &story.fixture.treasury;
    let forged = |coins: &[usize]| {
        let coins: Vec<&TreasuryCoin> = coins.iter().map(|number| &story.coins[number - 1]).collect();
        let plan = assemble::assemble(treasury, &coins, &[&story.pending[0]], 3_000, ChangeForm::Probe).unwrap();
        plan.transaction
    };
    for is_key_proven in [false, true] {
        story.assert_waits(&forged(&[1, 2, 3]), is_key_proven, "more coins");
    }
}

#[test]
fn small_change_is_not_split_into_what_nobody_would_spend() {
    let mut story = story();
    story.coins.truncate(1);
    for (change_sat, expected) in [
        (0, [vec![], vec![]]),
        (330, [vec![330], vec![]]),
        (PROBE_SAT, [vec![PROBE_SAT], vec![]]),
        (PROBE_SAT + 1, [vec![PROBE_SAT / 2], vec![PROBE_SAT / 2 + 1]]),
        (2 * PROBE_SAT + 1, [vec![PROBE_SAT], vec![PROBE_SAT + 1]]),
    ] {
        story.pending = vec![request(1, BTC - change_sat)];
        let plan = story.propose(false).unwrap();
        assert_eq!(change_of(&plan), expected);
        story.assert_good(&plan, false);
        story.assert_good(&plan, true);
    }
}

/// Otherwise nothing would ever be paid again: what is under the key is spent first.
#[test]
fn a_probe_that_is_not_worth_its_fee_is_spent_as_well() {
    let mut story = story();
    story.coins = vec![story.fixture.change(1, 250), story.fixture.deposit(2, BTC, 1)];
    let plan = story.propose(false).unwrap();
    assert_eq!(plan.inputs, [outpoint(1), outpoint(2)]);
    story.assert_good(&plan, false);
    story.assert_good(&plan, true);
    // One that was not made too small is worth its fee at any rate.
    let probe = story.fixture.change(1, PROBE_SAT);
    let weight = probe.input_weight(&story.fixture.treasury, SpendPath::Key);
    assert!(weight.div_ceil(4) * MAX_FEE_RATE_SAT_PER_KVB / 1_000 < PROBE_SAT);
}

/// The probe's input costs more than a small request has: that one waits, and does not keep the others waiting.
#[test]
fn a_request_that_cannot_pay_for_the_probe_waits() {
    let mut story = story();
    let fee_sat = story.propose(true).unwrap().fee_sat;
    story.coins = vec![story.fixture.change(1, PROBE_SAT), story.fixture.deposit(2, BTC, 1)];
    story.pending = vec![request(1, 546 + fee_sat), request(2, 30_000_000)];
    let mut alone = story.pending.clone();
    alone.truncate(1);
    assert!(plan_batch(&story.fixture.treasury, &story.coins[1..], &alone, RATE).is_some());
    let unproven = Holdings::from(&story.coins).with_key(KeyState::Unproven);
    assert!(plan_batch(&story.fixture.treasury, unproven, &alone, RATE).is_none());
    // Two share the fee.
    let plan = story.propose(false).unwrap();
    assert!(plan.inputs.contains(&outpoint(1)));
    story.pending[0].amount_sat = 600;
    let plan = story.propose(false).unwrap();
    assert_eq!((plan.paid.len(), plan.inputs.contains(&outpoint(1))), (1, true));
}

#[test]
fn a_replacement_keeps_careful_change() {
    let story = story();
    let first = story.propose(false).unwrap();
    let family = Family {
        height: 7,
        coins: vec![story.coins[0].clone()],
        requests: story.pending.clone(),
        change: first.change.clone(),
        change_use: ChangeUse::Unspent,
        batches: vec![FamilyBatch { inputs: first.inputs.clone(), fee_sat: first.fee_sat }],
    };
    let treasury = &story.fixture.treasury;
    let raised = plan_replacement(treasury, &family, |_| true, 4 * RATE).unwrap();
    assert_eq!(change_of(&raised), change_of(&first));
    for (coin, first) in raised.change.iter().zip(&first.change) {
        assert_eq!((coin.booked_as, &coin.kind), (first.outpoint, &first.kind));
    }
    let check = |transaction| check_replacement(treasury, &family, transaction, &FeeRateBounds::HARD_LIMITS);
    assert_eq!(check(&raised.transaction).as_ref(), Ok(&raised));
    // The same, but all of it under the key.
    let requests: Vec<&PegoutRequest> = story.pending.iter().collect();
    let bold = assemble::assemble(treasury, &[&story.coins[0]], &requests, raised.fee_sat, in_parts(2)).unwrap();
    assert_eq!(check(&bold.transaction), Err(BatchError::NotCanonical));
}

/// A peg-in must pay to the federation's script with keys that its claim script tweaks. Change pays to the untweaked one, so
/// it is nobody's deposit, and a peg-out to it is a donation.
#[test]
fn no_claim_script_leads_to_careful_change() {
    let story = story();
    let rest = story.propose(false).unwrap().change[1].clone();
    let CoinKind::Federation { witness_script, redeem } = &rest.kind else { unreachable!("{rest:?}") };
    assert_eq!(witness_script.as_bytes(), story.fixture.params.fedpeg_script.as_bytes());
    assert_eq!((witness_script.to_p2wsh(), redeem.to_p2sh()), (redeem.clone(), rest.script_pubkey.clone()));
    let fedpeg = &story.fixture.params.fedpeg_script;
    let claims = [Script::new(), Script::from(vec![0x51]), fedpeg.clone(), fedpeg.to_v0_p2wsh(), vec![0; 32].into()];
    for claim_script in &claims {
        for epoch in [0, 1] {
            let program = fedpeg_program(&story.fixture.params, epoch, claim_script).unwrap();
            assert_ne!(program.witness_script, *witness_script);
            assert_ne!(program.script_pubkey, rest.script_pubkey);
        }
    }
    let request = request_to(9, 1_000_000, rest.script_pubkey);
    assert_eq!(park_reason(&story.fixture.treasury, &request), Some(ParkReason::Donation));
}
