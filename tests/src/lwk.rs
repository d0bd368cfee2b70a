//! A wallet of LWK's own, as other software has it: it knows the seed of one of our wallets and the parameters of the
//! chain, and sees the chain through whatever backend of LWK's it is given.

use std::collections::BTreeMap;
use std::time::Duration;

use aquifer_wallet::network::Chain;
use elements::{AssetId, Txid};
use lwk_common::{DescriptorBlindingKey, Signer as _, Singlesig, singlesig_desc};
use lwk_signer::SwSigner;
use lwk_wollet::clients::blocking::BlockchainBackend;
use lwk_wollet::{Contract, Wollet, WolletBuilder, WolletDescriptor, WolletTxBuilder};

use crate::error::HarnessError;
use crate::json::Printed;
use crate::wait::{self, Answer};
use crate::wallet::{Issued, Wallet};

/// Time until a transaction is seen in a block.
const FINAL_LIMIT: Duration = Duration::from_secs(120);

/// The wallet.
pub struct LwkWallet {
    wollet: Wollet,
    signer: SwSigner,
}

fn failed(what: &'static str) -> impl Fn(&dyn std::fmt::Display) -> HarnessError {
    move |error| HarnessError::Story(format!("LWK cannot {what}: {error}"))
}

/// Lets a wallet look for everything that is new.
///
/// # Errors
/// When the backend fails.
pub fn look(wollet: &mut Wollet, backend: &mut impl BlockchainBackend) -> Result<(), HarnessError> {
    let failed = failed("synchronize");
    match backend.full_scan(wollet).map_err(|error| failed(&error))? {
        Some(update) => wollet.apply_update(update).map_err(|error| failed(&error)),
        None => Ok(()),
    }
}

impl LwkWallet {
    /// With the seed of one of our wallets, which is of the default kind.
    ///
    /// # Errors
    /// When that has no seed, or LWK does not take the chain.
    pub fn with_seed_of(wallet: &Wallet, chain: &Chain) -> Result<Self, HarnessError> {
        let failed = failed("make a wallet");
        let words = wallet.words()?;
        let signer = SwSigner::new_with_network(&words, chain.lwk()).map_err(|error| failed(&error))?;
        let descriptor = singlesig_desc(&signer, Singlesig::Wpkh, DescriptorBlindingKey::Slip77);
        let descriptor = descriptor.map_err(|error| failed(&error))?.parse().map_err(|error| failed(&error))?;
        let wollet = WolletBuilder::new(chain.lwk(), descriptor).build().map_err(|error| failed(&error))?;
        Ok(Self { wollet, signer })
    }

    /// Its descriptor.
    pub fn descriptor(&self) -> WolletDescriptor {
        self.wollet.wollet_descriptor()
    }

    /// Looks for everything that is new.
    ///
    /// # Errors
    /// When the backend fails.
    pub fn sync(&mut self, backend: &mut impl BlockchainBackend) -> Result<(), HarnessError> {
        look(&mut self.wollet, backend)
    }

    /// An address that has not been paid yet.
    ///
    /// # Errors
    /// When LWK has none.
    pub fn address(&self) -> Result<String, HarnessError> {
        let address = self.wollet.address(None).map_err(|error| failed("make an address")(&error))?;
        Ok(address.address().to_string())
    }

    /// Balance per asset id, in the smallest unit.
    ///
    /// # Errors
    /// When LWK cannot say.
    pub fn balance(&self) -> Result<BTreeMap<String, u64>, HarnessError> {
        let balance = self.wollet.balance().map_err(|error| failed("say its balance")(&error))?;
        let balance = balance.iter().filter(|(_, amount)| **amount > 0);
        Ok(balance.map(|(asset, amount)| (asset.to_string(), *amount)).collect())
    }

    /// Height and changes by asset of each transaction; no height for one that waits.
    ///
    /// # Errors
    /// When LWK cannot say.
    pub fn history(&self) -> Result<History, HarnessError> {
        let transactions = self.wollet.transactions().map_err(|error| failed("say its history")(&error))?;
        let entry = |tx: lwk_wollet::WalletTx| {
            let changes = tx.balance.iter().map(|(asset, amount)| (asset.to_string(), *amount)).collect();
            (tx.txid.to_string(), (tx.height, changes))
        };
        Ok(transactions.into_iter().map(entry).collect())
    }

    /// Builds, signs and hands in a transaction, and waits until the backend shows it in a block.
    fn transact(
        &mut self,
        backend: &mut impl BlockchainBackend,
        build: impl FnOnce(WolletTxBuilder<'_>) -> Result<WolletTxBuilder<'_>, lwk_wollet::Error>,
    ) -> Result<Txid, HarnessError> {
        let failed = failed("make a transaction");
        let mut pset =
            build(self.wollet.tx_builder()).and_then(WolletTxBuilder::finish).map_err(|error| failed(&error))?;
        self.signer.sign(&mut pset).map_err(|error| failed(&error))?;
        let transaction = self.wollet.finalize(&mut pset).map_err(|error| failed(&error))?;
        let txid = backend.broadcast(&transaction).map_err(|error| failed(&error))?;
        wait::until("LWK sees its transaction in a block", FINAL_LIMIT, || {
            self.sync(backend)?;
            let seen = self.wollet.transaction(&txid).map_err(|error| failed(&error))?;
            Ok(match seen.and_then(|tx| tx.height) {
                Some(_) => Answer::Ready(()),
                None => Answer::NotYet(format!("{txid} is in none")),
            })
        })?;
        Ok(txid)
    }

    /// Pays an amount of an asset to an address.
    ///
    /// # Errors
    /// When a step fails or it is not final in time.
    pub fn send(
        &mut self,
        backend: &mut impl BlockchainBackend,
        address: &str,
        amount_sat: u64,
        asset: AssetId,
    ) -> Result<Txid, HarnessError> {
        let to = address.parse().map_err(|error| failed("read an address")(&error))?;
        self.transact(backend, |builder| builder.add_recipient(&to, amount_sat, asset))
    }

    /// Issues an asset with reissuance tokens.
    ///
    /// # Errors
    /// As [`LwkWallet::send`].
    pub fn issue(
        &mut self,
        backend: &mut impl BlockchainBackend,
        amount: u64,
        tokens: u64,
    ) -> Result<Issued, HarnessError> {
        self.issue_as(backend, amount, tokens, None)
    }

    /// The same with a contract that names it.
    ///
    /// # Errors
    /// As [`LwkWallet::send`].
    pub fn issue_as(
        &mut self,
        backend: &mut impl BlockchainBackend,
        amount: u64,
        tokens: u64,
        contract: Option<Contract>,
    ) -> Result<Issued, HarnessError> {
        let txid = self.transact(backend, |builder| builder.issue_asset(amount, None, tokens, None, contract))?;
        let issuances = self.wollet.issuances().map_err(|error| failed("say what it has issued")(&error))?;
        let issuance = issuances.into_iter().find(|issuance| issuance.txid == txid);
        let issuance = issuance.ok_or_else(|| HarnessError::Story("LWK does not know its issuance".to_owned()))?;
        let (asset, token) = (issuance.asset.to_string(), issuance.token.to_string());
        Ok(Issued { asset, token, txid: txid.to_string() })
    }

    /// Issues more of an asset, with its token.
    ///
    /// # Errors
    /// As [`LwkWallet::send`].
    pub fn reissue(
        &mut self,
        backend: &mut impl BlockchainBackend,
        issued: &Issued,
        amount: u64,
    ) -> Result<Txid, HarnessError> {
        let asset = issued.asset.parse().map_err(|error| failed("read an asset id")(&error))?;
        self.transact(backend, |builder| builder.reissue_asset(asset, amount, None, None))
    }

    /// Waits until it sees through the backend what our wallet with the same seed sees: balances with every asset, and the
    /// history with every height. Nothing of the wallet may be on its way.
    ///
    /// # Errors
    /// When it does not come to that, with the difference.
    pub fn wait_same(&mut self, backend: &mut impl BlockchainBackend, ours: &Wallet) -> Result<(), HarnessError> {
        let history = history_of(ours)?;
        let balance: BTreeMap<String, u64> = ours.balance()?.into_iter().filter(|(_, amount)| *amount > 0).collect();
        wait::until("LWK and our wallet of one seed see the same", FINAL_LIMIT, || {
            self.sync(backend)?;
            let (theirs, seen) = (self.balance()?, self.history()?);
            Ok(if theirs == balance && seen == history {
                Answer::Ready(())
            } else {
                Answer::NotYet(format!("LWK {theirs:?} {seen:?}, ours {balance:?} {history:?}"))
            })
        })
    }
}

/// Height of a transaction, and what it changes by asset.
pub type Change = (Option<u32>, BTreeMap<String, i64>);

/// Changes by the transaction's id.
pub type History = BTreeMap<String, Change>;

fn history_of(wallet: &Wallet) -> Result<History, HarnessError> {
    let printed = wallet.run(&["history", "--limit", "10000"])?;
    printed.list("transactions")?.iter().map(entry).collect()
}

fn entry(printed: &Printed) -> Result<(String, Change), HarnessError> {
    let height = printed.value().get("height").and_then(serde_json::Value::as_u64);
    let changes = printed.value().get("balance").and_then(serde_json::Value::as_object);
    let changes = changes.into_iter().flatten().map(|(asset, amount)| (asset.clone(), amount.as_i64().unwrap_or(0)));
    let height = height.and_then(|height| u32::try_from(height).ok());
    Ok((printed.text("txid")?, (height, changes.collect())))
}
