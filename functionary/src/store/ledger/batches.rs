//! Batches that may still need signatures, or to be handed to Bitcoin again: those not known to be buried there.

use rusqlite::params;

use super::super::db::StoreError;
use super::read::Snapshot;
use super::write::LedgerStore;

impl LedgerStore {
    /// The batches of these blocks lie so deep on Bitcoin that nobody looks at them again.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn bury_batches(&mut self, heights: &[u32]) -> Result<(), StoreError> {
        self.database.note(|transaction| {
            let mut delete = transaction.prepare_cached("DELETE FROM open_batches WHERE height = ?1")?;
            for height in heights {
                delete.execute(params![height])?;
            }
            Ok(())
        })
    }
}

impl Snapshot<'_> {
    /// The unsigned Bitcoin transactions of batches that are not known to be buried, as (height, encoded transaction), oldest
    /// first.
    pub fn open_batches(&self) -> Result<Vec<(u32, Vec<u8>)>, StoreError> {
        self.query(|connection| {
            connection
                .prepare_cached(
                    "SELECT height, batch FROM open_batches JOIN blocks USING (height)
                     WHERE batch IS NOT NULL ORDER BY height",
                )?
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        })
    }

    /// Whether the batch of the block at a height is one of them.
    pub fn is_open_batch(&self, height: u32) -> Result<bool, StoreError> {
        self.query(|connection| {
            connection
                .prepare_cached("SELECT EXISTS (SELECT 1 FROM open_batches WHERE height = ?1)")?
                .query_row([height], |row| row.get(0))
        })
    }
}
