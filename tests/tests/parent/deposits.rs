//! A deposit is seen, grows deep, and is ready; outages and reorganisations are told as what they are.

use aquifer_assets::chain::Federation;
use aquifer_assets::peg::{check_pegin, deposit_address, pegin_witness};
use aquifer_functionary::parent::{DepositProgress, DepositStatus, DepthVerdict, ParentState};
use aquifer_tests::bitcoind::Bitcoind;
use bitcoin::hashes::Hash as _;
use bitcoin::{BlockHash, MerkleBlock, Network, Txid};
use serde_json::{Value, json};

use crate::support::{Member, blocking, claim_script, params, wait};

const AMOUNT_SAT: u64 = 123_456_789;
/// Heights of our chain in epoch 0, where addresses are P2SH-P2WSH, and in a later one, where they are P2WSH.
const FIRST_EPOCH: u32 = 3;
const LATER_EPOCH: u32 = 35;

fn block_of(deposit: &DepositStatus) -> BlockHash {
    let DepositProgress::Ready { proof, .. } = &deposit.progress else { panic!("not ready: {deposit:?}") };
    let proof: MerkleBlock = bitcoin::consensus::deserialize(proof).unwrap();
    proof.header.block_hash()
}

/// The transaction a wallet would claim the deposit with, as far as the peg-in rules look at it.
fn claim(deposit: &DepositStatus, user: u8) -> aquifer_assets::primitives::Transaction {
    let DepositProgress::Ready { transaction, proof } = &deposit.progress else { panic!("not ready: {deposit:?}") };
    let mut input = aquifer_assets::primitives::TxIn {
        previous_output: elements::OutPoint::new(
            elements::Txid::from_byte_array(deposit.outpoint.txid.to_byte_array()),
            deposit.outpoint.vout,
        ),
        is_pegin: true,
        ..aquifer_assets::primitives::TxIn::default()
    };
    input.witness.pegin_witness =
        pegin_witness(&params(), &claim_script(user), deposit.amount_sat, transaction, proof).unwrap();
    aquifer_assets::primitives::Transaction {
        version: 2,
        lock_time: elements::LockTime::ZERO,
        input: vec![input],
        output: Vec::new(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deposit_confirms_and_is_ready_with_a_proof_that_a_claim_can_show() {
    for height in [FIRST_EPOCH, LATER_EPOCH] {
        let bitcoind = Bitcoind::start().unwrap();
        bitcoind.mine_rewards(1).unwrap();
        let member = Member::start(&bitcoind);
        member.catch_up(&bitcoind).await;
        member.watch(1, height);
        member.watch(2, height);
        assert!(member.deposits(1).is_empty());

        let address = deposit_address(&member.params, height, &claim_script(1), Network::Regtest).unwrap();
        let txid = bitcoind.send_to(&address, AMOUNT_SAT).unwrap();
        bitcoind.mine(1).unwrap();
        let seen = member.wait_deposits(1, |deposits| !deposits.is_empty()).await;
        assert_eq!((seen.len(), seen[0].outpoint.txid, seen[0].amount_sat), (1, txid, AMOUNT_SAT));
        assert_eq!((seen[0].confirmations, seen[0].needed_confirmations), (1, 8));
        assert_eq!(seen[0].progress, DepositProgress::Confirming);

        bitcoind.mine(6).unwrap();
        let seen = member
            .wait_deposits(1, |deposits| deposits.first().is_some_and(|deposit| deposit.confirmations == 7))
            .await;
        assert_eq!(seen[0].progress, DepositProgress::Confirming);
        bitcoind.mine(1).unwrap();
        let seen = member
            .wait_deposits(1, |deposits| deposits.first().is_some_and(|deposit| deposit.confirmations == 8))
            .await;

        let federation = Federation::without_votes(&member.params, height);
        let claimed = check_pegin(&member.params, &federation, &claim(&seen[0], 1), 0).unwrap();
        assert_eq!((claimed.deposit, claimed.amount_sat), (seen[0].outpoint, AMOUNT_SAT));
        let parent = member.parent.clone();
        let verdict = blocking(move || parent.deposit_depth(&txid, &claimed.parent_block)).await;
        assert_eq!(verdict, DepthVerdict::Deep { confirmations: 8 });

        // The proof is the one that bitcoind itself would give.
        let args = [json!([txid]), json!(claimed.parent_block)];
        let proof: String = bitcoind.client().unwrap().call("gettxoutproof", &args).unwrap();
        let DepositProgress::Ready { proof: ours, .. } = &seen[0].progress else { panic!("{seen:?}") };
        assert_eq!(hex::encode(ours), proof);
        assert!(member.deposits(2).is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_survives_a_restart_and_finds_what_was_mined_meanwhile_and_before() {
    let bitcoind = Bitcoind::start().unwrap();
    bitcoind.mine_rewards(1).unwrap();
    let member = Member::start(&bitcoind);
    member.catch_up(&bitcoind).await;
    let address = |user| deposit_address(&params(), LATER_EPOCH, &claim_script(user), Network::Regtest).unwrap();

    // Paid before anybody watched: found at once by its transaction id.
    let early = bitcoind.send_to(&address(1), AMOUNT_SAT).unwrap();
    bitcoind.mine(1).unwrap();
    member.catch_up(&bitcoind).await;
    member.watch(2, LATER_EPOCH);

    let late = bitcoind.send_to(&address(2), AMOUNT_SAT).unwrap();
    let member = {
        let address = bitcoind.new_address().unwrap();
        let restarted = member.restart();
        bitcoind.mine_to(2, &address).unwrap();
        restarted.await
    };
    let seen =
        member.wait_deposits(2, |deposits| deposits.first().is_some_and(|deposit| deposit.confirmations == 2)).await;
    assert_eq!(seen[0].outpoint.txid, late);

    member.catch_up(&bitcoind).await;
    let parent = member.parent.clone();
    let first = blocking(move || {
        parent.watch_deposit(&claim_script(1), LATER_EPOCH, Some(early)).unwrap();
        parent.deposits(&claim_script(1)).unwrap()
    })
    .await;
    assert_eq!((first.len(), first[0].outpoint.txid, first[0].confirmations), (1, early, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_bitcoind_depth_is_unknown_and_when_it_is_back_the_watch_goes_on() {
    let mut bitcoind = Bitcoind::start().unwrap();
    bitcoind.mine_rewards(1).unwrap();
    let member = Member::start(&bitcoind);
    member.catch_up(&bitcoind).await;
    member.watch(1, LATER_EPOCH);
    let address = deposit_address(&member.params, LATER_EPOCH, &claim_script(1), Network::Regtest).unwrap();
    let txid = bitcoind.send_to(&address, AMOUNT_SAT).unwrap();
    bitcoind.mine(8).unwrap();
    let seen =
        member.wait_deposits(1, |deposits| deposits.first().is_some_and(|deposit| deposit.confirmations == 8)).await;
    let block = block_of(&seen[0]);
    let mut state = member.parent.subscribe();

    bitcoind.stop().unwrap();
    let parent = member.parent.clone();
    let verdict = blocking(move || parent.deposit_depth(&txid, &block)).await;
    assert!(matches!(verdict, DepthVerdict::Unknown(_)), "{verdict:?}");
    let problem = wait(&mut state, |state| state.problem().is_some()).await;
    assert!(matches!(problem, ParentState::Unhealthy { .. }), "{problem:?}");
    assert_eq!(member.parent.deposits(&claim_script(1)).unwrap(), seen, "what was seen is still told");

    bitcoind.restart().unwrap();
    wait(&mut state, |state| state.problem().is_none()).await;
    bitcoind.mine(1).unwrap();
    member.wait_deposits(1, |deposits| deposits.first().is_some_and(|deposit| deposit.confirmations == 9)).await;
    let parent = member.parent.clone();
    let verdict = blocking(move || parent.deposit_depth(&txid, &block)).await;
    assert_eq!(verdict, DepthVerdict::Deep { confirmations: 9 });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reorganisation_takes_a_deposit_back() {
    let bitcoind = Bitcoind::start().unwrap();
    bitcoind.mine_rewards(1).unwrap();
    let member = Member::start(&bitcoind);
    member.catch_up(&bitcoind).await;
    member.watch(1, LATER_EPOCH);
    let address = deposit_address(&member.params, LATER_EPOCH, &claim_script(1), Network::Regtest).unwrap();
    let txid = bitcoind.send_to(&address, AMOUNT_SAT).unwrap();
    let blocks = bitcoind.mine(8).unwrap();
    let seen =
        member.wait_deposits(1, |deposits| deposits.first().is_some_and(|deposit| deposit.confirmations == 8)).await;
    assert_eq!(block_of(&seen[0]), blocks[0]);

    // A longer chain of empty blocks without the deposit.
    let client = bitcoind.client().unwrap();
    client.call_unit("invalidateblock", &[json!(blocks[0])]).unwrap();
    let miner = bitcoind.new_address().unwrap().to_string();
    let mut tips = Vec::new();
    for _ in 0..9 {
        let made: Value = client.call("generateblock", &[json!(miner), json!([])]).unwrap();
        tips.push(made["hash"].as_str().unwrap().to_owned());
    }
    member.wait_deposits(1, <[_]>::is_empty).await;
    let parent = member.parent.clone();
    member.catch_up(&bitcoind).await;
    let verdict = blocking(move || parent.deposit_depth(&txid, &blocks[0])).await;
    assert_eq!(verdict, DepthVerdict::NotInBestChain);

    // It is mined again, in another block, and has to grow deep again.
    let again = bitcoind.mine(1).unwrap();
    let seen = member.wait_deposits(1, |deposits| !deposits.is_empty()).await;
    assert_eq!((seen[0].outpoint.txid, seen[0].confirmations), (txid, 1));
    let parent = member.parent.clone();
    let verdict = blocking(move || parent.deposit_depth(&txid, &again[0])).await;
    assert_eq!(verdict, DepthVerdict::Shallow { confirmations: 1, needed: 8 });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_names_a_foreign_block_or_deposit_is_told_apart() {
    let bitcoind = Bitcoind::start().unwrap();
    let blocks = bitcoind.mine(10).unwrap();
    let member = Member::start(&bitcoind);
    member.catch_up(&bitcoind).await;
    let parent = member.parent.clone();
    blocking(move || {
        let foreign = Txid::from_byte_array([7; 32]);
        assert_eq!(parent.deposit_depth(&foreign, &blocks[0]), DepthVerdict::NotInBestChain);
        let unheard = BlockHash::from_byte_array([7; 32]);
        assert!(matches!(parent.deposit_depth(&foreign, &unheard), DepthVerdict::Unknown(_)));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bitcoind_on_another_chain_is_named_as_such() {
    let bitcoind = Bitcoind::start().unwrap();
    let mut params = params();
    params.parent_genesis = bitcoin::constants::genesis_block(Network::Testnet).block_hash();
    let member = Member::start_with(&bitcoind, params);
    let state = wait(&mut member.parent.subscribe(), |state| matches!(state, ParentState::WrongChain { .. })).await;
    let reason = state.problem().unwrap();
    assert!(reason.contains(&member.params.parent_genesis.to_string()), "{reason}");
}
