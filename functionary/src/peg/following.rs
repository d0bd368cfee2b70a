//! Following batches on Bitcoin, family by family.
//!
//! Of the batches that take each other's place the newest that bitcoind takes is handed over; older ones are only where they
//! are already. When one of them is confirmed the others wait, in case a reorganisation takes it back, until it is buried.

use std::collections::BTreeMap;

use aquifer_federation::treasury::CoinKind;
use bitcoin::{Transaction, Txid};

use super::batch::{Batch, BuriedBatch, Outcome};
use super::driver::PegoutDriver;
use crate::parent::{Broadcast, ParentError, ParentState, TransactionStatus};

/// A batch as it is looked at, without the lock.
struct Looked {
    height: u32,
    txid: Txid,
    signed: Option<Transaction>,
}

impl PegoutDriver {
    /// Whether this is a batch that is followed and that Bitcoin has not confirmed.
    pub fn is_unconfirmed(&self, txid: &Txid) -> bool {
        let batches = self.batches();
        let mut batches = batches.values();
        batches.any(|batch| batch.txid == *txid && !batch.is_confirmed())
    }

    /// The latest batch that spends what lies under the treasury key and is not confirmed.
    pub fn unconfirmed_key_spend(&self) -> Option<Txid> {
        let batches = self.batches();
        let spends = |batch: &Batch| batch.coins.iter().any(|coin| coin.kind == CoinKind::Treasury);
        batches.values().rev().find(|batch| !batch.is_confirmed() && spends(batch)).map(|batch| batch.txid)
    }

    /// Batches of families of which one is buried.
    pub fn buried(&self) -> Vec<BuriedBatch> {
        let depth_blocks = self.depth_blocks();
        let batches = self.batches();
        let buried = batches.iter().filter(|(_, batch)| batch.is_buried(depth_blocks));
        let winners: BTreeMap<u32, u32> = buried.map(|(height, batch)| (batch.family, *height)).collect();
        let outcome = |height: u32, family: u32| {
            let winner = *winners.get(&family)?;
            let outcome = if winner == height { Outcome::Confirmed } else { Outcome::Superseded };
            Some(BuriedBatch { height, outcome })
        };
        batches.iter().filter_map(|(height, batch)| outcome(*height, batch.family)).collect()
    }

    /// Families whose latest batch is in no block of Bitcoin, and was in none for so many blocks that another fee, or another
    /// alternative of a coin that it spends, may help.
    pub fn overdue(&self) -> Vec<u32> {
        let ParentState::Healthy { height: now, .. } = self.shared.parent.state() else { return Vec::new() };
        let patience_blocks = (self.depth_blocks() / 16).max(1);
        let mut overdue = BTreeMap::new();
        for batch in self.batches().values() {
            let waits_blocks = batch.waits_since.map_or(0, |since| now.saturating_sub(since));
            let confirmed_before = overdue.get(&batch.family) == Some(&None);
            let waits = (!batch.is_confirmed() && !confirmed_before).then_some(waits_blocks);
            // In the order of the blocks, so the latest counts.
            overdue.insert(batch.family, waits);
        }
        let overdue = overdue.into_iter().filter(|(_, waits)| waits.is_some_and(|blocks| blocks >= patience_blocks));
        overdue.map(|(family, _)| family).collect()
    }

    /// Asks bitcoind about every batch of families of which none is buried, and hands over what it lacks. The batches are not
    /// locked while bitcoind answers.
    pub(super) fn look(&self) -> Result<(), ParentError> {
        let ParentState::Healthy { height: now, .. } = self.shared.parent.state() else { return Ok(()) };
        let depth_blocks = self.depth_blocks();
        let mut families: BTreeMap<u32, Vec<Looked>> = BTreeMap::new();
        {
            let batches = self.batches();
            for (height, batch) in batches.iter() {
                let looked = Looked { height: *height, txid: batch.txid, signed: batch.signed.clone() };
                families.entry(batch.family).or_default().push(looked);
            }
            families.retain(|_, members| {
                let mut members = members.iter().filter_map(|looked| batches.get(&looked.height));
                !members.any(|batch| batch.is_buried(depth_blocks))
            });
        }
        for members in families.values() {
            self.look_at_family(members, now)?;
        }
        Ok(())
    }

    /// Whether a confirmed batch shows that the treasury key can spend what is under it.
    fn look_for_key_proof(&self, looked: &Looked) -> Result<(), ParentError> {
        if self.shared.parent.key_proof().is_some() {
            return Ok(());
        }
        let inputs: Vec<usize> = self.batches().get(&looked.height).map_or_else(Vec::new, |batch| {
            let inputs = batch.coins.iter().enumerate();
            inputs.filter(|(_, coin)| coin.kind == CoinKind::Treasury).map(|(input, _)| input).collect()
        });
        if inputs.is_empty() { Ok(()) } else { self.shared.parent.look_for_key_proof(&looked.txid, &inputs) }
    }

    fn look_at_family(&self, members: &[Looked], now: u32) -> Result<(), ParentError> {
        let mut statuses = Vec::with_capacity(members.len());
        for looked in members {
            let status = self.shared.parent.transaction_status(&looked.txid)?;
            if matches!(status, TransactionStatus::Confirmed { .. }) {
                self.look_for_key_proof(looked)?;
            }
            statuses.push(status);
        }
        let is_confirmed = |status: &TransactionStatus| matches!(status, TransactionStatus::Confirmed { .. });
        // One is on its way, or there.
        let mut settled = statuses.iter().any(is_confirmed);
        for (looked, mut status) in members.iter().zip(statuses).rev() {
            let mut problem = None;
            if settled {
                // What a newer one has just replaced was seen in the mempool a moment ago.
                status = if is_confirmed(&status) { status } else { TransactionStatus::Unknown };
            } else if status == TransactionStatus::Mempool {
                settled = true;
            } else if let Some(signed) = &looked.signed {
                match self.shared.parent.broadcast(signed)? {
                    Broadcast::Accepted => {
                        let (height, txid) = (looked.height, looked.txid);
                        tracing::info!(height, %txid, "a peg-out batch was handed to the Bitcoin network");
                        status = TransactionStatus::Mempool;
                        settled = true;
                    }
                    Broadcast::Rejected(reason) => problem = Some(reason),
                }
            }
            self.note(looked.height, status, problem, now);
        }
        Ok(())
    }

    fn note(&self, height: u32, status: TransactionStatus, problem: Option<String>, now: u32) {
        let mut batches = self.batches();
        let Some(batch) = batches.get_mut(&height) else { return };
        let confirmed = matches!(status, TransactionStatus::Confirmed { .. });
        batch.waits_since = if confirmed { None } else { Some(batch.waits_since.map_or(now, |since| since.min(now))) };
        if batch.status == status && batch.problem == problem {
            return;
        }
        let txid = batch.txid;
        if batch.is_confirmed() && !confirmed {
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
