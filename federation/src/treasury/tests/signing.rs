//! Signatures under a batch, judged as Bitcoin judges them.

use aquifer_assets::chain::Multisig;
use bitcoin::{
    EcdsaSighashType,
    secp256k1::{Message, SECP256K1},
    sighash::SighashCache,
};

use super::*;
use crate::roster::MemberIndex;

type Signatures = BTreeMap<MemberIndex, Vec<Vec<u8>>>;

struct Signed {
    fixture: Fixture,
    plan: BatchPlan,
    coins: Vec<TreasuryCoin>,
    signatures: Signatures,
}

/// A batch that spends one coin of each kind, signed by everybody.
fn signed() -> Signed {
    let fixture = Fixture::new();
    let coins = vec![fixture.deposit(1, BTC, 0), fixture.deposit(2, BTC, 1), fixture.change(3, BTC)];
    let pending = [request(1, 2 * BTC), request(2, 50_000_000)];
    let plan = plan_batch(&fixture.params, &coins, &pending, RATE).unwrap();
    assert_eq!(plan.inputs.len(), 3);
    let sign = |seed: &MemberSeed| sign_batch(&seed.keys().peg, &plan.transaction, &coins).unwrap();
    let signatures = (0..).map(MemberIndex).zip(fixture.seeds.iter().map(sign)).collect();
    Signed { fixture, plan, coins, signatures }
}

/// Runs what Bitcoin runs for these inputs: script hashes, BIP 143, and `OP_CHECKMULTISIG` with its order of keys.
fn judge(transaction: &Transaction, coins: &[TreasuryCoin]) {
    let mut cache = SighashCache::new(transaction);
    for (i, (input, coin)) in transaction.input.iter().zip(coins).enumerate() {
        let stack: Vec<&[u8]> = input.witness.iter().collect();
        let (script, items) = stack.split_last().unwrap();
        let script = ScriptBuf::from_bytes(script.to_vec());
        let program = script.to_p2wsh();
        if coin.script_pubkey.is_p2sh() {
            let push = [&[34][..], program.as_bytes()].concat();
            assert_eq!(input.script_sig.as_bytes(), push);
            assert_eq!(program.to_p2sh(), coin.script_pubkey);
        } else {
            assert!(input.script_sig.is_empty());
            assert_eq!(program, coin.script_pubkey);
        }
        let Multisig { threshold, keys } = Multisig::parse(&Script::from(script.to_bytes())).unwrap();
        assert!(items[0].is_empty());
        assert_eq!(items.len(), threshold + 1);
        let amount = Amount::from_sat(coin.amount_sat);
        let mut keys = keys.iter();
        for item in &items[1..] {
            let signature = bitcoin::ecdsa::Signature::from_slice(item).unwrap();
            assert_eq!(signature.sighash_type, EcdsaSighashType::All);
            let hash = cache.p2wsh_signature_hash(i, &script, amount, signature.sighash_type).unwrap();
            let message = Message::from_digest(hash.to_byte_array());
            assert!(keys.any(|key| SECP256K1.verify_ecdsa(&message, &signature.signature, key).is_ok()), "input {i}");
        }
    }
}

#[test]
fn any_three_of_four_spend_every_kind_of_coin() {
    let signed = signed();
    let weight_limit = signed.plan.fee_sat * 4_000 / RATE;
    for missing in 0..4 {
        let mut some = signed.signatures.clone();
        some.remove(&MemberIndex(missing));
        let transaction =
            finalize_batch(&signed.fixture.params, &signed.plan.transaction, &signed.coins, &some).unwrap();
        judge(&transaction, &signed.coins);
        assert_eq!(transaction.compute_txid(), signed.plan.transaction.compute_txid(), "signing changes no txid");
        assert!(transaction.weight().to_wu() <= weight_limit, "the fee was measured for no less");
    }
    let all = finalize_batch(&signed.fixture.params, &signed.plan.transaction, &signed.coins, &signed.signatures);
    judge(&all.unwrap(), &signed.coins);
}

#[test]
fn fewer_than_three_do_not() {
    let signed = signed();
    let mut two = signed.signatures.clone();
    two.retain(|member, _| member.0 < 2);
    assert_eq!(finalize_batch(&signed.fixture.params, &signed.plan.transaction, &signed.coins, &two), None);
}

#[test]
fn a_wrong_signature_is_named_and_passed_over() {
    let signed = signed();
    let Signed { fixture, plan, coins, .. } = &signed;
    let key = fixture.seeds[0].keys().peg_public();
    let check = |signatures: &[Vec<u8>]| verify_batch_signatures(&key, &plan.transaction, coins, signatures);
    let good = &signed.signatures[&MemberIndex(0)];
    assert_eq!(check(good), Ok(()));
    let with = |change: &dyn Fn(&mut Vec<Vec<u8>>)| {
        let mut signatures = good.clone();
        change(&mut signatures);
        check(&signatures)
    };
    assert_eq!(with(&|s| s[1][20] ^= 1), Err(SigningError::BadSignature(1)));
    assert_eq!(with(&|s| s[2].clear()), Err(SigningError::BadSignature(2)));
    assert_eq!(with(&|s| *s[0].last_mut().unwrap() = 0x83), Err(SigningError::BadSignature(0)));
    assert_eq!(with(&|s| s.swap(0, 1)), Err(SigningError::BadSignature(0)));
    assert_eq!(with(&|s| _ = s.pop()), Err(SigningError::Count { inputs: 3, found: 2 }));
    assert_eq!(check(&signed.signatures[&MemberIndex(1)]), Err(SigningError::BadSignature(0)));

    let mut with_liar = signed.signatures.clone();
    with_liar.get_mut(&MemberIndex(1)).unwrap()[2][20] ^= 1;
    let transaction = finalize_batch(&fixture.params, &plan.transaction, coins, &with_liar).unwrap();
    judge(&transaction, coins);
    with_liar.remove(&MemberIndex(3));
    assert_eq!(finalize_batch(&fixture.params, &plan.transaction, coins, &with_liar), None);
    // Somebody else's signatures under a member's name.
    let mut impostor = signed.signatures.clone();
    impostor.insert(MemberIndex(0), impostor[&MemberIndex(3)].clone());
    impostor.remove(&MemberIndex(2));
    assert_eq!(finalize_batch(&fixture.params, &plan.transaction, coins, &impostor), None);
}

/// ECDSA signatures come in pairs; Bitcoin relays only the one with the low S.
#[test]
fn a_high_s_is_refused() {
    let signed = signed();
    let Signed { fixture, plan, coins, signatures } = &signed;
    let mut signatures = signatures[&MemberIndex(0)].clone();
    let mut compact = bitcoin::ecdsa::Signature::from_slice(&signatures[0]).unwrap().signature.serialize_compact();
    let negative = bitcoin::secp256k1::SecretKey::from_slice(&compact[32..]).unwrap().negate();
    compact[32..].copy_from_slice(&negative.secret_bytes());
    let high = bitcoin::secp256k1::ecdsa::Signature::from_compact(&compact).unwrap();
    signatures[0] = [high.serialize_der().as_ref(), &[1]].concat();
    let key = fixture.seeds[0].keys().peg_public();
    let error = verify_batch_signatures(&key, &plan.transaction, coins, &signatures).unwrap_err();
    assert_eq!(error, SigningError::BadSignature(0));
}

#[test]
fn only_our_coins_are_signed() {
    let signed = signed();
    let Signed { fixture, plan, coins, .. } = &signed;
    let peg = fixture.seeds[0].keys().peg;
    assert_eq!(sign_batch(&peg, &plan.transaction, &coins[..2]), Err(SigningError::Count { inputs: 3, found: 2 }));
    let swapped = [coins[1].clone(), coins[0].clone(), coins[2].clone()];
    let wrong = SigningError::WrongCoin { input: 0, spent: outpoint(1), coin: outpoint(2) };
    assert_eq!(sign_batch(&peg, &plan.transaction, &swapped), Err(wrong));
    let mut foreign = coins.clone();
    foreign[1].claim_script = Some(Script::from(vec![0x51]));
    assert_eq!(sign_batch(&peg, &plan.transaction, &foreign), Err(SigningError::NotOurKey(outpoint(2))));
    let stranger = fixture.seeds[0].keys().block;
    assert_eq!(sign_batch(&stranger, &plan.transaction, coins), Err(SigningError::NotOurKey(outpoint(1))));
}

/// The amount of a coin is part of what is signed: a member that is told a wrong one signs nothing of use.
#[test]
fn amounts_are_signed() {
    let signed = signed();
    let Signed { fixture, plan, coins, .. } = &signed;
    let mut wrong = coins.clone();
    wrong[0].amount_sat += 1;
    let signatures = sign_batch(&fixture.seeds[0].keys().peg, &plan.transaction, &wrong).unwrap();
    let key = fixture.seeds[0].keys().peg_public();
    let error = verify_batch_signatures(&key, &plan.transaction, coins, &signatures).unwrap_err();
    assert_eq!(error, SigningError::BadSignature(0));
}

#[test]
fn a_claimed_deposit_becomes_a_coin() {
    use aquifer_assets::state::PeginClaim;
    let fixture = Fixture::new();
    for epoch in [0, 1] {
        let coin = fixture.deposit(1, BTC, epoch);
        let claim = PeginClaim {
            deposit: coin.outpoint,
            amount_sat: BTC,
            claim_script: coin.claim_script.clone().unwrap(),
            parent_block: bitcoin::BlockHash::all_zeros(),
            witness_script: coin.witness_script.clone(),
            deposit_script: coin.script_pubkey.clone(),
            claim_txid: elements::Txid::from_byte_array([0; 32]),
        };
        assert_eq!(coin.redeem.is_some(), epoch == 0);
        assert_eq!(TreasuryCoin::from_deposit(&claim), coin);
    }
}
