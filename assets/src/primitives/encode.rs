//! Writing the wire. The trait is that of the `elements` crate, so that its `serialize` works on both kinds of types.

use std::io;

use elements::encode::{Encodable, Error, VarInt};

use super::transaction::{ISSUANCE_FLAG, PEGIN_FLAG};
use super::{Block, Nonce, RangeProof, SurjectionProof, Transaction, TxIn, TxInWitness, TxOut, TxOutWitness, Witness};

/// Counts what is written.
pub(super) struct Counter(usize);

impl Counter {
    pub(super) fn length_of(write: impl FnOnce(&mut Self) -> Result<usize, Error>) -> usize {
        let mut counter = Self(0);
        // Counting cannot fail.
        let _ = write(&mut counter);
        counter.0
    }
}

impl io::Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.saturating_add(bytes.len());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn compact_size(length: usize) -> VarInt {
    // No platform has lengths of more than 64 bits.
    VarInt(u64::try_from(length).unwrap_or(u64::MAX))
}

fn prefixed<W: io::Write>(bytes: &[u8], mut writer: W) -> Result<usize, Error> {
    let prefix = compact_size(bytes.len()).consensus_encode(&mut writer)?;
    writer.write_all(bytes).map_err(Error::Io)?;
    Ok(prefix.saturating_add(bytes.len()))
}

/// Adds bytes behind their length.
pub(super) fn put_prefixed(buffer: &mut Vec<u8>, bytes: &[u8]) {
    // A vector takes everything.
    let _ = prefixed(bytes, buffer);
}

/// A transaction as if it had no witnesses.
pub(super) fn without_witness<W: io::Write>(transaction: &Transaction, writer: W) -> Result<usize, Error> {
    base(transaction, 0, writer)
}

fn base<W: io::Write>(transaction: &Transaction, flags: u8, mut w: W) -> Result<usize, Error> {
    Ok(transaction.version.consensus_encode(&mut w)?
        + flags.consensus_encode(&mut w)?
        + transaction.input.consensus_encode(&mut w)?
        + transaction.output.consensus_encode(&mut w)?
        + transaction.lock_time.consensus_encode(&mut w)?)
}

impl Encodable for Transaction {
    fn consensus_encode<W: io::Write>(&self, mut w: W) -> Result<usize, Error> {
        let has_witness = self.has_witness();
        let mut length = base(self, u8::from(has_witness), &mut w)?;
        if has_witness {
            for input in &self.input {
                length += input.witness.consensus_encode(&mut w)?;
            }
            for output in &self.output {
                length += output.witness.consensus_encode(&mut w)?;
            }
        }
        Ok(length)
    }
}

/// Without witness.
impl Encodable for TxIn {
    fn consensus_encode<W: io::Write>(&self, mut w: W) -> Result<usize, Error> {
        let mut index = self.previous_output.vout;
        if self.is_pegin {
            index |= PEGIN_FLAG;
        }
        if self.has_issuance() {
            index |= ISSUANCE_FLAG;
        }
        let mut length = self.previous_output.txid.consensus_encode(&mut w)?
            + index.consensus_encode(&mut w)?
            + self.script_sig.consensus_encode(&mut w)?
            + self.sequence.consensus_encode(&mut w)?;
        if self.has_issuance() {
            length += self.asset_issuance.consensus_encode(&mut w)?;
        }
        Ok(length)
    }
}

/// Without witness.
impl Encodable for TxOut {
    fn consensus_encode<W: io::Write>(&self, mut w: W) -> Result<usize, Error> {
        Ok(self.asset.consensus_encode(&mut w)?
            + self.value.consensus_encode(&mut w)?
            + self.nonce.consensus_encode(&mut w)?
            + self.script_pubkey.consensus_encode(&mut w)?)
    }
}

impl Encodable for Nonce {
    fn consensus_encode<W: io::Write>(&self, mut w: W) -> Result<usize, Error> {
        let (prefix, bytes) = self.parts();
        w.write_all(&[prefix]).and_then(|()| w.write_all(bytes)).map_err(Error::Io)?;
        Ok(bytes.len().saturating_add(1))
    }
}

impl Encodable for TxInWitness {
    fn consensus_encode<W: io::Write>(&self, mut w: W) -> Result<usize, Error> {
        Ok(self.amount_rangeproof.consensus_encode(&mut w)?
            + self.inflation_keys_rangeproof.consensus_encode(&mut w)?
            + self.script_witness.consensus_encode(&mut w)?
            + self.pegin_witness.consensus_encode(&mut w)?)
    }
}

impl Encodable for TxOutWitness {
    fn consensus_encode<W: io::Write>(&self, mut w: W) -> Result<usize, Error> {
        Ok(self.surjection_proof.consensus_encode(&mut w)? + self.rangeproof.consensus_encode(&mut w)?)
    }
}

impl Encodable for Witness {
    fn consensus_encode<W: io::Write>(&self, mut w: W) -> Result<usize, Error> {
        let count = compact_size(self.len()).consensus_encode(&mut w)?;
        w.write_all(self.encoded_items()).map_err(Error::Io)?;
        Ok(count.saturating_add(self.encoded_items().len()))
    }
}

impl Encodable for RangeProof {
    fn consensus_encode<W: io::Write>(&self, w: W) -> Result<usize, Error> {
        prefixed(self.as_bytes(), w)
    }
}

impl Encodable for SurjectionProof {
    fn consensus_encode<W: io::Write>(&self, w: W) -> Result<usize, Error> {
        prefixed(self.as_bytes(), w)
    }
}

impl Encodable for Block {
    fn consensus_encode<W: io::Write>(&self, mut w: W) -> Result<usize, Error> {
        Ok(self.header.consensus_encode(&mut w)? + self.txdata.consensus_encode(&mut w)?)
    }
}
