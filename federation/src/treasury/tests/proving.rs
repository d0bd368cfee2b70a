//! What a member puts under a key of which Bitcoin has not seen a signature.

use super::*;

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

#[test]
fn the_first_batch_leaves_one_coin_and_the_next_spends_it() {
    let fixture = Fixture::new();
    let treasury = &fixture.treasury;
    let pending = [request(1, 30_000_000)];
    let deposits = [fixture.deposit(1, BTC, 1), fixture.deposit(2, BTC, 1)];
    let first = propose_batch(&view(&deposits, false), treasury, &deposits, &pending).unwrap().unwrap();
    assert_eq!((first.inputs.len(), first.change.len()), (1, 1));

    // Change that is not confirmed yet: nothing more is put beside it.
    let unspent = [first.change[0].clone(), deposits[1].clone()];
    let only_deposit = view(&deposits[1..], false);
    assert_eq!(propose_batch(&only_deposit, treasury, &unspent, &pending).unwrap(), None);
    let beside = propose_batch(&view(&deposits[1..], true), treasury, &unspent, &pending).unwrap().unwrap();
    let judged = judge_batch(&only_deposit, treasury, &beside.transaction, &unspent, &pending);
    assert!(matches!(&judged, BatchVerdict::Unknown(reason) if reason.contains("treasury key")), "{judged:?}");
    let judged = judge_batch(&view(&unspent, true), treasury, &beside.transaction, &unspent, &pending);
    assert!(matches!(judged, BatchVerdict::Good(_)), "one that has seen the key sign has no doubts: {judged:?}");

    // Confirmed: it is spent first, even by a request that a deposit would do for.
    let unproven = view(&unspent, false);
    let second = propose_batch(&unproven, treasury, &unspent, &pending).unwrap().unwrap();
    assert_eq!(second.inputs, [first.change[0].outpoint]);
    let judged = judge_batch(&unproven, treasury, &second.transaction, &unspent, &pending);
    assert!(matches!(judged, BatchVerdict::Good(_)), "{judged:?}");
}

#[test]
fn a_request_that_needs_more_than_what_is_under_the_key_is_paid_with_it() {
    let fixture = Fixture::new();
    let treasury = &fixture.treasury;
    let coins = [fixture.change(1, 20_000_000), fixture.deposit(2, BTC, 1), fixture.deposit(3, BTC, 1)];
    let pending = [request(1, 50_000_000)];
    let unproven = view(&coins, false);
    let plan = propose_batch(&unproven, treasury, &coins, &pending).unwrap().unwrap();
    assert!(plan.inputs.contains(&coins[0].outpoint) && plan.inputs.len() == 2, "{:?}", plan.inputs);
    let judged = judge_batch(&unproven, treasury, &plan.transaction, &coins, &pending);
    assert!(matches!(judged, BatchVerdict::Good(_)), "{judged:?}");
    // Those who were not there, and read it in a final block, take it as it is.
    check_batch(treasury, &coins, &pending, &plan.transaction, &FeeRateBounds::HARD_LIMITS).unwrap();
}
