//! The two-way peg as the chain sees it: peg-in witnesses and claims, peg-out scripts.

use elements::OutPoint;

/// A peg-out: an output that burns the pegged asset and names where the bitcoin shall go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PegoutRequest {
    /// The output that requests it; also its name.
    pub outpoint: OutPoint,
    /// Amount burned, in satoshi.
    pub amount_sat: u64,
    /// Where the bitcoin shall go.
    pub parent_script: bitcoin::ScriptBuf,
}
