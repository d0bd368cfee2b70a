//! Deposits that were mined before their scripts were watched are found without a transaction id.

use aquifer_assets::peg::deposit_address;
use aquifer_functionary::parent::DepositProgress;
use aquifer_tests::bitcoind::Bitcoind;
use bitcoin::{Address, MerkleBlock, Network, Txid};
use serde_json::{Value, json};

use crate::support::{Member, blocking, claim_script, params, wait};

const AMOUNT_SAT: u64 = 12_345_678;
const HEIGHT: u32 = 35;

fn address(user: u8) -> Address {
    deposit_address(&params(), HEIGHT, &claim_script(user), Network::Regtest).unwrap()
}

/// A bitcoind whose wallet can pay.
fn bitcoind() -> Bitcoind {
    let bitcoind = Bitcoind::start().unwrap();
    bitcoind.mine_rewards(1).unwrap();
    bitcoind
}

/// Mines one block with exactly these transactions of the mempool.
fn mine_only(bitcoind: &Bitcoind, transactions: &[Txid]) {
    let miner = bitcoind.new_address().unwrap().to_string();
    let _: Value = bitcoind.client().unwrap().call("generateblock", &[json!(miner), json!(transactions)]).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn deposits_mined_before_the_watch_are_found_with_proofs_and_nothing_else_is() {
    let bitcoind = bitcoind();
    let mut txids = Vec::new();
    let mut blocks = Vec::new();
    for _ in 0..2 {
        txids.push(bitcoind.send_to(&address(1), AMOUNT_SAT).unwrap());
        bitcoind.send_to(&address(2), AMOUNT_SAT).unwrap();
        blocks.extend(bitcoind.mine(1).unwrap());
    }
    bitcoind.mine(7).unwrap();
    let member = Member::start(&bitcoind);
    member.catch_up(&bitcoind).await;
    member.watch(1, HEIGHT);
    member.watch(3, HEIGHT);
    member.looked_back(1).await;
    member.looked_back(3).await;

    let seen = member.deposits(1);
    assert_eq!(seen.iter().map(|deposit| deposit.outpoint.txid).collect::<Vec<_>>(), txids);
    assert_eq!(seen.iter().map(|deposit| deposit.confirmations).collect::<Vec<_>>(), [9, 8]);
    for (deposit, block) in seen.iter().zip(&blocks) {
        assert_eq!(deposit.amount_sat, AMOUNT_SAT);
        let DepositProgress::Ready { proof, .. } = &deposit.progress else { panic!("not ready: {deposit:?}") };
        let proof: MerkleBlock = bitcoin::consensus::deserialize(proof).unwrap();
        assert_eq!(proof.header.block_hash(), *block);
    }
    assert!(member.deposits(2).is_empty(), "nobody watches for the other user");
    assert!(member.deposits(3).is_empty(), "the third user has paid nothing");

    // What was found is kept, and a second watch has nothing to look for.
    let member = member.restart().await;
    member.watch(1, HEIGHT);
    assert!(!member.parent.looks_back(&claim_script(1)).unwrap());
    assert_eq!(member.deposits(1), seen);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_lost_its_file_finds_the_deposit_again() {
    let bitcoind = bitcoind();
    let member = Member::start(&bitcoind);
    member.catch_up(&bitcoind).await;
    member.watch(1, HEIGHT);
    bitcoind.send_to(&address(1), AMOUNT_SAT).unwrap();
    bitcoind.mine(8).unwrap();
    let ready = |deposits: &[aquifer_functionary::parent::DepositStatus]| {
        deposits.iter().any(|deposit| deposit.confirmations == 8)
    };
    let seen = member.wait_deposits(1, ready).await;

    let member = member.restart_emptied().await;
    // The wallet is back before the member has asked bitcoind for anything.
    member.watch(1, HEIGHT);
    assert_eq!(member.wait_deposits(1, ready).await, seen);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_back_waits_for_bitcoind_and_survives_a_restart_of_the_member() {
    let mut bitcoind = bitcoind();
    let txid = bitcoind.send_to(&address(1), AMOUNT_SAT).unwrap();
    bitcoind.mine(1).unwrap();
    let member = Member::start(&bitcoind);
    member.catch_up(&bitcoind).await;
    bitcoind.stop().unwrap();
    wait(&mut member.parent.subscribe(), |state| state.problem().is_some()).await;
    member.watch(1, HEIGHT);
    let member = member.restart().await;
    assert!(member.parent.looks_back(&claim_script(1)).unwrap());

    bitcoind.restart().unwrap();
    let seen = member.wait_deposits(1, |deposits| !deposits.is_empty()).await;
    assert_eq!((seen.len(), seen[0].outpoint.txid), (1, txid));
    member.looked_back(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deposits_mined_while_others_are_looked_for_are_neither_lost_nor_doubled() {
    const USERS: u8 = 12;
    let bitcoind = std::sync::Arc::new(bitcoind());
    let member = Member::start(&bitcoind);
    member.catch_up(&bitcoind).await;
    let mut expected = Vec::new();
    for user in 1..=USERS {
        let early = bitcoind.send_to(&address(user), AMOUNT_SAT).unwrap();
        bitcoind.mine(1).unwrap();
        let late = bitcoind.send_to(&address(user), AMOUNT_SAT).unwrap();
        // The block comes while the watch begins and the look is under way.
        let miner = std::sync::Arc::clone(&bitcoind);
        let mined = tokio::spawn(blocking(move || miner.mine(1).unwrap()));
        member.watch(user, HEIGHT);
        mined.await.unwrap();
        expected.push((user, early, late));
    }
    for (user, early, late) in expected {
        member.looked_back(user).await;
        let seen = member.wait_deposits(user, |deposits| deposits.len() >= 2).await;
        assert_eq!(seen.iter().map(|deposit| deposit.outpoint.txid).collect::<Vec<_>>(), [early, late]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reorganisation_below_the_first_block_that_was_followed_takes_back_what_was_looked_up() {
    let bitcoind = bitcoind();
    let txid = bitcoind.send_to(&address(1), AMOUNT_SAT).unwrap();
    let block = bitcoind.mine(3).unwrap()[0];
    let before = bitcoind.block_count().unwrap() - 3;
    let member = Member::start(&bitcoind);
    member.catch_up(&bitcoind).await;
    member.watch(1, HEIGHT);
    let seen = member.wait_deposits(1, |deposits| !deposits.is_empty()).await;
    assert_eq!((seen[0].outpoint.txid, seen[0].confirmations), (txid, 3));
    member.looked_back(1).await;

    // A longer chain without the deposit.
    let client = bitcoind.client().unwrap();
    client.call_unit("invalidateblock", &[json!(block)]).unwrap();
    for _ in 0..5 {
        mine_only(&bitcoind, &[]);
    }
    member.wait_deposits(1, <[_]>::is_empty).await;
    member.catch_up(&bitcoind).await;

    // A longer one still, with the deposit in a block below all that the member follows.
    let first: Value = client.call("getblockhash", &[json!(before + 1)]).unwrap();
    client.call_unit("invalidateblock", &[first]).unwrap();
    mine_only(&bitcoind, &[txid]);
    for _ in 0..6 {
        mine_only(&bitcoind, &[]);
    }
    let seen =
        member.wait_deposits(1, |deposits| deposits.first().is_some_and(|deposit| deposit.confirmations == 7)).await;
    assert_eq!((seen.len(), seen[0].outpoint.txid), (1, txid));
}
