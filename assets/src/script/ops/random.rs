//! A number within a range, drawn from a seed.

use bitcoin::hashes::{Hash, sha256};

use super::super::ScriptError;
use super::super::machine::Machine;

/// Takes seed, minimum and maximum and pushes a number from the minimum on and below the maximum (the minimum itself if
/// they are equal): 64-bit pieces of the hashes of seed and counter, three of the four of each hash, the first that is
/// not too large to be fair.
pub(super) fn execute(machine: &mut Machine<'_>) -> Result<(), ScriptError> {
    let [seed, min, max] = machine.pop_many()?;
    let (min, max) = (machine.number(&min)?, machine.number(&max)?);
    // Elements cuts the width of the range off at 31 bits.
    let width =
        u64::try_from((max - min).min(i64::from(i32::MAX))).map_err(|_| ScriptError::Operand(machine.opcode))?;
    // No width: the minimum, without a draw.
    let Some(multiples) = u64::MAX.checked_div(width) else {
        machine.push_number(min);
        return Ok(());
    };
    // Fair would be below this; Elements lets this very number pass too.
    let limit = multiples * width;
    let drawn = (0u64..)
        .flat_map(|counter| {
            let hash = sha256::Hash::hash(&[seed.as_slice(), &counter.to_le_bytes()].concat()).to_byte_array();
            hash.as_chunks::<8>().0.iter().take(3).map(|piece| u64::from_le_bytes(*piece)).collect::<Vec<_>>()
        })
        .find(|drawn| *drawn <= limit);
    let offset = i64::try_from(drawn.unwrap_or(0).checked_rem(width).unwrap_or(0)).unwrap_or(0);
    machine.push_number(min + offset);
    Ok(())
}
