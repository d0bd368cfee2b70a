//! Value made from nothing, and outputs of nothing.

use aquifer_assets::transaction::TxError;
use aquifer_tests::forge::{Pay, commitment, prove_range};
use elements::TxOutSecrets;
use elements::confidential::{AssetBlindingFactor, Value, ValueBlindingFactor};

use crate::support::{Start, burn};

#[test]
fn value_made_from_nothing() {
    let mut start = Start::new(1);
    let (pegged, script) = (start.chain.pegged(), start.bob.script());
    for output in [Pay::explicit, Pay::confidential] {
        let mut pay = |amount| {
            let pays = [output(pegged, amount, script.clone()), Pay::confidential(pegged, 9_000, script.clone())];
            start.chain.pay(&[start.money.clone()], &pays).unwrap().transaction
        };
        let (right, more, less) = (pay(990_000), pay(990_001), pay(989_999));
        start.assert_accepted(&right);
        start.assert_refused(&more, &TxError::Unbalanced);
        start.assert_refused(&less, &TxError::Unbalanced);
    }
    let fee = start.payment().with(|tx| tx.output[4].value = Value::Explicit(1_001));
    start.assert_refused(&fee, &TxError::Unbalanced);
}

#[test]
fn an_asset_turned_into_another() {
    let mut start = Start::new(2);
    let (pegged, gold, script) = (start.chain.pegged(), start.gold(), start.bob.script());
    let mut swap = |money, metal| {
        let pays = [Pay::confidential(pegged, money, script.clone()), Pay::confidential(gold, metal, script.clone())];
        start.chain.pay(&[start.money.clone(), start.gold.clone()], &pays).unwrap().transaction
    };
    let (right, wrong) = (swap(999_000, 500), swap(999_499, 1));
    start.assert_accepted(&right);
    start.assert_refused(&wrong, &TxError::Unbalanced);
}

#[test]
fn a_negative_amount() {
    // Two commitments to +v and -v weigh nothing together. Only the range proof of the second is in the way.
    let mut start = Start::new(3);
    let payment = start.payment();
    let pegged = start.chain.pegged();
    let blinding = ValueBlindingFactor::new(&mut start.chain.rng);
    let made = TxOutSecrets::new(pegged, AssetBlindingFactor::zero(), 1 << 40, blinding);
    let mut positive = payment.transaction.output[3].clone();
    positive.value = Value::Confidential(commitment(&made));
    positive.witness.rangeproof = prove_range(&mut start.chain.rng, &made, &positive.script_pubkey, 1, 41).unwrap();
    // The first byte of a commitment tells a point from its negative.
    let mut bytes = commitment(&made).serialize();
    bytes[0] ^= 1;
    let mut negative = positive.clone();
    negative.value = Value::from_commitment(&bytes).unwrap();
    let both = payment.with(|tx| tx.output.extend([positive, negative]));
    start.assert_refused(&both, &TxError::RangeProof { vout: 6 });
}

#[test]
fn a_spendable_output_whose_range_allows_nothing() {
    let mut start = Start::new(4);
    let (gold, pegged, script) = (start.gold(), start.chain.pegged(), start.bob.script());
    let mut pay = |amount, minimum, to| {
        let pays = [
            Pay { range: (minimum, 36), ..Pay::confidential(gold, amount, to) },
            Pay::confidential(gold, 500 - amount, script.clone()),
            Pay::confidential(pegged, 999_000, script.clone()),
        ];
        start.chain.pay(&[start.money.clone(), start.gold.clone()], &pays).unwrap().transaction
    };
    let honest = pay(100, 1, script.clone());
    let (hundred, nothing) = (pay(100, 0, script.clone()), pay(0, 0, script.clone()));
    // Where nobody can spend, nothing may be.
    let burned = pay(0, 0, burn());
    start.assert_accepted(&honest);
    start.assert_accepted(&burned);
    start.assert_refused(&hundred, &TxError::RangeMinimum { vout: 0 });
    start.assert_refused(&nothing, &TxError::RangeMinimum { vout: 0 });
}
