//! Somebody who makes transactions by hand, on a chain that real members run.

use aquifer_assets::primitives::Transaction;
use aquifer_wallet::backend::Ledger;
use elements::encode::{deserialize, serialize};
use elements::{Address, AddressParams};
use secp256k1_zkp::{SECP256K1, SecretKey};

use super::payment::{Coin, Origin, Owner, explicit};
use crate::error::HarnessError;
use crate::wallet::Wallet;

/// A transaction as wallets have it, to be handed in by one.
///
/// # Errors
/// When it cannot be read, which would be a defect.
pub fn for_wallets(transaction: &Transaction) -> Result<elements::Transaction, HarnessError> {
    deserialize(&serialize(transaction)).map_err(|error| HarnessError::Story(error.to_string()))
}

impl Owner {
    /// Is paid by a wallet, confidentially; `blinding` reveals to the owner what came.
    ///
    /// # Errors
    /// When the wallet does not pay.
    pub fn be_paid(
        &self,
        payer: &Wallet,
        ledger: &Ledger,
        blinding: &SecretKey,
        amount_sat: u64,
        asset: &str,
    ) -> Result<Coin, HarnessError> {
        let key = blinding.public_key(SECP256K1);
        let address = Address::from_script(&self.script(), Some(key), &AddressParams::ELEMENTS)
            .ok_or_else(|| HarnessError::Story("the owner has no address".to_owned()))?;
        let paid = payer.send(&address.to_string(), amount_sat, asset)?;
        let block = ledger.block(paid.height("height")?)?;
        let coin = block.txdata.iter().find_map(|transaction| self.coin_in(transaction, blinding));
        coin.ok_or_else(|| HarnessError::Story("the owner was not paid".to_owned()))
    }

    /// The first output of a transaction that pays the owner, if this key reveals what is in it.
    fn coin_in(&self, transaction: &elements::Transaction, blinding: &SecretKey) -> Option<Coin> {
        let mut outputs = (0..).zip(&transaction.output);
        let (vout, output) = outputs.find(|(_, output)| output.script_pubkey == self.script())?;
        let secrets = output.unblind(SECP256K1, *blinding).ok()?;
        let mut decoded = explicit(secrets.asset, 0, self.script());
        (decoded.asset, decoded.value) = (output.asset, output.value);
        Some(Coin {
            outpoint: elements::OutPoint::new(transaction.txid(), vout),
            output: decoded,
            secrets,
            owner: *self,
            origin: Origin::Output,
        })
    }
}
