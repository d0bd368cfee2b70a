//! The one writer of the ledger.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

use aquifer_assets::block::stricter_block_weight;
use aquifer_assets::chain::ChainParams;
use aquifer_assets::primitives::Block;
use aquifer_assets::state::Effects;
use bitcoin::hashes::Hash as _;
use elements::encode::serialize;
use elements::{AssetId, Script};
use rusqlite::{Transaction, params};
use sha2::{Digest as _, Sha256};

use super::super::db::{Database, Gate, StoreError, Write, failed, integer};
use super::books::write_books;
use super::families::book_batch;
use super::{MIGRATIONS, NAME, NewBlock};

/// Writes the ledger.
pub struct LedgerStore {
    pub(super) database: Database,
    pegged_asset: AssetId,
}

impl LedgerStore {
    /// Opens the file, or makes it with the genesis block of these parameters.
    pub fn open(path: &Path, params: &ChainParams, gate: Arc<dyn Gate>) -> Result<Self, StoreError> {
        let database = Database::open(path, MIGRATIONS, gate)?;
        let mut store = LedgerStore { database, pegged_asset: params.pegged_asset() };
        let genesis: Option<[u8; 32]> = {
            use rusqlite::OptionalExtension as _;
            store
                .database
                .connection
                .query_row("SELECT hash FROM blocks WHERE height = 0", [], |row| row.get(0))
                .optional()
                .map_err(|error| store.database.failed(error))?
        };
        let expected = params.genesis_hash().to_byte_array();
        match genesis {
            None => {
                let block = params.genesis_block();
                let time = block.header.time;
                // The outputs of genesis are all unspendable here: no free coins exist on a chain with a peg.
                store.connect(&NewBlock {
                    block: &block,
                    height: 0,
                    median_time_past: time,
                    effects: &Effects::default(),
                    certificate: &[],
                    batch: None,
                    valve: None,
                })?;
            }
            Some(found) if found == expected => {}
            Some(_) => {
                return Err(store
                    .database
                    .inconsistent("this file belongs to another chain: its genesis block differs"));
            }
        }
        Ok(store)
    }

    /// Adds a final block and everything it changes; durable on return.
    pub fn connect(&mut self, new: &NewBlock<'_>) -> Result<(), StoreError> {
        let pegged_asset = self.pegged_asset;
        self.database.write(Write::Block, |transaction| {
            insert_block(transaction, new)
                .and_then(|()| insert_transactions(transaction, new))
                .and_then(|()| apply_coins(transaction, new))
                .and_then(|()| insert_history(transaction, new))
                .and_then(|()| insert_peg(transaction, new))
                .and_then(|()| count_supply(transaction, new, pegged_asset))
                .and_then(|()| write_books(transaction, new, pegged_asset))
                .map_err(|error| failed(NAME, error))
        })
    }
}

type Done = Result<(), rusqlite::Error>;

fn insert_block(transaction: &Transaction<'_>, new: &NewBlock<'_>) -> Done {
    let bytes = serialize(new.block);
    transaction.execute(
        "INSERT INTO blocks (height, hash, time, median_time_past, size, weight, header, block, certificate, batch)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        params![
            new.height,
            new.block.block_hash().to_byte_array(),
            new.block.header.time,
            new.median_time_past,
            integer(bytes.len()),
            integer(stricter_block_weight(new.block)),
            serialize(&new.block.header),
            bytes,
            new.certificate,
            new.batch.map(|batch| bitcoin::consensus::serialize(&batch.transaction)),
        ],
    )?;
    Ok(())
}

fn insert_transactions(transaction: &Transaction<'_>, new: &NewBlock<'_>) -> Done {
    let mut insert =
        transaction.prepare_cached("INSERT INTO transactions (txid, height, position) VALUES (?1, ?2, ?3)")?;
    for (position, tx) in new.block.txdata.iter().enumerate() {
        insert.execute(params![tx.txid().to_byte_array(), new.height, integer(position)])?;
    }
    Ok(())
}

fn apply_coins(transaction: &Transaction<'_>, new: &NewBlock<'_>) -> Done {
    let mut delete = transaction.prepare_cached("DELETE FROM coins WHERE txid = ?1 AND vout = ?2")?;
    for outpoint in new.effects.spent.keys() {
        delete.execute(params![outpoint.txid.to_byte_array(), outpoint.vout])?;
    }
    let mut insert = transaction
        .prepare_cached("INSERT INTO coins (txid, vout, height, is_coinbase, output) VALUES (?1, ?2, ?3, ?4, ?5)")?;
    for (outpoint, coin) in &new.effects.created {
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

/// The scripts that a block's transactions pay or spend from, with the transaction.
fn touched_scripts<'a>(block: &'a Block, effects: &'a Effects) -> Vec<(&'a Script, [u8; 32])> {
    let made_here: HashMap<_, _> = block.txdata.iter().map(|tx| (tx.txid(), tx)).collect();
    let mut touched = Vec::new();
    for tx in &block.txdata {
        let txid = tx.txid().to_byte_array();
        for input in tx.input.iter().filter(|input| !input.is_pegin) {
            let spent =
                effects.spent.get(&input.previous_output).map(|coin| &coin.output.script_pubkey).or_else(|| {
                    let parent = made_here.get(&input.previous_output.txid)?;
                    let output = parent.output.get(usize::try_from(input.previous_output.vout).ok()?)?;
                    Some(&output.script_pubkey)
                });
            touched.extend(spent.map(|script| (script, txid)));
        }
        touched.extend(tx.output.iter().map(|output| (&output.script_pubkey, txid)));
    }
    touched
}

fn insert_history(transaction: &Transaction<'_>, new: &NewBlock<'_>) -> Done {
    let mut insert =
        transaction.prepare_cached("INSERT OR IGNORE INTO history (script_hash, height, txid) VALUES (?1, ?2, ?3)")?;
    for (script, txid) in touched_scripts(new.block, new.effects) {
        if !script.is_empty() && !script.is_op_return() {
            insert.execute(params![script_hash(script), new.height, txid])?;
        }
    }
    Ok(())
}

/// What histories are kept under.
pub(crate) fn script_hash(script: &Script) -> [u8; 32] {
    Sha256::digest(script.as_bytes()).into()
}

fn insert_peg(transaction: &Transaction<'_>, new: &NewBlock<'_>) -> Done {
    let mut deposit = transaction.prepare_cached(
        "INSERT INTO deposits (parent_txid, parent_vout, amount_sat, claim_txid, height) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    let mut coin = transaction.prepare_cached(
        "INSERT INTO treasury
             (parent_txid, parent_vout, amount_sat, script_pubkey, witness_script, redeem_script, claim_script, height)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?;
    for claim in &new.effects.pegins {
        let (txid, vout) = (claim.deposit.txid.to_byte_array(), claim.deposit.vout);
        deposit.execute(params![
            txid,
            vout,
            integer(claim.amount_sat),
            claim.claim_txid.to_byte_array(),
            new.height
        ])?;
        let redeem = claim.deposit_script.is_p2sh().then(|| claim.witness_script.to_p2wsh().into_bytes());
        coin.execute(params![
            txid,
            vout,
            integer(claim.amount_sat),
            claim.deposit_script.as_bytes(),
            claim.witness_script.as_bytes(),
            redeem,
            claim.claim_script.as_bytes(),
            new.height
        ])?;
    }
    let mut pegout = transaction.prepare_cached(
        "INSERT INTO pegouts (txid, vout, amount_sat, parent_script, height) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    for request in &new.effects.pegouts {
        pegout.execute(params![
            request.outpoint.txid.to_byte_array(),
            request.outpoint.vout,
            integer(request.amount_sat),
            request.parent_script.as_bytes(),
            new.height
        ])?;
    }
    match new.batch {
        Some(batch) => book_batch(transaction, new.height, batch),
        None => Ok(()),
    }
}

// Anybody can issue an asset again and again. Beyond what SQLite counts with it would go on in floating point, and what it
// then keeps could not be read: the sums stop there.
fn count_supply(transaction: &Transaction<'_>, new: &NewBlock<'_>, pegged_asset: AssetId) -> Done {
    let mut changed = BTreeSet::new();
    let mut add = transaction.prepare_cached(
        "INSERT INTO supply (asset, issued, removed, burned, blinded_issuances) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (asset) DO UPDATE SET
             issued = min(issued + excluded.issued, 9223372036854775807),
             removed = min(removed + excluded.removed, 9223372036854775807),
             burned = min(burned + excluded.burned, 9223372036854775807),
             blinded_issuances = blinded_issuances + excluded.blinded_issuances",
    )?;
    let mut count = |asset: AssetId, issued: u64, removed: u64, burned: u64, blinded: u32| {
        changed.insert(asset);
        add.execute(params![asset.to_byte_array(), integer(issued), integer(removed), integer(burned), blinded])
            .map(|_| ())
    };
    for claim in &new.effects.pegins {
        count(pegged_asset, claim.amount_sat, 0, 0, 0)?;
    }
    for request in &new.effects.pegouts {
        count(pegged_asset, 0, request.amount_sat, 0, 0)?;
    }
    for (asset, amount) in &new.effects.burned {
        count(*asset, 0, *amount, *amount, 0)?;
    }
    let mut issuance = transaction.prepare_cached(
        "INSERT INTO issuances (txid, vin, height, asset, token, entropy, contract_hash, amount, token_amount)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?;
    for record in &new.effects.issuances {
        issuance.execute(params![
            record.txid.to_byte_array(),
            record.vin,
            new.height,
            record.asset.to_byte_array(),
            record.token.to_byte_array(),
            record.entropy,
            record.contract_hash,
            record.amount.map(integer),
            record.token_amount.map(integer)
        ])?;
        match record.amount {
            Some(amount) => count(record.asset, amount, 0, 0, 0)?,
            None => count(record.asset, 0, 0, 0, 1)?,
        }
        match record.token_amount {
            Some(0) => {}
            Some(tokens) => count(record.token, tokens, 0, 0, 0)?,
            None => count(record.token, 0, 0, 0, 1)?,
        }
    }
    let mut history = transaction.prepare_cached(
        "INSERT INTO supply_history (asset, height, issued, removed, burned, blinded_issuances)
         SELECT asset, ?2, issued, removed, burned, blinded_issuances FROM supply WHERE asset = ?1",
    )?;
    for asset in changed {
        history.execute(params![asset.to_byte_array(), new.height])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use aquifer_assets::state::IssuanceRecord;
    use elements::Txid;

    use super::*;
    use crate::store::OpenGate;
    use crate::store::ledger::LedgerReader;

    #[test]
    fn more_of_an_asset_than_can_be_counted_can_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.db");
        let params = ChainParams::elements_default("supply");
        let mut store = LedgerStore::open(&path, &params, Arc::new(OpenGate)).unwrap();
        let asset = AssetId::from_byte_array([1; 32]);
        let issue = |vin| IssuanceRecord {
            txid: Txid::from_byte_array([2; 32]),
            vin,
            asset,
            token: AssetId::from_byte_array([3; 32]),
            entropy: [4; 32],
            contract_hash: None,
            amount: Some(1 << 62),
            token_amount: None,
        };
        let effects = Effects { issuances: (0..3).map(issue).collect(), ..Effects::default() };
        let block = params.genesis_block();
        let block = Block::decode(serialize(&block)).unwrap();
        let new = NewBlock {
            block: &block,
            height: 1,
            median_time_past: 0,
            effects: &effects,
            certificate: &[],
            batch: None,
            valve: None,
        };
        store.database.note(|transaction| count_supply(transaction, &new, params.pegged_asset())).unwrap();
        let supply = LedgerReader::new(&path).snapshot().unwrap().supply().unwrap();
        let issued = supply.iter().find(|supply| supply.asset == asset).unwrap().issued;
        assert_eq!(issued, u64::try_from(i64::MAX).unwrap());
    }
}
