//! Batches that take each other's place: what is written of each, and a family as it is read again.
//!
//! The coins that a family spends bear the height of its first batch in `spent_height`. Change of a replacement is an
//! alternative of the change of that first batch: a row of its own, booked as the first one, spent when that is spent.

use aquifer_federation::treasury::{BatchKind, BatchPlan, ChangeUse, CoinKind, Family, FamilyBatch};
use bitcoin::hashes::Hash as _;
use bitcoin::{OutPoint, Transaction};
use rusqlite::{Connection, OptionalExtension as _, params};

use super::super::db::{StoreError, integer};
use super::books::spent_sat;
use super::peg::{COIN_COLUMNS, PEGOUT_COLUMNS, amount, coin_of_row, pegout_of_row};
use super::read::Snapshot;
use super::{NAME, WaitingPegout};

/// Writes what a batch of the block at `height` spends, makes and pays.
pub(super) fn book_batch(
    transaction: &rusqlite::Transaction<'_>,
    height: u32,
    batch: &BatchPlan,
) -> Result<(), rusqlite::Error> {
    let changed_one = |changed: usize| {
        // What is spent or paid was looked up before. If it is not there the transaction is rolled back, and the member stops.
        if changed == 1 { Ok(()) } else { Err(rusqlite::Error::StatementChangedRows(changed)) }
    };
    let family = match batch.kind {
        BatchKind::Fresh => height,
        BatchKind::Replacement { family } => family,
    };
    transaction
        .prepare_cached("INSERT INTO batches (height, family, spent_sat) VALUES (?1, ?2, ?3)")?
        // What the first batch of a family spends stays in flight until one of them is buried.
        .execute(params![height, family, if batch.kind == BatchKind::Fresh { integer(spent_sat(batch)) } else { 0 }])?;
    if batch.kind == BatchKind::Fresh {
        let mut spend = transaction.prepare_cached(
            "UPDATE treasury SET spent_height = ?3 WHERE spent_height IS NULL
             AND ((parent_txid = ?1 AND parent_vout = ?2) OR (booked_txid = ?1 AND booked_vout = ?2))",
        )?;
        for input in &batch.inputs {
            let coin = transaction
                .prepare_cached(&format!(
                    "SELECT {COIN_COLUMNS} FROM treasury WHERE parent_txid = ?1 AND parent_vout = ?2"
                ))?
                .query_row(params![input.txid.to_byte_array(), input.vout], coin_of_row)?;
            let booked_as = coin.booked_as;
            // A coin, and as many alternatives of it as there are.
            let changed = spend.execute(params![booked_as.txid.to_byte_array(), booked_as.vout, height])?;
            changed_one(changed.min(1))?;
        }
    }
    let mut make = transaction.prepare_cached(
        "INSERT INTO treasury (parent_txid, parent_vout, amount_sat, script_pubkey, witness_script, redeem_script,
                               height, booked_txid, booked_vout, spent_height)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9,
                 (SELECT spent_height FROM treasury WHERE parent_txid = ?8 AND parent_vout = ?9))",
    )?;
    for coin in &batch.change {
        let alternative_of = (coin.booked_as != coin.outpoint).then_some(coin.booked_as);
        let (witness_script, redeem) = match &coin.kind {
            CoinKind::Federation { witness_script, redeem } => (witness_script.as_bytes(), Some(redeem.as_bytes())),
            // The treasury's own output needs none: how it is spent follows from the federation. A deposit is no change.
            CoinKind::Treasury | CoinKind::Deposit { .. } => ([].as_slice(), None),
        };
        make.execute(params![
            coin.outpoint.txid.to_byte_array(),
            coin.outpoint.vout,
            integer(coin.amount_sat),
            coin.script_pubkey.as_bytes(),
            witness_script,
            redeem,
            height,
            alternative_of.map(|first| first.txid.to_byte_array()),
            alternative_of.map(|first| first.vout),
        ])?;
    }
    // Paid by the latest batch of the family, and by no other family.
    let mut pay = transaction.prepare_cached(
        "UPDATE pegouts SET batch_height = ?3, batch_vout = ?4 WHERE txid = ?1 AND vout = ?2
         AND (CASE WHEN ?5 = ?3 THEN batch_height IS NULL
              ELSE batch_height IN (SELECT height FROM batches WHERE family = ?5) END)",
    )?;
    for paid in &batch.paid {
        let (txid, vout) = (paid.request.txid.to_byte_array(), paid.request.vout);
        changed_one(pay.execute(params![txid, vout, height, paid.vout, family])?)?;
    }
    Ok(())
}

/// The transaction of the batch in the block at a height.
fn batch_at(connection: &Connection, height: u32) -> Result<Vec<u8>, rusqlite::Error> {
    connection
        .prepare_cached("SELECT batch FROM blocks WHERE height = ?1")?
        .query_row([height], |row| Ok(row.get::<_, Option<Vec<u8>>>(0)?.unwrap_or_default()))
}

fn decode(height: u32, bytes: &[u8]) -> Result<Transaction, StoreError> {
    bitcoin::consensus::deserialize(bytes).map_err(|error| StoreError::Inconsistent {
        file: NAME.into(),
        reason: format!("the batch of block {height}: {error}"),
    })
}

impl Snapshot<'_> {
    /// Heights of the blocks with the batches of the same family as the one at `height`, newest first, and which of them is
    /// known to be buried on Bitcoin.
    pub fn siblings(&self, height: u32) -> Result<(Vec<u32>, Option<u32>), StoreError> {
        let siblings: Vec<(u32, bool)> = self.query(|connection| {
            connection
                .prepare_cached(
                    "SELECT height, outcome IS 1 FROM batches
                     WHERE family = (SELECT family FROM batches WHERE height = ?1) ORDER BY height DESC",
                )?
                .query_map([height], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        })?;
        let buried = siblings.iter().find(|(_, is_buried)| *is_buried).map(|(height, _)| *height);
        Ok((siblings.into_iter().map(|(height, _)| height).collect(), buried))
    }

    /// The family that spends this output, or an alternative of it.
    pub fn family_spending(&self, outpoint: &OutPoint) -> Result<Option<Family>, StoreError> {
        let height: Option<Option<u32>> = self.query(|connection| {
            connection
                .prepare_cached("SELECT spent_height FROM treasury WHERE parent_txid = ?1 AND parent_vout = ?2")?
                .query_row(params![outpoint.txid.to_byte_array(), outpoint.vout], |row| row.get(0))
                .optional()
        })?;
        height.flatten().map(|height| self.family(height)).transpose()
    }

    /// The family whose first batch is in the block at `height`.
    pub fn family(&self, height: u32) -> Result<Family, StoreError> {
        let heights: Vec<u32> = self.query(|connection| {
            connection
                .prepare_cached("SELECT height FROM batches WHERE family = ?1 ORDER BY height")?
                .query_map([height], |row| row.get(0))?
                .collect()
        })?;
        let requests: Vec<_> = self.paid_by_family(height)?.into_iter().map(|paid| paid.request).collect();
        let spent_sat: u64 = self.query(|connection| {
            connection
                .prepare_cached("SELECT spent_sat FROM batches WHERE height = ?1")?
                .query_row([height], |row| row.get(0))
                .map(amount)
        })?;
        let mut batches = Vec::with_capacity(heights.len());
        let mut made = Vec::new();
        for at in heights {
            let batch = decode(at, &self.query(|connection| batch_at(connection, at))?)?;
            if at == height {
                let txid = batch.compute_txid();
                let vouts = (0u32..).zip(&batch.output).skip(requests.len());
                made = vouts.map(|(vout, _)| OutPoint::new(txid, vout)).collect();
            }
            let inputs = batch.input.iter().map(|input| input.previous_output).collect();
            let made_sat = batch.output.iter().fold(0u64, |sum, output| sum.saturating_add(output.value.to_sat()));
            batches.push(FamilyBatch { inputs, fee_sat: spent_sat.saturating_sub(made_sat) });
        }
        let coins = self.query(|connection| {
            connection
                .prepare_cached(&format!(
                    "SELECT {COIN_COLUMNS} FROM treasury WHERE spent_height = ?1 ORDER BY parent_txid, parent_vout"
                ))?
                .query_map([height], coin_of_row)?
                .collect()
        })?;
        let mut change_use = ChangeUse::Unspent;
        let mut change = Vec::with_capacity(made.len());
        for coin in made {
            let (coin, spent): (_, Option<u32>) = self.query(|connection| {
                connection
                    .prepare_cached(&format!(
                        "SELECT {COIN_COLUMNS}, spent_height FROM treasury WHERE parent_txid = ?1 AND parent_vout = ?2"
                    ))?
                    .query_row(params![coin.txid.to_byte_array(), coin.vout], |row| {
                        Ok((coin_of_row(row)?, row.get(9)?))
                    })
            })?;
            change.push(coin);
            if spent.is_some() {
                change_use = ChangeUse::Spent;
            }
        }
        Ok(Family { height, coins, requests, change, change_use, batches })
    }

    /// The requests that a family pays, in the order of the payments.
    pub fn paid_by_family(&self, family: u32) -> Result<Vec<WaitingPegout>, StoreError> {
        self.query(|connection| {
            connection
                .prepare_cached(&format!(
                    "SELECT {PEGOUT_COLUMNS},
                         (SELECT median_time_past FROM blocks WHERE blocks.height = pegouts.height)
                     FROM pegouts WHERE (txid, vout) IN (SELECT txid, vout FROM payments WHERE payments.height = ?1)
                     ORDER BY batch_vout"
                ))?
                .query_map([family], |row| {
                    Ok(WaitingPegout {
                        request: pegout_of_row(row)?.request,
                        requested_seconds: row.get::<_, u32>(7)?.into(),
                    })
                })?
                .collect()
        })
    }
}
