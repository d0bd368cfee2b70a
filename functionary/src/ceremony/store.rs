//! What the ceremony leaves on the disk, in which order.
//!
//! While it runs, `ceremony.state` holds everything and is replaced in one step before anything new is shown to others. At
//! its end the shares, the federation file and the network file are written before this member says that it has stored
//! them. A ceremony that has failed leaves no shares and no federation, only its state, from which the others can get the
//! messages that prove the fault, and `ceremony.failure`, which says that another ceremony may take its place.
//! `ceremony.messages` stays for good: a member that lost its connection at the very end, or its whole disk later, gets from
//! it what it lacks.

use std::path::{Path, PathBuf};

use aquifer_federation::ceremony::{Ceremony, CeremonyOutcome};
use borsh::{BorshDeserialize, BorshSerialize};

use super::RunError;
use crate::config::DataDir;
use crate::files::{self, Access, FileError};
use crate::identity;

/// The public messages of a ceremony that has ended for this member.
#[derive(Clone, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct CeremonyArchive {
    session: [u8; 32],
    messages: Vec<Vec<u8>>,
}

impl CeremonyArchive {
    /// The messages of a ceremony.
    pub(crate) fn new(session: [u8; 32], messages: Vec<Vec<u8>>) -> Self {
        Self { session, messages }
    }

    /// Loads the archive of a data folder; an empty one if there is none.
    ///
    /// # Errors
    /// [`FileError`] if it is damaged.
    pub fn load(data: &DataDir) -> Result<Self, FileError> {
        Self::load_from(data.ceremony_messages())
    }

    /// Loads the messages of the repair that this member helps with, if there is one.
    ///
    /// # Errors
    /// [`FileError`] if they are damaged.
    pub(crate) fn load_repair(data: &DataDir) -> Result<Self, FileError> {
        Self::load_from(data.repair_messages())
    }

    fn load_from(path: PathBuf) -> Result<Self, FileError> {
        match files::read(&path) {
            Err(error) if error.is_missing() => Ok(Self::default()),
            other => borsh::from_slice(&other?).map_err(|error| FileError::Content { path, reason: error.to_string() }),
        }
    }

    /// Puts it into a data folder.
    ///
    /// # Errors
    /// [`FileError::Write`].
    pub(crate) fn save(&self, data: &DataDir) -> Result<(), FileError> {
        self.save_as(&data.ceremony_messages())
    }

    pub(super) fn save_as(&self, path: &Path) -> Result<(), FileError> {
        let bytes = borsh::to_vec(self).map_err(|source| FileError::Write { path: path.to_owned(), source })?;
        files::replace(path, &bytes, Access::Public)
    }

    /// The messages of the ceremony `session`; none if it is another.
    pub fn messages(&self, session: &[u8]) -> Vec<Vec<u8>> {
        if session == self.session { self.messages.clone() } else { Vec::new() }
    }
}

/// Takes up the ceremony that an earlier run left; `None` if there is none.
pub(super) fn resume(data: &DataDir) -> Result<Option<Ceremony>, RunError> {
    let path = data.ceremony_state();
    match files::read(&path) {
        Err(error) if error.is_missing() => Ok(None),
        other => Ceremony::resume(&zeroize::Zeroizing::new(other?))
            .map(Some)
            .map_err(|source| RunError::Damaged { path: path.display().to_string(), source }),
    }
}

/// Puts the state on the disk. What [`Ceremony::messages`] gives may be shown after this.
pub(super) fn save(data: &DataDir, ceremony: &Ceremony) -> Result<(), FileError> {
    files::replace(&data.ceremony_state(), &ceremony.save(), Access::Secret)
}

/// Puts the outcome on the disk.
pub(super) fn save_outcome(data: &DataDir, ceremony: &Ceremony, outcome: &CeremonyOutcome) -> Result<(), RunError> {
    let CeremonyOutcome { file, certificate_share, treasury_share } = outcome;
    let federation = file.check().map_err(RunError::Outcome)?;
    identity::store_shares(data, certificate_share, treasury_share)?;
    save_archive(data, ceremony)?;
    files::replace_json(&data.network(), &federation.network())?;
    // Last: its presence says that the ceremony has ended for this member.
    files::replace_json(&data.federation(), file)?;
    Ok(())
}

/// Puts the messages on the disk for members that come late.
pub(super) fn save_archive(data: &DataDir, ceremony: &Ceremony) -> Result<(), FileError> {
    CeremonyArchive::new(ceremony.session(), ceremony.messages()).save(data)
}

/// Says that the ceremony has failed, and why.
pub(super) fn save_failure(data: &DataDir, reason: &str) -> Result<(), FileError> {
    files::replace(&data.ceremony_failure(), reason.as_bytes(), Access::Public)
}

/// Whether the ceremony that left its state here has failed.
pub(super) fn has_failed(data: &DataDir) -> bool {
    data.ceremony_failure().exists()
}

/// Forgets the state once it is needed no more: it holds secrets, and everything lasting is elsewhere.
pub(super) fn remove_state(data: &DataDir) -> Result<(), FileError> {
    // The failure last: without it, what is left of the state would be taken for a ceremony that goes on.
    for path in [data.ceremony_state(), data.ceremony_failure()] {
        match std::fs::remove_file(&path) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(FileError::Write { path, source });
            }
            _ => {}
        }
    }
    Ok(())
}
