//! Issued assets: issue, reissue, burn, and what their names are.

mod contract;
pub mod domain;

pub use contract::{Description, DescriptionError, parse_contract};

use aquifer_proto::ledger::AssetInfo;
use elements::confidential::Value;
use elements::{AssetId, Transaction, Txid};
pub use lwk_wollet::Contract;
use lwk_wollet::Wollet;

use self::domain::DomainError;
use crate::backend::{BackendError, Ledger};
use crate::keystore::Keys;
use crate::store::StoreError;
use crate::store::wallet::AssetRecord;
use crate::wallet::{FeeRate, Payment, Wait, Wallet, WalletError};

/// An asset operation cannot be done.
#[derive(Debug, thiserror::Error)]
pub enum AssetError {
    /// The wallet cannot do its part.
    #[error(transparent)]
    Wallet(#[from] WalletError),
    /// The chain cannot be asked or believed.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// The records of the wallet cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The description is not valid.
    #[error(transparent)]
    Description(#[from] DescriptionError),
    /// Neither amount nor tokens.
    #[error("an issue needs an amount, reissuance tokens, or both")]
    NothingToIssue,
    /// LWK built a transaction without the issuance.
    #[error("the wallet library built no issuance into the transaction")]
    NoIssuance,
    /// Burning the pegged asset would lose bitcoin.
    #[error("burning the pegged asset would lose the bitcoin behind it; `aquifer pegout` gets them back")]
    BurnOfPegged,
    /// The domain of the contract does not say what it should.
    #[error(transparent)]
    Domain(#[from] DomainError),
    /// The wallet has built no issue of this asset that waits.
    #[error("no issue of asset {0} is prepared in this wallet; `aquifer asset issue` prepares one")]
    NotPrepared(AssetId),
    /// The id of the asset commits to another contract.
    #[error("the contract is not that of asset {0}: its id commits to another one")]
    OtherContract(AssetId),
    /// Nobody knows the asset.
    #[error("nothing is known of asset {asset}: {reason}")]
    Unknown {
        /// The asset.
        asset: AssetId,
        /// Why.
        reason: String,
    },
}

/// What to issue.
#[derive(Clone, Debug)]
pub struct IssueRequest {
    /// Amount in the asset's smallest unit.
    pub amount: u64,
    /// Reissuance tokens: whoever has one can issue more.
    pub tokens: u64,
    /// How people shall call it.
    pub description: Description,
    /// What binds that into the id, if anything does.
    pub contract: Option<Contract>,
}

/// An issue that is signed and not handed in.
#[derive(Clone, Debug)]
pub struct PreparedIssue {
    /// What is known of the asset.
    pub record: AssetRecord,
    /// The transaction.
    pub transaction: Transaction,
}

impl PreparedIssue {
    /// How much of the asset and how many tokens it makes; `None` where that is hidden.
    pub fn amounts(&self) -> (Option<u64>, Option<u64>) {
        let issuance =
            self.transaction.input.iter().find(|input| input.has_issuance()).map(|input| &input.asset_issuance);
        let open = |value: Option<&Value>| match value {
            Some(Value::Null) => Some(0),
            value => value.and_then(Value::explicit),
        };
        (open(issuance.map(|issuance| &issuance.amount)), open(issuance.map(|issuance| &issuance.inflation_keys)))
    }
}

/// A new asset.
#[derive(Clone, Debug)]
pub struct Issued {
    /// What is known of it.
    pub record: AssetRecord,
    /// The transaction.
    pub payment: Payment,
}

/// Builds and signs the issue of a new asset, and writes down both the asset's name and the transaction: [`hand_in`] can follow
/// in another run, as long as the wallet does not spend the coins of it.
pub fn prepare(
    wallet: &Wallet,
    keys: &Keys,
    request: &IssueRequest,
    rate: FeeRate,
) -> Result<PreparedIssue, AssetError> {
    if request.amount == 0 && request.tokens == 0 {
        return Err(AssetError::NothingToIssue);
    }
    let contract = request.contract.clone();
    let json = contract.as_ref().and_then(|contract| serde_json::to_string(contract).ok());
    let transaction = wallet
        .build(keys, rate, |builder| builder.issue_asset(request.amount, None, request.tokens, None, contract))?;
    let input = transaction.input.iter().find(|input| input.has_issuance()).ok_or(AssetError::NoIssuance)?;
    let (asset, token) = input.issuance_ids();
    let description = &request.description;
    let record = AssetRecord {
        asset,
        token,
        name: description.name.clone(),
        ticker: description.ticker.clone(),
        precision: description.precision,
        contract: json,
    };
    wallet.db().put_prepared_issue(&record, &transaction)?;
    Ok(PreparedIssue { record, transaction })
}

/// The prepared issue of an asset.
pub fn prepared(wallet: &Wallet, asset: AssetId) -> Result<PreparedIssue, AssetError> {
    let transaction = wallet.db().prepared_issue(&asset)?.ok_or(AssetError::NotPrepared(asset))?;
    let record = wallet.db().assets()?.into_iter().find(|record| record.asset == asset);
    Ok(PreparedIssue { record: record.ok_or(AssetError::NotPrepared(asset))?, transaction })
}

/// Issues what was prepared.
pub fn hand_in(wallet: &Wallet, ledger: &Ledger, prepared: PreparedIssue, wait: Wait) -> Result<Issued, AssetError> {
    let PreparedIssue { record, transaction } = prepared;
    let payment = wallet.hand_in(ledger, transaction, wait)?;
    wallet.db().forget_prepared_issue(&record.asset)?;
    Ok(Issued { record, payment })
}

/// Takes the name of an asset from its contract, once the asset's id is seen to commit to it. Needs nobody's word: the issuing
/// transaction is proven by the ledger, and the id follows from it and the contract.
pub fn learn(wallet: &Wallet, ledger: &Ledger, asset: AssetId, contract: &Contract) -> Result<AssetRecord, AssetError> {
    let unknown = |reason: String| AssetError::Unknown { asset, reason };
    let info = ledger.asset(&asset)?;
    let txid = <[u8; 32]>::try_from(&info.issuance_txid[..]).map(Txid::from_byte_array);
    let txid = txid.map_err(|_| unknown("the server names no issuance".to_owned()))?;
    let transaction = ledger.transaction(txid)?.transaction;
    let issued = transaction.input.iter().find(|input| input.has_issuance() && input.issuance_ids().0 == asset);
    let input = issued.ok_or_else(|| unknown(format!("the transaction {txid} does not issue it")))?;
    let hash = contract.contract_hash().map_err(|error| DescriptionError::Contract(error.to_string()))?;
    let entropy = AssetId::generate_asset_entropy(input.previous_output, hash);
    if AssetId::from_entropy(entropy) != asset {
        return Err(AssetError::OtherContract(asset));
    }
    let description = Description::of_contract(contract);
    let record = AssetRecord {
        asset,
        token: input.issuance_ids().1,
        name: description.name,
        ticker: description.ticker,
        precision: description.precision,
        contract: serde_json::to_string(contract).ok(),
    };
    wallet.db().put_asset(&record)?;
    Ok(record)
}

/// Issues more of an asset. The wallet must hold a reissuance token of it.
pub fn reissue(
    wallet: &Wallet,
    ledger: &Ledger,
    keys: &Keys,
    asset: AssetId,
    amount: u64,
    rate: FeeRate,
    wait: Wait,
) -> Result<Payment, AssetError> {
    let issuance = if knows_issuance(wallet.wollet(), &asset) {
        None
    } else {
        let info = ledger.asset(&asset)?;
        let txid = <[u8; 32]>::try_from(&info.issuance_txid[..])
            .map(Txid::from_byte_array)
            .map_err(|_| AssetError::Unknown { asset, reason: "the server names no issuance".to_owned() })?;
        Some(ledger.transaction(txid)?.transaction)
    };
    let transaction = wallet.build(keys, rate, |builder| builder.reissue_asset(asset, amount, None, issuance))?;
    Ok(wallet.hand_in(ledger, transaction, wait)?)
}

fn knows_issuance(wollet: &Wollet, asset: &AssetId) -> bool {
    wollet.issuance(asset).is_ok()
}

/// Destroys an amount of an asset for ever, in the open.
pub fn burn(
    wallet: &Wallet,
    ledger: &Ledger,
    keys: &Keys,
    asset: AssetId,
    amount: u64,
    rate: FeeRate,
    wait: Wait,
) -> Result<Payment, AssetError> {
    if asset == wallet.chain().pegged_asset() {
        return Err(AssetError::BurnOfPegged);
    }
    let transaction = wallet.build(keys, rate, |builder| builder.add_burn(amount, asset))?;
    Ok(wallet.hand_in(ledger, transaction, wait)?)
}

/// What the server knows of an asset's supply, if it knows the asset. Its word, not proven.
pub fn supply(ledger: &Ledger, asset: &AssetId) -> Result<Option<AssetInfo>, AssetError> {
    match ledger.asset(asset) {
        Ok(info) => Ok(Some(info)),
        Err(BackendError::Refused { code: tonic::Code::NotFound, .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
