//! What Elements asks of the spends that it relays, beyond consensus (`policy.h`, `STANDARD_SCRIPT_VERIFY_FLAGS`).
//!
//! For the mempool only: a block may contain such spends. They are the ways in which a stranger could change the bytes
//! of a valid witness, forms that nobody needs, and what is kept for rules to come.

use super::verify::{split_annex, witness_program};
use super::{Flags, ScriptError, SighashData, verify_spend_under};

/// Why a valid spend is not relayed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NonStandardSpend {
    /// A Taproot spend has an annex, which has no meaning yet.
    #[error("input {vin}: the witness has an annex")]
    Annex {
        /// The input.
        vin: usize,
    },
    /// The spend breaks a rule for relay, or one for blocks.
    #[error("input {vin}: {source}")]
    Script {
        /// The input.
        vin: usize,
        /// The rule.
        source: ScriptError,
    },
}

/// Checks the spends of a transaction by the rules for relay, which include those for blocks.
///
/// # Errors
/// [`NonStandardSpend`] for the first input that would not be relayed.
pub fn check_standard(data: &SighashData<'_>) -> Result<(), NonStandardSpend> {
    for (vin, (input, spent)) in data.transaction.input.iter().zip(data.spent).enumerate() {
        let is_taproot =
            matches!(witness_program(spent.script_pubkey.as_bytes()), Some((1, program)) if program.len() == 32);
        let witness: Vec<&[u8]> = input.witness.script_witness.iter().collect();
        if is_taproot && split_annex(&witness).0.is_some() {
            return Err(NonStandardSpend::Annex { vin });
        }
        verify_spend_under(data, vin, Flags::STANDARD).map_err(|source| NonStandardSpend::Script { vin, source })?;
    }
    Ok(())
}
