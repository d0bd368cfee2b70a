//! Whether an input of a transaction may spend its output.

use elements::Script;

use super::machine::MAX_SCRIPT_SIZE;
use super::{Flags, ScriptError, SighashData, TransactionChecker, opcode, verify_script};

/// Whether nobody can ever spend a script: `OP_RETURN`, longer than 10,000 bytes, or empty (a fee). Such outputs are
/// not kept (`script.h`, `IsUnspendable`).
pub fn is_unspendable(script: &Script) -> bool {
    let bytes = script.as_bytes();
    bytes.first().is_none_or(|first| *first == opcode::RETURN) || bytes.len() > MAX_SCRIPT_SIZE
}

/// Checks that input `vin` may spend its output, by the rules for blocks.
///
/// # Errors
/// [`ScriptError`] with the rule that is broken.
pub fn verify_spend(data: &SighashData<'_>, vin: usize) -> Result<(), ScriptError> {
    verify_spend_under(data, vin, Flags::CONSENSUS)
}

/// The same by rules of choice.
///
/// # Errors
/// [`ScriptError`] with the rule that is broken.
pub fn verify_spend_under(data: &SighashData<'_>, vin: usize, flags: Flags) -> Result<(), ScriptError> {
    let missing = ScriptError::NoSuchInput(vin);
    let checker = TransactionChecker::new(data, vin).ok_or(missing.clone())?;
    let (input, spent) = data.transaction.input.get(vin).zip(data.spent.get(vin)).ok_or(missing)?;
    let witness: Vec<&[u8]> = input.witness.script_witness.iter().collect();
    verify_script(input.script_sig.as_bytes(), spent.script_pubkey.as_bytes(), &witness, flags, &checker)
}
