//! The keys of an unlocked wallet.

use std::str::FromStr;

use bitcoin::bip32::DerivationPath;
use elements::pset::PartiallySignedTransaction;
use lwk_common::{DescriptorBlindingKey, Signer, Singlesig, singlesig_desc};
use lwk_signer::SwSigner;
use lwk_signer::bip39::Mnemonic;
use secp256k1_zkp::{PublicKey, SECP256K1, SecretKey};
use zeroize::Zeroizing;

use super::KeystoreError;
use crate::network::Chain;

/// BIP 84 account 0 with coin type 1, which LWK uses on every chain but Liquid's own.
const ACCOUNT: &str = "m/84h/1h/0h";

/// The key that asset contracts name as the issuer's: of account 1, so that it shows no address of the wallet.
const ISSUER: &str = "m/84h/1h/1h/0/0";

/// An unlocked wallet: signs, and derives single keys. The seed is erased when dropped.
#[derive(Debug)]
pub struct Keys(SwSigner);

impl Keys {
    /// Fresh keys from the operating system's randomness. Returns the 12 words too: show them once.
    pub fn generate(chain: &Chain) -> Result<(Self, Zeroizing<String>), KeystoreError> {
        let mnemonic = Mnemonic::generate(12).map_err(KeystoreError::BadWords)?;
        let words = Zeroizing::new(mnemonic.to_string());
        Self::from_words(&words, chain).map(|keys| (keys, words))
    }

    /// The keys of a BIP 39 mnemonic of 12 to 24 English words, without a BIP 39 passphrase.
    pub fn from_words(words: &str, chain: &Chain) -> Result<Self, KeystoreError> {
        let mnemonic = Mnemonic::from_str(words).map_err(KeystoreError::BadWords)?;
        let text = Zeroizing::new(mnemonic.to_string());
        SwSigner::new_with_network(&text, chain.lwk())
            .map(Self)
            .map_err(|error| KeystoreError::Derive(error.to_string()))
    }

    /// The confidential descriptor: P2WPKH with a SLIP-77 blinding key.
    pub fn descriptor(&self) -> Result<String, KeystoreError> {
        singlesig_desc(&self.0, Singlesig::Wpkh, DescriptorBlindingKey::Slip77).map_err(KeystoreError::Derive)
    }

    /// Signs all inputs of ours.
    pub fn sign(&self, pset: &mut PartiallySignedTransaction) -> Result<u32, KeystoreError> {
        self.0.sign(pset).map_err(|error| KeystoreError::Derive(error.to_string()))
    }

    /// The secret key of the receiving address with this index.
    pub fn address_key(&self, index: u32) -> Result<SecretKey, KeystoreError> {
        self.derive(&format!("{ACCOUNT}/0/{index}"))
    }

    /// The public key that asset contracts of this wallet name as the issuer's.
    pub fn issuer_key(&self) -> Result<PublicKey, KeystoreError> {
        self.derive(ISSUER).map(|key| key.public_key(SECP256K1))
    }

    fn derive(&self, path: &str) -> Result<SecretKey, KeystoreError> {
        let path = DerivationPath::from_str(path).map_err(|error| KeystoreError::Derive(error.to_string()))?;
        let key = self.0.derive_xprv(&path).map_err(|error| KeystoreError::Derive(error.to_string()))?;
        Ok(key.private_key)
    }
}
