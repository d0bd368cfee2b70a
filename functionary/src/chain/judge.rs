//! Building blocks to propose and judging blocks that others propose, on a thread of its own.
//!
//! Judging has three outcomes. *Valid* and *invalid* are for ever; *not now* means that our bitcoind cannot tell yet, or
//! that a deposit is not deep enough in its eyes: the member then gives no verdict, asks again while the round lasts, and
//! lets the round's time-out vote for it. So a lagging parent stalls and never invalidates.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use aquifer_assets::block::{
    BlockError, Certificate, CertificateError, CertificateKey, ChainTip, MAX_BLOCK_WEIGHT, Template, build_block,
    check_block_signatures, check_block_with, check_federation_policy,
};
use aquifer_assets::chain::{ChainParams, Federation};
use aquifer_assets::primitives::Transaction;
use aquifer_assets::state::{ChainView as _, DynafedEntries, Effects, ViewError};
use aquifer_assets::transaction::fee_in;
use aquifer_federation::consensus::BlockId;
use aquifer_federation::treasury::{
    BatchPlan, CommitmentError, FeeRateBounds, Holdings, Treasury, batch_commitment, check_batch, find_batch_commitment,
};
use aquifer_proto::peer::FinalBlock;
use elements::{BlockHeader, Script, Txid};

use super::Clock;
use super::body::{Body, BodyError};
use super::oversight::SecondOpinion;
use super::parent::{BatchVerdict, DepthVerdict, ParentChain};
use crate::mempool::Mempool;
use crate::store::StoreError;
use crate::store::ledger::{LedgerReader, LedgerStore, NewBlock, Snapshot, Tip};

/// Weight kept free for the coinbase, the header and its signatures, in weight units.
const RESERVED_WEIGHT: u64 = 40_000;

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

fn unreadable(error: ViewError) -> StoreError {
    StoreError::Inconsistent { file: "ledger.db".into(), reason: error.0 }
}

impl Judge {
    /// The federation in force in the block after the tip.
    pub fn federation(&self) -> Result<Arc<Federation>, StoreError> {
        let snapshot = self.ledger.snapshot()?;
        let height = snapshot.tip()?.height.saturating_add(1);
        snapshot.federation(&self.params, height).map_err(unreadable)
    }

    /// A block to propose on the current tip, already checked, or `None` if the state cannot be read.
    pub fn build(&self) -> Result<Examined, StoreError> {
        let snapshot = self.ledger.snapshot()?;
        let tip = snapshot.tip()?;
        let batch = self.parent.propose_batch(&snapshot.treasury_coins()?, &snapshot.waiting_pegouts()?);
        let federation = snapshot.federation(&self.params, tip.height.saturating_add(1)).map_err(unreadable)?;
        let mut transactions = self.transactions();
        for _ in 0..2 {
            let body = self.assemble(&tip, &federation, transactions, batch.as_ref());
            match self.check(&tip, &body, &snapshot) {
                Ok(effects) => return Ok(Examined { body, effects, batch }),
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
        let body = self.assemble(&tip, &federation, Vec::new(), batch.as_ref());
        let effects = self.check(&tip, &body, &snapshot).map_err(|error| StoreError::Inconsistent {
            file: "ledger.db".into(),
            reason: format!("an empty block on it is not valid: {error}"),
        })?;
        Ok(Examined { body, effects, batch })
    }

    /// The rules of the ledger. What the mempool has verified is not verified again.
    fn check(&self, tip: &Tip, body: &Body, snapshot: &Snapshot<'_>) -> Result<Effects, BlockError> {
        let (tip, now) = (chain_tip(tip), self.clock.now());
        check_block_with(&self.params, &tip, &body.block, snapshot, now, self.mempool.verdicts())
    }

    fn transactions(&self) -> Vec<Transaction> {
        let candidates = self.mempool.candidates(MAX_BLOCK_WEIGHT.saturating_sub(RESERVED_WEIGHT));
        candidates.into_iter().map(|candidate| Arc::unwrap_or_clone(candidate.transaction)).collect()
    }

    fn assemble(
        &self,
        tip: &Tip,
        federation: &Federation,
        transactions: Vec<Transaction>,
        batch: Option<&BatchPlan>,
    ) -> Body {
        let policy_asset = self.params.pegged_asset();
        let fee = transactions.iter().fold(0u64, |sum, tx| sum.saturating_add(fee_in(tx, policy_asset)));
        let template = Template {
            height: tip.height.saturating_add(1),
            previous: tip.hash,
            dynafed: DynafedEntries { current: federation.entry(), ..DynafedEntries::default() },
            time: self.clock.now().max(tip.median_time_past.saturating_add(1)),
            transactions,
            fees: BTreeMap::from([(policy_asset, fee)]),
            fee_script: self.fee_script.clone(),
            commitments: batch.map(|batch| batch_commitment(&batch.transaction.compute_txid())).into_iter().collect(),
        };
        Body { block: build_block(&self.params, template), batch: batch.map(|batch| batch.transaction.clone()) }
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
        let mut times = self.ledger.snapshot()?.latest_times(10)?;
        times.push(time);
        times.sort_unstable();
        let median_time_past = times.get(times.len() / 2).copied().unwrap_or(time);
        let txids: Vec<Txid> = block.txdata.iter().map(Transaction::txid).collect();
        let new = NewBlock { block, height, median_time_past, effects, certificate, batch: batch.as_ref() };
        self.mempool.connect(&txids, effects, || ledger.connect(&new))?;
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
            && let Err(reason) = self.second_opinion(&body)
        {
            return Ok(Verdict::NotNow(reason));
        }
        Ok(Verdict::Valid(Box::new(Examined { body, effects, batch })))
    }

    /// Asks the other implementation, if there is one; the error is why this member shall not vote for the block now.
    pub(super) fn second_opinion(&self, body: &Body) -> Result<(), String> {
        self.opinion.as_ref().map_or(Ok(()), |opinion| opinion.on_proposal(&body.block))
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
        if committed != given {
            return Ok(Err(Verdict::Invalid(BadBlock::BatchCommitment { committed, given })));
        }
        let Some(batch) = &body.batch else { return Ok(Ok(None)) };
        let (coins, waiting) = (snapshot.treasury_coins()?, snapshot.waiting_pegouts()?);
        Ok(match scrutiny {
            Scrutiny::Full => match self.parent.judge_batch(batch, &coins, &waiting) {
                BatchVerdict::Good(plan) => Ok(Some(*plan)),
                BatchVerdict::Bad(reason) => Err(Verdict::Invalid(BadBlock::Batch(reason))),
                BatchVerdict::Unknown(reason) => Err(Verdict::NotNow(reason)),
            },
            Scrutiny::ChainOnly => {
                // Only the coins it spends: whether others could have been spent was for those to judge who voted.
                let spent = batch.input.iter().map(|input| input.previous_output).collect::<HashSet<_>>();
                let at_hand: Vec<_> = coins.iter().filter(|coin| spent.contains(&coin.outpoint)).cloned().collect();
                let holdings = Holdings::from(&coins).restricted_to(&at_hand);
                match check_batch(&self.treasury, holdings, &waiting, batch, &FeeRateBounds::HARD_LIMITS) {
                    Ok(plan) => Ok(Some(plan)),
                    Err(error) => Err(Verdict::Invalid(BadBlock::Batch(error.to_string()))),
                }
            }
        })
    }
}
