//! Who this member is: its keys, its TLS certificate and, after the ceremony, its place in the federation.

use std::path::Path;
use std::sync::Arc;

use aquifer_federation::federation::{Federation, FederationFile, FederationFileError};
use aquifer_federation::keys::{
    BlsShare, BlsShareError, MemberKeys, MemberSeed, SeedError, TreasuryShare, TreasuryShareError,
};
use aquifer_federation::roster::{MemberIndex, Roster};
use zeroize::Zeroizing;

use crate::config::{Config, DataDir};
use crate::files::{self, Access, FileError};
use crate::peers::{TlsError, TlsIdentity};

/// A share file that does not hold this member's share.
#[derive(Debug, thiserror::Error)]
pub enum ShareError {
    /// The text is not 32 bytes in hexadecimal.
    #[error("it does not hold 32 bytes in hexadecimal")]
    Form,
    /// The number is no share of a certificate key.
    #[error(transparent)]
    Certificate(#[from] BlsShareError),
    /// The number is not this member's share of the treasury key.
    #[error(transparent)]
    Treasury(#[from] TreasuryShareError),
}

/// The member's identity could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The seed file does not hold a seed.
    #[error("the seed in {path} cannot be read: {source}; restore it from its 24 words")]
    Seed {
        /// The file.
        path: String,
        /// What is wrong.
        source: SeedError,
    },
    /// The share file does not hold a share.
    #[error("{path}: {source}; restore the member with `aquiferd restore`")]
    Share {
        /// The file.
        path: String,
        /// What is wrong.
        source: ShareError,
    },
    /// The certificate could not be made.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The ceremony has not ended yet.
    #[error("{path} does not exist: take part in the ceremony first, with `aquiferd ceremony --roster roster.json`")]
    NoFederation {
        /// The file.
        path: String,
    },
    /// The federation file does not prove what it says.
    #[error("{path}: {source}; get the file from another member")]
    Federation {
        /// The file.
        path: String,
        /// What is wrong.
        source: FederationFileError,
    },
    /// The member is not in the roster.
    #[error(
        "the member {name:?} of this data folder is not in the roster; is this the right roster and the right --data-dir?"
    )]
    NotInRoster {
        /// The member's name.
        name: String,
    },
    /// The share does not belong to the federation's key.
    #[error(
        "the share in {path} does not belong to the federation's certificate key; restore the member with `aquiferd restore`"
    )]
    ForeignShare {
        /// The file.
        path: String,
    },
}

/// A member's secrets as its data folder holds them.
#[derive(Debug)]
pub struct Member {
    /// Everything else follows from it.
    pub seed: MemberSeed,
    /// The keys that follow from the seed.
    pub keys: MemberKeys,
    /// The certificate that follows from the seed.
    pub tls: TlsIdentity,
}

impl Member {
    /// Derives keys and certificate of the member called `name`.
    ///
    /// # Errors
    /// [`IdentityError::Tls`] if the name does not fit into a certificate.
    pub fn new(name: &str, seed: MemberSeed) -> Result<Self, IdentityError> {
        let keys = seed.keys();
        let tls = TlsIdentity::from_seed(name, &keys.tls_seed)?;
        Ok(Self { seed, keys, tls })
    }

    /// Loads the member of a data folder.
    ///
    /// # Errors
    /// [`IdentityError::File`], [`IdentityError::Seed`].
    pub fn load(config: &Config) -> Result<Self, IdentityError> {
        let path = config.data.seed();
        let seed = parse_seed(&path, files::read(&path)?)?;
        Self::new(&config.file.name, seed)
    }

    /// This member's position in the roster, by its host key and certificate.
    ///
    /// # Errors
    /// [`IdentityError::NotInRoster`].
    pub fn index_in(&self, roster: &Roster, name: &str) -> Result<MemberIndex, IdentityError> {
        roster
            .index_of_host_key(&self.keys.host.public_key())
            .filter(|index| roster.index_of_certificate(self.tls.certificate()) == Some(*index))
            .ok_or_else(|| IdentityError::NotInRoster { name: name.to_owned() })
    }
}

/// Reads the words of a seed file.
pub(crate) fn parse_seed(path: &Path, words: Vec<u8>) -> Result<MemberSeed, IdentityError> {
    let words = Zeroizing::new(words);
    MemberSeed::from_words(std::str::from_utf8(&words).unwrap_or_default())
        .map_err(|source| IdentityError::Seed { path: path.display().to_string(), source })
}

/// A member with its place in a federation: what a node runs with.
#[derive(Debug)]
pub struct FederationMember {
    /// Its secrets.
    pub member: Member,
    /// Its share of the certificate key.
    pub share: BlsShare,
    /// Its share of the treasury key.
    pub treasury_share: TreasuryShare,
    /// The federation.
    pub federation: Arc<Federation>,
    /// Its position in the roster.
    pub index: MemberIndex,
}

impl FederationMember {
    /// Loads everything that the ceremony left in the data folder, and checks that it belongs together.
    ///
    /// # Errors
    /// [`IdentityError`], naming the file and what to do.
    pub fn load(config: &Config) -> Result<Self, IdentityError> {
        let member = Member::load(config)?;
        let federation = load_federation(&config.data)?;
        let index = member.index_in(&federation.roster, &config.file.name)?;
        let path = config.data.certificate_share();
        let share = load_share(&path, |bytes| Ok(BlsShare::from_bytes(bytes)?))?;
        if federation.public_key_share(index) != Some(&share.public()) {
            return Err(IdentityError::ForeignShare { path: path.display().to_string() });
        }
        let treasury_share = load_share(&config.data.treasury_share(), |bytes| {
            Ok(TreasuryShare::from_bytes(bytes, index, &federation.treasury_key)?)
        })?;
        Ok(Self { member, share, treasury_share, federation: Arc::new(federation), index })
    }
}

/// Loads and checks the federation file of a data folder.
///
/// # Errors
/// [`IdentityError::NoFederation`] before the ceremony has ended.
pub fn load_federation(data: &DataDir) -> Result<Federation, IdentityError> {
    let path = data.federation();
    let shown = path.display().to_string();
    let file: FederationFile = match files::read_json(&path) {
        Err(error) if error.is_missing() => return Err(IdentityError::NoFederation { path: shown }),
        other => other?,
    };
    file.check().map_err(|source| IdentityError::Federation { path: shown, source })
}

/// Writes both shares: hexadecimal, for their owner alone.
pub(crate) fn store_shares(data: &DataDir, certificate: &BlsShare, treasury: &TreasuryShare) -> Result<(), FileError> {
    for (path, bytes) in
        [(data.certificate_share(), certificate.to_bytes()), (data.treasury_share(), treasury.to_bytes())]
    {
        let text = Zeroizing::new(hex::encode(*bytes));
        files::replace(&path, text.as_bytes(), Access::Secret)?;
    }
    Ok(())
}

fn load_share<T>(path: &Path, read: impl FnOnce(&[u8; 32]) -> Result<T, ShareError>) -> Result<T, IdentityError> {
    let text = Zeroizing::new(files::read(path)?);
    let mut bytes = Zeroizing::new([0; 32]);
    hex::decode_to_slice(text.trim_ascii(), &mut *bytes)
        .map_err(|_| ShareError::Form)
        .and_then(|()| read(&bytes))
        .map_err(|source| IdentityError::Share { path: path.display().to_string(), source })
}
