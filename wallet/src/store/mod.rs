//! What the wallet keeps on disk, in SQLite: one file per concern, numbered migrations, readable by the owner only.
//!
//! * [`wallet`]: what cannot be had again from the chain (peg-ins under way, names of assets) and LWK's state.
//! * [`crate::backend::cache`]: verified headers and transactions; it can be deleted at any time.

pub mod lwk;
pub mod wallet;

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Connection;

/// A database of the wallet cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite failed.
    #[error("the database {path} cannot be used: {source}")]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
    /// The file cannot be made or protected.
    #[error("the file {path} cannot be made: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A newer version of the program wrote it.
    #[error("the database {path} has format {found}, this program knows {known}; use a newer version of the program")]
    TooNew {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest known format.
        known: u32,
    },
    /// It belongs to another chain.
    #[error("the database {path} belongs to the chain with genesis block {found}, not to {expected}")]
    OtherChain {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        found: String,
        /// Whose it should be.
        expected: String,
    },
    /// A row does not decode.
    #[error("the database {path} is damaged: {what}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What does not decode.
        what: String,
    },
}

/// How far a commit reaches before it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Survives a power cut.
    Full,
    /// May be lost in a power cut: it can be had again.
    Cache,
}

/// An open database: a connection and its path, for errors.
#[derive(Debug)]
pub(crate) struct Database {
    pub(crate) connection: Connection,
    path: PathBuf,
}

impl Database {
    /// Opens or makes the file, readable by its owner only, and applies the migrations it does not have yet, all in one
    /// transaction.
    pub(crate) fn open(path: &Path, durability: Durability, migrations: &[&str]) -> Result<Self, StoreError> {
        crate::files::create_private(path).map_err(|source| StoreError::File { path: path.to_owned(), source })?;
        let fail = |source| StoreError::Sqlite { path: path.to_owned(), source };
        let mut connection = Connection::open(path).map_err(fail)?;
        connection.busy_timeout(Duration::from_secs(10)).map_err(fail)?;
        connection.pragma_update(None, "journal_mode", "WAL").map_err(fail)?;
        let synchronous = match durability {
            Durability::Full => "FULL",
            Durability::Cache => "NORMAL",
        };
        connection.pragma_update(None, "synchronous", synchronous).map_err(fail)?;
        connection.pragma_update(None, "foreign_keys", true).map_err(fail)?;

        let transaction =
            connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).map_err(fail)?;
        let found: u32 = transaction.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(fail)?;
        let known = u32::try_from(migrations.len()).unwrap_or(u32::MAX);
        if found > known {
            return Err(StoreError::TooNew { path: path.to_owned(), found, known });
        }
        for (_, migration) in (0..known).zip(migrations).filter(|(number, _)| *number >= found) {
            transaction.execute_batch(migration).map_err(fail)?;
        }
        transaction.pragma_update(None, "user_version", known).map_err(fail)?;
        transaction.commit().map_err(fail)?;
        Ok(Self { connection, path: path.to_owned() })
    }

    pub(crate) fn wrap(&self, source: rusqlite::Error) -> StoreError {
        StoreError::Sqlite { path: self.path.clone(), source }
    }

    pub(crate) fn damaged(&self, what: impl Into<String>) -> StoreError {
        StoreError::Damaged { path: self.path.clone(), what: what.into() }
    }

    /// Binds the database to a chain on first use; refuses another one later. Needs a table `meta(key, value)`.
    pub(crate) fn bind_to_chain(&self, genesis: &elements::BlockHash) -> Result<(), StoreError> {
        let expected = genesis.to_string();
        self.connection
            .execute("INSERT OR IGNORE INTO meta (key, value) VALUES ('genesis', ?1)", [&expected])
            .map_err(|error| self.wrap(error))?;
        let found: String = self
            .connection
            .query_row("SELECT value FROM meta WHERE key = 'genesis'", [], |row| row.get(0))
            .map_err(|error| self.wrap(error))?;
        if found == expected {
            Ok(())
        } else {
            Err(StoreError::OtherChain { path: self.path.clone(), found, expected })
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const FIRST: &str = "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT";
    const SECOND: &str = "CREATE TABLE more (n INTEGER PRIMARY KEY) STRICT";

    #[test]
    fn migrations_run_once_and_newer_files_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        drop(Database::open(&path, Durability::Full, &[FIRST]).unwrap());
        let database = Database::open(&path, Durability::Full, &[FIRST, SECOND]).unwrap();
        database.connection.execute("INSERT INTO more VALUES (1)", []).unwrap();
        drop(database);
        drop(Database::open(&path, Durability::Full, &[FIRST, SECOND]).unwrap());
        let error = Database::open(&path, Durability::Full, &[FIRST]).unwrap_err();
        assert!(matches!(error, StoreError::TooNew { found: 2, known: 1, .. }), "{error}");
    }

    #[test]
    fn a_database_stays_with_its_chain() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(&folder.path().join("a.db"), Durability::Cache, &[FIRST]).unwrap();
        let ours = elements::BlockHash::from_byte_array([1; 32]);
        database.bind_to_chain(&ours).unwrap();
        database.bind_to_chain(&ours).unwrap();
        let error = database.bind_to_chain(&elements::BlockHash::from_byte_array([2; 32])).unwrap_err();
        assert!(matches!(error, StoreError::OtherChain { .. }), "{error}");
    }
}
