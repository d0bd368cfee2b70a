//! A wallet: addresses, balance, history, and transactions built, signed, handed in and followed until they are final.
//!
//! LWK selects coins, blinds and signs; what it is told of the chain has been verified by [`crate::backend`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bitcoin::PublicKey;
use bitcoin::bip32::DerivationPath;
use elements::pset::PartiallySignedTransaction;
use elements::{Address, AddressParams, AssetId, Transaction, Txid};
use lwk_common::FeeRate as LwkFeeRate;
use lwk_wollet::elements_miniscript::ForEachKey;
use lwk_wollet::{Chain as LwkChain, Recipient as LwkRecipient, TxBuilder, WalletTx, Wollet, WolletBuilder};
use secp256k1_zkp::SECP256K1;

use crate::backend::{BackendError, Ledger, Place};
use crate::keystore::{Account, Keys, KeystoreError, WalletFolder};
use crate::network::Chain;
use crate::store::StoreError;
use crate::store::lwk::LwkStore;
use crate::store::wallet::WalletDb;

/// The lowest fee rate that Aquifer's servers take, in satoshi per 1,000 discounted virtual bytes.
pub const MIN_FEE_RATE: u64 = 100;

/// The highest fee rate that is paid because a server says so. Above it, the user must say so.
const MAX_UNASKED_FEE_RATE: u64 = 10_000;

/// Addresses that may be handed out ahead of the last used one, so that a restored wallet still finds its coins.
const GAP_LIMIT: u32 = 20;

/// A wallet cannot do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum WalletError {
    /// The chain cannot be asked or believed.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// Keys cannot be used.
    #[error(transparent)]
    Keystore(#[from] KeystoreError),
    /// The wallet's database cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// LWK failed.
    #[error("the wallet library failed: {0}")]
    Lwk(Box<lwk_wollet::Error>),
    /// Not enough coins.
    #[error(
        "not enough of asset {asset}: {missing} more of its smallest unit are needed, fee included; `aquifer balance` shows what there is"
    )]
    NotEnough {
        /// What is lacking.
        asset: AssetId,
        /// How much, in its smallest unit.
        missing: u64,
    },
    /// Not an address of this chain.
    #[error(
        "`{address}` is not an address of this chain: {reason}; ask the receiver for the output of `aquifer address`"
    )]
    BadAddress {
        /// What was given.
        address: String,
        /// Why it is none.
        reason: String,
    },
    /// An address without a blinding key.
    #[error(
        "`{0}` is not confidential: the amount would be public. Ask the receiver for the output of `aquifer address`"
    )]
    NotConfidential(String),
    /// A fee rate that no server takes, or one that is absurd.
    #[error(
        "the fee rate {0} sat per 1,000 vbytes is out of range; it must be {MIN_FEE_RATE} or more and below 1,000,000"
    )]
    FeeRate(u64),
    /// A server asks for a high fee.
    #[error("the server asks for {0} sat per 1,000 vbytes, which is unusual; say --fee-rate {0} if it is right")]
    HighFeeRate(u64),
    /// Too many unused addresses.
    #[error(
        "{GAP_LIMIT} addresses are handed out and unused; use one of them, or this wallet could not be restored from its words"
    )]
    TooManyUnused,
    /// Several cosigners must sign, so one cannot do it alone.
    #[error(
        "a spend of this wallet needs {0} signatures, and only `aquifer send` can collect them; send to a wallet with one key and do it there"
    )]
    NeedsCosigners(u32),
    /// Several cosigners have the wallet, where one key is needed.
    #[error(
        "this wallet has several cosigners, and a peg-in is claimed with one key; run `aquifer pegin` in a wallet with one key and send the coins here"
    )]
    SeveralKeys,
    /// No signature could be made.
    #[error("the wallet's keys fit none of the inputs; is the passphrase of another wallet in use?")]
    NothingSigned,
}

impl From<lwk_wollet::Error> for WalletError {
    fn from(error: lwk_wollet::Error) -> Self {
        Self::Lwk(Box::new(error))
    }
}

/// Satoshi per 1,000 discounted virtual bytes (ELIP 200).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FeeRate(u64);

impl FeeRate {
    /// A rate that was asked for.
    pub fn new(sat_per_kvb: u64) -> Result<Self, WalletError> {
        if (MIN_FEE_RATE..1_000_000).contains(&sat_per_kvb) {
            Ok(Self(sat_per_kvb))
        } else {
            Err(WalletError::FeeRate(sat_per_kvb))
        }
    }

    /// The rate a server asks for, unless it is suspiciously high.
    pub fn of_server(sat_per_kvb: u64) -> Result<Self, WalletError> {
        if sat_per_kvb > MAX_UNASKED_FEE_RATE {
            return Err(WalletError::HighFeeRate(sat_per_kvb));
        }
        Ok(Self(sat_per_kvb.max(MIN_FEE_RATE)))
    }

    /// The fee for a transaction of this discounted size, rounded up, in satoshi.
    pub fn fee_sat(self, discount_vsize: u64) -> u64 {
        discount_vsize.saturating_mul(self.0).div_ceil(1_000)
    }

    fn lwk(self) -> Option<LwkFeeRate> {
        // Below 1,000,000, so exact in an f32.
        u32::try_from(self.0).ok().and_then(|rate| rate.to_string().parse().ok()).and_then(LwkFeeRate::from_sat_kvb)
    }
}

/// Who gets what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// A confidential address.
    pub address: Address,
    /// The asset.
    pub asset: AssetId,
    /// Amount in its smallest unit.
    pub amount: u64,
}

impl Recipient {
    /// Adds them all to a transaction that is being built.
    pub(crate) fn add_all(recipients: &[Self], builder: TxBuilder) -> TxBuilder {
        recipients.iter().fold(builder, |builder, recipient| {
            let output = LwkRecipient::from_address(recipient.amount, &recipient.address, recipient.asset);
            builder.add_validated_recipient(output)
        })
    }
}

/// Whether to wait until a transaction is final.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Wait, at most so long.
    UntilFinal(Duration),
    /// Return when a server has accepted it.
    No,
}

/// A transaction that was handed in.
#[derive(Clone, Debug)]
pub struct Payment {
    /// The transaction.
    pub transaction: Transaction,
    /// Its fee in satoshi.
    pub fee_sat: u64,
    /// Where it stands, if the wallet waited for that.
    pub place: Option<Place>,
    /// Time from handing it in until its finality was verified, in milliseconds.
    pub elapsed_ms: Option<u64>,
}

/// What a wallet has of one asset, in its smallest unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AssetBalance {
    /// In final transactions.
    pub confirmed: u64,
    /// In transactions that wait in a mempool.
    pub pending: u64,
}

/// An open wallet. It can be looked at without keys; spending needs [`Keys`].
pub struct Wallet {
    chain: Chain,
    account: Account,
    wollet: Wollet,
    db: WalletDb,
}

impl Wallet {
    /// Opens a wallet of the chain.
    pub fn open(folder: &WalletFolder, chain: Chain) -> Result<Self, WalletError> {
        let db = WalletDb::open(&folder.database_path(), &chain.genesis())?;
        let descriptor = folder.descriptor()?;
        let account = Account::of(&descriptor)?;
        let store = Arc::new(LwkStore::open(&folder.database_path())?);
        let wollet = WolletBuilder::new(chain.lwk(), descriptor).with_stores(store)?.build()?;
        Ok(Self { chain, account, wollet, db })
    }

    /// The chain it belongs to.
    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    /// What kind of wallet it is.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// The id of ELIP 152, the same for everybody who has the same descriptor.
    pub fn id(&self) -> Result<String, WalletError> {
        Ok(self.wollet.wollet_descriptor().dwid(self.chain.lwk())?)
    }

    /// Its records.
    pub fn db(&self) -> &WalletDb {
        &self.db
    }

    /// LWK's view of it.
    pub fn wollet(&self) -> &Wollet {
        &self.wollet
    }

    /// Brings it up to date with the chain.
    pub fn sync(&mut self, ledger: &Ledger) -> Result<(), WalletError> {
        let next = self.db.next_address_index()?;
        Ok(ledger.sync(&mut self.wollet, next)?)
    }

    /// The address to show: one that nobody has paid yet and that is not reserved. Sync before.
    pub fn address(&self) -> Result<(u32, Address), WalletError> {
        let reserved = self.db.pegin_addresses()?;
        let mut index = self.first_unused()?;
        while reserved.iter().any(|pegin| pegin.index == index) {
            index = index.saturating_add(1);
        }
        self.hand_out(index)
    }

    /// An address that was never handed out before. Sync before.
    pub fn new_address(&self) -> Result<(u32, Address), WalletError> {
        let unused = self.first_unused()?;
        let index = self.db.next_address_index()?.max(unused);
        if index.saturating_sub(unused) >= GAP_LIMIT {
            return Err(WalletError::TooManyUnused);
        }
        self.hand_out(index)
    }

    fn hand_out(&self, index: u32) -> Result<(u32, Address), WalletError> {
        let address = self.address_at(index)?;
        self.db.hand_out_below(index.saturating_add(1))?;
        Ok((index, address))
    }

    /// The receiving address with this index.
    pub fn address_at(&self, index: u32) -> Result<Address, WalletError> {
        Ok(self.wollet.address(Some(index))?.address().clone())
    }

    /// The key of the receiving address with this index, and its path from the seed.
    pub fn address_key(&self, index: u32) -> Result<(PublicKey, DerivationPath), WalletError> {
        if matches!(self.account, Account::Multisig(_)) {
            return Err(WalletError::SeveralKeys);
        }
        let descriptor = self.wollet.wollet_descriptor().definite_descriptor(LwkChain::External, index)?;
        let mut found = None;
        descriptor.for_each_key(|key| {
            found = key.derive_public_key(SECP256K1).ok().zip(key.full_derivation_path());
            true
        });
        Ok(found.ok_or(KeystoreError::UnknownDescriptor)?)
    }

    fn first_unused(&self) -> Result<u32, WalletError> {
        Ok(self.wollet.address(None)?.index())
    }

    /// What it has, per asset, as of the last sync.
    pub fn balance(&self) -> Result<BTreeMap<AssetId, AssetBalance>, WalletError> {
        let mut balances: BTreeMap<AssetId, AssetBalance> = BTreeMap::new();
        balances.insert(self.chain.pegged_asset(), AssetBalance::default());
        for coin in self.wollet.utxos()? {
            let balance = balances.entry(coin.unblinded.asset).or_default();
            let part = if coin.height.is_some() { &mut balance.confirmed } else { &mut balance.pending };
            *part = part.saturating_add(coin.unblinded.value);
        }
        Ok(balances)
    }

    /// Its transactions, newest first, as of the last sync.
    pub fn history(&self) -> Result<Vec<WalletTx>, WalletError> {
        Ok(self.wollet.transactions()?)
    }

    /// One of its transactions.
    pub fn transaction(&self, txid: &Txid) -> Result<Option<WalletTx>, WalletError> {
        Ok(self.wollet.transaction(txid)?)
    }

    /// Reads an address of this chain that may be paid.
    pub fn parse_address(text: &str) -> Result<Address, WalletError> {
        let address = Address::parse_with_params(text, &AddressParams::ELEMENTS)
            .map_err(|error| WalletError::BadAddress { address: text.to_owned(), reason: error.to_string() })?;
        if address.is_blinded() { Ok(address) } else { Err(WalletError::NotConfidential(text.to_owned())) }
    }

    /// Pays recipients.
    pub fn send(
        &self,
        ledger: &Ledger,
        keys: &Keys,
        recipients: &[Recipient],
        rate: FeeRate,
        wait: Wait,
    ) -> Result<Payment, WalletError> {
        let transaction = self.build(keys, rate, |builder| Ok(Recipient::add_all(recipients, builder)))?;
        self.hand_in(ledger, transaction, wait)
    }

    /// Builds, blinds and signs a transaction.
    pub fn build(
        &self,
        keys: &Keys,
        rate: FeeRate,
        fill: impl FnOnce(TxBuilder) -> Result<TxBuilder, lwk_wollet::Error>,
    ) -> Result<Transaction, WalletError> {
        if self.account.threshold() > 1 {
            return Err(WalletError::NeedsCosigners(self.account.threshold()));
        }
        let mut pset = self.build_unsigned(rate, fill)?;
        if keys.sign(&mut pset)? == 0 {
            return Err(WalletError::NothingSigned);
        }
        Ok(self.wollet.finalize(&mut pset)?)
    }

    /// Builds and blinds a transaction that nobody has signed yet.
    pub(crate) fn build_unsigned(
        &self,
        rate: FeeRate,
        fill: impl FnOnce(TxBuilder) -> Result<TxBuilder, lwk_wollet::Error>,
    ) -> Result<PartiallySignedTransaction, WalletError> {
        let builder = TxBuilder::new(self.chain.lwk()).enable_ct_discount().fee_rate(rate.lwk());
        fill(builder).and_then(|builder| builder.finish(&self.wollet)).map_err(not_enough)
    }

    /// Hands a transaction in and waits as told.
    pub fn hand_in(&self, ledger: &Ledger, transaction: Transaction, wait: Wait) -> Result<Payment, WalletError> {
        let fee_sat = transaction.fee_in(self.chain.pegged_asset());
        let start = Instant::now();
        ledger.submit(&transaction)?;
        let (place, elapsed_ms) = match wait {
            Wait::No => (None, None),
            Wait::UntilFinal(patience) => {
                let place = ledger.wait_final(&transaction, patience)?;
                (Some(place), Some(u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX)))
            }
        };
        Ok(Payment { transaction, fee_sat, place, elapsed_ms })
    }
}

impl std::fmt::Debug for Wallet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wallet").field("chain", &self.chain.genesis()).finish_non_exhaustive()
    }
}

fn not_enough(error: lwk_wollet::Error) -> WalletError {
    match error {
        lwk_wollet::Error::InsufficientFunds { missing_sats, asset_id } => {
            WalletError::NotEnough { asset: asset_id, missing: missing_sats }
        }
        other => WalletError::from(other),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use bitcoin::hashes::Hash;

    use super::*;

    #[test]
    fn fee_rates_have_bounds() {
        assert!(matches!(FeeRate::new(99), Err(WalletError::FeeRate(99))));
        assert!(matches!(FeeRate::new(1_000_000), Err(WalletError::FeeRate(_))));
        assert_eq!(FeeRate::of_server(0).unwrap(), FeeRate::new(MIN_FEE_RATE).unwrap());
        assert!(matches!(FeeRate::of_server(10_001), Err(WalletError::HighFeeRate(10_001))));
        assert_eq!(FeeRate::new(100).unwrap().fee_sat(1_001), 101);
        assert!((FeeRate::new(250).unwrap().lwk().unwrap().to_sat_kvb() - 250.0).abs() < f32::EPSILON);
    }

    #[test]
    fn only_confidential_addresses_of_this_chain_are_paid() {
        let bitcoin = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";
        assert!(matches!(Wallet::parse_address(bitcoin), Err(WalletError::BadAddress { .. })));
        let script = elements::Script::new_v0_wpkh(&elements::WPubkeyHash::from_byte_array([7; 20]));
        let explicit = Address::from_script(&script, None, &AddressParams::ELEMENTS).unwrap().to_string();
        assert!(matches!(Wallet::parse_address(&explicit), Err(WalletError::NotConfidential(_))));
    }
}
