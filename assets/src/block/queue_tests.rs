//! All checks of a block in one queue: the first failure in order is reported on any number of cores, and remembered
//! verdicts change nothing.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use elements::{BlockHash, Script};

use super::*;
use crate::fixtures::unchanged;
use crate::primitives::{Block, Transaction};
use crate::state::Effects;
use crate::transaction::TxError;
use crate::transaction::testing::{Blinding, Ledger, Lock, Owned, Pay};
use crate::verdicts::{StatementKey, VerdictCache};

const FEE: u64 = 1_000;

#[derive(Default)]
struct Remembered(Mutex<BTreeSet<StatementKey>>);

impl VerdictCache for Remembered {
    fn holds(&self, key: &StatementKey) -> bool {
        self.0.lock().unwrap().contains(key)
    }

    fn remember(&self, key: StatementKey) {
        self.0.lock().unwrap().insert(key);
    }
}

impl Remembered {
    fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

fn tip(ledger: &Ledger) -> ChainTip {
    let hash = BlockHash::from_byte_array([9; 32]);
    ChainTip { height: ledger.height - 1, hash, median_time_past: ledger.median_time_past }
}

/// Three confidential payments, the last of which spends an output of the first.
fn payments() -> (Ledger, Vec<Transaction>) {
    let mut ledger = Ledger::new(400);
    let pegged = ledger.pegged();
    let pay = |ledger: &mut Ledger, coin: Owned| {
        let value = coin.secrets.value - FEE - 1;
        let pays = [value, 1].map(|value| Pay::new(pegged, value, Lock::P2wpkh.script(), Blinding::Both));
        ledger.transaction(&[coin], &pays, FEE)
    };
    let coins = [10_000, 20_000].map(|value| ledger.coin(pegged, value, Lock::P2wpkh, Blinding::Explicit));
    // A coin whose secrets are known: explicit, made in the block.
    let [first, second] = coins;
    let script = Lock::P2wpkh.script();
    let explicit = [Pay::new(pegged, 9_000, script, Blinding::Explicit)];
    let made = ledger.transaction(std::slice::from_ref(&first), &explicit, FEE);
    let mut child = first;
    child.outpoint = elements::OutPoint::new(made.txid(), 0);
    child.output = made.output[0].clone();
    child.secrets.value = 9_000;
    let transactions = vec![made, pay(&mut ledger, second), pay(&mut ledger, child)];
    (ledger, transactions)
}

fn block(ledger: &Ledger, transactions: Vec<Transaction>) -> Block {
    let fees = FEE * u64::try_from(transactions.len()).unwrap();
    let template = Template {
        height: ledger.height,
        previous: tip(ledger).hash,
        time: ledger.median_time_past + 60,
        transactions,
        fees: BTreeMap::from([(ledger.pegged(), fees)]),
        fee_script: Script::new_op_return(b"fees"),
        commitments: Vec::new(),
        dynafed: unchanged(&ledger.params, ledger.height),
    };
    build_block(&ledger.params, template)
}

/// Judges on one core and on several, without a cache and with the given one, and sees that it makes no difference.
fn judge(ledger: &Ledger, block: &Block, warm: &Remembered) -> Result<Effects, BlockError> {
    let (tip, now) = (tip(ledger), ledger.median_time_past + 60);
    let verdict = check_block(&ledger.params, &tip, block, &ledger.view, now);
    for threads in [1, 2, 5] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let cold = Remembered::default();
        for verdicts in [None, Some(&cold), Some(warm), Some(warm)] {
            let verdicts = verdicts.map(|cache| -> &dyn VerdictCache { cache });
            let again = pool.install(|| check_block_with(&ledger.params, &tip, block, &ledger.view, now, verdicts));
            assert_eq!(again, verdict, "{threads} threads");
        }
    }
    verdict
}

#[test]
fn a_valid_block_is_remembered_whole() {
    let (ledger, transactions) = payments();
    let (block, warm) = (block(&ledger, transactions), Remembered::default());
    let effects = judge(&ledger, &block, &warm).unwrap();
    assert_eq!((effects.spent.len(), effects.created.len(), warm.len()), (2, 4, 3));
}

#[test]
fn the_first_failure_in_order_counts_on_any_number_of_cores() {
    let (ledger, valid) = payments();
    let warm = Remembered::default();
    judge(&ledger, &block(&ledger, valid.clone()), &warm).unwrap();

    // Of three bad proofs in two transactions, the lowest.
    let mut transactions = valid.clone();
    for (position, vout) in [(2, 0), (2, 1), (1, 1)] {
        let witness = &mut transactions[position].output[vout].witness;
        witness.rangeproof = valid[3 - position].output[1 - vout].witness.rangeproof.clone();
    }
    let error = judge(&ledger, &block(&ledger, transactions.clone()), &warm).unwrap_err();
    let expected = |position: usize, source| BlockError::Transaction {
        position: position + 1,
        txid: valid[position].txid(),
        source: Box::new(source),
    };
    assert_eq!(error, expected(1, TxError::RangeProof { vout: 1 }));

    // What needs no proof comes first, whatever its place.
    transactions[2].input[0].witness.script_witness.clear();
    let error = judge(&ledger, &block(&ledger, transactions.clone()), &warm).unwrap_err();
    assert_eq!(error, expected(1, TxError::RangeProof { vout: 1 }));
    transactions[2].output[2].value = elements::confidential::Value::Explicit(FEE + 1);
    let unbalanced = transactions[2].txid();
    let error = judge(&ledger, &block(&ledger, transactions), &warm).unwrap_err();
    let balance = TxError::Unbalanced;
    assert_eq!(error, BlockError::Transaction { position: 3, txid: unbalanced, source: Box::new(balance) });
    assert_eq!(warm.len(), 3, "nothing of a refused block is remembered");
}
