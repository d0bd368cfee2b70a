//! One state of the index, and the questions that it answers.

use std::sync::Arc;

use aquifer_assets::primitives::TxOut;
use aquifer_assets::state::ChainView as _;
use elements::{AssetId, BlockHash, OutPoint, Txid};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::facts::AssetTotals;
use super::read::IndexReader;
use super::waiting::Waiting;
use super::write::totals_of;
use super::{FinalTx, NAME, ScriptHash};
use crate::store::StoreError;
use crate::store::db::{failed, integer, unsigned};
use crate::store::ledger::Snapshot;

/// Which end of a history comes first.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// The first block first.
    OldestFirst,
    /// The last block first.
    NewestFirst,
}

/// Counts over the final transactions of a script.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct ScriptCounts {
    /// Transactions that pay it or spend from it.
    pub transactions: u64,
    /// Outputs that pay it.
    pub funded: u64,
    /// Of those, spent ones.
    pub spent: u64,
}

/// Where a transaction touches a script.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TouchPlace {
    /// This output pays it.
    Output(u32),
    /// This input spends from it.
    Input(u32),
}

/// A final transaction that pays a script or spends from it, and where.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Touch {
    /// The transaction.
    pub transaction: FinalTx,
    /// The output or input.
    pub place: TouchPlace,
}

/// An unspent output of a final transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unspent {
    /// The transaction that makes it.
    pub transaction: FinalTx,
    /// Its index there.
    pub vout: u32,
    /// The output, without its proofs.
    pub output: TxOut,
}

/// The input that spends an output.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Spender {
    /// The final transaction.
    pub transaction: FinalTx,
    /// The input.
    pub vin: u32,
}

/// One state of the index: final blocks up to [`IndexView::tip`], and what waits beside them ([`IndexView::waiting`]).
/// The methods speak of final transactions only; nothing here combines the two.
pub struct IndexView<'a> {
    /// `Some` until the view is dropped.
    connection: Option<Connection>,
    reader: &'a IndexReader,
    ledger: Snapshot<'a>,
    waiting: Arc<Waiting>,
    tip: (u32, BlockHash),
}

impl Drop for IndexView<'_> {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take()
            && connection.execute_batch("COMMIT").is_ok()
        {
            self.reader.give_back(connection);
        }
    }
}

fn inconsistent(reason: impl Into<String>) -> StoreError {
    StoreError::Inconsistent { file: NAME.into(), reason: reason.into() }
}

impl<'a> IndexView<'a> {
    pub(super) fn new(
        reader: &'a IndexReader,
        connection: Connection,
        ledger: Snapshot<'a>,
        waiting: Arc<Waiting>,
        tip: (u32, BlockHash),
    ) -> Self {
        Self { connection: Some(connection), reader, ledger, waiting, tip }
    }

    fn query<T>(&self, work: impl FnOnce(&Connection) -> Result<T, rusqlite::Error>) -> Result<T, StoreError> {
        let connection = self.connection.as_ref().ok_or_else(|| inconsistent("the view is closed"))?;
        work(connection).map_err(|error| failed(NAME, error))
    }

    /// The last block, by height and hash.
    pub fn tip(&self) -> (u32, BlockHash) {
        self.tip
    }

    /// The number of the state that is seen: views with the same number give the same answers. Another run of the member
    /// begins with 0 again.
    pub fn state(&self) -> u64 {
        self.waiting.state()
    }

    /// The ledger, for what it answers by itself. It may have a block or two more than this view.
    pub fn ledger(&self) -> &Snapshot<'a> {
        &self.ledger
    }

    /// What waits for a block.
    pub fn waiting(&self) -> &Waiting {
        &self.waiting
    }

    /// Where a final transaction stands; `None` if it is in no block of this view.
    pub fn place(&self, txid: &Txid) -> Result<Option<FinalTx>, StoreError> {
        let place = self.ledger.place(txid)?.filter(|place| place.height <= self.tip.0);
        Ok(place.map(|place| FinalTx { txid: *txid, height: place.height, position: place.position }))
    }

    /// The number of a final transaction.
    fn number(&self, txid: &Txid) -> Result<Option<u64>, StoreError> {
        let Some(place) = self.place(txid)? else { return Ok(None) };
        let first: Option<u64> = self.query(|connection| {
            connection
                .prepare_cached("SELECT first FROM blocks WHERE height = ?1")?
                .query_row([place.height], |row| unsigned(row, 0))
                .optional()
        })?;
        Ok(first.map(|first| first.saturating_add(place.position.into())))
    }

    /// A final transaction with its place, as Elements serializes it, with witness.
    pub fn transaction(&self, txid: &Txid) -> Result<Option<(FinalTx, Vec<u8>)>, StoreError> {
        let (Some(place), Some(number)) = (self.place(txid)?, self.number(txid)?) else { return Ok(None) };
        let (start, size) = self.query(|connection| {
            connection
                .prepare_cached("SELECT start, size FROM transactions WHERE number = ?1")?
                .query_row([integer(number)], |row| Ok((unsigned(row, 0)?, unsigned(row, 1)?)))
        })?;
        let bytes = self.ledger.block_part(place.height, start, size)?;
        let bytes = bytes.ok_or_else(|| inconsistent(format!("{txid} is not where it should be in its block")))?;
        Ok(Some((place, bytes)))
    }

    /// Ids of the transactions of a block, in order; empty above the tip.
    pub fn txids(&self, height: u32) -> Result<Vec<Txid>, StoreError> {
        self.query(|connection| {
            connection
                .prepare_cached(
                    "SELECT txid FROM transactions
                     WHERE number >= (SELECT first FROM blocks WHERE height = ?1)
                       AND number < COALESCE((SELECT first FROM blocks WHERE height = ?1 + 1), 9223372036854775807)
                     ORDER BY number",
                )?
                .query_map([height], |row| Ok(Txid::from_byte_array(row.get(0)?)))?
                .collect()
        })
    }

    /// Hashes of the blocks from genesis to `last`, or to the tip.
    pub fn hashes(&self, last: u32) -> Result<Vec<BlockHash>, StoreError> {
        self.query(|connection| {
            connection
                .prepare_cached("SELECT hash FROM blocks WHERE height <= ?1 ORDER BY height")?
                .query_map([last], |row| Ok(BlockHash::from_byte_array(row.get(0)?)))?
                .collect()
        })
    }

    /// Counts over the final transactions of a script.
    pub fn counts(&self, script: &ScriptHash) -> Result<ScriptCounts, StoreError> {
        let counts = self.query(|connection| {
            connection
                .prepare_cached("SELECT transactions, funded, spent FROM scripts WHERE hash = ?1")?
                .query_row([script.to_byte_array()], |row| {
                    Ok(ScriptCounts {
                        transactions: unsigned(row, 0)?,
                        funded: unsigned(row, 1)?,
                        spent: unsigned(row, 2)?,
                    })
                })
                .optional()
        })?;
        Ok(counts.unwrap_or_default())
    }

    /// At most `limit` final transactions that pay a script or spend from it; with `after`, those that come after that
    /// transaction in this order, and none if it is not final.
    pub fn history(
        &self,
        script: &ScriptHash,
        order: Order,
        after: Option<&Txid>,
        limit: usize,
    ) -> Result<Vec<FinalTx>, StoreError> {
        const OLDEST: &str = "
            SELECT txid, height, number - first AS position FROM
                (SELECT DISTINCT number FROM touches
                 WHERE script = (SELECT id FROM scripts WHERE hash = ?1) AND number > ?2
                 ORDER BY number LIMIT ?3)
                JOIN transactions USING (number) JOIN blocks USING (height)
            ORDER BY number";
        const NEWEST: &str = "
            SELECT txid, height, number - first AS position FROM
                (SELECT DISTINCT number FROM touches
                 WHERE script = (SELECT id FROM scripts WHERE hash = ?1) AND number < ?2
                 ORDER BY number DESC LIMIT ?3)
                JOIN transactions USING (number) JOIN blocks USING (height)
            ORDER BY number DESC";
        self.page([OLDEST, NEWEST], &script.to_byte_array(), order, after, limit)
    }

    /// At most `limit` final transactions that change the supply of an asset: issuances and burns; for the pegged asset
    /// peg-ins, peg-outs and burns. With `after` as in [`IndexView::history`].
    pub fn asset_history(
        &self,
        asset: &AssetId,
        order: Order,
        after: Option<&Txid>,
        limit: usize,
    ) -> Result<Vec<FinalTx>, StoreError> {
        const OLDEST: &str = "
            SELECT txid, height, number - first AS position
            FROM asset_transactions JOIN transactions USING (number) JOIN blocks USING (height)
            WHERE asset = (SELECT id FROM assets WHERE asset = ?1) AND number > ?2
            ORDER BY number LIMIT ?3";
        const NEWEST: &str = "
            SELECT txid, height, number - first AS position
            FROM asset_transactions JOIN transactions USING (number) JOIN blocks USING (height)
            WHERE asset = (SELECT id FROM assets WHERE asset = ?1) AND number < ?2
            ORDER BY number DESC LIMIT ?3";
        self.page([OLDEST, NEWEST], &asset.to_byte_array(), order, after, limit)
    }

    fn page(
        &self,
        [oldest, newest]: [&'static str; 2],
        of: &[u8; 32],
        order: Order,
        after: Option<&Txid>,
        limit: usize,
    ) -> Result<Vec<FinalTx>, StoreError> {
        let (query, end) = match order {
            Order::OldestFirst => (oldest, -1),
            Order::NewestFirst => (newest, i64::MAX),
        };
        let after = match after {
            None => end,
            Some(txid) => match self.number(txid)? {
                Some(number) => integer(number),
                None => return Ok(Vec::new()),
            },
        };
        self.query(|connection| {
            connection.prepare_cached(query)?.query_map(params![of, after, integer(limit)], final_tx)?.collect()
        })
    }

    /// Where final transactions pay a script and where they spend from it, oldest first, from block `from_height` on; at
    /// most `limit`, and then all of the last transaction that is begun.
    pub fn touches(&self, script: &ScriptHash, from_height: u32, limit: usize) -> Result<Vec<Touch>, StoreError> {
        self.query(|connection| {
            let mut query = connection.prepare_cached(
                "SELECT txid, height, number - first, place
                 FROM touches JOIN transactions USING (number) JOIN blocks USING (height)
                 WHERE script = (SELECT id FROM scripts WHERE hash = ?1)
                   AND number >= COALESCE((SELECT first FROM blocks WHERE height = ?2), 9223372036854775807)
                 ORDER BY number, place",
            )?;
            let mut rows = query.query(params![script.to_byte_array(), from_height])?;
            let mut touches: Vec<Touch> = Vec::new();
            while let Some(row) = rows.next()? {
                let transaction = final_tx(row)?;
                if touches.len() >= limit && touches.last().is_some_and(|last| last.transaction != transaction) {
                    break;
                }
                touches.push(Touch { transaction, place: place_of(row.get(3)?) });
            }
            Ok(touches)
        })
    }

    /// At most `limit` unspent outputs of final transactions that pay a script, oldest first.
    pub fn unspent(&self, script: &ScriptHash, limit: usize) -> Result<Vec<Unspent>, StoreError> {
        let rows: Vec<(FinalTx, u32)> = self.query(|connection| {
            connection
                .prepare_cached(
                    "SELECT txid, height, transactions.number - first, place
                     FROM touches JOIN outputs ON outputs.number = touches.number AND outputs.vout = touches.place
                         JOIN transactions ON transactions.number = touches.number JOIN blocks USING (height)
                     WHERE touches.script = (SELECT id FROM scripts WHERE hash = ?1) AND spender IS NULL
                     ORDER BY touches.number, place LIMIT ?2",
                )?
                .query_map(params![script.to_byte_array(), integer(limit)], |row| Ok((final_tx(row)?, row.get(3)?)))?
                .collect()
        })?;
        let mut unspent = Vec::with_capacity(rows.len());
        for (transaction, vout) in rows {
            let outpoint = OutPoint::new(transaction.txid, vout);
            let coin = self.ledger.coin(&outpoint).map_err(|error| inconsistent(error.to_string()))?;
            // What is not there is spent by a block after this view's last one.
            unspent.extend(coin.map(|coin| Unspent { transaction, vout, output: coin.output }));
        }
        Ok(unspent)
    }

    /// The input of a final transaction that spends an output.
    pub fn spender(&self, outpoint: &OutPoint) -> Result<Option<Spender>, StoreError> {
        let Some(number) = self.number(&outpoint.txid)? else { return Ok(None) };
        self.query(|connection| {
            connection
                .prepare_cached(
                    "SELECT txid, height, spender - first, vin
                     FROM outputs JOIN transactions ON transactions.number = outputs.spender JOIN blocks USING (height)
                     WHERE outputs.number = ?1 AND vout = ?2",
                )?
                .query_row(params![integer(number), outpoint.vout], |row| {
                    Ok(Spender { transaction: final_tx(row)?, vin: row.get(3)? })
                })
                .optional()
        })
    }

    /// The inputs that spend the outputs of a final transaction, by output; those of unspent outputs are left out.
    pub fn spenders(&self, txid: &Txid) -> Result<Vec<(u32, Spender)>, StoreError> {
        let Some(number) = self.number(txid)? else { return Ok(Vec::new()) };
        self.query(|connection| {
            connection
                .prepare_cached(
                    "SELECT txid, height, spender - first, vin, vout
                     FROM outputs JOIN transactions ON transactions.number = outputs.spender JOIN blocks USING (height)
                     WHERE outputs.number = ?1 ORDER BY vout",
                )?
                .query_map([integer(number)], |row| {
                    Ok((row.get(4)?, Spender { transaction: final_tx(row)?, vin: row.get(3)? }))
                })?
                .collect()
        })
    }

    /// At most `limit` assets in the order of their first appearance, from number `skip` on. Reissuance tokens have the
    /// asset beside them that they belong to. How assets came to be says the ledger
    /// ([`Snapshot::issuance`](crate::store::ledger::Snapshot::issuance)).
    pub fn assets(&self, skip: usize, limit: usize) -> Result<Vec<(AssetId, Option<AssetId>)>, StoreError> {
        self.query(|connection| {
            connection
                .prepare_cached(
                    "SELECT assets.asset, parents.asset FROM assets LEFT JOIN assets AS parents ON parents.id = assets.token_of
                     ORDER BY assets.id LIMIT ?2 OFFSET ?1",
                )?
                .query_map([integer(skip), integer(limit)], |row| {
                    let of: Option<[u8; 32]> = row.get(1)?;
                    Ok((AssetId::from_byte_array(row.get(0)?), of.map(AssetId::from_byte_array)))
                })?
                .collect()
        })
    }

    /// Sums over the final transactions of an asset; `None` if none has changed its supply.
    pub fn asset_totals(&self, asset: &AssetId) -> Result<Option<AssetTotals>, StoreError> {
        self.query(|connection| {
            connection
                .prepare_cached("SELECT * FROM assets WHERE asset = ?1")?
                .query_row([asset.to_byte_array()], totals_of)
                .optional()
        })
    }
}

fn final_tx(row: &Row<'_>) -> Result<FinalTx, rusqlite::Error> {
    Ok(FinalTx { txid: Txid::from_byte_array(row.get(0)?), height: row.get(1)?, position: row.get(2)? })
}

/// What `place` in `touches` means.
fn place_of(place: i64) -> TouchPlace {
    let number = |value: i64| u32::try_from(value).unwrap_or(u32::MAX);
    if place < 0 { TouchPlace::Input(number((-1i64).saturating_sub(place))) } else { TouchPlace::Output(number(place)) }
}
