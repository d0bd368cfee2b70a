//! The forms of output scripts that Elements tells apart for relay (`Solver`).

use super::opcode;
use super::reader::{Item, Items, is_push_only};
use super::verify::witness_program;

/// Most keys that CHECKMULTISIG takes.
const MAX_MULTISIG_KEYS: usize = 20;

/// What an output script is. Keys need not be points: it is enough that they look like keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Empty: a fee.
    Fee,
    /// RETURN and pushes.
    Data,
    /// A key and CHECKSIG.
    Key,
    /// The hash of a key.
    KeyHash,
    /// The hash of a script (BIP 16).
    ScriptHash,
    /// A multisig without P2SH.
    Multisig {
        /// Its keys.
        keys: usize,
    },
    /// A witness program with a meaning: version 0, or Taproot.
    Program,
    /// A witness program of a later version, or of another length under version 1.
    LaterProgram,
    /// Anything else, among others a version 0 program of another length.
    Other,
}

impl Form {
    /// The form of a script.
    pub fn of(script: &[u8]) -> Self {
        if script.is_empty() {
            return Self::Fee;
        }
        if let Some((version, program)) = witness_program(script) {
            return match (version, program.len()) {
                (0, 20 | 32) | (1, 32) => Self::Program,
                (0, _) => Self::Other,
                _ => Self::LaterProgram,
            };
        }
        match script {
            [opcode::HASH160, 20, hash @ .., opcode::EQUAL] if hash.len() == 20 => Self::ScriptHash,
            [opcode::RETURN, rest @ ..] if is_push_only(rest) => Self::Data,
            [length, key @ .., opcode::CHECKSIG] if usize::from(*length) == key.len() && looks_like_a_key(key) => {
                Self::Key
            }
            [opcode::DUP, opcode::HASH160, 20, hash @ .., opcode::EQUALVERIFY, opcode::CHECKSIG]
                if hash.len() == 20 =>
            {
                Self::KeyHash
            }
            _ => multisig(script).map_or(Self::Other, |keys| Self::Multisig { keys }),
        }
    }
}

/// The length of a key follows from its first byte.
fn looks_like_a_key(bytes: &[u8]) -> bool {
    match bytes {
        [2 | 3, rest @ ..] => rest.len() == 32,
        [4 | 6 | 7, rest @ ..] => rest.len() == 64,
        _ => false,
    }
}

/// Number of keys of a bare multisig.
fn multisig(script: &[u8]) -> Option<usize> {
    let items: Vec<Item<'_>> = Items::new(script).collect::<Option<_>>()?;
    let [needed, keys @ .., count, last] = items.as_slice() else { return None };
    let needed = key_count(needed)?;
    let sound = last.opcode == opcode::CHECKMULTISIG
        && key_count(count)? == keys.len()
        && needed <= keys.len()
        && keys.iter().all(|key| looks_like_a_key(key.data));
    sound.then_some(keys.len())
}

/// A number of keys, as short as it can be written.
fn key_count(item: &Item<'_>) -> Option<usize> {
    match (item.opcode, item.data) {
        (number @ opcode::OP_1..=opcode::OP_16, _) => Some(usize::from(number - (opcode::OP_1 - 1))),
        (1, [number]) => {
            let number = usize::from(*number);
            (17..=MAX_MULTISIG_KEYS).contains(&number).then_some(number)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(number: usize) -> Vec<u8> {
        [[33, 2].as_slice(), &[5; 32]].concat().repeat(number)
    }

    fn bare(needed: &[u8], keys: &[u8], count: &[u8]) -> Vec<u8> {
        [needed, keys, count, &[0xae]].concat()
    }

    #[test]
    fn every_form_is_recognized() {
        let program = |version: u8, length: u8| [vec![version, length], vec![7; usize::from(length)]].concat();
        for (script, form) in [
            (vec![], Form::Fee),
            (vec![0x6a], Form::Data),
            (vec![0x6a, 0x60, 1, 7], Form::Data),
            (vec![0x6a, 2, 7], Form::Other),
            (vec![0x6a, 0x61], Form::Other),
            (vec![0x51], Form::Other),
            (program(0, 20), Form::Program),
            (program(0, 32), Form::Program),
            (program(0, 33), Form::Other),
            (program(0x51, 32), Form::Program),
            (program(0x51, 33), Form::LaterProgram),
            (program(0x60, 2), Form::LaterProgram),
            (program(0x61, 2), Form::Other),
            ([vec![0xa9, 20], vec![7; 20], vec![0x87]].concat(), Form::ScriptHash),
            ([vec![0x76, 0xa9, 20], vec![7; 20], vec![0x88, 0xac]].concat(), Form::KeyHash),
            ([vec![33, 3], vec![7; 32], vec![0xac]].concat(), Form::Key),
            ([vec![33, 4], vec![7; 32], vec![0xac]].concat(), Form::Other),
            ([vec![65, 6], vec![7; 64], vec![0xac]].concat(), Form::Key),
            ([vec![65, 2], vec![7; 64], vec![0xac]].concat(), Form::Other),
        ] {
            assert_eq!(Form::of(&script), form, "{script:02x?}");
        }
    }

    #[test]
    fn a_multisig_has_as_many_keys_as_it_says() {
        // The same key three times, and no point on the curve: neither matters.
        assert_eq!(Form::of(&bare(&[0x52], &keys(3), &[0x53])), Form::Multisig { keys: 3 });
        assert_eq!(Form::of(&bare(&[0x51], &keys(20), &[1, 20])), Form::Multisig { keys: 20 });
        for (needed, number, count) in [
            ([0x54].as_slice(), 3, [0x53].as_slice()),
            (&[0x00], 3, &[0x53]),
            (&[0x51], 3, &[0x54]),
            (&[0x51], 3, &[1, 3]),
            (&[0x51], 0, &[0x00]),
            (&[0x51], 21, &[1, 21]),
        ] {
            assert_eq!(Form::of(&bare(needed, &keys(number), count)), Form::Other);
        }
        assert_eq!(Form::of(&[bare(&[0x51], &keys(1), &[0x51]), vec![0xae]].concat()), Form::Other);
    }
}
