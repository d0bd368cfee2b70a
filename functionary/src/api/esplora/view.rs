//! The chain and the mempool as one request sees them.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use aquifer_assets::chain::ChainParams;
use aquifer_assets::primitives::{Block, Transaction, TxOut};
use elements::{OutPoint, Txid};

use crate::api::http::{Deadline, Refusal};
use crate::index::{FinalTx, IndexReader, IndexView, Waiting, WaitingTx};
use crate::store::ledger::{Snapshot, Tip};

/// Transactions that a request keeps at hand: outputs that are spent together were often made together.
const TRANSACTIONS_AT_HAND: usize = 64;

/// One state of the chain with what waits beside it.
pub(crate) struct View<'a> {
    pub(crate) params: &'a ChainParams,
    pub(crate) index: IndexView<'a>,
    /// The last final block.
    pub(crate) tip: Tip,
    deadline: Deadline,
    at_hand: RefCell<HashMap<Txid, Arc<Transaction>>>,
}

/// A transaction, wherever it is.
pub(crate) struct Found {
    pub(crate) transaction: Arc<Transaction>,
    /// What its inputs spend, in their order; `None` for what is no known output of this chain.
    pub(crate) spent: Vec<Option<TxOut>>,
    /// Its block; `None` while it waits.
    pub(crate) block: Option<Tip>,
}

/// A transaction as it is on the wire.
pub(crate) struct Raw {
    pub(crate) bytes: Vec<u8>,
    /// `None` while it waits.
    pub(crate) place: Option<FinalTx>,
}

impl From<&WaitingTx> for Found {
    fn from(waiting: &WaitingTx) -> Self {
        Self { transaction: Arc::clone(&waiting.transaction), spent: waiting.spent.clone(), block: None }
    }
}

impl<'a> View<'a> {
    pub(crate) fn new(params: &'a ChainParams, index: &'a IndexReader, deadline: Deadline) -> Result<Self, Refusal> {
        let index = index.view()?;
        let (height, _) = index.tip();
        let tip = index.ledger().tip_at(height)?.ok_or_else(|| damaged(format!("no block {height}")))?;
        Ok(Self { params, index, tip, deadline, at_hand: RefCell::default() })
    }

    pub(crate) fn ledger(&self) -> &Snapshot<'a> {
        self.index.ledger()
    }

    pub(crate) fn waiting(&self) -> &Waiting {
        self.index.waiting()
    }

    /// A step of the work is about to begin.
    pub(crate) fn check_time(&self) -> Result<(), Refusal> {
        self.deadline.check()
    }

    /// Height, hash and times of a final block; `None` above the tip.
    pub(crate) fn at(&self, height: u32) -> Result<Option<Tip>, Refusal> {
        if height > self.tip.height { Ok(None) } else { Ok(self.ledger().tip_at(height)?) }
    }

    /// Height, hash and times of a final block that is known to be there.
    pub(crate) fn known(&self, height: u32) -> Result<Tip, Refusal> {
        self.at(height)?.ok_or_else(|| damaged(format!("no block {height}")))
    }

    /// A final block that is known to be there.
    pub(crate) fn block(&self, height: u32) -> Result<Block, Refusal> {
        self.check_time()?;
        let stored = self.ledger().block(height)?.ok_or_else(|| damaged(format!("no block {height}")))?;
        Block::decode(stored.block).map_err(|error| damaged(format!("block {height}: {error}")))
    }

    /// A transaction as Elements serializes it, and its place if it is final.
    pub(crate) fn raw(&self, txid: &Txid) -> Result<Option<Raw>, Refusal> {
        if let Some((place, bytes)) = self.index.transaction(txid)? {
            return Ok(Some(Raw { bytes, place: Some(place) }));
        }
        let waiting = self.waiting().get(txid);
        Ok(waiting.map(|waiting| Raw { bytes: elements::encode::serialize(&*waiting.transaction), place: None }))
    }

    /// A transaction with what it spends.
    pub(crate) fn transaction(&self, txid: &Txid) -> Result<Option<Found>, Refusal> {
        if let Some(waiting) = self.waiting().get(txid) {
            return Ok(Some(Found::from(&**waiting)));
        }
        match self.index.place(txid)? {
            Some(place) => self.final_transaction(&place).map(Some),
            None => Ok(None),
        }
    }

    /// A transaction of the chain with what it spends.
    pub(crate) fn final_transaction(&self, place: &FinalTx) -> Result<Found, Refusal> {
        let transaction = self.decoded(&place.txid)?;
        let transaction = transaction.ok_or_else(|| damaged(format!("{} is nowhere", place.txid)))?;
        self.with_spent(transaction, self.known(place.height)?)
    }

    /// Adds what a final transaction spends.
    pub(crate) fn with_spent(&self, transaction: Arc<Transaction>, block: Tip) -> Result<Found, Refusal> {
        let spent = transaction.input.iter().map(|input| {
            if input.is_pegin || input.is_coinbase() { Ok(None) } else { self.output(&input.previous_output) }
        });
        let spent = spent.collect::<Result<_, Refusal>>()?;
        Ok(Found { transaction, spent, block: Some(block) })
    }

    /// An output of a final transaction, spent or not.
    fn output(&self, outpoint: &OutPoint) -> Result<Option<TxOut>, Refusal> {
        let transaction = self.decoded(&outpoint.txid)?;
        let vout = usize::try_from(outpoint.vout).ok();
        Ok(transaction.and_then(|transaction| transaction.output.get(vout?).cloned()))
    }

    /// A final transaction.
    pub(crate) fn decoded(&self, txid: &Txid) -> Result<Option<Arc<Transaction>>, Refusal> {
        if let Some(transaction) = self.at_hand.borrow().get(txid) {
            return Ok(Some(Arc::clone(transaction)));
        }
        self.check_time()?;
        let Some((_, bytes)) = self.index.transaction(txid)? else { return Ok(None) };
        let transaction = Transaction::decode(bytes).map_err(|error| damaged(format!("{txid}: {error}")))?;
        let transaction = Arc::new(transaction);
        let mut at_hand = self.at_hand.borrow_mut();
        if at_hand.len() >= TRANSACTIONS_AT_HAND {
            at_hand.clear();
        }
        at_hand.insert(*txid, Arc::clone(&transaction));
        Ok(Some(transaction))
    }
}

/// What is stored contradicts itself.
fn damaged(what: String) -> Refusal {
    tracing::error!(what, "the ledger contradicts itself");
    Refusal::Failed("the ledger cannot be read".to_owned())
}
