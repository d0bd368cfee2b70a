//! A member's backup, and the member once more.
//!
//! What cannot be made again is the seed: 24 words that the operator keeps. Everything else that makes a member follows from
//! them and from public files: its shares from the ceremony's messages, its place from the federation file. So there are two
//! ways back:
//!
//! * words and a **backup file**, which holds configuration, federation file, transcript of the ceremony and shares,
//!   encrypted under a key that follows from the seed; this needs nobody else;
//! * words and the **federation file** of any other member; the transcript is fetched from members that run, and proves
//!   itself against the federation file.
//!
//! Neither brings back what the member has signed, and no file could be trusted to: a backup is older than the last vote. A
//! restored member learns from its peers how far it had gone and votes above that only (`chain`). Nonces are in no file.
//!
//! A member is put into its folder in one step: a folder that holds anything is refused, and a crash leaves none of it.

mod folder;
mod members;

#[cfg(test)]
mod tests;

use aquifer_federation::ceremony::MemberShares;
use aquifer_federation::federation::{Federation, FederationFile, FederationFileError};
use aquifer_federation::keys::{self, BlsShare, MemberSeed, TreasuryShare};
use aquifer_federation::roster::MemberIndex;
use borsh::{BorshDeserialize, BorshSerialize};
use rand::{CryptoRng, RngCore};
use zeroize::{Zeroize, Zeroizing};

use crate::ceremony::CeremonyArchive;
use crate::config::{Config, ConfigFile};
use crate::files::{self, FileError};
use crate::identity::{FederationMember, IdentityError};

pub(crate) use folder::check_free;
pub use members::shares_from_members;

/// A backup could not be made or used.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The member itself is not complete.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The file cannot be decrypted.
    #[error(transparent)]
    Sealed(#[from] keys::BackupError),
    /// The file was made by a member with these words, but its content does not belong together.
    #[error("the content of the backup is wrong: {0}")]
    Content(String),
    /// The federation file does not prove what it says.
    #[error("the federation file: {0}; get it from another member")]
    Federation(#[source] FederationFileError),
    /// The words are not those of a member.
    #[error("no card of the roster was made from these words; are they the words of this federation's member?")]
    NotAMember,
    /// No member gave a transcript from which the shares follow.
    #[error("no other member gave what the shares can be computed from:\n  {}\nTry again when more of them run, or restore from a backup file", .0.join("\n  "))]
    NoTranscript(Vec<String>),
    /// The folder is that of a member, or of something else.
    #[error("{folder} is not empty; name a folder that does not exist yet with --data-dir")]
    Occupied {
        /// The folder.
        folder: String,
    },
}

/// Everything of a member but what it has signed.
#[derive(Debug)]
pub struct Restored {
    /// Its words.
    pub seed: MemberSeed,
    /// Its `aquiferd.toml`.
    pub config: String,
    /// The federation.
    pub file: FederationFile,
    /// The same, checked.
    pub federation: Federation,
    /// Its place in it.
    pub index: MemberIndex,
    /// Its shares.
    pub shares: MemberShares,
    /// The messages of the ceremony.
    pub transcript: CeremonyArchive,
}

/// What a backup file holds, encrypted.
#[derive(BorshSerialize, BorshDeserialize)]
struct Content {
    config: String,
    /// In JSON, as in its own file.
    federation: Vec<u8>,
    transcript: CeremonyArchive,
    certificate_share: [u8; 32],
    treasury_share: [u8; 32],
}

impl Drop for Content {
    fn drop(&mut self) {
        self.certificate_share.zeroize();
        self.treasury_share.zeroize();
    }
}

/// Makes the backup of the member in a data folder. It reads only what never changes while the node runs.
///
/// # Errors
/// [`BackupError::Identity`] before the ceremony has ended, or if the member's files do not belong together.
pub fn make<R: RngCore + CryptoRng>(config: &Config, rng: &mut R) -> Result<Vec<u8>, BackupError> {
    let member = FederationMember::load(config)?;
    let path = config.data.config();
    let content = Content {
        config: String::from_utf8(files::read(&path)?)
            .map_err(|error| FileError::Content { path, reason: error.to_string() })?,
        federation: files::read(&config.data.federation())?,
        transcript: CeremonyArchive::load(&config.data)?,
        certificate_share: *member.share.to_bytes(),
        treasury_share: *member.treasury_share.to_bytes(),
    };
    let plain = borsh::to_vec(&content).map(Zeroizing::new);
    let plain = plain.map_err(|error| BackupError::Content(error.to_string()))?;
    Ok(keys::seal_backup(&member.member.keys, &plain, rng)?)
}

/// Opens a backup with the member's words, and checks that everything in it belongs together.
///
/// # Errors
/// [`BackupError::Sealed`] for other words or a damaged file, else [`BackupError`].
pub fn open(seed: MemberSeed, backup: &[u8]) -> Result<Restored, BackupError> {
    let wrong = |error: &dyn ToString| BackupError::Content(error.to_string());
    let plain = keys::open_backup(&seed.keys(), backup)?;
    let content: Content = borsh::from_slice(&plain).map_err(|error| wrong(&error))?;
    let config: ConfigFile = toml::from_str(&content.config).map_err(|error| wrong(&error))?;
    let file: FederationFile = serde_json::from_slice(&content.federation).map_err(|error| wrong(&error))?;
    let (federation, index) = place_of(&seed, &file)?;
    if federation.roster.member(index).is_none_or(|card| card.name != config.name) {
        return Err(wrong(&format!("the name {:?} is not that of the member's card", config.name)));
    }
    let certificate = BlsShare::from_bytes(&content.certificate_share).map_err(|error| wrong(&error))?;
    if federation.public_key_share(index) != Some(&certificate.public()) {
        return Err(wrong(&"the share is not one of the federation's certificate key"));
    }
    let treasury = TreasuryShare::from_bytes(&content.treasury_share, index, &federation.treasury_key);
    let shares = MemberShares { certificate, treasury: treasury.map_err(|error| wrong(&error))? };
    let (config, transcript) = (content.config.clone(), content.transcript.clone());
    Ok(Restored { seed, config, file, federation, index, shares, transcript })
}

/// Checks a federation file and finds the member with these words in it.
///
/// # Errors
/// [`BackupError::Federation`], [`BackupError::NotAMember`].
pub fn place_of(seed: &MemberSeed, file: &FederationFile) -> Result<(Federation, MemberIndex), BackupError> {
    let federation = file.check().map_err(BackupError::Federation)?;
    let index = federation.roster.index_of_host_key(&seed.keys().host.public_key());
    Ok((federation, index.ok_or(BackupError::NotAMember)?))
}
