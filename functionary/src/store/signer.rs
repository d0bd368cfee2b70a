//! `signer.db`: the signatures this member has made.
//!
//! A header is signed once per height and a batch once per final block, whatever is asked. The record is durable before
//! the signature is returned; asking again for the same thing returns the same signature. The one thing that can be added:
//! inputs of the same batch that were left to the treasury key are signed by the member itself. What was given out before
//! stays as it is.

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

/// Our signatures of a peg-out batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchSignatures {
    /// The batch, in internal byte order.
    pub txid: [u8; 32],
    /// One per input: DER with sighash byte for a deposit; for an output of the treasury BIP 340, or nothing while it is
    /// left to the treasury key.
    pub signatures: Vec<Vec<u8>>,
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

    /// Our signatures of the batch in the final block at a height.
    pub fn batch(&self, height: u32) -> Result<Option<BatchSignatures>, StoreError> {
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
                .map(|signatures| BatchSignatures { txid, signatures })
                .map_err(|error| self.database.inconsistent(format!("batch at height {height}: {error}")))
        })
        .transpose()
    }

    /// Records our signatures of a batch, durable on return, and gives back what may be sent: everything recorded of this
    /// batch, to which only signatures of inputs without one are added. Refuses a second batch at one height; `txid` is in
    /// internal byte order.
    pub fn record_batch(
        &mut self,
        height: u32,
        txid: [u8; 32],
        signatures: Vec<Vec<u8>>,
    ) -> Result<Vec<Vec<u8>>, StoreError> {
        let Some(recorded) = self.batch(height)? else {
            let encoded = self.encode(&signatures)?;
            self.database.write(Write::BatchSignature, |transaction| {
                transaction
                    .execute(
                        "INSERT INTO batches (height, txid, signatures) VALUES (?1, ?2, ?3)",
                        params![height, txid, encoded],
                    )
                    .map_err(|error| failed("signer.db", error))?;
                Ok(())
            })?;
            return Ok(signatures);
        };
        if recorded.txid != txid {
            return Err(self.database.inconsistent(format!("refusing to sign two batches at height {height}")));
        }
        if recorded.signatures.len() != signatures.len() {
            let reason = format!("the batch at height {height} has other inputs than when it was signed");
            return Err(self.database.inconsistent(reason));
        }
        let pairs = recorded.signatures.iter().zip(signatures);
        let all: Vec<Vec<u8>> = pairs.map(|(old, new)| if old.is_empty() { new } else { old.clone() }).collect();
        if all != recorded.signatures {
            let encoded = self.encode(&all)?;
            self.database.write(Write::ScriptSignature, |transaction| {
                transaction
                    .execute(
                        "UPDATE batches SET signatures = ?3 WHERE height = ?1 AND txid = ?2",
                        params![height, txid, encoded],
                    )
                    .map_err(|error| failed("signer.db", error))?;
                Ok(())
            })?;
        }
        Ok(all)
    }

    fn encode(&self, signatures: &[Vec<u8>]) -> Result<Vec<u8>, StoreError> {
        borsh::to_vec(signatures).map_err(|error| self.database.inconsistent(error.to_string()))
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::store::OpenGate;

    /// What a member sends of a batch with a deposit and two outputs of the treasury.
    fn signed(mark: u8, by_script: [bool; 2]) -> Vec<Vec<u8>> {
        let by_script = by_script.map(|signed| if signed { vec![mark; 64] } else { Vec::new() });
        [vec![vec![mark; 71]], Vec::from(by_script)].concat()
    }

    #[test]
    fn a_batch_is_signed_in_two_steps_and_never_another() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("signer.db");
        let open = || SignerStore::open(&path, Arc::new(OpenGate)).unwrap();
        let (batch, other) = ([7; 32], [8; 32]);
        let deposits = open().record_batch(5, batch, signed(1, [false, false])).unwrap();
        assert_eq!(deposits, signed(1, [false, false]));
        let everything = open().record_batch(5, batch, signed(1, [true, true])).unwrap();
        assert_eq!(everything, signed(1, [true, true]));
        // As after a restart: what was recorded is given out, and nothing is taken back.
        assert_eq!(open().record_batch(5, batch, signed(1, [false, false])).unwrap(), everything);
        assert_eq!(open().batch(5).unwrap().unwrap().signatures, everything);
        // Other signatures of the same inputs are not given out.
        assert_eq!(open().record_batch(5, batch, signed(2, [true, true])).unwrap(), everything);
        assert!(open().record_batch(5, other, signed(1, [true, true])).is_err());
        assert!(open().record_batch(5, other, signed(1, [false, false])).is_err());
        assert!(open().record_batch(5, batch, vec![vec![1; 71]]).is_err(), "fewer inputs");
        // The same batch at another height would be paid twice.
        assert!(open().record_batch(6, batch, signed(1, [true, true])).is_err());
        assert_eq!(open().batch(5).unwrap().unwrap().signatures, everything);
    }

    #[test]
    fn another_batch_is_refused_between_the_steps_as_well() {
        let folder = tempfile::tempdir().unwrap();
        let mut signer = SignerStore::open(&folder.path().join("signer.db"), Arc::new(OpenGate)).unwrap();
        signer.record_batch(5, [7; 32], signed(1, [false, false])).unwrap();
        assert!(signer.record_batch(5, [8; 32], signed(1, [true, true])).is_err());
        let added = signer.record_batch(5, [7; 32], signed(2, [true, false])).unwrap();
        let [deposit, first, second] = added.as_slice() else { unreachable!("{added:?}") };
        assert_eq!((deposit, first, second), (&vec![1; 71], &vec![2; 64], &Vec::new()));
    }
}
