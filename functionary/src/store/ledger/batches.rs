//! Batches that may still need signatures, or to be handed to Bitcoin again: those not known to be buried there.

use rusqlite::params;

use super::super::db::StoreError;
use super::read::Snapshot;
use super::write::LedgerStore;
use crate::peg::{BuriedBatch, Outcome};

/// So many families are looked at again when something is wrong: more than any reorganisation takes back, and few enough to
/// ask for.
const REOPENED_FAMILIES: u32 = 200;

impl LedgerStore {
    /// These batches lie so deep on Bitcoin that nobody looks at them again, or others do in their place.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn bury_batches(&mut self, buried: &[BuriedBatch]) -> Result<(), StoreError> {
        self.database.note(|transaction| {
            let mut bury = transaction.prepare_cached("UPDATE batches SET outcome = ?2 WHERE height = ?1")?;
            for batch in buried {
                bury.execute(params![batch.height, batch.outcome == Outcome::Confirmed])?;
            }
            Ok(())
        })
    }

    /// The latest families are looked at again: something is wrong on Bitcoin. Those that are buried all the same are buried
    /// again when they have been seen there.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn reopen_batches(&mut self) -> Result<(), StoreError> {
        self.database.note(|transaction| {
            let reopen = "UPDATE batches SET outcome = NULL WHERE family IN
                              (SELECT DISTINCT family FROM batches ORDER BY family DESC LIMIT ?1)";
            transaction.execute(reopen, [REOPENED_FAMILIES]).map(drop)
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
                    "SELECT height, family, batch FROM batches JOIN blocks USING (height)
                     WHERE outcome IS NULL AND batch IS NOT NULL ORDER BY height",
                )?
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
                .collect()
        })
    }

    /// Whether the batch of the block at a height is one of them.
    pub fn is_open_batch(&self, height: u32) -> Result<bool, StoreError> {
        self.query(|connection| {
            connection
                .prepare_cached("SELECT EXISTS (SELECT 1 FROM batches WHERE height = ?1 AND outcome IS NULL)")?
                .query_row([height], |row| row.get(0))
        })
    }
}
