//! Batches that may still need signatures, or to be handed to Bitcoin again: those not known to be buried there.

use rusqlite::params;

use super::super::db::StoreError;
use super::read::Snapshot;
use super::write::LedgerStore;
use crate::peg::{BuriedBatch, Outcome};

impl LedgerStore {
    /// These batches lie so deep on Bitcoin that nobody looks at them again, or others do in their place.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn bury_batches(&mut self, buried: &[BuriedBatch]) -> Result<(), StoreError> {
        self.database.note(|transaction| {
            let mut delete = transaction.prepare_cached("DELETE FROM open_batches WHERE height = ?1")?;
            let mut confirm = transaction.prepare_cached("UPDATE batches SET is_buried = 1 WHERE height = ?1")?;
            for batch in buried {
                delete.execute(params![batch.height])?;
                if batch.outcome == Outcome::Confirmed {
                    confirm.execute(params![batch.height])?;
                }
            }
            Ok(())
        })
    }
}

impl Snapshot<'_> {
    /// The unsigned Bitcoin transactions of batches that are not known to be buried, as (height, family, encoded transaction),
    /// oldest first.
    pub fn open_batches(&self) -> Result<Vec<(u32, u32, Vec<u8>)>, StoreError> {
        self.query(|connection| {
            connection
                .prepare_cached(
                    "SELECT height, family, batch FROM open_batches JOIN blocks USING (height) JOIN batches USING (height)
                     WHERE batch IS NOT NULL ORDER BY height",
                )?
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
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
