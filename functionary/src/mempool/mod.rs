//! Transactions that wait for a block.
//!
//! Every transaction is verified in full, once, against the final state and what already waits, before it is admitted or
//! passed on. Two waiting transactions never spend the same output and never claim the same deposit: the first stays.
//! Admission and the connection of a block exclude each other, so that a verdict always belongs to one state.
//!
//! The pool is a cache: losing it at a restart loses no money, wallets and members send again what is not in a block.

mod view;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};

use aquifer_assets::chain::ChainParams;
use aquifer_assets::peg::check_pegin;
use aquifer_assets::state::{ChainView as _, Effects, ViewError};
use aquifer_assets::transaction::{TxContext, TxError, check_federation_policy, discount_vsize, verify_transaction};
use elements::{OutPoint, Script, Transaction, Txid};
use tokio::sync::watch;

use crate::chain::parent::{DepthVerdict, ParentChain};
use crate::store::StoreError;
use crate::store::ledger::{LedgerReader, Tip};
use view::PoolView;

/// Least fee, in satoshi per 1,000 vbytes of the discounted size: 0.1 sat/vB, as in Elements.
pub const MIN_FEE_RATE_SAT_PER_KVB: u64 = 100;
/// Heaviest transaction that is admitted, in weight units: Elements' limit for standard transactions.
pub const MAX_TRANSACTION_WEIGHT: u64 = 400_000;
/// Transactions that may wait at one time.
pub const MAX_TRANSACTIONS: usize = 5_000;

/// Why a transaction is not admitted.
#[derive(Debug, thiserror::Error)]
pub enum MempoolError {
    /// It breaks a rule of the ledger, or an input does not exist.
    #[error("{0}")]
    Invalid(#[from] TxError),
    /// Another waiting transaction spends the same output.
    #[error("input {vin} spends {outpoint}, which the waiting transaction {by} already spends")]
    Conflict {
        /// The input.
        vin: usize,
        /// What it spends.
        outpoint: OutPoint,
        /// Who was first.
        by: Txid,
    },
    /// Another waiting transaction claims the same deposit.
    #[error("input {vin} claims the deposit {deposit}, which the waiting transaction {by} already claims")]
    ClaimConflict {
        /// The input.
        vin: usize,
        /// The deposit.
        deposit: bitcoin::OutPoint,
        /// Who was first.
        by: Txid,
    },
    /// The fee is below the floor.
    #[error("the fee of {paid_sat} sat is below {needed_sat} sat, the least for {vsize} discounted vbytes")]
    FeeTooLow {
        /// Fee paid, in satoshi.
        paid_sat: u64,
        /// Fee needed, in satoshi.
        needed_sat: u64,
        /// Discounted size, in vbytes.
        vsize: u64,
    },
    /// It is heavier than a standard transaction.
    #[error("the transaction weighs {weight} units, at most {MAX_TRANSACTION_WEIGHT} are relayed")]
    TooHeavy {
        /// Its weight.
        weight: u64,
    },
    /// A peg-in whose deposit is not deep enough.
    #[error("the deposit {deposit} has {confirmations} confirmations on Bitcoin, {needed} are needed: claim it later")]
    DepositTooShallow {
        /// The deposit.
        deposit: bitcoin::OutPoint,
        /// Confirmations so far.
        confirmations: u32,
        /// Confirmations needed.
        needed: u32,
    },
    /// A peg-in whose deposit is in no block of the best chain.
    #[error("the deposit {deposit} is not in Bitcoin's best chain")]
    DepositNotFound {
        /// The deposit.
        deposit: bitcoin::OutPoint,
    },
    /// Bitcoin cannot be asked now.
    #[error("the deposit {deposit} cannot be checked now: {reason}; try again later or through another member")]
    ParentUnavailable {
        /// The deposit.
        deposit: bitcoin::OutPoint,
        /// What is wrong.
        reason: String,
    },
    /// Too many transactions wait.
    #[error("{MAX_TRANSACTIONS} transactions are waiting already; try again after the next block")]
    Full,
    /// The ledger could not be read.
    #[error("{0}")]
    Store(#[from] StoreError),
}

impl MempoolError {
    /// A stable name for logs and answers.
    pub fn name(&self) -> &'static str {
        match self {
            MempoolError::Invalid(error) => error.name(),
            MempoolError::Conflict { .. } => "mempool-conflict",
            MempoolError::ClaimConflict { .. } => "mempool-claim-conflict",
            MempoolError::FeeTooLow { .. } => "fee-too-low",
            MempoolError::TooHeavy { .. } => "too-heavy",
            MempoolError::DepositTooShallow { .. } => "deposit-too-shallow",
            MempoolError::DepositNotFound { .. } => "deposit-not-found",
            MempoolError::ParentUnavailable { .. } => "parent-unavailable",
            MempoolError::Full => "mempool-full",
            MempoolError::Store(_) => "store",
        }
    }

    /// Whether the same transaction may be admitted at another time or by another member.
    pub fn is_temporary(&self) -> bool {
        match self {
            MempoolError::Invalid(error) => error.is_missing_input(),
            MempoolError::FeeTooLow { .. } | MempoolError::TooHeavy { .. } => false,
            _ => true,
        }
    }
}

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

pub(crate) struct Entry {
    transaction: Arc<Transaction>,
    effects: Effects,
    weight: u64,
    fee_sat: u64,
    arrival: u64,
}

#[derive(Default)]
pub(crate) struct Pool {
    entries: HashMap<Txid, Entry>,
    spends: HashMap<OutPoint, Txid>,
    claims: HashMap<bitcoin::OutPoint, Txid>,
    arrivals: BTreeMap<u64, Txid>,
    next_arrival: u64,
}

/// The waiting transactions of one member.
pub struct Mempool {
    params: ChainParams,
    ledger: Arc<LedgerReader>,
    parent: Arc<dyn ParentChain>,
    pool: Mutex<Pool>,
    changes: watch::Sender<u64>,
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

impl Mempool {
    /// An empty pool over the ledger.
    pub fn new(params: ChainParams, ledger: Arc<LedgerReader>, parent: Arc<dyn ParentChain>) -> Self {
        Mempool { params, ledger, parent, pool: Mutex::default(), changes: watch::Sender::new(0) }
    }

    fn lock(&self) -> MutexGuard<'_, Pool> {
        // Each change is made in full under the lock, after everything that can fail.
        self.pool.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Tells of every change.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Verifies a transaction in full and admits it. Asks Bitcoin where it claims deposits: may block for a while.
    pub fn submit(&self, transaction: Transaction) -> Result<Admission, MempoolError> {
        let txid = transaction.txid();
        if self.lock().entries.contains_key(&txid) {
            return Ok(Admission::Known(txid));
        }
        let weight = u64::try_from(transaction.weight()).unwrap_or(u64::MAX);
        if weight > MAX_TRANSACTION_WEIGHT {
            return Err(MempoolError::TooHeavy { weight });
        }
        check_federation_policy(&self.params, &transaction)?;
        self.check_deposits(&transaction)?;
        let mut pool = self.lock();
        if pool.entries.contains_key(&txid) {
            return Ok(Admission::Known(txid));
        }
        if pool.entries.len() >= MAX_TRANSACTIONS {
            return Err(MempoolError::Full);
        }
        let ledger = self.ledger.snapshot()?;
        if ledger.place(&txid)?.is_some() {
            return Ok(Admission::Final(txid));
        }
        pool.refuse_conflicts(&transaction)?;
        let tip = ledger.tip()?;
        let view = PoolView { ledger: &ledger, pool: &pool, next_height: tip.height.saturating_add(1) };
        let effects = verify_transaction(&self.context(&tip), &transaction, &view)?;
        let paid_sat = effects.fees.get(&self.params.pegged_asset()).copied().unwrap_or(0);
        let vsize = u64::try_from(discount_vsize(&transaction)).unwrap_or(u64::MAX);
        let needed_sat = vsize.saturating_mul(MIN_FEE_RATE_SAT_PER_KVB).div_ceil(1_000);
        if paid_sat < needed_sat {
            return Err(MempoolError::FeeTooLow { paid_sat, needed_sat, vsize });
        }
        pool.insert(txid, transaction, effects, weight, paid_sat);
        drop(pool);
        self.changed();
        Ok(Admission::New(txid))
    }

    fn changed(&self) {
        self.changes.send_modify(|version| *version = version.wrapping_add(1));
    }

    fn context(&self, tip: &Tip) -> TxContext<'_> {
        TxContext { params: &self.params, height: tip.height.saturating_add(1), median_time_past: tip.median_time_past }
    }

    /// Asks our own bitcoind for the depth of every deposit that is claimed, before the pool is locked.
    fn check_deposits(&self, transaction: &Transaction) -> Result<(), MempoolError> {
        if !transaction.input.iter().any(|input| input.is_pegin()) {
            return Ok(());
        }
        let federation = {
            let ledger = self.ledger.snapshot()?;
            ledger.federation(&self.params, ledger.tip()?.height.saturating_add(1)).map_err(TxError::View)?
        };
        for vin in
            (0..transaction.input.len()).filter(|vin| transaction.input.get(*vin).is_some_and(|input| input.is_pegin()))
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

    /// The transactions for a block of at most `max_weight` units: by arrival, which keeps parents before children.
    pub fn candidates(&self, max_weight: u64) -> Vec<Candidate> {
        let pool = self.lock();
        let mut total = 0u64;
        let mut skipped = HashSet::new();
        let mut chosen = Vec::new();
        for txid in pool.arrivals.values() {
            let Some(entry) = pool.entries.get(txid) else { continue };
            let misses_parent =
                entry.transaction.input.iter().any(|input| skipped.contains(&input.previous_output.txid));
            if misses_parent || total.saturating_add(entry.weight) > max_weight {
                skipped.insert(*txid);
                continue;
            }
            total = total.saturating_add(entry.weight);
            chosen.push(Candidate {
                transaction: Arc::clone(&entry.transaction),
                weight: entry.weight,
                fee_sat: entry.fee_sat,
            });
        }
        chosen
    }

    /// Connects a final block: runs `write`, then drops what the block includes or contradicts. Nothing is admitted
    /// meanwhile.
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
        for txid in contradicted {
            pool.take_with_descendants(txid);
        }
        drop(pool);
        self.changed();
        Ok(result)
    }

    /// Verifies everything that waits again, in order of arrival, and drops what no longer holds: peg-ins whose
    /// federation script has left the window, for instance. Returns what was dropped and why.
    pub fn verify_again(&self) -> Result<Vec<(Txid, String)>, StoreError> {
        let mut pool = self.lock();
        let ledger = self.ledger.snapshot()?;
        let tip = ledger.tip()?;
        let waiting: Vec<Entry> = {
            let order: Vec<Txid> = pool.arrivals.values().copied().collect();
            order.iter().filter_map(|txid| pool.take(txid)).collect()
        };
        let mut dropped = Vec::new();
        for entry in waiting {
            let view = PoolView { ledger: &ledger, pool: &pool, next_height: tip.height.saturating_add(1) };
            let txid = entry.transaction.txid();
            match verify_transaction(&self.context(&tip), &entry.transaction, &view) {
                Ok(effects) => {
                    let transaction = Arc::unwrap_or_clone(entry.transaction);
                    pool.insert(txid, transaction, effects, entry.weight, entry.fee_sat);
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

    /// All waiting transactions, by arrival.
    pub fn all(&self) -> Vec<Arc<Transaction>> {
        let pool = self.lock();
        pool.arrivals.values().filter_map(|txid| pool.entries.get(txid)).map(|e| Arc::clone(&e.transaction)).collect()
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

impl Pool {
    fn refuse_conflicts(&self, transaction: &Transaction) -> Result<(), MempoolError> {
        for (vin, input) in transaction.input.iter().enumerate() {
            if let Some(deposit) = input.pegin_prevout() {
                if let Some(by) = self.claims.get(&deposit) {
                    return Err(MempoolError::ClaimConflict { vin, deposit, by: *by });
                }
            } else if let Some(by) = self.spends.get(&input.previous_output) {
                return Err(MempoolError::Conflict { vin, outpoint: input.previous_output, by: *by });
            }
        }
        Ok(())
    }

    fn insert(&mut self, txid: Txid, transaction: Transaction, effects: Effects, weight: u64, fee_sat: u64) {
        self.next_arrival = self.next_arrival.wrapping_add(1);
        let arrival = self.next_arrival;
        self.spends.extend(effects.spent.keys().map(|outpoint| (*outpoint, txid)));
        self.claims.extend(effects.pegins.iter().map(|claim| (claim.deposit, txid)));
        self.arrivals.insert(arrival, txid);
        self.entries.insert(txid, Entry { transaction: Arc::new(transaction), effects, weight, fee_sat, arrival });
    }

    fn take(&mut self, txid: &Txid) -> Option<Entry> {
        let entry = self.entries.remove(txid)?;
        for outpoint in entry.effects.spent.keys() {
            self.spends.remove(outpoint);
        }
        for claim in &entry.effects.pegins {
            self.claims.remove(&claim.deposit);
        }
        self.arrivals.remove(&entry.arrival);
        Some(entry)
    }

    fn take_with_descendants(&mut self, txid: Txid) {
        let mut doomed = vec![txid];
        while let Some(txid) = doomed.pop() {
            if let Some(entry) = self.take(&txid) {
                let made = entry.effects.created.keys();
                doomed.extend(made.filter_map(|outpoint| self.spends.get(outpoint)));
            }
        }
    }
}

/// Reading the ledger failed while a transaction was judged.
impl From<ViewError> for MempoolError {
    fn from(error: ViewError) -> Self {
        MempoolError::Store(StoreError::Inconsistent { file: "ledger.db".into(), reason: error.0 })
    }
}
