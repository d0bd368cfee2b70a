//! `parent.db`: what this member knows of the parent chain that it cannot ask for at any time.
//!
//! It holds the scripts that are watched, the deposits found, the last blocks that were scanned, and the signed peg-out
//! batches. A block, the deposits in it and the position move in one transaction, so a crash leaves the scan at a block
//! border. Nothing that money depends on is stored here alone: lost, the file costs the watches of wallets, which they
//! repeat, and a second collection of signatures.

use std::path::Path;
use std::time::Duration;

use bitcoin::consensus::encode::{deserialize, serialize};
use bitcoin::hashes::Hash as _;
use bitcoin::{BlockHash, OutPoint, ScriptBuf, Transaction, Txid};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::client::ParentTip;

/// Schema changes in the order in which they are applied. Only ever appended to.
const MIGRATIONS: &[&str] = &["
CREATE TABLE scanned (            -- the newest blocks of the best chain that were scanned
    height INTEGER PRIMARY KEY,
    hash BLOB NOT NULL
);
CREATE TABLE watched (
    number INTEGER PRIMARY KEY,   -- in the order of their first registration
    claim_script BLOB NOT NULL,
    script BLOB NOT NULL UNIQUE   -- a deposit script of that claim script
);
CREATE INDEX watched_claim_scripts ON watched (claim_script);
CREATE TABLE deposits (
    txid BLOB NOT NULL,
    vout INTEGER NOT NULL,
    claim_script BLOB NOT NULL,
    amount_sat INTEGER NOT NULL,
    height INTEGER NOT NULL,
    block BLOB NOT NULL,
    raw BLOB NOT NULL,            -- the transaction without witness
    proof BLOB NOT NULL,          -- the Merkle block (BIP 37)
    PRIMARY KEY (txid, vout)
);
CREATE INDEX deposits_by_claim_script ON deposits (claim_script);
CREATE INDEX deposits_by_height ON deposits (height);
CREATE TABLE batches (
    height INTEGER PRIMARY KEY,   -- of the block that agreed on it
    txid BLOB NOT NULL UNIQUE,
    signed BLOB NOT NULL
);
", "
ALTER TABLE watched ADD COLUMN looked_back INTEGER; -- up to this height; NULL: earlier deposits are yet to be looked for
CREATE INDEX watched_to_look_back ON watched (number) WHERE looked_back IS NULL;
", "
CREATE TABLE key_proof (          -- a confirmed transaction that the treasury key has signed
    only INTEGER PRIMARY KEY CHECK (only = 0),
    txid BLOB NOT NULL
);
"];

/// How many scanned blocks are remembered, to find where a reorganisation forked off.
const KEPT_BLOCKS: u32 = 2016;

/// Watched scripts that never received anything are forgotten, oldest first, beyond this number.
const MAX_WATCHED_SCRIPTS: u32 = 200_000;

/// The file could not be read or written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParentStoreError {
    /// SQLite failed: full disk, damaged file, missing permissions.
    #[error("parent.db: {0}")]
    Sqlite(String),
    /// The file was written by a newer version.
    #[error("parent.db has schema version {found}, this program knows {known}: run the newer version of aquiferd")]
    Newer {
        /// Version in the file.
        found: usize,
        /// Version known here.
        known: usize,
    },
    /// A stored value is not what it should be.
    #[error("parent.db: a stored {0} is damaged; stop the member and delete the file, it is filled again")]
    Damaged(&'static str),
}

impl From<rusqlite::Error> for ParentStoreError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error.to_string())
    }
}

/// A deposit in a block of the best chain, with what a claim needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deposit {
    /// The output.
    pub outpoint: OutPoint,
    /// Its amount in satoshi.
    pub amount_sat: u64,
    /// Whose deposit address it pays.
    pub claim_script: elements::Script,
    /// Height of its block.
    pub height: u32,
    /// Its block.
    pub block: BlockHash,
    /// The transaction without witness.
    pub transaction: Vec<u8>,
    /// The Merkle block (BIP 37) that proves it.
    pub proof: Vec<u8>,
}

/// A batch with all its signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedBatch {
    /// Height of our block that agreed on it.
    pub height: u32,
    /// The transaction, ready for the network.
    pub transaction: Transaction,
}

/// What a call of [`ParentStore::watch`] changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WatchChange {
    /// How many of the scripts had not been watched before; earlier deposits to them are yet to be looked for.
    pub added: usize,
    /// Scripts that are no longer watched because there were too many.
    pub forgotten: Vec<ScriptBuf>,
}

/// The open file.
#[derive(Debug)]
pub struct ParentStore {
    connection: Connection,
}

impl ParentStore {
    /// Opens or makes the file.
    ///
    /// # Errors
    ///
    /// Every kind of [`ParentStoreError`].
    pub fn open(path: &Path) -> Result<Self, ParentStoreError> {
        let mut connection = Connection::open(path)?;
        connection.busy_timeout(Duration::from_secs(10))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        // No signature depends on this file: after a power cut it may lack the last blocks, never contradict itself.
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        let found = usize::try_from(version).unwrap_or(usize::MAX);
        if found > MIGRATIONS.len() {
            return Err(ParentStoreError::Newer { found, known: MIGRATIONS.len() });
        }
        for (number, migration) in MIGRATIONS.iter().enumerate().skip(found) {
            let transaction = connection.transaction()?;
            transaction.execute_batch(migration)?;
            transaction.pragma_update(None, "user_version", i64::try_from(number + 1).unwrap_or(i64::MAX))?;
            transaction.commit()?;
        }
        Ok(Self { connection })
    }

    /// The newest scanned block.
    ///
    /// # Errors
    ///
    /// Every kind of [`ParentStoreError`].
    pub fn position(&self) -> Result<Option<ParentTip>, ParentStoreError> {
        let row: Option<(u32, Vec<u8>)> = self
            .connection
            .query_row("SELECT height, hash FROM scanned ORDER BY height DESC LIMIT 1", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .optional()?;
        row.map(|(height, hash)| Ok(ParentTip { height, hash: block_hash(&hash)? })).transpose()
    }

    /// The block at a height, if it is among the last ones that were scanned.
    ///
    /// # Errors
    ///
    /// Every kind of [`ParentStoreError`].
    pub fn scanned(&self, height: u32) -> Result<Option<BlockHash>, ParentStoreError> {
        let hash: Option<Vec<u8>> = self
            .connection
            .query_row("SELECT hash FROM scanned WHERE height = ?1", [height], |row| row.get(0))
            .optional()?;
        hash.map(|hash| block_hash(&hash)).transpose()
    }

    /// The blocks that hold deposits, newest first.
    ///
    /// # Errors
    ///
    /// Every kind of [`ParentStoreError`].
    pub fn deposit_blocks(&self) -> Result<Vec<ParentTip>, ParentStoreError> {
        let mut statement =
            self.connection.prepare("SELECT DISTINCT height, block FROM deposits ORDER BY height DESC")?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get::<_, Vec<u8>>(1)?)))?;
        rows.map(|row| {
            let (height, hash) = row?;
            Ok(ParentTip { height, hash: block_hash(&hash)? })
        })
        .collect()
    }

    /// Starts the scan anew behind this block. Deposits above it and those in `stale` blocks are forgotten. Nobody has
    /// scanned the blocks below for the scripts that are watched, so earlier deposits are looked for again.
    ///
    /// # Errors
    ///
    /// Every kind of [`ParentStoreError`].
    pub fn restart_at(&mut self, tip: &ParentTip, stale: &[BlockHash]) -> Result<(), ParentStoreError> {
        let transaction = self.connection.transaction()?;
        transaction.execute("DELETE FROM scanned", [])?;
        transaction.execute("DELETE FROM deposits WHERE height > ?1", [tip.height])?;
        for block in stale {
            transaction.execute("DELETE FROM deposits WHERE block = ?1", [block.to_byte_array().as_slice()])?;
        }
        transaction.execute("UPDATE watched SET looked_back = NULL", [])?;
        insert_scanned(&transaction, tip)?;
        transaction.commit()?;
        Ok(())
    }

    /// Takes back the newest scanned block and its deposits.
    ///
    /// # Errors
    ///
    /// Every kind of [`ParentStoreError`].
    pub fn disconnect(&mut self, height: u32) -> Result<(), ParentStoreError> {
        let transaction = self.connection.transaction()?;
        transaction.execute("DELETE FROM scanned WHERE height >= ?1", [height])?;
        transaction.execute("DELETE FROM deposits WHERE height >= ?1", [height])?;
        transaction.commit()?;
        Ok(())
    }

    /// Adds the next scanned block with the deposits in it.
    ///
    /// # Errors
    ///
    /// Every kind of [`ParentStoreError`].
    pub fn connect(&mut self, tip: &ParentTip, deposits: &[Deposit]) -> Result<(), ParentStoreError> {
        let transaction = self.connection.transaction()?;
        insert_scanned(&transaction, tip)?;
        transaction.execute("DELETE FROM scanned WHERE height + ?2 < ?1", params![tip.height, KEPT_BLOCKS])?;
        for deposit in deposits {
            insert_deposit(&transaction, deposit)?;
        }
        transaction.commit()?;
        Ok(())
    }

    /// Adds deposits of a block that was scanned before anybody watched for them.
    ///
    /// # Errors
    ///
    /// Every kind of [`ParentStoreError`].
    pub fn add_deposits(&mut self, deposits: &[Deposit]) -> Result<(), ParentStoreError> {
        let transaction = self.connection.transaction()?;
        for deposit in deposits {
            insert_deposit(&transaction, deposit)?;
        }
        transaction.commit()?;
        Ok(())
    }

    /// Watches for outputs with these scripts. New ones wait for a look at earlier blocks.
    ///
    /// # Errors
    ///
    /// Every kind of [`ParentStoreError`].
    pub fn watch(
        &mut self,
        claim_script: &elements::Script,
        scripts: &[ScriptBuf],
    ) -> Result<WatchChange, ParentStoreError> {
        let mut change = WatchChange::default();
        let transaction = self.connection.transaction()?;
        for script in scripts {
            change.added += transaction.execute(
                "INSERT INTO watched (claim_script, script) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
                params![claim_script.as_bytes(), script.as_bytes()],
            )?;
        }
        let count: u32 = transaction.query_row("SELECT COUNT(*) FROM watched", [], |row| row.get(0))?;
        let surplus = count.saturating_sub(MAX_WATCHED_SCRIPTS);
        if surplus > 0 {
            let mut statement = transaction.prepare(
                "DELETE FROM watched WHERE number IN (
                     SELECT number FROM watched
                     WHERE claim_script NOT IN (SELECT claim_script FROM deposits)
                     ORDER BY number LIMIT ?1
                 ) RETURNING script",
            )?;
            for script in statement.query_map([surplus], |row| row.get::<_, Vec<u8>>(0))? {
                change.forgotten.push(ScriptBuf::from_bytes(script?));
            }
        }
        transaction.commit()?;
        Ok(change)
    }

    /// Watched scripts, with their claim scripts, to which nobody has looked for earlier deposits yet; oldest first.
    ///
    /// # Errors
    ///
    /// Every kind of [`ParentStoreError`].
    pub fn to_look_back(&self, limit: u32) -> Result<Vec<(ScriptBuf, elements::Script)>, ParentStoreError> {
        let mut statement = self
            .connection
            .prepare("SELECT script, claim_script FROM watched WHERE looked_back IS NULL ORDER BY number LIMIT ?1")?;
        let rows = statement.query_map([limit], read_watched)?;
        rows.map(|row| row.map_err(Into::into)).collect()
    }

    /// Whether earlier deposits to the addresses of a claim script are yet to be looked for.
    ///
    /// # Errors
    ///
    /// Every kind of [`ParentStoreError`].
    pub fn waits_for_look_back(&self, claim_script: &elements::Script) -> Result<bool, ParentStoreError> {
        let waits = self.connection.query_row(
            "SELECT EXISTS (SELECT 1 FROM watched WHERE claim_script = ?1 AND looked_back IS NULL)",
            [claim_script.as_bytes()],
            |row| row.get(0),
        )?;
        Ok(waits)
    }

    /// Adds all earlier deposits to these scripts, found in the blocks up to a height: the look back is done.
    ///
    /// # Errors
    ///
    /// Every kind of [`ParentStoreError`].
    pub fn end_look_back<'a>(
        &mut self,
        scripts: impl IntoIterator<Item = &'a ScriptBuf>,
        height: u32,
        deposits: &[Deposit],
    ) -> Result<(), ParentStoreError> {
        let transaction = self.connection.transaction()?;
        for deposit in deposits {
            insert_deposit(&transaction, deposit)?;
        }
        for script in scripts {
            transaction
                .execute("UPDATE watched SET looked_back = ?2 WHERE script = ?1", params![script.as_bytes(), height])?;
        }
        transaction.commit()?;
        Ok(())
    }

    /// All watched scripts with their claim scripts.
    ///
    /// # Errors
    ///
    /// Every kind of [`ParentStoreError`].
    pub fn watched(&self) -> Result<Vec<(ScriptBuf, elements::Script)>, ParentStoreError> {
        let mut statement = self.connection.prepare("SELECT script, claim_script FROM watched")?;
        let rows = statement.query_map([], read_watched)?;
        rows.map(|row| row.map_err(Into::into)).collect()
    }

    /// Deposits to the addresses of a claim script, oldest first.
    ///
    /// # Errors
    ///
    /// Every kind of [`ParentStoreError`].
    pub fn deposits(&self, claim_script: &elements::Script) -> Result<Vec<Deposit>, ParentStoreError> {
        let mut statement = self.connection.prepare(
            "SELECT txid, vout, amount_sat, height, block, raw, proof FROM deposits
             WHERE claim_script = ?1 ORDER BY height, txid, vout",
        )?;
        let mut rows = statement.query([claim_script.as_bytes()])?;
        let mut deposits = Vec::new();
        while let Some(row) = rows.next()? {
            deposits.push(read_deposit(row, claim_script)?);
        }
        Ok(deposits)
    }

    /// Keeps a batch that has all its signatures.
    ///
    /// # Errors
    ///
    /// Every kind of [`ParentStoreError`].
    pub fn keep_batch(&mut self, batch: &SignedBatch) -> Result<(), ParentStoreError> {
        self.connection.execute(
            "INSERT INTO batches (height, txid, signed) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
            params![
                batch.height,
                batch.transaction.compute_txid().to_byte_array().as_slice(),
                serialize(&batch.transaction)
            ],
        )?;
        Ok(())
    }

    /// Keeps the first confirmed transaction that was seen to be signed by the treasury key.
    ///
    /// # Errors
    ///
    /// Every kind of [`ParentStoreError`].
    pub fn keep_key_proof(&mut self, txid: &Txid) -> Result<(), ParentStoreError> {
        let txid = txid.to_byte_array();
        self.connection
            .execute("INSERT INTO key_proof (only, txid) VALUES (0, ?1) ON CONFLICT DO NOTHING", [txid.as_slice()])?;
        Ok(())
    }

    /// That transaction.
    ///
    /// # Errors
    ///
    /// Every kind of [`ParentStoreError`].
    pub fn key_proof(&self) -> Result<Option<Txid>, ParentStoreError> {
        let txid: Option<[u8; 32]> =
            self.connection.query_row("SELECT txid FROM key_proof", [], |row| row.get(0)).optional()?;
        Ok(txid.map(Txid::from_byte_array))
    }

    /// The signed batch that the block at a height agreed on.
    ///
    /// # Errors
    ///
    /// Every kind of [`ParentStoreError`].
    pub fn batch(&self, height: u32) -> Result<Option<SignedBatch>, ParentStoreError> {
        let bytes: Option<Vec<u8>> = self
            .connection
            .query_row("SELECT signed FROM batches WHERE height = ?1", [height], |row| row.get(0))
            .optional()?;
        let Some(bytes) = bytes else { return Ok(None) };
        let transaction = deserialize(&bytes).map_err(|_| ParentStoreError::Damaged("batch"))?;
        Ok(Some(SignedBatch { height, transaction }))
    }
}

fn insert_scanned(transaction: &rusqlite::Transaction<'_>, tip: &ParentTip) -> rusqlite::Result<()> {
    transaction
        .execute(
            "INSERT INTO scanned (height, hash) VALUES (?1, ?2)",
            params![tip.height, tip.hash.to_byte_array().as_slice()],
        )
        .map(drop)
}

fn insert_deposit(transaction: &rusqlite::Transaction<'_>, deposit: &Deposit) -> rusqlite::Result<()> {
    transaction
        .execute(
            "INSERT INTO deposits (txid, vout, claim_script, amount_sat, height, block, raw, proof)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT DO UPDATE SET
             height = excluded.height, block = excluded.block, proof = excluded.proof",
            params![
                deposit.outpoint.txid.to_byte_array().as_slice(),
                deposit.outpoint.vout,
                deposit.claim_script.as_bytes(),
                i64::try_from(deposit.amount_sat).unwrap_or(i64::MAX),
                deposit.height,
                deposit.block.to_byte_array().as_slice(),
                deposit.transaction,
                deposit.proof,
            ],
        )
        .map(drop)
}

/// A script and its claim script.
fn read_watched(row: &Row<'_>) -> rusqlite::Result<(ScriptBuf, elements::Script)> {
    Ok((ScriptBuf::from_bytes(row.get(0)?), elements::Script::from(row.get::<_, Vec<u8>>(1)?)))
}

fn read_deposit(row: &Row<'_>, claim_script: &elements::Script) -> Result<Deposit, ParentStoreError> {
    let txid = Txid::from_slice(&row.get::<_, Vec<u8>>(0)?).map_err(|_| ParentStoreError::Damaged("txid"))?;
    let amount: i64 = row.get(2)?;
    Ok(Deposit {
        outpoint: OutPoint::new(txid, row.get(1)?),
        amount_sat: u64::try_from(amount).map_err(|_| ParentStoreError::Damaged("amount"))?,
        claim_script: claim_script.clone(),
        height: row.get(3)?,
        block: block_hash(&row.get::<_, Vec<u8>>(4)?)?,
        transaction: row.get(5)?,
        proof: row.get(6)?,
    })
}

fn block_hash(bytes: &[u8]) -> Result<BlockHash, ParentStoreError> {
    BlockHash::from_slice(bytes).map_err(|_| ParentStoreError::Damaged("block hash"))
}

#[cfg(test)]
mod tests {
    use super::*;

    type Outcome = Result<(), Box<dyn std::error::Error>>;

    fn tip(height: u32) -> ParentTip {
        ParentTip { height, hash: BlockHash::from_byte_array([u8::try_from(height).unwrap_or(u8::MAX); 32]) }
    }

    fn deposit(height: u32) -> Deposit {
        Deposit {
            outpoint: OutPoint::new(Txid::from_byte_array([9; 32]), height),
            amount_sat: 2_100_000_000_000_000,
            claim_script: elements::Script::from(vec![0x51]),
            height,
            block: tip(height).hash,
            transaction: vec![1, 2],
            proof: vec![3],
        }
    }

    #[test]
    fn a_block_goes_with_its_deposits_and_the_rest_survives_closing() -> Outcome {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("parent.db");
        let mut store = ParentStore::open(&path)?;
        assert_eq!(store.position()?, None);
        store.restart_at(&tip(10), &[])?;
        store.connect(&tip(11), &[deposit(11)])?;
        store.connect(&tip(12), &[deposit(12)])?;
        store.disconnect(12)?;
        drop(store);
        let store = ParentStore::open(&path)?;
        assert_eq!(store.position()?, Some(tip(11)));
        assert_eq!(store.deposits(&deposit(11).claim_script)?, [deposit(11)]);
        Ok(())
    }

    #[test]
    fn a_file_of_a_newer_version_is_refused() -> Outcome {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("parent.db");
        ParentStore::open(&path)?.connection.pragma_update(None, "user_version", 99)?;
        let refusal = ParentStore::open(&path).err();
        assert_eq!(refusal, Some(ParentStoreError::Newer { found: 99, known: MIGRATIONS.len() }));
        Ok(())
    }
}
