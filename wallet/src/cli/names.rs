//! Assets by name: what a person writes and reads instead of 64 hexadecimal digits.

use elements::AssetId;
use serde_json::{Value, json};

use super::CliError;
use crate::amount::{self, PEGGED_PRECISION};
use crate::store::wallet::AssetRecord;
use crate::wallet::Wallet;

/// How the pegged asset is called.
const PEGGED: &str = "BTC";

/// The names that a wallet knows.
pub(super) struct Names {
    pegged: AssetId,
    records: Vec<AssetRecord>,
}

impl Names {
    pub(super) fn of(wallet: &Wallet) -> Result<Self, CliError> {
        Ok(Self { pegged: wallet.chain().pegged_asset(), records: wallet.db().assets()? })
    }

    /// Reads an asset: nothing for the pegged one, an id, a ticker or a name. A token is `TICKER-token`.
    pub(super) fn resolve(&self, text: Option<&str>) -> Result<AssetId, CliError> {
        let Some(text) = text else { return Ok(self.pegged) };
        if text.eq_ignore_ascii_case(PEGGED) {
            return Ok(self.pegged);
        }
        if let Ok(asset) = text.parse() {
            return Ok(asset);
        }
        let mut found: Vec<AssetId> = Vec::new();
        for record in &self.records {
            if record.ticker.eq_ignore_ascii_case(text) || record.name.eq_ignore_ascii_case(text) {
                found.push(record.asset);
            }
            if token_name(record).eq_ignore_ascii_case(text) {
                found.push(record.token);
            }
        }
        match found.as_slice() {
            [asset] => Ok(*asset),
            [] => Err(CliError::Usage(format!(
                "`{text}` is not an asset this wallet knows; give its id, or see `aquifer asset list`"
            ))),
            _ => Err(CliError::Usage(format!("several assets are called `{text}`; give the id of one"))),
        }
    }

    /// Short name of an asset.
    pub(super) fn label(&self, asset: &AssetId) -> String {
        if *asset == self.pegged {
            return PEGGED.to_owned();
        }
        for record in &self.records {
            if record.asset == *asset {
                return record.ticker.clone();
            }
            if record.token == *asset {
                return token_name(record);
            }
        }
        asset.to_string()
    }

    /// Decimals of an asset; 0 where nothing is known.
    pub(super) fn precision(&self, asset: &AssetId) -> u8 {
        if *asset == self.pegged {
            return PEGGED_PRECISION;
        }
        self.records.iter().find(|record| record.asset == *asset).map_or(0, |record| record.precision)
    }

    /// Reads an amount of an asset.
    pub(super) fn parse(&self, asset: &AssetId, text: &str) -> Result<u64, CliError> {
        Ok(amount::parse(text, self.precision(asset))?)
    }

    /// Whether the wallet has a name for an asset.
    fn is_known(&self, asset: &AssetId) -> bool {
        *asset == self.pegged || self.records.iter().any(|record| record.asset == *asset || record.token == *asset)
    }

    /// An amount with the name of its asset; where that is unknown, so are its decimals.
    pub(super) fn show(&self, asset: &AssetId, raw: u64) -> String {
        let unit = if self.is_known(asset) { "" } else { "units of the unknown asset " };
        format!("{} {unit}{}", amount::format(raw, self.precision(asset)), self.label(asset))
    }

    /// An amount of the pegged asset with its name.
    pub(super) fn show_pegged(&self, sat: u64) -> String {
        self.show(&self.pegged, sat)
    }

    /// A change with the name of its asset.
    pub(super) fn show_signed(&self, asset: &AssetId, raw: i64) -> String {
        format!("{} {}", amount::format_signed(raw, self.precision(asset)), self.label(asset))
    }

    /// What JSON says of an asset beside amounts.
    pub(super) fn json(&self, asset: &AssetId) -> Value {
        json!({
            "asset": asset.to_string(),
            "label": self.label(asset),
            "precision": self.precision(asset),
            "pegged": *asset == self.pegged,
            "known": self.is_known(asset),
        })
    }

    pub(super) fn records(&self) -> &[AssetRecord] {
        &self.records
    }
}

fn token_name(record: &AssetRecord) -> String {
    format!("{}-token", record.ticker)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn names() -> Names {
        let id = |byte: u8| AssetId::from_byte_array([byte; 32]);
        let record = |asset, name: &str, ticker: &str| AssetRecord {
            asset: id(asset),
            token: id(asset + 1),
            name: name.into(),
            ticker: ticker.into(),
            precision: 2,
            contract: None,
        };
        Names {
            pegged: id(1),
            records: vec![record(2, "Gold", "GLD"), record(4, "Iron", "FE1"), record(6, "Iron", "FE2")],
        }
    }

    #[test]
    fn assets_have_names() {
        let names = names();
        let id = |byte: u8| AssetId::from_byte_array([byte; 32]);
        assert_eq!(names.resolve(None).unwrap(), id(1));
        assert_eq!(names.resolve(Some("btc")).unwrap(), id(1));
        assert_eq!(names.resolve(Some("gold")).unwrap(), id(2));
        assert_eq!(names.resolve(Some("GLD-token")).unwrap(), id(3));
        assert_eq!(names.resolve(Some(&id(9).to_string())).unwrap(), id(9));
        assert!(matches!(names.resolve(Some("Iron")), Err(CliError::Usage(_))));
        assert!(matches!(names.resolve(Some("tin")), Err(CliError::Usage(_))));
        assert_eq!(names.show(&id(2), 150), "1.50 GLD");
        assert_eq!(names.show(&id(3), 1), "1 GLD-token");
        assert_eq!(names.show(&id(9), 150), format!("150 units of the unknown asset {}", id(9)));
        assert_eq!(names.show(&id(1), 1), "0.00000001 BTC");
        assert_eq!(names.parse(&id(2), "1.5").unwrap(), 150);
    }
}
