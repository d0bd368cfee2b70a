//! A batch is planned, judged, signed by k of n, taken by bitcoind, confirmed, and comes back after a reorganisation.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use aquifer_assets::chain::ChainParams;
use aquifer_assets::peg::{PegoutRequest, deposit_programs};
use aquifer_assets::state::PeginClaim;
use aquifer_federation::keys::MemberKeys;
use aquifer_federation::roster::{MemberIndex, Roster};
use aquifer_federation::treasury::{
    BatchPlan, BatchVerdict, ChangeUse, Family, FamilyBatch, Signed, Treasury, TreasuryCoin, finalize_batch,
    judge_batch, plan_batch, plan_replacement,
};
use aquifer_functionary::peg::{
    BatchState, DriverConfig, Driving, FinalBatch, Outcome, PegoutDriver, PegoutError, Shares, SignerRecord,
    WantedSignatures, propose_batch,
};
use aquifer_functionary::store::OpenGate;
use aquifer_tests::bitcoind::Bitcoind;
use aquifer_tests::founding::Founded;
use bitcoin::hashes::Hash as _;
use bitcoin::{Address, Amount, Network, OutPoint, ScriptBuf, Transaction, Txid};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng as _;
use serde_json::{Value, json};

use crate::support::{LIMIT, MEMBERS, Member, blocking, claim_script, wait};

/// Height of our block that agrees on the batch.
const BATCH_HEIGHT: u32 = 40;
const COIN_SAT: u64 = 10_000_000;
const REQUEST_SAT: u64 = 14_000_000;

/// Remembers signatures as long as the test runs.
#[derive(Default)]
struct Record(BTreeMap<u32, (Txid, Vec<Vec<u8>>)>);

impl SignerRecord for Record {
    fn record_batch(
        &mut self,
        height: u32,
        txid: &Txid,
        signatures: Vec<Vec<u8>>,
    ) -> Result<Vec<Vec<u8>>, Box<dyn Error + Send + Sync>> {
        let (recorded, signatures) = self.0.entry(height).or_insert((*txid, signatures));
        if recorded == txid { Ok(signatures.clone()) } else { Err("another batch was signed".into()) }
    }
}

/// One member of the federation with its driver.
struct Signer {
    index: MemberIndex,
    keys: MemberKeys,
    roster: Roster,
    treasury: Treasury,
    member: Member,
    record: Record,
    driver: PegoutDriver,
    driving: Driving,
}

impl Signer {
    fn start(
        index: MemberIndex,
        roster: &Roster,
        treasury: &Treasury,
        keys: MemberKeys,
        member: Member,
        record: Record,
    ) -> Self {
        let config = DriverConfig {
            roster: roster.clone(),
            treasury: treasury.clone(),
            me: index,
            peg_key: keys.peg,
            poll_interval: Duration::from_millis(100),
            gate: Arc::new(OpenGate),
        };
        let runtime = tokio::runtime::Handle::current();
        let (driver, driving) = PegoutDriver::start(config, member.parent.clone(), &runtime);
        let (roster, treasury) = (roster.clone(), treasury.clone());
        Self { index, keys, roster, treasury, member, record, driver, driving }
    }

    /// Ends it and starts it again on what it stored.
    async fn restart(self) -> Self {
        self.driving.stop().await;
        let member = self.member.restart().await;
        Self::start(self.index, &self.roster, &self.treasury, self.keys, member, self.record)
    }

    async fn wait(&self, fits: impl FnMut(&BatchState) -> bool) -> BatchState {
        self.wait_at(BATCH_HEIGHT, fits).await
    }

    async fn wait_at(&self, height: u32, mut fits: impl FnMut(&BatchState) -> bool) -> BatchState {
        let mut seen = None;
        wait(&mut self.driver.changes(), |_| {
            seen = self.driver.state(height);
            seen.as_ref().is_some_and(&mut fits)
        })
        .await;
        seen.unwrap()
    }
}

/// A federation with two claimed deposits, one of each kind of address, and one coin of change.
struct Story {
    bitcoind: Bitcoind,
    params: ChainParams,
    treasury: Treasury,
    signers: Vec<Signer>,
    coins: Vec<TreasuryCoin>,
    pending: Vec<PegoutRequest>,
    payees: [Address; 2],
}

impl Story {
    async fn begin() -> Self {
        let bitcoind = Bitcoind::start().unwrap();
        bitcoind.mine_rewards(2).unwrap();
        let mut rng = ChaCha20Rng::seed_from_u64(7);
        let Founded { federation, seeds, .. } = Founded::new(u16::from(MEMBERS), &mut rng).unwrap();
        let (roster, treasury) = (federation.roster, federation.treasury);
        // Whatever the settings say: a federation may have to spend both kinds of deposits.
        let params = ChainParams { start_p2wsh: true, ..roster.chain_params() };

        let nested = deposit(&bitcoind, &params, 1, |script| script.is_p2sh());
        let native = deposit(&bitcoind, &params, 2, |script| script.is_p2wsh());
        let change = pay(&bitcoind, treasury.output().script_pubkey());
        let change = TreasuryCoin::from_change(treasury.output(), change, COIN_SAT);
        bitcoind.mine(1).unwrap();

        let mut signers = Vec::new();
        for (index, seed) in (0u16..).map(MemberIndex).zip(seeds) {
            let member = Member::start_with(&bitcoind, params.clone());
            member.catch_up(&bitcoind).await;
            signers.push(Signer::start(index, &roster, &treasury, seed.keys(), member, Record::default()));
        }
        let payees = [bitcoind.new_address().unwrap(), bitcoind.new_address().unwrap()];
        let request = |vout, payee: &Address| PegoutRequest {
            outpoint: elements::OutPoint::new(elements::Txid::from_byte_array([9; 32]), vout),
            amount_sat: REQUEST_SAT,
            parent_script: payee.script_pubkey(),
        };
        let pending = vec![request(0, &payees[0]), request(1, &payees[1])];
        Self { bitcoind, params, treasury, signers, coins: vec![nested, native, change], pending, payees }
    }

    /// What member 0 proposes.
    async fn propose(&self) -> Option<BatchPlan> {
        let (parent, treasury) = (self.signers[0].member.parent.clone(), self.treasury.clone());
        let (coins, pending) = (self.coins.clone(), self.pending.clone());
        blocking(move || propose_batch(&parent, &treasury, &coins, &pending)).await
    }

    /// What member 1 thinks of a batch.
    async fn judge(&self, transaction: &Transaction) -> BatchVerdict {
        let (parent, treasury) = (self.signers[1].member.parent.clone(), self.treasury.clone());
        let (transaction, coins, pending) = (transaction.clone(), self.coins.clone(), self.pending.clone());
        blocking(move || judge_batch(&parent, &treasury, &transaction, &coins, &pending)).await
    }

    fn batch(&self, plan: &BatchPlan) -> FinalBatch {
        let coin = |outpoint: &OutPoint| self.coins.iter().find(|coin| coin.outpoint == *outpoint).unwrap().clone();
        FinalBatch {
            height: BATCH_HEIGHT,
            family: BATCH_HEIGHT,
            transaction: plan.transaction.clone(),
            coins: plan.inputs.iter().map(coin).collect(),
        }
    }

    /// Every member signs.
    fn sign(&mut self, plan: &BatchPlan) -> BTreeMap<MemberIndex, Vec<Vec<u8>>> {
        let batch = self.batch(plan);
        self.sign_final(&batch)
    }

    fn sign_final(&mut self, batch: &FinalBatch) -> BTreeMap<MemberIndex, Vec<Vec<u8>>> {
        self.signers
            .iter_mut()
            .map(|signer| {
                (signer.index, signer.driver.sign(batch.clone(), Signed::Everything, &mut signer.record).unwrap())
            })
            .collect()
    }

    /// bitcoind comes back with the same chain and nothing in its mempool.
    fn lose_mempool(&mut self) {
        self.bitcoind.stop().unwrap();
        std::fs::remove_file(self.bitcoind.mempool_path()).unwrap();
        self.bitcoind.restart().unwrap();
    }
}

/// Pays a script from the wallet of bitcoind.
fn pay(bitcoind: &Bitcoind, script: &ScriptBuf) -> OutPoint {
    let address = Address::from_script(script, Network::Regtest).unwrap();
    let txid = bitcoind.send_to(&address, COIN_SAT).unwrap();
    let outputs = bitcoind.transaction(&txid).unwrap().output;
    let vout = outputs.iter().position(|output| output.script_pubkey == *script).unwrap();
    OutPoint::new(txid, u32::try_from(vout).unwrap())
}

/// A deposit to an address of the wanted kind, as the ledger knows it after its claim.
fn deposit(bitcoind: &Bitcoind, params: &ChainParams, user: u8, wanted: fn(&ScriptBuf) -> bool) -> TreasuryCoin {
    // In the second epoch the addresses of both kinds are valid.
    let programs = deposit_programs(params, params.epoch_length_blocks, &claim_script(user)).unwrap();
    let program = programs.into_iter().find(|program| wanted(&program.script_pubkey)).unwrap();
    TreasuryCoin::from_deposit(&PeginClaim {
        deposit: pay(bitcoind, &program.script_pubkey),
        amount_sat: COIN_SAT,
        claim_script: claim_script(user),
        parent_block: bitcoin::BlockHash::all_zeros(),
        witness_script: program.witness_script,
        deposit_script: program.script_pubkey,
        claim_txid: elements::Txid::from_byte_array([8; 32]),
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_of_deposits_and_change_signed_by_three_of_four_is_paid_and_survives_a_reorganisation() {
    let mut story = Story::begin().await;
    let plan = story.propose().await.unwrap();
    assert_eq!((plan.inputs.len(), plan.paid.len()), (3, 2));
    assert!(!plan.change.is_empty());
    let txid = plan.transaction.compute_txid();
    assert_eq!(story.judge(&plan.transaction).await, BatchVerdict::Good(Box::new(plan.clone())));

    // Any three signatures make a transaction with the agreed txid that bitcoind would take, by the rules of the main network.
    let signatures = story.sign(&plan);
    let batch = story.batch(&plan);
    for absent in 0..u16::from(MEMBERS) {
        let mut three = signatures.clone();
        three.remove(&MemberIndex(absent));
        let signed =
            finalize_batch(&story.treasury, &batch.transaction, &batch.coins, &three, &BTreeMap::new()).unwrap();
        assert_eq!(signed.compute_txid(), txid);
        let raw = bitcoin::consensus::encode::serialize_hex(&signed);
        let verdict: Value = story.bitcoind.client().unwrap().call("testmempoolaccept", &[json!([raw])]).unwrap();
        assert_eq!(verdict[0]["allowed"], json!(true), "{verdict}");
        three.remove(&MemberIndex(absent ^ 1));
        assert!(finalize_batch(&story.treasury, &batch.transaction, &batch.coins, &three, &BTreeMap::new()).is_none());
    }

    let first = &story.signers[0];
    assert_eq!(first.driver.state(BATCH_HEIGHT), Some(BatchState::Signing { signatures: 1, needed: 3 }));
    let missing = [1, 2, 3].map(MemberIndex).to_vec();
    let wanted = WantedSignatures { height: BATCH_HEIGHT, txid, members: missing, treasury_key: true };
    assert_eq!(first.driver.wanted(), [wanted]);
    let give = |from: u16| {
        first.driver.accept(MemberIndex(from), BATCH_HEIGHT, &txid, signatures[&MemberIndex(from)].clone()).unwrap()
    };
    assert_eq!(give(1), Shares::New);
    assert_eq!(give(1), Shares::Known);
    assert_eq!(give(3), Shares::New);
    assert!(first.driver.wanted().is_empty());
    first.wait(|state| *state == BatchState::Broadcast).await;
    // A member without the signatures sees it as well.
    story.signers[2].wait(|state| *state == BatchState::Broadcast).await;

    let block = story.bitcoind.mine(1).unwrap()[0];
    let confirmed = first.wait(|state| matches!(state, BatchState::Confirmed { .. })).await;
    assert_eq!(confirmed, BatchState::Confirmed { block, confirmations: 1 });
    for (payee, paid) in story.payees.iter().zip(&plan.paid) {
        assert_eq!(story.bitcoind.received_sat(payee, 1).unwrap(), paid.amount_sat - paid.fee_sat);
    }

    // The block is replaced, and bitcoind forgets what was in it.
    story.bitcoind.client().unwrap().call_unit("invalidateblock", &[json!(block)]).unwrap();
    first.wait(|state| *state == BatchState::Broadcast).await;
    story.lose_mempool();
    // It is handed over again: only then can a block have it.
    let client = story.bitcoind.client().unwrap();
    let mut news = story.signers[0].driver.changes();
    let handed_over = async {
        while !client.call::<Vec<Txid>>("getrawmempool", &[]).unwrap().contains(&txid) {
            // The driver tells nothing when the batch is in the mempool before and after its look: ask again anyway.
            let _ = tokio::time::timeout(Duration::from_millis(50), news.changed()).await;
        }
    };
    tokio::time::timeout(LIMIT, handed_over).await.expect("the batch was not handed over again");
    let again = story.bitcoind.mine(1).unwrap()[0];
    let confirmed = story.signers[0].wait(|state| matches!(state, BatchState::Confirmed { .. })).await;
    assert_eq!(confirmed, BatchState::Confirmed { block: again, confirmations: 1 });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_member_hands_a_signed_batch_over_without_asking_anybody_again() {
    let mut story = Story::begin().await;
    let plan = story.propose().await.unwrap();
    let txid = plan.transaction.compute_txid();
    let signatures = story.sign(&plan);
    story.bitcoind.stop().unwrap();
    let first = &story.signers[0];
    wait(&mut first.member.parent.subscribe(), |state| state.problem().is_some()).await;
    for from in [1, 2].map(MemberIndex) {
        first.driver.accept(from, BATCH_HEIGHT, &txid, signatures[&from].clone()).unwrap();
    }
    assert_eq!(first.driver.state(BATCH_HEIGHT), Some(BatchState::Signed { problem: None }));

    let batch = story.batch(&plan);
    let mut first = story.signers.remove(0).restart().await;
    assert_eq!(first.driver.state(BATCH_HEIGHT), None);
    assert_eq!(first.driver.sign(batch, Signed::Everything, &mut first.record).unwrap(), signatures[&MemberIndex(0)]);
    assert_eq!(first.driver.own_signatures(BATCH_HEIGHT, &txid).unwrap(), signatures[&MemberIndex(0)]);
    assert_eq!(first.driver.state(BATCH_HEIGHT), Some(BatchState::Signed { problem: None }));
    story.bitcoind.restart().unwrap();
    first.wait(|state| *state == BatchState::Broadcast).await;
    story.bitcoind.mine(1).unwrap();
    first.wait(|state| matches!(state, BatchState::Confirmed { .. })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_signatures_name_their_member_and_count_for_nothing() {
    let mut story = Story::begin().await;
    let plan = story.propose().await.unwrap();
    let txid = plan.transaction.compute_txid();
    let first = &story.signers[0];
    assert_eq!(first.driver.accept(MemberIndex(1), BATCH_HEIGHT, &txid, Vec::new()).unwrap(), Shares::Early);
    let signatures = story.sign(&plan);
    let first = &mut story.signers[0];
    let good = &signatures[&MemberIndex(1)];

    let mut flipped = good.clone();
    flipped[1][20] ^= 1;
    let too_few = good[..2].to_vec();
    let of_another = signatures[&MemberIndex(2)].clone();
    for bad in [flipped, too_few, of_another, Vec::new()] {
        match first.driver.accept(MemberIndex(1), BATCH_HEIGHT, &txid, bad) {
            Err(PegoutError::BadSignatures { member: MemberIndex(1), height: BATCH_HEIGHT, .. }) => {}
            other => panic!("{other:?}"),
        }
    }
    let other = Txid::from_byte_array([1; 32]);
    match first.driver.accept(MemberIndex(1), BATCH_HEIGHT, &other, good.clone()) {
        Err(PegoutError::OtherBatch { member: MemberIndex(1), found, expected, .. }) => {
            assert_eq!((found, expected), (other, txid));
        }
        other => panic!("{other:?}"),
    }
    match first.driver.accept(MemberIndex(9), BATCH_HEIGHT, &txid, good.clone()) {
        Err(PegoutError::NoMember(MemberIndex(9))) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(first.driver.state(BATCH_HEIGHT), Some(BatchState::Signing { signatures: 1, needed: 3 }));

    // A second batch at the same height is never signed: neither by the driver nor, after a restart, by the record.
    let mut second = story.batch(&plan);
    second.transaction.lock_time = bitcoin::absolute::LockTime::from_consensus(1);
    let first = &mut story.signers[0];
    match first.driver.sign(second.clone(), Signed::Everything, &mut first.record) {
        Err(PegoutError::TwoBatches { first, .. }) => assert_eq!(first, txid),
        other => panic!("{other:?}"),
    }
    let mut first = story.signers.remove(0).restart().await;
    match first.driver.sign(second, Signed::Everything, &mut first.record) {
        Err(PegoutError::Record { height: BATCH_HEIGHT, .. }) => {}
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_judged_by_its_rules_first_and_by_bitcoind_second() {
    let mut story = Story::begin().await;
    let plan = story.propose().await.unwrap();

    let mut robbed = plan.transaction.clone();
    // One satoshi could be its part of a fee that does not divide.
    robbed.output[0].value -= Amount::from_sat(2);
    assert!(matches!(story.judge(&robbed).await, BatchVerdict::Bad(_)));
    let mut stray = plan.transaction.clone();
    stray.output[0].script_pubkey = story.bitcoind.new_address().unwrap().script_pubkey();
    assert!(matches!(story.judge(&stray).await, BatchVerdict::Bad(_)));

    // A deposit that is not in a block yet cannot be spent: it is not proposed, and not voted for.
    let confirmed = story.coins.clone();
    let fresh = deposit(&story.bitcoind, &story.params, 3, |script| script.is_p2wsh());
    story.coins = vec![confirmed[0].clone(), confirmed[1].clone(), fresh.clone()];
    let partial = story.propose().await.unwrap();
    assert_eq!(partial.paid.len(), 1);
    assert!(!partial.inputs.contains(&fresh.outpoint));
    let rash = plan_batch(&story.treasury, &story.coins, &story.pending, 5_000).unwrap();
    assert!(rash.inputs.contains(&fresh.outpoint));
    assert!(matches!(story.judge(&rash.transaction).await, BatchVerdict::Unknown(_)));
    story.bitcoind.mine(1).unwrap();
    // It would still put all change under a key that has not signed anything on Bitcoin.
    match story.judge(&rash.transaction).await {
        BatchVerdict::Unknown(reason) => assert!(reason.contains("treasury key"), "{reason}"),
        other => panic!("{other:?}"),
    }
    let careful = story.propose().await.unwrap();
    assert_eq!((&careful.inputs, careful.change_sat()), (&rash.inputs, rash.change_sat()));
    assert_eq!(story.judge(&careful.transaction).await, BatchVerdict::Good(Box::new(careful)));
    story.coins = confirmed;

    // Far from this member's own estimate.
    let mut dear = plan.transaction.clone();
    for payment in dear.output.iter_mut().take(plan.paid.len()) {
        payment.value -= Amount::from_sat(80_000);
    }
    match story.judge(&dear).await {
        BatchVerdict::Unknown(reason) => assert!(reason.contains("fee rate"), "{reason}"),
        other => panic!("{other:?}"),
    }

    story.bitcoind.stop().unwrap();
    for signer in &story.signers {
        wait(&mut signer.member.parent.subscribe(), |state| state.problem().is_some()).await;
    }
    assert_eq!(story.propose().await, None);
    assert!(matches!(story.judge(&plan.transaction).await, BatchVerdict::Unknown(_)));
    assert!(matches!(story.judge(&robbed).await, BatchVerdict::Bad(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_batches_that_take_each_others_place_the_newest_is_handed_over_and_whichever_is_confirmed_counts() {
    const RAISED_HEIGHT: u32 = BATCH_HEIGHT + 1;
    let mut story = Story::begin().await;
    let plan = story.propose().await.unwrap();
    let first = story.batch(&plan);
    let first_signatures = story.sign_final(&first);
    let give = |story: &Story, batch: &FinalBatch, signatures: &BTreeMap<MemberIndex, Vec<Vec<u8>>>| {
        for from in [1, 2].map(MemberIndex) {
            let txid = batch.transaction.compute_txid();
            story.signers[0].driver.accept(from, batch.height, &txid, signatures[&from].clone()).unwrap();
        }
    };
    give(&story, &first, &first_signatures);
    story.signers[0].wait(|state| *state == BatchState::Broadcast).await;

    let family = Family {
        height: BATCH_HEIGHT,
        coins: first.coins.clone(),
        requests: story.pending.clone(),
        change: plan.change.clone(),
        change_use: ChangeUse::Unspent,
        batches: vec![FamilyBatch { inputs: plan.inputs.clone(), fee_sat: plan.fee_sat }],
    };
    let raised = plan_replacement(&story.treasury, &family, |_| true, 20_000).unwrap();
    let second = FinalBatch { height: RAISED_HEIGHT, transaction: raised.transaction.clone(), ..first.clone() };
    let second_signatures = story.sign_final(&second);
    give(&story, &second, &second_signatures);
    story.signers[0].wait_at(RAISED_HEIGHT, |state| *state == BatchState::Broadcast).await;
    let client = story.bitcoind.client().unwrap();
    let waiting: Vec<Txid> = client.call("getrawmempool", &[]).unwrap();
    assert_eq!(waiting, [raised.transaction.compute_txid()], "bitcoind takes it in place of the other");
    story.signers[0].wait(|state| *state == BatchState::Signed { problem: None }).await;

    let block = story.bitcoind.mine(1).unwrap()[0];
    story.signers[0].wait_at(RAISED_HEIGHT, |state| matches!(state, BatchState::Confirmed { .. })).await;
    assert_eq!(story.signers[0].driver.state(BATCH_HEIGHT), Some(BatchState::Signed { problem: None }));
    assert!(story.signers[0].driver.buried().is_empty());

    // Another block in its place confirms the first one: somebody kept it.
    client.call_unit("invalidateblock", &[json!(block)]).unwrap();
    let three = first_signatures.into_iter().take(3).collect();
    let none = BTreeMap::new();
    let signed = finalize_batch(&story.treasury, &first.transaction, &first.coins, &three, &none).unwrap();
    let raw = bitcoin::consensus::encode::serialize_hex(&signed);
    let miner = story.bitcoind.new_address().unwrap().to_string();
    let _: Value = client.call("generateblock", &[json!(miner), json!([raw])]).unwrap();
    story.signers[0].wait(|state| matches!(state, BatchState::Confirmed { .. })).await;
    story.signers[0].wait_at(RAISED_HEIGHT, |state| *state == BatchState::Signed { problem: None }).await;
    story.bitcoind.mine(8).unwrap();
    let driver = &story.signers[0].driver;
    wait(&mut driver.changes(), |_| !driver.buried().is_empty()).await;
    let outcomes: Vec<(u32, Outcome)> = driver.buried().iter().map(|batch| (batch.height, batch.outcome)).collect();
    assert_eq!(outcomes, [(BATCH_HEIGHT, Outcome::Confirmed), (RAISED_HEIGHT, Outcome::Superseded)]);
    for (payee, paid) in story.payees.iter().zip(&plan.paid) {
        assert_eq!(story.bitcoind.received_sat(payee, 1).unwrap(), paid.amount_sat - paid.fee_sat, "paid once");
    }
}
