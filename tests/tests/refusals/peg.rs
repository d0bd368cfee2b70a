//! Claims of deposits that are not there, not deep enough, not ours or claimed, and peg-outs of what Bitcoin has not.

use aquifer_assets::block::BlockError;
use aquifer_assets::peg::{PegError, pegin_witness, pegout_script};
use aquifer_assets::primitives::{Transaction, Witness};
use aquifer_assets::transaction::TxError;
use aquifer_functionary::chain::judge::{BadBlock, Verdict};
use aquifer_functionary::chain::parent::DepthVerdict;
use aquifer_functionary::mempool::{Admission, MempoolError, ReplacementError};
use aquifer_tests::forge::{Coin, Deposit, Pay, Refusal};
use aquifer_tests::founding::Founded;
use elements::encode::{deserialize, serialize};
use elements::{PeginData, PeginWitness, Script};

use crate::support::Start;

const AMOUNT_SAT: u64 = 70_000;

fn claim(start: &mut Start, coin: Coin, to: Script) -> Transaction {
    let pays = [Pay::confidential(start.chain.pegged(), coin.secrets.value - 1_000, to)];
    start.chain.pay(&[coin], &pays).unwrap().transaction
}

fn honest_claim(start: &mut Start) -> (Deposit, Transaction) {
    let deposit = start.chain.deposit(start.alice, AMOUNT_SAT).unwrap();
    let coin = deposit.coin(&start.chain.judge.params).unwrap();
    let to = start.bob.script();
    let transaction = claim(start, coin, to);
    start.assert_accepted(&transaction);
    (deposit, transaction)
}

#[test]
fn a_second_claim_of_a_deposit() {
    let mut start = Start::new(40);
    let (deposit, first) = honest_claim(&mut start);
    let coin = deposit.coin(&start.chain.judge.params).unwrap();
    let to = start.alice.script();
    let second = claim(&mut start, coin, to);
    assert_ne!(first.txid(), second.txid());
    start.assert_accepted(&second);

    // Both wait: both offer to be replaced, and the second pays no more.
    let mempool = &start.chain.judge.mempool;
    assert_eq!(mempool.submit(first.clone()).unwrap(), Admission::New(first.txid()));
    match mempool.submit(second.clone()) {
        Err(MempoolError::Replacement(ReplacementError::Rate { replaced, .. })) => assert_eq!(replaced, first.txid()),
        other => panic!("{other:?}"),
    }
    // Both in one block.
    let claimed = TxError::AlreadyClaimed { vin: 0, deposit: deposit.outpoint() };
    match start.chain.refusal(vec![first.clone(), second.clone()]).unwrap() {
        Some(Refusal::Transaction { position: 2, reason }) => assert_eq!(reason, claimed),
        other => panic!("{other:?}"),
    }
    // One in the chain.
    start.chain.extend(vec![first]).unwrap();
    start.assert_refused(&second, &claimed);
}

#[test]
fn one_deposit_twice_in_a_transaction() {
    let mut start = Start::new(41);
    let deposit = start.chain.deposit(start.alice, AMOUNT_SAT).unwrap();
    let coin = deposit.coin(&start.chain.judge.params).unwrap();
    let pays = [Pay::confidential(start.chain.pegged(), 2 * AMOUNT_SAT - 1_000, start.bob.script())];
    let twice = start.chain.pay(&[coin.clone(), coin.clone()], &pays).unwrap().transaction;
    start.assert_refused(&twice, &TxError::DuplicateInput { vin: 1, outpoint: coin.outpoint });
}

#[test]
fn a_claim_of_a_deposit_that_is_too_shallow() {
    let mut start = Start::new(42);
    let (deposit, transaction) = honest_claim(&mut start);
    start.chain.bitcoin.set(deposit.outpoint(), DepthVerdict::Shallow { confirmations: 7, needed: 8 });
    match start.chain.submit(&transaction) {
        Err(MempoolError::DepositTooShallow { deposit: named, confirmations: 7, needed: 8 }) => {
            assert_eq!(named, deposit.outpoint());
        }
        other => panic!("{other:?}"),
    }
    // The member does not vote for it, and does not call it invalid either: another bitcoind may be a block ahead.
    match start.chain.refusal(vec![transaction.clone()]).unwrap() {
        Some(Refusal::NotNow(reason)) => assert!(reason.contains("7 of 8 confirmations"), "{reason}"),
        other => panic!("{other:?}"),
    }
    // When k members have signed, it is deep enough in their eyes: whoever comes later does not ask again.
    assert!(start.chain.refusal_when_signed(vec![transaction.clone()]).unwrap().is_none());
    start.chain.bitcoin.set(deposit.outpoint(), DepthVerdict::Deep { confirmations: 8 });
    start.assert_accepted(&transaction);
}

#[test]
fn a_claim_of_a_deposit_that_bitcoin_has_dropped() {
    let mut start = Start::new(43);
    let (deposit, transaction) = honest_claim(&mut start);
    start.chain.bitcoin.set(deposit.outpoint(), DepthVerdict::NotInBestChain);
    match start.chain.submit(&transaction) {
        Err(MempoolError::DepositNotFound { deposit: named }) => assert_eq!(named, deposit.outpoint()),
        other => panic!("{other:?}"),
    }
    match start.chain.refusal(vec![transaction]).unwrap() {
        Some(Refusal::Block(BadBlock::Deposit(named))) => assert_eq!(named, deposit.outpoint()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_claim_while_bitcoin_cannot_be_asked() {
    let mut start = Start::new(44);
    let (deposit, transaction) = honest_claim(&mut start);
    start.chain.bitcoin.set(deposit.outpoint(), DepthVerdict::Unknown("bitcoind is away".into()));
    match start.chain.submit(&transaction) {
        Err(MempoolError::ParentUnavailable { reason, .. }) => assert_eq!(reason, "bitcoind is away"),
        other => panic!("{other:?}"),
    }
    match start.chain.refusal(vec![transaction]).unwrap() {
        Some(Refusal::NotNow(reason)) => assert_eq!(reason, "bitcoind is away"),
        other => panic!("{other:?}"),
    }
}

/// A claim of `deposit` with another witness is refused for this reason.
fn assert_wrong(start: &mut Start, deposit: &Deposit, witness: Witness, script: &Script, expected: PegError) {
    let amount_sat = u64::from_le_bytes(witness.iter().next().unwrap().try_into().unwrap());
    let coin = deposit.coin_with(&start.chain.judge.params, amount_sat, witness, script);
    let to = start.bob.script();
    let transaction = claim(start, coin, to);
    start.assert_refused(&transaction, &TxError::Pegin { vin: 0, source: expected });
}

fn changed(witness: &Witness, change: impl FnOnce(&mut PeginData)) -> Witness {
    let mut data = deserialize::<PeginWitness>(&serialize(witness)).unwrap().into_data().unwrap();
    change(&mut data);
    Witness::from(&PeginWitness::new(data))
}

#[test]
fn a_claim_of_the_wrong_deposit() {
    let mut start = Start::new(45);
    let (deposit, _) = honest_claim(&mut start);
    let (other, _) = honest_claim(&mut start);
    let params = start.chain.judge.params.clone();
    let (alice, bob) = (start.alice.script(), start.bob.script());
    let right = deposit.witness(&params, AMOUNT_SAT).unwrap();
    let (txid, other_txid) = (deposit.transaction.compute_txid(), other.transaction.compute_txid());

    // More than was deposited.
    let greedy = deposit.witness(&params, AMOUNT_SAT + 1).unwrap();
    let expected = PegError::Amount { claimed_sat: AMOUNT_SAT + 1, deposit_sat: AMOUNT_SAT };
    assert_wrong(&mut start, &deposit, greedy, &alice, expected);
    // Another asset.
    let gold = start.gold();
    let other_asset = changed(&right, |data| data.asset_id = gold);
    assert_wrong(&mut start, &deposit, other_asset, &alice, PegError::Asset(gold));
    // The papers of another deposit; the transaction of one with the proof of the other.
    let papers = other.witness(&params, AMOUNT_SAT).unwrap();
    let expected = PegError::TransactionId { found: other_txid, claimed: txid };
    assert_wrong(&mut start, &deposit, papers, &alice, expected);
    let mixed = changed(&right, |data| data.merkle_proof = other.proof());
    let expected = PegError::ProofTransaction { found: other_txid, claimed: txid };
    assert_wrong(&mut start, &deposit, mixed, &alice, expected);
    // The change of the deposit, and an output that is not there.
    let change = Deposit { vout: 0, ..deposit.clone() };
    let paid = change.transaction.output[0].script_pubkey.clone();
    let papers = change.witness(&params, 9_000).unwrap();
    assert_wrong(&mut start, &change, papers, &alice, PegError::Destination(paid));
    let beyond = Deposit { vout: 2, ..deposit.clone() };
    assert_wrong(&mut start, &beyond, right.clone(), &alice, PegError::Output(2));
    // Claimed by somebody who did not make it.
    let paid = deposit.transaction.output[1].script_pubkey.clone();
    let raw = bitcoin::consensus::serialize(&deposit.transaction);
    let stolen = pegin_witness(&params, &bob, AMOUNT_SAT, &raw, &deposit.proof()).unwrap();
    let thief = Deposit { owner: start.bob, ..deposit.clone() };
    assert_wrong(&mut start, &thief, stolen, &bob, PegError::Destination(paid));
    // A block that nobody worked for, and a proof that leads elsewhere.
    let mut lazy = deposit.clone();
    while lazy.block.header.validate_pow(lazy.block.header.target()).is_ok() {
        lazy.block.header.nonce += 1;
    }
    let papers = lazy.witness(&params, AMOUNT_SAT).unwrap();
    assert_wrong(&mut start, &lazy, papers, &alice, PegError::ParentWork(lazy.block.block_hash()));
    let strayed = changed(&right, |data| data.merkle_proof[40] ^= 1);
    let coin = deposit.coin_with(&params, AMOUNT_SAT, strayed, &alice);
    let transaction = claim(&mut start, coin, bob);
    let refused = start.chain.submit(&transaction);
    let is_proof = |reason: &TxError| matches!(reason, TxError::Pegin { source: PegError::ProofInvalid(_), .. });
    assert!(matches!(&refused, Err(MempoolError::Invalid(reason)) if is_proof(reason)), "{refused:?}");
    let refused = start.chain.refusal(vec![transaction]).unwrap();
    assert!(matches!(&refused, Some(Refusal::Transaction { reason, .. }) if is_proof(reason)), "{refused:?}");
}

#[test]
fn a_claim_of_a_foreign_deposit() {
    let mut start = Start::new(46);
    let (deposit, _) = honest_claim(&mut start);
    let params = start.chain.judge.params.clone();
    let alice = start.alice.script();

    // Paid to somebody; to the federation, but for nobody; to another federation.
    let other = Founded::new(4, &mut start.chain.rng).unwrap().federation.params;
    let elsewhere = Deposit::new(&other, 3, start.alice, AMOUNT_SAT, 201).unwrap();
    let scripts = [
        bitcoin::ScriptBuf::from_bytes(alice.to_bytes()),
        bitcoin::ScriptBuf::from_bytes(params.fedpeg_script.to_bytes()).to_p2wsh(),
        elsewhere.transaction.output[1].script_pubkey.clone(),
    ];
    for script in scripts {
        let foreign = Deposit::paying(script.clone(), start.alice, AMOUNT_SAT, 200);
        start.chain.bitcoin.set(foreign.outpoint(), DepthVerdict::Deep { confirmations: 100 });
        let papers = foreign.witness(&params, AMOUNT_SAT).unwrap();
        assert_wrong(&mut start, &foreign, papers, &alice, PegError::Destination(script));
    }
    // From another parent chain.
    let main = bitcoin::constants::genesis_block(bitcoin::Network::Bitcoin).block_hash();
    let papers = changed(&deposit.witness(&params, AMOUNT_SAT).unwrap(), |data| data.genesis_hash = main);
    assert_wrong(&mut start, &deposit, papers, &alice, PegError::ParentGenesis(main));
}

#[test]
fn a_pegout_of_another_asset() {
    let mut start = Start::new(47);
    let parent = start.chain.judge.params.parent_genesis();
    let to_bitcoin = pegout_script(&parent, &bitcoin::ScriptBuf::from_bytes(start.bob.script().to_bytes()));
    let (gold, pegged, alice) = (start.gold(), start.chain.pegged(), start.alice.script());
    let mut pegout = |metal: Script, money: Script| {
        let pays = [
            Pay::explicit(gold, 500, metal),
            Pay::explicit(pegged, 500_000, money),
            Pay::confidential(pegged, 499_000, alice.clone()),
        ];
        start.chain.pay(&[start.money.clone(), start.gold.clone()], &pays).unwrap()
    };
    let honest = pegout(alice.clone(), to_bitcoin.clone());
    let wrong = pegout(to_bitcoin, alice.clone());
    start.assert_accepted(&honest.transaction);
    match start.chain.judge(&start.chain.propose(vec![honest.transaction]).unwrap()).unwrap() {
        Verdict::Valid(examined) => assert_eq!(examined.effects.pegouts.len(), 1),
        other => panic!("{other:?}"),
    }
    start.assert_not_signed(&wrong.transaction, &TxError::PegoutOfWrongAsset { vout: 0, asset: gold });
}

#[test]
fn a_coinbase_with_a_pegout() {
    let start = Start::new(48);
    let parent = start.chain.judge.params.parent_genesis();
    let to_bitcoin = pegout_script(&parent, &bitcoin::ScriptBuf::from_bytes(start.bob.script().to_bytes()));
    let block = start
        .chain
        .propose_with(vec![], |coinbase| {
            let mut output = coinbase.output[0].clone();
            output.script_pubkey = to_bitcoin;
            coinbase.output.insert(0, output);
        })
        .unwrap();
    let verdict = start.chain.judge(&block).unwrap();
    assert!(
        matches!(&verdict, Verdict::Invalid(BadBlock::Block(BlockError::CoinbasePegout { vout: 0 }))),
        "{verdict:?}"
    );
}
