//! A mempool as the interfaces of a node know one, without the node around it.

use std::sync::Arc;

use aquifer_assets::primitives::Transaction;
use aquifer_functionary::api::{
    Asset, BackendError, ChainInfo, Deposits, HistoryEntry, LedgerBackend, Pegout, ProvenTransaction, SignedBlock,
    SignedHeader, SubmitError, Supply, TransactionStatus,
};
use aquifer_functionary::mempool::Mempool;
use elements::{AssetId, OutPoint, Script, Txid};
use tokio::sync::watch;

use super::served::not_here;

/// Takes transactions into a mempool, and answers nothing.
pub struct MempoolBackend(pub Arc<Mempool>);

impl LedgerBackend for MempoolBackend {
    fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes()
    }

    fn info(&self) -> Result<ChainInfo, BackendError> {
        not_here()
    }

    fn height(&self) -> Result<u32, BackendError> {
        not_here()
    }

    fn submit(&self, transaction: Transaction) -> Result<Txid, SubmitError> {
        match self.0.submit(transaction) {
            Ok(admission) => Ok(admission.txid()),
            Err(error) => Err(SubmitError::NotNow(error.to_string())),
        }
    }

    fn header(&self, _: u32) -> Result<Option<SignedHeader>, BackendError> {
        not_here()
    }

    fn block(&self, _: u32) -> Result<Option<SignedBlock>, BackendError> {
        not_here()
    }

    fn transaction(&self, _: &Txid) -> Result<Option<ProvenTransaction>, BackendError> {
        not_here()
    }

    fn history(&self, _: &Script) -> Result<Vec<HistoryEntry>, BackendError> {
        not_here()
    }

    fn transaction_status(&self, _: &Txid) -> Result<TransactionStatus, BackendError> {
        not_here()
    }

    fn watch_deposits(&self, _: &Script, _: Option<bitcoin::Txid>) -> Result<(), BackendError> {
        not_here()
    }

    fn deposits(&self, _: &Script) -> Result<Deposits, BackendError> {
        not_here()
    }

    fn pegout(&self, _: &OutPoint) -> Result<Option<Pegout>, BackendError> {
        not_here()
    }

    fn pegouts(&self, _: u32) -> Result<Vec<Pegout>, BackendError> {
        not_here()
    }

    fn asset(&self, _: &AssetId) -> Result<Option<Asset>, BackendError> {
        not_here()
    }

    fn supply(&self) -> Result<Supply, BackendError> {
        not_here()
    }
}
