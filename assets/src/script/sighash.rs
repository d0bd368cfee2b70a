//! What a signature signs: the digests of Elements for segwit version 0 and for Taproot. Those of scripts without witness
//! are in the module `legacy`.
//!
//! Written from the rules (`script/interpreter.cpp`, `SignatureHash` and `SignatureHashSchnorr`), because the digests of
//! the `elements` crate know neither `SIGHASH_RANGEPROOF` nor hash types outside their enum. Where both are defined they
//! must agree; a test compares them.
//!
//! Parts shared by all inputs are hashed once per transaction, so the work stays linear in its size.

use std::sync::OnceLock;

use bitcoin::hashes::{Hash, HashEngine, sha256, sha256d};
use elements::BlockHash;
use elements::confidential::Value;
use elements::encode::serialize;

use super::{Flags, LegacyParts};
use crate::primitives::{Transaction, TxIn, TxOut};

pub(super) const SIGHASH_OUTPUT_MASK: u8 = 0x1f;
pub(super) const SIGHASH_NONE: u8 = 0x02;
pub(super) const SIGHASH_SINGLE: u8 = 0x03;
/// The signature also covers range proofs and surjection proofs. On chains with dynafed, that is on all of ours.
pub(super) const SIGHASH_RANGEPROOF: u8 = 0x40;
pub(super) const SIGHASH_ANYONECANPAY: u8 = 0x80;

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
    later: Later,
}

/// What only some scripts ask for, made when it is first asked for and then kept, so that asking often costs nothing.
#[derive(Debug, Default)]
struct Later {
    legacy: OnceLock<LegacyParts>,
    single_outputs: OnceLock<Vec<(sha256::Hash, sha256::Hash)>>,
    spent_scripts: OnceLock<Vec<sha256::Hash>>,
    output_scripts: OnceLock<Vec<sha256::Hash>>,
    weight: OnceLock<usize>,
}

/// The Taproot spend that a Schnorr signature is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TaprootSpend {
    /// The hash of the annex ([`annex_hash`]), if there is one.
    pub annex: Option<sha256::Hash>,
    /// The leaf that is run; none for the key path.
    pub leaf: Option<TaprootLeaf>,
}

/// The leaf of a script path and how far it has been run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaprootLeaf {
    /// The tagged hash of the leaf.
    pub hash: sha256::Hash,
    /// The position of the last CODESEPARATOR that was run, in opcodes; [`NO_CODE_SEPARATOR`] if none was.
    pub code_separator: u32,
}

/// Stands for the position of a CODESEPARATOR that was not run.
pub const NO_CODE_SEPARATOR: u32 = u32::MAX;

/// The hash of an annex as it is signed; the annex begins with its tag `0x50`.
pub fn annex_hash(annex: &[u8]) -> sha256::Hash {
    digest([serialize(&annex.to_vec())])
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
            later: Later::default(),
        }
    }

    /// What an ECDSA signature in a segwit version 0 script signs. `hash_type` may be any byte: consensus gives each a
    /// meaning by its bits. `None` if there is no such input.
    pub fn segwit_v0(&self, vin: usize, script_code: &[u8], amount: &Value, hash_type: u8) -> Option<[u8; 32]> {
        self.segwit_v0_under(vin, script_code, amount, hash_type, Flags::SIGHASH_RANGEPROOF)
    }

    /// The same under other rules: without [`Flags::SIGHASH_RANGEPROOF`] the bit for range proofs has no meaning.
    pub(super) fn segwit_v0_under(
        &self,
        vin: usize,
        script_code: &[u8],
        amount: &Value,
        hash_type: u8,
        flags: Flags,
    ) -> Option<[u8; 32]> {
        let input = self.transaction.input.get(vin)?;
        let output_type = hash_type & SIGHASH_OUTPUT_MASK;
        let anyone_can_pay = hash_type & SIGHASH_ANYONECANPAY != 0;
        let range_proofs = flags.contains(Flags::SIGHASH_RANGEPROOF) && hash_type & SIGHASH_RANGEPROOF != 0;
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

    /// What an ECDSA signature in a script without witness signs. As with [`Self::segwit_v0`], every hash type has a
    /// meaning. `None` if there is no such input.
    pub fn legacy(&self, vin: usize, script_code: &[u8], hash_type: u8, flags: Flags) -> Option<[u8; 32]> {
        let parts = self.later.legacy.get_or_init(|| LegacyParts::new(self.transaction));
        parts.digest(vin, script_code, u32::from(hash_type), flags)
    }

    /// The weight of the transaction.
    pub(super) fn weight(&self) -> usize {
        *self.later.weight.get_or_init(|| self.transaction.weight())
    }

    /// SHA-256 of the script of a spent output.
    pub(super) fn spent_script_hash(&self, vin: usize) -> Option<sha256::Hash> {
        self.later.spent_scripts.get_or_init(|| script_hashes(self.spent)).get(vin).copied()
    }

    /// SHA-256 of the script of an output.
    pub(super) fn output_script_hash(&self, vout: usize) -> Option<sha256::Hash> {
        self.later.output_scripts.get_or_init(|| script_hashes(&self.transaction.output)).get(vout).copied()
    }

    /// The hashes of the outputs and of their witnesses, each by itself.
    fn single_output(&self, vout: usize) -> Option<(sha256::Hash, sha256::Hash)> {
        let hashes = |output: &TxOut| (digest([serialize(output)]), digest([serialize(&output.witness)]));
        let all = self.later.single_outputs.get_or_init(|| self.transaction.output.iter().map(hashes).collect());
        all.get(vout).copied()
    }

    /// What a Schnorr signature for the key path of Taproot signs. `None` if there is no such input, or the hash type
    /// is SINGLE and there is no output at its place.
    pub fn taproot_key_path(&self, vin: usize, annex: Option<&[u8]>, hash_type: TaprootHashType) -> Option<[u8; 32]> {
        self.taproot(vin, &TaprootSpend { annex: annex.map(annex_hash), leaf: None }, hash_type)
    }

    /// The same for either path.
    pub fn taproot(&self, vin: usize, spend: &TaprootSpend, hash_type: TaprootHashType) -> Option<[u8; 32]> {
        let input = self.transaction.input.get(vin)?;
        let spent_output = self.spent.get(vin)?;
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
        engine.input(&[(u8::from(spend.leaf.is_some()) << 1) | u8::from(spend.annex.is_some())]);
        if anyone_can_pay {
            engine.input(&[outpoint_flag(input)]);
            engine.input(&serialize(&input.previous_output));
            engine.input(&serialize(&spent_output.asset));
            engine.input(&serialize(&spent_output.value));
            engine.input(&serialize(&spent_output.script_pubkey));
            engine.input(&serialize(&input.sequence));
            engine.input(&issuance_or_zero(input));
            if input.has_issuance() {
                engine.input(&digest([issuance_proofs(input)]).to_byte_array());
            }
        } else {
            engine.input(&u32::try_from(vin).ok()?.to_le_bytes());
        }
        if let Some(annex) = spend.annex {
            engine.input(&annex.to_byte_array());
        }
        if output_type == SIGHASH_SINGLE {
            let (output, witness) = self.single_output(vin)?;
            engine.input(&output.to_byte_array());
            engine.input(&witness.to_byte_array());
        }
        if let Some(leaf) = spend.leaf {
            engine.input(&leaf.hash.to_byte_array());
            // The version of keys.
            engine.input(&[0]);
            engine.input(&leaf.code_separator.to_le_bytes());
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
pub(super) fn outpoint_flag(input: &TxIn) -> u8 {
    (u8::from(input.is_pegin) << 6) | (u8::from(input.has_issuance()) << 7)
}

fn script_hashes(outputs: &[TxOut]) -> Vec<sha256::Hash> {
    outputs.iter().map(|output| sha256::Hash::hash(output.script_pubkey.as_bytes())).collect()
}

/// The issuance of an input, or one zero byte.
fn issuance_or_zero(input: &TxIn) -> Vec<u8> {
    if input.has_issuance() { serialize(&input.asset_issuance) } else { vec![0] }
}

fn issuance_proofs(input: &TxIn) -> Vec<u8> {
    [serialize(&input.witness.amount_rangeproof), serialize(&input.witness.inflation_keys_rangeproof)].concat()
}

/// Range proof, then surjection proof: the other way round than on the wire.
pub(super) fn proofs(output: &TxOut) -> Vec<u8> {
    [serialize(&output.witness.rangeproof), serialize(&output.witness.surjection_proof)].concat()
}
