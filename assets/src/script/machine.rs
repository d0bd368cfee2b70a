//! The machine that runs one script: two stacks, the open conditions, and the limits.
//!
//! Memory is bounded by the limits: at most 1,000 elements of at most 520 bytes each. Opcodes are in the module `ops`, by
//! family.

use super::checker::{ScriptVersion, SignatureChecker};
use super::reader::Items;
use super::sighash::TaprootSpend;
use super::{Flags, ScriptError, number, opcode, ops};

/// Most bytes of a script, except a tapscript.
pub(super) const MAX_SCRIPT_SIZE: usize = 10_000;
/// Most bytes of an element of the stack.
pub(super) const MAX_ELEMENT_SIZE: usize = 520;
/// Most elements on both stacks.
pub(super) const MAX_STACK_SIZE: usize = 1_000;
const MAX_OPERATIONS: usize = 201;
/// What a signature in a tapscript costs of the weight of its witness.
const WEIGHT_OF_SIGNATURE: i64 = 50;

/// The elements of a stack; the last one is its top.
pub(super) type Stack = Vec<Vec<u8>>;

/// What a tapscript knows besides its stack.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tapscript {
    /// What its signatures commit to.
    pub(super) spend: TaprootSpend,
    /// The weight that is left for signatures.
    pub(super) weight_left: i64,
}

/// The open conditions: how many there are and which is the first that is false. More than that cannot be observed, and
/// so a million of them cost no more than one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Conditions {
    depth: usize,
    first_false: Option<usize>,
}

impl Conditions {
    pub(super) fn all_true(self) -> bool {
        self.first_false.is_none()
    }

    pub(super) fn push(&mut self, value: bool) {
        if !value && self.first_false.is_none() {
            self.first_false = Some(self.depth);
        }
        self.depth += 1;
    }

    pub(super) fn pop(&mut self) -> Result<(), ScriptError> {
        self.depth = self.depth.checked_sub(1).ok_or(ScriptError::UnbalancedConditional)?;
        if self.first_false == Some(self.depth) {
            self.first_false = None;
        }
        Ok(())
    }

    pub(super) fn toggle(&mut self) -> Result<(), ScriptError> {
        let top = self.depth.checked_sub(1).ok_or(ScriptError::UnbalancedConditional)?;
        match self.first_false {
            None => self.first_false = Some(top),
            Some(first) if first == top => self.first_false = None,
            Some(_) => {}
        }
        Ok(())
    }
}

/// A script being run.
pub(super) struct Machine<'a> {
    pub(super) stack: Stack,
    pub(super) alt_stack: Stack,
    pub(super) conditions: Conditions,
    pub(super) flags: Flags,
    pub(super) version: ScriptVersion,
    pub(super) checker: &'a dyn SignatureChecker,
    pub(super) tapscript: Tapscript,
    /// The script from the last CODESEPARATOR that was run.
    pub(super) script_code: &'a [u8],
    /// What follows the opcode that is run.
    pub(super) rest: &'a [u8],
    /// The position of the opcode that is run, in opcodes.
    pub(super) position: u32,
    /// The opcode that is run.
    pub(super) opcode: u8,
    operations: usize,
}

/// Runs a script on a stack.
///
/// # Errors
/// [`ScriptError`] of the rule that is broken. What is left on the stack is not looked at here.
pub(super) fn run(
    stack: Stack,
    script: &[u8],
    flags: Flags,
    version: ScriptVersion,
    checker: &dyn SignatureChecker,
    tapscript: Tapscript,
) -> Result<Stack, ScriptError> {
    if version != ScriptVersion::Tapscript && script.len() > MAX_SCRIPT_SIZE {
        return Err(ScriptError::ScriptSize(script.len()));
    }
    let mut machine = Machine {
        stack,
        alt_stack: Stack::new(),
        conditions: Conditions::default(),
        flags,
        version,
        checker,
        tapscript,
        script_code: script,
        rest: script,
        position: 0,
        opcode: opcode::NOP,
        operations: 0,
    };
    let mut items = Items::new(script);
    while let Some(item) = items.next() {
        let item = item.ok_or(ScriptError::PushCutShort)?;
        machine.rest = items.rest();
        machine.opcode = item.opcode;
        machine.step(item.data, item.is_minimal_push())?;
        machine.position = machine.position.saturating_add(1);
    }
    if machine.conditions.depth != 0 {
        return Err(ScriptError::UnbalancedConditional);
    }
    Ok(machine.stack)
}

impl Machine<'_> {
    fn step(&mut self, data: &[u8], minimal: bool) -> Result<(), ScriptError> {
        if data.len() > MAX_ELEMENT_SIZE {
            return Err(ScriptError::PushSize(data.len()));
        }
        if self.opcode > opcode::OP_16 {
            self.count_operations(1)?;
        }
        match self.opcode {
            opcode::OP_2MUL | opcode::OP_2DIV | opcode::MUL | opcode::DIV | opcode::MOD => {
                return Err(ScriptError::DisabledOpcode(self.opcode));
            }
            opcode::CODESEPARATOR
                if self.version == ScriptVersion::Base && self.flags.contains(Flags::CONST_SCRIPTCODE) =>
            {
                return Err(ScriptError::CodeSeparator);
            }
            _ => {}
        }
        let runs = self.conditions.all_true();
        if runs && self.opcode <= opcode::PUSHDATA4 {
            if self.flags.contains(Flags::MINIMALDATA) && !minimal {
                return Err(ScriptError::MinimalData);
            }
            self.stack.push(data.to_vec());
        } else if runs || (opcode::IF..=opcode::ENDIF).contains(&self.opcode) {
            ops::execute(self, runs)?;
        }
        let elements = self.stack.len() + self.alt_stack.len();
        if elements > MAX_STACK_SIZE { Err(ScriptError::StackSize(elements)) } else { Ok(()) }
    }

    /// Counts operations; a tapscript may have any number of them.
    pub(super) fn count_operations(&mut self, count: usize) -> Result<(), ScriptError> {
        if self.version == ScriptVersion::Tapscript {
            return Ok(());
        }
        self.operations = self.operations.saturating_add(count);
        if self.operations > MAX_OPERATIONS { Err(ScriptError::OpCount) } else { Ok(()) }
    }

    /// Takes what a signature costs from the weight of the witness.
    pub(super) fn pay_for_signature(&mut self) -> Result<(), ScriptError> {
        self.tapscript.weight_left -= WEIGHT_OF_SIGNATURE;
        if self.tapscript.weight_left < 0 { Err(ScriptError::TapscriptValidationWeight) } else { Ok(()) }
    }

    /// The opcode cannot do this with what is on the stack.
    pub(super) fn invalid(&self) -> ScriptError {
        ScriptError::InvalidStackOperation(self.opcode)
    }

    /// Opcodes that only a tapscript has.
    pub(super) fn need_tapscript(&self) -> Result<(), ScriptError> {
        match self.version {
            ScriptVersion::Tapscript => Ok(()),
            ScriptVersion::Base | ScriptVersion::WitnessV0 => Err(ScriptError::BadOpcode(self.opcode)),
        }
    }

    /// Checks that the stack has this many elements.
    pub(super) fn need(&self, elements: usize) -> Result<(), ScriptError> {
        if self.stack.len() < elements { Err(self.invalid()) } else { Ok(()) }
    }

    /// The element this far below the top, which is 0.
    pub(super) fn peek(&self, depth: usize) -> Result<&[u8], ScriptError> {
        let element = self.stack.iter().rev().nth(depth);
        element.map(Vec::as_slice).ok_or(self.invalid())
    }

    /// Takes the top.
    pub(super) fn pop(&mut self) -> Result<Vec<u8>, ScriptError> {
        self.stack.pop().ok_or(ScriptError::InvalidStackOperation(self.opcode))
    }

    /// Takes this many elements from the top, the lowest first.
    pub(super) fn pop_many<const N: usize>(&mut self) -> Result<[Vec<u8>; N], ScriptError> {
        let start = self.stack.len().checked_sub(N).ok_or(self.invalid())?;
        let invalid = self.invalid();
        self.stack.split_off(start).try_into().map_err(|_| invalid)
    }

    /// Reads a number of at most four bytes.
    pub(super) fn number(&self, bytes: &[u8]) -> Result<i64, ScriptError> {
        number::decode(bytes, self.flags.contains(Flags::MINIMALDATA), number::MAX_OPERAND_SIZE)
    }

    /// Takes a number from the top.
    pub(super) fn pop_number(&mut self) -> Result<i64, ScriptError> {
        let bytes = self.pop()?;
        self.number(&bytes)
    }

    pub(super) fn push_number(&mut self, value: i64) {
        self.stack.push(number::encode(value));
    }

    /// Pushes a length or a count.
    pub(super) fn push_count(&mut self, count: usize) {
        self.push_number(i64::try_from(count).unwrap_or(i64::MAX));
    }

    pub(super) fn push_bool(&mut self, value: bool) {
        self.stack.push(if value { vec![1] } else { Vec::new() });
    }

    /// Marks the place from which on signatures sign.
    pub(super) fn separate_code(&mut self) {
        self.script_code = self.rest;
        if let Some(leaf) = &mut self.tapscript.spend.leaf {
            leaf.code_separator = self.position;
        }
    }
}

/// Whether an element is true: any byte is set, other than the sign alone.
pub(super) fn is_true(element: &[u8]) -> bool {
    match element.split_last() {
        None => false,
        Some((last, low)) => low.iter().any(|byte| *byte != 0) || (*last != 0 && *last != 0x80),
    }
}
