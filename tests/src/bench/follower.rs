//! A member that was away: it takes final blocks from a folder and connects them to a ledger of its own.

use std::sync::Arc;

use aquifer_assets::block::CertificateKey;
use aquifer_functionary::chain::judge::{Judge, Verdict};
use aquifer_functionary::mempool::Mempool;
use aquifer_functionary::store::OpenGate;
use aquifer_functionary::store::ledger::{LedgerReader, LedgerStore};
use aquifer_proto::peer::FinalBlock;

use super::BenchError;
use super::measure::{Cost, pool, time};
use crate::forge::{Chain, ForgeError};

/// A ledger of its own, at the genesis block to begin with, and what judges for it.
pub struct Follower {
    /// Its judge, which remembers no verdicts.
    pub judge: Judge,
    key: CertificateKey,
    ledger: LedgerStore,
    _folder: tempfile::TempDir,
}

impl Follower {
    /// A follower of a chain, who has nothing of it yet.
    ///
    /// # Errors
    /// If its ledger cannot be made.
    pub fn new(chain: &Chain) -> Result<Self, BenchError> {
        let Judge { params, parent, .. } = &chain.judge;
        let folder = tempfile::tempdir().map_err(ForgeError::from)?;
        let path = folder.path().join("ledger.db");
        let ledger = LedgerStore::open(&path, params, Arc::new(OpenGate))?;
        let reader = Arc::new(LedgerReader::new(&path));
        let mempool = Arc::new(Mempool::new((**params).clone(), Arc::clone(&reader), Arc::clone(parent)));
        let judge = Judge { ledger: reader, mempool, ..chain.judge.clone() };
        Ok(Follower { judge, key: chain.founded.federation.certificate_key(), ledger, _folder: folder })
    }

    /// Checks a final block in full and connects it.
    ///
    /// # Errors
    /// [`BenchError::Wrong`] if it is not valid.
    pub fn take(&mut self, block: &FinalBlock) -> Result<(), BenchError> {
        match self.judge.judge_final(&self.key, block)? {
            Verdict::Valid(examined) => {
                self.judge.connect(&mut self.ledger, &examined, &block.certificate)?;
                Ok(())
            }
            Verdict::Invalid(reason) => Err(BenchError::Wrong(format!("block {} is refused: {reason}", block.height))),
            Verdict::NotNow(reason) => {
                Err(BenchError::Wrong(format!("no verdict on block {}: {reason}", block.height)))
            }
        }
    }
}

/// A final block as it lies on disk.
///
/// # Errors
/// If it is not there.
pub fn stored_block(ledger: &LedgerReader, height: u32) -> Result<FinalBlock, BenchError> {
    let stored = ledger.snapshot()?.block(height)?;
    let stored = stored.ok_or_else(|| BenchError::Wrong(format!("there is no block {height}")))?;
    Ok(FinalBlock {
        height,
        block: stored.block.into(),
        certificate: stored.certificate.into(),
        batch: stored.batch.unwrap_or_default().into(),
    })
}

/// What it costs to connect a whole chain, on so many threads.
///
/// # Errors
/// If a block is not valid.
pub fn connect_chain(chain: &Chain, threads: usize) -> Result<Cost, BenchError> {
    let mut follower = Follower::new(chain)?;
    let (disk, next) = (Arc::clone(&chain.judge.ledger), chain.next_height()?);
    pool(threads)?.install(|| {
        time(|| {
            for height in 1..next {
                follower.take(&stored_block(&disk, height)?)?;
            }
            Ok(())
        })
    })
}
