//! The keys of an unlocked wallet.

use std::str::FromStr;

use bitcoin::bip32::{DerivationPath, Fingerprint};
use elements::pset::PartiallySignedTransaction;
use lwk_common::{DescriptorBlindingKey, Signer, singlesig_desc};
use lwk_signer::SwSigner;
use lwk_signer::bip39::Mnemonic;
use secp256k1_zkp::{PublicKey, SECP256K1, SecretKey};
use zeroize::Zeroizing;

use super::{Account, CosignerKey, KeystoreError};
use crate::network::Chain;

/// BIP 87 account 0 with coin type 1, which LWK uses on every chain but Liquid's own: the key for wallets with others.
const COSIGNER: &str = "m/87h/1h/0h";

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

    /// The confidential descriptor of an account. With one key the blinding key is that of SLIP 77; with several
    /// cosigners it is that of ELIP 151, and the own key must be among theirs.
    pub fn descriptor(&self, account: &Account) -> Result<String, KeystoreError> {
        match account {
            Account::Single(script) => {
                singlesig_desc(&self.0, script.lwk(), DescriptorBlindingKey::Slip77).map_err(KeystoreError::Derive)
            }
            Account::Multisig(multisig) => {
                let own = self.cosigner_key()?;
                if !multisig.cosigners().contains(&own) {
                    return Err(KeystoreError::NotACosigner(own.to_string()));
                }
                multisig.descriptor()
            }
        }
    }

    /// The public key with which this seed takes part in a wallet of several cosigners.
    pub fn cosigner_key(&self) -> Result<CosignerKey, KeystoreError> {
        let path = path(COSIGNER)?;
        let key = self.0.derive_xpub(&path).map_err(|error| KeystoreError::Derive(error.to_string()))?;
        Ok(CosignerKey::new(self.fingerprint(), path, key))
    }

    /// What names this seed as a signer.
    pub fn fingerprint(&self) -> Fingerprint {
        self.0.fingerprint()
    }

    /// Signs all inputs of ours.
    pub fn sign(&self, pset: &mut PartiallySignedTransaction) -> Result<u32, KeystoreError> {
        self.0.sign(pset).map_err(|error| KeystoreError::Derive(error.to_string()))
    }

    /// The secret key at the end of a derivation path.
    pub fn secret_key(&self, path: &DerivationPath) -> Result<SecretKey, KeystoreError> {
        let key = self.0.derive_xprv(path).map_err(|error| KeystoreError::Derive(error.to_string()))?;
        Ok(key.private_key)
    }

    /// The public key that asset contracts of this wallet name as the issuer's.
    pub fn issuer_key(&self) -> Result<PublicKey, KeystoreError> {
        self.secret_key(&path(ISSUER)?).map(|key| key.public_key(SECP256K1))
    }
}

fn path(text: &str) -> Result<DerivationPath, KeystoreError> {
    DerivationPath::from_str(text).map_err(|error| KeystoreError::Derive(error.to_string()))
}
