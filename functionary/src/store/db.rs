//! Opening, migrating and writing SQLite files.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

/// A store could not do what was asked. The member stops; nothing half-written stays.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// SQLite failed: full disk, damaged file, missing permissions.
    #[error("{file}: {reason}")]
    Sqlite {
        /// Which store.
        file: String,
        /// What SQLite says.
        reason: String,
    },
    /// The file was written by a newer version.
    #[error("{file} has schema version {found}, this program knows {known}: run the newer version of aquiferd")]
    Newer {
        /// Which store.
        file: String,
        /// Version in the file.
        found: usize,
        /// Version known here.
        known: usize,
    },
    /// What is stored contradicts itself or the request.
    #[error("{file}: {reason}")]
    Inconsistent {
        /// Which store.
        file: String,
        /// What is wrong.
        reason: String,
    },
    /// The write was refused before or after it was done, by whoever watches over the disk.
    #[error("{0:?} was stopped: {1}")]
    Stopped(Write, String),
}

/// The writes that a signature depends on, and those of what signatures make.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum Write {
    /// The journal of the running height with the vote slots.
    Journal,
    /// The body of a proposed block.
    Body,
    /// The decided block with its commit certificate.
    Decided,
    /// Our signatures of a header.
    HeaderSignature,
    /// Our signatures of a peg-out batch, without those that are left to the treasury key.
    BatchSignature,
    /// Our own signatures of what was left to the treasury key.
    ScriptSignature,
    /// A peg-out batch with the signatures of all.
    SignedBatch,
    /// A final block and everything it changes.
    Block,
}

/// Watches over the writes that a signature depends on, and may stop the member before or after each.
pub trait Gate: Send + Sync {
    /// Called before a write begins.
    fn before(&self, write: Write) -> Result<(), StoreError>;
    /// Called when a write is durable, before anybody hears of it.
    fn after(&self, write: Write) -> Result<(), StoreError>;
}

/// Lets every write pass.
#[derive(Copy, Clone, Debug, Default)]
pub struct OpenGate;

impl Gate for OpenGate {
    fn before(&self, _write: Write) -> Result<(), StoreError> {
        Ok(())
    }

    fn after(&self, _write: Write) -> Result<(), StoreError> {
        Ok(())
    }
}

/// One SQLite file, opened for writing.
pub(crate) struct Database {
    pub(crate) connection: Connection,
    name: String,
    gate: Arc<dyn Gate>,
}

impl Database {
    /// Opens or makes the file and brings its schema up to date. `migrations` are only ever appended to.
    pub(crate) fn open(path: &Path, migrations: &[&str], gate: Arc<dyn Gate>) -> Result<Self, StoreError> {
        let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let fail = |error: rusqlite::Error| StoreError::Sqlite { file: name.clone(), reason: error.to_string() };
        let mut connection = Connection::open(path).map_err(fail)?;
        connection.busy_timeout(Duration::from_secs(10)).map_err(fail)?;
        connection.pragma_update(None, "journal_mode", "WAL").map_err(fail)?;
        connection.pragma_update(None, "synchronous", "FULL").map_err(fail)?;
        let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(fail)?;
        let found = usize::try_from(found).unwrap_or(usize::MAX);
        if found > migrations.len() {
            return Err(StoreError::Newer { file: name, found, known: migrations.len() });
        }
        for (number, migration) in migrations.iter().enumerate().skip(found) {
            let transaction = connection.transaction().map_err(fail)?;
            transaction.execute_batch(migration).map_err(fail)?;
            transaction.pragma_update(None, "user_version", integer(number + 1)).map_err(fail)?;
            transaction.commit().map_err(fail)?;
        }
        Ok(Database { connection, name, gate })
    }

    /// The error for a failed SQLite call.
    pub(crate) fn failed(&self, error: rusqlite::Error) -> StoreError {
        failed(&self.name, error)
    }

    /// The error for stored data that cannot be.
    pub(crate) fn inconsistent(&self, reason: impl Into<String>) -> StoreError {
        StoreError::Inconsistent { file: self.name.clone(), reason: reason.into() }
    }

    /// Runs `work` in one transaction that is durable when this returns.
    pub(crate) fn write<T>(
        &mut self,
        write: Write,
        work: impl FnOnce(&rusqlite::Transaction<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.gate.before(write)?;
        let name = &self.name;
        let transaction = self.connection.transaction().map_err(|error| failed(name, error))?;
        let result = work(&transaction)?;
        transaction.commit().map_err(|error| failed(name, error))?;
        self.gate.after(write)?;
        Ok(result)
    }

    /// Runs `work` in one transaction; no signature depends on it.
    pub(crate) fn note<T>(
        &mut self,
        work: impl FnOnce(&rusqlite::Transaction<'_>) -> Result<T, rusqlite::Error>,
    ) -> Result<T, StoreError> {
        let name = &self.name;
        let transaction = self.connection.transaction().map_err(|error| failed(name, error))?;
        let result = work(&transaction).map_err(|error| failed(name, error))?;
        transaction.commit().map_err(|error| failed(name, error))?;
        Ok(result)
    }
}

/// The error for a failed SQLite call on the store `name`.
pub(crate) fn failed(name: &str, error: rusqlite::Error) -> StoreError {
    StoreError::Sqlite { file: name.to_owned(), reason: error.to_string() }
}

/// Opens a file that another connection writes, for reading.
pub(crate) fn open_reader(path: &Path) -> Result<Connection, rusqlite::Error> {
    let connection =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(Duration::from_secs(10))?;
    Ok(connection)
}

/// SQLite's integers are signed; none of our quantities comes near the limit.
pub(crate) fn integer(value: impl TryInto<i64>) -> i64 {
    value.try_into().unwrap_or(i64::MAX)
}

/// A quantity that [`integer`] has written.
pub(crate) fn unsigned(row: &rusqlite::Row<'_>, column: impl rusqlite::RowIndex) -> Result<u64, rusqlite::Error> {
    row.get::<_, i64>(column).map(|value| u64::try_from(value).unwrap_or(0))
}
