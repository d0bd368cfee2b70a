//! Assets made by those who may not.

use aquifer_assets::primitives::{RangeProof, Transaction};
use aquifer_assets::transaction::{IssuanceLeg, TxError, issued_assets};
use aquifer_tests::forge::{Coin, Issue, Pay, Shape, commitment, prove_range, prove_surjection};
use elements::confidential::{AssetBlindingFactor, Value, ValueBlindingFactor};
use elements::{AssetEntropy, Script, TxOutSecrets};

use crate::support::Start;

/// Satoshi out of nowhere.
const MADE: u64 = 5_000_000;

/// A payment of a coin and of `MADE` satoshi more. The amount of an issuance commits to these: balance and surjection
/// proof are right, so the issuance's range proof is all that is in the way.
fn false_issuance(start: &mut Start, leg: IssuanceLeg, proved: bool) -> Transaction {
    let (pegged, bob) = (start.chain.pegged(), start.bob.script());
    let blinding = ValueBlindingFactor::new(&mut start.chain.rng);
    let made = TxOutSecrets::new(pegged, AssetBlindingFactor::zero(), MADE, blinding);
    // Paid as if it were a second coin, so that the blinding adds up; then its input goes.
    let coins = [start.money.clone(), Coin { secrets: made, ..start.gold.clone() }];
    let mut payment = start.chain.pay(&coins, &[Pay::confidential(pegged, 999_000 + MADE, bob)]).unwrap();
    payment.transaction.input.pop();
    payment.coins.pop();

    let rng = &mut start.chain.rng;
    let proof = if proved { prove_range(rng, &made, &Script::new(), 0, 36).unwrap() } else { RangeProof::EMPTY };
    let input = &mut payment.transaction.input[0];
    input.asset_issuance.asset_entropy = AssetEntropy::from_byte_array([9; 32]);
    let amount = Value::Confidential(commitment(&made));
    match leg {
        IssuanceLeg::Asset => {
            (input.asset_issuance.amount, input.witness.amount_rangeproof) = (amount, proof);
        }
        IssuanceLeg::Token => {
            (input.asset_issuance.inflation_keys, input.witness.inflation_keys_rangeproof) = (amount, proof);
        }
    }
    let (_, asset, token) = issued_assets(input).unwrap();
    let asset = if leg == IssuanceLeg::Asset { asset } else { token };
    let targets = [start.money.secrets, TxOutSecrets { asset, ..made }];
    let surjection = prove_surjection(rng, &payment.secrets[0], &targets).unwrap();
    payment.with(|tx| tx.output[0].witness.surjection_proof = surjection)
}

#[test]
fn a_confidential_issuance_of_the_policy_asset() {
    let mut start = Start::new(30);
    for leg in [IssuanceLeg::Asset, IssuanceLeg::Token] {
        let unproved = false_issuance(&mut start, leg, false);
        start.assert_refused(&unproved, &TxError::MissingIssuanceProof { vin: 0, leg });
        // A proof that is right for what the commitment really is, under the generator of the policy asset.
        let proved = false_issuance(&mut start, leg, true);
        start.assert_refused(&proved, &TxError::IssuanceRangeProof { vin: 0, leg });
    }
    // As much of a new asset, which is what an issuance is for.
    let issue = Issue::new([9; 32], MADE, 0, Shape::Confidential);
    let (asset, _) = issue.assets(&start.money).unwrap();
    let (pegged, bob) = (start.chain.pegged(), start.bob.script());
    let pays = [Pay::confidential(pegged, 999_000, bob.clone()), Pay::confidential(asset, MADE, bob)];
    let honest = start.chain.issue(&[start.money.clone()], &issue, &pays).unwrap();
    start.assert_accepted(&honest.transaction);
}

#[test]
fn a_reissuance_without_the_token() {
    let mut start = Start::new(31);
    let (pegged, gold, token) = (start.chain.pegged(), start.gold(), start.token.secrets.asset);
    let (alice, bob) = (start.alice.script(), start.bob.script());
    let reissue = |start: &mut Start, coins: &[&Coin], issue: Issue| {
        let coins: Vec<Coin> = coins.iter().map(|coin| (*coin).clone()).collect();
        let mut pays = vec![Pay::confidential(gold, issue.amount, bob.clone())];
        // What is not money goes back to where it was.
        let kept = coins.iter().map(|coin| coin.secrets).filter(|secrets| secrets.asset != pegged);
        pays.extend(kept.map(|secrets| Pay::confidential(secrets.asset, secrets.value, alice.clone())));
        pays.push(Pay::confidential(pegged, 999_000, alice.clone()));
        start.chain.issue(&coins, &issue, &pays).unwrap().transaction
    };
    let (money, metal, right) = (start.money.clone(), start.gold.clone(), start.token.clone());
    let entropy = start.entropy;
    let again = |coin: &Coin| Issue::again(entropy, coin, 1_000, Shape::Explicit);

    let honest = reissue(&mut start, &[&right, &money], again(&right));
    start.assert_accepted(&honest);

    let without = TxError::ReissuanceWithoutToken { vin: 0, asset: gold, token };
    // Money alone; the asset itself; the token spent, but by another input; another blinding than the token's.
    let attempts = [
        reissue(&mut start, &[&money], again(&money)),
        reissue(&mut start, &[&metal, &money], again(&metal)),
        reissue(&mut start, &[&money, &right], again(&right)),
        reissue(&mut start, &[&right, &money], again(&metal)),
    ];
    for attempt in attempts {
        start.assert_refused(&attempt, &without);
    }
    // The token of explicit issuances does not issue in confidence.
    let confidential = Issue { shape: Shape::Confidential, ..again(&right) };
    let hidden = reissue(&mut start, &[&right, &money], confidential);
    let (_, other) = confidential.assets(&right).unwrap();
    start.assert_refused(&hidden, &TxError::ReissuanceWithoutToken { vin: 0, asset: gold, token: other });
}
