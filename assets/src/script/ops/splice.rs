//! Cutting and joining elements. Bitcoin switched these off, Elements has them.

use super::super::ScriptError;
use super::super::machine::{MAX_ELEMENT_SIZE, Machine};
use super::super::opcode::*;

pub(super) fn execute(machine: &mut Machine<'_>) -> Result<(), ScriptError> {
    match machine.opcode {
        CAT => cat(machine),
        LEFT | RIGHT => left_or_right(machine),
        SUBSTR | SUBSTR_LAZY => substr(machine),
        SIZE => {
            machine.push_count(machine.peek(0)?.len());
            Ok(())
        }
        other => Err(ScriptError::BadOpcode(other)),
    }
}

fn cat(machine: &mut Machine<'_>) -> Result<(), ScriptError> {
    let [mut first, second] = machine.pop_many()?;
    if first.len() + second.len() > MAX_ELEMENT_SIZE {
        return Err(machine.invalid());
    }
    first.extend(second);
    machine.stack.push(first);
    Ok(())
}

/// LEFT keeps the first `n` bytes; RIGHT drops them and keeps the others, unlike what its name says.
fn left_or_right(machine: &mut Machine<'_>) -> Result<(), ScriptError> {
    machine.need(2)?;
    let position = machine.pop_number()?;
    let element = machine.pop()?;
    let position = usize::try_from(position).map_err(|_| ScriptError::Operand(machine.opcode))?;
    let (left, right) = element.split_at_checked(position).unwrap_or((&element, &[]));
    machine.stack.push(if machine.opcode == LEFT { left } else { right }.to_vec());
    Ok(())
}

/// SUBSTR fails if the part does not lie within the element; SUBSTR_LAZY takes as much of it as does.
fn substr(machine: &mut Machine<'_>) -> Result<(), ScriptError> {
    machine.need(3)?;
    let [element, start, length] = machine.pop_many()?;
    let (start, length) = (machine.number(&start)?, machine.number(&length)?);
    let part = if machine.opcode == SUBSTR {
        let invalid = |_| ScriptError::InvalidStackOperation(SUBSTR);
        let (start, length) = (usize::try_from(start).map_err(invalid)?, usize::try_from(length).map_err(invalid)?);
        // A start at the end is refused even for an empty part.
        let rest = element.get(start..).filter(|rest| !rest.is_empty()).ok_or(machine.invalid())?;
        rest.get(..length).ok_or(machine.invalid())?
    } else {
        // Negative numbers are 0; what does not fit lies beyond every element.
        let clamp = |value: i64| usize::try_from(value.max(0)).unwrap_or(usize::MAX);
        let rest = element.get(clamp(start)..).unwrap_or_default();
        rest.get(..clamp(length)).unwrap_or(rest)
    };
    let part = part.to_vec();
    machine.stack.push(part);
    Ok(())
}
