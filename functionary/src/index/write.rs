//! The one writer of the index.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use aquifer_assets::chain::ChainParams;
use aquifer_assets::primitives::{Block, Transaction as ChainTransaction};
use aquifer_assets::script::is_unspendable;
use elements::encode::{VarInt, serialize};
use elements::{AssetId, BlockHash, OutPoint, Txid};
use rusqlite::{OptionalExtension as _, Transaction, params};

use super::facts::{AssetEvent, AssetTotals, asset_events};
use super::{MIGRATIONS, NAME, ScriptHash};
use crate::store::db::{Database, failed, integer, unsigned};
use crate::store::ledger::{Snapshot, StoredBlock};
use crate::store::{OpenGate, StoreError};

/// Writes the index.
pub struct IndexStore {
    database: Database,
}

/// What blocks have changed, for those who watch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Changed {
    /// Scripts that were paid or spent from.
    pub(super) scripts: HashSet<ScriptHash>,
    /// The transactions.
    pub(super) txids: Vec<Txid>,
    /// What they spend, deposits left out.
    pub(super) spent: Vec<OutPoint>,
}

/// Blocks that were added and are not committed yet: dropped, they were never there.
pub(super) struct Pending<'a> {
    transaction: Transaction<'a>,
}

impl Pending<'_> {
    /// Makes the blocks part of the index.
    pub(super) fn commit(self) -> Result<(), StoreError> {
        self.transaction.commit().map_err(sqlite)
    }
}

fn sqlite(error: rusqlite::Error) -> StoreError {
    failed(NAME, error)
}

fn inconsistent(reason: impl Into<String>) -> StoreError {
    StoreError::Inconsistent { file: NAME.into(), reason: reason.into() }
}

impl IndexStore {
    /// Opens or makes the file.
    ///
    /// # Errors
    /// [`StoreError`] if the file is damaged or cannot be used.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let database = Database::open(path, MIGRATIONS, Arc::new(OpenGate))?;
        // A lost commit is made again from the ledger: consistent after a crash is enough, and synced less often.
        database.connection.pragma_update(None, "synchronous", "NORMAL").map_err(sqlite)?;
        database.connection.pragma_update(None, "cache_size", -65_536).map_err(sqlite)?;
        database.connection.set_prepared_statement_cache_capacity(64);
        Ok(Self { database })
    }

    /// The last block in the index, by height and hash.
    pub fn tip(&self) -> Result<Option<(u32, BlockHash)>, StoreError> {
        let mut query = self
            .database
            .connection
            .prepare_cached("SELECT height, hash FROM blocks ORDER BY height DESC LIMIT 1")
            .map_err(sqlite)?;
        query.query_row([], |row| Ok((row.get(0)?, BlockHash::from_byte_array(row.get(1)?)))).optional().map_err(sqlite)
    }

    /// The hash of a block in the index.
    pub(super) fn hash(&self, height: u32) -> Result<Option<BlockHash>, StoreError> {
        let query = "SELECT hash FROM blocks WHERE height = ?1";
        let hash = self.database.connection.query_row(query, [height], |row| row.get(0)).optional();
        Ok(hash.map_err(sqlite)?.map(BlockHash::from_byte_array))
    }

    /// Adds the blocks at `heights`, in this order, from a ledger that has them all. Commit them to keep them.
    ///
    /// # Errors
    /// [`StoreError`]; nothing is changed then.
    pub(super) fn add(
        &mut self,
        params: &ChainParams,
        ledger: &Snapshot<'_>,
        heights: impl IntoIterator<Item = u32>,
    ) -> Result<(Pending<'_>, Changed), StoreError> {
        let transaction = self.database.connection.transaction().map_err(sqlite)?;
        let mut changed = Changed::default();
        for height in heights {
            let stored =
                ledger.block(height)?.ok_or_else(|| inconsistent(format!("the ledger has no block {height}")))?;
            let block = Block::decode(stored.block.clone())
                .map_err(|error| inconsistent(format!("block {height} of the ledger: {error}")))?;
            let first = Adding { transaction: &transaction, ledger, params, height, own: HashMap::new() };
            first.add(&stored, &block, &mut changed)?;
        }
        Ok((Pending { transaction }, changed))
    }

    /// Adds blocks and commits them.
    ///
    /// # Errors
    /// As above.
    pub fn add_blocks(
        &mut self,
        params: &ChainParams,
        ledger: &Snapshot<'_>,
        heights: impl IntoIterator<Item = u32>,
    ) -> Result<(), StoreError> {
        let (pending, _) = self.add(params, ledger, heights)?;
        pending.commit()
    }
}

/// What one block adds to a script.
#[derive(Default)]
struct Touched {
    transactions: BTreeSet<u64>,
    funded: u64,
    spent: u64,
}

/// One block on its way into the index.
struct Adding<'a> {
    transaction: &'a Transaction<'a>,
    ledger: &'a Snapshot<'a>,
    params: &'a ChainParams,
    height: u32,
    /// Numbers of the block's own transactions.
    own: HashMap<Txid, u64>,
}

impl Adding<'_> {
    fn add(mut self, stored: &StoredBlock, block: &Block, changed: &mut Changed) -> Result<(), StoreError> {
        let first = self.next_number()?;
        self.execute(
            "INSERT INTO blocks (height, hash, first) VALUES (?1, ?2, ?3)",
            params![self.height, stored.hash.to_byte_array(), integer(first)],
        )?;
        let count = u64::try_from(block.txdata.len()).unwrap_or(u64::MAX);
        let mut start = stored.header.len().saturating_add(serialize(&VarInt(count)).len());
        let mut scripts: BTreeMap<i64, Touched> = BTreeMap::new();
        let mut assets: BTreeMap<AssetId, Vec<(u64, AssetEvent)>> = BTreeMap::new();
        for (number, tx) in (first..).zip(&block.txdata) {
            let (txid, size) = (tx.txid(), tx.size());
            self.execute(
                "INSERT INTO transactions (number, txid, height, start, size) VALUES (?1, ?2, ?3, ?4, ?5)",
                params![integer(number), txid.to_byte_array(), self.height, integer(start), integer(size)],
            )?;
            start = start.saturating_add(size);
            self.own.insert(txid, number);
            self.add_outputs(number, tx, &mut scripts, changed)?;
            self.add_spends(number, tx, &mut scripts, changed)?;
            for (asset, event) in asset_events(self.params, txid, tx) {
                assets.entry(asset).or_default().push((number, event));
            }
            changed.txids.push(txid);
        }
        if start != stored.block.len() {
            let (height, size) = (self.height, stored.block.len());
            return Err(inconsistent(format!("the transactions of block {height} end at {start} of {size} bytes")));
        }
        for (script, touched) in scripts {
            self.execute(
                "UPDATE scripts SET transactions = transactions + ?2, funded = funded + ?3, spent = spent + ?4
                 WHERE id = ?1",
                params![script, integer(touched.transactions.len()), integer(touched.funded), integer(touched.spent)],
            )?;
        }
        for (asset, events) in assets {
            self.add_asset(asset, &events)?;
        }
        Ok(())
    }

    fn execute(&self, sql: &str, values: impl rusqlite::Params) -> Result<usize, StoreError> {
        self.transaction.prepare_cached(sql).and_then(|mut statement| statement.execute(values)).map_err(sqlite)
    }

    fn find<T>(
        &self,
        sql: &str,
        values: impl rusqlite::Params,
        read: impl FnOnce(&rusqlite::Row<'_>) -> Result<T, rusqlite::Error>,
    ) -> Result<Option<T>, StoreError> {
        let mut statement = self.transaction.prepare_cached(sql).map_err(sqlite)?;
        statement.query_row(values, read).optional().map_err(sqlite)
    }

    fn next_number(&self) -> Result<u64, StoreError> {
        let last = self.find("SELECT MAX(number) FROM transactions", [], |row| row.get::<_, Option<i64>>(0))?;
        let next = last.flatten().map_or(0, |last| last.saturating_add(1));
        Ok(u64::try_from(next).unwrap_or(0))
    }

    fn script(&self, hash: ScriptHash) -> Result<i64, StoreError> {
        self.id(
            "SELECT id FROM scripts WHERE hash = ?1",
            "INSERT INTO scripts (hash, transactions, funded, spent) VALUES (?1, 0, 0, 0)",
            hash.to_byte_array(),
        )
    }

    /// The number under which something is kept; it gets one if it is new.
    fn id(&self, find: &str, insert: &str, name: [u8; 32]) -> Result<i64, StoreError> {
        if let Some(id) = self.find(find, [name], |row| row.get(0))? {
            return Ok(id);
        }
        self.execute(insert, [name])?;
        Ok(self.transaction.last_insert_rowid())
    }

    fn touch(&self, script: i64, number: u64, place: i64) -> Result<(), StoreError> {
        self.execute(
            "INSERT INTO touches (script, number, place) VALUES (?1, ?2, ?3)",
            params![script, integer(number), place],
        )?;
        Ok(())
    }

    fn add_outputs(
        &self,
        number: u64,
        tx: &ChainTransaction,
        scripts: &mut BTreeMap<i64, Touched>,
        changed: &mut Changed,
    ) -> Result<(), StoreError> {
        for (vout, output) in (0u32..).zip(&tx.output).filter(|(_, output)| !is_unspendable(&output.script_pubkey)) {
            let hash = ScriptHash::of(&output.script_pubkey);
            let script = self.script(hash)?;
            self.execute(
                "INSERT INTO outputs (number, vout, script) VALUES (?1, ?2, ?3)",
                params![integer(number), vout, script],
            )?;
            self.touch(script, number, i64::from(vout))?;
            let touched = scripts.entry(script).or_default();
            touched.transactions.insert(number);
            touched.funded = touched.funded.saturating_add(1);
            changed.scripts.insert(hash);
        }
        Ok(())
    }

    fn add_spends(
        &self,
        number: u64,
        tx: &ChainTransaction,
        scripts: &mut BTreeMap<i64, Touched>,
        changed: &mut Changed,
    ) -> Result<(), StoreError> {
        let inputs = (0u32..).zip(&tx.input).filter(|(_, input)| !input.is_pegin && !input.is_coinbase());
        for (vin, input) in inputs {
            let spent = input.previous_output;
            let maker = self.number_of(&spent.txid)?;
            let row = self.find(
                "SELECT scripts.id, scripts.hash FROM outputs JOIN scripts ON scripts.id = outputs.script
                 WHERE number = ?1 AND vout = ?2",
                params![integer(maker), spent.vout],
                |row| Ok((row.get(0)?, ScriptHash::from_byte_array(row.get(1)?))),
            )?;
            let (script, hash) = row.ok_or_else(|| inconsistent(format!("{spent} is spent and was never made")))?;
            self.execute(
                "UPDATE outputs SET spender = ?3, vin = ?4 WHERE number = ?1 AND vout = ?2",
                params![integer(maker), spent.vout, integer(number), vin],
            )?;
            self.touch(script, number, (-1i64).saturating_sub(i64::from(vin)))?;
            let touched = scripts.entry(script).or_default();
            touched.transactions.insert(number);
            touched.spent = touched.spent.saturating_add(1);
            changed.scripts.insert(hash);
            changed.spent.push(spent);
        }
        Ok(())
    }

    /// The number of a transaction that is in this block or an earlier one.
    fn number_of(&self, txid: &Txid) -> Result<u64, StoreError> {
        if let Some(number) = self.own.get(txid) {
            return Ok(*number);
        }
        let place = self.ledger.place(txid)?.ok_or_else(|| inconsistent(format!("{txid} is not in the ledger")))?;
        let first = self.find("SELECT first FROM blocks WHERE height = ?1", [place.height], |row| unsigned(row, 0))?;
        let first = first.ok_or_else(|| inconsistent(format!("there is no block {}", place.height)))?;
        Ok(first.saturating_add(place.position.into()))
    }

    fn add_asset(&self, asset: AssetId, events: &[(u64, AssetEvent)]) -> Result<(), StoreError> {
        let id = self.asset(asset)?;
        let mut totals = self.find("SELECT * FROM assets WHERE id = ?1", [id], totals_of)?.unwrap_or_default();
        let numbers: BTreeSet<u64> = events.iter().map(|(number, _)| *number).collect();
        for (_, event) in events {
            totals.count(event);
            if let AssetEvent::TokenIssued { of, .. } = event {
                let of = self.asset(*of)?;
                self.execute("UPDATE assets SET token_of = ?2 WHERE id = ?1", params![id, of])?;
            }
        }
        for number in numbers {
            totals.count_transaction();
            self.execute(
                "INSERT INTO asset_transactions (asset, number) VALUES (?1, ?2)",
                params![id, integer(number)],
            )?;
        }
        self.execute(
            "UPDATE assets SET transactions = ?2, issuances = ?3, issued = ?4, blinded_issuances = ?5, tokens = ?6,
                 blinded_tokens = ?7, burns = ?8, burned = ?9, pegins = ?10, pegged_in = ?11, pegouts = ?12,
                 pegged_out = ?13
             WHERE id = ?1",
            params![
                id,
                integer(totals.transactions),
                integer(totals.issuances),
                integer(totals.issued),
                integer(totals.blinded_issuances),
                integer(totals.tokens),
                integer(totals.blinded_tokens),
                integer(totals.burns),
                integer(totals.burned),
                integer(totals.pegins),
                integer(totals.pegged_in_sat),
                integer(totals.pegouts),
                integer(totals.pegged_out_sat),
            ],
        )?;
        Ok(())
    }

    fn asset(&self, asset: AssetId) -> Result<i64, StoreError> {
        self.id(
            "SELECT id FROM assets WHERE asset = ?1",
            "INSERT INTO assets VALUES (NULL, ?1, NULL, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)",
            asset.to_byte_array(),
        )
    }
}

/// The sums in a row of `assets`.
pub(super) fn totals_of(row: &rusqlite::Row<'_>) -> Result<AssetTotals, rusqlite::Error> {
    Ok(AssetTotals {
        transactions: unsigned(row, "transactions")?,
        issuances: unsigned(row, "issuances")?,
        issued: unsigned(row, "issued")?,
        blinded_issuances: unsigned(row, "blinded_issuances")?,
        tokens: unsigned(row, "tokens")?,
        blinded_tokens: unsigned(row, "blinded_tokens")?,
        burns: unsigned(row, "burns")?,
        burned: unsigned(row, "burned")?,
        pegins: unsigned(row, "pegins")?,
        pegged_in_sat: unsigned(row, "pegged_in")?,
        pegouts: unsigned(row, "pegouts")?,
        pegged_out_sat: unsigned(row, "pegged_out")?,
    })
}
