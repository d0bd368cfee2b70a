//! Signed numbers of exactly eight little-endian bytes, in tapscript only.
//!
//! Where the result does not exist or does not fit, the operands stay where they are and false comes on top of them.

use super::super::ScriptError;
use super::super::machine::Machine;
use super::super::number::{self, MAX_OPERAND_SIZE};
use super::super::opcode::*;

pub(super) fn execute(machine: &mut Machine<'_>) -> Result<(), ScriptError> {
    match machine.opcode {
        NEG64 => {
            let value = eight_bytes(machine.peek(0)?)?;
            finish(machine, 1, value.checked_neg().map(|result| vec![result]));
            Ok(())
        }
        SCRIPTNUMTOLE64 => {
            let value = machine.pop_number()?;
            machine.stack.push(value.to_le_bytes().to_vec());
            Ok(())
        }
        LE64TOSCRIPTNUM => {
            let bytes = number::encode(eight_bytes(machine.peek(0)?)?);
            if bytes.len() > MAX_OPERAND_SIZE {
                return Err(ScriptError::Arithmetic64);
            }
            machine.pop()?;
            machine.stack.push(bytes);
            Ok(())
        }
        LE32TOLE64 => {
            let value = <[u8; 4]>::try_from(machine.peek(0)?).map_err(|_| ScriptError::Arithmetic64)?;
            machine.pop()?;
            machine.stack.push(u64::from(u32::from_le_bytes(value)).to_le_bytes().to_vec());
            Ok(())
        }
        _ => binary(machine),
    }
}

fn binary(machine: &mut Machine<'_>) -> Result<(), ScriptError> {
    machine.need(2)?;
    let (b, a) = (eight_bytes(machine.peek(0)?)?, eight_bytes(machine.peek(1)?)?);
    let compared = match machine.opcode {
        LESSTHAN64 => a < b,
        LESSTHANOREQUAL64 => a <= b,
        GREATERTHAN64 => a > b,
        GREATERTHANOREQUAL64 => a >= b,
        calculated => {
            let results = match calculated {
                ADD64 => a.checked_add(b).map(|sum| vec![sum]),
                SUB64 => a.checked_sub(b).map(|difference| vec![difference]),
                MUL64 => a.checked_mul(b).map(|product| vec![product]),
                // The remainder is never negative; it lies below the quotient.
                DIV64 => a.checked_rem_euclid(b).zip(a.checked_div_euclid(b)).map(|(r, q)| vec![r, q]),
                other => return Err(ScriptError::BadOpcode(other)),
            };
            finish(machine, 2, results);
            return Ok(());
        }
    };
    machine.pop_many::<2>()?;
    machine.push_bool(compared);
    Ok(())
}

/// Puts the results and true in the place of the operands, or false on top of these.
fn finish(machine: &mut Machine<'_>, operands: usize, results: Option<Vec<i64>>) {
    let succeeded = results.is_some();
    if let Some(results) = results {
        machine.stack.truncate(machine.stack.len().saturating_sub(operands));
        machine.stack.extend(results.iter().map(|result| result.to_le_bytes().to_vec()));
    }
    machine.push_bool(succeeded);
}

fn eight_bytes(element: &[u8]) -> Result<i64, ScriptError> {
    <[u8; 8]>::try_from(element).map(i64::from_le_bytes).map_err(|_| ScriptError::Expected8Bytes(element.len()))
}
