//! Reading the ledger.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use aquifer_assets::primitives::{TxOut, decode_header};
use aquifer_assets::state::{ChainView, Coin, DynafedEntries, ViewError};
use elements::{BlockHash, OutPoint, Script, Txid};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::super::db::{StoreError, failed, integer, open_reader};
use super::write::script_hash;
use super::{NAME, StoredBlock, Tip, TransactionPlace};

/// Spare connections kept for reuse.
const SPARE_CONNECTIONS: usize = 8;

/// Opens snapshots of the ledger. Cheap to share; connections are pooled.
pub struct LedgerReader {
    path: PathBuf,
    spare: Mutex<Vec<Connection>>,
}

/// One state of the chain, whatever is written meanwhile.
pub struct Snapshot<'a> {
    /// `Some` until the snapshot is dropped.
    pub(super) connection: Option<Connection>,
    pool: &'a LedgerReader,
}

impl LedgerReader {
    /// A reader of a file that [`super::LedgerStore::open`] has made.
    pub fn new(path: &Path) -> Self {
        LedgerReader { path: path.to_owned(), spare: Mutex::new(Vec::new()) }
    }

    fn spare(&self) -> MutexGuard<'_, Vec<Connection>> {
        // A list of idle connections cannot be left half-changed by a panic elsewhere.
        self.spare.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The state as it is now.
    pub fn snapshot(&self) -> Result<Snapshot<'_>, StoreError> {
        let spare = self.spare().pop();
        let open = || -> Result<Connection, rusqlite::Error> {
            let connection = match spare {
                Some(connection) => connection,
                None => open_reader(&self.path)?,
            };
            connection.execute_batch("BEGIN DEFERRED")?;
            Ok(connection)
        };
        let connection = open().map_err(|error| failed(NAME, error))?;
        Ok(Snapshot { connection: Some(connection), pool: self })
    }
}

impl Drop for Snapshot<'_> {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take()
            && connection.execute_batch("COMMIT").is_ok()
        {
            let mut spare = self.pool.spare();
            if spare.len() < SPARE_CONNECTIONS {
                spare.push(connection);
            }
        }
    }
}

fn damaged(what: impl std::fmt::Display) -> StoreError {
    StoreError::Inconsistent { file: NAME.into(), reason: what.to_string() }
}

/// An unspent output as it is kept: txid, vout, height, whether a coinbase made it, and its bytes.
type CoinRow = ([u8; 32], u32, u32, bool, Vec<u8>);

impl Snapshot<'_> {
    /// Runs a query on the snapshot's connection.
    pub(super) fn query<T>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, rusqlite::Error>,
    ) -> Result<T, StoreError> {
        let connection = self.connection.as_ref().ok_or_else(|| damaged("the snapshot is closed"))?;
        work(connection).map_err(|error| failed(NAME, error))
    }

    /// The last final block.
    pub fn tip(&self) -> Result<Tip, StoreError> {
        self.query(|connection| {
            connection
                .prepare_cached("SELECT height, hash, time, median_time_past FROM blocks ORDER BY height DESC LIMIT 1")?
                .query_row([], tip_of_row)
        })
    }

    /// Times of the latest `count` blocks, in seconds since 1970.
    pub fn latest_times(&self, count: u32) -> Result<Vec<u32>, StoreError> {
        self.query(|connection| {
            connection
                .prepare_cached("SELECT time FROM blocks ORDER BY height DESC LIMIT ?1")?
                .query_map([count], |row| row.get(0))?
                .collect()
        })
    }

    /// A final block by height.
    pub fn block(&self, height: u32) -> Result<Option<StoredBlock>, StoreError> {
        self.query(|connection| {
            connection
                .prepare_cached(
                    "SELECT height, hash, header, certificate, batch, size, weight, block FROM blocks WHERE height = ?1",
                )?
                .query_row([height], |row| Ok(StoredBlock { block: row.get(7)?, ..stored_header(row)? }))
                .optional()
        })
    }

    /// `size` bytes of a final block from `start` on; `None` if it does not have them.
    pub fn block_part(&self, height: u32, start: u64, size: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let part: Option<Vec<u8>> = self.query(|connection| {
            connection
                .prepare_cached("SELECT substr(block, ?2 + 1, ?3) FROM blocks WHERE height = ?1")?
                .query_row(params![height, integer(start), integer(size)], |row| row.get(0))
                .optional()
        })?;
        Ok(part.filter(|part| u64::try_from(part.len()) == Ok(size)))
    }

    /// A final block's header and certificate; the block itself is left empty.
    pub fn header(&self, height: u32) -> Result<Option<StoredBlock>, StoreError> {
        self.query(|connection| {
            connection
                .prepare_cached(
                    "SELECT height, hash, header, certificate, batch, size, weight FROM blocks WHERE height = ?1",
                )?
                .query_row([height], stored_header)
                .optional()
        })
    }

    /// Height of the final block with this hash.
    pub fn height_of(&self, hash: &BlockHash) -> Result<Option<u32>, StoreError> {
        self.query(|connection| {
            connection
                .prepare_cached("SELECT height FROM blocks WHERE hash = ?1")?
                .query_row([hash.to_byte_array()], |row| row.get(0))
                .optional()
        })
    }

    /// Where the chain stood when the block at this height was its last.
    pub fn tip_at(&self, height: u32) -> Result<Option<Tip>, StoreError> {
        self.query(|connection| {
            connection
                .prepare_cached("SELECT height, hash, time, median_time_past FROM blocks WHERE height = ?1")?
                .query_row([height], tip_of_row)
                .optional()
        })
    }

    /// Headers with witness from a height on, at most `count`, as Elements serializes them, with the hash of each.
    pub fn headers_from(&self, height: u32, count: u32) -> Result<Vec<(BlockHash, Vec<u8>)>, StoreError> {
        self.query(|connection| {
            connection
                .prepare_cached("SELECT hash, header FROM blocks WHERE height >= ?1 ORDER BY height LIMIT ?2")?
                .query_map([height, count], |row| Ok((BlockHash::from_byte_array(row.get(0)?), row.get(1)?)))?
                .collect()
        })
    }

    /// Ids of a block's transactions, in order.
    pub fn txids(&self, height: u32) -> Result<Vec<Txid>, StoreError> {
        self.query(|connection| {
            connection
                .prepare_cached("SELECT txid FROM transactions WHERE height = ?1 ORDER BY position")?
                .query_map([height], |row| Ok(Txid::from_byte_array(row.get(0)?)))?
                .collect()
        })
    }

    /// Where a transaction stands.
    pub fn place(&self, txid: &Txid) -> Result<Option<TransactionPlace>, StoreError> {
        self.query(|connection| {
            connection
                .prepare_cached("SELECT height, position FROM transactions WHERE txid = ?1")?
                .query_row([txid.to_byte_array()], |row| {
                    Ok(TransactionPlace { height: row.get(0)?, position: row.get(1)? })
                })
                .optional()
        })
    }

    /// The transactions that pay to or spend from a script, as (height, txid), oldest first.
    pub fn script_history(&self, script: &Script) -> Result<Vec<(u32, Txid)>, StoreError> {
        self.query(|connection| {
            connection
                .prepare_cached("SELECT height, txid FROM history WHERE script_hash = ?1 ORDER BY height")?
                .query_map([script_hash(script)], |row| Ok((row.get(0)?, Txid::from_byte_array(row.get(1)?))))?
                .collect()
        })
    }

    fn find_coin(&self, outpoint: &OutPoint) -> Result<Option<Coin>, StoreError> {
        let row: Option<(u32, bool, Vec<u8>)> = self.query(|connection| {
            connection
                .prepare_cached("SELECT height, is_coinbase, output FROM coins WHERE txid = ?1 AND vout = ?2")?
                .query_row(params![outpoint.txid.to_byte_array(), outpoint.vout], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
                })
                .optional()
        })?;
        row.map(|(height, is_coinbase, output)| {
            let output = TxOut::decode(output).map_err(|error| damaged(format!("the coin {outpoint}: {error}")))?;
            Ok(Coin { output, height, is_coinbase })
        })
        .transpose()
    }

    /// The unspent outputs of a script that can be spent.
    pub fn coins_of(&self, script: &Script) -> Result<Vec<(OutPoint, Coin)>, StoreError> {
        let rows: Vec<CoinRow> = self.query(|connection| {
            connection
                .prepare_cached(
                    "SELECT DISTINCT coins.txid, vout, coins.height, is_coinbase, output
                     FROM history JOIN coins ON coins.txid = history.txid WHERE script_hash = ?1",
                )?
                .query_map([script_hash(script)], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?))
                })?
                .collect()
        })?;
        let mut coins = Vec::new();
        for (txid, vout, height, is_coinbase, output) in rows {
            let outpoint = OutPoint::new(Txid::from_byte_array(txid), vout);
            let output = TxOut::decode(output).map_err(|error| damaged(format!("the coin {outpoint}: {error}")))?;
            if output.script_pubkey == *script {
                coins.push((outpoint, Coin { output, height, is_coinbase }));
            }
        }
        Ok(coins)
    }

    /// Size of the ledger on the disk, in bytes, without what is not merged yet.
    pub fn file_size(&self) -> Result<u64, StoreError> {
        let pragma = |name: &str| -> Result<u64, StoreError> {
            let value: i64 = self.query(|connection| connection.pragma_query_value(None, name, |row| row.get(0)))?;
            Ok(u64::try_from(value).unwrap_or(0))
        };
        Ok(pragma("page_count")?.saturating_mul(pragma("page_size")?))
    }

    /// Number of unspent outputs.
    pub fn coin_count(&self) -> Result<u64, StoreError> {
        let count: i64 =
            self.query(|connection| connection.query_row("SELECT COUNT(*) FROM coins", [], |row| row.get(0)))?;
        Ok(u64::try_from(count).unwrap_or(0))
    }
}

fn tip_of_row(row: &Row<'_>) -> Result<Tip, rusqlite::Error> {
    Ok(Tip {
        height: row.get(0)?,
        hash: BlockHash::from_byte_array(row.get(1)?),
        time: row.get(2)?,
        median_time_past: row.get(3)?,
    })
}

fn stored_header(row: &Row<'_>) -> Result<StoredBlock, rusqlite::Error> {
    Ok(StoredBlock {
        height: row.get(0)?,
        hash: BlockHash::from_byte_array(row.get(1)?),
        header: row.get(2)?,
        certificate: row.get(3)?,
        batch: row.get(4)?,
        size: row.get(5)?,
        weight: row.get(6)?,
        block: Vec::new(),
    })
}

fn unreadable(error: StoreError) -> ViewError {
    ViewError(error.to_string())
}

impl ChainView for Snapshot<'_> {
    fn coin(&self, outpoint: &OutPoint) -> Result<Option<Coin>, ViewError> {
        self.find_coin(outpoint).map_err(unreadable)
    }

    fn is_claimed(&self, deposit: &bitcoin::OutPoint) -> Result<bool, ViewError> {
        self.claim_of(deposit).map(|claim| claim.is_some()).map_err(unreadable)
    }

    fn median_time_past(&self, height: u32) -> Result<u32, ViewError> {
        self.query(|connection| {
            connection
                .prepare_cached("SELECT median_time_past FROM blocks WHERE height = ?1")?
                .query_row([height], |row| row.get(0))
        })
        .map_err(unreadable)
    }

    fn has_unspent_outputs(&self, txid: &Txid) -> Result<bool, ViewError> {
        self.query(|connection| {
            connection
                .prepare_cached("SELECT EXISTS (SELECT 1 FROM coins WHERE txid = ?1)")?
                .query_row([txid.to_byte_array()], |row| row.get(0))
        })
        .map_err(unreadable)
    }

    fn dynafed(&self, height: u32) -> Result<DynafedEntries, ViewError> {
        let header: Vec<u8> = self
            .query(|connection| {
                connection
                    .prepare_cached("SELECT header FROM blocks WHERE height = ?1")?
                    .query_row([height], |row| row.get(0))
            })
            .map_err(unreadable)?;
        let header =
            decode_header(header).map_err(|error| ViewError(format!("the header at height {height}: {error}")))?;
        Ok(DynafedEntries::of(&header))
    }
}
