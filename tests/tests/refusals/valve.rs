//! Batches that must wait, halts, and peg-outs that would never be paid.

use std::sync::Arc;

use aquifer_assets::peg::pegout_script;
use aquifer_assets::primitives::{Block, Transaction, TxOut};
use aquifer_federation::roster::MemberIndex;
use aquifer_federation::treasury::{BatchPlan, ParkReason, batch_commitment, plan_batch};
use aquifer_federation::valve::{Closure, Limit, Notice, NoticeError, NoticeKind, Valve, WaitReason};
use aquifer_functionary::chain::body::Body;
use aquifer_functionary::chain::judge::{BadBlock, Examined, Scrutiny, Verdict};
use aquifer_functionary::halt::{HaltDesk, HaltError, Published, Taken};
use aquifer_functionary::mempool::{Admission, Mempool, MempoolError, PegoutPolicy, UnpayablePegout};
use aquifer_tests::forge::{Chain, Coin, FEE_SAT, Owner, Pay};
use bitcoin::ScriptBuf;
use elements::Script;
use elements::confidential::{Asset, Value};

pub(crate) const BTC: u64 = 100_000_000;

pub(crate) fn destination() -> ScriptBuf {
    ScriptBuf::from_bytes(hex::decode("0014751e76e8199196d454941c45d1b3a323f1433bd6").unwrap())
}

/// Alice has four bitcoin, and the reserve is as large.
pub(crate) fn rich(seed: u64) -> (Chain, Owner, Coin) {
    let mut chain = Chain::new(seed).unwrap();
    chain.bitcoin.pay_from(chain.founded.federation.treasury.clone());
    let alice = Owner::new(&mut chain.rng);
    let coin = chain.peg_in(alice, &[4 * BTC]).unwrap().pop().unwrap();
    (chain, alice, coin)
}

fn pegout_to(chain: &mut Chain, owner: Owner, coin: &Coin, amount_sat: u64, script: Script) -> Transaction {
    let pegged = chain.pegged();
    let rest = coin.secrets.value - amount_sat - FEE_SAT;
    let pays = [Pay::explicit(pegged, amount_sat, script), Pay::confidential(pegged, rest, owner.script())];
    chain.pay(std::slice::from_ref(coin), &pays).unwrap().transaction
}

pub(crate) fn pegout(chain: &mut Chain, owner: Owner, coin: &Coin, amount_sat: u64, to: &ScriptBuf) -> Transaction {
    let script = pegout_script(&chain.judge.params.parent_genesis(), to);
    pegout_to(chain, owner, coin, amount_sat, script)
}

/// A chain whose last block requests 1.5 BTC, which wait for five seconds.
fn requested(seed: u64) -> Chain {
    let (mut chain, alice, coin) = rich(seed);
    let transaction = pegout(&mut chain, alice, &coin, 3 * BTC / 2, &destination());
    chain.extend(vec![transaction]).unwrap();
    chain
}

/// The batch of a proposer that asks no valve.
fn plan(chain: &Chain) -> BatchPlan {
    let snapshot = chain.judge.ledger.snapshot().unwrap();
    let requests: Vec<_> = snapshot.waiting_pegouts().unwrap().into_iter().map(|waiting| waiting.request).collect();
    plan_batch(&chain.judge.treasury, &snapshot.treasury_coins().unwrap(), &requests, 2_000).unwrap()
}

pub(crate) fn block(chain: &Chain, commitments: &[Script], batch: Option<&BatchPlan>) -> Body {
    let pegged = chain.pegged();
    let commitment = batch.map(|batch| batch_commitment(&batch.transaction.compute_txid()));
    let block: Block = chain
        .propose_with(Vec::new(), |coinbase| {
            for script in commitments.iter().chain(&commitment) {
                let output = TxOut {
                    asset: Asset::Explicit(pegged),
                    value: Value::Explicit(0),
                    script_pubkey: script.clone(),
                    ..TxOut::new_fee(0, pegged)
                };
                coinbase.output.insert(0, output);
            }
        })
        .unwrap();
    Body { block, batch: batch.map(|batch| batch.transaction.clone()) }
}

pub(crate) fn judge(chain: &Chain, body: &Body) -> Verdict {
    chain.judge.judge(body.block.block_hash().into(), &body.to_bytes().unwrap()).unwrap()
}

pub(crate) fn assert_valid(chain: &Chain, body: &Body) {
    let verdict = judge(chain, body);
    assert!(matches!(verdict, Verdict::Valid(_)), "{verdict:?}");
}

pub(crate) fn bad_batch(chain: &Chain, body: &Body) -> String {
    match judge(chain, body) {
        Verdict::Invalid(BadBlock::Batch(reason)) => reason,
        other => panic!("{other:?}"),
    }
}

fn bad_notice(chain: &Chain, scripts: &[Script]) -> NoticeError {
    match judge(chain, &block(chain, scripts, None)) {
        Verdict::Invalid(BadBlock::Notice(error)) => error,
        other => panic!("{other:?}"),
    }
}

/// A notice of a member that has seen the last block.
fn notice(chain: &Chain, member: u16, kind: NoticeKind) -> Notice {
    let host = chain.founded.seeds[usize::from(member)].keys().host;
    let genesis = chain.judge.params.genesis_hash().to_byte_array();
    let seen_height = chain.next_height().unwrap() - 1;
    Notice::sign(&host, &genesis, MemberIndex(member), kind, seen_height)
}

pub(crate) fn valve(chain: &Chain) -> Valve {
    chain.judge.valve(&chain.judge.ledger.snapshot().unwrap()).unwrap()
}

/// Connects a block as a member that was away does.
pub(crate) fn connect(chain: &mut Chain, body: Body) {
    let verdict = chain.judge.examine(body, Scrutiny::ChainOnly).unwrap();
    let Verdict::Valid(examined) = verdict else { panic!("{verdict:?}") };
    let (sealed, certificate) = chain.seal(examined.body.block.clone()).unwrap();
    let batch = examined.body.batch.clone();
    let examined = Examined { body: Body { block: sealed, batch }, ..*examined };
    chain.judge.connect(&mut chain.ledger, &examined, &certificate).unwrap();
}

/// Connects a block that carries notices.
fn carry(chain: &mut Chain, scripts: &[Script]) {
    let body = block(chain, scripts, None);
    connect(chain, body);
}

fn extend_at(chain: &mut Chain, transactions: Vec<Transaction>, time: u32) {
    let mut block = chain.propose(transactions).unwrap();
    block.header.time = time;
    chain.follow(&block).unwrap();
}

/// Blocks that follow each other within a second have one median time past. Of equal requests in two of them the valve takes
/// the one with the lower id first, whichever block it is in, and a batch of equal payments must be read in the same order.
#[test]
fn equal_requests_of_one_second_are_paid_in_the_order_of_the_valve() {
    let (mut chain, alice, coin) = rich(68);
    let pegged = chain.pegged();
    let amount_sat = BTC / 2;
    let share_sat = amount_sat + 2 * FEE_SAT;
    let mut pays = vec![Pay::confidential(pegged, share_sat, alice.script()); 6];
    pays.push(Pay::confidential(pegged, coin.secrets.value - 6 * share_sat - FEE_SAT, alice.script()));
    let split = chain.pay(&[coin], &pays).unwrap();
    chain.extend(vec![split.transaction.clone()]).unwrap();
    let coins: Vec<Coin> = (0..6).map(|vout| split.coin(vout, alice).unwrap()).collect();
    // As many as a median time past looks at.
    (0..11).for_each(|_| drop(chain.extend(Vec::new()).unwrap()));
    let then = chain.judge.ledger.snapshot().unwrap().tip().unwrap().time + 1_000;
    (0..6).for_each(|_| extend_at(&mut chain, Vec::new(), then));
    let time = valve(&chain).time_seconds();
    assert_eq!(time, u64::from(then));
    let request = |chain: &mut Chain, coin: &Coin| pegout(chain, alice, coin, amount_sat, &destination());
    let first: Vec<Transaction> = coins.iter().take(5).map(|coin| request(&mut chain, coin)).collect();
    let least = first.iter().map(Transaction::txid).min().unwrap();
    extend_at(&mut chain, first, then + 1);
    let second = loop {
        let second = request(&mut chain, &coins[5]);
        if second.txid() < least {
            break second;
        }
    };
    let second_txid = second.txid();
    extend_at(&mut chain, vec![second], then + 1);
    assert_eq!(valve(&chain).time_seconds(), time, "both blocks have one median time past");

    let built = loop {
        let built = chain.judge.build().unwrap();
        if built.batch.is_some() {
            break built;
        }
        chain.extend(Vec::new()).unwrap();
    };
    let paid = |examined: &Examined| {
        let batch = examined.batch.as_ref().unwrap();
        batch.paid.iter().map(|paid| paid.request.txid).collect::<Vec<_>>()
    };
    assert!(paid(&built).len() < 6 && paid(&built).contains(&second_txid), "{:?}", paid(&built));
    let Verdict::Valid(judged) = judge(&chain, &built.body) else { panic!("the others refuse it") };
    assert_eq!(paid(&judged), paid(&built));
    let Verdict::Valid(final_one) = chain.judge.examine(built.body.clone(), Scrutiny::ChainOnly).unwrap() else {
        panic!("it is not valid once it is final")
    };
    assert_eq!(paid(&final_one), paid(&built));
}

#[test]
fn a_proposer_that_pays_what_must_wait() {
    let mut chain = requested(60);
    let reason = bad_batch(&chain, &block(&chain, &[], Some(&plan(&chain))));
    assert!(reason.contains("must wait") && reason.contains("5 seconds"), "{reason}");
    assert!(chain.judge.build().unwrap().batch.is_none(), "an honest proposer does not plan it either");
    let mut waited = 0;
    while chain.judge.build().unwrap().batch.is_none() {
        chain.extend(Vec::new()).unwrap();
        waited += 1;
        assert!(waited < 12, "it is never released");
    }
    assert!(waited > 0);
    let paying = block(&chain, &[], Some(&plan(&chain)));
    assert_valid(&chain, &paying);
    assert_eq!(valve(&chain).counting_sat(), 0);
    connect(&mut chain, paying);
    assert_eq!(valve(&chain).counting_sat(), 3 * BTC / 2);
    let books = chain.judge.ledger.snapshot().unwrap().books().unwrap();
    assert_eq!((books.difference_sat(), books.waiting_sat, books.in_flight_sat), (0, 0, 4 * BTC + FEE_SAT));
    assert_eq!(chain.judge.ledger.snapshot().unwrap().recount().unwrap(), books);
}

#[test]
fn a_block_with_a_batch_and_the_notices_that_close_the_valve() {
    let mut chain = requested(61);
    (0..6).for_each(|_| drop(chain.extend(Vec::new()).unwrap()));
    let halts: Vec<Script> = [1, 2].map(|member| notice(&chain, member, NoticeKind::Halt).script()).to_vec();
    let plan = plan(&chain);
    assert_valid(&chain, &block(&chain, &[], Some(&plan)));
    assert_valid(&chain, &block(&chain, &halts[..1], Some(&plan)));
    assert_valid(&chain, &block(&chain, &halts, None));
    let both = block(&chain, &halts, Some(&plan));
    let reason = bad_batch(&chain, &both);
    assert!(reason.contains("halted"), "{reason}");

    // Two of four close it, three open it; the chain goes on meanwhile.
    carry(&mut chain, &halts);
    let since_height = chain.next_height().unwrap() - 1;
    assert_eq!(valve(&chain).closure(), Some(Closure::Halted { since_height }));
    assert!(bad_batch(&chain, &block(&chain, &[], Some(&plan))).contains("halted"));
    assert!(chain.judge.build().unwrap().batch.is_none());
    let resumes: Vec<Script> = [0, 1, 3].map(|member| notice(&chain, member, NoticeKind::Resume).script()).to_vec();
    // What opens the valve lets the batch of the same block out.
    assert!(bad_batch(&chain, &block(&chain, &resumes[..2], Some(&plan))).contains("halted"));
    assert_valid(&chain, &block(&chain, &resumes, Some(&plan)));
    carry(&mut chain, &resumes);
    assert_eq!(valve(&chain).closure(), None);
    assert!(chain.judge.build().unwrap().batch.is_some());
}

#[test]
fn what_k_members_have_signed_is_a_fact() {
    let mut chain = requested(62);
    (0..6).for_each(|_| drop(chain.extend(Vec::new()).unwrap()));
    let halts: Vec<Script> = [1, 2].map(|member| notice(&chain, member, NoticeKind::Halt).script()).to_vec();
    let body = block(&chain, &[halts, vec![Script::from(b"\x6a\x05AQH1!".to_vec())]].concat(), Some(&plan(&chain)));
    connect(&mut chain, body);
    assert!(valve(&chain).closure().is_some());
    assert_eq!(valve(&chain).counting_sat(), 3 * BTC / 2);

    // The state of the valve is lost: the blocks tell it again, to the bit.
    let before = valve(&chain).save();
    let genesis = chain.judge.params.genesis_hash().to_byte_array();
    chain.ledger.replace_valve(&Valve::new(&chain.judge.roster, genesis)).unwrap();
    assert!(chain.judge.valve(&chain.judge.ledger.snapshot().unwrap()).is_err());
    chain.judge.mend_valve(&mut chain.ledger).unwrap();
    assert_eq!(valve(&chain).save(), before);
}

#[test]
fn notices_that_must_not_stand_in_a_block() {
    let chain = requested(63);
    let good = notice(&chain, 1, NoticeKind::Halt);
    assert_valid(&chain, &block(&chain, &[good.script()], None));
    let forged = Notice { member: MemberIndex(2), ..good.clone() };
    assert_eq!(bad_notice(&chain, &[forged.script()]), NoticeError::Signature(MemberIndex(2)));
    let twice = [good.script(), good.script()];
    assert_eq!(bad_notice(&chain, &twice), NoticeError::Second(MemberIndex(1)));
    let mut cut = good.script().to_bytes();
    cut.pop();
    assert!(matches!(bad_notice(&chain, &[Script::from(cut)]), NoticeError::Malformed(_)));
    let idle = notice(&chain, 1, NoticeKind::Resume);
    assert!(matches!(bad_notice(&chain, &[idle.script()]), NoticeError::NothingNew { .. }));
}

#[test]
fn a_member_that_has_halted_takes_no_part_and_tells_the_others() {
    let mut chain = requested(64);
    (0..6).for_each(|_| drop(chain.extend(Vec::new()).unwrap()));
    let paying = block(&chain, &[], Some(&plan(&chain)));
    assert_valid(&chain, &paying);
    let halt = notice(&chain, 0, NoticeKind::Halt);
    let ledger = Arc::clone(&chain.judge.ledger);
    let desk = Arc::clone(&chain.judge.halts);
    let other = notice(&chain, 1, NoticeKind::Halt);
    assert_eq!(desk.submit(&ledger, &other.to_bytes(), "x"), Err(HaltError::NotOurs(MemberIndex(1))));
    assert_eq!(desk.submit(&ledger, &halt.to_bytes(), "something is wrong"), Ok(Published::Yes));
    assert_eq!(desk.take_to_relay(), std::slice::from_ref(&halt));
    assert!(matches!(judge(&chain, &paying), Verdict::NotNow(reason) if reason.contains("something is wrong")));
    let built = chain.judge.build().unwrap();
    assert!(built.batch.is_none());
    let coinbase = built.body.block.txdata.first().unwrap();
    assert!(coinbase.output.iter().any(|output| output.script_pubkey == halt.script()));

    // A resume waits until the halt stands in a block; the halt sent again has no effect.
    let resume = notice(&chain, 0, NoticeKind::Resume);
    assert!(matches!(desk.submit(&ledger, &resume.to_bytes(), "x"), Err(HaltError::Notice(_) | HaltError::Old { .. })));
    carry(&mut chain, &[halt.script()]);
    assert!(desk.is_empty());
    assert_eq!(valve(&chain).closure(), None, "one of four closes nothing");
    assert!(chain.judge.build().unwrap().batch.is_none(), "but it stays out");
    assert!(desk.submit(&ledger, &halt.to_bytes(), "again").is_err());

    let resume = notice(&chain, 0, NoticeKind::Resume);
    assert_eq!(desk.submit(&ledger, &resume.to_bytes(), "all is well"), Ok(Published::Yes));
    assert!(desk.submit(&ledger, &halt.to_bytes(), "again").is_err());
    assert_eq!(desk.hold(), None);
    let paying = block(&chain, &[], Some(&plan(&chain)));
    assert_valid(&chain, &paying);
}

#[test]
fn a_halt_outlives_the_desk_and_is_said_again_in_every_phase() {
    let mut chain = requested(65);
    let folder = tempfile::tempdir().unwrap();
    let genesis = chain.judge.params.genesis_hash().to_byte_array();
    let open = |chain: &Chain| {
        let host = chain.founded.seeds[0].keys().host;
        let roster = Arc::clone(&chain.judge.roster);
        HaltDesk::open(&folder.path().join("halt.db"), roster, genesis, MemberIndex(0), host).unwrap()
    };
    let ledger = Arc::clone(&chain.judge.ledger);
    let desk = open(&chain);
    desk.halt(&ledger, "the auditor objects").unwrap();
    let said = desk.pending(&valve(&chain));
    assert_eq!(said.len(), 1);
    drop(desk);
    let desk = open(&chain);
    assert_eq!(desk.hold().as_deref(), Some("the auditor objects"));
    assert_eq!(desk.pending(&valve(&chain)), said);

    // With another it closes the valve, and the others open it without this member: it says halt once more.
    let scripts = |chain: &Chain, members: &[u16], kind| -> Vec<Script> {
        members.iter().map(|member| notice(chain, *member, kind).script()).collect()
    };
    let closing = [scripts(&chain, &[1], NoticeKind::Halt), vec![said[0].script()]].concat();
    carry(&mut chain, &closing);
    assert!(valve(&chain).closure().is_some());
    desk.refresh(&valve(&chain)).unwrap();
    assert!(desk.is_empty(), "the chain shows it");
    let opening = scripts(&chain, &[1, 2, 3], NoticeKind::Resume);
    carry(&mut chain, &opening);
    assert_eq!(valve(&chain).closure(), None);
    desk.refresh(&valve(&chain)).unwrap();
    let again = desk.pending(&valve(&chain));
    assert!(matches!(&again[..], [Notice { kind: NoticeKind::Halt, member: MemberIndex(0), .. }]), "{again:?}");
}

#[test]
fn notices_of_others_are_verified_and_at_most_one_of_each_is_kept() {
    let mut chain = requested(66);
    let desk = Arc::clone(&chain.judge.halts);
    let state = valve(&chain);
    let good = notice(&chain, 3, NoticeKind::Halt);
    let forged = Notice { member: MemberIndex(2), ..good.clone() };
    assert_eq!(desk.take(&state, forged), Err(HaltError::Notice(NoticeError::Signature(MemberIndex(2)))));
    assert_eq!(desk.take(&state, good.clone()), Ok(Taken::New));
    assert_eq!(desk.take(&state, good.clone()), Ok(Taken::Known));
    assert_eq!(desk.pool(), std::slice::from_ref(&good));
    carry(&mut chain, &[good.script()]);
    assert!(desk.is_empty());
    assert!(matches!(desk.take(&valve(&chain), good), Err(HaltError::Notice(NoticeError::Stale { .. }))));
    // A halt of our own that our records do not show binds us: they were restored from a backup.
    let ours = notice(&chain, 0, NoticeKind::Halt);
    assert_eq!(desk.take(&valve(&chain), ours), Ok(Taken::New));
    assert!(desk.hold().is_some());
}

#[test]
fn pegouts_that_would_never_be_paid_are_refused_before_the_burn() {
    let (mut chain, alice, coin) = rich(67);
    let judge = &chain.judge;
    let policy = PegoutPolicy { roster: Arc::clone(&judge.roster), treasury: Arc::clone(&judge.treasury) };
    let mempool = Mempool::new((*judge.params).clone(), Arc::clone(&judge.ledger), Arc::clone(&judge.parent))
        .with_pegout_policy(policy);
    let own = judge.treasury.output().script_pubkey().clone();
    let bare = ScriptBuf::from_bytes(vec![0x51]);
    let refused = |transaction: Transaction| match mempool.submit(transaction) {
        Err(MempoolError::Pegout(error)) => error,
        other => panic!("{other:?}"),
    };
    let too_much = refused(pegout(&mut chain, alice, &coin, 3 * BTC, &destination()));
    assert!(
        matches!(
            &too_much,
            UnpayablePegout::Limit { vout: 0, reason: WaitReason::TooLarge { limit: Limit::ReserveShareOfBatch, .. } }
        ),
        "{too_much:?}"
    );
    assert!(too_much.is_temporary() && too_much.to_string().contains("share of the reserve"), "{too_much}");
    let parked = [
        (100, destination(), ParkReason::Dust { amount_sat: 100, limit_sat: 294 }),
        (BTC, own, ParkReason::Donation),
        (BTC, bare, ParkReason::NotStandard),
    ];
    for (amount_sat, to, reason) in parked {
        let error = refused(pegout(&mut chain, alice, &coin, amount_sat, &to));
        assert_eq!(error, UnpayablePegout::Parked { vout: 0, reason });
    }
    let mainnet = bitcoin::constants::genesis_block(bitcoin::Network::Bitcoin).block_hash();
    let elsewhere = pegout_to(&mut chain, alice, &coin, BTC, pegout_script(&mainnet, &destination()));
    assert!(matches!(refused(elsewhere), UnpayablePegout::OtherParent { vout: 0, found, .. } if found == mainnet));
    let good = pegout(&mut chain, alice, &coin, 3 * BTC / 2, &destination());
    assert_eq!(mempool.submit(good.clone()).unwrap(), Admission::New(good.txid()));
}
