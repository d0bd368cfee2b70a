//! Files that are there whole or not at all, and secret ones that only their owner can read.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Largest file that is read whole, in bytes. Everything this program reads so is far smaller.
const MAX_FILE_LEN: u64 = 64 << 20;

/// Who may read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everybody on the machine.
    Public,
    /// The owner alone.
    Secret,
}

impl Access {
    fn mode(self) -> u32 {
        match self {
            Self::Public => 0o644,
            Self::Secret => 0o600,
        }
    }
}

/// A file could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// Reading failed.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Writing failed. The file that was there before, if any, is untouched.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It exists already.
    #[error("{} exists already and is not overwritten", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// It is longer than any file of its kind.
    #[error("{} is longer than {MAX_FILE_LEN} bytes", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// Its content is not what it should be.
    #[error("{} is damaged or not such a file: {reason}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

impl FileError {
    /// Whether it is about a file that does not exist.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Read { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

/// Reads a whole file.
///
/// # Errors
/// [`FileError::Read`], [`FileError::TooLong`].
pub fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    let reading = || {
        let mut bytes = Vec::new();
        File::open(path)?.take(MAX_FILE_LEN + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = reading().map_err(|source| FileError::Read { path: path.to_owned(), source })?;
    if u64::try_from(bytes.len()).is_ok_and(|len| len <= MAX_FILE_LEN) {
        Ok(bytes)
    } else {
        Err(FileError::TooLong { path: path.to_owned() })
    }
}

/// Reads a JSON file.
///
/// # Errors
/// As [`read`], and [`FileError::Content`] with line and column.
pub fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, FileError> {
    serde_json::from_slice(&read(path)?)
        .map_err(|error| FileError::Content { path: path.to_owned(), reason: error.to_string() })
}

/// Makes a new file with this content, on the disk when this returns.
///
/// # Errors
/// [`FileError::Exists`] if there is one already; it is untouched.
pub fn create(path: &Path, content: &[u8], access: Access) -> Result<(), FileError> {
    let writing = || {
        let temporary = write_temporary(path, content, access)?;
        // Unlike a rename, a link never replaces what is there.
        let linked = std::fs::hard_link(&temporary, path);
        std::fs::remove_file(&temporary)?;
        linked?;
        sync_parent(path)
    };
    writing().map_err(|source: io::Error| match source.kind() {
        io::ErrorKind::AlreadyExists => FileError::Exists { path: path.to_owned() },
        _ => FileError::Write { path: path.to_owned(), source },
    })
}

/// Puts a file with this content in the place of the one that may be there, in one step, on the disk when this returns: a
/// crash at any moment leaves the old content or the new one.
///
/// # Errors
/// [`FileError::Write`]; the old file is then untouched.
pub fn replace(path: &Path, content: &[u8], access: Access) -> Result<(), FileError> {
    let writing = || {
        let temporary = write_temporary(path, content, access)?;
        std::fs::rename(&temporary, path)?;
        sync_parent(path)
    };
    writing().map_err(|source: io::Error| FileError::Write { path: path.to_owned(), source })
}

/// Puts a value as JSON in the place of a public file; see [`replace`].
///
/// # Errors
/// As [`replace`].
pub fn replace_json<T: serde::Serialize>(path: &Path, value: &T) -> Result<(), FileError> {
    replace(path, &to_json(path, value)?, Access::Public)
}

/// A value as JSON text with a line end.
pub(crate) fn to_json<T: serde::Serialize>(path: &Path, value: &T) -> Result<Vec<u8>, FileError> {
    let mut text = serde_json::to_vec_pretty(value)
        .map_err(|error| FileError::Write { path: path.to_owned(), source: error.into() })?;
    text.push(b'\n');
    Ok(text)
}

/// Writes the content beside its place. What an interrupted run left there is replaced.
fn write_temporary(path: &Path, content: &[u8], access: Access) -> io::Result<PathBuf> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let temporary = path.with_file_name(name);
    match std::fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(access.mode()).open(&temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    Ok(temporary)
}

/// Makes the directory entry itself survive a power cut.
pub(crate) fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_folder(parent),
        _ => sync_folder(Path::new(".")),
    }
}

/// Makes the entries of a folder survive a power cut.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_secret_is_readable_by_its_owner_alone_and_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("seed");
        create(&path, b"one", Access::Secret).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(matches!(create(&path, b"two", Access::Secret), Err(FileError::Exists { .. })));
        assert_eq!(read(&path).unwrap(), b"one");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "temporary files were left");
    }

    #[test]
    fn replacing_survives_what_an_interrupted_run_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        std::fs::write(folder.path().join("state.new"), b"half").unwrap();
        replace(&path, b"one", Access::Secret).unwrap();
        replace(&path, b"two", Access::Secret).unwrap();
        assert_eq!(read(&path).unwrap(), b"two");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_missing_and_a_damaged_file_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file.json");
        assert!(read_json::<Vec<u8>>(&path).unwrap_err().is_missing());
        std::fs::write(&path, b"[1,").unwrap();
        assert!(matches!(read_json::<Vec<u8>>(&path), Err(FileError::Content { .. })));
    }
}
