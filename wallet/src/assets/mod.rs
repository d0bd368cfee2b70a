//! Issued assets: issue, reissue, burn, and what their names are.

mod contract;

pub use contract::{Description, DescriptionError};

use aquifer_proto::ledger::AssetInfo;
use elements::{AssetId, Txid};
use lwk_wollet::Wollet;

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
}

/// A new asset.
#[derive(Clone, Debug)]
pub struct Issued {
    /// What is known of it.
    pub record: AssetRecord,
    /// The transaction.
    pub payment: Payment,
}

/// Issues a new asset. Its name is written down before the transaction is handed in.
pub fn issue(
    wallet: &Wallet,
    ledger: &Ledger,
    keys: &Keys,
    request: &IssueRequest,
    rate: FeeRate,
    wait: Wait,
) -> Result<Issued, AssetError> {
    if request.amount == 0 && request.tokens == 0 {
        return Err(AssetError::NothingToIssue);
    }
    let issuer = keys.issuer_key().map_err(WalletError::from)?;
    let contract = request.description.contract(&issuer)?;
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
    wallet.db().put_asset(&record)?;
    let payment = wallet.hand_in(ledger, transaction, wait)?;
    Ok(Issued { record, payment })
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
