//! The peg and the assets as the chain tells them: treasury coins, peg-outs, issuances, supply.

use aquifer_assets::peg::PegoutRequest;
use aquifer_assets::state::IssuanceRecord;
use aquifer_federation::treasury::{CoinKind, TreasuryCoin};
use bitcoin::ScriptBuf;
use bitcoin::hashes::Hash as _;
use elements::{AssetId, OutPoint, Txid};
use rusqlite::{OptionalExtension as _, Row, params};

use super::super::db::StoreError;
use super::read::Snapshot;
use super::{AssetSupply, PaidBy, StoredIssuance, StoredPegout, WaitingPegout, outpoint_of, parent_outpoint_of};

pub(super) const COIN_COLUMNS: &str = "parent_txid, parent_vout, amount_sat, script_pubkey, witness_script, redeem_script, claim_script, booked_txid, booked_vout";

pub(super) const PEGOUT_COLUMNS: &str = "txid, vout, amount_sat, parent_script, height, batch_height, batch_vout";

impl Snapshot<'_> {
    /// The transaction and height that claimed a deposit.
    pub fn claim_of(&self, deposit: &bitcoin::OutPoint) -> Result<Option<(Txid, u32)>, StoreError> {
        self.query(|connection| {
            connection
                .prepare_cached("SELECT claim_txid, height FROM deposits WHERE parent_txid = ?1 AND parent_vout = ?2")?
                .query_row(params![deposit.txid.to_byte_array(), deposit.vout], |row| {
                    Ok((Txid::from_byte_array(row.get(0)?), row.get(1)?))
                })
                .optional()
        })
    }

    /// The coins that no batch has spent, with every alternative of each, oldest first.
    pub fn treasury_coins(&self) -> Result<Vec<TreasuryCoin>, StoreError> {
        self.query(|connection| {
            connection
                .prepare_cached(&format!(
                    "SELECT {COIN_COLUMNS} FROM treasury WHERE spent_height IS NULL
                     ORDER BY height, parent_txid, parent_vout"
                ))?
                .query_map([], coin_of_row)?
                .collect()
        })
    }

    /// A coin of the treasury, spent or not.
    pub fn treasury_coin(&self, outpoint: &bitcoin::OutPoint) -> Result<Option<TreasuryCoin>, StoreError> {
        self.query(|connection| {
            connection
                .prepare_cached(&format!(
                    "SELECT {COIN_COLUMNS} FROM treasury WHERE parent_txid = ?1 AND parent_vout = ?2"
                ))?
                .query_row(params![outpoint.txid.to_byte_array(), outpoint.vout], coin_of_row)
                .optional()
        })
    }

    /// Peg-outs that no batch has paid, oldest first.
    pub fn waiting_pegouts(&self) -> Result<Vec<WaitingPegout>, StoreError> {
        self.query(|connection| {
            connection
                .prepare_cached(&format!(
                    "SELECT {PEGOUT_COLUMNS}, (SELECT median_time_past FROM blocks WHERE blocks.height = pegouts.height)
                     AS requested_seconds
                     FROM pegouts WHERE batch_height IS NULL ORDER BY requested_seconds, txid, vout"
                ))?
                .query_map([], |row| {
                    Ok(WaitingPegout {
                        request: pegout_of_row(row)?.request,
                        requested_seconds: row.get::<_, u32>(7)?.into(),
                    })
                })?
                .collect()
        })
    }

    /// A peg-out by the output that requests it.
    pub fn pegout(&self, request: &OutPoint) -> Result<Option<StoredPegout>, StoreError> {
        self.query(|connection| {
            connection
                .prepare_cached(&format!("SELECT {PEGOUT_COLUMNS} FROM pegouts WHERE txid = ?1 AND vout = ?2"))?
                .query_row(params![request.txid.to_byte_array(), request.vout], pegout_of_row)
                .optional()
        })
    }

    /// The latest peg-outs, newest first.
    pub fn latest_pegouts(&self, limit: u32) -> Result<Vec<StoredPegout>, StoreError> {
        self.query(|connection| {
            connection
                .prepare_cached(&format!(
                    "SELECT {PEGOUT_COLUMNS} FROM pegouts ORDER BY height DESC, txid, vout LIMIT ?1"
                ))?
                .query_map([limit], pegout_of_row)?
                .collect()
        })
    }

    /// The first issuance of an asset.
    pub fn issuance(&self, asset: &AssetId) -> Result<Option<StoredIssuance>, StoreError> {
        self.query(|connection| {
            connection
                .prepare_cached(
                    "SELECT txid, vin, height, asset, token, entropy, contract_hash, amount, token_amount FROM issuances
                     WHERE asset = ?1 AND contract_hash IS NOT NULL",
                )?
                .query_row([asset.to_byte_array()], |row| {
                    Ok(StoredIssuance {
                        record: IssuanceRecord {
                            txid: Txid::from_byte_array(row.get(0)?),
                            vin: row.get(1)?,
                            asset: AssetId::from_byte_array(row.get(3)?),
                            token: AssetId::from_byte_array(row.get(4)?),
                            entropy: row.get(5)?,
                            contract_hash: row.get(6)?,
                            amount: row.get::<_, Option<i64>>(7)?.map(amount),
                            token_amount: row.get::<_, Option<i64>>(8)?.map(amount),
                        },
                        height: row.get(2)?,
                    })
                })
                .optional()
        })
    }

    /// Supply of every asset that was ever issued, pegged in or burned.
    pub fn supply(&self) -> Result<Vec<AssetSupply>, StoreError> {
        self.query(|connection| {
            connection
                .prepare_cached("SELECT asset, issued, removed, burned, blinded_issuances FROM supply ORDER BY asset")?
                .query_map([], |row| {
                    Ok(AssetSupply {
                        asset: AssetId::from_byte_array(row.get(0)?),
                        issued: amount(row.get(1)?),
                        removed: amount(row.get(2)?),
                        burned: amount(row.get(3)?),
                        blinded_issuances: row.get(4)?,
                    })
                })?
                .collect()
        })
    }
}

pub(super) fn amount(stored: i64) -> u64 {
    u64::try_from(stored).unwrap_or(0)
}

pub(super) fn coin_of_row(row: &Row<'_>) -> Result<TreasuryCoin, rusqlite::Error> {
    // Deposits alone have a claim script; of the change, what is not under the treasury key has a redeem script.
    let witness_script = ScriptBuf::from_bytes(row.get(4)?);
    let redeem = row.get::<_, Option<Vec<u8>>>(5)?.map(ScriptBuf::from_bytes);
    let kind = match (row.get::<_, Option<Vec<u8>>>(6)?, redeem) {
        (Some(claim_script), redeem) => CoinKind::Deposit { witness_script, redeem, claim_script: claim_script.into() },
        (None, Some(redeem)) => CoinKind::Federation { witness_script, redeem },
        (None, None) => CoinKind::Treasury,
    };
    let outpoint = parent_outpoint_of(row.get(0)?, row.get(1)?);
    let booked_as = match (row.get(7)?, row.get(8)?) {
        (Some(txid), Some(vout)) => parent_outpoint_of(txid, vout),
        _ => outpoint,
    };
    Ok(TreasuryCoin {
        outpoint,
        booked_as,
        amount_sat: amount(row.get(2)?),
        script_pubkey: ScriptBuf::from_bytes(row.get(3)?),
        kind,
    })
}

pub(super) fn pegout_of_row(row: &Row<'_>) -> Result<StoredPegout, rusqlite::Error> {
    let batch = match (row.get(5)?, row.get(6)?) {
        (Some(height), Some(vout)) => Some(PaidBy { height, vout }),
        _ => None,
    };
    Ok(StoredPegout {
        request: PegoutRequest {
            outpoint: outpoint_of(row.get(0)?, row.get(1)?),
            amount_sat: amount(row.get(2)?),
            parent_script: ScriptBuf::from_bytes(row.get(3)?),
        },
        height: row.get(4)?,
        batch,
    })
}
