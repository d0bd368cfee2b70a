//! Signatures under a batch, judged as Bitcoin judges them.

use aquifer_assets::chain::Multisig;
use bitcoin::{
    EcdsaSighashType, TapSighashType, TxOut,
    secp256k1::{Message, SECP256K1, schnorr},
    sighash::{Prevouts, SighashCache},
};

use super::*;
use crate::roster::MemberIndex;

type Signatures = BTreeMap<MemberIndex, Vec<Vec<u8>>>;

struct Ready {
    fixture: Fixture,
    plan: BatchPlan,
    coins: Vec<TreasuryCoin>,
    signatures: Signatures,
}

/// A batch that spends one coin of each kind, signed by everybody.
fn signed() -> Ready {
    let fixture = Fixture::new();
    let coins =
        vec![fixture.deposit(1, BTC, 0), fixture.deposit(2, BTC, 1), fixture.change(3, BTC), fixture.rest(4, BTC)];
    let pending = [request(1, 3 * BTC), request(2, 50_000_000)];
    let plan = plan_batch(&fixture.treasury, &coins, &pending, RATE).unwrap();
    assert_eq!(plan.inputs.len(), 4);
    let sign = |seed: &MemberSeed| {
        sign_batch(&fixture.treasury, &seed.keys().peg, &plan.transaction, &coins, Signed::Everything).unwrap()
    };
    let signatures = (0..).map(MemberIndex).zip(fixture.seeds.iter().map(sign)).collect();
    Ready { fixture, plan, coins, signatures }
}

/// Runs what Bitcoin runs for these inputs: script hashes, BIP 143, `OP_CHECKMULTISIG` with its order of keys, and for the
/// treasury's output the script path of BIP 341 and 342.
fn judge(transaction: &Transaction, coins: &[TreasuryCoin]) {
    let spent: Vec<TxOut> = coins.iter().map(TreasuryCoin::txout).collect();
    let mut cache = SighashCache::new(transaction);
    for (i, (input, coin)) in transaction.input.iter().zip(coins).enumerate() {
        let stack: Vec<&[u8]> = input.witness.iter().collect();
        if coin.kind == CoinKind::Treasury {
            assert!(input.script_sig.is_empty());
            judge_script_spend(&mut cache, i, &stack, &spent);
            continue;
        }
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

/// The control block proves the script; the script is run as far as it goes: signatures by its keys, counted, compared.
fn judge_script_spend(cache: &mut SighashCache<&Transaction>, input: usize, stack: &[&[u8]], spent: &[TxOut]) {
    use bitcoin::{
        opcodes::all::{OP_CHECKSIG, OP_CHECKSIGADD, OP_NUMEQUAL},
        script::Instruction,
        taproot::{ControlBlock, LeafVersion},
    };
    let [items @ .., script, control] = stack else { unreachable!("a script spend has a script and a control block") };
    let control = ControlBlock::decode(control).unwrap();
    let script = bitcoin::Script::from_bytes(script);
    let key = bitcoin::XOnlyPublicKey::from_slice(&spent[input].script_pubkey.as_bytes()[2..]).unwrap();
    assert!(control.verify_taproot_commitment(SECP256K1, key, script));
    let leaf = bitcoin::TapLeafHash::from_script(script, LeafVersion::TapScript);
    let hash =
        cache.taproot_script_spend_signature_hash(input, &Prevouts::All(spent), leaf, TapSighashType::Default).unwrap();
    let message = Message::from_digest(hash.to_byte_array());
    let mut items = items.to_vec();
    let (mut key, mut count, mut needed, mut is_equal) = (None, 0, None, false);
    for instruction in script.instructions_minimal().map(Result::unwrap) {
        match instruction {
            Instruction::PushBytes(bytes) => key = Some(bitcoin::XOnlyPublicKey::from_slice(bytes.as_bytes()).unwrap()),
            Instruction::Op(OP_CHECKSIG | OP_CHECKSIGADD) => {
                let item = items.pop().unwrap();
                if !item.is_empty() {
                    let signature = schnorr::Signature::from_slice(item).unwrap();
                    SECP256K1.verify_schnorr(&signature, &message, &key.take().unwrap()).unwrap();
                    count += 1;
                }
            }
            Instruction::Op(OP_NUMEQUAL) => is_equal = needed == Some(count),
            Instruction::Op(number) => needed = Some(i32::from(number.to_u8()) - 0x50),
        }
    }
    assert!(is_equal && items.is_empty(), "{count} signatures, {needed:?} needed");
}

#[test]
fn any_three_of_four_spend_every_kind_of_coin() {
    let signed = signed();
    // The treasury's output is spent by script here, so the rate is lower than planned, but never below a satoshi per byte.
    let relay_fee_sat = signed.plan.relay_fee_sat;
    assert!(relay_fee_sat <= signed.plan.fee_sat);
    for missing in 0..4 {
        let mut some = signed.signatures.clone();
        some.remove(&MemberIndex(missing));
        let transaction =
            finalize_batch(&signed.fixture.treasury, &signed.plan.transaction, &signed.coins, &some, &BTreeMap::new())
                .unwrap();
        judge(&transaction, &signed.coins);
        assert_eq!(transaction.compute_txid(), signed.plan.transaction.compute_txid(), "signing changes no txid");
        assert!(transaction.weight().to_wu().div_ceil(4) <= relay_fee_sat, "it would not be relayed");
    }
    let all = finalize_batch(
        &signed.fixture.treasury,
        &signed.plan.transaction,
        &signed.coins,
        &signed.signatures,
        &BTreeMap::new(),
    );
    judge(&all.unwrap(), &signed.coins);
}

#[test]
fn fewer_than_three_do_not() {
    let signed = signed();
    let mut two = signed.signatures.clone();
    two.retain(|member, _| member.0 < 2);
    assert_eq!(
        finalize_batch(&signed.fixture.treasury, &signed.plan.transaction, &signed.coins, &two, &BTreeMap::new()),
        None
    );
}

#[test]
fn a_wrong_signature_is_named_and_passed_over() {
    let signed = signed();
    let Ready { fixture, plan, coins, .. } = &signed;
    let key = fixture.seeds[0].keys().peg_public();
    let check =
        |signatures: &[Vec<u8>]| verify_batch_signatures(&fixture.treasury, &key, &plan.transaction, coins, signatures);
    let good = &signed.signatures[&MemberIndex(0)];
    assert_eq!(check(good), Ok(()));
    let with = |change: &dyn Fn(&mut Vec<Vec<u8>>)| {
        let mut signatures = good.clone();
        change(&mut signatures);
        check(&signatures)
    };
    assert_eq!(with(&|s| s[1][20] ^= 1), Err(SigningError::BadSignature(1)));
    assert_eq!(with(&|s| s[2].truncate(63)), Err(SigningError::BadSignature(2)));
    assert_eq!(with(&|s| *s[0].last_mut().unwrap() = 0x83), Err(SigningError::BadSignature(0)));
    assert_eq!(with(&|s| s.swap(0, 1)), Err(SigningError::BadSignature(0)));
    assert_eq!(with(&|s| _ = s.pop()), Err(SigningError::Count { inputs: 4, found: 3 }));
    assert_eq!(check(&signed.signatures[&MemberIndex(1)]), Err(SigningError::BadSignature(0)));

    let mut with_liar = signed.signatures.clone();
    with_liar.get_mut(&MemberIndex(1)).unwrap()[2][20] ^= 1;
    let transaction =
        finalize_batch(&fixture.treasury, &plan.transaction, coins, &with_liar, &BTreeMap::new()).unwrap();
    judge(&transaction, coins);
    with_liar.remove(&MemberIndex(3));
    assert_eq!(finalize_batch(&fixture.treasury, &plan.transaction, coins, &with_liar, &BTreeMap::new()), None);
    // Somebody else's signatures under a member's name.
    let mut impostor = signed.signatures.clone();
    impostor.insert(MemberIndex(0), impostor[&MemberIndex(3)].clone());
    impostor.remove(&MemberIndex(2));
    assert_eq!(finalize_batch(&fixture.treasury, &plan.transaction, coins, &impostor, &BTreeMap::new()), None);
}

/// ECDSA signatures come in pairs; Bitcoin relays only the one with the low S.
#[test]
fn a_high_s_is_refused() {
    let signed = signed();
    let Ready { fixture, plan, coins, signatures } = &signed;
    let mut signatures = signatures[&MemberIndex(0)].clone();
    let mut compact = bitcoin::ecdsa::Signature::from_slice(&signatures[0]).unwrap().signature.serialize_compact();
    let negative = bitcoin::secp256k1::SecretKey::from_slice(&compact[32..]).unwrap().negate();
    compact[32..].copy_from_slice(&negative.secret_bytes());
    let high = bitcoin::secp256k1::ecdsa::Signature::from_compact(&compact).unwrap();
    signatures[0] = [high.serialize_der().as_ref(), &[1]].concat();
    let key = fixture.seeds[0].keys().peg_public();
    let error = verify_batch_signatures(&fixture.treasury, &key, &plan.transaction, coins, &signatures).unwrap_err();
    assert_eq!(error, SigningError::BadSignature(0));
}

#[test]
fn only_our_coins_are_signed() {
    let signed = signed();
    let Ready { fixture, plan, coins, .. } = &signed;
    let peg = fixture.seeds[0].keys().peg;
    assert_eq!(
        sign_batch(&fixture.treasury, &peg, &plan.transaction, &coins[..2], Signed::Everything),
        Err(SigningError::Count { inputs: 4, found: 2 })
    );
    let swapped = [coins[1].clone(), coins[0].clone(), coins[2].clone(), coins[3].clone()];
    let wrong = SigningError::WrongCoin { input: 0, spent: outpoint(1), coin: outpoint(2) };
    assert_eq!(sign_batch(&fixture.treasury, &peg, &plan.transaction, &swapped, Signed::Everything), Err(wrong));
    let mut foreign = coins.clone();
    let CoinKind::Deposit { claim_script, .. } = &mut foreign[1].kind else { unreachable!() };
    *claim_script = Script::from(vec![0x51]);
    assert_eq!(
        sign_batch(&fixture.treasury, &peg, &plan.transaction, &foreign, Signed::Everything),
        Err(SigningError::NotOurKey(outpoint(2)))
    );
    let mut foreign = coins.clone();
    let CoinKind::Deposit { witness_script: other, .. } = coins[0].kind.clone() else { unreachable!() };
    let CoinKind::Federation { witness_script, .. } = &mut foreign[3].kind else { unreachable!() };
    *witness_script = other;
    assert_eq!(
        sign_batch(&fixture.treasury, &peg, &plan.transaction, &foreign, Signed::Everything),
        Err(SigningError::NotOurKey(outpoint(4)))
    );
    let stranger = fixture.seeds[0].keys().block;
    assert_eq!(
        sign_batch(&fixture.treasury, &stranger, &plan.transaction, coins, Signed::Everything),
        Err(SigningError::NotOurKey(outpoint(1)))
    );
}

/// The amount of a coin is part of what is signed: a member that is told a wrong one signs nothing of use.
#[test]
fn amounts_are_signed() {
    let signed = signed();
    let Ready { fixture, plan, coins, .. } = &signed;
    let mut wrong = coins.clone();
    wrong[0].amount_sat += 1;
    let signatures =
        sign_batch(&fixture.treasury, &fixture.seeds[0].keys().peg, &plan.transaction, &wrong, Signed::Everything)
            .unwrap();
    let key = fixture.seeds[0].keys().peg_public();
    let error = verify_batch_signatures(&fixture.treasury, &key, &plan.transaction, coins, &signatures).unwrap_err();
    assert_eq!(error, SigningError::BadSignature(0));
}

#[test]
fn a_claimed_deposit_becomes_a_coin() {
    use aquifer_assets::state::PeginClaim;
    let fixture = Fixture::new();
    for epoch in [0, 1] {
        let coin = fixture.deposit(1, BTC, epoch);
        let CoinKind::Deposit { witness_script, claim_script, redeem } = coin.kind.clone() else { unreachable!() };
        let claim = PeginClaim {
            deposit: coin.outpoint,
            amount_sat: BTC,
            claim_script,
            parent_block: bitcoin::BlockHash::all_zeros(),
            witness_script,
            deposit_script: coin.script_pubkey.clone(),
            claim_txid: elements::Txid::from_byte_array([0; 32]),
        };
        assert_eq!(redeem.is_some(), epoch == 0);
        assert_eq!(TreasuryCoin::from_deposit(&claim), coin);
    }
}

/// Members that leave the treasury's output to the FROST key give the others only, and that is as good.
#[test]
fn outputs_of_the_treasury_can_be_left_to_the_key() {
    let Ready { fixture, plan, coins, .. } = signed();
    let keys = fixture.seeds[0].keys();
    let partial = sign_batch(&fixture.treasury, &keys.peg, &plan.transaction, &coins, Signed::Multisig).unwrap();
    assert_eq!(partial.iter().map(Vec::is_empty).collect::<Vec<_>>(), [false, false, true, false]);
    let check = |signatures: &[Vec<u8>]| {
        verify_batch_signatures(&fixture.treasury, &keys.peg_public(), &plan.transaction, &coins, signatures)
    };
    assert_eq!(check(&partial), Ok(()));
    let mut short = partial.clone();
    short[2] = vec![0; 63];
    assert_eq!(check(&short), Err(SigningError::BadSignature(2)));
    let mut empty = partial;
    empty[0].clear();
    assert_eq!(check(&empty), Err(SigningError::BadSignature(0)));
}
