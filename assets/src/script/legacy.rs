//! What an ECDSA signature in a script without witness signs: the transaction itself, changed by the hash type.
//!
//! The message is put together from the serialized parts of a transaction, so that the same code serves transactions of
//! Elements and of Bitcoin.

use bitcoin::hashes::{Hash, HashEngine, sha256d};
use elements::encode::serialize;

use super::Flags;
use super::reader::without_code_separators;
use super::sighash::{
    SIGHASH_ANYONECANPAY, SIGHASH_NONE, SIGHASH_OUTPUT_MASK, SIGHASH_RANGEPROOF, SIGHASH_SINGLE, proofs,
};
use crate::primitives::Transaction;

/// An input without its script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LegacyInput {
    /// The serialized outpoint, without flags.
    pub outpoint: Vec<u8>,
    /// The sequence number.
    pub sequence: u32,
    /// The serialized issuance; empty if there is none, and for Bitcoin.
    pub issuance: Vec<u8>,
}

/// An output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LegacyOutput {
    /// The serialized output, without witness.
    pub output: Vec<u8>,
    /// The serialized range proof and surjection proof; empty for Bitcoin.
    pub proofs: Vec<u8>,
}

/// The parts of a transaction that a signature without witness signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LegacyParts {
    /// The version.
    pub version: u32,
    /// The inputs.
    pub inputs: Vec<LegacyInput>,
    /// The outputs.
    pub outputs: Vec<LegacyOutput>,
    /// A serialized output without content, which stands for the outputs that SINGLE leaves open.
    pub null_output: Vec<u8>,
    /// The lock time.
    pub lock_time: u32,
}

impl LegacyParts {
    /// The parts of a transaction of Elements.
    pub fn new(transaction: &Transaction) -> Self {
        let inputs = transaction.input.iter().map(|input| LegacyInput {
            outpoint: serialize(&input.previous_output),
            sequence: input.sequence.to_consensus_u32(),
            issuance: if input.has_issuance() { serialize(&input.asset_issuance) } else { Vec::new() },
        });
        let outputs =
            transaction.output.iter().map(|output| LegacyOutput { output: serialize(output), proofs: proofs(output) });
        Self {
            version: transaction.version,
            inputs: inputs.collect(),
            outputs: outputs.collect(),
            // No asset, no value, no nonce, no script.
            null_output: vec![0; 4],
            lock_time: transaction.lock_time.to_consensus_u32(),
        }
    }

    /// What a signature for input `vin` signs. Every hash type has a meaning by its bits. `None` if there is no such input.
    pub fn digest(&self, vin: usize, script_code: &[u8], hash_type: u32, flags: Flags) -> Option<[u8; 32]> {
        let has = |bit: u8| hash_type & u32::from(bit) != 0;
        let output_type = hash_type & u32::from(SIGHASH_OUTPUT_MASK);
        let (none, single) = (output_type == u32::from(SIGHASH_NONE), output_type == u32::from(SIGHASH_SINGLE));
        let range_proofs = flags.contains(Flags::SIGHASH_RANGEPROOF) && has(SIGHASH_RANGEPROOF);
        let signed = self.inputs.get(vin)?;
        if single && vin >= self.outputs.len() {
            // What the first Bitcoin signed by mistake when there is no output at this place: the number one.
            let mut one = [0; 32];
            one[0] = 1;
            return Some(one);
        }

        let mut engine = sha256d::Hash::engine();
        engine.input(&self.version.to_le_bytes());
        let script_code = serialize(&without_code_separators(script_code));
        let inputs = if has(SIGHASH_ANYONECANPAY) { std::slice::from_ref(signed) } else { &self.inputs };
        engine.input(&compact_size(inputs.len()));
        for input in inputs {
            let is_signed = std::ptr::eq(input, signed);
            engine.input(&input.outpoint);
            engine.input(if is_signed { &script_code } else { &[0] });
            let sequence = if is_signed || !(none || single) { input.sequence } else { 0 };
            engine.input(&sequence.to_le_bytes());
            engine.input(&input.issuance);
        }
        let outputs = match (none, single) {
            (true, _) => &[],
            (_, true) => self.outputs.get(..=vin).unwrap_or_default(),
            _ => self.outputs.as_slice(),
        };
        engine.input(&compact_size(outputs.len()));
        for (vout, output) in outputs.iter().enumerate() {
            if single && vout != vin {
                engine.input(&self.null_output);
                continue;
            }
            engine.input(&output.output);
            if range_proofs {
                engine.input(&output.proofs);
            }
        }
        engine.input(&self.lock_time.to_le_bytes());
        engine.input(&hash_type.to_le_bytes());
        Some(sha256d::Hash::from_engine(engine).to_byte_array())
    }
}

fn compact_size(length: usize) -> Vec<u8> {
    // A usize has at most 64 bits.
    bitcoin::consensus::serialize(&bitcoin::VarInt(u64::try_from(length).unwrap_or(u64::MAX)))
}
