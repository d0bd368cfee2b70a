//! `audit.db`: objections of auditors, which outlive a restart.

use std::path::Path;
use std::sync::Arc;

use bitcoin::secp256k1::{XOnlyPublicKey, schnorr};
use elements::BlockHash;
use rusqlite::{Row, params};

use super::verdict::{SignedVerdict, Verdict};
use crate::store::db::Database;
use crate::store::{OpenGate, StoreError};

const MIGRATIONS: &[&str] = &["
CREATE TABLE objections (
    auditor BLOB PRIMARY KEY,         -- x-only key
    genesis BLOB NOT NULL,
    height INTEGER NOT NULL,
    block BLOB NOT NULL,
    verdict INTEGER NOT NULL,         -- 1: passed another block than the final one, 2: refused it
    signature BLOB NOT NULL,
    reason TEXT NOT NULL
) WITHOUT ROWID;
"];

/// The first objection of each auditor.
pub struct AuditStore {
    database: Database,
}

type Columns = (Vec<u8>, [u8; 32], u32, [u8; 32], u8, Vec<u8>, String);

impl AuditStore {
    /// Opens or makes the file.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Ok(Self { database: Database::open(path, MIGRATIONS, Arc::new(OpenGate))? })
    }

    /// All objections that nobody has dismissed.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn objections(&self) -> Result<Vec<SignedVerdict>, StoreError> {
        let read = || -> Result<Vec<Columns>, rusqlite::Error> {
            let mut query = self.database.connection.prepare(
                "SELECT auditor, genesis, height, block, verdict, signature, reason FROM objections ORDER BY auditor",
            )?;
            let columns = |row: &Row<'_>| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?, row.get(6)?))
            };
            query.query_map([], columns)?.collect()
        };
        let rows = read().map_err(|error| self.database.failed(error))?;
        rows.into_iter()
            .map(|(key, genesis, height, block, verdict, signature, reason)| {
                let damaged = || self.database.inconsistent(format!("the objection to block {height} is damaged"));
                Ok(SignedVerdict {
                    key: XOnlyPublicKey::from_slice(&key).map_err(|_| damaged())?,
                    genesis: BlockHash::from_byte_array(genesis),
                    height,
                    block: BlockHash::from_byte_array(block),
                    verdict: Verdict::of_code(verdict).ok_or_else(damaged)?,
                    signature: schnorr::Signature::from_slice(&signature).map_err(|_| damaged())?,
                    reason,
                })
            })
            .collect()
    }

    /// Keeps an objection, durable on return; one of the same auditor that is kept already stays.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn keep(&mut self, objection: &SignedVerdict) -> Result<(), StoreError> {
        self.database.note(|transaction| {
            transaction
                .execute(
                    "INSERT OR IGNORE INTO objections (auditor, genesis, height, block, verdict, signature, reason)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                    params![
                        objection.key.serialize(),
                        objection.genesis.to_byte_array(),
                        objection.height,
                        objection.block.to_byte_array(),
                        objection.verdict.code(),
                        objection.signature.serialize(),
                        objection.reason
                    ],
                )
                .map(drop)
        })
    }

    /// Forgets the objection of an auditor; tells whether there was one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn dismiss(&mut self, auditor: &XOnlyPublicKey) -> Result<bool, StoreError> {
        self.database.note(|transaction| {
            let removed =
                transaction.execute("DELETE FROM objections WHERE auditor = ?1", params![auditor.serialize()])?;
            Ok(removed > 0)
        })
    }
}
