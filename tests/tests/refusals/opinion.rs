//! Transactions that are valid here and that another implementation refuses.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use aquifer_assets::primitives::{Block, Transaction};
use aquifer_functionary::chain::oversight::{Doubt, SecondOpinion};
use aquifer_functionary::mempool::MempoolError;
use aquifer_tests::forge::{Chain, FEE_SAT, Owner, Pay, Payment};
use elements::Txid;

/// Refuses every block that holds one of these transactions, and says nothing while it is away.
#[derive(Default)]
struct Other {
    refuses: BTreeSet<Txid>,
    is_away: Mutex<bool>,
    refuses_everything: bool,
}

impl SecondOpinion for Other {
    fn on_proposal(&self, block: &Block) -> Result<(), Doubt> {
        if *self.is_away.lock().unwrap() {
            return Err(Doubt::Unheard("it is away".to_owned()));
        }
        if self.is_refused(block) { Err(Doubt::Refused("it has its reasons".to_owned())) } else { Ok(()) }
    }

    fn is_refused(&self, block: &Block) -> bool {
        self.refuses_everything || block.txdata.iter().any(|tx| self.refuses.contains(&tx.txid()))
    }
}

/// Nine payments that do not depend on each other, and one that spends the second of them, all waiting.
fn waiting(seed: u64) -> (Chain, Vec<Payment>) {
    let mut chain = Chain::new(seed).unwrap();
    let alice = Owner::new(&mut chain.rng);
    let pegged = chain.pegged();
    let coins = chain.peg_in(alice, &[50_000; 9]).unwrap();
    let mut payments: Vec<Payment> = coins
        .into_iter()
        .map(|coin| {
            let pay = Pay::confidential(pegged, coin.secrets.value - FEE_SAT, alice.script());
            chain.pay(&[coin], &[pay]).unwrap()
        })
        .collect();
    let child = payments[1].coin(0, alice).unwrap();
    let pay = Pay::confidential(pegged, child.secrets.value - FEE_SAT, alice.script());
    payments.push(chain.pay(&[child], &[pay]).unwrap());
    for payment in &payments {
        chain.judge.mempool.submit(payment.transaction.clone()).unwrap();
    }
    (chain, payments)
}

fn txids(transactions: &[Transaction]) -> BTreeSet<Txid> {
    transactions.iter().map(Transaction::txid).collect()
}

#[test]
fn a_refused_transaction_is_found_and_left_out_and_the_others_go_on() {
    let (mut chain, payments) = waiting(41);
    let txid = |number: usize| payments[number].transaction.txid();
    let refuses = BTreeSet::from([txid(1), txid(6)]);
    chain.judge.opinion = Some(Arc::new(Other { refuses, ..Other::default() }));
    let built = chain.judge.build_agreed().unwrap().unwrap();
    let expected: BTreeSet<Txid> = [0, 2, 3, 4, 5, 7, 8].map(txid).into();
    assert_eq!(txids(&built.body.block.txdata[1..]), expected, "without the two, and what spends the first");
    assert_eq!(chain.judge.mempool.len(), expected.len());
    for number in [1, 6] {
        let again = chain.judge.mempool.submit(payments[number].transaction.clone());
        assert!(matches!(again, Err(MempoolError::Objection(_))), "{again:?}");
    }
    // It is this member's caution, and no rule: what others have certified nevertheless is connected.
    chain.extend(vec![payments[1].transaction.clone()]).unwrap_err();
    chain.judge.opinion = None;
    chain.extend(vec![payments[1].transaction.clone()]).unwrap();
}

#[test]
fn more_refused_transactions_than_are_looked_for_leave_an_empty_block() {
    let (mut chain, payments) = waiting(42);
    let refuses = payments.iter().map(|payment| payment.transaction.txid()).collect();
    chain.judge.opinion = Some(Arc::new(Other { refuses, ..Other::default() }));
    let built = chain.judge.build_agreed().unwrap().unwrap();
    assert_eq!(built.body.block.txdata.len(), 1);
    assert!(chain.judge.mempool.len() < payments.len(), "the next block begins with fewer");
}

#[test]
fn nothing_is_proposed_while_the_other_is_away_or_refuses_even_an_empty_block() {
    let (mut chain, payments) = waiting(43);
    let other = Arc::new(Other::default());
    *other.is_away.lock().unwrap() = true;
    chain.judge.opinion = Some(Arc::<Other>::clone(&other));
    assert_eq!(chain.judge.build_agreed().unwrap().unwrap_err(), "it is away");
    assert_eq!(chain.judge.mempool.len(), payments.len(), "nothing is held against the transactions");
    chain.judge.opinion = Some(Arc::new(Other { refuses_everything: true, ..Other::default() }));
    chain.judge.build_agreed().unwrap().unwrap_err();
    assert_eq!(chain.judge.mempool.len(), payments.len());
}
