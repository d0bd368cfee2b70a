//! The wallet's own records: addresses handed out, names of assets, peg-ins under way.
//!
//! A peg-in is written down before its Bitcoin address is shown, and a claim before it is submitted, so that an
//! interruption at any point loses nothing.

use std::path::Path;

use elements::encode::{deserialize, serialize};
use elements::{AssetId, Script, Transaction, Txid};
use rusqlite::{OptionalExtension, Row, params};

use super::{Database, Durability, StoreError};
use crate::peg::pegin::{Deposit, DepositStage, PeginAddress};

const MIGRATIONS: &[&str] = &[
    "
    CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
    CREATE TABLE lwk (key BLOB PRIMARY KEY, value BLOB NOT NULL) STRICT;
    CREATE TABLE assets (
        asset TEXT PRIMARY KEY,
        token TEXT NOT NULL,
        name TEXT NOT NULL,
        ticker TEXT NOT NULL,
        precision INTEGER NOT NULL,
        contract TEXT
    ) STRICT;
    CREATE TABLE pegin_addresses (
        id INTEGER PRIMARY KEY,
        address_index INTEGER NOT NULL UNIQUE,
        claim_script BLOB NOT NULL UNIQUE,
        bitcoin_address TEXT NOT NULL,
        created_height INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE deposits (
        address INTEGER NOT NULL REFERENCES pegin_addresses (id),
        parent_txid TEXT NOT NULL,
        vout INTEGER NOT NULL,
        amount_sat INTEGER NOT NULL,
        stage TEXT NOT NULL,
        confirmations INTEGER NOT NULL,
        needed INTEGER NOT NULL,
        claim BLOB,
        claim_txid TEXT,
        claim_height INTEGER,
        PRIMARY KEY (parent_txid, vout)
    ) STRICT;
",
    "
    CREATE TABLE prepared_issues (
        asset TEXT PRIMARY KEY REFERENCES assets (asset),
        raw BLOB NOT NULL
    ) STRICT;
",
];

pub(super) fn open_database(path: &Path) -> Result<Database, StoreError> {
    Database::open(path, Durability::Full, MIGRATIONS)
}

/// An asset this wallet has issued or been told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssetRecord {
    /// The asset.
    pub asset: AssetId,
    /// Its reissuance token.
    pub token: AssetId,
    /// Name for people.
    pub name: String,
    /// Short name.
    pub ticker: String,
    /// Decimals.
    pub precision: u8,
    /// The contract that the asset id commits to, as JSON, if there is one.
    pub contract: Option<String>,
}

/// The records of one wallet.
#[derive(Debug)]
pub struct WalletDb(Database);

impl WalletDb {
    /// Opens or makes the wallet's database for the chain with this genesis block.
    pub fn open(path: &Path, genesis: &elements::BlockHash) -> Result<Self, StoreError> {
        let database = open_database(path)?;
        database.bind_to_chain(genesis)?;
        Ok(Self(database))
    }

    /// The first address index that has never been handed out.
    pub fn next_address_index(&self) -> Result<u32, StoreError> {
        let value: Option<String> = self
            .0
            .connection
            .query_row("SELECT value FROM meta WHERE key = 'next_address'", [], |row| row.get(0))
            .optional()
            .map_err(|error| self.0.wrap(error))?;
        value.map_or(Ok(0), |text| text.parse().map_err(|_| self.0.damaged("the next address index")))
    }

    /// Notes that all addresses below `next` have been handed out. Never goes back.
    pub fn hand_out_below(&self, next: u32) -> Result<(), StoreError> {
        if next <= self.next_address_index()? {
            return Ok(());
        }
        self.0
            .connection
            .execute("INSERT OR REPLACE INTO meta (key, value) VALUES ('next_address', ?1)", [next.to_string()])
            .map(|_| ())
            .map_err(|error| self.0.wrap(error))
    }

    /// Remembers an asset, replacing what was known of it.
    pub fn put_asset(&self, record: &AssetRecord) -> Result<(), StoreError> {
        self.0
            .connection
            .execute(
                "INSERT INTO assets (asset, token, name, ticker, precision, contract)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                 ON CONFLICT (asset) DO UPDATE SET token = ?2, name = ?3, ticker = ?4, precision = ?5, contract = ?6",
                params![
                    record.asset.to_string(),
                    record.token.to_string(),
                    record.name,
                    record.ticker,
                    record.precision,
                    record.contract
                ],
            )
            .map(|_| ())
            .map_err(|error| self.0.wrap(error))
    }

    /// Writes down an issue that is signed and not handed in, with the asset that it makes.
    pub fn put_prepared_issue(&self, record: &AssetRecord, transaction: &Transaction) -> Result<(), StoreError> {
        self.put_asset(record)?;
        self.0
            .connection
            .execute(
                "INSERT OR REPLACE INTO prepared_issues (asset, raw) VALUES (?1, ?2)",
                params![record.asset.to_string(), serialize(transaction)],
            )
            .map(|_| ())
            .map_err(|error| self.0.wrap(error))
    }

    /// The prepared issue of an asset.
    pub fn prepared_issue(&self, asset: &AssetId) -> Result<Option<Transaction>, StoreError> {
        let sql = "SELECT raw FROM prepared_issues WHERE asset = ?1";
        let raw: Option<Vec<u8>> = self
            .0
            .connection
            .query_row(sql, [asset.to_string()], |row| row.get(0))
            .optional()
            .map_err(|error| self.0.wrap(error))?;
        raw.map(|raw| deserialize(&raw).map_err(|error| self.0.damaged(format!("a prepared issue: {error}"))))
            .transpose()
    }

    /// Drops the prepared issue of an asset; what is known of the asset stays.
    pub fn forget_prepared_issue(&self, asset: &AssetId) -> Result<(), StoreError> {
        self.0
            .connection
            .execute("DELETE FROM prepared_issues WHERE asset = ?1", [asset.to_string()])
            .map(|_| ())
            .map_err(|error| self.0.wrap(error))
    }

    /// All assets known by name.
    pub fn assets(&self) -> Result<Vec<AssetRecord>, StoreError> {
        let sql = "SELECT asset, token, name, ticker, precision, contract FROM assets ORDER BY rowid";
        self.rows(sql, params![], |row| {
            Ok(AssetRecord {
                asset: parsed(row, 0)?,
                token: parsed(row, 1)?,
                name: row.get(2)?,
                ticker: row.get(3)?,
                precision: row.get(4)?,
                contract: row.get(5)?,
            })
        })
    }

    /// Writes down a peg-in address. Only afterwards may it be shown.
    pub fn add_pegin_address(&self, address: &PeginAddress) -> Result<(), StoreError> {
        self.0
            .connection
            .execute(
                "INSERT INTO pegin_addresses (address_index, claim_script, bitcoin_address, created_height)
                 VALUES (?1, ?2, ?3, ?4)",
                params![
                    address.index,
                    address.claim_script.as_bytes(),
                    address.bitcoin_address,
                    address.created_height
                ],
            )
            .map(|_| ())
            .map_err(|error| self.0.wrap(error))
    }

    /// All peg-in addresses ever handed out, oldest first.
    pub fn pegin_addresses(&self) -> Result<Vec<PeginAddress>, StoreError> {
        let sql =
            "SELECT address_index, claim_script, bitcoin_address, created_height FROM pegin_addresses ORDER BY id";
        self.rows(sql, params![], |row| {
            Ok(PeginAddress {
                index: row.get(0)?,
                claim_script: Script::from(row.get::<_, Vec<u8>>(1)?),
                bitcoin_address: row.get(2)?,
                created_height: row.get(3)?,
            })
        })
    }

    /// Writes down the state of a deposit to the peg-in address with this index.
    pub fn put_deposit(&self, address_index: u32, deposit: &Deposit) -> Result<(), StoreError> {
        let (claim, claim_txid, claim_height) = match &deposit.stage {
            DepositStage::Confirming | DepositStage::Ready | DepositStage::TooSmall => (None, None, None),
            DepositStage::Submitted { claim_txid, claim } => (Some(claim), Some(claim_txid), None),
            DepositStage::Claimed { claim_txid, height } => (None, Some(claim_txid), Some(*height)),
        };
        self.0
            .connection
            .execute(
                "INSERT INTO deposits
                     (address, parent_txid, vout, amount_sat, stage, confirmations, needed, claim, claim_txid, claim_height)
                 VALUES ((SELECT id FROM pegin_addresses WHERE address_index = ?1), ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
                 ON CONFLICT (parent_txid, vout) DO UPDATE SET stage = ?5, confirmations = ?6, needed = ?7,
                     claim = ?8, claim_txid = ?9, claim_height = ?10",
                params![
                    address_index,
                    deposit.outpoint.txid.to_string(),
                    deposit.outpoint.vout,
                    i64::try_from(deposit.amount_sat).map_err(|_| self.0.damaged("a deposit above 2^63 sat"))?,
                    deposit.stage.name(),
                    deposit.confirmations,
                    deposit.needed_confirmations,
                    claim,
                    claim_txid.map(Txid::to_string),
                    claim_height
                ],
            )
            .map(|_| ())
            .map_err(|error| self.0.wrap(error))
    }

    /// The deposits to the peg-in address with this index, in the order they were seen.
    pub fn deposits(&self, address_index: u32) -> Result<Vec<Deposit>, StoreError> {
        let sql = "SELECT parent_txid, vout, amount_sat, stage, confirmations, needed, claim, claim_txid, claim_height
                   FROM deposits WHERE address = (SELECT id FROM pegin_addresses WHERE address_index = ?1) ORDER BY rowid";
        self.rows(sql, params![address_index], |row| {
            let amount: i64 = row.get(2)?;
            Ok(Deposit {
                outpoint: bitcoin::OutPoint::new(parsed(row, 0)?, row.get(1)?),
                amount_sat: u64::try_from(amount).map_err(|error| conversion(2, error))?,
                stage: stage(row)?,
                confirmations: row.get(4)?,
                needed_confirmations: row.get(5)?,
            })
        })
    }

    fn rows<T>(
        &self,
        sql: &str,
        parameters: &[&dyn rusqlite::ToSql],
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        let run = || {
            let mut statement = self.0.connection.prepare(sql)?;
            let rows = statement.query_map(parameters, read)?;
            rows.collect::<rusqlite::Result<Vec<T>>>()
        };
        run().map_err(|error| self.0.wrap(error))
    }
}

fn stage(row: &Row<'_>) -> rusqlite::Result<DepositStage> {
    let name: String = row.get(3)?;
    match name.as_str() {
        "confirming" => Ok(DepositStage::Confirming),
        "ready" => Ok(DepositStage::Ready),
        "too-small" => Ok(DepositStage::TooSmall),
        "submitted" => Ok(DepositStage::Submitted { claim_txid: parsed(row, 7)?, claim: row.get(6)? }),
        "claimed" => Ok(DepositStage::Claimed { claim_txid: parsed(row, 7)?, height: row.get(8)? }),
        _ => Err(conversion(3, std::io::Error::other(format!("unknown stage of a deposit: {name}")))),
    }
}

fn parsed<T: std::str::FromStr>(row: &Row<'_>, column: usize) -> rusqlite::Result<T>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    row.get::<_, String>(column)?.parse().map_err(|error| conversion(column, error))
}

fn conversion(column: usize, error: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(error))
}
