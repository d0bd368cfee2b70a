//! Verified headers and transactions on disk.
//!
//! Only what passed [`super::verify`] gets in. Losing the file loses time, nothing else.

use std::path::Path;

use elements::encode::{deserialize, serialize};
use elements::{BlockHash, Script, Transaction, Txid};
use rusqlite::{OptionalExtension, params};

use super::verify::VerifiedHeader;
use crate::store::{Database, Durability, StoreError};

const MIGRATIONS: &[&str] = &["
    CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
    CREATE TABLE headers (height INTEGER PRIMARY KEY, hash BLOB NOT NULL, header BLOB NOT NULL) STRICT;
    CREATE TABLE transactions (
        txid BLOB PRIMARY KEY,
        height INTEGER NOT NULL REFERENCES headers (height),
        content BLOB NOT NULL
    ) STRICT;
    CREATE TABLE histories (
        script BLOB NOT NULL,
        txid BLOB NOT NULL REFERENCES transactions (txid),
        PRIMARY KEY (script, txid)
    ) STRICT;
"];

/// The cache of one chain.
#[derive(Debug)]
pub struct ChainCache(Database);

impl ChainCache {
    /// Opens or makes the cache of the chain with this genesis block.
    pub fn open(path: &Path, genesis: &BlockHash) -> Result<Self, StoreError> {
        let database = Database::open(path, Durability::Cache, MIGRATIONS)?;
        database.bind_to_chain(genesis)?;
        Ok(Self(database))
    }

    /// The highest verified height.
    pub fn highest(&self) -> Result<Option<u32>, StoreError> {
        self.0
            .connection
            .query_row("SELECT max(height) FROM headers", [], |row| row.get(0))
            .map_err(|error| self.0.wrap(error))
    }

    /// The verified header at a height.
    pub fn header(&self, height: u32) -> Result<Option<VerifiedHeader>, StoreError> {
        let bytes: Option<Vec<u8>> = self
            .0
            .connection
            .query_row("SELECT header FROM headers WHERE height = ?1", [height], |row| row.get(0))
            .optional()
            .map_err(|error| self.0.wrap(error))?;
        let Some(bytes) = bytes else { return Ok(None) };
        let header: elements::BlockHeader =
            deserialize(&bytes).map_err(|error| self.0.damaged(format!("header {height}: {error}")))?;
        let hash = header.block_hash();
        Ok(Some(VerifiedHeader { header, hash }))
    }

    /// Keeps a verified header. Returns the hash of a different one that is known at this height, and then keeps that.
    pub fn put_header(&self, verified: &VerifiedHeader) -> Result<Option<BlockHash>, StoreError> {
        self.0
            .connection
            .execute(
                "INSERT OR IGNORE INTO headers (height, hash, header) VALUES (?1, ?2, ?3)",
                params![verified.height(), verified.hash.to_byte_array(), serialize(&verified.header)],
            )
            .map_err(|error| self.0.wrap(error))?;
        let known = self.header(verified.height())?.map(|header| header.hash);
        Ok(known.filter(|hash| *hash != verified.hash))
    }

    /// The height at which a transaction is proven.
    pub fn height_of(&self, txid: &Txid) -> Result<Option<u32>, StoreError> {
        self.0
            .connection
            .query_row("SELECT height FROM transactions WHERE txid = ?1", [txid.to_byte_array()], |row| row.get(0))
            .optional()
            .map_err(|error| self.0.wrap(error))
    }

    /// A proven transaction.
    pub fn transaction(&self, txid: &Txid) -> Result<Option<Transaction>, StoreError> {
        let bytes: Option<Vec<u8>> = self
            .0
            .connection
            .query_row("SELECT content FROM transactions WHERE txid = ?1", [txid.to_byte_array()], |row| row.get(0))
            .optional()
            .map_err(|error| self.0.wrap(error))?;
        bytes
            .map(|bytes| deserialize(&bytes).map_err(|error| self.0.damaged(format!("transaction {txid}: {error}"))))
            .transpose()
    }

    /// Keeps a transaction that is proven to be in the certified block at `height`.
    pub fn put_transaction(&self, height: u32, txid: &Txid, tx: &Transaction) -> Result<(), StoreError> {
        self.0
            .connection
            .execute(
                "INSERT OR IGNORE INTO transactions (txid, height, content) VALUES (?1, ?2, ?3)",
                params![txid.to_byte_array(), height, serialize(tx)],
            )
            .map(|_| ())
            .map_err(|error| self.0.wrap(error))
    }

    /// Forgets a transaction, and that it belongs to scripts.
    pub fn forget_transaction(&self, txid: &Txid) -> Result<(), StoreError> {
        let txid = txid.to_byte_array();
        let run = || {
            self.0.connection.execute("DELETE FROM histories WHERE txid = ?1", [txid])?;
            self.0.connection.execute("DELETE FROM transactions WHERE txid = ?1", [txid])
        };
        run().map(|_| ()).map_err(|error| self.0.wrap(error))
    }

    /// The proven transactions that a server once listed for a script.
    pub fn history(&self, script: &Script) -> Result<Vec<Txid>, StoreError> {
        let run = || {
            let mut statement =
                self.0.connection.prepare_cached("SELECT txid FROM histories WHERE script = ?1 ORDER BY rowid")?;
            let rows = statement.query_map([script.as_bytes()], |row| row.get::<_, [u8; 32]>(0))?;
            rows.map(|txid| txid.map(Txid::from_byte_array)).collect::<rusqlite::Result<Vec<Txid>>>()
        };
        run().map_err(|error| self.0.wrap(error))
    }

    /// Notes that proven transactions belong to a script.
    pub fn extend_history(&self, script: &Script, txids: &[Txid]) -> Result<(), StoreError> {
        let run = || {
            let mut statement =
                self.0.connection.prepare_cached("INSERT OR IGNORE INTO histories (script, txid) VALUES (?1, ?2)")?;
            txids
                .iter()
                .try_for_each(|txid| statement.execute(params![script.as_bytes(), txid.to_byte_array()]).map(|_| ()))
        };
        run().map_err(|error| self.0.wrap(error))
    }
}
