//! Takes batches from the final block that agreed on them to the bottom of the parent chain.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aquifer_assets::chain::ChainParams;
use aquifer_federation::roster::{MemberIndex, Roster};
use aquifer_federation::treasury::{
    Signed, Treasury, TreasuryCoin, finalize_batch, sign_batch, verify_batch_signatures,
};
use bitcoin::secp256k1::SecretKey;
use bitcoin::{BlockHash, Transaction, Txid};
use tokio::sync::{Notify, watch};

use crate::parent::{Broadcast, Parent, ParentError, ParentStoreError, SignedBatch, TransactionStatus};

/// Keeps what this member has signed.
pub trait SignerRecord {
    /// Records the signatures of the batch that the final block at `height` commits to, one per input, and gives back what
    /// may be sent: those signatures, or the earlier ones of the same batch. Durable on return.
    ///
    /// # Errors
    ///
    /// They could not be recorded, or another batch was signed at this height; nothing may be sent then.
    fn record_batch(
        &mut self,
        height: u32,
        txid: &Txid,
        signatures: Vec<Vec<u8>>,
    ) -> Result<Vec<Vec<u8>>, Box<dyn std::error::Error + Send + Sync>>;
}

/// A batch that stands in a final block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FinalBatch {
    /// Height of that block.
    pub height: u32,
    /// The transaction without witnesses.
    pub transaction: Transaction,
    /// The coins it spends, in the order of its inputs.
    pub coins: Vec<TreasuryCoin>,
}

/// How far a batch is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BatchState {
    /// Waits for signatures of members.
    Signing {
        /// How many members' signatures are here.
        signatures: usize,
        /// How many are needed.
        needed: usize,
    },
    /// Has all signatures, and waits to be taken by bitcoind.
    Signed {
        /// Why bitcoind does not take it, once it has been asked.
        problem: Option<String>,
    },
    /// In the mempool of this member's bitcoind.
    Broadcast,
    /// In the best chain.
    Confirmed {
        /// The block.
        block: BlockHash,
        /// Blocks from that block to the best one, both counted. No longer updated once the batch is buried.
        confirmations: u32,
    },
}

/// What became of signatures that a member sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shares {
    /// They are good and new.
    New,
    /// They add nothing.
    Known,
    /// No batch of this height is known here yet. Ask again when the block is final here.
    Early,
}

/// A batch cannot be signed, or a member's signatures cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum PegoutError {
    /// The record of signatures refuses or failed: nothing is sent.
    #[error("the batch of block {height} is not signed: {reason}")]
    Record {
        /// Height of the block.
        height: u32,
        /// Why.
        reason: String,
    },
    /// Two final batches at one height: the ledger contradicts itself.
    #[error("block {height} was said to commit to batch {first}, and now to {second}")]
    TwoBatches {
        /// Height of the block.
        height: u32,
        /// The batch that was given first.
        first: Txid,
        /// The other one.
        second: Txid,
    },
    /// A member sent signatures for something else than the final block commits to.
    #[error("member {member} signed batch {found} for block {height}, which commits to {expected}")]
    OtherBatch {
        /// Who.
        member: MemberIndex,
        /// Height of the block.
        height: u32,
        /// What it signed.
        found: Txid,
        /// What the block commits to.
        expected: Txid,
    },
    /// A member's signatures are wrong.
    #[error("the signatures of member {member} for the batch of block {height} are wrong: {reason}")]
    BadSignatures {
        /// Who.
        member: MemberIndex,
        /// Height of the block.
        height: u32,
        /// What is wrong.
        reason: String,
    },
    /// There is no such member.
    #[error("there is no member {0}")]
    NoMember(MemberIndex),
    /// Good signatures do not make a transaction with the agreed txid: a mistake of this program.
    #[error("the signatures for the batch of block {0} cannot be put together")]
    Assembly(u32),
    /// What is kept of a batch cannot be read or written.
    #[error(transparent)]
    Store(#[from] ParentStoreError),
}

/// What the driver needs to know.
pub struct DriverConfig {
    /// The members.
    pub roster: Roster,
    /// What they hold the bitcoin with.
    pub treasury: Treasury,
    /// This member.
    pub me: MemberIndex,
    /// Its peg key.
    pub peg_key: SecretKey,
    /// How often bitcoind is asked about batches between its blocks.
    pub poll_interval: Duration,
}

/// A handle to the driver.
#[derive(Clone)]
pub struct PegoutDriver {
    shared: Arc<Shared>,
}

struct Shared {
    config: DriverConfig,
    params: ChainParams,
    parent: Parent,
    batches: Mutex<BTreeMap<u32, Batch>>,
    changes: watch::Sender<u64>,
    asked: Notify,
}

struct Batch {
    txid: Txid,
    unsigned: Transaction,
    coins: Vec<TreasuryCoin>,
    signatures: BTreeMap<MemberIndex, Vec<Vec<u8>>>,
    signed: Option<Transaction>,
    /// What bitcoind last said.
    status: TransactionStatus,
    problem: Option<String>,
}

impl Batch {
    fn state(&self, needed: usize) -> BatchState {
        match self.status {
            TransactionStatus::Confirmed { block, confirmations } => BatchState::Confirmed { block, confirmations },
            TransactionStatus::Mempool => BatchState::Broadcast,
            TransactionStatus::Unknown if self.signed.is_some() => BatchState::Signed { problem: self.problem.clone() },
            TransactionStatus::Unknown => BatchState::Signing { signatures: self.signatures.len(), needed },
        }
    }

    fn is_buried(&self, depth_blocks: u32) -> bool {
        matches!(self.status, TransactionStatus::Confirmed { confirmations, .. } if confirmations >= depth_blocks)
    }
}

impl PegoutDriver {
    /// Starts without batches. The caller adds those of its final blocks.
    pub fn start(config: DriverConfig, parent: Parent, runtime: &tokio::runtime::Handle) -> (Self, Driving) {
        let driver = Self {
            shared: Arc::new(Shared {
                params: config.roster.chain_params(),
                config,
                parent,
                batches: Mutex::default(),
                changes: watch::Sender::new(0),
                asked: Notify::new(),
            }),
        };
        let driving = Driving::start(driver.clone(), runtime);
        (driver, driving)
    }

    /// Follows a batch that this member has not signed: signatures of others are collected and Bitcoin is watched, but nothing
    /// is put together or handed over.
    ///
    /// # Errors
    ///
    /// The ledger contradicts itself.
    pub fn follow(&self, batch: FinalBatch) -> Result<(), PegoutError> {
        self.entry(batch, |_| Ok(()))?;
        self.changed();
        self.shared.asked.notify_one();
        Ok(())
    }

    /// Does something with the entry of a batch, which is made where there is none.
    fn entry(
        &self,
        batch: FinalBatch,
        work: impl FnOnce(&mut Batch) -> Result<(), PegoutError>,
    ) -> Result<(), PegoutError> {
        let (height, txid) = (batch.height, batch.transaction.compute_txid());
        let mut batches = self.batches();
        let entry = batches.entry(height).or_insert_with(|| Batch {
            txid,
            unsigned: batch.transaction,
            coins: batch.coins,
            signatures: BTreeMap::new(),
            signed: None,
            status: TransactionStatus::Unknown,
            problem: None,
        });
        if entry.txid != txid {
            return Err(PegoutError::TwoBatches { height, first: entry.txid, second: txid });
        }
        work(entry)
    }

    /// Signs a batch and follows it from now on. Gives this member's signatures, one per input, to be sent to the others.
    ///
    /// The caller vouches that the batch stands in a *final* block. Adding it again, as after a restart, gives the same
    /// signatures.
    ///
    /// # Errors
    ///
    /// The signatures could not be recorded; the ledger contradicts itself.
    pub fn sign(&self, batch: FinalBatch, record: &mut dyn SignerRecord) -> Result<Vec<Vec<u8>>, PegoutError> {
        let DriverConfig { me, peg_key, treasury, .. } = &self.shared.config;
        let (height, txid) = (batch.height, batch.transaction.compute_txid());
        let failed = |reason: String| PegoutError::Record { height, reason };
        // Before anything is signed: is this the batch that is known?
        self.entry(batch.clone(), |_| Ok(()))?;
        let made = sign_batch(treasury, peg_key, &batch.transaction, &batch.coins, Signed::Everything)
            .map_err(|error| failed(error.to_string()))?;
        let signatures = record.record_batch(height, &txid, made).map_err(|error| failed(error.to_string()))?;
        let kept = self.shared.parent.kept_batch(height)?.map(|kept| kept.transaction);
        self.entry(batch, |entry| {
            let kept = kept.filter(|kept| kept.compute_txid() == txid);
            entry.signed = entry.signed.take().or(kept);
            entry.signatures.insert(*me, signatures.clone());
            self.assemble(height, entry)
        })?;
        self.changed();
        self.shared.asked.notify_one();
        Ok(signatures)
    }

    /// Takes the signatures that a member sent.
    ///
    /// # Errors
    ///
    /// The member is at fault, named in the error; or what is complete could not be kept.
    pub fn accept(
        &self,
        member: MemberIndex,
        height: u32,
        txid: &Txid,
        signatures: Vec<Vec<u8>>,
    ) -> Result<Shares, PegoutError> {
        let card = self.shared.config.roster.member(member).ok_or(PegoutError::NoMember(member))?;
        {
            let mut batches = self.batches();
            let Some(batch) = batches.get_mut(&height) else { return Ok(Shares::Early) };
            if batch.txid != *txid {
                return Err(PegoutError::OtherBatch { member, height, found: *txid, expected: batch.txid });
            }
            if batch.signatures.contains_key(&member) {
                return Ok(Shares::Known);
            }
            let treasury = &self.shared.config.treasury;
            verify_batch_signatures(treasury, &card.peg_key, &batch.unsigned, &batch.coins, &signatures)
                .map_err(|error| PegoutError::BadSignatures { member, height, reason: error.to_string() })?;
            batch.signatures.insert(member, signatures);
            self.assemble(height, batch)?;
        }
        self.changed();
        self.shared.asked.notify_one();
        Ok(Shares::New)
    }

    /// Puts the transaction together as soon as enough members have signed, this one among them, and keeps it.
    fn assemble(&self, height: u32, batch: &mut Batch) -> Result<(), PegoutError> {
        let config = &self.shared.config;
        let signed_by_us = batch.signatures.contains_key(&config.me);
        if batch.signed.is_some() || !signed_by_us || batch.signatures.len() < config.roster.threshold() {
            return Ok(());
        }
        let key_spends = BTreeMap::new();
        let signed = finalize_batch(&config.treasury, &batch.unsigned, &batch.coins, &batch.signatures, &key_spends);
        // A member may leave outputs of the treasury to their key: what `k` members have given is not always enough.
        let Some(signed) = signed else { return Ok(()) };
        if signed.compute_txid() != batch.txid {
            return Err(PegoutError::Assembly(height));
        }
        self.shared.parent.keep_batch(&SignedBatch { height, transaction: signed.clone() })?;
        tracing::info!(height, txid = %batch.txid, "a peg-out batch has all its signatures");
        batch.signed = Some(signed);
        Ok(())
    }

    /// This member's own signatures of a batch, to send them again.
    pub fn own_signatures(&self, height: u32, txid: &Txid) -> Option<Vec<Vec<u8>>> {
        let batches = self.batches();
        let batch = batches.get(&height).filter(|batch| batch.txid == *txid)?;
        batch.signatures.get(&self.shared.config.me).cloned()
    }

    /// Batches that lack signatures, with the members to ask for them.
    pub fn wanted(&self) -> Vec<(u32, Txid, Vec<MemberIndex>)> {
        let members = self.shared.config.roster.indices();
        let depth_blocks = self.depth_blocks();
        let batches = self.batches();
        batches
            .iter()
            .filter(|(_, batch)| batch.signed.is_none() && !batch.is_buried(depth_blocks))
            .map(|(height, batch)| {
                let missing = members.iter().filter(|member| !batch.signatures.contains_key(member)).copied().collect();
                (*height, batch.txid, missing)
            })
            .collect()
    }

    /// How far the batch of a final block is; `None` if there is none or it was never added.
    pub fn state(&self, height: u32) -> Option<BatchState> {
        let needed = self.shared.config.roster.threshold();
        self.batches().get(&height).map(|batch| batch.state(needed))
    }

    /// Batches that are buried: nothing becomes of them any more.
    pub fn buried(&self) -> Vec<u32> {
        let depth_blocks = self.depth_blocks();
        let batches = self.batches();
        batches.iter().filter(|(_, batch)| batch.is_buried(depth_blocks)).map(|(height, _)| *height).collect()
    }

    /// Follows these batches no more.
    pub fn forget(&self, heights: &[u32]) {
        let mut batches = self.batches();
        for height in heights {
            batches.remove(height);
        }
    }

    /// A counter that moves whenever the state of a batch has changed.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.shared.changes.subscribe()
    }

    /// A batch at this depth is no longer followed.
    fn depth_blocks(&self) -> u32 {
        self.shared.params.pegin_confirmation_depth_blocks
    }

    fn batches(&self) -> MutexGuard<'_, BTreeMap<u32, Batch>> {
        // Entries change in single steps, so a panic elsewhere leaves none half-done.
        self.shared.batches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changed(&self) {
        self.shared.changes.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Asks bitcoind about every batch that is not buried, in the order of the blocks, and hands over what it lacks. The
    /// batches are not locked while bitcoind answers.
    fn look(&self) -> Result<(), ParentError> {
        let depth_blocks = self.depth_blocks();
        let open: Vec<(u32, Txid, Option<Transaction>)> = self
            .batches()
            .iter()
            .filter(|(_, batch)| !batch.is_buried(depth_blocks))
            .map(|(height, batch)| (*height, batch.txid, batch.signed.clone()))
            .collect();
        for (height, txid, signed) in open {
            let mut status = self.shared.parent.transaction_status(&txid)?;
            let mut problem = None;
            if let (TransactionStatus::Unknown, Some(signed)) = (status, &signed) {
                match self.shared.parent.broadcast(signed)? {
                    Broadcast::Accepted => {
                        tracing::info!(height, %txid, "a peg-out batch was handed to the Bitcoin network");
                        status = TransactionStatus::Mempool;
                    }
                    Broadcast::Rejected(reason) => problem = Some(reason),
                }
            }
            self.note(height, status, problem);
        }
        Ok(())
    }

    fn note(&self, height: u32, status: TransactionStatus, problem: Option<String>) {
        let mut batches = self.batches();
        let Some(batch) = batches.get_mut(&height) else { return };
        if batch.status == status && batch.problem == problem {
            return;
        }
        let txid = batch.txid;
        let was_confirmed = matches!(batch.status, TransactionStatus::Confirmed { .. });
        if was_confirmed && !matches!(status, TransactionStatus::Confirmed { .. }) {
            tracing::warn!(height, %txid, "a reorganisation took the confirmation of a peg-out batch back");
        }
        if let Some(reason) = problem.as_ref().filter(|_| batch.problem != problem) {
            tracing::warn!(height, %txid, reason, "bitcoind does not take a peg-out batch");
        }
        batch.status = status;
        batch.problem = problem;
        drop(batches);
        self.changed();
    }
}

/// Keeps the driver at work; see [`Driving::stop`].
#[derive(Debug)]
pub struct Driving {
    stop: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

impl Driving {
    fn start(driver: PegoutDriver, runtime: &tokio::runtime::Handle) -> Self {
        let (stop, stopped) = watch::channel(false);
        let task = runtime.spawn(run(driver, stopped));
        Self { stop, task }
    }

    /// Ends the task and waits for the look it is taking.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        if self.task.await.is_err() {
            tracing::error!("the driver of peg-out batches had failed before it was stopped");
        }
    }
}

async fn run(driver: PegoutDriver, mut stop: watch::Receiver<bool>) {
    let mut timer = tokio::time::interval(driver.shared.config.poll_interval);
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut parent = driver.shared.parent.subscribe();
    loop {
        tokio::select! {
            _ = timer.tick() => {}
            () = driver.shared.asked.notified() => {}
            changed = parent.changed() => if changed.is_err() { return },
            _ = stop.wait_for(|stop| *stop) => return,
        }
        if parent.borrow_and_update().problem().is_some() {
            continue;
        }
        let worker = driver.clone();
        match tokio::task::spawn_blocking(move || worker.look()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "peg-out batches wait for bitcoind"),
            Err(_) => {
                tracing::error!("peg-out batches are no longer followed: the driver has failed");
                return;
            }
        }
    }
}
