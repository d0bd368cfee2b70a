//! Peg-outs that would never be paid: refused while nothing is burned yet. That is this member's policy and no rule of the
//! chain; in a block such a request stands, and waits.

use std::sync::Arc;

use aquifer_assets::chain::ChainParams;
use aquifer_assets::peg::{parse_pegout, parse_pegout_script};
use aquifer_assets::primitives::Transaction;
use aquifer_federation::roster::Roster;
use aquifer_federation::treasury::{ParkReason, PayoutKind, Treasury, park_reason};
use aquifer_federation::valve::{Limit, WaitReason};
use elements::OutPoint;

use super::MempoolError;
use crate::store::StoreError;
use crate::store::ledger::Snapshot;

/// Why a peg-out is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnpayablePegout {
    /// Its destination or amount can never be paid.
    #[error("output {vout} pegs out what is never paid: {reason}")]
    Parked {
        /// The output.
        vout: u32,
        /// Why.
        reason: ParkReason,
    },
    /// It breaks a limit of the valve that no waiting changes.
    #[error("output {vout} pegs out what is not paid however long it waits: {reason}")]
    Limit {
        /// The output.
        vout: u32,
        /// Which limit.
        reason: WaitReason,
    },
    /// Its script names another parent chain, so the amount would be burned.
    #[error("output {vout} pegs out to the parent chain {found}, this chain's is {expected}: the amount would be lost")]
    OtherParent {
        /// The output.
        vout: u32,
        /// Genesis block of the chain that it names.
        found: bitcoin::BlockHash,
        /// Genesis block of the parent chain.
        expected: bitcoin::BlockHash,
    },
}

impl UnpayablePegout {
    /// A stable name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Parked { .. } => "pegout-unpayable",
            Self::Limit { reason: WaitReason::BelowMinimum { .. }, .. } => "pegout-below-minimum",
            Self::Limit { .. } => "pegout-above-limit",
            Self::OtherParent { .. } => "pegout-to-other-parent",
        }
    }

    /// Whether a larger reserve would change it.
    pub fn is_temporary(&self) -> bool {
        matches!(
            self,
            Self::Limit {
                reason: WaitReason::TooLarge { limit: Limit::ReserveShareOfWindow | Limit::ReserveShareOfBatch, .. },
                ..
            }
        )
    }
}

/// What a member needs to know to refuse them.
pub struct PegoutPolicy {
    /// The members, and how far the valve opens for them.
    pub roster: Arc<Roster>,
    /// What they hold the bitcoin with.
    pub treasury: Arc<Treasury>,
}

impl PegoutPolicy {
    /// Refuses a transaction with a peg-out that would never be paid.
    pub(super) fn check(
        &self,
        params: &ChainParams,
        ledger: &Snapshot<'_>,
        transaction: &Transaction,
    ) -> Result<(), MempoolError> {
        let txid = transaction.txid();
        let expected = params.parent_genesis();
        let mut valve = None;
        for (vout, output) in (0u32..).zip(&transaction.output) {
            let parent = parse_pegout_script(&output.script_pubkey).map(|(parent, _)| parent);
            let is_money = output.asset.explicit() == Some(params.pegged_asset())
                && output.value.explicit().is_some_and(|value| value > 0);
            if let Some(found) = parent.filter(|parent| *parent != expected && is_money) {
                return Err(UnpayablePegout::OtherParent { vout, found, expected }.into());
            }
            let Some(request) = parse_pegout(params, OutPoint::new(txid, vout), output) else { continue };
            if let Some(reason) = park_reason(&self.treasury, &request) {
                return Err(UnpayablePegout::Parked { vout, reason }.into());
            }
            let valve = match &mut valve {
                Some(valve) => valve,
                empty => {
                    let read = ledger.valve(&self.roster, params.genesis_hash().to_byte_array())?;
                    let inconsistent = |error: aquifer_federation::valve::SavedValveError| StoreError::Inconsistent {
                        file: "ledger.db".into(),
                        reason: error.to_string(),
                    };
                    empty.insert(read.map_err(inconsistent)?)
                }
            };
            let kind = PayoutKind::of(&request.parent_script);
            if let Some(reason) = kind.and_then(|kind| valve.refusal(request.amount_sat, kind)) {
                return Err(UnpayablePegout::Limit { vout, reason }.into());
            }
        }
        Ok(())
    }
}
