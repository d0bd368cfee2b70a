//! Looking at what waits, and at what would become of a transaction, without changing anything.

use std::sync::Arc;

use aquifer_assets::primitives::{Transaction, TxOut};
use aquifer_assets::transaction::{TxError, check_federation_policy};
use elements::{OutPoint, Txid};

use super::pool::{Entry, Pool, Totals};
use super::replacement::is_replaceable;
use super::{Mempool, MempoolError, policy};

/// A transaction that would be admitted.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Tested {
    /// Its fee in the policy asset, in satoshi.
    pub fee_sat: u64,
    /// Its size with signature operations counted, in vbytes.
    pub vsize: u64,
    /// The same after the discount: what the fee is measured by.
    pub discounted_vsize: u64,
}

/// Sums over a waiting transaction and those it depends on, or those that depend on it.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Family {
    /// How many.
    pub count: u64,
    /// Their size, in vbytes.
    pub vsize: u64,
    /// Their fees in the policy asset, in satoshi.
    pub fee_sat: u64,
}

/// A waiting transaction among the others.
#[derive(Clone, Debug)]
pub struct Standing {
    /// Its id.
    pub txid: Txid,
    /// The transaction.
    pub transaction: Arc<Transaction>,
    /// Its size with signature operations counted, in vbytes.
    pub vsize: u64,
    /// Its weight, in weight units.
    pub weight: u64,
    /// Its fee in the policy asset, in satoshi.
    pub fee_sat: u64,
    /// When it was admitted, in seconds since 1970.
    pub admitted_at: u32,
    /// Itself and what it depends on.
    pub ancestors: Family,
    /// Itself and what depends on it.
    pub descendants: Family,
    /// The waiting transactions whose outputs it spends, by id.
    pub depends: Vec<Txid>,
    /// The waiting transactions that spend its outputs, by id.
    pub spent_by: Vec<Txid>,
    /// Whether it, or one that it depends on, offers to be replaced.
    pub is_replaceable: bool,
}

/// Sums over all that waits.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Occupancy {
    /// How many transactions.
    pub count: u64,
    /// Their size, in vbytes.
    pub vsize: u64,
    /// Their fees in the policy asset, in satoshi.
    pub fee_sat: u64,
    /// Memory that they take, in bytes.
    pub memory_bytes: u64,
    /// Memory that they may take, in bytes.
    pub max_memory_bytes: u64,
}

/// An output, as far as what waits decides on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WaitingOutput {
    /// A waiting transaction spends it.
    Spent,
    /// A waiting transaction makes it.
    Made(Box<TxOut>),
    /// Nothing that waits concerns it.
    Unknown,
}

impl From<Totals> for Family {
    fn from(totals: Totals) -> Self {
        Self { count: totals.count, vsize: totals.vsize, fee_sat: totals.fee_sat }
    }
}

fn standing(pool: &Pool, txid: Txid, entry: &Entry) -> Standing {
    let ancestors = pool.ancestors(&entry.transaction);
    let mut above = Totals::of(entry);
    let mut replaceable = is_replaceable(&entry.transaction);
    for ancestor in ancestors.iter().filter_map(|txid| pool.entries.get(txid)) {
        above.add(Totals::of(ancestor));
        replaceable |= is_replaceable(&ancestor.transaction);
    }
    let mut depends: Vec<Txid> = pool.parents(&entry.transaction).collect();
    let mut spent_by: Vec<Txid> =
        entry.effects.created.keys().filter_map(|made| pool.spends.get(made)).copied().collect();
    for list in [&mut depends, &mut spent_by] {
        list.sort_unstable();
        list.dedup();
    }
    Standing {
        txid,
        transaction: Arc::clone(&entry.transaction),
        vsize: entry.measure.vsize,
        weight: entry.measure.weight,
        fee_sat: entry.fee_sat,
        admitted_at: entry.admitted_at,
        ancestors: above.into(),
        descendants: entry.family.into(),
        depends,
        spent_by,
        is_replaceable: replaceable,
    }
}

impl Mempool {
    /// Says whether a transaction that is neither waiting nor final would be admitted. Verifies it in full; asks Bitcoin where
    /// it claims deposits.
    ///
    /// # Errors
    /// As [`Mempool::submit`].
    pub fn test(&self, transaction: Transaction) -> Result<Tested, MempoolError> {
        if transaction.is_coinbase() {
            return Err(TxError::Coinbase.into());
        }
        if let Some(reason) = self.objections().reason(&transaction.txid()) {
            return Err(MempoolError::Objection(reason));
        }
        policy::check_form(&transaction, &self.params)?;
        check_federation_policy(&self.params, &transaction)?;
        self.check_deposits(&transaction)?;
        let now = self.clock.now();
        let mut pool = self.lock();
        let ledger = self.ledger.snapshot()?;
        let floor = self.floor(&mut pool, now);
        let (_, verified) = self.examine(&pool, &ledger, transaction, floor, now)?;
        let policy::Measure { vsize, discounted_vsize, .. } = verified.measure;
        Ok(Tested { fee_sat: verified.fee_sat, vsize, discounted_vsize })
    }

    /// A waiting transaction among the others.
    pub fn standing(&self, txid: &Txid) -> Option<Standing> {
        let pool = self.lock();
        pool.entries.get(txid).map(|entry| standing(&pool, *txid, entry))
    }

    /// All that waits, by arrival.
    pub fn standings(&self) -> Vec<Standing> {
        let pool = self.lock();
        let found = pool.arrivals.values().filter_map(|txid| Some(standing(&pool, *txid, pool.entries.get(txid)?)));
        found.collect()
    }

    /// The waiting transactions that one depends on, by id; `None` if it does not wait.
    pub fn ancestors_of(&self, txid: &Txid) -> Option<Vec<Txid>> {
        let pool = self.lock();
        let entry = pool.entries.get(txid)?;
        let mut found: Vec<Txid> = pool.ancestors(&entry.transaction).into_iter().collect();
        found.sort_unstable();
        Some(found)
    }

    /// The waiting transactions that depend on one, by id; `None` if it does not wait.
    pub fn descendants_of(&self, txid: &Txid) -> Option<Vec<Txid>> {
        let pool = self.lock();
        pool.entries.get(txid)?;
        let mut found: Vec<Txid> = pool.family(*txid).into_iter().filter(|other| other != txid).collect();
        found.sort_unstable();
        Some(found)
    }

    /// How much waits, and how much may.
    pub fn occupancy(&self) -> Occupancy {
        let pool = self.lock();
        let mut totals = Totals::default();
        pool.entries.values().for_each(|entry| totals.add(Totals::of(entry)));
        Occupancy {
            count: totals.count,
            vsize: totals.vsize,
            fee_sat: totals.fee_sat,
            memory_bytes: pool.memory(),
            max_memory_bytes: self.limits.memory_bytes,
        }
    }

    /// What becomes of an output by what waits.
    pub fn output(&self, outpoint: &OutPoint) -> WaitingOutput {
        let pool = self.lock();
        if pool.spends.contains_key(outpoint) {
            return WaitingOutput::Spent;
        }
        let made = pool.entries.get(&outpoint.txid).and_then(|entry| entry.effects.created.get(outpoint));
        made.map_or(WaitingOutput::Unknown, |coin| WaitingOutput::Made(Box::new(coin.output.clone())))
    }
}
