//! `auditor.db`: the auditor's own state of the chain and its own books.
//!
//! A block that was passed is added in one transaction with everything it changes, so the auditor goes on after a crash from
//! the last block that it had passed, and no other program writes the file.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use aquifer_assets::block::ChainTip;
use aquifer_assets::chain::ChainParams;
use aquifer_assets::primitives::{Block, TxOut, decode_header};
use aquifer_assets::state::{ChainView, Coin, DynafedEntries, Effects, ViewError};
use bitcoin::ScriptBuf;
use bitcoin::hashes::Hash as _;
use elements::encode::serialize;
use elements::{AssetId, BlockHash, BlockHeader, OutPoint, Txid};
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};

use super::payments::{Earlier, Payments, Request, ReserveCoin};
use super::summary::{AssetCount, ReserveCount};
use crate::store::db::{Database, integer};
use crate::store::{OpenGate, StoreError};

const MIGRATIONS: &[&str] = &[
    "
CREATE TABLE blocks (
    height INTEGER PRIMARY KEY,
    hash BLOB NOT NULL,
    time INTEGER NOT NULL,
    median_time_past INTEGER NOT NULL,
    header BLOB NOT NULL
);
CREATE TABLE coins (
    txid BLOB NOT NULL,
    vout INTEGER NOT NULL,
    height INTEGER NOT NULL,
    is_coinbase INTEGER NOT NULL,
    output BLOB NOT NULL,
    PRIMARY KEY (txid, vout)
) WITHOUT ROWID;
CREATE TABLE deposits (               -- claimed
    txid BLOB NOT NULL,
    vout INTEGER NOT NULL,
    PRIMARY KEY (txid, vout)
) WITHOUT ROWID;
CREATE TABLE reserve (                -- coins on Bitcoin: claimed deposits and change of batches
    txid BLOB NOT NULL,
    vout INTEGER NOT NULL,
    amount_sat INTEGER NOT NULL,
    spent_height INTEGER,
    PRIMARY KEY (txid, vout)
) WITHOUT ROWID;
CREATE TABLE requests (               -- peg-outs
    txid BLOB NOT NULL,
    vout INTEGER NOT NULL,
    height INTEGER NOT NULL,
    amount_sat INTEGER NOT NULL,
    script BLOB NOT NULL,
    paid_height INTEGER,
    fee_sat INTEGER,
    PRIMARY KEY (txid, vout)
) WITHOUT ROWID;
CREATE INDEX requests_open ON requests (height, txid, vout) WHERE paid_height IS NULL;
CREATE TABLE assets (
    asset BLOB PRIMARY KEY,
    issued INTEGER NOT NULL,
    pegged_in INTEGER NOT NULL,
    pegged_out INTEGER NOT NULL,
    burned INTEGER NOT NULL,
    fees_lost INTEGER NOT NULL,
    blinded_issuances INTEGER NOT NULL
) WITHOUT ROWID;
",
    "
ALTER TABLE reserve ADD COLUMN name_txid BLOB; -- of another place where a coin may be: the coin
ALTER TABLE reserve ADD COLUMN name_vout INTEGER;
ALTER TABLE requests ADD COLUMN position INTEGER; -- among the payments of its batch
CREATE TABLE change (                 -- what the first of the batches that take each other's place makes
    height INTEGER NOT NULL,
    txid BLOB NOT NULL,
    vout INTEGER NOT NULL,
    PRIMARY KEY (height, vout)
) WITHOUT ROWID;
CREATE INDEX reserve_spent ON reserve (spent_height);
CREATE INDEX reserve_names ON reserve (name_txid, name_vout) WHERE name_txid IS NOT NULL;
CREATE INDEX requests_paid ON requests (paid_height, position);
",
];

/// A block that was passed, and what it does.
pub(super) struct Passed {
    pub(super) block: Block,
    pub(super) effects: Effects,
    pub(super) payments: Option<Payments>,
}

/// The state of an auditor.
pub(super) struct AuditorStore {
    database: Database,
    pegged_asset: AssetId,
}

type Done = Result<(), rusqlite::Error>;

impl AuditorStore {
    /// Opens the file, or makes it with the genesis block of these parameters.
    pub(super) fn open(path: &Path, params: &ChainParams) -> Result<Self, StoreError> {
        let database = Database::open(path, MIGRATIONS, Arc::new(OpenGate))?;
        let mut store = Self { database, pegged_asset: params.pegged_asset() };
        match store.hash(0)? {
            None => {
                let block = params.genesis_block();
                store.database.note(|transaction| insert_block(transaction, &block.header))?;
            }
            Some(found) if found == params.genesis_hash() => {}
            Some(found) => {
                let reason = format!(
                    "this folder belongs to the chain with genesis block {found}, the network file describes {}: use another \
                     folder",
                    params.genesis_hash()
                );
                return Err(store.database.inconsistent(reason));
            }
        }
        Ok(store)
    }

    fn query<T>(&self, work: impl FnOnce(&Connection) -> Result<T, rusqlite::Error>) -> Result<T, StoreError> {
        work(&self.database.connection).map_err(|error| self.database.failed(error))
    }

    fn hash(&self, height: u32) -> Result<Option<BlockHash>, StoreError> {
        self.query(|connection| {
            connection
                .query_row("SELECT hash FROM blocks WHERE height = ?1", [height], |row| row.get(0))
                .optional()
                .map(|hash| hash.map(BlockHash::from_byte_array))
        })
    }

    /// The last block that was passed.
    pub(super) fn tip(&self) -> Result<ChainTip, StoreError> {
        self.query(|connection| {
            connection
                .prepare_cached("SELECT height, hash, median_time_past FROM blocks ORDER BY height DESC LIMIT 1")?
                .query_row([], |row| {
                    let hash = BlockHash::from_byte_array(row.get(1)?);
                    Ok(ChainTip { height: row.get(0)?, hash, median_time_past: row.get(2)? })
                })
        })
    }

    /// A coin that the reserve holds or held, by a place where it may be.
    pub(super) fn reserve_coin(&self, coin: &bitcoin::OutPoint) -> Result<Option<ReserveCoin>, StoreError> {
        self.query(|connection| {
            connection
                .prepare_cached(
                    "SELECT IFNULL(name_txid, txid), IFNULL(name_vout, vout), amount_sat, spent_height
                     FROM reserve WHERE txid = ?1 AND vout = ?2",
                )?
                .query_row(params![coin.txid.to_byte_array(), coin.vout], |row| {
                    Ok(ReserveCoin {
                        name: parent_outpoint(row.get(0)?, row.get(1)?),
                        amount_sat: amount(row.get(2)?),
                        spent_height: row.get(3)?,
                    })
                })
                .optional()
        })
    }

    /// What the batch of the block at a height has done.
    pub(super) fn earlier(&self, height: u32) -> Result<Earlier, StoreError> {
        self.query(|connection| {
            let spent = connection
                .prepare_cached("SELECT txid, vout FROM reserve WHERE spent_height = ?1 AND name_txid IS NULL")?
                .query_map([height], |row| Ok(parent_outpoint(row.get(0)?, row.get(1)?)))?
                .collect::<Result<_, _>>()?;
            let paid = connection
                .prepare_cached(
                    "SELECT txid, vout, amount_sat, script FROM requests WHERE paid_height = ?1 ORDER BY position",
                )?
                .query_map([height], request_of_row)?
                .collect::<Result<_, _>>()?;
            let change = connection
                .prepare_cached(
                    "SELECT txid, vout, amount_sat FROM change JOIN reserve USING (txid, vout)
                     WHERE change.height = ?1 ORDER BY vout",
                )?
                .query_map([height], |row| Ok((parent_outpoint(row.get(0)?, row.get(1)?), amount(row.get(2)?))))?
                .collect::<Result<_, _>>()?;
            Ok(Earlier { height, spent, paid, change })
        })
    }

    /// Requests that no batch has paid, oldest first.
    pub(super) fn open_requests(&self) -> Result<Vec<Request>, StoreError> {
        self.query(|connection| {
            connection
                .prepare_cached(
                    "SELECT txid, vout, amount_sat, script FROM requests WHERE paid_height IS NULL
                     ORDER BY height, txid, vout",
                )?
                .query_map([], request_of_row)?
                .collect()
        })
    }

    /// Adds a block that was passed; durable on return.
    pub(super) fn add(&mut self, passed: &Passed) -> Result<(), StoreError> {
        let pegged_asset = self.pegged_asset;
        self.database.note(|transaction| {
            insert_block(transaction, &passed.block.header)?;
            apply_coins(transaction, &passed.effects)?;
            apply_peg(transaction, passed)?;
            count(transaction, &passed.effects, pegged_asset)
        })
    }

    /// What was counted of every asset.
    pub(super) fn assets(&self) -> Result<Vec<AssetCount>, StoreError> {
        self.query(|connection| {
            connection
                .prepare(
                    "SELECT asset, issued, pegged_in, pegged_out, burned, fees_lost, blinded_issuances FROM assets
                     ORDER BY asset",
                )?
                .query_map([], asset_of_row)?
                .collect()
        })
    }

    /// What was counted of the reserve.
    pub(super) fn reserve(&self) -> Result<ReserveCount, StoreError> {
        self.query(|connection| {
            let sum = |query: &str| connection.query_row(query, [], |row| row.get(0)).map(amount);
            let (requests_sat, paid_sat) = (
                sum("SELECT COALESCE(SUM(amount_sat), 0) FROM requests")?,
                sum("SELECT COALESCE(SUM(amount_sat), 0) FROM requests WHERE paid_height IS NOT NULL")?,
            );
            Ok(ReserveCount {
                deposits: sum("SELECT COUNT(*) FROM deposits")?,
                pegged_in_sat: sum(
                    "SELECT COALESCE(SUM(amount_sat), 0) FROM deposits JOIN reserve USING (txid, vout)",
                )?,
                requests: sum("SELECT COUNT(*) FROM requests")?,
                requests_paid: sum("SELECT COUNT(*) FROM requests WHERE paid_height IS NOT NULL")?,
                pegged_out_sat: requests_sat,
                paid_sat,
                parent_fees_sat: sum("SELECT COALESCE(SUM(fee_sat), 0) FROM requests")?,
                coins_sat: sum("SELECT COALESCE(SUM(amount_sat), 0) FROM reserve
                                WHERE spent_height IS NULL AND name_txid IS NULL")?,
                coins: sum("SELECT COUNT(*) FROM reserve
                                WHERE spent_height IS NULL AND name_txid IS NULL")?,
            })
        })
    }
}

fn amount(stored: i64) -> u64 {
    u64::try_from(stored).unwrap_or(0)
}

fn parent_outpoint(txid: [u8; 32], vout: u32) -> bitcoin::OutPoint {
    bitcoin::OutPoint::new(bitcoin::Txid::from_byte_array(txid), vout)
}

fn request_of_row(row: &Row<'_>) -> Result<Request, rusqlite::Error> {
    Ok(Request {
        outpoint: OutPoint::new(Txid::from_byte_array(row.get(0)?), row.get(1)?),
        amount_sat: amount(row.get(2)?),
        script: ScriptBuf::from_bytes(row.get(3)?),
    })
}

fn asset_of_row(row: &Row<'_>) -> Result<AssetCount, rusqlite::Error> {
    Ok(AssetCount {
        asset: AssetId::from_byte_array(row.get(0)?),
        issued_sat: amount(row.get(1)?),
        pegged_in_sat: amount(row.get(2)?),
        pegged_out_sat: amount(row.get(3)?),
        burned_sat: amount(row.get(4)?),
        fees_lost_sat: amount(row.get(5)?),
        blinded_issuances: amount(row.get(6)?),
    })
}

fn insert_block(transaction: &Transaction<'_>, header: &BlockHeader) -> Done {
    let mut times: Vec<u32> = transaction
        .prepare_cached("SELECT time FROM blocks ORDER BY height DESC LIMIT 10")?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    times.push(header.time);
    times.sort_unstable();
    let median = times.get(times.len() / 2).copied().unwrap_or(header.time);
    transaction
        .prepare_cached(
            "INSERT INTO blocks (height, hash, time, median_time_past, header) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![header.height, header.block_hash().to_byte_array(), header.time, median, serialize(header)])
        .map(drop)
}

fn apply_coins(transaction: &Transaction<'_>, effects: &Effects) -> Done {
    let mut delete = transaction.prepare_cached("DELETE FROM coins WHERE txid = ?1 AND vout = ?2")?;
    for outpoint in effects.spent.keys() {
        delete.execute(params![outpoint.txid.to_byte_array(), outpoint.vout])?;
    }
    let mut insert = transaction
        .prepare_cached("INSERT INTO coins (txid, vout, height, is_coinbase, output) VALUES (?1, ?2, ?3, ?4, ?5)")?;
    for (outpoint, coin) in &effects.created {
        insert.execute(params![
            outpoint.txid.to_byte_array(),
            outpoint.vout,
            coin.height,
            coin.is_coinbase,
            serialize(&coin.output)
        ])?;
    }
    Ok(())
}

fn apply_peg(transaction: &Transaction<'_>, passed: &Passed) -> Done {
    let height = passed.block.header.height;
    let mut deposit = transaction.prepare_cached("INSERT INTO deposits (txid, vout) VALUES (?1, ?2)")?;
    let mut coin = transaction.prepare_cached("INSERT INTO reserve (txid, vout, amount_sat) VALUES (?1, ?2, ?3)")?;
    for claim in &passed.effects.pegins {
        let (txid, vout) = (claim.deposit.txid.to_byte_array(), claim.deposit.vout);
        deposit.execute(params![txid, vout])?;
        coin.execute(params![txid, vout, integer(claim.amount_sat)])?;
    }
    let mut request = transaction
        .prepare_cached("INSERT INTO requests (txid, vout, height, amount_sat, script) VALUES (?1, ?2, ?3, ?4, ?5)")?;
    for wanted in &passed.effects.pegouts {
        let (txid, vout) = (wanted.outpoint.txid.to_byte_array(), wanted.outpoint.vout);
        request.execute(params![txid, vout, height, integer(wanted.amount_sat), wanted.parent_script.as_bytes()])?;
    }
    match &passed.payments {
        Some(payments) => apply_batch(transaction, height, payments),
        None => Ok(()),
    }
}

fn apply_batch(transaction: &Transaction<'_>, height: u32, payments: &Payments) -> Done {
    let changed_one = |changed: usize| {
        // What is spent or paid was looked up before; if it is not there now, the file was changed under our feet.
        if changed == 1 { Ok(()) } else { Err(rusqlite::Error::StatementChangedRows(changed)) }
    };
    if let Some(earlier) = &payments.replaces {
        // The books are as they were; the coins that it makes may be here as well.
        let mut alternative = transaction.prepare_cached(
            "INSERT INTO reserve (txid, vout, amount_sat, name_txid, name_vout, spent_height)
             SELECT ?1, ?2, amount_sat, txid, vout, spent_height FROM reserve WHERE txid = ?3 AND vout = ?4",
        )?;
        for ((place, _), (name, _)) in payments.change.iter().zip(&earlier.change) {
            let (txid, name_txid) = (place.txid.to_byte_array(), name.txid.to_byte_array());
            changed_one(alternative.execute(params![txid, place.vout, name_txid, name.vout])?)?;
        }
        let mut fee = transaction
            .prepare_cached("UPDATE requests SET fee_sat = ?3 WHERE txid = ?1 AND vout = ?2 AND paid_height = ?4")?;
        for (paid, fee_sat) in &payments.paid {
            let (txid, fee_sat) = (paid.txid.to_byte_array(), integer(*fee_sat));
            changed_one(fee.execute(params![txid, paid.vout, fee_sat, earlier.height])?)?;
        }
        return Ok(());
    }
    let mut spend = transaction.prepare_cached(
        "UPDATE reserve SET spent_height = ?3 WHERE spent_height IS NULL
         AND ((txid = ?1 AND vout = ?2) OR (name_txid = ?1 AND name_vout = ?2))",
    )?;
    for spent in &payments.spent {
        // The coin, and as many other places as there are where it may be.
        changed_one(spend.execute(params![spent.txid.to_byte_array(), spent.vout, height])?.min(1))?;
    }
    let mut coin = transaction.prepare_cached("INSERT INTO reserve (txid, vout, amount_sat) VALUES (?1, ?2, ?3)")?;
    let mut change = transaction.prepare_cached("INSERT INTO change (height, txid, vout) VALUES (?1, ?2, ?3)")?;
    for (outpoint, amount_sat) in &payments.change {
        coin.execute(params![outpoint.txid.to_byte_array(), outpoint.vout, integer(*amount_sat)])?;
        change.execute(params![height, outpoint.txid.to_byte_array(), outpoint.vout])?;
    }
    let mut pay = transaction.prepare_cached(
        "UPDATE requests SET paid_height = ?3, fee_sat = ?4, position = ?5
         WHERE txid = ?1 AND vout = ?2 AND paid_height IS NULL",
    )?;
    for (position, (paid, fee_sat)) in payments.paid.iter().enumerate() {
        let (txid, fee_sat) = (paid.txid.to_byte_array(), integer(*fee_sat));
        changed_one(pay.execute(params![txid, paid.vout, height, fee_sat, integer(position)])?)?;
    }
    Ok(())
}

/// Adds what a block changes to the books. Sums stop at 2⁶³ − 1.
fn count(transaction: &Transaction<'_>, effects: &Effects, pegged_asset: AssetId) -> Done {
    let mut changes: BTreeMap<AssetId, AssetCount> = BTreeMap::new();
    let mut add = |asset: AssetId, field: fn(&mut AssetCount) -> &mut u64, amount: u64| {
        let sum = field(changes.entry(asset).or_insert_with(|| AssetCount::nothing(asset)));
        *sum = sum.saturating_add(amount);
    };
    for claim in &effects.pegins {
        add(pegged_asset, |count| &mut count.pegged_in_sat, claim.amount_sat);
    }
    for request in &effects.pegouts {
        add(pegged_asset, |count| &mut count.pegged_out_sat, request.amount_sat);
    }
    let lost = lost_fees(effects);
    for (asset, amount) in &effects.burned {
        // The rules count fees that nobody collected among what is burned.
        let lost = lost.get(asset).copied().unwrap_or(0);
        add(*asset, |count| &mut count.burned_sat, amount.saturating_sub(lost));
        add(*asset, |count| &mut count.fees_lost_sat, lost);
    }
    for record in &effects.issuances {
        match record.amount {
            Some(amount) => add(record.asset, |count| &mut count.issued_sat, amount),
            None => add(record.asset, |count| &mut count.blinded_issuances, 1),
        }
        match record.token_amount {
            Some(0) => {}
            Some(tokens) => add(record.token, |count| &mut count.issued_sat, tokens),
            None => add(record.token, |count| &mut count.blinded_issuances, 1),
        }
    }
    for change in changes.values() {
        let asset = change.asset.to_byte_array();
        let known = transaction
            .prepare_cached(
                "SELECT asset, issued, pegged_in, pegged_out, burned, fees_lost, blinded_issuances FROM assets
                 WHERE asset = ?1",
            )?
            .query_row([asset], asset_of_row)
            .optional()?;
        let sum = known.unwrap_or_else(|| AssetCount::nothing(change.asset)).plus(change);
        transaction
            .prepare_cached(
                "INSERT OR REPLACE INTO assets
                     (asset, issued, pegged_in, pegged_out, burned, fees_lost, blinded_issuances)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?
            .execute(params![
                asset,
                integer(sum.issued_sat),
                integer(sum.pegged_in_sat),
                integer(sum.pegged_out_sat),
                integer(sum.burned_sat),
                integer(sum.fees_lost_sat),
                integer(sum.blinded_issuances)
            ])?;
    }
    Ok(())
}

/// Fees that the coinbase did not keep, per asset.
fn lost_fees(effects: &Effects) -> BTreeMap<AssetId, u64> {
    let mut kept: BTreeMap<AssetId, u64> = BTreeMap::new();
    for coin in effects.created.values().filter(|coin| coin.is_coinbase) {
        if let (Some(asset), Some(amount)) = (coin.output.asset.explicit(), coin.output.value.explicit()) {
            let sum = kept.entry(asset).or_default();
            *sum = sum.saturating_add(amount);
        }
    }
    let lost = |(asset, paid): (&AssetId, &u64)| (*asset, paid.saturating_sub(kept.get(asset).copied().unwrap_or(0)));
    effects.fees.iter().map(lost).collect()
}

fn unreadable(error: impl std::fmt::Display) -> ViewError {
    ViewError(format!("auditor.db: {error}"))
}

impl ChainView for AuditorStore {
    fn coin(&self, outpoint: &OutPoint) -> Result<Option<Coin>, ViewError> {
        let row: Option<(u32, bool, Vec<u8>)> = self
            .query(|connection| {
                connection
                    .prepare_cached("SELECT height, is_coinbase, output FROM coins WHERE txid = ?1 AND vout = ?2")?
                    .query_row(params![outpoint.txid.to_byte_array(), outpoint.vout], |row| {
                        Ok((row.get(0)?, row.get(1)?, row.get(2)?))
                    })
                    .optional()
            })
            .map_err(unreadable)?;
        row.map(|(height, is_coinbase, output)| {
            Ok(Coin { output: TxOut::decode(output).map_err(unreadable)?, height, is_coinbase })
        })
        .transpose()
    }

    fn is_claimed(&self, deposit: &bitcoin::OutPoint) -> Result<bool, ViewError> {
        self.query(|connection| {
            connection
                .prepare_cached("SELECT EXISTS (SELECT 1 FROM deposits WHERE txid = ?1 AND vout = ?2)")?
                .query_row(params![deposit.txid.to_byte_array(), deposit.vout], |row| row.get(0))
        })
        .map_err(unreadable)
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
        let header = decode_header(header).map_err(unreadable)?;
        Ok(DynafedEntries::of(&header))
    }
}
