//! Conditions, verification, lock times and opcodes that do nothing.

use super::super::checker::ScriptVersion;
use super::super::machine::{Machine, is_true};
use super::super::opcode::*;
use super::super::{Flags, ScriptError, number};

/// Lock times below are heights, from here on seconds since 1970.
const LOCK_TIME_THRESHOLD: i64 = 500_000_000;
/// A relative lock with this bit is none (BIP 68).
const SEQUENCE_DISABLED: i64 = 1 << 31;
/// A relative lock with this bit is in units of time, without it in blocks.
const SEQUENCE_IS_TIME: i64 = 1 << 22;
const SEQUENCE_VALUE: i64 = 0xffff;
const SEQUENCE_FINAL: u32 = u32::MAX;
/// Lock times may have five bytes: four do not reach the end of 32 bits.
const LOCK_TIME_SIZE: usize = 5;

pub(super) fn execute(machine: &mut Machine<'_>, runs: bool) -> Result<(), ScriptError> {
    match machine.opcode {
        IF | NOTIF => {
            let value = runs && condition(machine)?;
            machine.conditions.push(value);
            Ok(())
        }
        ELSE => machine.conditions.toggle(),
        ENDIF => machine.conditions.pop(),
        VERIFY => {
            if is_true(machine.peek(0)?) {
                machine.pop().map(drop)
            } else {
                Err(ScriptError::Verify)
            }
        }
        RETURN => Err(ScriptError::OpReturn),
        CHECKLOCKTIMEVERIFY if machine.flags.contains(Flags::CHECKLOCKTIMEVERIFY) => check_lock_time(machine),
        CHECKSEQUENCEVERIFY if machine.flags.contains(Flags::CHECKSEQUENCEVERIFY) => check_sequence(machine),
        NOP | CHECKLOCKTIMEVERIFY | CHECKSEQUENCEVERIFY => Ok(()),
        reserved if machine.flags.contains(Flags::DISCOURAGE_UPGRADABLE_NOPS) => {
            Err(ScriptError::DiscourageUpgradableNops(reserved))
        }
        _ => Ok(()),
    }
}

/// Takes what IF or NOTIF decides by.
fn condition(machine: &mut Machine<'_>) -> Result<bool, ScriptError> {
    let element = machine.stack.pop().ok_or(ScriptError::UnbalancedConditional)?;
    let minimal = matches!(element.as_slice(), [] | [1]);
    match machine.version {
        ScriptVersion::Tapscript if !minimal => return Err(ScriptError::TapscriptMinimalIf),
        ScriptVersion::WitnessV0 if !minimal && machine.flags.contains(Flags::MINIMALIF) => {
            return Err(ScriptError::MinimalIf);
        }
        _ => {}
    }
    Ok(is_true(&element) == (machine.opcode == IF))
}

/// Reads a lock time and leaves it on the stack.
fn lock_time(machine: &Machine<'_>) -> Result<i64, ScriptError> {
    let minimal = machine.flags.contains(Flags::MINIMALDATA);
    match number::decode(machine.peek(0)?, minimal, LOCK_TIME_SIZE)? {
        negative @ ..0 => Err(ScriptError::NegativeLockTime(negative)),
        value => Ok(value),
    }
}

/// BIP 65.
fn check_lock_time(machine: &Machine<'_>) -> Result<(), ScriptError> {
    let asked = lock_time(machine)?;
    let given = i64::from(machine.checker.lock_time());
    let same_kind = (asked < LOCK_TIME_THRESHOLD) == (given < LOCK_TIME_THRESHOLD);
    // An input that is final switches the lock time of its transaction off.
    if same_kind && asked <= given && machine.checker.sequence() != SEQUENCE_FINAL {
        Ok(())
    } else {
        Err(ScriptError::UnsatisfiedLockTime(asked))
    }
}

/// BIP 112.
fn check_sequence(machine: &Machine<'_>) -> Result<(), ScriptError> {
    let asked = lock_time(machine)?;
    if asked & SEQUENCE_DISABLED != 0 {
        return Ok(());
    }
    let given = i64::from(machine.checker.sequence());
    let in_force = machine.checker.version() >= 2 && given & SEQUENCE_DISABLED == 0;
    let same_kind = asked & SEQUENCE_IS_TIME == given & SEQUENCE_IS_TIME;
    if in_force && same_kind && asked & SEQUENCE_VALUE <= given & SEQUENCE_VALUE {
        Ok(())
    } else {
        Err(ScriptError::UnsatisfiedLockTime(asked))
    }
}
