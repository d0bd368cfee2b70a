//! What an auditor has counted.

use elements::{AssetId, BlockHash};
use serde::Serialize;

/// What was counted of one asset, in its smallest unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct AssetCount {
    /// The asset.
    pub asset: AssetId,
    /// Explicit issuances.
    pub issued_sat: u64,
    /// Claimed deposits.
    pub pegged_in_sat: u64,
    /// Requested peg-outs, paid or not.
    pub pegged_out_sat: u64,
    /// Sent by transactions to where nobody can spend it, peg-outs aside.
    pub burned_sat: u64,
    /// Fees that no coinbase collected.
    pub fees_lost_sat: u64,
    /// Issuances whose amount is not public; the supply is then not known.
    pub blinded_issuances: u64,
}

impl AssetCount {
    pub(super) fn nothing(asset: AssetId) -> Self {
        Self {
            asset,
            issued_sat: 0,
            pegged_in_sat: 0,
            pegged_out_sat: 0,
            burned_sat: 0,
            fees_lost_sat: 0,
            blinded_issuances: 0,
        }
    }

    pub(super) fn plus(&self, other: &Self) -> Self {
        Self {
            asset: self.asset,
            issued_sat: self.issued_sat.saturating_add(other.issued_sat),
            pegged_in_sat: self.pegged_in_sat.saturating_add(other.pegged_in_sat),
            pegged_out_sat: self.pegged_out_sat.saturating_add(other.pegged_out_sat),
            burned_sat: self.burned_sat.saturating_add(other.burned_sat),
            fees_lost_sat: self.fees_lost_sat.saturating_add(other.fees_lost_sat),
            blinded_issuances: self.blinded_issuances.saturating_add(other.blinded_issuances),
        }
    }

    /// All that came in.
    pub fn added_sat(&self) -> u64 {
        self.issued_sat.saturating_add(self.pegged_in_sat)
    }

    /// All that went out.
    pub fn removed_sat(&self) -> u64 {
        self.pegged_out_sat.saturating_add(self.burned_sat).saturating_add(self.fees_lost_sat)
    }
}

/// What was counted of the reserve, amounts in satoshi.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ReserveCount {
    /// Deposits that were claimed.
    pub deposits: u64,
    /// Their amount.
    pub pegged_in_sat: u64,
    /// Peg-outs that were requested.
    pub requests: u64,
    /// Those that a batch pays.
    pub requests_paid: u64,
    /// What was burned for all requests.
    pub pegged_out_sat: u64,
    /// What was burned for those that are paid.
    pub paid_sat: u64,
    /// What those gave for fees on Bitcoin; a part of `paid_sat`.
    pub parent_fees_sat: u64,
    /// Coins held: deposits and change that no batch spends.
    pub coins_sat: u64,
    /// Number of those coins.
    pub coins: u64,
}

impl ReserveCount {
    /// Requests that no batch pays.
    pub fn pending_pegouts_sat(&self) -> u64 {
        self.pegged_out_sat.saturating_sub(self.paid_sat)
    }

    /// Coins held less what must be there (pegged in − paid); anything but 0 is wrong, and below 0 bitcoin is missing.
    pub fn difference_sat(&self) -> i128 {
        i128::from(self.coins_sat) + i128::from(self.paid_sat) - i128::from(self.pegged_in_sat)
    }
}

/// Where an auditor stands and what it has counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The last block that was passed.
    pub height: u32,
    /// Its hash.
    pub block: BlockHash,
    /// Blocks verified in this run.
    pub verified: u32,
    /// Every asset.
    pub assets: Vec<AssetCount>,
    /// The reserve.
    pub reserve: ReserveCount,
}
