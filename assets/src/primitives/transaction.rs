//! Transactions, inputs and outputs.

use std::io;

use bitcoin::hashes::{Hash as _, HashEngine as _, sha256d};
use bytes::Bytes;
use elements::confidential::{Asset, Value};
use elements::encode::Encodable as _;
use elements::{AssetBlindingNonce, AssetEntropy, AssetIssuance, LockTime, OutPoint, Script, Sequence, Txid, Wtxid};

use super::decode::{DecodeError, Reader};
use super::encode::{self, Counter};
use super::{Nonce, TxInWitness, TxOutWitness};

/// Bits of an output index on the wire that are none of the index (`COutPoint`).
pub(super) const PEGIN_FLAG: u32 = 1 << 30;
pub(super) const ISSUANCE_FLAG: u32 = 1 << 31;
/// The index of a coinbase's input. It carries no flags.
pub(super) const NULL_INDEX: u32 = u32::MAX;
/// The one bit of a transaction's flags that has a meaning.
const WITNESS_FLAG: u8 = 1;
/// What a byte outside witnesses weighs.
const WITNESS_SCALE_FACTOR: usize = 4;

/// What is spent, and why it may be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TxIn {
    /// The output that is spent; of the parent chain for a peg-in.
    pub previous_output: OutPoint,
    /// Whether a deposit on the parent chain is claimed.
    pub is_pegin: bool,
    /// What satisfies scripts without witness.
    pub script_sig: Script,
    /// The sequence number.
    pub sequence: Sequence,
    /// What is issued; null if nothing is.
    pub asset_issuance: AssetIssuance,
    /// The witness.
    pub witness: TxInWitness,
}

impl TxIn {
    /// Whether this is the input of a coinbase.
    pub fn is_coinbase(&self) -> bool {
        self.previous_output.is_null()
    }

    /// Whether something is issued.
    pub fn has_issuance(&self) -> bool {
        !self.asset_issuance.is_null()
    }

    /// The deposit that is claimed, if this is a peg-in.
    pub fn pegin_prevout(&self) -> Option<bitcoin::OutPoint> {
        let txid = bitcoin::Txid::from_byte_array(self.previous_output.txid.to_byte_array());
        self.is_pegin.then_some(bitcoin::OutPoint { txid, vout: self.previous_output.vout })
    }

    /// Without the witness, which stands behind the outputs.
    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        let txid = Txid::from_byte_array(reader.array()?);
        let index = reader.u32()?;
        let flag = |flag: u32| index != NULL_INDEX && index & flag != 0;
        let vout = if index == NULL_INDEX { index } else { index & !(PEGIN_FLAG | ISSUANCE_FLAG) };
        let script_sig = reader.script()?;
        let sequence = Sequence::from_consensus(reader.u32()?);
        let asset_issuance = if flag(ISSUANCE_FLAG) { read_issuance(reader)? } else { AssetIssuance::null() };
        Ok(Self {
            previous_output: OutPoint::new(txid, vout),
            is_pegin: flag(PEGIN_FLAG),
            script_sig,
            sequence,
            asset_issuance,
            witness: TxInWitness::default(),
        })
    }
}

fn read_issuance(reader: &mut Reader) -> Result<AssetIssuance, DecodeError> {
    let issuance = AssetIssuance {
        asset_blinding_nonce: AssetBlindingNonce::from_byte_array(reader.array()?),
        asset_entropy: AssetEntropy::from_byte_array(reader.array()?),
        amount: reader.value()?,
        inflation_keys: reader.value()?,
    };
    if issuance.is_null() { Err(DecodeError::NullIssuance) } else { Ok(issuance) }
}

/// What is made, and who may spend it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TxOut {
    /// The asset, or a commitment to it.
    pub asset: Asset,
    /// The amount, or a commitment to it.
    pub value: Value,
    /// What helps the receiver to find the blinding factors.
    pub nonce: Nonce,
    /// The script that must be satisfied; empty for a fee.
    pub script_pubkey: Script,
    /// The witness.
    pub witness: TxOutWitness,
}

impl TxOut {
    /// A fee.
    pub fn new_fee(amount: u64, asset: elements::AssetId) -> Self {
        Self { asset: Asset::Explicit(asset), value: Value::Explicit(amount), ..Self::default() }
    }

    /// Whether this is a fee.
    pub fn is_fee(&self) -> bool {
        self.script_pubkey.is_empty() && self.value.is_explicit() && self.asset.is_explicit()
    }

    /// Decodes an output by itself, without witness.
    ///
    /// # Errors
    /// [`DecodeError`] if the bytes are not exactly one output.
    pub fn decode(bytes: impl Into<Bytes>) -> Result<Self, DecodeError> {
        Reader::all(bytes, Self::read)
    }

    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        let (asset, value, nonce) = (reader.asset()?, reader.value()?, Nonce::read(reader)?);
        if asset.is_null() {
            return Err(DecodeError::Null { what: "asset" });
        }
        if value.is_null() {
            return Err(DecodeError::Null { what: "value" });
        }
        Ok(Self { asset, value, nonce, script_pubkey: reader.script()?, witness: TxOutWitness::default() })
    }
}

/// A transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// The version; from 2 on, sequence numbers can be lock times.
    pub version: u32,
    /// The lock time.
    pub lock_time: LockTime,
    /// What is spent.
    pub input: Vec<TxIn>,
    /// What is made.
    pub output: Vec<TxOut>,
}

impl Transaction {
    /// Decodes a transaction. Its witnesses are slices of `bytes`; a `Vec` is taken over without a copy.
    ///
    /// # Errors
    /// [`DecodeError`] if the bytes are not exactly one transaction.
    pub fn decode(bytes: impl Into<Bytes>) -> Result<Self, DecodeError> {
        Reader::all(bytes, Self::read)
    }

    pub(super) fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        let version = reader.u32()?;
        let flags = reader.u8()?;
        let mut input = reader.list(TxIn::read)?;
        let mut output = reader.list(TxOut::read)?;
        let lock_time = LockTime::from_consensus(reader.u32()?);
        if flags & !WITNESS_FLAG != 0 {
            return Err(DecodeError::Flags(flags));
        }
        if flags == WITNESS_FLAG {
            for input in &mut input {
                input.witness = TxInWitness::read(reader)?;
            }
            for output in &mut output {
                output.witness = TxOutWitness::read(reader)?;
            }
        }
        let transaction = Self { version, lock_time, input, output };
        if flags == WITNESS_FLAG && !transaction.has_witness() {
            return Err(DecodeError::SuperfluousWitness);
        }
        Ok(transaction)
    }

    /// Whether this is a coinbase.
    pub fn is_coinbase(&self) -> bool {
        matches!(self.input.as_slice(), [input] if input.is_coinbase())
    }

    /// Whether any input or output has a witness.
    pub fn has_witness(&self) -> bool {
        self.input.iter().any(|input| !input.witness.is_empty())
            || self.output.iter().any(|output| !output.witness.is_empty())
    }

    /// The hash that names it: of everything but the witnesses.
    pub fn txid(&self) -> Txid {
        Txid::from_byte_array(hash(|engine| encode::without_witness(self, engine)))
    }

    /// The hash of everything.
    pub fn wtxid(&self) -> Wtxid {
        Wtxid::from_byte_array(hash(|engine| self.consensus_encode(engine)))
    }

    /// Length on the wire, in bytes.
    pub fn size(&self) -> usize {
        Counter::length_of(|counter| self.consensus_encode(counter))
    }

    /// Length without witnesses, in bytes.
    pub fn base_size(&self) -> usize {
        Counter::length_of(|counter| encode::without_witness(self, counter))
    }

    /// Its weight: bytes outside witnesses count four times.
    pub fn weight(&self) -> usize {
        self.base_size().saturating_mul(WITNESS_SCALE_FACTOR - 1).saturating_add(self.size())
    }

    /// Its virtual size: a quarter of its weight, rounded up.
    pub fn vsize(&self) -> usize {
        self.weight().div_ceil(WITNESS_SCALE_FACTOR)
    }

    /// Discounted weight: proofs, and what commitments are longer than explicit fields, do not count
    /// (`policy/discount.h`).
    pub fn discount_weight(&self) -> usize {
        self.output.iter().fold(self.weight(), |weight, output| {
            let witness = Counter::length_of(|counter| output.witness.consensus_encode(counter));
            // Without proofs two bytes are left; they do not count either if no witness is sent.
            let mut discount = witness.saturating_sub(2);
            if output.value.is_confidential() {
                discount = discount.saturating_add((33 - 9) * WITNESS_SCALE_FACTOR);
            }
            if output.nonce.is_confidential() {
                discount = discount.saturating_add((33 - 1) * WITNESS_SCALE_FACTOR);
            }
            weight.saturating_sub(discount)
        })
    }

    /// A quarter of the discounted weight, rounded up: what fees are measured by.
    pub fn discount_vsize(&self) -> usize {
        self.discount_weight().div_ceil(WITNESS_SCALE_FACTOR)
    }
}

/// Feeds a hash with what is written.
struct Engine(<sha256d::Hash as bitcoin::hashes::Hash>::Engine);

fn hash(write: impl FnOnce(&mut Engine) -> Result<usize, elements::encode::Error>) -> [u8; 32] {
    let mut engine = Engine(sha256d::Hash::engine());
    // Hashing cannot fail.
    let _ = write(&mut engine);
    sha256d::Hash::from_engine(engine.0).to_byte_array()
}

impl io::Write for Engine {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.input(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
