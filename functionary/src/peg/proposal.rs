//! Proposing and judging batches with this member's bitcoind.

use aquifer_assets::peg::PegoutRequest;
use aquifer_federation::treasury::{self, BatchPlan, BitcoinView, Family, Treasury, TreasuryCoin};
use bitcoin::OutPoint;

use crate::parent::{Parent, ParentError};

impl BitcoinView for Parent {
    type Error = ParentError;

    fn confirmations(&self, outpoint: &OutPoint) -> Result<Option<u32>, ParentError> {
        self.is_unspent(outpoint)
    }

    fn fee_rate_sat_per_kvb(&self) -> Result<u64, ParentError> {
        Self::fee_rate_sat_per_kvb(self)
    }

    fn is_key_proven(&self) -> Result<bool, ParentError> {
        Ok(self.key_proof().is_some())
    }
}

/// The batch to propose now, or `None`: nothing to pay, not enough confirmed coins, or bitcoind cannot be asked. See
/// [`treasury::propose_batch`]. Asks bitcoind and may block.
pub fn propose_batch(
    parent: &Parent,
    treasury: &Treasury,
    coins: &[TreasuryCoin],
    pending: &[PegoutRequest],
) -> Option<BatchPlan> {
    treasury::propose_batch(parent, treasury, coins, pending).unwrap_or_else(|error| {
        tracing::debug!(%error, "no batch is proposed");
        None
    })
}

/// The batch to take the place of those of a family, or `None`: none can be made, none is wanted, or bitcoind cannot be asked.
/// See [`treasury::propose_replacement`]. Asks bitcoind and may block.
pub fn propose_replacement(parent: &Parent, treasury: &Treasury, family: &Family) -> Option<BatchPlan> {
    match treasury::propose_replacement(parent, treasury, family) {
        Ok(Ok(plan)) => Some(plan),
        Ok(Err(reason)) => {
            tracing::debug!(family = family.height, %reason, "the batch is not replaced");
            None
        }
        Err(error) => {
            tracing::debug!(family = family.height, %error, "the batch is not replaced");
            None
        }
    }
}
