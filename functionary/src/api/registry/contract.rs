//! The contract of an asset: the JSON that its issuer has bound into the asset's id.
//!
//! Its hash is SHA-256 over the document with sorted keys and without spaces; wallets of the field compute the same. What
//! is called by these names here comes from the contract alone: whatever else a registry's file says, nobody has committed
//! to it.

use elements::ContractHash;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// Deepest nesting of a contract that is read.
const MAX_DEPTH: u32 = 8;

/// A contract whose fields are those of the registry, and in its bounds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Contract {
    /// What it hashes to.
    pub(crate) hash: ContractHash,
    /// Name for people.
    pub(crate) name: String,
    /// Short name.
    pub(crate) ticker: Option<String>,
    /// Decimals.
    pub(crate) precision: u8,
    /// The domain of its issuer.
    pub(crate) domain: String,
    /// The version of the form.
    pub(crate) version: u64,
    /// The whole document.
    pub(crate) document: Value,
}

/// A contract is not of the registry's form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ContractError {
    /// A field is missing or out of bounds.
    #[error("the contract's `{0}` is missing or not allowed")]
    Field(&'static str),
    /// It is nested too deep.
    #[error("the contract is nested deeper than {MAX_DEPTH}")]
    Depth,
}

impl Contract {
    /// Reads and checks the document.
    pub(crate) fn read(document: Value) -> Result<Self, ContractError> {
        let mut text = String::new();
        write_sorted(&document, &mut text, MAX_DEPTH)?;
        let hash = ContractHash::from_byte_array(Sha256::digest(text.as_bytes()).into());
        let string = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
        let field = |name: &'static str| string(document.get(name)).ok_or(ContractError::Field(name));
        let name = field("name")?;
        if !(1..=255).contains(&name.len()) || !name.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            return Err(ContractError::Field("name"));
        }
        let ticker = string(document.get("ticker"));
        if ticker.as_deref().is_some_and(|ticker| !is_ticker(ticker)) {
            return Err(ContractError::Field("ticker"));
        }
        let precision = document.get("precision").map_or(Some(0), Value::as_u64);
        let precision =
            precision.and_then(|precision| u8::try_from(precision).ok()).filter(|precision| *precision <= 8);
        let domain = string(document.get("entity").and_then(|entity| entity.get("domain")));
        Ok(Self {
            hash,
            name,
            ticker,
            precision: precision.ok_or(ContractError::Field("precision"))?,
            domain: domain.filter(|domain| is_domain(domain)).ok_or(ContractError::Field("entity"))?,
            version: document.get("version").and_then(Value::as_u64).ok_or(ContractError::Field("version"))?,
            document,
        })
    }
}

fn is_ticker(ticker: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'-';
    (3..=24).contains(&ticker.len()) && ticker.bytes().all(allowed)
}

fn is_domain(domain: &str) -> bool {
    let label = |label: &str| {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_';
        (1..=63).contains(&label.len()) && label.bytes().all(allowed)
    };
    domain.len() <= 255 && domain.contains('.') && domain.split('.').all(label)
}

/// A document in the form that is hashed. What a map of another crate happens to be sorted by must not matter.
fn write_sorted(value: &Value, text: &mut String, depth: u32) -> Result<(), ContractError> {
    let deeper = depth.checked_sub(1).ok_or(ContractError::Depth)?;
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_unstable_by_key(|(name, _)| *name);
            text.push('{');
            for (index, (name, value)) in fields.into_iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                text.push_str(&Value::from(name.as_str()).to_string());
                text.push(':');
                write_sorted(value, text, deeper)?;
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for (index, value) in items.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                write_sorted(value, text, deeper)?;
            }
            text.push(']');
        }
        simple => text.push_str(&simple.to_string()),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    fn tether() -> Value {
        json!({
            "entity": { "domain": "tether.to" },
            "issuer_pubkey": "0337cceec0beea0232ebe14cba0197a9fbd45fcf2ec946749de920e71434c2b904",
            "name": "Tether USD",
            "precision": 8,
            "ticker": "USDt",
            "version": 0
        })
    }

    #[test]
    fn the_hash_is_that_of_the_field() {
        // USDt of Liquid.
        let contract = Contract::read(tether()).unwrap();
        assert_eq!(contract.hash.to_string(), "3c7f0a53c2ff5b99590620d7f6604a7a3a7bfbaaa6aa61f7bfc7833ca03cde82");
        assert_eq!((contract.precision, contract.ticker.as_deref()), (8, Some("USDt")));
    }

    #[test]
    fn the_order_of_keys_does_not_matter() {
        let reordered = r#"{"version":0,"ticker":"USDt","precision":8,"name":"Tether USD",
            "issuer_pubkey":"0337cceec0beea0232ebe14cba0197a9fbd45fcf2ec946749de920e71434c2b904",
            "entity":{"domain":"tether.to"}}"#;
        let reordered: Value = serde_json::from_str(reordered).unwrap();
        assert_eq!(Contract::read(reordered).unwrap().hash, Contract::read(tether()).unwrap().hash);
    }

    #[test]
    fn what_is_out_of_bounds_is_refused() {
        let with = |field: &str, value: Value| {
            let mut contract = tether();
            contract.as_object_mut().unwrap().insert(field.to_owned(), value);
            Contract::read(contract).map(|contract| contract.name)
        };
        assert_eq!(with("precision", json!(9)), Err(ContractError::Field("precision")));
        assert_eq!(with("precision", json!(-1)), Err(ContractError::Field("precision")));
        assert_eq!(with("ticker", json!("<b>")), Err(ContractError::Field("ticker")));
        assert_eq!(with("ticker", json!("AB")), Err(ContractError::Field("ticker")));
        assert_eq!(with("name", json!("")), Err(ContractError::Field("name")));
        assert_eq!(with("name", json!("D\u{f6}llar")), Err(ContractError::Field("name")));
        assert_eq!(with("entity", json!({ "domain": "no/where.com" })), Err(ContractError::Field("entity")));
        assert_eq!(with("entity", json!("tether.to")), Err(ContractError::Field("entity")));
        assert_eq!(with("more", json!([[[[[[[[1]]]]]]]])), Err(ContractError::Depth));
        assert_eq!(with("more", json!([1])), Ok("Tether USD".to_owned()));
    }
}
