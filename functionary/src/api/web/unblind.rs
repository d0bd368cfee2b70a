//! Opening hidden outputs with the values that a link carries.
//!
//! The form of the field: `value,asset,value_blinder,asset_blinder`, in this order for each output, joined by commas. Nothing is
//! believed: whatever does not give one of the transaction's commitments is ignored.

use aquifer_assets::primitives::TxOut;
use elements::AssetId;
use elements::confidential::{Asset, AssetBlindingFactor, Value, ValueBlindingFactor};
use elements::secp256k1_zkp::SECP256K1;

/// More values than a transaction can have outputs are not looked at.
const MAX_OPENED: usize = 256;

/// An output that was hidden.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Opened {
    pub(super) value: u64,
    pub(super) asset: AssetId,
}

/// The values of a link, each with the commitments that it gives.
pub(super) struct Openings(Vec<(Value, Asset, Opened)>);

impl Openings {
    /// Reads the values; those that cannot be read are left out.
    pub(super) fn read(text: &str) -> Self {
        let parts: Vec<&str> = text.split(',').take(MAX_OPENED.saturating_mul(4)).collect();
        Self(parts.chunks_exact(4).filter_map(read).collect())
    }

    /// What an output hides, if one of the values gives its commitments.
    pub(super) fn of(&self, output: &TxOut) -> Option<Opened> {
        let found = self.0.iter().find(|(value, asset, _)| *value == output.value && *asset == output.asset);
        found.map(|(_, _, opened)| *opened)
    }
}

fn read(part: &[&str]) -> Option<(Value, Asset, Opened)> {
    let [value, asset, value_blinder, asset_blinder] = part else { return None };
    let opened = Opened { value: value.parse().ok()?, asset: asset.parse().ok()? };
    let asset_blinder: AssetBlindingFactor = asset_blinder.parse().ok()?;
    let value_blinder: ValueBlindingFactor = value_blinder.parse().ok()?;
    let asset = Asset::new_confidential(SECP256K1, opened.asset, asset_blinder);
    let value = Value::new_confidential(SECP256K1, opened.value, asset.into_asset_gen(SECP256K1)?, value_blinder);
    Some((value, asset, opened))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn only_what_gives_the_commitments_is_shown() {
        let asset = AssetId::from_byte_array([3; 32]);
        let link = |value: u64| format!("{value},{asset},{},{}", "11".repeat(32), "22".repeat(32));
        let (value, hidden, opened) = Openings::read(&link(500)).0.pop().unwrap();
        assert_eq!(opened, Opened { value: 500, asset });
        let output = TxOut { value, asset: hidden, ..TxOut::default() };
        let other = format!("{},{}", link(501), link(500));
        assert_eq!(Openings::read(&other).of(&output), Some(opened));
        assert_eq!(Openings::read(&link(501)).of(&output), None);
        for nonsense in ["", "1,2,3", "x,y,z,w", &"1,".repeat(10_000)] {
            assert_eq!(Openings::read(nonsense).of(&output), None);
        }
    }
}
