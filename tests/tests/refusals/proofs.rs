//! Proofs of something else, proofs that are not there, and proofs of nothing.

use aquifer_assets::primitives::{RangeProof, SurjectionProof};
use aquifer_assets::proof::InvalidSurjectionProof;
use aquifer_assets::transaction::{IssuanceLeg, TxError};
use aquifer_tests::forge::{Issue, Pay, Payment, Shape, prove_range, prove_surjection};
use elements::confidential::{Asset, AssetBlindingFactor};
use elements::{Script, TxOutSecrets};
use secp256k1_zkp::SECP256K1;

use crate::support::{Start, burn};

#[test]
fn a_range_proof_for_another_script() {
    let mut start = Start::new(10);
    let payment = start.payment();
    let redirected = payment.with(|tx| tx.output[0].script_pubkey = start.alice.script());
    start.assert_refused(&redirected, &TxError::RangeProof { vout: 0 });
    // The same statement in all else.
    let to_alice = start.alice.script();
    let proof = prove_range(&mut start.chain.rng, &payment.secrets[0], &to_alice, 1, 36).unwrap();
    let proved = payment.with(|tx| {
        tx.output[0].script_pubkey = to_alice;
        tx.output[0].witness.rangeproof = proof;
    });
    start.assert_accepted(&proved);
}

#[test]
fn a_range_proof_for_another_generator() {
    // The asset is the same, blinded anew, and its surjection proof is right. The balance sees the commitment only, which
    // means another amount under the other generator.
    let mut start = Start::new(11);
    let payment = start.payment();
    let rng = &mut start.chain.rng;
    let blinded = TxOutSecrets { asset_bf: AssetBlindingFactor::new(rng), ..payment.secrets[1] };
    let surjection = prove_surjection(rng, &blinded, &payment.incoming).unwrap();
    let other = payment.with(|tx| {
        tx.output[1].asset = Asset::new_confidential(SECP256K1, blinded.asset, blinded.asset_bf);
        tx.output[1].witness.surjection_proof = surjection;
    });
    start.assert_refused(&other, &TxError::RangeProof { vout: 1 });
}

#[test]
fn the_range_proof_of_another_output() {
    let mut start = Start::new(12);
    let payment = start.payment();
    let proof = payment.transaction.output[2].witness.rangeproof.clone();
    let copied = payment.with(|tx| tx.output[1].witness.rangeproof = proof);
    start.assert_refused(&copied, &TxError::RangeProof { vout: 1 });
}

/// Burns 200 gold under a proof of 64 bits.
fn burning_under_64_bits(start: &mut Start, script: Script) -> Payment {
    let (gold, pegged, bob) = (start.gold(), start.chain.pegged(), start.bob.script());
    let pays = [
        Pay { range: (0, 64), ..Pay::confidential(gold, 200, script) },
        Pay::confidential(gold, 300, bob.clone()),
        Pay::confidential(pegged, 999_000, bob),
    ];
    start.chain.pay(&[start.money.clone(), start.gold.clone()], &pays).unwrap()
}

#[test]
fn a_64_bit_range_proof() {
    // The rule, which is that of Elements: a proof of 64 bits is as good as any other. Its range begins at 0 and ends at
    // 2^64 - 1, where a library that computes the end plus one overflows: so it must neither panic nor be taken unseen.
    let mut start = Start::new(13);
    let burning = burning_under_64_bits(&mut start, burn());
    start.assert_accepted(&burning.transaction);

    let wrong = TxError::RangeProof { vout: 0 };
    let script = burning.with(|tx| tx.output[0].script_pubkey = Script::from(vec![0x6a, 0x51]));
    start.assert_refused(&script, &wrong);
    let proof = burning.transaction.output[0].witness.rangeproof.as_bytes().to_vec();
    for position in [2, 10, proof.len() / 2, proof.len() - 1] {
        let mut bytes = proof.clone();
        bytes[position] ^= 1;
        let changed = burning.with(|tx| tx.output[0].witness.rangeproof = bytes.into());
        start.assert_refused(&changed, &wrong);
    }
    let cut = RangeProof::from(proof[..proof.len() - 32].to_vec());
    start.assert_refused(&burning.with(|tx| tx.output[0].witness.rangeproof = cut), &wrong);

    // A range that begins at 0 will not do for an output that can be spent, however many bits it has.
    let bob = start.bob.script();
    let spendable = burning_under_64_bits(&mut start, bob);
    start.assert_refused(&spendable.transaction, &TxError::RangeMinimum { vout: 0 });
}

#[test]
fn a_64_bit_range_proof_of_an_issuance() {
    let mut start = Start::new(14);
    let (pegged, bob) = (start.chain.pegged(), start.bob.script());
    let issue = Issue { bits: 64, ..Issue::new([8; 32], 70, 1, Shape::Confidential) };
    let (asset, token) = issue.assets(&start.money).unwrap();
    let pays = [
        Pay::confidential(asset, 70, bob.clone()),
        Pay::confidential(token, 1, bob.clone()),
        Pay::confidential(pegged, 999_000, bob),
    ];
    let issuing = start.chain.issue(&[start.money.clone()], &issue, &pays).unwrap();
    start.assert_accepted(&issuing.transaction);
    let exchanged = issuing.with(|tx| {
        let witness = &mut tx.input[0].witness;
        std::mem::swap(&mut witness.amount_rangeproof, &mut witness.inflation_keys_rangeproof);
    });
    start.assert_refused(&exchanged, &TxError::IssuanceRangeProof { vin: 0, leg: IssuanceLeg::Asset });
}

#[test]
fn a_missing_range_proof() {
    let mut start = Start::new(15);
    let missing = start.payment().with(|tx| tx.output[1].witness.rangeproof = RangeProof::EMPTY);
    start.assert_refused(&missing, &TxError::MissingRangeProof { vout: 1 });
}

#[test]
fn a_superfluous_range_proof() {
    let mut start = Start::new(16);
    let payment = start.payment();
    for vout in [3, 4] {
        let proof = payment.transaction.output[0].witness.rangeproof.clone();
        let superfluous = payment.with(|tx| tx.output[vout].witness.rangeproof = proof);
        start.assert_refused(&superfluous, &TxError::SuperfluousRangeProof { vout });
    }
}

#[test]
fn a_missing_surjection_proof() {
    let mut start = Start::new(17);
    let missing = start.payment().with(|tx| tx.output[2].witness.surjection_proof = SurjectionProof::EMPTY);
    start.assert_refused(&missing, &TxError::MissingSurjectionProof { vout: 2 });
}

#[test]
fn a_superfluous_surjection_proof() {
    let mut start = Start::new(18);
    let payment = start.payment();
    for vout in [3, 4] {
        let proof = payment.transaction.output[0].witness.surjection_proof.clone();
        let superfluous = payment.with(|tx| tx.output[vout].witness.surjection_proof = proof);
        start.assert_refused(&superfluous, &TxError::SuperfluousSurjectionProof { vout });
    }
}

#[test]
fn missing_and_superfluous_proofs_of_issuances() {
    let mut start = Start::new(19);
    let payment = start.payment();
    let proof = payment.transaction.output[0].witness.rangeproof.clone();
    let superfluous = payment.with(|tx| tx.input[1].witness.amount_rangeproof = proof.clone());
    start.assert_not_signed(&superfluous, &TxError::SuperfluousIssuanceProof { vin: 1, leg: IssuanceLeg::Asset });
    let superfluous = payment.with(|tx| tx.input[0].witness.inflation_keys_rangeproof = proof);
    start.assert_not_signed(&superfluous, &TxError::SuperfluousIssuanceProof { vin: 0, leg: IssuanceLeg::Token });

    let (pegged, bob) = (start.chain.pegged(), start.bob.script());
    let issue = Issue::new([8; 32], 70, 1, Shape::Confidential);
    let (asset, token) = issue.assets(&start.money).unwrap();
    let pays = [
        Pay::confidential(asset, 70, bob.clone()),
        Pay::confidential(token, 1, bob.clone()),
        Pay::confidential(pegged, 999_000, bob),
    ];
    let issuing = start.chain.issue(&[start.money.clone()], &issue, &pays).unwrap();
    start.assert_accepted(&issuing.transaction);
    let missing = issuing.with(|tx| tx.input[0].witness.amount_rangeproof = RangeProof::EMPTY);
    start.assert_refused(&missing, &TxError::MissingIssuanceProof { vin: 0, leg: IssuanceLeg::Asset });
    let missing = issuing.with(|tx| tx.input[0].witness.inflation_keys_rangeproof = RangeProof::EMPTY);
    start.assert_refused(&missing, &TxError::MissingIssuanceProof { vin: 0, leg: IssuanceLeg::Token });
}

#[test]
fn a_superfluous_pegin_witness() {
    let mut start = Start::new(20);
    let payment = start.payment();
    let deposit = start.chain.deposit(start.alice, 10_000).unwrap();
    let witness = deposit.witness(&start.chain.judge.params, 10_000).unwrap();
    let superfluous = payment.with(|tx| tx.input[1].witness.pegin_witness = witness);
    start.assert_not_signed(&superfluous, &TxError::SuperfluousPeginWitness { vin: 1 });
}

#[test]
fn surjection_targets_of_the_wrong_number() {
    let mut start = Start::new(21);
    let payment = start.payment();
    let proved = |targets: &[TxOutSecrets], start: &mut Start| {
        let proof = prove_surjection(&mut start.chain.rng, &payment.secrets[1], targets).unwrap();
        payment.with(|tx| tx.output[1].witness.surjection_proof = proof)
    };
    let incoming = payment.incoming.clone();
    let right = proved(&incoming, &mut start);
    start.assert_accepted(&right);
    for targets in [incoming[1..].to_vec(), [incoming.clone(), incoming[1..].to_vec()].concat()] {
        let wrong = proved(&targets, &mut start);
        let source = InvalidSurjectionProof::TargetCount { expected: 2, found: targets.len() };
        start.assert_refused(&wrong, &TxError::SurjectionProof { vout: 1, source });
    }
    // As many, in another order.
    let turned = proved(&[incoming[1], incoming[0]], &mut start);
    let source = InvalidSurjectionProof::Invalid;
    start.assert_refused(&turned, &TxError::SurjectionProof { vout: 1, source });
}
