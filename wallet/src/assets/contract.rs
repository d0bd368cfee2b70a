//! How an asset is called, and the contract that can bind the name into the asset's id.
//!
//! A contract in the form of the Liquid asset registry commits the name, ticker, precision, domain and issuer key: its
//! hash is part of the asset id, so nobody can change them later. It needs a domain of the issuer. Without one, the
//! names are notes in the issuer's wallet.

use lwk_wollet::Contract;
use secp256k1_zkp::PublicKey;

use crate::amount::MAX_PRECISION;

/// A description that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DescriptionError {
    /// More decimals than an asset may have.
    #[error("an asset has at most {MAX_PRECISION} decimals, not {0}")]
    Precision(u8),
    /// A ticker that the registry would not take.
    #[error("`{0}` is not a ticker; use 3 to 24 letters, digits, `.` and `-`")]
    Ticker(String),
    /// A name that the registry would not take.
    #[error("the name of an asset has 1 to 255 ASCII characters, unlike `{0}`")]
    Name(String),
    /// The registry's rules refuse the contract.
    #[error("the contract is not valid: {0}")]
    Contract(String),
}

/// How an asset is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Name for people.
    pub name: String,
    /// Short name.
    pub ticker: String,
    /// Decimals.
    pub precision: u8,
}

impl Description {
    /// Checks the description.
    pub fn new(name: String, ticker: String, precision: u8) -> Result<Self, DescriptionError> {
        if precision > MAX_PRECISION {
            return Err(DescriptionError::Precision(precision));
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-';
        if !(3..=24).contains(&ticker.len()) || !ticker.chars().all(allowed) {
            return Err(DescriptionError::Ticker(ticker));
        }
        if name.is_empty() || name.len() > 255 || !name.chars().all(|c| c.is_ascii_graphic() || c == ' ') {
            return Err(DescriptionError::Name(name));
        }
        Ok(Self { name, ticker, precision })
    }

    /// What a contract says.
    pub fn of_contract(contract: &Contract) -> Self {
        Self { name: contract.name().to_owned(), ticker: contract.ticker().to_owned(), precision: contract.precision() }
    }

    /// The contract that binds it, with a domain and a key of the issuer, into an asset's id.
    pub fn contract(&self, domain: &str, issuer: &PublicKey) -> Result<Contract, DescriptionError> {
        let value = serde_json::json!({
            "entity": { "domain": domain },
            "issuer_pubkey": hex::encode(issuer.serialize()),
            "name": self.name,
            "precision": self.precision,
            "ticker": self.ticker,
            "version": 0,
        });
        let contract = Contract::from_value(&value).map_err(|error| DescriptionError::Contract(error.to_string()))?;
        contract.validate().map_err(|error| DescriptionError::Contract(error.to_string()))?;
        Ok(contract)
    }
}

/// Reads a contract as the registry has it. Fields that it does not know would get lost and change the id, so they are refused.
pub fn parse_contract(text: &str) -> Result<Contract, DescriptionError> {
    let invalid = |error: &dyn std::fmt::Display| DescriptionError::Contract(error.to_string());
    let contract: Contract = text.parse().map_err(|error| invalid(&error))?;
    let given: serde_json::Value = serde_json::from_str(text).map_err(|error| invalid(&error))?;
    let understood = serde_json::to_value(&contract).map_err(|error| invalid(&error))?;
    if given == understood {
        Ok(contract)
    } else {
        Err(DescriptionError::Contract(format!("of all that it says, only this is understood: {understood}")))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use secp256k1_zkp::{SECP256K1, SecretKey};

    use super::*;

    #[test]
    fn descriptions_are_checked() {
        let make = |name: &str, ticker: &str, precision| Description::new(name.into(), ticker.into(), precision);
        assert!(make("Gold", "GLD", 2).is_ok());
        assert!(matches!(make("Gold", "GLD", 9), Err(DescriptionError::Precision(9))));
        assert!(matches!(make("Gold", "GL", 2), Err(DescriptionError::Ticker(_))));
        assert!(matches!(make("Gold", "G L", 2), Err(DescriptionError::Ticker(_))));
        assert!(matches!(make("", "GLD", 2), Err(DescriptionError::Name(_))));
        assert!(matches!(make("Gold\n", "GLD", 2), Err(DescriptionError::Name(_))));
    }

    #[test]
    fn a_contract_says_the_same_once_it_is_written_and_read() {
        let issuer = SecretKey::from_slice(&[1; 32]).unwrap().public_key(SECP256K1);
        let gold = Description::new("Gold".into(), "GLD".into(), 2).unwrap();
        assert!(matches!(gold.contract("no domain", &issuer), Err(DescriptionError::Contract(_))));
        let contract = gold.contract("example.com", &issuer).unwrap();
        let text = serde_json::to_string(&contract).unwrap();
        assert_eq!(parse_contract(&text).unwrap(), contract);
        assert_eq!(Description::of_contract(&contract), gold);
        let more = text.replacen('{', "{\"collection\":\"coins\",", 1);
        assert!(matches!(parse_contract(&more), Err(DescriptionError::Contract(_))), "its id would be another one");
    }
}
