//! Bits of elements, and whether two are equal.

use super::super::ScriptError;
use super::super::machine::{MAX_ELEMENT_SIZE, Machine};
use super::super::opcode::*;

pub(super) fn execute(machine: &mut Machine<'_>) -> Result<(), ScriptError> {
    match machine.opcode {
        INVERT => {
            let mut element = machine.pop()?;
            element.iter_mut().for_each(|byte| *byte = !*byte);
            machine.stack.push(element);
            Ok(())
        }
        AND => combine(machine, |a, b| a & b),
        OR => combine(machine, |a, b| a | b),
        XOR => combine(machine, |a, b| a ^ b),
        EQUAL | EQUALVERIFY => equal(machine),
        LSHIFT | RSHIFT => shift(machine),
        other => Err(ScriptError::BadOpcode(other)),
    }
}

/// Combines two elements of the same length.
fn combine(machine: &mut Machine<'_>, bits: impl Fn(u8, u8) -> u8) -> Result<(), ScriptError> {
    let [first, second] = machine.pop_many()?;
    if first.len() != second.len() {
        return Err(machine.invalid());
    }
    machine.stack.push(first.iter().zip(&second).map(|(a, b)| bits(*a, *b)).collect());
    Ok(())
}

fn equal(machine: &mut Machine<'_>) -> Result<(), ScriptError> {
    let [first, second] = machine.pop_many()?;
    match (machine.opcode, first == second) {
        (EQUALVERIFY, true) => Ok(()),
        (EQUALVERIFY, false) => Err(ScriptError::EqualVerify),
        (_, equal) => {
            machine.push_bool(equal);
            Ok(())
        }
    }
}

/// Shifts an element as a little-endian number, so that RSHIFT drops its first bytes and LSHIFT puts zeros before them;
/// zeros at the end are cut off.
fn shift(machine: &mut Machine<'_>) -> Result<(), ScriptError> {
    machine.need(2)?;
    let count = machine.pop_number()?;
    let element = machine.pop()?;
    let Ok(count) = usize::try_from(count) else {
        return Err(if machine.opcode == LSHIFT { machine.invalid() } else { ScriptError::Operand(RSHIFT) });
    };
    let (bytes, bits) = (count / 8, count % 8);
    let mut shifted = if machine.opcode == LSHIFT {
        if element.len() + bytes + usize::from(bits != 0) > MAX_ELEMENT_SIZE {
            return Err(machine.invalid());
        }
        left(&element, bytes, bits)
    } else {
        right(element.get(bytes..).unwrap_or_default(), bits)
    };
    while shifted.last() == Some(&0) {
        shifted.pop();
    }
    machine.stack.push(shifted);
    Ok(())
}

fn left(element: &[u8], bytes: usize, bits: usize) -> Vec<u8> {
    let mut shifted = vec![0; bytes];
    let mut before = 0;
    for byte in element.iter().copied().chain([0]) {
        let [low, _] = (u16::from_be_bytes([byte, before]) << bits >> 8).to_le_bytes();
        shifted.push(low);
        before = byte;
    }
    shifted
}

fn right(element: &[u8], bits: usize) -> Vec<u8> {
    let after = element.iter().skip(1).copied().chain([0]);
    element
        .iter()
        .zip(after)
        .map(|(byte, after)| {
            let [low, _] = (u16::from_le_bytes([*byte, after]) >> bits).to_le_bytes();
            low
        })
        .collect()
}
