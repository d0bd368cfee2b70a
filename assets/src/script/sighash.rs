//! What a signature signs: the digests of Elements for segwit version 0 and for the key path of Taproot.
//!
//! Written from the rules (`script/interpreter.cpp`, `SignatureHash` and `SignatureHashSchnorr`), because the digests of
//! the `elements` crate know neither `SIGHASH_RANGEPROOF` nor hash types outside their enum. Where both are defined they
//! must agree; a test compares them.
//!
//! Parts shared by all inputs are hashed once per transaction, so the work stays linear in its size.

use bitcoin::hashes::{Hash, HashEngine, sha256, sha256d};
use elements::confidential::Value;
use elements::encode::serialize;
use elements::{BlockHash, Transaction, TxIn, TxOut};

const SIGHASH_OUTPUT_MASK: u8 = 0x1f;
const SIGHASH_NONE: u8 = 0x02;
const SIGHASH_SINGLE: u8 = 0x03;
/// The signature also covers range proofs and surjection proofs. On chains with dynafed, that is on all of ours.
const SIGHASH_RANGEPROOF: u8 = 0x40;
const SIGHASH_ANYONECANPAY: u8 = 0x80;

/// A transaction, the outputs it spends, and the hashes that all its signatures share.
#[derive(Debug)]
pub struct SighashData<'a> {
    pub(super) transaction: &'a Transaction,
    pub(super) spent: &'a [TxOut],
    genesis: BlockHash,
    outpoints: sha256::Hash,
    sequences: sha256::Hash,
    issuances: sha256::Hash,
    outputs: sha256::Hash,
    output_proofs: [u8; 32],
    outpoint_flags: sha256::Hash,
    spent_assets_and_amounts: sha256::Hash,
    spent_scripts: sha256::Hash,
    issuance_proofs: sha256::Hash,
    output_witnesses: sha256::Hash,
}

/// The hash types that Taproot defines (BIP 341).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaprootHashType(u8);

impl TaprootHashType {
    /// No hash type byte: everything is signed.
    pub const DEFAULT: Self = Self(0);

    /// The hash type of a byte; `None` if it is not defined.
    pub fn new(byte: u8) -> Option<Self> {
        matches!(byte, 0..=3 | 0x81..=0x83).then_some(Self(byte))
    }

    /// The byte.
    pub fn to_byte(self) -> u8 {
        self.0
    }
}

impl<'a> SighashData<'a> {
    /// Prepares a transaction. `spent` are the outputs that it spends, in the order of its inputs; for a peg-in the
    /// output with the pegged asset, the claimed amount and the claim script.
    pub fn new(transaction: &'a Transaction, spent: &'a [TxOut], genesis: BlockHash) -> Self {
        let inputs = &transaction.input;
        let outputs = &transaction.output;
        Self {
            transaction,
            spent,
            genesis,
            outpoints: digest(inputs.iter().map(|input| serialize(&input.previous_output))),
            sequences: digest(inputs.iter().map(|input| serialize(&input.sequence))),
            issuances: digest(inputs.iter().map(issuance_or_zero)),
            outputs: digest(outputs.iter().map(serialize)),
            output_proofs: sha256d(outputs.iter().map(proofs)),
            outpoint_flags: digest(inputs.iter().map(|input| vec![outpoint_flag(input)])),
            spent_assets_and_amounts: digest(
                spent.iter().map(|output| [serialize(&output.asset), serialize(&output.value)].concat()),
            ),
            spent_scripts: digest(spent.iter().map(|output| serialize(&output.script_pubkey))),
            issuance_proofs: digest(inputs.iter().map(issuance_proofs)),
            output_witnesses: digest(outputs.iter().map(|output| serialize(&output.witness))),
        }
    }

    /// What an ECDSA signature in a segwit version 0 script signs. `hash_type` may be any byte: consensus gives each a
    /// meaning by its bits. `None` if there is no such input.
    pub fn segwit_v0(&self, vin: usize, script_code: &[u8], amount: &Value, hash_type: u8) -> Option<[u8; 32]> {
        let input = self.transaction.input.get(vin)?;
        let output_type = hash_type & SIGHASH_OUTPUT_MASK;
        let anyone_can_pay = hash_type & SIGHASH_ANYONECANPAY != 0;
        let range_proofs = hash_type & SIGHASH_RANGEPROOF != 0;
        let all_outputs = output_type != SIGHASH_NONE && output_type != SIGHASH_SINGLE;

        let mut message = serialize(&self.transaction.version);
        message.extend(if anyone_can_pay { [0; 32] } else { twice(self.outpoints) });
        message.extend(if anyone_can_pay || !all_outputs { [0; 32] } else { twice(self.sequences) });
        message.extend(if anyone_can_pay { [0; 32] } else { twice(self.issuances) });
        message.extend(serialize(&input.previous_output));
        message.extend(serialize(&script_code.to_vec()));
        message.extend(serialize(amount));
        message.extend(serialize(&input.sequence));
        if input.has_issuance() {
            message.extend(serialize(&input.asset_issuance));
        }
        let single = self.transaction.output.get(vin).filter(|_| output_type == SIGHASH_SINGLE);
        message.extend(match single {
            _ if all_outputs => twice(self.outputs),
            Some(output) => sha256d([serialize(output)]),
            None => [0; 32],
        });
        if range_proofs {
            message.extend(match single {
                _ if all_outputs => self.output_proofs,
                Some(output) => sha256d([proofs(output)]),
                None => [0; 32],
            });
        }
        message.extend(serialize(&self.transaction.lock_time));
        message.extend(u32::from(hash_type).to_le_bytes());
        Some(sha256d::Hash::hash(&message).to_byte_array())
    }

    /// What a Schnorr signature for the key path of Taproot signs. `None` if there is no such input, or the hash type
    /// is SINGLE and there is no output at its place.
    pub fn taproot_key_path(&self, vin: usize, annex: Option<&[u8]>, hash_type: TaprootHashType) -> Option<[u8; 32]> {
        let input = self.transaction.input.get(vin)?;
        let spent = self.spent.get(vin)?;
        let hash_type = hash_type.to_byte();
        let output_type = hash_type & 0x03;
        let anyone_can_pay = hash_type & SIGHASH_ANYONECANPAY != 0;

        let tag = sha256::Hash::hash(b"TapSighash/elements").to_byte_array();
        let mut engine = sha256::Hash::engine();
        engine.input(&tag);
        engine.input(&tag);
        // Elements commits to the chain, twice, where BIP 341 has the epoch.
        engine.input(&serialize(&self.genesis));
        engine.input(&serialize(&self.genesis));
        engine.input(&[hash_type]);
        engine.input(&serialize(&self.transaction.version));
        engine.input(&serialize(&self.transaction.lock_time));
        if !anyone_can_pay {
            for part in [
                self.outpoint_flags,
                self.outpoints,
                self.spent_assets_and_amounts,
                self.spent_scripts,
                self.sequences,
                self.issuances,
                self.issuance_proofs,
            ] {
                engine.input(&part.to_byte_array());
            }
        }
        if output_type != SIGHASH_NONE && output_type != SIGHASH_SINGLE {
            engine.input(&self.outputs.to_byte_array());
            engine.input(&self.output_witnesses.to_byte_array());
        }
        engine.input(&[u8::from(annex.is_some())]);
        if anyone_can_pay {
            engine.input(&[outpoint_flag(input)]);
            engine.input(&serialize(&input.previous_output));
            engine.input(&serialize(&spent.asset));
            engine.input(&serialize(&spent.value));
            engine.input(&serialize(&spent.script_pubkey));
            engine.input(&serialize(&input.sequence));
            engine.input(&issuance_or_zero(input));
            if input.has_issuance() {
                engine.input(&digest([issuance_proofs(input)]).to_byte_array());
            }
        } else {
            engine.input(&u32::try_from(vin).ok()?.to_le_bytes());
        }
        if let Some(annex) = annex {
            engine.input(&digest([serialize(&annex.to_vec())]).to_byte_array());
        }
        if output_type == SIGHASH_SINGLE {
            let output = self.transaction.output.get(vin)?;
            engine.input(&digest([serialize(output)]).to_byte_array());
            engine.input(&digest([serialize(&output.witness)]).to_byte_array());
        }
        Some(sha256::Hash::from_engine(engine).to_byte_array())
    }
}

/// SHA-256 of parts, one after the other.
fn digest(parts: impl IntoIterator<Item = Vec<u8>>) -> sha256::Hash {
    let mut engine = sha256::Hash::engine();
    parts.into_iter().for_each(|part| engine.input(&part));
    sha256::Hash::from_engine(engine)
}

fn sha256d(parts: impl IntoIterator<Item = Vec<u8>>) -> [u8; 32] {
    twice(digest(parts))
}

fn twice(hash: sha256::Hash) -> [u8; 32] {
    sha256::Hash::hash(&hash.to_byte_array()).to_byte_array()
}

/// Peg-in and issuance bits of an outpoint, as they stand in its highest byte on the wire.
fn outpoint_flag(input: &TxIn) -> u8 {
    (u8::from(input.is_pegin) << 6) | (u8::from(input.has_issuance()) << 7)
}

/// The issuance of an input, or one zero byte.
fn issuance_or_zero(input: &TxIn) -> Vec<u8> {
    if input.has_issuance() { serialize(&input.asset_issuance) } else { vec![0] }
}

fn issuance_proofs(input: &TxIn) -> Vec<u8> {
    [serialize(&input.witness.amount_rangeproof), serialize(&input.witness.inflation_keys_rangeproof)].concat()
}

/// Range proof, then surjection proof: the other way round than on the wire.
fn proofs(output: &TxOut) -> Vec<u8> {
    [serialize(&output.witness.rangeproof), serialize(&output.witness.surjection_proof)].concat()
}
