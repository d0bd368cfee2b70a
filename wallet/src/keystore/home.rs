//! The data folder: the network file and one folder per wallet.

use std::io;
use std::path::{Path, PathBuf};

use lwk_wollet::WolletDescriptor;
use zeroize::Zeroizing;

use super::{Account, Keys, KeystoreError, Passphrase};
use crate::files;
use crate::network::Chain;

/// A wallet's name: up to 64 letters, digits, `-` and `_`. It is also the name of its folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WalletName(String);

impl WalletName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for WalletName {
    type Err = KeystoreError;

    fn from_str(text: &str) -> Result<Self, KeystoreError> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if text.is_empty() || text.len() > 64 || !text.chars().all(allowed) {
            return Err(KeystoreError::BadName(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl std::fmt::Display for WalletName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// The data folder of the program.
#[derive(Clone, Debug)]
pub struct Home(PathBuf);

impl Home {
    /// A data folder; it is made when something is first written.
    pub fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The database of verified headers and transactions, shared by all wallets of the folder.
    pub fn cache_path(&self) -> PathBuf {
        self.0.join("chain.db")
    }

    /// The chain this folder belongs to. A network file that is `given` must name the same chain as the one kept here,
    /// and may bring other servers; without one, the kept one counts.
    pub fn chain(&self, given: Option<&Path>) -> Result<Chain, KeystoreError> {
        let kept_path = self.0.join("network.json");
        let kept = match Chain::read(&kept_path) {
            Err(crate::network::ChainError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => None,
            other => Some(other?),
        };
        match (given, kept) {
            (None, None) => Err(KeystoreError::NoNetwork { home: self.0.clone() }),
            (None, Some(kept)) => Ok(kept),
            (Some(given), None) => Ok(Chain::read(given)?),
            (Some(path), Some(kept)) => {
                let given = Chain::read(path)?;
                if given.genesis() != kept.genesis() || given.file().certificate_key != kept.file().certificate_key {
                    return Err(KeystoreError::OtherNetwork { home: self.0.clone(), given: path.to_owned() });
                }
                Ok(given)
            }
        }
    }

    /// Makes the folder and keeps the network file in it, if there is none yet.
    pub fn keep_chain(&self, chain: &Chain) -> Result<(), KeystoreError> {
        let path = self.0.join("network.json");
        let file = |source| KeystoreError::File { path: path.clone(), source };
        files::create_private_folder(&self.0).map_err(file)?;
        let json = serde_json::to_vec_pretty(chain.file()).map_err(|error| file(error.into()))?;
        match files::write_private_new(&path, &json) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other.map_err(file),
        }
    }

    /// The names of all wallets, sorted.
    pub fn wallets(&self) -> Result<Vec<WalletName>, KeystoreError> {
        let folder = self.0.join("wallets");
        let entries = match std::fs::read_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(|source| KeystoreError::File { path: folder, source })?,
        };
        let mut names: Vec<WalletName> = entries
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter(|name| self.wallet_path(name).join("descriptor").exists())
            .collect();
        names.sort();
        Ok(names)
    }

    /// The folder of a wallet that exists.
    pub fn wallet(&self, name: &WalletName) -> Result<WalletFolder, KeystoreError> {
        let folder = WalletFolder(self.wallet_path(name));
        if folder.descriptor_path().exists() {
            Ok(folder)
        } else {
            Err(KeystoreError::NoSuchWallet { name: name.to_string(), home: self.0.clone() })
        }
    }

    /// Whether a wallet of this name can be made.
    pub fn check_free(&self, name: &WalletName) -> Result<(), KeystoreError> {
        let folder = WalletFolder(self.wallet_path(name));
        if folder.seed_path().exists() || folder.descriptor_path().exists() {
            return Err(KeystoreError::Exists { name: name.to_string(), home: self.0.clone() });
        }
        Ok(())
    }

    /// Writes a new wallet: encrypted words first, then the descriptor, which makes it exist.
    pub fn create_wallet(
        &self,
        name: &WalletName,
        words: &str,
        passphrase: &Passphrase,
        account: &Account,
        chain: &Chain,
    ) -> Result<WalletFolder, KeystoreError> {
        self.check_free(name)?;
        let descriptor = Keys::from_words(words, chain)?.descriptor(account)?;
        let sealed = super::seal(words.as_bytes(), passphrase)?;
        self.keep_chain(chain)?;
        let folder = WalletFolder(self.wallet_path(name));
        files::create_private_folder(&folder.0)
            .map_err(|source| KeystoreError::File { path: folder.0.clone(), source })?;
        for (path, content) in [(folder.seed_path(), &sealed[..]), (folder.descriptor_path(), descriptor.as_bytes())] {
            files::write_private_new(&path, content).map_err(|source| match source.kind() {
                io::ErrorKind::AlreadyExists => KeystoreError::Exists { name: name.to_string(), home: self.0.clone() },
                _ => KeystoreError::File { path, source },
            })?;
        }
        Ok(folder)
    }

    fn wallet_path(&self, name: &WalletName) -> PathBuf {
        self.0.join("wallets").join(name.as_str())
    }
}

/// The folder of one wallet.
#[derive(Clone, Debug)]
pub struct WalletFolder(PathBuf);

impl WalletFolder {
    /// The wallet's database.
    pub fn database_path(&self) -> PathBuf {
        self.0.join("wallet.db")
    }

    fn seed_path(&self) -> PathBuf {
        self.0.join("seed.age")
    }

    fn descriptor_path(&self) -> PathBuf {
        self.0.join("descriptor")
    }

    /// The confidential descriptor.
    pub fn descriptor(&self) -> Result<WolletDescriptor, KeystoreError> {
        let path = self.descriptor_path();
        let text = std::fs::read_to_string(&path).map_err(|source| KeystoreError::File { path, source })?;
        text.trim().parse().map_err(|error: lwk_wollet::Error| KeystoreError::BadDescriptor(error.to_string()))
    }

    /// Decrypts the words of the seed.
    pub fn words(&self, passphrase: &Passphrase) -> Result<Zeroizing<String>, KeystoreError> {
        let path = self.seed_path();
        let sealed = std::fs::read(&path).map_err(|source| KeystoreError::File { path, source })?;
        let secret = super::open(&sealed, passphrase)?;
        std::str::from_utf8(&secret)
            .map(|words| Zeroizing::new(words.to_owned()))
            .map_err(|error| KeystoreError::Damaged(error.to_string()))
    }

    /// Decrypts the seed and derives its keys.
    pub fn unlock(&self, passphrase: &Passphrase, chain: &Chain) -> Result<Keys, KeystoreError> {
        Keys::from_words(&self.words(passphrase)?, chain)
    }
}
