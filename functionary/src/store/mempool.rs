//! `mempool.db`: what waited when the member stopped. A cache: no signature depends on it, and a damaged file is set aside.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use elements::Txid;
use rusqlite::params;

use super::db::{Database, OpenGate, StoreError};

const MIGRATIONS: &[&str] = &["
CREATE TABLE transactions (
    position INTEGER PRIMARY KEY AUTOINCREMENT,   -- parents before children
    txid BLOB NOT NULL UNIQUE,
    admitted_at INTEGER NOT NULL,                 -- seconds since 1970
    bytes BLOB NOT NULL                           -- complete, as Elements serializes it
);
"];

/// A transaction that waited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptTransaction {
    /// Its id.
    pub txid: Txid,
    /// When it was first admitted, in seconds since 1970.
    pub admitted_at: u32,
    /// The transaction as Elements serializes it.
    pub bytes: Vec<u8>,
}

/// The file of waiting transactions.
pub struct MempoolStore {
    database: Database,
}

impl MempoolStore {
    /// Opens or makes the file, and reads what is in it, parents before children.
    ///
    /// # Errors
    /// [`StoreError`] if the file is damaged or cannot be used.
    pub fn open(path: &Path) -> Result<(Self, Vec<KeptTransaction>), StoreError> {
        let store = MempoolStore { database: Database::open(path, MIGRATIONS, Arc::new(OpenGate))? };
        let kept = store.load().map_err(|error| store.database.failed(error))?;
        Ok((store, kept))
    }

    /// The same; a file that cannot be read is set aside under a name with `.damaged` at its end, and a new one made.
    ///
    /// # Errors
    /// [`StoreError`] if no file can be made.
    pub fn open_or_replace(path: &Path) -> Result<(Self, Vec<KeptTransaction>), StoreError> {
        match Self::open(path) {
            Ok(opened) => Ok(opened),
            Err(error) => {
                tracing::warn!(%error, "cannot read what waited before: beginning with an empty mempool");
                set_aside(path)?;
                Self::open(path)
            }
        }
    }

    fn load(&self) -> Result<Vec<KeptTransaction>, rusqlite::Error> {
        let mut rows =
            self.database.connection.prepare("SELECT txid, admitted_at, bytes FROM transactions ORDER BY position")?;
        rows.query_map([], |row| {
            Ok(KeptTransaction {
                txid: Txid::from_byte_array(row.get(0)?),
                admitted_at: row.get(1)?,
                bytes: row.get(2)?,
            })
        })?
        .collect()
    }

    /// Adds some, parents before children, and removes others, all or nothing.
    pub fn update(&mut self, added: &[KeptTransaction], removed: &[Txid]) -> Result<(), StoreError> {
        self.database.note(|transaction| {
            let mut remove = transaction.prepare_cached("DELETE FROM transactions WHERE txid = ?1")?;
            for txid in removed {
                remove.execute([txid.to_byte_array()])?;
            }
            let mut add = transaction
                .prepare_cached("INSERT OR REPLACE INTO transactions (txid, admitted_at, bytes) VALUES (?1, ?2, ?3)")?;
            for kept in added {
                add.execute(params![kept.txid.to_byte_array(), kept.admitted_at, kept.bytes])?;
            }
            Ok(())
        })
    }
}

/// Moves a database out of the way, and removes what SQLite keeps beside it.
fn set_aside(path: &Path) -> Result<(), StoreError> {
    let beside = |ending: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(ending);
        PathBuf::from(name)
    };
    for ending in ["-wal", "-shm"] {
        // They need not exist; if one stays, the new file says so when it is opened.
        let _ = std::fs::remove_file(beside(ending));
    }
    std::fs::rename(path, beside(".damaged"))
        .map_err(|error| StoreError::Sqlite { file: path.display().to_string(), reason: error.to_string() })
}
