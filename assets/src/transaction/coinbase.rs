//! The coinbase: the first transaction of a block, which collects fees and makes nothing new.

use std::collections::BTreeMap;

use elements::{AssetId, Transaction};

use super::effects::add_outputs;
use super::structure::check_common;
use super::{TxContext, TxError};
use crate::script::is_unspendable;
use crate::state::Effects;

/// Why a coinbase was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CoinbaseError {
    /// It does not have exactly one input that spends nothing.
    #[error("the first transaction is not a coinbase")]
    NotACoinbase,
    /// A rule for all transactions.
    #[error(transparent)]
    Transaction(#[from] TxError),
    /// The scriptSig is too short or too long, in bytes.
    #[error("the scriptSig of the coinbase has {0} bytes, 2 to 100 are allowed")]
    ScriptSigLength(usize),
    /// The scriptSig must start with the height of the block (BIP 34).
    #[error("the scriptSig of the coinbase does not start with the height {0}")]
    Height(u32),
    /// It issues an asset or claims a peg-in.
    #[error("the coinbase issues an asset or claims a peg-in")]
    Issuance,
    /// An output is a fee.
    #[error("output {vout} of the coinbase is a fee")]
    Fee {
        /// The output.
        vout: usize,
    },
    /// An output has proofs.
    #[error("output {vout} of the coinbase has proofs")]
    OutputWitness {
        /// The output.
        vout: usize,
    },
    /// An output hides its asset or value.
    #[error("output {vout} of the coinbase is blinded")]
    Blinded {
        /// The output.
        vout: usize,
    },
    /// An output of nothing that somebody could spend.
    #[error("output {vout} of the coinbase can be spent and has the value 0")]
    SpendableZero {
        /// The output.
        vout: usize,
    },
    /// It takes more than the fees of its block.
    #[error("the coinbase takes {taken} of {asset}, the fees are {fees}")]
    TakesTooMuch {
        /// The asset.
        asset: AssetId,
        /// What the outputs add up to.
        taken: u64,
        /// Fees of the block in it.
        fees: u64,
    },
}

/// Checks the coinbase of the block at `ctx.height` whose other transactions pay `fees`, and gives what it changes.
///
/// It may leave fees lying; then they are burned. There is no subsidy (`confidential_validation.cpp`,
/// `VerifyCoinbaseAmount`).
///
/// # Errors
/// [`CoinbaseError`] with the rule that is broken.
pub fn check_coinbase(
    ctx: &TxContext<'_>,
    transaction: &Transaction,
    fees: &BTreeMap<AssetId, u64>,
) -> Result<Effects, CoinbaseError> {
    let [input] = transaction.input.as_slice() else { return Err(CoinbaseError::NotACoinbase) };
    if !input.previous_output.is_null() {
        return Err(CoinbaseError::NotACoinbase);
    }
    check_common(transaction)?;
    if input.has_issuance() || input.is_pegin || !input.witness.pegin_witness.is_empty() {
        return Err(CoinbaseError::Issuance);
    }
    let script_sig = input.script_sig.as_bytes();
    if !(2..=100).contains(&script_sig.len()) {
        return Err(CoinbaseError::ScriptSigLength(script_sig.len()));
    }
    let height = elements::script::Builder::new().push_int(i64::from(ctx.height)).into_script();
    if !script_sig.starts_with(height.as_bytes()) {
        return Err(CoinbaseError::Height(ctx.height));
    }
    let taken = taken(transaction)?;
    for (asset, taken) in taken {
        let fees = fees.get(&asset).copied().unwrap_or(0);
        if taken > fees {
            return Err(CoinbaseError::TakesTooMuch { asset, taken, fees });
        }
    }
    let mut effects = Effects::default();
    add_outputs(ctx, transaction, &mut effects);
    Ok(effects)
}

/// What the outputs take, per asset.
fn taken(transaction: &Transaction) -> Result<BTreeMap<AssetId, u64>, CoinbaseError> {
    let mut taken = BTreeMap::new();
    for (vout, output) in transaction.output.iter().enumerate() {
        if output.is_fee() {
            return Err(CoinbaseError::Fee { vout });
        }
        if !output.witness.is_empty() {
            return Err(CoinbaseError::OutputWitness { vout });
        }
        let (Some(asset), Some(value)) = (output.asset.explicit(), output.value.explicit()) else {
            return Err(CoinbaseError::Blinded { vout });
        };
        if value == 0 && !is_unspendable(&output.script_pubkey) {
            return Err(CoinbaseError::SpendableZero { vout });
        }
        let sum: &mut u64 = taken.entry(asset).or_default();
        *sum = sum.saturating_add(value);
    }
    Ok(taken)
}
