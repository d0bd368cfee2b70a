//! The books of the peg, and the state of the valve: both follow from the blocks, and are kept as they stand after each.
//!
//! The books are running totals: a block adds to those before it what it changes, so it costs the same however long the
//! history is. [`Snapshot::recount`] adds everything up again, to compare.

use aquifer_assets::peg::PegoutRequest;
use aquifer_assets::state::Effects;
use aquifer_federation::roster::Roster;
use aquifer_federation::treasury::{BatchKind, BatchPlan};
use aquifer_federation::valve::{Payment, Request, SavedValveError, Valve};
use elements::AssetId;
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};

use super::super::db::{StoreError, Write, failed, integer};
use super::peg::amount;
use super::read::Snapshot;
use super::write::LedgerStore;
use super::{NAME, NewBlock, outpoint_of};

const COLUMNS: &str = "pegged_in_sat, pegged_out_sat, burned_sat, waiting_sat, coins_sat, coins, in_flight_sat";

/// What came in, what left and what is there, in satoshi, after some block.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Books {
    /// All peg-ins claimed so far.
    pub pegged_in_sat: u64,
    /// All peg-outs requested so far.
    pub pegged_out_sat: u64,
    /// The pegged asset burned otherwise, in the open.
    pub burned_sat: u64,
    /// Requested, not yet in a batch.
    pub waiting_sat: u64,
    /// Coins held, with the change of batches.
    pub coins_sat: u64,
    /// Number of those coins.
    pub coins: u32,
    /// Coins spent by batches that this member did not know to be buried on Bitcoin. Members may differ in this alone.
    pub in_flight_sat: u64,
}

/// A peg-out that no batch has paid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingPegout {
    /// The request: output, amount and destination.
    pub request: PegoutRequest,
    /// Median time past of the block that made it, in seconds since 1970.
    pub requested_seconds: u64,
}

impl WaitingPegout {
    /// The request as the valve sees it; `None` if it asks for an output of no standard type.
    pub fn for_valve(&self) -> Option<Request> {
        Request::of(&self.request, self.requested_seconds)
    }
}

impl Books {
    /// The books after one block more. `in_flight_sat` stays for the store to say.
    pub fn after(&self, effects: &Effects, batch: Option<&BatchPlan>, pegged_asset: AssetId) -> Self {
        let mut books = *self;
        for claim in &effects.pegins {
            books.pegged_in_sat = books.pegged_in_sat.saturating_add(claim.amount_sat);
            books.coins_sat = books.coins_sat.saturating_add(claim.amount_sat);
            books.coins = books.coins.saturating_add(1);
        }
        for request in &effects.pegouts {
            books.pegged_out_sat = books.pegged_out_sat.saturating_add(request.amount_sat);
            books.waiting_sat = books.waiting_sat.saturating_add(request.amount_sat);
        }
        let burned_sat = effects.burned.get(&pegged_asset).copied().unwrap_or(0);
        books.burned_sat = books.burned_sat.saturating_add(burned_sat);
        // A replacement takes the place of a batch that is in the books: the same coins, the same requests, the same change.
        if let Some(batch) = batch.filter(|batch| batch.kind == BatchKind::Fresh) {
            let paid_sat = batch.paid.iter().fold(0u64, |sum, paid| sum.saturating_add(paid.amount_sat));
            let spent = u32::try_from(batch.inputs.len()).unwrap_or(u32::MAX);
            let change_sat = batch.change.iter().fold(0u64, |sum, change| sum.saturating_add(change.amount_sat));
            let change = u32::try_from(batch.change.len()).unwrap_or(u32::MAX);
            books.waiting_sat = books.waiting_sat.saturating_sub(paid_sat);
            books.coins_sat = books.coins_sat.saturating_sub(spent_sat(batch)).saturating_add(change_sat);
            books.coins = books.coins.saturating_sub(spent).saturating_add(change);
        }
        books
    }

    /// What the coins must cover: the pegged asset that is about, and the requests that wait.
    ///
    /// What was burned without a request still counts: it could be claimed by nobody, but is no reason to pay more. What
    /// left beyond all that ever came in was made from nothing, and is owed to those who were robbed of it: it closes the
    /// valve.
    pub fn owed_sat(&self) -> u64 {
        let about_sat = self.pegged_in_sat.saturating_sub(self.pegged_out_sat);
        let from_nothing_sat = self.pegged_out_sat.saturating_add(self.burned_sat).saturating_sub(self.pegged_in_sat);
        about_sat.saturating_add(self.waiting_sat).saturating_add(from_nothing_sat)
    }

    /// Coins held less what is owed: 0 when all is well, and negative when the reserve is short.
    pub fn difference_sat(&self) -> i64 {
        let difference = i128::from(self.coins_sat).saturating_sub(i128::from(self.owed_sat()));
        i64::try_from(difference).unwrap_or(if difference < 0 { i64::MIN } else { i64::MAX })
    }
}

/// The coins that a batch spends, in satoshi: what it pays, and its fee.
pub(super) fn spent_sat(batch: &BatchPlan) -> u64 {
    let outputs = batch.transaction.output.iter().fold(0u64, |sum, output| sum.saturating_add(output.value.to_sat()));
    outputs.saturating_add(batch.fee_sat)
}

fn latest(connection: &Connection) -> Result<Option<Books>, rusqlite::Error> {
    connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM books ORDER BY height DESC LIMIT 1"))?
        .query_row([], books_of_row)
        .optional()
}

fn books_of_row(row: &Row<'_>) -> Result<Books, rusqlite::Error> {
    Ok(Books {
        pegged_in_sat: amount(row.get(0)?),
        pegged_out_sat: amount(row.get(1)?),
        burned_sat: amount(row.get(2)?),
        waiting_sat: amount(row.get(3)?),
        coins_sat: amount(row.get(4)?),
        coins: row.get(5)?,
        in_flight_sat: amount(row.get(6)?),
    })
}

/// Writes the books after a block, what its batch pays, and the state of the valve.
pub(super) fn write_books(
    transaction: &Transaction<'_>,
    new: &NewBlock<'_>,
    pegged_asset: AssetId,
) -> Result<(), rusqlite::Error> {
    let books = latest(transaction)?.unwrap_or_default().after(new.effects, new.batch, pegged_asset);
    if let Some(batch) = new.batch {
        let mut insert = transaction
            .prepare_cached("INSERT INTO payments (height, txid, vout, amount_sat) VALUES (?1, ?2, ?3, ?4)")?;
        for paid in &batch.paid {
            let request = paid.request;
            let amount_sat = integer(paid.amount_sat);
            insert.execute(params![new.height, request.txid.to_byte_array(), request.vout, amount_sat])?;
        }
    }
    let in_flight_sat: i64 =
        transaction
            .query_row("SELECT COALESCE(SUM(spent_sat), 0) FROM batches WHERE outcome IS NULL", [], |row| row.get(0))?;
    transaction
        .prepare_cached(&format!("INSERT INTO books (height, {COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"))?
        .execute(params![
            new.height,
            integer(books.pegged_in_sat),
            integer(books.pegged_out_sat),
            integer(books.burned_sat),
            integer(books.waiting_sat),
            integer(books.coins_sat),
            books.coins,
            in_flight_sat
        ])?;
    match new.valve {
        Some(state) => write_valve(transaction, state),
        None => Ok(()),
    }
}

fn write_valve(transaction: &Transaction<'_>, state: &[u8]) -> Result<(), rusqlite::Error> {
    transaction.execute("INSERT OR REPLACE INTO valve (only, state) VALUES (0, ?1)", [state])?;
    Ok(())
}

impl LedgerStore {
    /// Replaces a state of the valve that could not be read by one that was made from the blocks again.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn replace_valve(&mut self, valve: &Valve) -> Result<(), StoreError> {
        let state = valve.save();
        self.database
            .write(Write::Block, |transaction| write_valve(transaction, &state).map_err(|error| failed(NAME, error)))
    }
}

impl Snapshot<'_> {
    /// The books after the last block.
    pub fn books(&self) -> Result<Books, StoreError> {
        self.query(|connection| Ok(latest(connection)?.unwrap_or_default()))
    }

    /// The books after the block at a height.
    pub fn books_at(&self, height: u32) -> Result<Option<Books>, StoreError> {
        self.query(|connection| {
            connection
                .prepare_cached(&format!("SELECT {COLUMNS} FROM books WHERE height = ?1"))?
                .query_row([height], books_of_row)
                .optional()
        })
    }

    /// The books after the last block, added up again from every coin and every request. Takes the longer the more there
    /// were.
    pub fn recount(&self) -> Result<Books, StoreError> {
        let books = self.books()?;
        self.query(|connection| {
            let sum = |query: &str| -> Result<u64, rusqlite::Error> {
                connection.query_row(query, [], |row| row.get(0)).map(amount)
            };
            Ok(Books {
                pegged_in_sat: sum("SELECT COALESCE(SUM(amount_sat), 0) FROM deposits")?,
                pegged_out_sat: sum("SELECT COALESCE(SUM(amount_sat), 0) FROM pegouts")?,
                waiting_sat: sum("SELECT COALESCE(SUM(amount_sat), 0) FROM pegouts WHERE batch_height IS NULL")?,
                coins_sat: sum("SELECT COALESCE(SUM(amount_sat), 0) FROM treasury
                                WHERE spent_height IS NULL AND booked_txid IS NULL")?,
                coins: u32::try_from(sum(
                    "SELECT COUNT(*) FROM treasury WHERE spent_height IS NULL AND booked_txid IS NULL",
                )?)
                .unwrap_or(u32::MAX),
                ..books
            })
        })
    }

    /// What the batch of the block at a height pays, in the order of the requests' names.
    pub fn payments(&self, height: u32) -> Result<Vec<Payment>, StoreError> {
        self.query(|connection| {
            connection
                .prepare_cached("SELECT txid, vout, amount_sat FROM payments WHERE height = ?1 ORDER BY txid, vout")?
                .query_map([height], |row| {
                    let request = outpoint_of(row.get(0)?, row.get(1)?);
                    Ok(Payment { request, amount_sat: amount(row.get(2)?) })
                })?
                .collect()
        })
    }

    /// The valve of a federation after the last block; the inner error says why what is kept of it cannot be used.
    pub fn valve(&self, roster: &Roster, chain: [u8; 32]) -> Result<Result<Valve, SavedValveError>, StoreError> {
        let saved: Option<Vec<u8>> = self.query(|connection| {
            connection.prepare_cached("SELECT state FROM valve")?.query_row([], |row| row.get(0)).optional()
        })?;
        let height = self.tip()?.height;
        let valve = match saved {
            Some(saved) => Valve::load(roster, chain, &saved),
            None => Ok(Valve::new(roster, chain)),
        };
        let other = |valve: &Valve| format!("it is of block {}, the last block is {height}", valve.height());
        Ok(valve.and_then(|valve| match valve.height() == height {
            true => Ok(valve),
            false => Err(SavedValveError::Damaged(other(&valve))),
        }))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use aquifer_assets::chain::ChainParams;

    use super::super::LedgerReader;
    use super::*;
    use crate::peg::{BuriedBatch, Outcome};
    use crate::store::OpenGate;

    fn books(pegged_in_sat: u64, pegged_out_sat: u64, burned_sat: u64, waiting_sat: u64, coins_sat: u64) -> Books {
        Books { pegged_in_sat, pegged_out_sat, burned_sat, waiting_sat, coins_sat, coins: 1, in_flight_sat: 0 }
    }

    #[test]
    fn what_is_owed_is_what_is_held_as_long_as_nothing_is_wrong() {
        for right in
            [books(0, 0, 0, 0, 0), books(100, 30, 0, 30, 100), books(100, 30, 20, 10, 80), books(100, 100, 0, 0, 0)]
        {
            assert_eq!(right.difference_sat(), 0, "{right:?}");
        }
        assert_eq!(books(100, 30, 0, 30, 99).difference_sat(), -1, "a coin is gone");
        // More left than came in: it was made from nothing, though the coins are still there.
        assert_eq!(books(100, 190, 0, 190, 100).difference_sat(), -180);
        assert_eq!(books(100, 60, 60, 60, 100).difference_sat(), -20);
        assert_eq!(books(0, u64::MAX, u64::MAX, u64::MAX, 0).difference_sat(), i64::MIN);
    }

    #[test]
    fn genesis_has_books_and_buried_batches_are_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.db");
        let mut store = LedgerStore::open(&path, &ChainParams::elements_default("books"), Arc::new(OpenGate)).unwrap();
        store
            .database
            .note(|transaction| {
                for height in [1, 2] {
                    transaction
                        .execute("INSERT INTO batches (height, family, spent_sat) VALUES (?1, ?1, 7)", [height])?;
                }
                Ok(())
            })
            .unwrap();
        let reader = LedgerReader::new(&path);
        assert_eq!(reader.snapshot().unwrap().books_at(0).unwrap(), Some(Books::default()));
        assert_eq!(reader.snapshot().unwrap().books_at(1).unwrap(), None);
        let buried = [1, 3].map(|height| BuriedBatch { height, outcome: Outcome::Confirmed });
        store.bury_batches(&buried).unwrap();
        assert!(!reader.snapshot().unwrap().is_open_batch(1).unwrap());
        assert!(reader.snapshot().unwrap().is_open_batch(2).unwrap());
        assert_eq!(reader.snapshot().unwrap().siblings(1).unwrap(), (vec![1], Some(1)));
        store.reopen_batches().unwrap();
        assert!(reader.snapshot().unwrap().is_open_batch(1).unwrap());
        assert_eq!(reader.snapshot().unwrap().siblings(1).unwrap(), (vec![1], None));
    }
}
