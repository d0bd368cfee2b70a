//! Transactions refused for their amounts, issuances and proofs: the ways to make money from nothing.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use elements::confidential::{Asset, AssetBlindingFactor, Value, ValueBlindingFactor};
use elements::issuance::AssetBlindingNonce;
use elements::{AssetEntropy, AssetId, Script, TxOutSecrets};
use secp256k1_zkp::{Parity, SECP256K1, Tweak};

use super::testing::{Blinding, Issue, Ledger, Lock, Owned, Pay, commitment, prove_range, prove_surjection, sign};
use super::*;
use crate::primitives::{Inexpressible, Nonce, RangeProof, SurjectionProof, TxOutWitness};
use crate::proof::InvalidSurjectionProof;

const GOLD: AssetId = AssetId::from_byte_array([0x60; 32]);

/// A valid confidential payment: two inputs of two assets, three outputs.
fn payment() -> (Ledger, Vec<Owned>, Transaction) {
    let mut ledger = Ledger::new(200);
    let pegged = ledger.pegged();
    let coins = vec![
        ledger.coin(pegged, 10_000, Lock::P2wpkh, Blinding::Both),
        ledger.coin(GOLD, 500, Lock::P2wpkh, Blinding::Both),
    ];
    let script = Lock::P2wpkh.script();
    let pays = [
        Pay::new(pegged, 9_000, script.clone(), Blinding::Both),
        Pay::new(GOLD, 200, script.clone(), Blinding::Both),
        Pay::new(GOLD, 300, script, Blinding::Both),
    ];
    let transaction = ledger.transaction(&coins, &pays, 1_000);
    ledger.verify(&transaction).unwrap();
    (ledger, coins, transaction)
}

fn refused(change: impl FnOnce(&mut Transaction, &mut Ledger)) -> TxError {
    let (mut ledger, coins, mut transaction) = payment();
    change(&mut transaction, &mut ledger);
    sign(&ledger.params, &mut transaction, &coins);
    ledger.verify(&transaction).unwrap_err()
}

fn invalid_surjection(vout: usize) -> TxError {
    TxError::SurjectionProof { vout, source: InvalidSurjectionProof::Invalid }
}

#[test]
fn value_made_from_nothing() {
    let mut ledger = Ledger::new(201);
    let pegged = ledger.pegged();
    for blinding in [Blinding::Explicit, Blinding::Both] {
        let coin = ledger.coin(pegged, 10_000, Lock::P2wpkh, blinding);
        let pays = [Pay::new(pegged, 9_001, Lock::P2wpkh.script(), blinding)];
        let transaction = ledger.transaction(&[coin], &pays, 1_000);
        assert_eq!(ledger.verify(&transaction), Err(TxError::Unbalanced));
    }
    // One asset turned into another.
    let coin = ledger.coin(GOLD, 10_000, Lock::P2wpkh, Blinding::Value);
    let pays = [Pay::new(pegged, 9_000, Lock::P2wpkh.script(), Blinding::Value)];
    let transaction = ledger.transaction(&[coin], &pays, 1_000);
    assert_eq!(ledger.verify(&transaction), Err(TxError::Unbalanced));
}

#[test]
fn negative_amounts_have_no_range_proof() {
    // Two outputs of +v and -v: together they weigh nothing, and whoever makes them can spend the first.
    let mut ledger = Ledger::new(206);
    let pegged = ledger.pegged();
    let coin = ledger.coin(pegged, 10_000, Lock::P2wpkh, Blinding::Explicit);
    let pays = [Pay::new(pegged, 9_000, Lock::P2wpkh.script(), Blinding::Explicit)];
    let mut transaction = ledger.transaction(std::slice::from_ref(&coin), &pays, 1_000);
    let blinding = ValueBlindingFactor::new(&mut ledger.rng);
    let made = TxOutSecrets::new(pegged, AssetBlindingFactor::zero(), 1 << 40, blinding);
    let mut positive = transaction.output[0].clone();
    positive.value = Value::Confidential(commitment(&made));
    positive.witness.rangeproof = prove_range(&mut ledger.rng, &made, &positive.script_pubkey, (1, 41));
    // The first byte of a commitment tells a point from its negative.
    let mut bytes = commitment(&made).serialize();
    bytes[0] ^= 1;
    let negative = TxOut { value: Value::from_commitment(&bytes).unwrap(), ..positive.clone() };
    transaction.output.extend([positive, negative]);
    sign(&ledger.params, &mut transaction, &[coin]);
    assert_eq!(ledger.verify(&transaction), Err(TxError::RangeProof { vout: 3 }));
}

#[test]
fn range_proofs_are_bound_to_script_and_generator() {
    let other_script = refused(|tx, _| tx.output[1].script_pubkey = Lock::Taproot.script());
    assert_eq!(other_script, TxError::RangeProof { vout: 1 });

    // Another commitment to the same asset: the surjection proof is right, the balance does not see it.
    let (mut ledger, coins, mut transaction) = payment();
    let blinding = AssetBlindingFactor::new(&mut ledger.rng);
    let targets: Vec<_> = coins.iter().map(|coin| coin.secrets.surjection_inputs(SECP256K1)).collect();
    transaction.output[1].witness.surjection_proof = prove_surjection(&mut ledger.rng, GOLD, blinding, &targets);
    transaction.output[1].asset = Asset::new_confidential(SECP256K1, GOLD, blinding);
    sign(&ledger.params, &mut transaction, &coins);
    assert_eq!(ledger.verify(&transaction), Err(TxError::RangeProof { vout: 1 }));

    // The proofs of two outputs exchanged.
    let exchanged = refused(|tx, _| {
        let proof = tx.output[1].witness.rangeproof.clone();
        tx.output[1].witness.rangeproof = std::mem::replace(&mut tx.output[2].witness.rangeproof, proof);
    });
    assert_eq!(exchanged, TxError::RangeProof { vout: 1 });
}

#[test]
fn the_same_bytes_cut_elsewhere_prove_nothing() {
    // September 2026: proof, commitment, generator and script of one valid output, joined, and cut at other places. Here the
    // script takes over the end of the proof, or gives bytes to it, in an output that anybody may make.
    let (ledger, coins, valid) = payment();
    let proof = valid.output[1].witness.rangeproof.as_bytes().to_vec();
    let script = valid.output[1].script_pubkey.to_bytes();
    for cut in 1..=64 {
        let (kept, moved) = proof.split_at(proof.len() - cut);
        let mut shorter = valid.clone();
        // Elements' key was proof, commitment, asset, script: what leaves one end must come in at the other.
        shorter.output[1].witness.rangeproof = kept.to_vec().into();
        shorter.output[1].script_pubkey = Script::from([moved, &script].concat());
        sign(&ledger.params, &mut shorter, &coins);
        assert_eq!(ledger.verify(&shorter), Err(TxError::RangeProof { vout: 1 }), "cut {cut}");
        let mut longer = valid.clone();
        let taken = cut.min(script.len());
        longer.output[1].witness.rangeproof = [proof.as_slice(), &script[..taken]].concat().into();
        longer.output[1].script_pubkey = Script::from(script[taken..].to_vec());
        sign(&ledger.params, &mut longer, &coins);
        let error = ledger.verify(&longer).unwrap_err();
        assert_eq!(error, TxError::RangeProof { vout: 1 }, "longer by {taken}");
    }
}

#[test]
fn spendable_outputs_of_nothing() {
    let mut ledger = Ledger::new(202);
    let pegged = ledger.pegged();
    let coin = ledger.coin(pegged, 10_000, Lock::P2wpkh, Blinding::Both);
    let script = Lock::P2wpkh.script();
    for value in [0, 100] {
        // The range allows nothing, whatever the amount really is.
        let pays = [
            Pay { range: (0, 36), ..Pay::new(pegged, value, script.clone(), Blinding::Both) },
            Pay::new(pegged, 9_000 - value, script.clone(), Blinding::Both),
        ];
        let transaction = ledger.transaction(std::slice::from_ref(&coin), &pays, 1_000);
        assert_eq!(ledger.verify(&transaction), Err(TxError::RangeMinimum { vout: 0 }));
    }
    // A 64-bit proof can only start at 0.
    let pays = [Pay { range: (0, 64), ..Pay::new(pegged, 9_000, script, Blinding::Both) }];
    let transaction = ledger.transaction(&[coin], &pays, 1_000);
    assert_eq!(ledger.verify(&transaction), Err(TxError::RangeMinimum { vout: 0 }));
}

#[test]
fn missing_and_superfluous_proofs() {
    let missing = refused(|tx, _| tx.output[0].witness.rangeproof = RangeProof::EMPTY);
    assert_eq!(missing, TxError::MissingRangeProof { vout: 0 });
    let missing = refused(|tx, _| tx.output[2].witness.surjection_proof = SurjectionProof::EMPTY);
    assert_eq!(missing, TxError::MissingSurjectionProof { vout: 2 });
    let superfluous = refused(|tx, _| tx.output[3].witness.rangeproof = tx.output[0].witness.rangeproof.clone());
    assert_eq!(superfluous, TxError::SuperfluousRangeProof { vout: 3 });
    let superfluous =
        refused(|tx, _| tx.output[3].witness.surjection_proof = tx.output[0].witness.surjection_proof.clone());
    assert_eq!(superfluous, TxError::SuperfluousSurjectionProof { vout: 3 });
}

#[test]
fn an_explicit_issuance_has_no_proof_and_its_transaction_a_witness() {
    let issue = |tx: &mut Transaction| tx.input[0].asset_issuance.amount = Value::Explicit(5);
    let superfluous = refused(|tx, _| {
        issue(tx);
        tx.input[0].witness.amount_rangeproof = tx.output[0].witness.rangeproof.clone();
    });
    assert_eq!(superfluous, TxError::SuperfluousIssuanceProof { vin: 0, leg: IssuanceLeg::Asset });
    let (ledger, _, mut transaction) = payment();
    issue(&mut transaction);
    transaction.input.iter_mut().for_each(|input| input.witness = crate::primitives::TxInWitness::default());
    transaction.output.iter_mut().for_each(|output| output.witness = TxOutWitness::default());
    assert_eq!(ledger.verify(&transaction), Err(TxError::IssuanceWithoutWitness { vin: 0 }));
    // Any witness will do.
    transaction.input[1].witness.script_witness.push([1]);
    assert_ne!(ledger.verify(&transaction), Err(TxError::IssuanceWithoutWitness { vin: 0 }));
}

#[test]
fn proofs_of_issuances_that_are_not_there_are_not_signed() {
    for (vin, leg) in [(1, IssuanceLeg::Asset), (0, IssuanceLeg::Token)] {
        let (ledger, coins, mut transaction) = payment();
        let proof = transaction.output[0].witness.rangeproof.clone();
        match leg {
            IssuanceLeg::Asset => transaction.input[vin].witness.amount_rangeproof = proof,
            IssuanceLeg::Token => transaction.input[vin].witness.inflation_keys_rangeproof = proof,
        }
        sign(&ledger.params, &mut transaction, &coins);
        let policy = check_federation_policy(&ledger.params, &transaction);
        assert_eq!(policy, Err(TxError::SuperfluousIssuanceProof { vin, leg }));
        ledger.verify(&transaction).unwrap();
    }
}

/// A changed payment over the wire, signed anew: the verdict of the chain and that of the members.
fn over_the_wire(change: impl FnOnce(&mut Transaction)) -> (Result<(), TxError>, Result<(), TxError>) {
    let (ledger, coins, mut transaction) = payment();
    change(&mut transaction);
    sign(&ledger.params, &mut transaction, &coins);
    let read = decode(elements::encode::serialize(&transaction)).unwrap();
    assert_eq!(read, transaction);
    (ledger.verify(&read).map(drop), check_federation_policy(&ledger.params, &read))
}

#[test]
fn no_rule_looks_at_nonces() {
    // No point has this x coordinate.
    let mut x = [0; 32];
    x[31] = 5;
    let (chain, members) = over_the_wire(|tx| tx.output[1].nonce = Nonce::Confidential(Parity::Odd, x));
    assert_eq!(chain, Ok(()));
    assert_eq!(members, Err(TxError::Unreadable(Inexpressible::Nonce { vout: 1 })));
    assert_eq!(members.unwrap_err().name(), "unreadable");
    for nonce in [Nonce::Null, Nonce::Explicit([0xff; 32])] {
        assert_eq!(over_the_wire(|tx| tx.output[1].nonce = nonce), (Ok(()), Ok(())));
    }
}

#[test]
fn no_rule_looks_at_proofs_of_amounts_that_are_not_there() {
    let bytes = || RangeProof::from(vec![0xee; 3]);
    let (chain, members) = over_the_wire(|tx| tx.input[1].witness.amount_rangeproof = bytes());
    assert_eq!(chain, Ok(()));
    assert_eq!(members, Err(TxError::SuperfluousIssuanceProof { vin: 1, leg: IssuanceLeg::Asset }));
    let (chain, members) = over_the_wire(|tx| tx.input[0].witness.inflation_keys_rangeproof = bytes());
    assert_eq!(chain, Ok(()));
    assert_eq!(members, Err(TxError::SuperfluousIssuanceProof { vin: 0, leg: IssuanceLeg::Token }));
}

#[test]
fn bytes_that_are_no_proofs_prove_nothing() {
    // Empty but for a header, cut off, longer than any proof.
    for bytes in [vec![0], vec![0xee; 64], vec![0; 6_000]] {
        let (chain, _) = over_the_wire(|tx| tx.output[2].witness.rangeproof = bytes.clone().into());
        assert_eq!(chain, Err(TxError::RangeProof { vout: 2 }));
        let (chain, _) = over_the_wire(|tx| tx.output[2].witness.surjection_proof = bytes.clone().into());
        assert_eq!(chain, Err(invalid_surjection(2)));
        let (chain, _) = over_the_wire(|tx| tx.output[3].witness.rangeproof = bytes.clone().into());
        assert_eq!(chain, Err(TxError::SuperfluousRangeProof { vout: 3 }));
        let error = false_issuance(|_, _| bytes.into());
        assert_eq!(error, TxError::IssuanceRangeProof { vin: 0, leg: IssuanceLeg::Asset });
    }
}

#[test]
fn surjection_proofs() {
    let (mut ledger, coins, valid) = payment();
    let targets: Vec<_> = coins.iter().map(|coin| coin.secrets.surjection_inputs(SECP256K1)).collect();
    // A new output of nothing, which nobody can spend: neither balance nor range speak about it, only its asset does.
    let mut check = |asset: AssetId, targets: &[_]| {
        let blinding = AssetBlindingFactor::new(&mut ledger.rng);
        let mut transaction = valid.clone();
        transaction.output.push(TxOut {
            asset: Asset::new_confidential(SECP256K1, asset, blinding),
            value: Value::Explicit(0),
            nonce: Nonce::Null,
            script_pubkey: Script::from(vec![0x6a]),
            witness: TxOutWitness {
                surjection_proof: prove_surjection(&mut ledger.rng, asset, blinding, targets),
                ..TxOutWitness::default()
            },
        });
        sign(&ledger.params, &mut transaction, &coins);
        ledger.verify(&transaction).map(drop)
    };
    assert_eq!(check(GOLD, &targets), Ok(()));
    let count = |found| {
        let source = InvalidSurjectionProof::TargetCount { expected: 2, found };
        Err(TxError::SurjectionProof { vout: 4, source })
    };
    assert_eq!(check(GOLD, &targets[1..]), count(1));
    assert_eq!(check(GOLD, &[targets.clone(), targets.clone()].concat()), count(4));
    // Targets in another order, and an asset that does not go in.
    assert_eq!(check(GOLD, &[targets[1], targets[0]]), Err(invalid_surjection(4)));
    let silver = AssetId::from_byte_array([0x51; 32]);
    let mut foreign = TxOutSecrets { asset: silver, ..coins[1].secrets };
    foreign.asset_bf = AssetBlindingFactor::zero();
    assert_eq!(check(silver, &[targets[0], foreign.surjection_inputs(SECP256K1)]), Err(invalid_surjection(4)));
}

/// A transaction with a confidential issuance whose "amount" is really of the pegged asset.
fn false_issuance(prove: impl FnOnce(&mut Ledger, &TxOutSecrets) -> RangeProof) -> TxError {
    let mut ledger = Ledger::new(203);
    let pegged = ledger.pegged();
    let coin = ledger.coin(pegged, 1_000, Lock::P2wpkh, Blinding::Explicit);
    let blinding = ValueBlindingFactor::new(&mut ledger.rng);
    let made = TxOutSecrets::new(pegged, AssetBlindingFactor::zero(), 5_000_000, blinding);
    let pays = [Pay::new(pegged, 5_000_900, Lock::P2wpkh.script(), Blinding::Value)];
    let mut transaction = ledger.transaction(std::slice::from_ref(&coin), &pays, 100);
    transaction.output = ledger.outputs(&[coin.secrets, made], &pays, 100);
    transaction.input[0].asset_issuance.amount = Value::Confidential(commitment(&made));
    transaction.input[0].witness.amount_rangeproof = prove(&mut ledger, &made);
    sign(&ledger.params, &mut transaction, &[coin]);
    ledger.verify(&transaction).unwrap_err()
}

#[test]
fn an_issuance_cannot_make_the_pegged_asset() {
    let leg = IssuanceLeg::Asset;
    assert_eq!(false_issuance(|_, _| RangeProof::EMPTY), TxError::MissingIssuanceProof { vin: 0, leg });
    // A right proof, for the wrong generator.
    let proved = false_issuance(|ledger, made| prove_range(&mut ledger.rng, made, &Script::new(), (0, 36)));
    assert_eq!(proved, TxError::IssuanceRangeProof { vin: 0, leg });
}

fn refused_issue(issue: Issue, change: impl FnOnce(&mut Transaction)) -> TxError {
    let mut ledger = Ledger::new(204);
    let pegged = ledger.pegged();
    let coin = ledger.coin(pegged, 1_000, Lock::P2wpkh, Blinding::Both);
    let pays = [Pay::new(pegged, 900, Lock::P2wpkh.script(), Blinding::Both)];
    let mut transaction = ledger.issuing_transaction(std::slice::from_ref(&coin), &[issue], &pays, 100);
    change(&mut transaction);
    sign(&ledger.params, &mut transaction, &[coin]);
    ledger.verify(&transaction).unwrap_err()
}

#[test]
fn amounts_of_issuances() {
    let issue = Issue { nonce: [0; 32], entropy: [1; 32], amount: 5, tokens: 1, blinded: false };
    // Issued and paid to nobody.
    assert_eq!(refused_issue(issue, |_| {}), TxError::Unbalanced);
    for amount in [0, 1 << 63, u64::MAX] {
        let error = refused_issue(issue, |tx| tx.input[0].asset_issuance.amount = Value::Explicit(amount));
        assert_eq!(error, TxError::IssuanceAmount { vin: 0, leg: IssuanceLeg::Asset, amount });
        let error = refused_issue(issue, |tx| tx.input[0].asset_issuance.inflation_keys = Value::Explicit(amount));
        assert_eq!(error, TxError::IssuanceAmount { vin: 0, leg: IssuanceLeg::Token, amount });
    }
    let blinded = Issue { blinded: true, ..issue };
    let error = refused_issue(blinded, |tx| tx.input[0].witness.inflation_keys_rangeproof = RangeProof::EMPTY);
    assert_eq!(error, TxError::MissingIssuanceProof { vin: 0, leg: IssuanceLeg::Token });
    let error = refused_issue(issue, |tx| {
        tx.input[0].asset_issuance.asset_blinding_nonce = AssetBlindingNonce::from_byte_array([1; 32]);
    });
    assert_eq!(error, TxError::ReissuanceWithTokens { vin: 0 });
}

#[test]
fn reissuance_needs_the_blinded_token() {
    let mut ledger = Ledger::new(205);
    let pegged = ledger.pegged();
    let entropy = AssetEntropy::from_byte_array([7; 32]);
    let asset = AssetId::from_entropy(entropy);
    let token = AssetId::reissuance_token_from_entropy(entropy, false);
    let blinded_token = AssetId::reissuance_token_from_entropy(entropy, true);
    let money = ledger.coin(pegged, 1_000, Lock::P2wpkh, Blinding::Explicit);
    let mut reissue = |spent: AssetId, blinding: Blinding, nonce: Option<[u8; 32]>, blinded: bool| {
        let coin = ledger.coin(spent, 1, Lock::P2wpkh, blinding);
        let nonce = nonce.unwrap_or(*coin.secrets.asset_bf.into_inner().as_ref());
        let issue = Issue { nonce, entropy: entropy.to_byte_array(), amount: 50, tokens: 0, blinded };
        let pays = [
            Pay::new(asset, 50, Lock::P2wpkh.script(), Blinding::Both),
            Pay::new(spent, 1, Lock::P2wpkh.script(), Blinding::Both),
        ];
        let transaction = ledger.issuing_transaction(&[coin, money.clone()], &[issue], &pays, 1_000);
        ledger.verify(&transaction).map(drop)
    };
    assert_eq!(reissue(token, Blinding::Both, None, false), Ok(()));
    assert_eq!(reissue(blinded_token, Blinding::Both, None, true), Ok(()));
    let without = |token| Err(TxError::ReissuanceWithoutToken { vin: 0, asset, token });
    // Some other coin; the asset itself; the token of the other kind of issuance; the token under another blinding.
    assert_eq!(reissue(GOLD, Blinding::Both, None, false), without(token));
    assert_eq!(reissue(asset, Blinding::Both, None, false), without(token));
    assert_eq!(reissue(blinded_token, Blinding::Both, None, false), without(token));
    assert_eq!(reissue(token, Blinding::Both, None, true), without(blinded_token));
    assert_eq!(reissue(token, Blinding::Both, Some([1; 32]), false), without(token));
    let unblinded = TxError::ReissuanceTokenNotBlinded { vin: 0, asset };
    assert_eq!(reissue(token, Blinding::Explicit, Some([1; 32]), false), Err(unblinded));
    let nonce = reissue(token, Blinding::Both, Some([0xff; 32]), false);
    assert_eq!(nonce, Err(TxError::ReissuanceNonce { vin: 0 }));
    assert!(Tweak::from_slice(&[0xff; 32]).is_err());
}

#[test]
fn members_sign_pegouts_of_the_pegged_asset_that_can_be_read() {
    let (mut ledger, _, _) = payment();
    let pegged = ledger.pegged();
    let destination = bitcoin::ScriptBuf::from_bytes([vec![0x00, 0x14], vec![9; 20]].concat());
    let here = crate::peg::pegout_script(&ledger.params.parent_genesis(), &destination);
    let mut pegout = |asset: AssetId, blinding: Blinding, script: &Script| {
        let coins = [
            ledger.coin(asset, 500, Lock::P2wpkh, Blinding::Both),
            ledger.coin(pegged, 2_000, Lock::P2wpkh, Blinding::Both),
        ];
        let pays = [
            Pay::new(asset, 500, script.clone(), blinding),
            Pay::new(pegged, 1_000, Lock::P2wpkh.script(), Blinding::Both),
        ];
        let transaction = ledger.transaction(&coins, &pays, 1_000);
        let effects = ledger.verify(&transaction).unwrap();
        check_federation_policy(&ledger.params, &transaction).map(|()| (effects.pegouts.len(), effects.burned.len()))
    };
    assert_eq!(pegout(pegged, Blinding::Explicit, &here), Ok((1, 0)));
    let wrong = TxError::PegoutOfWrongAsset { vout: 0, asset: GOLD };
    assert_eq!(pegout(GOLD, Blinding::Explicit, &here), Err(wrong));
    for blinding in [Blinding::Value, Blinding::Asset, Blinding::Both] {
        assert_eq!(pegout(pegged, blinding, &here), Err(TxError::BlindedPegout { vout: 0 }));
    }
    // To another parent chain it is a burn like any other.
    let foreign = bitcoin::constants::genesis_block(bitcoin::Network::Bitcoin).block_hash();
    let there = crate::peg::pegout_script(&foreign, &destination);
    assert_eq!(pegout(GOLD, Blinding::Explicit, &there), Ok((0, 1)));
}
