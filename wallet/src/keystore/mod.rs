//! Seeds at rest and the keys in use.
//!
//! A wallet's folder holds:
//!
//! * `seed.age`: the BIP 39 words, encrypted under a passphrase with age (scrypt). Needed to spend only.
//! * `descriptor`: the confidential descriptor with the blinding key; it says what kind of wallet it is ([`Account`]). It
//!   can spend nothing, but it shows every amount, so it is private data and readable by its owner only. With it, balance
//!   and addresses need no passphrase.
//! * `wallet.db`: see [`crate::store`].
//!
//! Both files are written in one step each and never replaced: a wallet cannot be overwritten by another.

mod account;
mod home;
mod keys;
mod seal;

pub(crate) use account::signers;
pub use account::{Account, CosignerKey, Multisig, ScriptType};
pub use home::{Home, WalletFolder, WalletName};
pub use keys::Keys;
pub use seal::{Passphrase, open, seal};

use std::path::PathBuf;

/// A wallet's secrets cannot be made, read or used.
#[derive(Debug, thiserror::Error)]
pub enum KeystoreError {
    /// The wallet does not exist.
    #[error(
        "there is no wallet `{name}` in {home}; `aquifer wallet list` shows the wallets, `aquifer wallet create` makes one"
    )]
    NoSuchWallet {
        /// The name asked for.
        name: String,
        /// Where it was looked for.
        home: PathBuf,
    },
    /// The wallet exists already.
    #[error("a wallet `{name}` exists already in {home}; choose another name with --wallet")]
    Exists {
        /// The name asked for.
        name: String,
        /// Where it is.
        home: PathBuf,
    },
    /// Not a name for a wallet.
    #[error("`{0}` cannot be the name of a wallet; use up to 64 letters, digits, `-` and `_`")]
    BadName(String),
    /// The data folder belongs to another federation.
    #[error("the folder {home} belongs to another network than {given}; use another folder with --data-dir")]
    OtherNetwork {
        /// The data folder.
        home: PathBuf,
        /// The network file that was given.
        given: PathBuf,
    },
    /// No network file is known yet.
    #[error(
        "{home} has no network file yet; give the federation's network.json with --network FILE or AQUIFER_NETWORK"
    )]
    NoNetwork {
        /// The data folder.
        home: PathBuf,
    },
    /// The network file cannot be used.
    #[error(transparent)]
    Network(#[from] crate::network::ChainError),
    /// The words are not a BIP 39 mnemonic.
    #[error("these words are not a valid seed: {0}; check their spelling and order")]
    BadWords(lwk_signer::bip39::Error),
    /// The passphrase is wrong.
    #[error("the passphrase is wrong")]
    WrongPassphrase,
    /// The passphrase is empty.
    #[error("the passphrase is empty; it protects the seed, so choose one of several words")]
    EmptyPassphrase,
    /// The seed file is damaged.
    #[error("the seed file cannot be decrypted: {0}; restore the wallet from its words into another name")]
    Damaged(String),
    /// The seed cannot be encrypted.
    #[error("the seed cannot be encrypted: {0}")]
    Encrypt(String),
    /// Not a cosigner's key.
    #[error(
        "`{key}` is not a cosigner's key: {reason}; it is what `aquifer wallet xpub` prints for the cosigner, with the part in brackets"
    )]
    BadCosigner {
        /// What was given.
        key: String,
        /// Why it is none.
        reason: String,
    },
    /// A private key where a public one belongs.
    #[error(
        "that is a private key, which nobody else may see: whoever has seen it can sign; enter what `aquifer wallet xpub` prints"
    )]
    PrivateCosigner,
    /// The same key twice, or two keys of one seed.
    #[error(
        "the cosigner's key {0} is there twice, or another one of the same seed; every cosigner has a seed of their own"
    )]
    CosignerTwice(String),
    /// Too few cosigners, or more than a script can hold.
    #[error(
        "{0} cosigners cannot share a wallet, 2 to 20 can; give the key of each, your own included, with --cosigner"
    )]
    CosignerCount(usize),
    /// A number of signatures that makes no sense.
    #[error("{threshold} of {cosigners} signatures cannot be asked for; --multisig takes 1 to {cosigners}")]
    Threshold {
        /// Signatures asked for.
        threshold: u32,
        /// Number of cosigners.
        cosigners: usize,
    },
    /// The wallet's own key is not among the cosigners'.
    #[error(
        "the own key {0} is not among the cosigners; every cosigner enters the same keys, their own included, with --cosigner"
    )]
    NotACosigner(String),
    /// A descriptor that does not read.
    #[error("the wallet's descriptor cannot be read: {0}; restore the wallet from its words into another name")]
    BadDescriptor(String),
    /// A descriptor of a kind that this program does not make.
    #[error("the descriptor is of a kind that this program does not know; use the program that made the wallet")]
    UnknownDescriptor,
    /// Key derivation failed.
    #[error("keys cannot be derived: {0}")]
    Derive(String),
    /// A file cannot be read or written.
    #[error("the file {path} cannot be used: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}
