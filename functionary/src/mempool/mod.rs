//! Transactions that wait for a block.
//!
//! Every transaction is verified in full, once, against the final state and what already waits, before it is admitted or
//! passed on. What waits is of a form that Elements relays, pays at least the floor, and together makes valid blocks:
//!
//! * Two waiting transactions never spend the same output and never claim the same deposit. The first stays, unless it
//!   offered to be replaced and the second pays for it ([`ReplacementError`]).
//! * A transaction waits only with everything that it depends on. What goes takes with it what depends on it.
//! * Admission and the connection of a block exclude each other, so that a verdict always belongs to one state.
//!
//! The pool is bounded in memory and time ([`Limits`]), and its families are ([`MAX_ANCESTORS`] and the like). It is a cache:
//! losing it loses no money, wallets and members send again what is not in a block. [`keeper`] brings it over a restart.

mod error;
mod eviction;
mod inspect;
pub mod keeper;
mod objections;
mod packages;
mod pegouts;
mod policy;
mod pool;
mod replacement;
mod view;

use std::collections::{HashMap, HashSet};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard};

use aquifer_assets::block::MAX_BLOCK_SIGOPS_COST;
use aquifer_assets::chain::ChainParams;
use aquifer_assets::peg::check_pegin;
use aquifer_assets::primitives::{Transaction, TxOut};
use aquifer_assets::state::{ChainView as _, Effects};
use aquifer_assets::transaction::{
    TxContext, TxError, check_federation_policy, fee_in, spent_outputs, verify_transaction_with,
};
use aquifer_assets::verdicts::VerdictCache;
use elements::{OutPoint, Script, Txid, Wtxid};
use tokio::sync::watch;

use crate::chain::parent::{DepthVerdict, ParentChain};
use crate::chain::{Clock, SystemClock};
use crate::store::StoreError;
use crate::store::ledger::{LedgerReader, Snapshot, Tip};
use objections::Objections;
use pool::{Entry, Pool, Totals, Verified};
use replacement::Replacement;
use view::PoolView;

use crate::verdicts::Verdicts;

pub use error::{Contested, MempoolError, PackageLimit};
pub use eviction::Limits;
pub use inspect::{Family, Occupancy, Standing, Tested, WaitingOutput};
pub use packages::{MAX_ANCESTOR_VSIZE, MAX_ANCESTORS, MAX_DESCENDANT_VSIZE, MAX_DESCENDANTS};
pub use pegouts::{PegoutPolicy, UnpayablePegout};
pub use policy::{
    DUST_FEE_RATE_SAT_PER_KVB, INCREMENTAL_FEE_RATE_SAT_PER_KVB, MAX_SCRIPT_SIG_SIZE, MAX_SIGOP_COST,
    MAX_TRANSACTION_WEIGHT, MIN_BASE_SIZE, MIN_FEE_RATE_SAT_PER_KVB, NonStandard,
};
pub use replacement::{MAX_REPLACED, ReplacementError};

/// Signature operation cost kept free for the coinbase of a block.
const RESERVED_SIGOP_COST: u64 = 400;

/// What came of a submission.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It waits now and should be passed on.
    New(Txid),
    /// It waited already.
    Known(Txid),
    /// It is in a final block.
    Final(Txid),
}

impl Admission {
    /// The transaction's id.
    pub fn txid(self) -> Txid {
        match self {
            Admission::New(txid) | Admission::Known(txid) | Admission::Final(txid) => txid,
        }
    }
}

/// The waiting transactions of one member.
pub struct Mempool {
    params: ChainParams,
    ledger: Arc<LedgerReader>,
    parent: Arc<dyn ParentChain>,
    clock: Arc<dyn Clock>,
    limits: Limits,
    verdicts: Option<Arc<Verdicts>>,
    pegouts: Option<PegoutPolicy>,
    pool: Mutex<Pool>,
    objections: Mutex<Objections>,
    changes: watch::Sender<u64>,
}

/// A waiting transaction as it is announced to others.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Its place in the order of arrival.
    pub number: u64,
    /// Its id.
    pub txid: Txid,
    /// The hash of all of it.
    pub wtxid: Wtxid,
    /// Its fee rate, in satoshi per 1,000 vbytes of the discounted size.
    pub fee_rate_sat_per_kvb: u64,
}

/// A waiting transaction as a block builder sees it.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The transaction.
    pub transaction: Arc<Transaction>,
    /// Its weight, in weight units.
    pub weight: u64,
    /// Its fee in the policy asset, in satoshi.
    pub fee_sat: u64,
}

/// A waiting transaction with what was found out about it.
#[derive(Clone, Debug)]
pub struct WaitingTransaction {
    /// Its id.
    pub txid: Txid,
    /// The transaction.
    pub transaction: Arc<Transaction>,
    /// The outputs that it spends; deposits are none.
    pub spent: HashMap<OutPoint, TxOut>,
    /// Its fee in the policy asset, in satoshi.
    pub fee_sat: u64,
    /// Its size, in vbytes.
    pub vsize: u64,
    /// The same after the discount for confidential outputs.
    pub discounted_vsize: u64,
    /// When it was admitted, in seconds since 1970.
    pub admitted_at: u32,
}

impl Mempool {
    /// An empty pool over the ledger, with the usual limits and the machine's clock, which remembers no verdicts.
    pub fn new(params: ChainParams, ledger: Arc<LedgerReader>, parent: Arc<dyn ParentChain>) -> Self {
        Mempool {
            params,
            ledger,
            parent,
            clock: Arc::new(SystemClock),
            limits: Limits::default(),
            verdicts: None,
            pegouts: None,
            pool: Mutex::default(),
            objections: Mutex::default(),
            changes: watch::Sender::new(0),
        }
    }

    /// Bounds it otherwise.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        Mempool { limits, ..self }
    }

    /// Has it go by another clock.
    #[must_use]
    pub fn with_clock(self, clock: Arc<dyn Clock>) -> Self {
        Mempool { clock, ..self }
    }

    /// Has it refuse peg-outs that would never be paid.
    #[must_use]
    pub fn with_pegout_policy(self, policy: PegoutPolicy) -> Self {
        Mempool { pegouts: Some(policy), ..self }
    }

    /// Has it remember the verdicts on what it admits, so that scripts and proofs are not checked again in a block.
    #[must_use]
    pub fn remembering(self, verdicts: Arc<Verdicts>) -> Self {
        Mempool { verdicts: Some(verdicts), ..self }
    }

    /// The verdicts that are remembered, if any are.
    pub fn verdicts(&self) -> Option<&dyn VerdictCache> {
        self.verdicts.as_deref().map(|verdicts| -> &dyn VerdictCache { verdicts })
    }

    fn lock(&self) -> MutexGuard<'_, Pool> {
        // Each change is made in full under the lock, after everything that can fail.
        self.pool.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Tells of every change.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// The least fee rate that is admitted now, in satoshi per 1,000 vbytes of the discounted size.
    pub fn min_fee_rate_sat_per_kvb(&self) -> u64 {
        self.floor(&mut self.lock(), self.clock.now())
    }

    fn floor(&self, pool: &mut Pool, now: u32) -> u64 {
        let memory = pool.memory();
        pool.floor.rate(now, memory, self.limits.memory_bytes)
    }

    /// Verifies a transaction in full and admits it. Asks Bitcoin where it claims deposits: may block for a while.
    ///
    /// # Errors
    /// [`MempoolError`] with the first reason; nothing has changed then, except by [`MempoolError::Full`].
    pub fn submit(&self, transaction: Transaction) -> Result<Admission, MempoolError> {
        self.submit_since(transaction, self.clock.now())
    }

    /// The same for a transaction that was admitted in an earlier run, in seconds since 1970.
    fn submit_since(&self, transaction: Transaction, admitted_at: u32) -> Result<Admission, MempoolError> {
        let (txid, now) = (transaction.txid(), self.clock.now());
        if self.lock().entries.contains_key(&txid) {
            return Ok(Admission::Known(txid));
        }
        let waited_s = now.saturating_sub(admitted_at);
        if waited_s > self.limits.expiry_s {
            return Err(MempoolError::Expired { waited_s, most_s: self.limits.expiry_s });
        }
        if transaction.is_coinbase() {
            // Said before anything of its form, which is not a payment's.
            return Err(TxError::Coinbase.into());
        }
        if let Some(reason) = self.objections().reason(&txid) {
            return Err(MempoolError::Objection(reason));
        }
        policy::check_form(&transaction, &self.params)?;
        check_federation_policy(&self.params, &transaction)?;
        self.check_deposits(&transaction)?;
        let mut pool = self.lock();
        if pool.entries.contains_key(&txid) {
            return Ok(Admission::Known(txid));
        }
        let ledger = self.ledger.snapshot()?;
        if ledger.place(&txid)?.is_some() {
            return Ok(Admission::Final(txid));
        }
        let floor = self.floor(&mut pool, now);
        let (replacement, verified) = self.examine(&pool, &ledger, transaction, floor, admitted_at)?;
        pool.take_families(replacement.doomed);
        pool.insert(txid, verified);
        let pushed_out = eviction::make_room(&mut pool, &self.limits, now);
        let kept = pool.entries.contains_key(&txid);
        let floor = self.floor(&mut pool, now);
        drop(pool);
        if !pushed_out.is_empty() {
            tracing::debug!(count = pushed_out.len(), "the mempool is full: pushed out what pays least");
        }
        self.changed();
        if kept { Ok(Admission::New(txid)) } else { Err(MempoolError::Full { rate_sat_per_kvb: floor }) }
    }

    /// Everything else that decides on a transaction of good form, cheap things first, without changing anything.
    fn examine(
        &self,
        pool: &Pool,
        ledger: &Snapshot<'_>,
        transaction: Transaction,
        floor: u64,
        admitted_at: u32,
    ) -> Result<(Replacement, Verified), MempoolError> {
        let policy_asset = self.params.pegged_asset();
        if let Some(pegouts) = &self.pegouts {
            pegouts.check(&self.params, ledger, &transaction)?;
        }
        let replacement = Replacement::of(pool, &transaction)?;
        let fee_sat = fee_in(&transaction, policy_asset);
        let check_fee = |vsize| {
            require_fee(fee_sat, vsize, floor)?;
            Ok::<_, MempoolError>(replacement.check_fee(pool, fee_sat, vsize)?)
        };
        // Without signature operations, which only the spent outputs tell: proofs are not checked for nothing.
        check_fee(policy::Measure::of(&transaction, 0).discounted_vsize)?;
        let tip = ledger.tip()?;
        let view = PoolView { ledger, pool, without: &replacement.doomed, next_height: tip.height.saturating_add(1) };
        let effects = self.verify(&tip, &transaction, &view)?;
        let spent = spent_outputs(&self.context(&tip), &transaction, &effects).unwrap_or_default();
        let measure = policy::check_spends(&transaction, &spent, self.params.genesis_hash())?;
        check_fee(measure.discounted_vsize)?;
        packages::check_limits(pool, &transaction, measure, &replacement.doomed)?;
        let wtxid = transaction.wtxid();
        let transaction = Arc::new(transaction);
        Ok((replacement, Verified { transaction, wtxid, effects, measure, fee_sat, admitted_at }))
    }

    /// The rules of the ledger: the one place where the pool asks for them.
    fn verify(&self, tip: &Tip, transaction: &Transaction, view: &PoolView<'_>) -> Result<Effects, MempoolError> {
        match verify_transaction_with(&self.context(tip), transaction, view, self.verdicts()) {
            Err(TxError::View(error)) => Err(error.into()),
            other => Ok(other?),
        }
    }

    fn changed(&self) {
        self.changes.send_modify(|version| *version = version.wrapping_add(1));
    }

    fn context(&self, tip: &Tip) -> TxContext<'_> {
        TxContext { params: &self.params, height: tip.height.saturating_add(1), median_time_past: tip.median_time_past }
    }

    /// Asks our own bitcoind for the depth of every deposit that is claimed, before the pool is locked.
    fn check_deposits(&self, transaction: &Transaction) -> Result<(), MempoolError> {
        if !transaction.input.iter().any(|input| input.is_pegin) {
            return Ok(());
        }
        let federation = {
            let ledger = self.ledger.snapshot()?;
            ledger.federation(&self.params, ledger.tip()?.height.saturating_add(1)).map_err(TxError::View)?
        };
        for vin in
            (0..transaction.input.len()).filter(|vin| transaction.input.get(*vin).is_some_and(|input| input.is_pegin))
        {
            let claim = check_pegin(&self.params, &federation, transaction, vin)
                .map_err(|source| TxError::Pegin { vin, source })?;
            let deposit = claim.deposit;
            match self.parent.deposit_depth(&claim) {
                DepthVerdict::Deep { .. } => {}
                DepthVerdict::Shallow { confirmations, needed } => {
                    return Err(MempoolError::DepositTooShallow { deposit, confirmations, needed });
                }
                DepthVerdict::NotInBestChain => return Err(MempoolError::DepositNotFound { deposit }),
                DepthVerdict::Unknown(reason) => return Err(MempoolError::ParentUnavailable { deposit, reason }),
            }
        }
        Ok(())
    }

    /// The transactions for a block of at most `max_weight` units, parents before children: those first that pay the
    /// highest rate together with what they depend on.
    pub fn candidates(&self, max_weight: u64) -> Vec<Candidate> {
        let pool = self.lock();
        let sigop_cost = MAX_BLOCK_SIGOPS_COST.saturating_sub(RESERVED_SIGOP_COST);
        let chosen = packages::select(&pool, packages::Room { weight: max_weight, sigop_cost });
        let entries = chosen.iter().filter_map(|txid| pool.entries.get(txid));
        let candidates = entries.map(|entry| Candidate {
            transaction: Arc::clone(&entry.transaction),
            weight: entry.measure.weight,
            fee_sat: entry.fee_sat,
        });
        candidates.collect()
    }

    /// Connects a final block: runs `write`, then drops what the block includes or contradicts, and what has waited too
    /// long. Nothing is admitted meanwhile.
    pub fn connect<T>(
        &self,
        included: &[Txid],
        effects: &Effects,
        write: impl FnOnce() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut pool = self.lock();
        let result = write()?;
        for txid in included {
            pool.take(txid);
        }
        let mut contradicted: Vec<Txid> = Vec::new();
        contradicted.extend(effects.spent.keys().filter_map(|outpoint| pool.spends.get(outpoint)));
        contradicted.extend(effects.pegins.iter().filter_map(|claim| pool.claims.get(&claim.deposit)));
        pool.take_families(contradicted);
        let now = self.clock.now();
        let expired = eviction::expire(&mut pool, &self.limits, now);
        pool.floor.block_connected(now);
        drop(pool);
        for txid in expired {
            tracing::info!(%txid, "dropped from the mempool: it has waited too long");
        }
        self.changed();
        Ok(result)
    }

    /// Drops a transaction that another implementation refuses, with what depends on it, and does not admit it again.
    pub fn object(&self, txid: Txid, reason: &str) {
        tracing::error!(%txid, reason, "left out: another implementation refuses this transaction");
        self.objections().keep(txid, reason.to_owned());
        self.lock().take_families([txid]);
        self.changed();
    }

    fn objections(&self) -> MutexGuard<'_, Objections> {
        self.objections.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Verifies everything that waits again, in order of arrival, and drops what no longer holds: peg-ins whose
    /// federation script has left the window, for instance. Returns what was dropped and why.
    pub fn verify_again(&self) -> Result<Vec<(Txid, String)>, StoreError> {
        let mut pool = self.lock();
        let ledger = self.ledger.snapshot()?;
        let tip = ledger.tip()?;
        let mut dropped = Vec::new();
        for (txid, entry) in pool.drain() {
            let without = HashSet::new();
            let view =
                PoolView { ledger: &ledger, pool: &pool, without: &without, next_height: tip.height.saturating_add(1) };
            match self.verify(&tip, &entry.transaction, &view) {
                Ok(effects) => {
                    let Entry { transaction, wtxid, measure, fee_sat, admitted_at, .. } = entry;
                    pool.insert(txid, Verified { transaction, wtxid, effects, measure, fee_sat, admitted_at });
                }
                Err(error) => dropped.push((txid, error.to_string())),
            }
        }
        drop(pool);
        self.changed();
        Ok(dropped)
    }

    /// A waiting transaction.
    pub fn get(&self, txid: &Txid) -> Option<Arc<Transaction>> {
        self.lock().entries.get(txid).map(|entry| Arc::clone(&entry.transaction))
    }

    /// A waiting transaction by the hash of all of it.
    pub fn get_by_wtxid(&self, wtxid: &Wtxid) -> Option<Arc<Transaction>> {
        let pool = self.lock();
        let entry = pool.by_wtxid.get(wtxid).and_then(|txid| pool.entries.get(txid));
        entry.map(|entry| Arc::clone(&entry.transaction))
    }

    /// What waits and has arrived after the transaction of such a number, at most `most`, in order. One that was verified
    /// anew has arrived anew.
    pub fn arrivals_after(&self, number: u64, most: usize) -> Vec<Arrival> {
        let pool = self.lock();
        let later = pool.arrivals.range((Bound::Excluded(number), Bound::Unbounded)).take(most);
        let arrivals = later.filter_map(|(number, txid)| {
            let entry = pool.entries.get(txid)?;
            let fee_rate_sat_per_kvb = Totals::of(entry).rate().sat_per_kvb();
            Some(Arrival { number: *number, txid: *txid, wtxid: entry.wtxid, fee_rate_sat_per_kvb })
        });
        arrivals.collect()
    }

    /// A waiting transaction and when it was admitted, in seconds since 1970.
    fn admitted(&self, txid: &Txid) -> Option<(Arc<Transaction>, u32)> {
        self.lock().entries.get(txid).map(|entry| (Arc::clone(&entry.transaction), entry.admitted_at))
    }

    /// Names of all waiting transactions, by arrival.
    pub fn txids(&self) -> Vec<Txid> {
        self.lock().arrivals.values().copied().collect()
    }

    /// Names of all waiting transactions, by arrival, and all about those that are not `known`, by arrival: what two
    /// looks at the pool differ by.
    pub fn waiting_unless(&self, known: impl Fn(&Txid) -> bool) -> (Vec<Txid>, Vec<WaitingTransaction>) {
        let pool = self.lock();
        let all: Vec<Txid> = pool.arrivals.values().copied().collect();
        let new = all.iter().filter(|txid| !known(txid)).filter_map(|txid| {
            let entry = pool.entries.get(txid)?;
            let spent = entry.effects.spent.iter().map(|(outpoint, coin)| (*outpoint, coin.output.clone())).collect();
            Some(WaitingTransaction {
                txid: *txid,
                transaction: Arc::clone(&entry.transaction),
                spent,
                fee_sat: entry.fee_sat,
                vsize: entry.measure.vsize,
                discounted_vsize: entry.measure.discounted_vsize,
                admitted_at: entry.admitted_at,
            })
        });
        let new = new.collect();
        (all, new)
    }

    /// The waiting transactions that pay to or spend from a script, by arrival.
    pub fn touching(&self, script: &Script) -> Vec<Txid> {
        let pool = self.lock();
        let touches = |entry: &Entry| {
            entry.transaction.output.iter().any(|output| output.script_pubkey == *script)
                || entry.effects.spent.values().any(|coin| coin.output.script_pubkey == *script)
        };
        let found = pool.arrivals.values().filter(|txid| pool.entries.get(*txid).is_some_and(touches));
        found.copied().collect()
    }

    /// Number of waiting transactions.
    pub fn len(&self) -> usize {
        self.lock().entries.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The fee must reach the fixed floor, and the rolling one while it is higher.
fn require_fee(paid_sat: u64, vsize: u64, floor: u64) -> Result<(), MempoolError> {
    let needed_sat = policy::fee_at(MIN_FEE_RATE_SAT_PER_KVB, vsize);
    if paid_sat < needed_sat {
        return Err(MempoolError::FeeTooLow {
            paid_sat,
            needed_sat,
            vsize,
            rate_sat_per_kvb: MIN_FEE_RATE_SAT_PER_KVB,
        });
    }
    let needed_sat = policy::fee_at(floor, vsize);
    if paid_sat < needed_sat {
        return Err(MempoolError::BelowFloor { paid_sat, needed_sat, vsize, rate_sat_per_kvb: floor });
    }
    Ok(())
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
