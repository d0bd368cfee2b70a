//! The waiting transactions and what is known of each: who spends what, in which order they came, what each family pays.
//!
//! Two waiting transactions never spend the same output and never claim the same deposit. `spends`, `claims` and the
//! orders hold exactly what `entries` hold: [`Pool::insert`] and [`Pool::take`] are the only ones that change them.

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use aquifer_assets::primitives::Transaction;
use aquifer_assets::state::Effects;
use elements::{OutPoint, Txid, Wtxid};

use super::error::Contested;
use super::eviction::Floor;
use super::policy::Measure;

/// A fee and the discounted size that it pays for. Ordered by the rate, which is compared exactly.
#[derive(Copy, Clone, Debug)]
pub(super) struct FeeRate {
    pub(super) fee_sat: u64,
    pub(super) vsize: u64,
}

impl FeeRate {
    /// In satoshi per 1,000 vbytes, rounded down.
    pub(super) fn sat_per_kvb(self) -> u64 {
        self.fee_sat.saturating_mul(1_000).checked_div(self.vsize).unwrap_or(u64::MAX)
    }
}

impl Ord for FeeRate {
    fn cmp(&self, other: &Self) -> Ordering {
        let left = u128::from(self.fee_sat) * u128::from(other.vsize);
        let right = u128::from(other.fee_sat) * u128::from(self.vsize);
        left.cmp(&right)
    }
}

impl PartialOrd for FeeRate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for FeeRate {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for FeeRate {}

/// Sums over some transactions.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) count: u64,
    pub(super) vsize: u64,
    pub(super) discounted_vsize: u64,
    pub(super) fee_sat: u64,
}

impl Totals {
    pub(super) fn of(entry: &Entry) -> Self {
        let Measure { vsize, discounted_vsize, .. } = entry.measure;
        Totals { count: 1, vsize, discounted_vsize, fee_sat: entry.fee_sat }
    }

    pub(super) fn add(&mut self, other: Totals) {
        self.count = self.count.saturating_add(other.count);
        self.vsize = self.vsize.saturating_add(other.vsize);
        self.discounted_vsize = self.discounted_vsize.saturating_add(other.discounted_vsize);
        self.fee_sat = self.fee_sat.saturating_add(other.fee_sat);
    }

    pub(super) fn subtract(&mut self, other: Totals) {
        self.count = self.count.saturating_sub(other.count);
        self.vsize = self.vsize.saturating_sub(other.vsize);
        self.discounted_vsize = self.discounted_vsize.saturating_sub(other.discounted_vsize);
        self.fee_sat = self.fee_sat.saturating_sub(other.fee_sat);
    }

    pub(super) fn rate(&self) -> FeeRate {
        FeeRate { fee_sat: self.fee_sat, vsize: self.discounted_vsize }
    }
}

/// A verified transaction with what was found out about it.
pub(super) struct Verified {
    pub(super) transaction: Arc<Transaction>,
    pub(super) wtxid: Wtxid,
    pub(super) effects: Effects,
    pub(super) measure: Measure,
    pub(super) fee_sat: u64,
    /// When it was admitted, in seconds since 1970.
    pub(super) admitted_at: u32,
}

/// A waiting transaction.
pub(super) struct Entry {
    pub(super) transaction: Arc<Transaction>,
    pub(super) wtxid: Wtxid,
    pub(super) effects: Effects,
    pub(super) measure: Measure,
    pub(super) fee_sat: u64,
    pub(super) admitted_at: u32,
    /// Place in the order of arrival: parents come before their children.
    pub(super) arrival: u64,
    /// Memory that it takes, in bytes.
    memory: u64,
    /// Over itself and everything that waits and depends on it.
    pub(super) family: Totals,
}

impl Entry {
    /// What it is worth to keep: its own fee rate, or that of its family if it is higher.
    fn score(&self) -> FeeRate {
        Totals::of(self).rate().max(self.family.rate())
    }
}

/// Lowest score first; of equal ones the latest.
type Rank = (FeeRate, Reverse<u64>, Txid);

#[derive(Default)]
pub(super) struct Pool {
    pub(super) entries: HashMap<Txid, Entry>,
    pub(super) by_wtxid: HashMap<Wtxid, Txid>,
    pub(super) spends: HashMap<OutPoint, Txid>,
    pub(super) claims: HashMap<bitcoin::OutPoint, Txid>,
    pub(super) arrivals: BTreeMap<u64, Txid>,
    by_age: BTreeSet<(u32, Txid)>,
    by_score: BTreeSet<Rank>,
    next_arrival: u64,
    memory: u64,
    pub(super) floor: Floor,
}

/// Memory that a transaction takes, in bytes, estimated from above: its decoded form, the outputs that it spends and makes,
/// and its places in the orders.
fn memory_of(transaction: &Transaction, weight: u64) -> u64 {
    let ends = transaction.input.len().saturating_add(transaction.output.len());
    weight.saturating_add(u64::try_from(ends).unwrap_or(u64::MAX).saturating_mul(500)).saturating_add(1_000)
}

impl Pool {
    /// Memory that the transactions take, in bytes.
    pub(super) fn memory(&self) -> u64 {
        self.memory
    }

    /// What each input spends, and which waiting transaction spends it already.
    pub(super) fn conflicts(&self, transaction: &Transaction) -> Vec<(usize, Contested, Txid)> {
        let mut found = Vec::new();
        for (vin, input) in transaction.input.iter().enumerate() {
            let (what, by) = match input.pegin_prevout() {
                Some(deposit) => (Contested::Deposit(deposit), self.claims.get(&deposit)),
                None => (Contested::Output(input.previous_output), self.spends.get(&input.previous_output)),
            };
            found.extend(by.map(|by| (vin, what, *by)));
        }
        found
    }

    /// Waiting transactions whose outputs this one spends.
    pub(super) fn parents<'a>(&'a self, transaction: &'a Transaction) -> impl Iterator<Item = Txid> + 'a {
        let spends = transaction.input.iter().filter(|input| !input.is_pegin);
        spends.map(|input| input.previous_output.txid).filter(|txid| self.entries.contains_key(txid))
    }

    /// Waiting transactions that this one depends on, itself left out.
    pub(super) fn ancestors(&self, transaction: &Transaction) -> HashSet<Txid> {
        let mut found = HashSet::new();
        let mut open: Vec<Txid> = self.parents(transaction).collect();
        while let Some(txid) = open.pop() {
            if found.insert(txid)
                && let Some(entry) = self.entries.get(&txid)
            {
                open.extend(self.parents(&entry.transaction));
            }
        }
        found
    }

    /// A waiting transaction and those that depend on it.
    pub(super) fn family(&self, txid: Txid) -> HashSet<Txid> {
        let mut found = HashSet::new();
        let mut open = vec![txid];
        while let Some(txid) = open.pop() {
            if let Some(entry) = self.entries.get(&txid)
                && found.insert(txid)
            {
                open.extend(entry.effects.created.keys().filter_map(|made| self.spends.get(made)));
            }
        }
        found
    }

    /// Adds a transaction that was verified against the ledger and this pool.
    pub(super) fn insert(&mut self, txid: Txid, verified: Verified) {
        let Verified { transaction, wtxid, effects, measure, fee_sat, admitted_at } = verified;
        self.next_arrival = self.next_arrival.wrapping_add(1);
        let arrival = self.next_arrival;
        let memory = memory_of(&transaction, measure.weight);
        let family = Totals::default();
        let mut entry = Entry { transaction, wtxid, effects, measure, fee_sat, admitted_at, arrival, memory, family };
        let own = Totals::of(&entry);
        entry.family = own;
        for ancestor in self.ancestors(&entry.transaction) {
            self.change_family(&ancestor, |family| family.add(own));
        }
        self.spends.extend(entry.effects.spent.keys().map(|outpoint| (*outpoint, txid)));
        self.claims.extend(entry.effects.pegins.iter().map(|claim| (claim.deposit, txid)));
        self.by_wtxid.insert(wtxid, txid);
        self.arrivals.insert(arrival, txid);
        self.by_age.insert((admitted_at, txid));
        self.by_score.insert((entry.score(), Reverse(arrival), txid));
        self.memory = self.memory.saturating_add(memory);
        self.entries.insert(txid, entry);
    }

    /// Takes a transaction out. Those that depend on it stay: it is in a block, or they are taken out too, before it.
    pub(super) fn take(&mut self, txid: &Txid) -> Option<Entry> {
        let entry = self.entries.remove(txid)?;
        let own = Totals::of(&entry);
        for ancestor in self.ancestors(&entry.transaction) {
            self.change_family(&ancestor, |family| family.subtract(own));
        }
        for outpoint in entry.effects.spent.keys() {
            self.spends.remove(outpoint);
        }
        for claim in &entry.effects.pegins {
            self.claims.remove(&claim.deposit);
        }
        self.by_wtxid.remove(&entry.wtxid);
        self.arrivals.remove(&entry.arrival);
        self.by_age.remove(&(entry.admitted_at, *txid));
        self.by_score.remove(&(entry.score(), Reverse(entry.arrival), *txid));
        self.memory = self.memory.saturating_sub(entry.memory);
        Some(entry)
    }

    fn change_family(&mut self, txid: &Txid, change: impl FnOnce(&mut Totals)) {
        if let Some(entry) = self.entries.get_mut(txid) {
            self.by_score.remove(&(entry.score(), Reverse(entry.arrival), *txid));
            change(&mut entry.family);
            self.by_score.insert((entry.score(), Reverse(entry.arrival), *txid));
        }
    }

    /// Takes out transactions with everything that depends on them, children first.
    pub(super) fn take_families(&mut self, txids: impl IntoIterator<Item = Txid>) -> Vec<Txid> {
        let mut doomed = HashSet::new();
        for txid in txids {
            doomed.extend(self.family(txid));
        }
        let mut ordered: Vec<(u64, Txid)> =
            doomed.into_iter().filter_map(|txid| Some((self.entries.get(&txid)?.arrival, txid))).collect();
        ordered.sort_unstable_by(|left, right| right.cmp(left));
        for (_, txid) in &ordered {
            self.take(txid);
        }
        ordered.into_iter().map(|(_, txid)| txid).collect()
    }

    /// Empties the pool. What was in it, in the order of arrival.
    pub(super) fn drain(&mut self) -> Vec<(Txid, Entry)> {
        let order: Vec<Txid> = self.arrivals.values().copied().collect();
        // Children first, so that no family is left with a member that has gone.
        let mut taken: Vec<_> = order.iter().rev().filter_map(|txid| Some((*txid, self.take(txid)?))).collect();
        taken.reverse();
        taken
    }

    /// The transaction that is least worth keeping, with the sums of its family.
    pub(super) fn worst(&self) -> Option<(Txid, Totals)> {
        let (_, _, txid) = self.by_score.first()?;
        Some((*txid, self.entries.get(txid)?.family))
    }

    /// Transactions that were admitted before `time`, in seconds since 1970.
    pub(super) fn admitted_before(&self, time: u32) -> Vec<Txid> {
        self.by_age.iter().take_while(|(admitted_at, _)| *admitted_at < time).map(|(_, txid)| *txid).collect()
    }
}
