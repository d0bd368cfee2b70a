//! The state as a new transaction finds it: the ledger, less what waiting transactions spend, plus what they make.

use std::collections::HashSet;

use aquifer_assets::state::{ChainView, Coin, DynafedEntries, ViewError};
use elements::{OutPoint, Txid};

use super::pool::{Entry, Pool};
use crate::store::ledger::Snapshot;

pub(super) struct PoolView<'a> {
    pub(super) ledger: &'a Snapshot<'a>,
    pub(super) pool: &'a Pool,
    /// Waiting transactions that count as gone: what a replacement would push out.
    pub(super) without: &'a HashSet<Txid>,
    /// Where outputs of waiting transactions would stand, in blocks.
    pub(super) next_height: u32,
}

impl PoolView<'_> {
    fn stays(&self, txid: &Txid) -> bool {
        !self.without.contains(txid)
    }

    fn entry(&self, txid: &Txid) -> Option<&Entry> {
        self.pool.entries.get(txid).filter(|_| self.stays(txid))
    }
}

impl ChainView for PoolView<'_> {
    fn coin(&self, outpoint: &OutPoint) -> Result<Option<Coin>, ViewError> {
        if self.pool.spends.get(outpoint).is_some_and(|by| self.stays(by)) {
            return Ok(None);
        }
        let waiting = self.entry(&outpoint.txid).and_then(|entry| entry.effects.created.get(outpoint));
        match waiting {
            Some(coin) => Ok(Some(Coin { height: self.next_height, ..coin.clone() })),
            None => self.ledger.coin(outpoint),
        }
    }

    fn is_claimed(&self, deposit: &bitcoin::OutPoint) -> Result<bool, ViewError> {
        let waiting = self.pool.claims.get(deposit).is_some_and(|by| self.stays(by));
        Ok(waiting || self.ledger.is_claimed(deposit)?)
    }

    fn median_time_past(&self, height: u32) -> Result<u32, ViewError> {
        self.ledger.median_time_past(height)
    }

    fn has_unspent_outputs(&self, txid: &Txid) -> Result<bool, ViewError> {
        self.ledger.has_unspent_outputs(txid)
    }

    fn dynafed(&self, height: u32) -> Result<DynafedEntries, ViewError> {
        self.ledger.dynafed(height)
    }
}
