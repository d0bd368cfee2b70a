//! `halt.db`: what this member has said of halting, and what it keeps to itself until it says otherwise.

use std::path::Path;
use std::sync::Arc;

use aquifer_federation::valve::Notice;
use rusqlite::{OptionalExtension as _, params};

use crate::store::db::Database;
use crate::store::{OpenGate, StoreError};

const MIGRATIONS: &[&str] = &["
CREATE TABLE own (
    only INTEGER PRIMARY KEY CHECK (only = 0),
    hold TEXT,                        -- why this member takes no part in batches
    seen_height INTEGER,              -- that its last notice refers to, whatever became of it
    notice BLOB                       -- that no block may have carried yet
);
"];

/// What must outlive a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Own {
    /// Why this member takes no part in batches; `None` if it does.
    pub(super) hold: Option<String>,
    /// The height that its last notice refers to. Whatever is not later is old.
    pub(super) last_seen: Option<u32>,
    /// Its last notice, while no block is known to have carried it.
    pub(super) notice: Option<Notice>,
}

/// Keeps it.
pub(super) struct HaltStore {
    database: Database,
}

impl HaltStore {
    /// Opens or makes the file.
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        Ok(Self { database: Database::open(path, MIGRATIONS, Arc::new(OpenGate))? })
    }

    pub(super) fn own(&self) -> Result<Own, StoreError> {
        let read = || {
            let mut query = self.database.connection.prepare("SELECT hold, seen_height, notice FROM own")?;
            query.query_row([], |row| Ok((row.get(0)?, row.get(1)?, row.get::<_, Option<Vec<u8>>>(2)?))).optional()
        };
        let Some((hold, last_seen, notice)) = read().map_err(|error| self.database.failed(error))? else {
            return Ok(Own::default());
        };
        let read = |bytes: Vec<u8>| {
            Notice::from_bytes(&bytes).ok_or_else(|| self.database.inconsistent("the kept notice is damaged"))
        };
        Ok(Own { hold, last_seen, notice: notice.map(read).transpose()? })
    }

    /// Durable on return.
    pub(super) fn keep(&mut self, own: &Own) -> Result<(), StoreError> {
        self.database.note(|transaction| {
            transaction.execute(
                "INSERT OR REPLACE INTO own (only, hold, seen_height, notice) VALUES (0, ?1, ?2, ?3)",
                params![own.hold, own.last_seen, own.notice.as_ref().map(Notice::to_bytes)],
            )?;
            Ok(())
        })
    }
}
