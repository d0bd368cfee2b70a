//! The verified chain as LWK's source of data.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::PoisonError;

use elements::{BlockHash, BlockHeader, Script, Transaction, Txid};
use lwk_wollet::clients::blocking::BlockchainBackend;
use lwk_wollet::{Error as LwkError, History, Update, Wollet};

use super::BackendError;
use super::ledger::Ledger;

impl Ledger {
    /// Brings a wallet up to date, over all addresses below `next_index` and the gap behind the last used one. A
    /// failure leaves the wallet as it was.
    ///
    /// All of it comes from one server, and from one that is not behind what was verified before: histories of a server
    /// that lacks the last block would bring back coins that are spent.
    pub fn sync(&mut self, wollet: &mut Wollet, next_index: u32) -> Result<(), BackendError> {
        loop {
            Ledger::tip(self)?;
            let switches = self.connection().switches();
            let update = self.scan(wollet, next_index)?;
            if self.connection().switches() == switches {
                return update.map_or(Ok(()), |update| {
                    wollet.apply_update(update).map_err(|error| BackendError::Lwk(error.to_string()))
                });
            }
        }
    }

    fn scan(&mut self, wollet: &Wollet, next_index: u32) -> Result<Option<Update>, BackendError> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.full_scan_to_index(wollet, next_index).map_err(|error| {
            let fault = self.fault.lock().unwrap_or_else(PoisonError::into_inner).take();
            fault.unwrap_or_else(|| BackendError::Lwk(error.to_string()))
        })
    }

    /// LWK's errors have no room for ours: keep it, and hand LWK its words.
    fn pass<T>(&self, result: Result<T, BackendError>) -> Result<T, LwkError> {
        result.map_err(|error| {
            let words = error.to_string();
            *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            LwkError::Generic(words)
        })
    }
}

impl BlockchainBackend for Ledger {
    fn tip(&mut self) -> Result<BlockHeader, LwkError> {
        self.pass(Ledger::tip(self)).map(|tip| tip.header)
    }

    fn broadcast(&self, tx: &Transaction) -> Result<Txid, LwkError> {
        self.pass(self.submit(tx))
    }

    fn get_transactions(&self, txids: &[Txid]) -> Result<Vec<Transaction>, LwkError> {
        let found = self.pass(self.transactions(txids))?;
        Ok(found.into_iter().map(|found| found.transaction).collect())
    }

    fn get_headers(&self, heights: &[u32], _known: &HashMap<u32, BlockHash>) -> Result<Vec<BlockHeader>, LwkError> {
        let wanted: BTreeSet<u32> = heights.iter().copied().collect();
        let headers: BTreeMap<u32, BlockHeader> = self
            .pass(self.headers(&wanted))?
            .into_iter()
            .map(|verified| (verified.height(), verified.header))
            .collect();
        Ok(heights.iter().filter_map(|height| headers.get(height).cloned()).collect())
    }

    fn get_scripts_history(&self, scripts: &[&Script]) -> Result<Vec<Vec<History>>, LwkError> {
        let histories = self.pass(self.histories(scripts))?;
        histories
            .into_iter()
            .map(|entries| {
                entries
                    .into_iter()
                    .map(|entry| {
                        let height = i32::try_from(entry.height.unwrap_or(0))
                            .map_err(|_| LwkError::Generic("a height above 2^31".to_owned()))?;
                        let txid = entry.txid;
                        Ok(History { txid, height, block_hash: None, block_timestamp: None, v: 0 })
                    })
                    .collect()
            })
            .collect()
    }
}
