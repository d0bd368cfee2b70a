//! The ledger as the transactions of one block see it: the state before the block plus what the earlier ones did.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use elements::{OutPoint, Txid};

use crate::chain::{ChainParams, Federation};
use crate::state::{ChainView, Coin, DynafedEntries, Effects, ViewError};

/// A view over another that remembers what is applied, and can tell the difference at the end.
pub(super) struct Overlay<'a> {
    base: &'a dyn ChainView,
    /// The federation in force in the block.
    federation: Arc<Federation>,
    created: BTreeMap<OutPoint, Coin>,
    /// Outputs of the base that are spent.
    spent: BTreeMap<OutPoint, Coin>,
    claimed: BTreeSet<bitcoin::OutPoint>,
}

impl<'a> Overlay<'a> {
    pub(super) fn new(base: &'a dyn ChainView, federation: Arc<Federation>) -> Self {
        Self { base, federation, created: BTreeMap::new(), spent: BTreeMap::new(), claimed: BTreeSet::new() }
    }

    /// Takes in what a checked transaction changes.
    pub(super) fn apply(&mut self, effects: &Effects) {
        for (outpoint, coin) in &effects.spent {
            if self.created.remove(outpoint).is_none() {
                self.spent.insert(*outpoint, coin.clone());
            }
        }
        self.created.extend(effects.created.iter().map(|(outpoint, coin)| (*outpoint, coin.clone())));
        self.claimed.extend(effects.pegins.iter().map(|claim| claim.deposit));
    }

    /// What was spent of the base, and what was made and is still there.
    pub(super) fn into_difference(self) -> (BTreeMap<OutPoint, Coin>, BTreeMap<OutPoint, Coin>) {
        (self.spent, self.created)
    }
}

impl ChainView for Overlay<'_> {
    fn coin(&self, outpoint: &OutPoint) -> Result<Option<Coin>, ViewError> {
        if let Some(coin) = self.created.get(outpoint) {
            return Ok(Some(coin.clone()));
        }
        if self.spent.contains_key(outpoint) {
            return Ok(None);
        }
        self.base.coin(outpoint)
    }

    fn is_claimed(&self, deposit: &bitcoin::OutPoint) -> Result<bool, ViewError> {
        if self.claimed.contains(deposit) {
            return Ok(true);
        }
        self.base.is_claimed(deposit)
    }

    fn median_time_past(&self, height: u32) -> Result<u32, ViewError> {
        self.base.median_time_past(height)
    }

    fn has_unspent_outputs(&self, txid: &Txid) -> Result<bool, ViewError> {
        let first = OutPoint::new(*txid, 0);
        if self.created.range(first..).next().is_some_and(|(outpoint, _)| outpoint.txid == *txid) {
            return Ok(true);
        }
        // Outputs of the base that this block has spent still count: BIP 30 asks about the state before the block.
        self.base.has_unspent_outputs(txid)
    }

    fn dynafed(&self, height: u32) -> Result<DynafedEntries, ViewError> {
        self.base.dynafed(height)
    }

    fn federation(&self, _: &ChainParams, _: u32) -> Result<Arc<Federation>, ViewError> {
        Ok(Arc::clone(&self.federation))
    }
}
