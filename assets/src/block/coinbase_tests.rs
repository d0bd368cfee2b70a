//! What a coinbase may take, where it may send it, and what else it may carry.

use super::*;
use crate::primitives::{Inexpressible, Nonce};

#[test]
fn a_coinbase_cannot_take_more_than_the_fees() {
    let chain = Chain::new();
    let block = chain.build(vec![chain.payment(1)], 501);
    let error = chain.check(&block).unwrap_err();
    assert!(matches!(error, BlockError::CoinbaseAmount { taken: 501, available: 500, .. }), "{error}");
    // Not in two parts, not burned, not in another asset, not by overflow.
    let asset = chain.asset();
    let error = chain.coinbase_refusal(|coinbase| coinbase.output.insert(0, output(asset, 1, user_script(&bob()))));
    assert!(matches!(error, BlockError::CoinbaseAmount { taken: 501, .. }), "{error}");
    let error = chain.coinbase_refusal(|coinbase| coinbase.output[1].value = Value::Explicit(1));
    assert!(matches!(error, BlockError::CoinbaseAmount { taken: 501, .. }), "{error}");
    let other = AssetId::from_byte_array([3; 32]);
    let error = chain.coinbase_refusal(|coinbase| coinbase.output[0].asset = Asset::Explicit(other));
    assert!(matches!(error, BlockError::CoinbaseAmount { available: 0, .. }), "{error}");
    let error = chain.coinbase_refusal(|coinbase| {
        coinbase.output.insert(1, output(asset, u64::MAX, user_script(&bob())));
    });
    assert!(matches!(error, BlockError::CoinbaseTotal { total: u64::MAX }), "{error}");
}

#[test]
fn coinbases_with_anything_else_are_refused() {
    let chain = Chain::new();
    let bob = user_script(&bob());
    let error = chain.coinbase_refusal(|coinbase| coinbase.input[0].asset_issuance.amount = Value::Explicit(5));
    assert!(matches!(error, BlockError::CoinbaseIssuance), "{error}");
    let error = chain.coinbase_refusal(|coinbase| coinbase.input[0].is_pegin = true);
    assert!(matches!(error, BlockError::CoinbasePegin), "{error}");
    let program = &deposit_programs(&chain.params, 12, &bob).unwrap()[0];
    let witness = Deposit::new(program, 5).witness(&chain.params, &bob);
    let error = chain.coinbase_refusal(|coinbase| coinbase.input[0].witness.pegin_witness = witness);
    assert!(matches!(error, BlockError::CoinbasePegin), "{error}");
    let error = chain.coinbase_refusal(|coinbase| coinbase.output[0].script_pubkey = Script::new());
    assert!(matches!(error, BlockError::CoinbaseFee { vout: 0 }), "{error}");
    let error = chain.coinbase_refusal(|coinbase| coinbase.output[0].value = Value::Explicit(0));
    assert!(matches!(error, BlockError::CoinbaseZero { vout: 0 }), "{error}");
    let error = chain.coinbase_refusal(|coinbase| coinbase.output[0].value = Value::Null);
    assert!(matches!(error, BlockError::CoinbaseConfidential { vout: 0 }), "{error}");
    let error = chain.coinbase_refusal(|coinbase| {
        coinbase.output[0].value = Value::from_commitment(&[[8].as_slice(), &generator_x()].concat()).unwrap();
    });
    assert!(matches!(error, BlockError::CoinbaseConfidential { vout: 0 }), "{error}");
    let error = chain.coinbase_refusal(|coinbase| {
        coinbase.output[0].asset = Asset::from_commitment(&[[10].as_slice(), &generator_x()].concat()).unwrap();
    });
    assert!(matches!(error, BlockError::CoinbaseConfidential { vout: 0 }), "{error}");
    let error = chain.coinbase_refusal(|coinbase| coinbase.output.clear());
    assert!(matches!(error, BlockError::CoinbaseEmpty), "{error}");
}

#[test]
fn a_coinbase_may_have_a_lock_time_that_is_reached() {
    let chain = Chain::new();
    let with = |lock_time: u32, sequence| {
        let mut block = chain.build(vec![chain.payment(1)], 500);
        block.txdata[0].lock_time = LockTime::from_consensus(lock_time);
        block.txdata[0].input[0].sequence = sequence;
        recommit(&mut block);
        chain.check(&block).map(drop)
    };
    with(11, elements::Sequence::ZERO).unwrap();
    with(12, elements::Sequence::MAX).unwrap();
    with(chain.tip.median_time_past - 1, elements::Sequence::ZERO).unwrap();
    for lock_time in [12, chain.tip.median_time_past] {
        let error = with(lock_time, elements::Sequence::ZERO).unwrap_err();
        assert!(matches!(error, BlockError::CoinbaseLockTime { lock_time: found } if found == lock_time), "{error}");
    }
}

#[test]
fn a_pegout_of_the_coinbase_is_a_burn_that_members_do_not_sign() {
    let chain = Chain::new();
    let parent_script = bitcoin::ScriptBuf::from_bytes(vec![0, 20]);
    let mut block = chain.build(vec![chain.payment(1)], 500);
    check_federation_policy(&chain.params, &block).unwrap();
    block.txdata[0].output[0].script_pubkey = pegout_script(&chain.params.parent_genesis, &parent_script);
    recommit(&mut block);
    let effects = chain.check(&block).unwrap();
    assert!(effects.pegouts.is_empty());
    assert_eq!(effects.burned, BTreeMap::from([(chain.asset(), 500)]));
    let policy = check_federation_policy(&chain.params, &block);
    assert!(matches!(policy, Err(BlockError::CoinbasePegout { vout: 0 })), "{policy:?}");
}

#[test]
fn a_coinbase_that_wallets_cannot_read_is_valid_and_not_signed() {
    let chain = Chain::new();
    let mut block = chain.build(vec![chain.payment(1)], 500);
    block.txdata[0].output[0].nonce = Nonce::Confidential(secp256k1_zkp::Parity::Even, [0xff; 32]);
    recommit(&mut block);
    let block = Block::decode(elements::encode::serialize(&block)).unwrap();
    chain.check(&block).unwrap();
    let policy = check_federation_policy(&chain.params, &block);
    assert_eq!(policy, Err(BlockError::CoinbaseUnreadable(Inexpressible::Nonce { vout: 0 })));
    assert_eq!(policy.unwrap_err().name(), "coinbase-unreadable");
}

#[test]
fn where_peg_outs_are_authorized_those_of_the_coinbase_are_too() {
    let mut chain = Chain::new();
    chain.params.enforce_pak = true;
    let parent_script = bitcoin::ScriptBuf::from_bytes(vec![0, 20]);
    let pegout = pegout_script(&chain.params.parent_genesis, &parent_script);
    let error = chain.coinbase_refusal(|coinbase| coinbase.output[0].script_pubkey = pegout);
    assert!(matches!(error, BlockError::CoinbasePak { vout: 0, source: PakError::Key }), "{error}");
}

#[test]
fn the_policy_asset_goes_to_the_mandatory_script() {
    let mut chain = Chain::new();
    chain.params.mandatory_coinbase = user_script(&alice());
    let block = chain.build(vec![chain.payment(1)], 500);
    assert_eq!(block.txdata[0].output[0].script_pubkey, user_script(&alice()));
    chain.check(&block).unwrap();
    let error = chain.coinbase_refusal(|coinbase| coinbase.output[0].script_pubkey = user_script(&bob()));
    assert!(matches!(error, BlockError::CoinbaseDestination { vout: 0 }), "{error}");
    // Nothing of it, nowhere: an unspendable output of 0, as that of the witness commitment.
    chain.check(&chain.build(vec![], 0)).unwrap();
}

#[test]
fn the_subsidy_may_be_taken_and_halves() {
    let mut chain = Chain::new();
    chain.params.block_subsidy = 1_000;
    chain.params.subsidy_halving_interval_blocks = 6;
    let take = |chain: &Chain, amount| chain.check(&chain.build(vec![chain.payment(1)], amount));
    // Two halvings at height 12.
    take(&chain, 750).unwrap();
    take(&chain, 0).unwrap();
    let error = take(&chain, 751).unwrap_err();
    assert!(matches!(error, BlockError::CoinbaseAmount { taken: 751, available: 750, .. }), "{error}");
    // In an asset of its own.
    chain.params.subsidy_asset = Some(AssetId::from_byte_array([3; 32]));
    let error = take(&chain, 501).unwrap_err();
    assert!(matches!(error, BlockError::CoinbaseAmount { available: 500, .. }), "{error}");
    let mut block = chain.build(vec![chain.payment(1)], 500);
    block.txdata[0].output.insert(0, output(AssetId::from_byte_array([3; 32]), 250, user_script(&bob())));
    recommit(&mut block);
    chain.check(&block).unwrap();
    // Together with the fees it is no more than there can be.
    chain.params.block_subsidy = 8_400_000_000_000_000;
    chain.params.subsidy_asset = None;
    let error = take(&chain, 500).unwrap_err();
    assert!(matches!(error, BlockError::RewardRange { total: 2_100_000_000_000_500, .. }), "{error}");
}

/// The x coordinate of a point: that of the group's generator.
fn generator_x() -> [u8; 32] {
    let one = key(0, 1);
    crate::fixtures::public(&one).serialize()[1..].try_into().unwrap()
}

#[test]
fn coinbases_with_proofs_are_refused() {
    let chain = Chain::new();
    let secp = secp256k1_zkp::SECP256K1;
    let asset = secp256k1_zkp::Generator::new_unblinded(secp, chain.asset().into_tag());
    let blinding = secp256k1_zkp::Tweak::from_slice(&[3; 32]).unwrap();
    let commitment = secp256k1_zkp::PedersenCommitment::new(secp, 5, blinding, asset);
    let proof = secp256k1_zkp::RangeProof::new(secp, 0, commitment, 5, blinding, &[], &[], key(4, 4), 0, 32, asset);
    let proof = crate::primitives::RangeProof::from(proof.unwrap().serialize());
    let error = chain.coinbase_refusal(|coinbase| coinbase.output[1].witness.rangeproof = proof.clone());
    assert!(matches!(error, BlockError::CoinbaseOutputWitness { vout: 1 }), "{error}");
    let error = chain.coinbase_refusal(|coinbase| coinbase.input[0].witness.amount_rangeproof = proof);
    assert!(matches!(error, BlockError::CoinbaseInputWitness), "{error}");
}

#[test]
fn the_coinbase_script_must_begin_with_the_height() {
    let chain = Chain::new();
    for wrong in [vec![0x5d, 0x00], vec![0x5c], vec![0x01, 0x0c], vec![0x5c; 101], vec![]] {
        let script = Script::from(wrong);
        let error = chain.coinbase_refusal(|coinbase| coinbase.input[0].script_sig = script);
        assert!(matches!(error, BlockError::CoinbaseHeight { height: 12, .. }), "{error}");
    }
    // Heights of every width are written as Elements reads them.
    for (height, prefix) in [(1, "51"), (16, "60"), (17, "0111"), (128, "028000"), (40_000, "03409c00")] {
        let mut chain = Chain::new();
        chain.tip.height = height - 1;
        let block = chain.build(vec![], 0);
        assert_eq!(hex::encode(block.txdata[0].input[0].script_sig.as_bytes()), format!("{prefix}00"));
        chain.check(&block).unwrap();
    }
}
