//! Building blocks to propose and judging blocks that others propose, on a thread of its own.
//!
//! Judging has three outcomes. *Valid* and *invalid* are for ever; *not now* means that our bitcoind cannot tell yet, or
//! that a deposit is not deep enough in its eyes: the member then gives no verdict, asks again while the round lasts, and
//! lets the round's time-out vote for it. So a lagging parent stalls and never invalidates.

use std::collections::HashSet;
use std::sync::Arc;

use aquifer_assets::block::{
    BlockError, Certificate, CertificateError, CertificateKey, ChainTip, check_block_signatures, check_block_with,
    check_federation_policy,
};
use aquifer_assets::chain::{ChainParams, Federation};
use aquifer_assets::peg::PegoutRequest;
use aquifer_assets::primitives::Transaction;
use aquifer_assets::state::{ChainView as _, Effects, ViewError};
use aquifer_federation::consensus::BlockId;
use aquifer_federation::roster::Roster;
use aquifer_federation::treasury::{
    BatchError, BatchPlan, CommitmentError, FeeRateBounds, Holdings, Treasury, TreasuryCoin, check_batch,
    check_replacement, find_batch_commitment,
};
use aquifer_federation::valve::{NoticeError, Valve};
use aquifer_proto::peer::FinalBlock;
use elements::{BlockHeader, Script, Txid};

use super::Clock;
use super::body::{Body, BodyError};
use super::oversight::SecondOpinion;
use super::parent::{BatchVerdict, DepthVerdict, ParentChain};
use super::valve::Queue;
use crate::halt::HaltDesk;
use crate::mempool::Mempool;
use crate::store::StoreError;
use crate::store::ledger::{LedgerReader, LedgerStore, NewBlock, Snapshot, Tip};

/// Why a proposed block is invalid.
#[derive(Debug, thiserror::Error)]
pub enum BadBlock {
    /// The body cannot be decoded.
    #[error("{0}")]
    Body(#[from] BodyError),
    /// The body belongs to another block.
    #[error("the body is of block {found}, not of {wanted}")]
    OtherBlock {
        /// The block asked for.
        wanted: BlockId,
        /// The block found.
        found: BlockId,
    },
    /// A proposal carries no header signatures yet.
    #[error("the header of a proposed block carries signatures already")]
    SignedAlready,
    /// The block breaks a rule of the ledger, or one of what the federation signs.
    #[error("{0}")]
    Block(#[from] BlockError),
    /// k members have not certified it.
    #[error("{0}")]
    Certificate(#[from] CertificateError),
    /// A deposit that it claims is not in Bitcoin's best chain.
    #[error("it claims the deposit {0}, which is not in Bitcoin's best chain")]
    Deposit(bitcoin::OutPoint),
    /// The coinbase commits to a batch that is not beside the block, or the other way round.
    #[error("the coinbase commits to batch {committed:?}, beside the block is {given:?}")]
    BatchCommitment {
        /// What the coinbase commits to.
        committed: Option<bitcoin::Txid>,
        /// What is beside the block.
        given: Option<bitcoin::Txid>,
    },
    /// The coinbase's commitment is malformed.
    #[error("{0}")]
    Commitment(#[from] CommitmentError),
    /// A notice to halt or to resume that must not stand there.
    #[error("{0}")]
    Notice(#[from] NoticeError),
    /// The batch is not what it should be.
    #[error("its peg-out batch is wrong: {0}")]
    Batch(String),
}

/// A verdict on a proposed block.
#[derive(Debug)]
pub enum Verdict {
    /// It is valid; this is what it changes.
    Valid(Box<Examined>),
    /// It is not valid.
    Invalid(BadBlock),
    /// It cannot be judged now, for this reason.
    NotNow(String),
}

/// A valid block, ready to be connected.
#[derive(Clone, Debug)]
pub struct Examined {
    /// The block and its batch.
    pub body: Body,
    /// What it changes.
    pub effects: Effects,
    /// The batch, taken apart.
    pub batch: Option<BatchPlan>,
}

/// Builds and judges blocks on the final chain.
#[derive(Clone)]
pub struct Judge {
    /// The chain's parameters.
    pub params: Arc<ChainParams>,
    /// The members, and how far the valve opens for them.
    pub roster: Arc<Roster>,
    /// What the members hold the bitcoin with.
    pub treasury: Arc<Treasury>,
    /// The final chain.
    pub ledger: Arc<LedgerReader>,
    /// What waits for a block.
    pub mempool: Arc<Mempool>,
    /// Our own view of Bitcoin.
    pub parent: Arc<dyn ParentChain>,
    /// The time of day.
    pub clock: Arc<dyn Clock>,
    /// Where the fees of our blocks go.
    pub fee_script: Script,
    /// Another implementation that must agree before this member votes, if there is one.
    pub opinion: Option<Arc<dyn SecondOpinion>>,
    /// Whether this member has halted peg-outs, and what members have said that no block has carried.
    pub halts: Arc<HaltDesk>,
}

/// How much to ask: of Bitcoin, and of what the federation signs beyond what the chain allows.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Scrutiny {
    /// Everything: before a vote.
    Full,
    /// Only what the chain itself shows: the block is final already, or was judged in full before.
    ChainOnly,
}

fn chain_tip(tip: &Tip) -> ChainTip {
    ChainTip { height: tip.height, hash: tip.hash, median_time_past: tip.median_time_past }
}

pub(super) fn unreadable(error: ViewError) -> StoreError {
    StoreError::Inconsistent { file: "ledger.db".into(), reason: error.0 }
}

impl Judge {
    /// The federation in force in the block after the tip.
    pub fn federation(&self) -> Result<Arc<Federation>, StoreError> {
        let snapshot = self.ledger.snapshot()?;
        let height = snapshot.tip()?.height.saturating_add(1);
        snapshot.federation(&self.params, height).map_err(unreadable)
    }

    /// The rules of the ledger. What the mempool has verified is not verified again.
    pub(super) fn check(&self, tip: &Tip, body: &Body, snapshot: &Snapshot<'_>) -> Result<Effects, BlockError> {
        let (tip, now) = (chain_tip(tip), self.clock.now());
        check_block_with(&self.params, &tip, &body.block, snapshot, now, self.mempool.verdicts())
    }

    /// Judges a proposed body for the block `wanted`.
    pub fn judge(&self, wanted: BlockId, bytes: &[u8]) -> Result<Verdict, StoreError> {
        let body = match Body::from_bytes(bytes) {
            Ok(body) => body,
            Err(error) => return Ok(Verdict::Invalid(error.into())),
        };
        let found = BlockId::from(body.block.block_hash());
        if found != wanted {
            return Ok(Verdict::Invalid(BadBlock::OtherBlock { wanted, found }));
        }
        let witness_is_empty = match &body.block.header.ext {
            elements::BlockExtData::Dynafed { signblock_witness, .. } => signblock_witness.is_empty(),
            elements::BlockExtData::Proof { solution, .. } => solution.is_empty(),
        };
        if !witness_is_empty {
            return Ok(Verdict::Invalid(BadBlock::SignedAlready));
        }
        self.examine(body, Scrutiny::Full)
    }

    /// Judges a block that k members have made final, as another member or a file gives it: its signatures, its
    /// certificate, and what the chain itself shows. Against Bitcoin it was judged by those who signed.
    pub fn judge_final(&self, key: &CertificateKey, given: &FinalBlock) -> Result<Verdict, StoreError> {
        let batch = (!given.batch.is_empty()).then_some(&*given.batch);
        let body = match Body::from_parts(given.block.clone(), batch) {
            Ok(body) => body,
            Err(error) => return Ok(Verdict::Invalid(error.into())),
        };
        let header = &body.block.header;
        if let Err(error) = check_block_signatures(&*self.federation()?, header) {
            return Ok(Verdict::Invalid(error.into()));
        }
        // That the block has this height is one of its rules.
        let certified = Certificate::from_bytes(&given.certificate).and_then(|certificate| {
            key.verify(&certificate, &self.params.genesis_hash(), given.height, &header.block_hash())
        });
        if let Err(error) = certified {
            return Ok(Verdict::Invalid(error.into()));
        }
        self.examine(body, Scrutiny::ChainOnly)
    }

    /// Adds a judged block, final by now, to the ledger, and takes it out of the mempool; durable on return.
    pub fn connect(
        &self,
        ledger: &mut LedgerStore,
        examined: &Examined,
        certificate: &[u8],
    ) -> Result<Tip, StoreError> {
        let Examined { body: Body { block, .. }, effects, batch } = examined;
        let BlockHeader { height, time, .. } = block.header;
        // BIP 113: this block and the ten before it.
        let snapshot = self.ledger.snapshot()?;
        let mut times = snapshot.latest_times(10)?;
        times.push(time);
        times.sort_unstable();
        let median_time_past = times.get(times.len() / 2).copied().unwrap_or(time);
        let valve = self.valve_after(&snapshot, block, median_time_past, effects, batch.as_ref())?;
        drop(snapshot);
        let saved = valve.save();
        let txids: Vec<Txid> = block.txdata.iter().map(Transaction::txid).collect();
        let (batch, valve_state) = (batch.as_ref(), Some(saved.as_slice()));
        let new = NewBlock { block, height, median_time_past, effects, certificate, batch, valve: valve_state };
        self.mempool.connect(&txids, effects, || ledger.connect(&new))?;
        self.halts.refresh(&valve)?;
        Ok(Tip { height, hash: block.block_hash(), time, median_time_past })
    }

    /// Judges a block on the current tip.
    pub fn examine(&self, body: Body, scrutiny: Scrutiny) -> Result<Verdict, StoreError> {
        let snapshot = self.ledger.snapshot()?;
        let tip = snapshot.tip()?;
        let effects = match self.check(&tip, &body, &snapshot) {
            Ok(effects) => effects,
            Err(BlockError::View(error)) => return Err(unreadable(error)),
            Err(error) => return Ok(Verdict::Invalid(error.into())),
        };
        if scrutiny == Scrutiny::Full {
            if let Err(error) = check_federation_policy(&self.params, &body.block) {
                return Ok(Verdict::Invalid(error.into()));
            }
            for claim in &effects.pegins {
                match self.parent.deposit_depth(claim) {
                    DepthVerdict::Deep { .. } => {}
                    DepthVerdict::Shallow { confirmations, needed } => {
                        return Ok(Verdict::NotNow(format!(
                            "it claims the deposit {}, which has {confirmations} of {needed} confirmations",
                            claim.deposit
                        )));
                    }
                    DepthVerdict::NotInBestChain => return Ok(Verdict::Invalid(BadBlock::Deposit(claim.deposit))),
                    DepthVerdict::Unknown(reason) => return Ok(Verdict::NotNow(reason)),
                }
            }
        }
        let batch = match self.examine_batch(&body, &snapshot, scrutiny)? {
            Ok(batch) => batch,
            Err(verdict) => return Ok(verdict),
        };
        if scrutiny == Scrutiny::Full
            && let Some(opinion) = &self.opinion
            && let Err(doubt) = opinion.on_proposal(&body.block)
        {
            return Ok(Verdict::NotNow(doubt.to_string()));
        }
        Ok(Verdict::Valid(Box::new(Examined { body, effects, batch })))
    }

    fn examine_batch(
        &self,
        body: &Body,
        snapshot: &Snapshot<'_>,
        scrutiny: Scrutiny,
    ) -> Result<Result<Option<BatchPlan>, Verdict>, StoreError> {
        let committed = match body.block.txdata.first().map(find_batch_commitment) {
            Some(Ok(committed)) => committed,
            Some(Err(error)) => return Ok(Err(Verdict::Invalid(error.into()))),
            None => None,
        };
        let given = body.batch.as_ref().map(bitcoin::Transaction::compute_txid);
        // Most blocks that are followed: nothing in them depends on the valve.
        if scrutiny == Scrutiny::ChainOnly && committed.is_none() && given.is_none() {
            return Ok(Ok(None));
        }
        let valve = self.valve(snapshot)?;
        let valve = match (Self::notices_of(&body.block, &valve), scrutiny) {
            (Ok(notices), _) => valve.after_notices(&notices),
            (Err(error), Scrutiny::Full) => return Ok(Err(Verdict::Invalid(error.into()))),
            (Err(_), Scrutiny::ChainOnly) => valve,
        };
        if committed != given {
            return Ok(Err(Verdict::Invalid(BadBlock::BatchCommitment { committed, given })));
        }
        let Some(batch) = &body.batch else { return Ok(Ok(None)) };
        let spent = batch.input.first().map(|input| input.previous_output);
        let family = spent.map_or(Ok(None), |spent| snapshot.family_spending(&spent))?;
        let queue = match &family {
            Some(family) => self.queue_with(snapshot, &valve, family)?,
            None => self.queue(snapshot, &valve)?,
        };
        Ok(match scrutiny {
            Scrutiny::Full => {
                let verdict = match &family {
                    Some(family) => self.parent.judge_replacement(batch, family),
                    None => self.parent.judge_batch(batch, &snapshot.treasury_coins()?, &queue.all()),
                };
                match verdict {
                    BatchVerdict::Good(plan) => self.judge_plan(&queue, &valve, *plan).map(Some),
                    BatchVerdict::Bad(reason) => Err(Verdict::Invalid(BadBlock::Batch(reason))),
                    BatchVerdict::Unknown(reason) => Err(Verdict::NotNow(reason)),
                }
            }
            // Of a final block it is not asked whether the valve lets it: that is a fact.
            Scrutiny::ChainOnly => {
                let checked = match &family {
                    Some(family) => check_replacement(&self.treasury, family, batch, &FeeRateBounds::HARD_LIMITS),
                    None => self.check_fresh(batch, &snapshot.treasury_coins()?, &queue.all()),
                };
                checked.map(Some).map_err(|error| Verdict::Invalid(BadBlock::Batch(error.to_string())))
            }
        })
    }

    /// Only with the coins that it spends: whether others could have been spent was for those to judge who voted.
    pub(super) fn check_fresh(
        &self,
        batch: &bitcoin::Transaction,
        coins: &[TreasuryCoin],
        waiting: &[PegoutRequest],
    ) -> Result<BatchPlan, BatchError> {
        let spent: HashSet<_> = batch.input.iter().map(|input| input.previous_output).collect();
        let at_hand: Vec<_> = coins.iter().filter(|coin| spent.contains(&coin.outpoint)).cloned().collect();
        let holdings = Holdings::from(coins).restricted_to(&at_hand);
        check_batch(&self.treasury, holdings, waiting, batch, &FeeRateBounds::HARD_LIMITS)
    }

    /// Whether a batch may stand in the next block: the valve decides, and this member if it has halted peg-outs.
    fn judge_plan(&self, queue: &Queue, valve: &Valve, plan: BatchPlan) -> Result<BatchPlan, Verdict> {
        if let Err(reason) = queue.check(valve, &plan) {
            return Err(Verdict::Invalid(BadBlock::Batch(reason)));
        }
        match self.halts.hold() {
            None => Ok(plan),
            Some(reason) => Err(Verdict::NotNow(format!("this member has halted peg-outs: {reason}"))),
        }
    }
}
