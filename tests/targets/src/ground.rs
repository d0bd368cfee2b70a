//! A small chain, and valid transactions of every kind on it.
//!
//! It is kept in a file, made by the forge of `aquifer-tests`, whose test `fuzz_ground` says whether the file is still what
//! the forge makes. That crate stands on all others, and a fuzzer would have to instrument them.

use std::sync::LazyLock;

use aquifer_assets::block::ChainTip;
use aquifer_assets::chain::{ChainParams, Federation};
use aquifer_assets::primitives::{Transaction, TxOut};
use aquifer_assets::script::SighashData;
use aquifer_assets::state::{Coin, DynafedEntries, Effects, MemoryView};
use aquifer_assets::transaction::{TxContext, TxError, spent_outputs, verify_transaction};
use elements::encode::serialize;
use elements::{BlockHash, OutPoint};
use serde::{Deserialize, Serialize};

use crate::wire;

/// The file.
pub const TEXT: &str = include_str!("../ground.json");

/// Why the file is no ground: a defect of the file or of the rules.
#[derive(Debug)]
pub enum GroundError {
    /// It is not what it should look like.
    Form(serde_json::Error),
    /// A transaction is no hexadecimal text, or cannot be decoded.
    Malformed(String),
    /// A transaction that should be valid is refused.
    Refused(String, Box<TxError>),
}

/// What the file says. Transactions are in hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroundFile {
    /// The chain.
    pub params: ChainParams,
    /// Hash of the last block.
    pub tip: BlockHash,
    /// Time of the last block, in seconds since 1970.
    pub time: u32,
    /// Median time past of each block from genesis on, in seconds since 1970.
    pub median_times: Vec<u32>,
    /// Transactions that made what can be spent, with the height of each, without their witnesses.
    pub origins: Vec<(u32, String)>,
    /// What is valid in the next block.
    pub cases: Vec<CaseFile>,
}

/// A transaction that spends coins of the chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaseFile {
    /// What it holds, joined by `+`.
    pub kind: String,
    /// The transaction.
    pub transaction: String,
}

/// A valid transaction.
pub struct Case {
    /// What it holds.
    pub kind: String,
    /// The transaction.
    pub transaction: Transaction,
    /// The transaction as it is sent.
    pub bytes: Vec<u8>,
    /// What it spends, in the order of its inputs.
    pub spent: Vec<TxOut>,
    /// What it changes.
    pub effects: Effects,
}

impl Case {
    /// What its signatures sign.
    pub fn sighash(&self) -> SighashData<'_> {
        SighashData::new(&self.transaction, &self.spent, ground().params.genesis_hash())
    }
}

/// The chain and what is valid on it.
pub struct Ground {
    /// The chain.
    pub params: ChainParams,
    /// Its last block.
    pub tip: ChainTip,
    /// Time of the last block, in seconds since 1970.
    pub time: u32,
    /// Its coins.
    pub view: MemoryView,
    /// What is valid on it. At least one, and at least one claims a deposit.
    pub cases: Vec<Case>,
}

impl Ground {
    /// Reads a file.
    ///
    /// # Errors
    /// If something in it is not what it should be.
    pub fn read(text: &str) -> Result<Self, GroundError> {
        let file: GroundFile = serde_json::from_str(text).map_err(GroundError::Form)?;
        let mut view = MemoryView::default();
        for (height, time) in (0..).zip(&file.median_times) {
            view.set_median_time_past(height, *time);
            let current = Federation::without_votes(&file.params, height).entry();
            view.set_dynafed(height, DynafedEntries { current, ..DynafedEntries::default() });
        }
        for (height, text) in &file.origins {
            let origin = transaction(text)?;
            let txid = origin.txid();
            for (vout, output) in (0..).zip(origin.output) {
                view.insert(OutPoint::new(txid, vout), Coin { output, height: *height, is_coinbase: false });
            }
        }
        let height = u32::try_from(file.median_times.len().saturating_sub(1)).unwrap_or(u32::MAX);
        let median_time_past = file.median_times.last().copied().unwrap_or(0);
        let tip = ChainTip { height, hash: file.tip, median_time_past };
        let mut ground = Ground { params: file.params, tip, time: file.time, view, cases: Vec::new() };
        for case in &file.cases {
            let case = ground.case(case)?;
            ground.cases.push(case);
        }
        Ok(ground)
    }

    fn case(&self, file: &CaseFile) -> Result<Case, GroundError> {
        let transaction = transaction(&file.transaction)?;
        let effects = verify_transaction(&self.context(), &transaction, &self.view)
            .map_err(|error| GroundError::Refused(file.kind.clone(), Box::new(error)))?;
        let spent = spent_outputs(&self.context(), &transaction, &effects).unwrap_or_default();
        Ok(Case { kind: file.kind.clone(), bytes: serialize(&transaction), transaction, spent, effects })
    }

    /// Where the next block stands.
    pub fn context(&self) -> TxContext<'_> {
        let height = self.tip.height.saturating_add(1);
        TxContext { params: &self.params, height, median_time_past: self.tip.median_time_past }
    }
}

fn transaction(text: &str) -> Result<Transaction, GroundError> {
    let bytes = hex::decode(text).ok();
    bytes.and_then(|bytes| wire::transaction(&bytes)).ok_or_else(|| GroundError::Malformed(text.to_owned()))
}

/// The ground of the file.
///
/// # Panics
/// If the file is bad: no target can run then.
#[allow(clippy::expect_used, reason = "without a ground there is nothing to do")]
pub fn ground() -> &'static Ground {
    static GROUND: LazyLock<Ground> = LazyLock::new(|| Ground::read(TEXT).expect("the file of the ground is good"));
    &GROUND
}
