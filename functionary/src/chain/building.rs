//! Building blocks to propose.

use std::collections::BTreeMap;
use std::sync::Arc;

use aquifer_assets::block::{MAX_BLOCK_WEIGHT, Template, build_block};
use aquifer_assets::chain::Federation;
use aquifer_assets::primitives::{Block, Transaction};
use aquifer_assets::state::{ChainView as _, DynafedEntries};
use aquifer_assets::transaction::fee_in;
use aquifer_federation::treasury::{BatchPlan, batch_commitment};
use aquifer_federation::valve::{Notice, Valve};
use elements::Txid;

use super::body::Body;
use super::judge::{Examined, Judge, unreadable};
use super::oversight::{Doubt, SecondOpinion};
use crate::store::StoreError;
use crate::store::ledger::{Snapshot, Tip};

/// Weight kept free for the coinbase, the header and its signatures, in weight units.
const RESERVED_WEIGHT: u64 = 40_000;
/// So many transactions that the other implementation refuses are looked for, one after the other. After that a block is
/// proposed without any: the chain goes on.
const MAX_SEARCHES: usize = 4;

/// Everything in a block but the transactions of users.
struct Frame {
    tip: Tip,
    federation: Arc<Federation>,
    batch: Option<BatchPlan>,
    notices: Vec<Notice>,
}

impl Judge {
    /// A block to propose on the current tip, already checked.
    ///
    /// # Errors
    /// [`StoreError`] if the state cannot be read.
    pub fn build(&self) -> Result<Examined, StoreError> {
        let snapshot = self.ledger.snapshot()?;
        self.fill_with_what_waits(&snapshot, &self.frame(&snapshot)?)
    }

    /// A block to propose that the other implementation finds valid too, if there is one; the inner error says why there is
    /// no such block now.
    ///
    /// Transactions that it alone refuses leave the mempool. Otherwise a defect of either implementation, or somebody who
    /// knows of one, could stop the chain: every block would hold that transaction, and too few would vote for it.
    ///
    /// # Errors
    /// [`StoreError`] if the state cannot be read.
    pub fn build_agreed(&self) -> Result<Result<Examined, String>, StoreError> {
        let snapshot = self.ledger.snapshot()?;
        let frame = self.frame(&snapshot)?;
        let mut built = self.fill_with_what_waits(&snapshot, &frame)?;
        let Some(opinion) = &self.opinion else { return Ok(Ok(built)) };
        for _ in 0..MAX_SEARCHES {
            let reason = match opinion.on_proposal(&built.body.block) {
                Ok(()) => return Ok(Ok(built)),
                Err(Doubt::Unheard(reason)) => return Ok(Err(reason)),
                Err(Doubt::Refused(reason)) => reason,
            };
            let Some(txid) = self.culprit(&frame, &built.body.block, &**opinion) else { break };
            self.mempool.object(txid, &reason);
            built = self.fill_with_what_waits(&snapshot, &frame)?;
        }
        let empty = self.fill(&snapshot, &frame, Vec::new())?;
        Ok(opinion.on_proposal(&empty.body.block).map(|()| empty).map_err(|doubt| doubt.to_string()))
    }

    /// The transaction without which and without what comes after it the other implementation takes the block. Every look
    /// halves what is left; parents come before their children, so each beginning is a valid block here.
    fn culprit(&self, frame: &Frame, block: &Block, opinion: &dyn SecondOpinion) -> Option<Txid> {
        let transactions = block.txdata.get(1..)?;
        let (mut taken, mut refused) = (0, transactions.len());
        // Where it refuses even a block without any, none of them is to blame.
        if refused == 0 || opinion.is_refused(&self.assemble(frame, Vec::new()).block) {
            return None;
        }
        while refused - taken > 1 {
            let middle = taken + (refused - taken) / 2;
            let beginning = transactions.get(..middle)?.to_vec();
            if opinion.is_refused(&self.assemble(frame, beginning).block) {
                refused = middle;
            } else {
                taken = middle;
            }
        }
        transactions.get(taken).map(Transaction::txid)
    }

    fn frame(&self, snapshot: &Snapshot<'_>) -> Result<Frame, StoreError> {
        let tip = snapshot.tip()?;
        let valve = self.valve(snapshot)?;
        let notices = self.halts.pending(&valve);
        let batch = self.plan_batch(snapshot, &valve.after_notices(&notices))?;
        let federation = snapshot.federation(&self.params, tip.height.saturating_add(1)).map_err(unreadable)?;
        Ok(Frame { tip, federation, batch, notices })
    }

    fn fill_with_what_waits(&self, snapshot: &Snapshot<'_>, frame: &Frame) -> Result<Examined, StoreError> {
        let mut transactions = self.transactions();
        for _ in 0..2 {
            let body = self.assemble(frame, transactions);
            match self.check(&frame.tip, &body, snapshot) {
                Ok(effects) => return Ok(Examined { body, effects, batch: frame.batch.clone() }),
                Err(error) => {
                    tracing::warn!(%error, "what waits does not make a valid block: verifying it again");
                    for (txid, reason) in self.mempool.verify_again()? {
                        tracing::warn!(%txid, %reason, "dropped from the mempool");
                    }
                    transactions = self.transactions();
                }
            }
        }
        // Nothing that waits may stop the chain: an empty block is always valid.
        self.fill(snapshot, frame, Vec::new())
    }

    /// A block of transactions that must be valid.
    fn fill(
        &self,
        snapshot: &Snapshot<'_>,
        frame: &Frame,
        transactions: Vec<Transaction>,
    ) -> Result<Examined, StoreError> {
        let body = self.assemble(frame, transactions);
        let effects = self.check(&frame.tip, &body, snapshot).map_err(|error| StoreError::Inconsistent {
            file: "ledger.db".into(),
            reason: format!("an empty block on it is not valid: {error}"),
        })?;
        Ok(Examined { body, effects, batch: frame.batch.clone() })
    }

    /// A batch that takes the place of one that waits for long, or a fresh one of what the valve releases. A member that has
    /// halted peg-outs plans none.
    fn plan_batch(&self, snapshot: &Snapshot<'_>, valve: &Valve) -> Result<Option<BatchPlan>, StoreError> {
        if self.halts.hold().is_some() || valve.closure().is_some() {
            return Ok(None);
        }
        for height in self.parent.overdue_families() {
            let family = snapshot.family(height)?;
            let Some(plan) = self.parent.propose_replacement(&family) else { continue };
            if self.queue_with(snapshot, valve, &family)?.check(valve, &plan).is_ok() {
                return Ok(Some(plan));
            }
        }
        let (queue, coins) = (self.queue(snapshot, valve)?, snapshot.treasury_coins()?);
        let Some(plan) = self.parent.propose_batch(&coins, &queue.released()) else { return Ok(None) };
        // The others read from the transaction what it pays. A batch that they would refuse must not stop the chain.
        let read = self.check_fresh(&plan.transaction, &coins, &queue.all()).map_err(|error| error.to_string());
        match read.and_then(|read| queue.check(valve, &read).map(|()| read)) {
            Ok(read) => Ok(Some(read)),
            Err(reason) => {
                tracing::error!(%reason, "the peg-out batch that was planned breaks a rule, and is not proposed");
                Ok(None)
            }
        }
    }

    fn transactions(&self) -> Vec<Transaction> {
        let candidates = self.mempool.candidates(MAX_BLOCK_WEIGHT.saturating_sub(RESERVED_WEIGHT));
        candidates.into_iter().map(|candidate| Arc::unwrap_or_clone(candidate.transaction)).collect()
    }

    fn assemble(&self, frame: &Frame, transactions: Vec<Transaction>) -> Body {
        let Frame { tip, federation, batch, notices } = frame;
        let policy_asset = self.params.pegged_asset();
        let fee = transactions.iter().fold(0u64, |sum, tx| sum.saturating_add(fee_in(tx, policy_asset)));
        let commitment = batch.as_ref().map(|batch| batch_commitment(&batch.transaction.compute_txid()));
        let template = Template {
            height: tip.height.saturating_add(1),
            previous: tip.hash,
            dynafed: DynafedEntries { current: federation.entry(), ..DynafedEntries::default() },
            time: self.clock.now().max(tip.median_time_past.saturating_add(1)),
            transactions,
            fees: BTreeMap::from([(policy_asset, fee)]),
            fee_script: self.fee_script.clone(),
            commitments: notices.iter().map(Notice::script).chain(commitment).collect(),
        };
        Body {
            block: build_block(&self.params, template),
            batch: batch.as_ref().map(|batch| batch.transaction.clone()),
        }
    }
}
