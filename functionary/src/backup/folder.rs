//! Putting a member into its folder: whole, or not at all.

use std::io;
use std::path::{Path, PathBuf};

use super::{BackupError, Restored};
use crate::config::{ConfigError, DataDir};
use crate::files::{self, Access, FileError};
use crate::identity;

impl Restored {
    /// Makes the data folder of this member. Everything is written and synced beside its place, and then put there in one
    /// step.
    ///
    /// # Errors
    /// [`BackupError::Occupied`] if the folder holds anything; it is untouched. [`BackupError::File`].
    pub fn put_into(&self, data: &DataDir) -> Result<(), BackupError> {
        let place = data.path();
        let failed = |source: io::Error| FileError::Write { path: place.to_owned(), source };
        check_free(place)?;
        let temporary = beside(place).ok_or_else(|| failed(io::ErrorKind::InvalidInput.into()))?;
        // What an interrupted run has left.
        match std::fs::remove_dir_all(&temporary) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => return Err(failed(source).into()),
            _ => {}
        }
        let written = self.write(&DataDir::new(&temporary)).and_then(|()| {
            files::sync_folder(&temporary).map_err(failed)?;
            // The system itself refuses to put a folder in the place of one that is not empty.
            std::fs::rename(&temporary, place).map_err(|source| match source.kind() {
                io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists => occupied(place),
                _ => failed(source).into(),
            })?;
            Ok(files::sync_parent(place).map_err(failed)?)
        });
        if written.is_err() {
            // It holds secrets. If it cannot be removed, the next run does.
            let _removed = std::fs::remove_dir_all(&temporary);
        }
        written
    }

    fn write(&self, data: &DataDir) -> Result<(), BackupError> {
        data.make().map_err(|error| match error {
            ConfigError::Folder { folder, source } => FileError::Write { path: folder, source }.into(),
            other => BackupError::Content(other.to_string()),
        })?;
        files::create(&data.seed(), self.seed.words().as_bytes(), Access::Secret)?;
        identity::store_shares(data, &self.shares.certificate, &self.shares.treasury)?;
        if let Some(card) = self.federation.roster.member(self.index) {
            files::replace_json(&data.card(), card)?;
        }
        self.transcript.save(data)?;
        files::replace_json(&data.network(), &self.federation.network())?;
        files::replace_json(&data.federation(), &self.file)?;
        Ok(files::create(&data.config(), self.config.as_bytes(), Access::Public)?)
    }
}

fn occupied(place: &Path) -> BackupError {
    BackupError::Occupied { folder: place.display().to_string() }
}

/// Before anything else is done, so that nobody types 24 words in vain.
///
/// # Errors
/// [`BackupError::Occupied`].
pub(crate) fn check_free(place: &Path) -> Result<(), BackupError> {
    match std::fs::read_dir(place) {
        Ok(mut entries) => entries.next().map_or(Ok(()), |_| Err(occupied(place))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(FileError::Read { path: place.to_owned(), source }.into()),
    }
}

/// The hidden folder in which a restored member is put together.
fn beside(place: &Path) -> Option<PathBuf> {
    let mut name = std::ffi::OsString::from(".");
    name.push(place.file_name()?);
    name.push(".restoring");
    Some(place.with_file_name(name))
}
