//! Batches and what they pay; a store that goes on where it was.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet};

use aquifer_assets::block::CertificateKey;
use aquifer_assets::chain::{ChainParams, NETWORK_VERSION, Network};
use bitcoin::hashes::Hash as _;
use bitcoin::{Amount, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Witness};
use elements::opcodes::all::OP_RETURN;

use super::payments::{Earlier, Payments, ReserveCoin, committed_batch, follow_batch, follow_replacement, is_treasury};
use super::store::AuditorStore;
use super::*;

/// The generator of BLS12-381's G1: as good a key as any.
const GENERATOR: &str =
    "97f1d3a73197d7942695638c4fa9ac0fc3688c4f9774b905a14e3a3f171bac586c55e83ff97a1aeffb3af00adb22c6bb";

fn params() -> ChainParams {
    ChainParams::elements_default("audited")
}

fn payee(tag: u8) -> ScriptBuf {
    ScriptBuf::from_bytes([[0, 20].as_slice(), &[tag; 20]].concat())
}

fn treasury() -> ScriptBuf {
    ScriptBuf::from_bytes([[0x51, 32].as_slice(), &[9; 32]].concat())
}

fn network() -> Network {
    let certificate_key = CertificateKey::from_bytes(&hex::decode(GENERATOR).unwrap()).unwrap();
    let (version, treasury_script) = (NETWORK_VERSION, treasury());
    Network { version, params: params(), certificate_key, treasury_script, servers: Vec::new() }
}

fn coin(tag: u8) -> OutPoint {
    OutPoint::new(bitcoin::Txid::from_byte_array([tag; 32]), 0)
}

fn request(tag: u8, amount_sat: u64, script: ScriptBuf) -> Request {
    let outpoint = elements::OutPoint::new(elements::Txid::from_byte_array([tag; 32]), 0);
    Request { outpoint, amount_sat, script }
}

fn batch(inputs: &[u8], outputs: &[(u64, ScriptBuf)]) -> Transaction {
    let input = |tag: &u8| TxIn {
        previous_output: coin(*tag),
        script_sig: ScriptBuf::new(),
        sequence: Sequence::ENABLE_RBF_NO_LOCKTIME,
        witness: Witness::new(),
    };
    let output = |(amount_sat, script): &(u64, ScriptBuf)| TxOut {
        value: Amount::from_sat(*amount_sat),
        script_pubkey: script.clone(),
    };
    Transaction {
        version: bitcoin::transaction::Version::TWO,
        lock_time: bitcoin::absolute::LockTime::ZERO,
        input: inputs.iter().map(input).collect(),
        output: outputs.iter().map(output).collect(),
    }
}

fn coins(tags: &[u8], amount_sat: u64) -> BTreeMap<OutPoint, ReserveCoin> {
    let unspent = |tag: &u8| (coin(*tag), ReserveCoin { name: coin(*tag), amount_sat, spent_height: None });
    tags.iter().map(unspent).collect()
}

/// Coins 1 and 2 of 100,000 sat each; three requests, two of them identical.
fn follow(batch: &Transaction) -> Result<Payments, BatchFault> {
    let unspent = coins(&[1, 2], 100_000);
    let open = [request(1, 30_000, payee(1)), request(2, 20_000, payee(2)), request(3, 30_000, payee(1))];
    follow_batch(&network(), batch, &unspent, &open)
}

#[test]
fn each_payment_is_its_request_less_its_share_of_the_fee() {
    // A fee of 1,001 sat: the first payment bears 501.
    let batch = batch(&[1], &[(29_499, payee(1)), (19_500, payee(2)), (50_000, treasury())]);
    let followed = follow(&batch).unwrap();
    let named = |tag| elements::OutPoint::new(elements::Txid::from_byte_array([tag; 32]), 0);
    assert_eq!(followed.paid, [(named(1), 501), (named(2), 500)]);
    assert_eq!(followed.change, [(OutPoint::new(batch.compute_txid(), 2), 50_000)]);
    assert_eq!((followed.spent, followed.paid_sat), (BTreeSet::from([coin(1)]), 50_000));
}

#[test]
fn change_in_the_federations_own_script_stays_in_the_reserve() {
    let own = ScriptBuf::from_bytes(params().fedpeg_script.to_v0_p2wsh().to_p2sh().into_bytes());
    let batch = batch(&[1], &[(29_499, payee(1)), (19_500, payee(2)), (20_000, treasury()), (30_000, own.clone())]);
    let followed = follow(&batch).unwrap();
    let place = |vout| OutPoint::new(batch.compute_txid(), vout);
    assert_eq!(followed.change, [(place(2), 20_000), (place(3), 30_000)]);
    // Not one in which a claim script tweaks the keys: that would be a deposit of its owner.
    let params = ChainParams { fedpeg_script: founded_script(), ..params() };
    let network = Network { params, ..network() };
    let untweaked = ScriptBuf::from_bytes(network.params.fedpeg_script.to_v0_p2wsh().to_p2sh().into_bytes());
    assert!(is_treasury(&network, &untweaked) && !is_treasury(&network, &own));
    for claim_script in [elements::Script::new(), elements::Script::from(vec![0x51])] {
        let deposit = aquifer_assets::peg::fedpeg_program(&network.params, 0, &claim_script).unwrap();
        assert!(!is_treasury(&network, &deposit.script_pubkey));
    }
}

/// 1 of 1, with the generator of the curve as key.
fn founded_script() -> elements::Script {
    let key = hex::decode("0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798").unwrap();
    elements::Script::from([&[0x51, 33][..], &key, &[0x51, 0xae]].concat())
}

#[test]
fn identical_requests_are_paid_one_after_the_other_and_not_three_times() {
    let twice = batch(&[1], &[(29_500, payee(1)), (29_500, payee(1)), (40_000, treasury())]);
    let paid: Vec<u8> =
        follow(&twice).unwrap().paid.iter().map(|(request, _)| request.txid.to_byte_array()[0]).collect();
    assert_eq!(paid, [1, 3]);
    let outputs = [(29_500, payee(1)), (29_500, payee(1)), (29_500, payee(1)), (10_000, treasury())];
    let fault = follow(&batch(&[1], &outputs)).unwrap_err();
    assert!(matches!(fault, BatchFault::NoRequest { vout: 2, .. }), "{fault}");
}

#[test]
fn what_nobody_asked_for_is_not_paid() {
    let cases = [
        // Payment and fee together one satoshi more than was burned, one less, and to another.
        batch(&[1], &[(29_000, payee(1)), (69_999, treasury())]),
        batch(&[1], &[(29_000, payee(1)), (70_001, treasury())]),
        batch(&[1], &[(29_000, payee(3)), (70_000, treasury())]),
        // What should be change leaves the reserve.
        batch(&[1], &[(29_000, payee(1)), (70_000, payee(4))]),
    ];
    for case in cases {
        let fault = follow(&case).unwrap_err();
        assert!(matches!(fault, BatchFault::NoRequest { .. }), "{fault}");
    }
    // Change that is left to the miners would be a fee that nobody has agreed to.
    assert!(matches!(follow(&batch(&[1], &[(29_000, payee(1))])), Err(BatchFault::NoRequest { .. })));
    assert_eq!(follow(&batch(&[1], &[(99_000, treasury())])), Err(BatchFault::PaysNobody));
}

#[test]
fn a_payment_must_not_be_left_to_the_miners() {
    let script = || payee(1);
    let open = [request(1, 10_000_000, script())];
    let pay = |paid_sat| {
        let unspent = coins(&[1], 20_000_000);
        let batch = batch(&[1], &[(paid_sat, script()), (10_000_000, treasury())]);
        follow_batch(&network(), &batch, &unspent, &open)
    };
    assert!(pay(9_800_000).is_ok());
    assert!(matches!(pay(5_000_000), Err(BatchFault::Fee { fee_sat: 5_000_000, .. })));
}

#[test]
fn only_unspent_coins_of_the_reserve_are_spent_each_once() {
    let outputs = [(29_000, payee(1)), (70_000, treasury())];
    assert_eq!(follow(&batch(&[3], &outputs)), Err(BatchFault::Input(coin(3))));
    assert_eq!(follow(&batch(&[1, 1], &outputs)), Err(BatchFault::RepeatedInput(coin(1))));
    let fault = follow(&batch(&[1], &[(29_000, payee(1)), (71_001, treasury())]));
    assert_eq!(fault, Err(BatchFault::Overspent { inputs_sat: 100_000, outputs_sat: 100_001 }));
    assert_eq!(follow(&batch(&[1, 2], &[(29_000, payee(1)), (170_000, treasury())])).unwrap().spent.len(), 2);
}

#[test]
fn who_takes_the_place_of_a_batch_does_the_same() {
    let earlier = Earlier {
        height: 7,
        spent: BTreeSet::from([coin(1), coin(2)]),
        paid: vec![request(1, 30_000, payee(1)), request(2, 30_000, payee(1)), request(3, 20_000, payee(2))],
        change: vec![(coin(8), 60_000), (coin(9), 60_000)],
    };
    let mut at = coins(&[1, 2], 100_000);
    // Coin 2 may be in two places.
    at.insert(coin(5), ReserveCoin { name: coin(2), ..at[&coin(2)] });
    let follow = |inputs: &[u8], outputs: &[(u64, ScriptBuf)]| {
        follow_replacement(&network(), &batch(inputs, outputs), &at, earlier.clone())
    };
    let pays = [(29_000, payee(1)), (29_000, payee(1)), (19_000, payee(2))];
    let change = [(60_000, treasury()), (60_000, treasury())];
    let good = [pays.as_slice(), &change].concat();
    for inputs in [[1, 2], [1, 5]] {
        let followed = follow(&inputs, &good).unwrap();
        assert_eq!(followed.paid.iter().map(|(_, fee_sat)| *fee_sat).collect::<Vec<_>>(), [1_000; 3]);
        assert_eq!(followed.spent, earlier.spent);
        assert_eq!(followed.replaces, Some(earlier.clone()));
    }
    let what = |inputs: &[u8], outputs: &[(u64, ScriptBuf)]| match follow(inputs, outputs) {
        Err(BatchFault::Replacement { height: 7, what }) => what,
        other => unreachable!("{other:?}"),
    };
    assert_eq!(what(&[1], &[&pays[..], &[(20_000, treasury())]].concat()), "spend the same coins");
    let fewer = [(29_000, payee(1)), (29_000, payee(1)), (140_000, treasury())];
    assert_eq!(what(&[1, 2], &fewer), "pay the same requests in the same order");
    let swapped = [&[pays[2].clone(), pays[0].clone(), pays[1].clone()], change.as_slice()].concat();
    assert_eq!(what(&[1, 2], &swapped), "pay the same requests in the same order");
    assert_eq!(what(&[1, 2], &[&pays[..], &[(120_000, treasury())]].concat()), "make the same change");
    assert_eq!(follow(&[2, 5], &good), Err(BatchFault::RepeatedInput(coin(5))));
    assert_eq!(follow(&[1, 3], &good), Err(BatchFault::Input(coin(3))));
}

fn coinbase(scripts: &[Vec<u8>]) -> aquifer_assets::primitives::Transaction {
    let output = |script: &Vec<u8>| elements::TxOut {
        script_pubkey: elements::Script::from(script.clone()),
        ..elements::TxOut::default()
    };
    let (lock_time, output) = (elements::LockTime::ZERO, scripts.iter().map(output).collect());
    (&elements::Transaction { version: 2, lock_time, input: Vec::new(), output }).into()
}

#[test]
fn the_commitment_is_read_as_the_federation_writes_it() {
    let txid = bitcoin::Txid::from_byte_array([5; 32]);
    let written = aquifer_federation::treasury::batch_commitment(&txid).to_bytes();
    assert_eq!(committed_batch(&coinbase(&[vec![0x51], written.clone()])), Ok(Some(txid)));
    assert_eq!(committed_batch(&coinbase(&[vec![0x51]])), Ok(None));
    let several = committed_batch(&coinbase(&[written.clone(), written.clone()]));
    assert!(matches!(several, Err(BatchFault::Commitment(_))));
    let (short, long) = (written[..written.len() - 1].to_vec(), [written.as_slice(), &[0]].concat());
    for malformed in [short, long, vec![OP_RETURN.into_u8(), 4, b'A', b'Q', b'B', b'1']] {
        assert!(matches!(committed_batch(&coinbase(&[malformed])), Err(BatchFault::Commitment(_))));
    }
}

#[test]
fn a_folder_belongs_to_one_chain() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("auditor.db");
    let store = AuditorStore::open(&path, &params()).unwrap();
    assert_eq!((store.tip().unwrap().height, store.tip().unwrap().hash), (0, params().genesis_hash()));
    drop(store);
    AuditorStore::open(&path, &params()).unwrap();
    let other = AuditorStore::open(&path, &ChainParams::elements_default("another"));
    assert!(other.is_err_and(|error| error.to_string().contains("another folder")));
}
