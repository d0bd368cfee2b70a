//! Batches that take the place of others, in the ledger and before the judge.

use aquifer_federation::treasury::{BatchKind, BatchPlan, CoinKind, Family, PROBE_SAT, plan_batch};
use aquifer_functionary::chain::judge::{Examined, Scrutiny, Verdict};
use aquifer_functionary::store::ledger::Snapshot;
use aquifer_tests::forge::{Chain, Coin, Owner};
use bitcoin::{Amount, OutPoint, Txid};

use crate::valve::{BTC, assert_valid, bad_batch, block, connect, destination, judge, pegout, rich, valve};

/// In the last block a batch pays a peg-out of half a bitcoin; and alice has another coin.
fn paid(seed: u64) -> (Chain, Owner, Coin, BatchPlan) {
    let (mut chain, alice, coin) = rich(seed);
    let rest = chain.peg_in(alice, &[4 * BTC]).unwrap().pop().unwrap();
    let transaction = pegout(&mut chain, alice, &coin, BTC / 2, &destination());
    chain.extend(vec![transaction]).unwrap();
    let batch = carry_what_is_built(&mut chain);
    (chain, alice, rest, batch)
}

/// Lets the judge build blocks until one has a batch, and adds it as a member that was away does.
fn carry_what_is_built(chain: &mut Chain) -> BatchPlan {
    for _ in 0..12 {
        let Examined { body, batch, .. } = chain.judge.build().unwrap();
        match batch {
            Some(batch) => {
                assert_valid(chain, &body);
                connect(chain, body);
                return batch;
            }
            None => drop(chain.extend(Vec::new()).unwrap()),
        }
    }
    panic!("no batch is built");
}

fn with<T>(chain: &Chain, look: impl FnOnce(&Snapshot<'_>) -> T) -> T {
    look(&chain.judge.ledger.snapshot().unwrap())
}

fn family(chain: &Chain, batch: &BatchPlan) -> Family {
    with(chain, |snapshot| snapshot.family_spending(&batch.inputs[0]).unwrap().unwrap())
}

fn txid(batch: &BatchPlan) -> Txid {
    batch.transaction.compute_txid()
}

/// Fees rise, and the batch waits for long.
fn raise(chain: &mut Chain, batch: &BatchPlan, sat_per_kvb: u64) -> BatchPlan {
    chain.bitcoin.set_fee_rate(sat_per_kvb);
    let family = family(chain, batch).height;
    chain.bitcoin.set_overdue(&[family]);
    let raised = carry_what_is_built(chain);
    assert_eq!(raised.kind, BatchKind::Replacement { family });
    chain.bitcoin.set_overdue(&[]);
    raised
}

#[test]
fn a_replacement_changes_nothing_in_the_books() {
    let (mut chain, _, _, first) = paid(80);
    let (before, counting) = (with(&chain, |snapshot| snapshot.books().unwrap()), valve(&chain).counting_sat());
    assert_eq!((before.waiting_sat, before.difference_sat()), (0, 0));
    let raised = raise(&mut chain, &first, 9_000);
    assert!(raised.fee_sat > first.fee_sat && raised.inputs == first.inputs);
    with(&chain, |snapshot| {
        assert_eq!(snapshot.books().unwrap(), before);
        assert_eq!(snapshot.recount().unwrap(), before);
        let stored = snapshot.pegout(&first.paid[0].request).unwrap().unwrap();
        let paid = stored.batch.unwrap();
        assert_eq!((paid.height, paid.vout), (snapshot.tip().unwrap().height, 0), "the latest is shown");
        // Both places of each part of the change are known, as one coin.
        let coins = snapshot.treasury_coins().unwrap();
        for (one, other) in first.change.iter().zip(&raised.change) {
            for outpoint in [one.outpoint, other.outpoint] {
                assert!(coins.iter().any(|coin| coin.outpoint == outpoint && coin.booked_as == one.outpoint));
            }
        }
        assert_eq!(snapshot.open_batches().unwrap().len(), 2);
        assert_eq!(snapshot.siblings(paid.height).unwrap().0.len(), 2);
    });
    assert_eq!(valve(&chain).counting_sat(), counting, "it is charged once");
    let family = family(&chain, &first);
    assert_eq!(family.batches.iter().map(|batch| batch.fee_sat).collect::<Vec<_>>(), [first.fee_sat, raised.fee_sat]);
    assert_eq!(family.change, first.change);

    // The valve can be made again from blocks that hold replacements.
    let state = valve(&chain).save();
    let genesis = chain.judge.params.genesis_hash().to_byte_array();
    let new = aquifer_federation::valve::Valve::new(&chain.judge.roster, genesis);
    chain.ledger.replace_valve(&new).unwrap();
    chain.judge.mend_valve(&mut chain.ledger).unwrap();
    assert_eq!(valve(&chain).save(), state);
}

/// While the treasury key has to show what it can: both kinds of change are in the books, and are read as they were written.
#[test]
fn careful_change_is_kept_and_spent() {
    let (mut chain, alice, coin) = rich(82);
    chain.bitcoin.doubt_key();
    let rest = chain.peg_in(alice, &[4 * BTC]).unwrap().pop().unwrap();
    let transaction = pegout(&mut chain, alice, &coin, BTC / 2, &destination());
    chain.extend(vec![transaction]).unwrap();
    let first = carry_what_is_built(&mut chain);
    assert_eq!(first.change.iter().map(|coin| coin.amount_sat).min(), Some(PROBE_SAT));
    let raised = raise(&mut chain, &first, 9_000);
    assert_eq!(family(&chain, &first).change, first.change);
    with(&chain, |snapshot| {
        let coins = snapshot.treasury_coins().unwrap();
        for coin in first.change.iter().chain(&raised.change) {
            assert!(coins.contains(coin), "{coin:?}");
        }
        assert_eq!(snapshot.books().unwrap().difference_sat(), 0);
        assert_eq!(snapshot.recount().unwrap(), snapshot.books().unwrap());
    });
    // Bitcoin has the second one. The next batch spends its probe.
    chain.bitcoin.lose(first.inputs.iter().map(|input| input.txid).chain([txid(&first)]));
    let transaction = pegout(&mut chain, alice, &rest, BTC / 4, &destination());
    chain.extend(vec![transaction]).unwrap();
    let next = carry_what_is_built(&mut chain);
    let probe = raised.change.iter().find(|coin| coin.kind == CoinKind::Treasury).unwrap();
    assert!(next.inputs.contains(&probe.outpoint), "{:?}", next.inputs);
    assert_eq!(with(&chain, |snapshot| snapshot.books().unwrap().difference_sat()), 0);
}

#[test]
fn what_is_confirmed_is_spent_and_made_anew_when_another_batch_is_confirmed_instead() {
    let (mut chain, alice, coin, first) = paid(81);
    let raised = raise(&mut chain, &first, 9_000);
    // Bitcoin has the second one; all that it spends and the change of the first are not there.
    let others: Vec<Txid> = first.inputs.iter().map(|input| input.txid).chain([txid(&first)]).collect();
    chain.bitcoin.lose(others.clone());
    let transaction = pegout(&mut chain, alice, &coin, BTC / 4, &destination());
    chain.extend(vec![transaction]).unwrap();
    let child = carry_what_is_built(&mut chain);
    let spends = |batch: &BatchPlan, parent: &BatchPlan| batch.inputs.iter().all(|input| input.txid == txid(parent));
    assert_eq!(child.kind, BatchKind::Fresh);
    assert!(spends(&child, &raised), "the alternative that is there");
    let spent: Vec<OutPoint> = child.inputs.clone();
    let books = with(&chain, |snapshot| {
        let coins = snapshot.treasury_coins().unwrap();
        let booked =
            |outpoint: &OutPoint| raised.change.iter().find(|coin| coin.outpoint == *outpoint).unwrap().booked_as;
        assert!(!coins.iter().any(|coin| spent.iter().any(|spent| coin.booked_as == booked(spent))), "both places");
        snapshot.books().unwrap()
    });
    assert_eq!(books.difference_sat(), 0);
    // A fresh batch that spends the other place of the same coin is none: it is judged as a replacement, and not the same.
    let requests = with(&chain, |snapshot| snapshot.waiting_pegouts().unwrap());
    assert!(requests.is_empty());

    // A reorganisation of Bitcoin confirms the first one instead.
    chain.bitcoin.lose(first.inputs.iter().map(|input| input.txid).chain([txid(&raised), txid(&child)]));
    let height = family(&chain, &child).height;
    chain.bitcoin.set_overdue(&[height]);
    let anew = carry_what_is_built(&mut chain);
    assert_eq!(anew.kind, BatchKind::Replacement { family: height });
    assert!(spends(&anew, &first) && anew.fee_sat == child.fee_sat);
    assert_eq!(anew.change_sat(), child.change_sat());
    with(&chain, |snapshot| {
        assert_eq!(snapshot.books().unwrap(), books);
        assert_eq!(snapshot.recount().unwrap(), books);
    });
    // The fee of what was spent is not raised any more.
    chain.bitcoin.lose([]);
    chain.bitcoin.set_fee_rate(60_000);
    assert!(with(&chain, |snapshot| {
        use aquifer_functionary::chain::parent::ParentChain as _;
        let parents = snapshot.family_spending(&first.inputs[0]).unwrap().unwrap();
        chain.bitcoin.propose_replacement(&parents).is_none()
    }));
}

#[test]
fn a_block_with_a_replacement_that_is_none() {
    let (mut chain, _, _, first) = paid(82);
    chain.bitcoin.set_fee_rate(9_000);
    chain.bitcoin.set_overdue(&[family(&chain, &first).height]);
    let good = chain.judge.build().unwrap().batch.unwrap();
    assert_valid(&chain, &block(&chain, &[], Some(&good)));
    let changed = |change: &dyn Fn(&mut bitcoin::Transaction)| {
        let mut batch = good.clone();
        change(&mut batch.transaction);
        block(&chain, &[], Some(&batch))
    };
    let bad = |change: &dyn Fn(&mut bitcoin::Transaction)| bad_batch(&chain, &changed(change));
    let cheaper = changed(&|batch| batch.output[0].value += Amount::from_sat(good.fee_sat - first.fee_sat - 1));
    assert!(bad_batch(&chain, &cheaper).contains("that replacing the earlier batch takes"));
    let robbed = bad(&|batch| batch.output[1].value -= Amount::from_sat(1_000));
    assert!(robbed.contains("is not the transaction"), "{robbed}");
    let again = bad_batch(&chain, &block(&chain, &[], Some(&first)));
    assert!(again.contains("that replacing the earlier batch takes"), "{again}");
    // Members that were away see the same.
    let verdict = chain.judge.examine(cheaper, Scrutiny::ChainOnly).unwrap();
    assert!(matches!(verdict, Verdict::Invalid(_)), "{verdict:?}");

    // Where one is confirmed, where fees have not risen, or bitcoind is behind, nobody votes for it, and nobody is to blame.
    chain.bitcoin.set_fee_rate(2_000);
    assert!(matches!(judge(&chain, &block(&chain, &[], Some(&good))), Verdict::NotNow(_)));
    chain.bitcoin.set_fee_rate(9_000);
    chain.bitcoin.lose(first.inputs.iter().map(|input| input.txid));
    assert!(matches!(judge(&chain, &block(&chain, &[], Some(&good))), Verdict::NotNow(_)));
    chain.bitcoin.lose([]);
    assert_valid(&chain, &block(&chain, &[], Some(&good)));
    let body = block(&chain, &[], Some(&good));
    connect(&mut chain, body);
    // What it replaced waits for nothing, and requests that are paid are not paid by a fresh batch.
    let coins = with(&chain, |snapshot| snapshot.treasury_coins().unwrap());
    let requests = family(&chain, &first).requests;
    let fresh = plan_batch(&chain.judge.treasury, &coins, &requests, 9_000).unwrap();
    let twice = bad_batch(&chain, &block(&chain, &[], Some(&fresh)));
    assert!(twice.contains("pays no pending request"), "{twice}");
}
