//! Takes batches from the final block that agreed on them to the bottom of the parent chain.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aquifer_assets::chain::ChainParams;
use aquifer_federation::roster::{MemberIndex, Roster};
use aquifer_federation::treasury::{KeySpends, Signed, Treasury, finalize_batch, sign_batch, verify_batch_signatures};
use bitcoin::secp256k1::{SecretKey, schnorr};
use bitcoin::{OutPoint, Txid};
use tokio::sync::{Notify, watch};

use super::batch::{Batch, BatchState, FinalBatch, PegoutError, Shares, SignerRecord, WantedSignatures};
use crate::parent::{Parent, SignedBatch};
use crate::store::{Gate, Write};

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
    /// Watches over the writes of signed batches.
    pub gate: Arc<dyn Gate>,
}

/// A handle to the driver.
#[derive(Clone)]
pub struct PegoutDriver {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    config: DriverConfig,
    pub(super) params: ChainParams,
    pub(super) parent: Parent,
    batches: Mutex<BTreeMap<u32, Batch>>,
    changes: watch::Sender<u64>,
    asked: Notify,
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
        let entry = batches.entry(height).or_insert_with(|| Batch::new(batch));
        if entry.txid != txid {
            return Err(PegoutError::TwoBatches { height, first: entry.txid, second: txid });
        }
        work(entry)
    }

    /// Signs a batch and follows it from now on. Gives this member's signatures, one per input, to be sent to the others.
    ///
    /// The caller vouches that the batch stands in a *final* block. Adding it again, as after a restart, gives the same
    /// signatures. After [`Signed::Multisig`] it can be signed once more with [`Signed::Everything`].
    ///
    /// # Errors
    ///
    /// The signatures could not be recorded; the ledger contradicts itself.
    pub fn sign(
        &self,
        batch: FinalBatch,
        signed: Signed,
        record: &mut dyn SignerRecord,
    ) -> Result<Vec<Vec<u8>>, PegoutError> {
        let DriverConfig { me, peg_key, treasury, .. } = &self.shared.config;
        let (height, txid) = (batch.height, batch.transaction.compute_txid());
        let failed = |reason: String| PegoutError::Record { height, reason };
        // Before anything is signed: is this the batch that is known?
        self.entry(batch.clone(), |_| Ok(()))?;
        let made = sign_batch(treasury, peg_key, &batch.transaction, &batch.coins, signed)
            .map_err(|error| failed(error.to_string()))?;
        let signatures = record.record_batch(height, &txid, made).map_err(|error| failed(error.to_string()))?;
        let kept = self.shared.parent.kept_batch(height)?.map(|kept| kept.transaction);
        self.entry(batch, |entry| {
            if let Some(kept) = kept.filter(|kept| entry.signed.is_none() && kept.compute_txid() == txid) {
                entry.take_signed(kept);
            }
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
        self.take_in(member, height, txid, |batch| {
            // Who has left outputs of the treasury to their key may sign them later.
            if batch.has_signed(member, &signatures) {
                return Ok(Shares::Known);
            }
            let treasury = &self.shared.config.treasury;
            verify_batch_signatures(treasury, &card.peg_key, &batch.unsigned, &batch.coins, &signatures)
                .map_err(|error| PegoutError::BadSignatures { member, height, reason: error.to_string() })?;
            batch.signatures.insert(member, signatures);
            Ok(Shares::New)
        })
    }

    /// Takes finished signatures of the treasury key, one per output of the treasury in the order of the inputs, from
    /// whoever has them. Nobody but the key itself can have made them, so they are good from anybody.
    ///
    /// # Errors
    ///
    /// The member is at fault, named in the error; or what is complete could not be kept.
    pub fn accept_key_signatures(
        &self,
        member: MemberIndex,
        height: u32,
        txid: &Txid,
        signatures: &[schnorr::Signature],
    ) -> Result<Shares, PegoutError> {
        self.take_in(member, height, txid, |batch| {
            if !batch.key_signatures.is_empty() {
                return Ok(Shares::Known);
            }
            let treasury = &self.shared.config.treasury;
            let bad = || PegoutError::BadKeySignatures { member, height };
            let spends = KeySpends::of(&batch.unsigned, &batch.coins).map_err(|_| PegoutError::Assembly(height))?;
            if signatures.is_empty() || signatures.len() != spends.count() {
                return Err(bad());
            }
            let by_coin: BTreeMap<OutPoint, schnorr::Signature> =
                spends.coins().zip(signatures.iter().copied()).collect();
            if !by_coin.iter().all(|(coin, signature)| spends.verify(treasury, coin, signature)) {
                return Err(bad());
            }
            batch.key_signatures = by_coin;
            Ok(Shares::New)
        })
    }

    /// Lets `take` add what a member sent to the batch that it names, and puts the batch together if that completes it.
    fn take_in(
        &self,
        member: MemberIndex,
        height: u32,
        txid: &Txid,
        take: impl FnOnce(&mut Batch) -> Result<Shares, PegoutError>,
    ) -> Result<Shares, PegoutError> {
        {
            let mut batches = self.batches();
            let Some(batch) = batches.get_mut(&height) else { return Ok(Shares::Early) };
            if batch.txid != *txid {
                return Err(PegoutError::OtherBatch { member, height, found: *txid, expected: batch.txid });
            }
            let shares = take(batch)?;
            if shares != Shares::New {
                return Ok(shares);
            }
            self.assemble(height, batch)?;
        }
        self.changed();
        self.shared.asked.notify_one();
        Ok(Shares::New)
    }

    /// The treasury key's signatures of a batch, in the order of the inputs, if they are here.
    pub fn key_signatures(&self, height: u32, txid: &Txid) -> Option<Vec<schnorr::Signature>> {
        let batches = self.batches();
        let batch = batches.get(&height).filter(|batch| batch.txid == *txid && !batch.key_signatures.is_empty())?;
        Some(batch.coins.iter().filter_map(|coin| batch.key_signatures.get(&coin.outpoint)).copied().collect())
    }

    /// Puts the transaction together as soon as it has its signatures, this member having signed as well, and keeps it.
    fn assemble(&self, height: u32, batch: &mut Batch) -> Result<(), PegoutError> {
        let config = &self.shared.config;
        let needed = config.roster.threshold();
        let signed_by_us = batch.signatures.contains_key(&config.me);
        if batch.signed.is_some() || !signed_by_us || batch.fewest_signatures(needed) < needed {
            return Ok(());
        }
        let Batch { unsigned, coins, signatures, key_signatures, .. } = &*batch;
        let signed = finalize_batch(&config.treasury, unsigned, coins, signatures, key_signatures);
        let signed =
            signed.filter(|signed| signed.compute_txid() == batch.txid).ok_or(PegoutError::Assembly(height))?;
        config.gate.before(Write::SignedBatch)?;
        self.shared.parent.keep_batch(&SignedBatch { height, transaction: signed.clone() })?;
        config.gate.after(Write::SignedBatch)?;
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

    /// Batches that lack signatures, and whose. Where one of a family is confirmed, the others need none.
    pub fn wanted(&self) -> Vec<WantedSignatures> {
        let members = self.shared.config.roster.indices();
        let batches = self.batches();
        let confirmed: BTreeSet<u32> =
            batches.values().filter(|batch| batch.is_confirmed()).map(|batch| batch.family).collect();
        batches
            .iter()
            .filter(|(_, batch)| batch.signed.is_none() && !confirmed.contains(&batch.family))
            .map(|(height, batch)| WantedSignatures {
                height: *height,
                txid: batch.txid,
                members: members.iter().filter(|member| !batch.has_all_of(**member)).copied().collect(),
                treasury_key: batch.waits_for_treasury_key(),
            })
            .collect()
    }

    /// How far the batch of a final block is; `None` if there is none or it was never added.
    pub fn state(&self, height: u32) -> Option<BatchState> {
        let needed = self.shared.config.roster.threshold();
        self.batches().get(&height).map(|batch| batch.state(needed))
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
    pub(super) fn depth_blocks(&self) -> u32 {
        self.shared.params.pegin_confirmation_depth_blocks
    }

    pub(super) fn batches(&self) -> MutexGuard<'_, BTreeMap<u32, Batch>> {
        // Entries change in single steps, so a panic elsewhere leaves none half-done.
        self.shared.batches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn changed(&self) {
        self.shared.changes.send_modify(|count| *count = count.wrapping_add(1));
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
