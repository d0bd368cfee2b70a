//! The state as a new transaction finds it: the ledger, less what waiting transactions spend, plus what they make.

use aquifer_assets::state::{ChainView, Coin, DynafedEntries, ViewError};
use elements::{OutPoint, Txid};

use super::Pool;
use crate::store::ledger::Snapshot;

pub(super) struct PoolView<'a> {
    pub(super) ledger: &'a Snapshot<'a>,
    pub(super) pool: &'a Pool,
    /// Where outputs of waiting transactions would stand, in blocks.
    pub(super) next_height: u32,
}

impl ChainView for PoolView<'_> {
    fn coin(&self, outpoint: &OutPoint) -> Result<Option<Coin>, ViewError> {
        if self.pool.spends.contains_key(outpoint) {
            return Ok(None);
        }
        let waiting = self.pool.entries.get(&outpoint.txid).and_then(|entry| entry.effects.created.get(outpoint));
        match waiting {
            Some(coin) => Ok(Some(Coin { height: self.next_height, ..coin.clone() })),
            None => self.ledger.coin(outpoint),
        }
    }

    fn is_claimed(&self, deposit: &bitcoin::OutPoint) -> Result<bool, ViewError> {
        Ok(self.pool.claims.contains_key(deposit) || self.ledger.is_claimed(deposit)?)
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
