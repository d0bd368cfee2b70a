//! What a transaction must look like by itself, without the ledger.

use std::collections::BTreeSet;

use bytes::Bytes;
use elements::AssetIssuance;
use elements::confidential::{Asset, Value};

use super::{MAX_MONEY, TxError};
use crate::primitives::{Transaction, TxIn};

const MAX_BLOCK_WEIGHT: usize = 4_000_000;
const WITNESS_SCALE_FACTOR: usize = 4;
/// Peg-in and issuance bits of an output index on the wire.
const OUTPOINT_FLAGS: u32 = 0xc000_0000;

/// Reads a transaction, whose witnesses then share `bytes`.
///
/// # Errors
/// [`TxError::Malformed`] if the bytes are not one transaction in the only encoding it has.
pub fn decode(bytes: impl Into<Bytes>) -> Result<Transaction, TxError> {
    Transaction::decode(bytes).map_err(TxError::Malformed)
}

/// The rules that need nothing but the transaction (`consensus/tx_check.cpp`, and what its codec refuses).
pub(super) fn check(transaction: &Transaction) -> Result<(), TxError> {
    if transaction.input.is_empty() {
        return Err(TxError::NoInputs);
    }
    if transaction.output.is_empty() {
        return Err(TxError::NoOutputs);
    }
    let weight = transaction.base_size().saturating_mul(WITNESS_SCALE_FACTOR);
    if weight > MAX_BLOCK_WEIGHT {
        return Err(TxError::TooLarge { weight });
    }
    check_outputs(transaction)?;
    if transaction.is_coinbase() {
        return Err(TxError::Coinbase);
    }
    let mut seen = BTreeSet::new();
    for (vin, input) in transaction.input.iter().enumerate() {
        let outpoint = input.previous_output;
        if outpoint.is_null() {
            return Err(TxError::NullInput { vin });
        }
        if !seen.insert(outpoint) {
            return Err(TxError::DuplicateInput { vin, outpoint });
        }
        check_input(vin, input)?;
    }
    // Elements looks for the proofs of an issuance even where none are needed, and finds no witness to look in.
    match transaction.input.iter().position(TxIn::has_issuance) {
        Some(vin) if !transaction.has_witness() => Err(TxError::IssuanceWithoutWitness { vin }),
        _ => Ok(()),
    }
}

fn check_input(vin: usize, input: &TxIn) -> Result<(), TxError> {
    let index = input.previous_output.vout;
    // An index of all ones carries no flags, so a peg-in or an issuance cannot be told from a plain input there; nor can
    // a peg-in that issues, whose flags make the index all ones.
    let (is_pegin, issues) = (input.is_pegin, input.has_issuance());
    let representable = match index {
        u32::MAX => !is_pegin && !issues,
        _ => index & OUTPOINT_FLAGS == 0 && !(index | OUTPOINT_FLAGS == u32::MAX && is_pegin && issues),
    };
    if !representable {
        return Err(TxError::OutpointIndex { vin, index });
    }
    if !input.has_issuance() && input.asset_issuance != AssetIssuance::null() {
        return Err(TxError::NullIssuance { vin });
    }
    Ok(())
}

fn check_outputs(transaction: &Transaction) -> Result<(), TxError> {
    // Over all assets together: a rule inherited from the time when there was one.
    let mut total: u64 = 0;
    for (vout, output) in transaction.output.iter().enumerate() {
        if output.asset == Asset::Null {
            return Err(TxError::NullAsset { vout });
        }
        match output.value {
            Value::Null => return Err(TxError::NullValue { vout }),
            Value::Explicit(value) => {
                if value > MAX_MONEY {
                    return Err(TxError::ValueRange { vout, value });
                }
                total = total.saturating_add(value);
                if total > MAX_MONEY {
                    return Err(TxError::TotalRange { vout, total });
                }
            }
            Value::Confidential(_) => {}
        }
    }
    Ok(())
}
