//! Numbers of at most four bytes.

use super::super::ScriptError;
use super::super::machine::Machine;
use super::super::opcode::*;

pub(super) fn execute(machine: &mut Machine<'_>) -> Result<(), ScriptError> {
    match machine.opcode {
        OP_1ADD | OP_1SUB | NEGATE..=OP_0NOTEQUAL => unary(machine),
        WITHIN => within(machine),
        _ => binary(machine),
    }
}

// No result of operands of four bytes leaves 64 bits.

fn unary(machine: &mut Machine<'_>) -> Result<(), ScriptError> {
    let value = machine.pop_number()?;
    let result = match machine.opcode {
        OP_1ADD => value + 1,
        OP_1SUB => value - 1,
        NEGATE => -value,
        ABS => value.abs(),
        NOT => i64::from(value == 0),
        OP_0NOTEQUAL => i64::from(value != 0),
        other => return Err(ScriptError::BadOpcode(other)),
    };
    machine.push_number(result);
    Ok(())
}

fn binary(machine: &mut Machine<'_>) -> Result<(), ScriptError> {
    let [a, b] = machine.pop_many()?;
    let (a, b) = (machine.number(&a)?, machine.number(&b)?);
    let result = match machine.opcode {
        ADD => a + b,
        SUB => a - b,
        BOOLAND => i64::from(a != 0 && b != 0),
        BOOLOR => i64::from(a != 0 || b != 0),
        NUMEQUAL => i64::from(a == b),
        NUMEQUALVERIFY => return if a == b { Ok(()) } else { Err(ScriptError::NumEqualVerify) },
        NUMNOTEQUAL => i64::from(a != b),
        LESSTHAN => i64::from(a < b),
        GREATERTHAN => i64::from(a > b),
        LESSTHANOREQUAL => i64::from(a <= b),
        GREATERTHANOREQUAL => i64::from(a >= b),
        MIN => a.min(b),
        MAX => a.max(b),
        other => return Err(ScriptError::BadOpcode(other)),
    };
    machine.push_number(result);
    Ok(())
}

fn within(machine: &mut Machine<'_>) -> Result<(), ScriptError> {
    let [value, least, limit] = machine.pop_many()?;
    let (value, least, limit) = (machine.number(&value)?, machine.number(&least)?, machine.number(&limit)?);
    machine.push_bool((least..limit).contains(&value));
    Ok(())
}
