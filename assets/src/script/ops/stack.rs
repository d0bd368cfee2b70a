//! Moving elements.

use super::super::ScriptError;
use super::super::machine::{Machine, is_true};
use super::super::opcode::*;

pub(super) fn execute(machine: &mut Machine<'_>) -> Result<(), ScriptError> {
    match machine.opcode {
        TOALTSTACK => {
            let element = machine.pop()?;
            machine.alt_stack.push(element);
            Ok(())
        }
        FROMALTSTACK => {
            let element = machine.alt_stack.pop().ok_or(ScriptError::InvalidAltstackOperation)?;
            machine.stack.push(element);
            Ok(())
        }
        DROP => machine.pop().map(drop),
        OP_2DROP => machine.pop_many::<2>().map(drop),
        DUP => copy(machine, 0, 1),
        OP_2DUP => copy(machine, 1, 2),
        OP_3DUP => copy(machine, 2, 3),
        OVER => copy(machine, 1, 1),
        OP_2OVER => copy(machine, 3, 2),
        IFDUP => {
            if is_true(machine.peek(0)?) {
                copy(machine, 0, 1)?;
            }
            Ok(())
        }
        DEPTH => {
            machine.push_count(machine.stack.len());
            Ok(())
        }
        NIP => machine.pop_many().map(|[_, b]| machine.stack.push(b)),
        TUCK => machine.pop_many().map(|[a, b]| machine.stack.extend([b.clone(), a, b])),
        SWAP => machine.pop_many().map(|[a, b]| machine.stack.extend([b, a])),
        ROT => machine.pop_many().map(|[a, b, c]| machine.stack.extend([b, c, a])),
        OP_2SWAP => machine.pop_many().map(|[a, b, c, d]| machine.stack.extend([c, d, a, b])),
        OP_2ROT => machine.pop_many().map(|[a, b, c, d, e, f]| machine.stack.extend([c, d, e, f, a, b])),
        PICK | ROLL => pick_or_roll(machine),
        other => Err(ScriptError::BadOpcode(other)),
    }
}

/// Copies elements to the top: the one this far below it, which is 0, and those above that.
fn copy(machine: &mut Machine<'_>, depth: usize, count: usize) -> Result<(), ScriptError> {
    for _ in 0..count {
        // Every copy pushes the next one as far down as the one before was.
        let element = machine.peek(depth)?.to_vec();
        machine.stack.push(element);
    }
    Ok(())
}

fn pick_or_roll(machine: &mut Machine<'_>) -> Result<(), ScriptError> {
    machine.need(2)?;
    let depth = machine.pop_number()?;
    let index = usize::try_from(depth)
        .ok()
        .and_then(|depth| machine.stack.len().checked_sub(depth)?.checked_sub(1))
        .ok_or(machine.invalid())?;
    let element = if machine.opcode == ROLL {
        machine.stack.remove(index)
    } else {
        machine.stack.get(index).cloned().ok_or(machine.invalid())?
    };
    machine.stack.push(element);
    Ok(())
}
