//! What Elements asks of the spends that it relays, beyond consensus (`policy.h`, `STANDARD_SCRIPT_VERIFY_FLAGS`).
//!
//! For the mempool only: a block may contain such spends. They are the ways in which a stranger could change the bytes
//! of a valid witness, and forms that nobody needs.

use elements::{Transaction, TxOut};

use super::signature::EcdsaSignature;
use super::spend::split_annex;
use super::{MultisigTemplate, ScriptError, SpendKind};

const COMPRESSED_KEY: usize = 33;

/// Why a valid spend is not relayed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NonStandardSpend {
    /// S of an ECDSA signature is in the upper half (LOW_S).
    #[error("input {vin}: a signature has a high S")]
    HighS {
        /// The input.
        vin: usize,
    },
    /// The hash type is not ALL, NONE or SINGLE, with or without ANYONECANPAY and RANGEPROOF (STRICTENC).
    #[error("input {vin}: hash type {hash_type:#04x} is not defined")]
    HashType {
        /// The input.
        vin: usize,
        /// The byte.
        hash_type: u8,
    },
    /// A key of a version 0 witness is not compressed (WITNESS_PUBKEYTYPE).
    #[error("input {vin}: a key of {length} bytes is not compressed")]
    UncompressedKey {
        /// The input.
        vin: usize,
        /// Its length in bytes.
        length: usize,
    },
    /// A Taproot spend has an annex, which has no meaning yet.
    #[error("input {vin}: the witness has an annex")]
    Annex {
        /// The input.
        vin: usize,
    },
    /// The spend is not even valid.
    #[error("input {vin}: {source}")]
    Invalid {
        /// The input.
        vin: usize,
        /// Why.
        source: ScriptError,
    },
}

/// Checks the spends of a transaction that consensus accepts. `spent` are the outputs that it spends, in the order of
/// its inputs.
///
/// # Errors
/// [`NonStandardSpend`] for the first input that would not be relayed.
pub fn check_standard(transaction: &Transaction, spent: &[TxOut]) -> Result<(), NonStandardSpend> {
    for (vin, (input, output)) in transaction.input.iter().zip(spent).enumerate() {
        let kind = SpendKind::of(&output.script_pubkey, &input.script_sig)
            .map_err(|source| NonStandardSpend::Invalid { vin, source })?;
        let witness: Vec<&[u8]> = input.witness.script_witness.iter().collect();
        let (signatures, keys) = match (kind, witness.as_slice()) {
            (SpendKind::Taproot { .. }, stack) => {
                if split_annex(stack).0.is_some() {
                    return Err(NonStandardSpend::Annex { vin });
                }
                continue;
            }
            (SpendKind::P2wpkh { .. }, [signature, key]) => (vec![*signature], vec![*key]),
            (SpendKind::P2wsh { .. }, [_, signatures @ .., script]) => {
                (signatures.to_vec(), MultisigTemplate::parse(script).map_or(Vec::new(), |template| template.keys))
            }
            (_, other) => {
                let source = ScriptError::WitnessLength { expected: 2, found: other.len() };
                return Err(NonStandardSpend::Invalid { vin, source });
            }
        };
        if let Some(key) = keys.iter().find(|key| key.len() != COMPRESSED_KEY) {
            return Err(NonStandardSpend::UncompressedKey { vin, length: key.len() });
        }
        for signature in signatures {
            check_signature(vin, signature)?;
        }
    }
    Ok(())
}

fn check_signature(vin: usize, element: &[u8]) -> Result<(), NonStandardSpend> {
    let signature = EcdsaSignature::parse(element)
        .and_then(|signature| signature.ok_or(ScriptError::BadSignature))
        .map_err(|source| NonStandardSpend::Invalid { vin, source })?;
    if !signature.has_low_s() {
        return Err(NonStandardSpend::HighS { vin });
    }
    match signature.hash_type & !0xc0 {
        1..=3 => Ok(()),
        _ => Err(NonStandardSpend::HashType { vin, hash_type: signature.hash_type }),
    }
}
