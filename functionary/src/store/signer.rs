//! `signer.db`: the signatures this member has made.
//!
//! A header is signed once per height and a batch once per final block, whatever is asked. The record is durable before
//! the signature is returned; asking again for the same thing returns the same signature.

use std::path::Path;
use std::sync::Arc;

use aquifer_federation::consensus::BlockId;
use rusqlite::{OptionalExtension as _, params};

use super::db::{Database, Gate, StoreError, Write, failed};

const MIGRATIONS: &[&str] = &["
CREATE TABLE headers (
    height INTEGER PRIMARY KEY,
    block BLOB NOT NULL,
    ecdsa BLOB NOT NULL,
    bls BLOB NOT NULL
);
CREATE TABLE batches (
    height INTEGER PRIMARY KEY,
    txid BLOB NOT NULL UNIQUE,
    signatures BLOB NOT NULL
);
"];

/// Our two signatures of a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderSignatures {
    /// The block that was signed.
    pub block: BlockId,
    /// For the Elements witness: DER with sighash byte.
    pub ecdsa: Vec<u8>,
    /// Our share of the certificate, 96 bytes.
    pub bls: Vec<u8>,
}

/// The record of what was signed.
pub struct SignerStore {
    database: Database,
}

impl SignerStore {
    /// Opens or makes the file.
    pub fn open(path: &Path, gate: Arc<dyn Gate>) -> Result<Self, StoreError> {
        Ok(SignerStore { database: Database::open(path, MIGRATIONS, gate)? })
    }

    /// Our signatures of the header at a height.
    pub fn header(&self, height: u32) -> Result<Option<HeaderSignatures>, StoreError> {
        self.database
            .connection
            .query_row("SELECT block, ecdsa, bls FROM headers WHERE height = ?1", [height], |row| {
                Ok(HeaderSignatures { block: BlockId(row.get(0)?), ecdsa: row.get(1)?, bls: row.get(2)? })
            })
            .optional()
            .map_err(|error| self.database.failed(error))
    }

    /// The highest height at which a header was signed.
    pub fn highest_header(&self) -> Result<Option<u32>, StoreError> {
        self.database
            .connection
            .query_row("SELECT MAX(height) FROM headers", [], |row| row.get(0))
            .map_err(|error| self.database.failed(error))
    }

    /// Records our signatures of a header, durable on return, and gives back what may be sent: the recorded ones, if the
    /// same block was signed before. Refuses a second block at one height.
    pub fn record_header(&mut self, height: u32, signatures: HeaderSignatures) -> Result<HeaderSignatures, StoreError> {
        if let Some(recorded) = self.header(height)? {
            if recorded.block == signatures.block {
                return Ok(recorded);
            }
            return Err(self.database.inconsistent(format!(
                "refusing to sign two headers at height {height}: {} was signed, now {} is wanted",
                recorded.block, signatures.block
            )));
        }
        self.database.write(Write::HeaderSignature, |transaction| {
            transaction
                .execute(
                    "INSERT INTO headers (height, block, ecdsa, bls) VALUES (?1, ?2, ?3, ?4)",
                    params![height, signatures.block.0, signatures.ecdsa, signatures.bls],
                )
                .map_err(|error| failed("signer.db", error))?;
            Ok(())
        })?;
        Ok(signatures)
    }

    /// Our signatures of the batch in the final block at a height: its txid and one signature per input.
    pub fn batch(&self, height: u32) -> Result<Option<([u8; 32], Vec<Vec<u8>>)>, StoreError> {
        let row: Option<([u8; 32], Vec<u8>)> = self
            .database
            .connection
            .query_row("SELECT txid, signatures FROM batches WHERE height = ?1", [height], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .optional()
            .map_err(|error| self.database.failed(error))?;
        row.map(|(txid, encoded)| {
            borsh::from_slice(&encoded)
                .map(|signatures| (txid, signatures))
                .map_err(|error| self.database.inconsistent(format!("batch at height {height}: {error}")))
        })
        .transpose()
    }

    /// Records our signatures of a batch, durable on return, and gives back what may be sent. Refuses a second batch at
    /// one height; `txid` is in internal byte order.
    pub fn record_batch(
        &mut self,
        height: u32,
        txid: [u8; 32],
        signatures: Vec<Vec<u8>>,
    ) -> Result<Vec<Vec<u8>>, StoreError> {
        if let Some((recorded, signatures)) = self.batch(height)? {
            if recorded == txid {
                return Ok(signatures);
            }
            return Err(self.database.inconsistent(format!("refusing to sign two batches at height {height}")));
        }
        let encoded = borsh::to_vec(&signatures).map_err(|error| self.database.inconsistent(error.to_string()))?;
        self.database.write(Write::BatchSignature, |transaction| {
            transaction
                .execute(
                    "INSERT INTO batches (height, txid, signatures) VALUES (?1, ?2, ?3)",
                    params![height, txid, encoded],
                )
                .map_err(|error| failed("signer.db", error))?;
            Ok(())
        })?;
        Ok(signatures)
    }
}

impl crate::peg::SignerRecord for SignerStore {
    fn record_batch(
        &mut self,
        height: u32,
        txid: &bitcoin::Txid,
        signatures: Vec<Vec<u8>>,
    ) -> Result<Vec<Vec<u8>>, Box<dyn std::error::Error + Send + Sync>> {
        use bitcoin::hashes::Hash as _;
        Ok(SignerStore::record_batch(self, height, txid.to_byte_array(), signatures)?)
    }
}
