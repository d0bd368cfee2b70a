//! The opcodes by family. A family is handed the machine with the opcode in it and does what the opcode says.

mod arithmetic;
mod arithmetic64;
mod bitwise;
mod flow;
mod hashing;
mod introspection;
mod keys;
mod random;
mod signatures;
mod splice;
mod stack;

use super::machine::Machine;
use super::opcode::*;
use super::{ScriptError, number};

/// Does what the machine's opcode says. `runs` says whether all open conditions are true; if not, only opcodes from IF to
/// ENDIF come here.
pub(super) fn execute(machine: &mut Machine<'_>, runs: bool) -> Result<(), ScriptError> {
    match machine.opcode {
        OP_1NEGATE | OP_1..=OP_16 => {
            machine.stack.push(number::encode(i64::from(machine.opcode) - i64::from(OP_1 - 1)));
            Ok(())
        }
        NOP
        | NOP1
        | IF
        | NOTIF
        | ELSE
        | ENDIF
        | VERIFY
        | RETURN
        | CHECKLOCKTIMEVERIFY
        | CHECKSEQUENCEVERIFY
        | NOP4..=NOP10 => flow::execute(machine, runs),
        TOALTSTACK..=TUCK => stack::execute(machine),
        CAT..=SIZE | SUBSTR_LAZY => splice::execute(machine),
        INVERT..=EQUALVERIFY | LSHIFT | RSHIFT => bitwise::execute(machine),
        OP_1ADD | OP_1SUB | NEGATE..=OP_0NOTEQUAL | ADD | SUB | BOOLAND..=WITHIN => arithmetic::execute(machine),
        RIPEMD160..=HASH256 => hashing::execute(machine),
        CODESEPARATOR => {
            machine.separate_code();
            Ok(())
        }
        CHECKSIG..=CHECKMULTISIGVERIFY | CHECKSIGADD | CHECKSIGFROMSTACK | CHECKSIGFROMSTACKVERIFY => {
            signatures::execute(machine)
        }
        DETERMINISTICRANDOM => random::execute(machine),
        SHA256INITIALIZE..=TWEAKVERIFY => {
            machine.need_tapscript()?;
            match machine.opcode {
                SHA256INITIALIZE..=SHA256FINALIZE => hashing::execute_streaming(machine),
                INSPECTINPUTOUTPOINT..=TXWEIGHT => introspection::execute(machine),
                ADD64..=LE32TOLE64 => arithmetic64::execute(machine),
                _ => keys::execute(machine),
            }
        }
        other => Err(ScriptError::BadOpcode(other)),
    }
}

#[cfg(test)]
mod introspection_tests;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
