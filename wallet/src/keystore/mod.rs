//! Seeds at rest and the keys in use.
//!
//! A wallet's folder holds:
//!
//! * `seed.age`: the BIP 39 words, encrypted under a passphrase with age (scrypt). Needed to spend only.
//! * `descriptor`: the confidential descriptor with the blinding key. It can spend nothing, but it shows every amount,
//!   so it is private data and readable by its owner only. With it, balance and addresses need no passphrase.
//! * `wallet.db`: see [`crate::store`].
//!
//! Both files are written in one step each and never replaced: a wallet cannot be overwritten by another.

mod home;
mod keys;
mod seal;

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
