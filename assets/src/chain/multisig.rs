//! Bare multisig scripts: `k <keys> n OP_CHECKMULTISIG`, the form of the signblock and of the fedpeg script.

use elements::Script;
use elements::opcodes::all::{OP_CHECKMULTISIG, OP_PUSHNUM_1, OP_PUSHNUM_16};
use elements::script::Instruction;
use secp256k1_zkp::PublicKey;

/// Most keys that `OP_CHECKMULTISIG` takes.
const MAX_KEYS: usize = 20;

/// A bare multisig script, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Multisig {
    /// Signatures needed, at least one.
    pub threshold: usize,
    /// The keys in the order in which signatures must come.
    pub keys: Vec<PublicKey>,
}

impl Multisig {
    /// Takes a script apart. `None` unless it is exactly one minimally encoded multisig of distinct compressed keys.
    pub fn parse(script: &Script) -> Option<Self> {
        let instructions = script.instructions_minimal().collect::<Result<Vec<_>, _>>().ok()?;
        let [first, keys @ .., count, Instruction::Op(OP_CHECKMULTISIG)] = instructions.as_slice() else { return None };
        let threshold = small_number(first)?;
        let keys = keys
            .iter()
            .map(|instruction| match instruction {
                Instruction::PushBytes(bytes) if bytes.len() == 33 => PublicKey::from_slice(bytes).ok(),
                _ => None,
            })
            .collect::<Option<Vec<_>>>()?;
        let distinct = keys.iter().collect::<std::collections::BTreeSet<_>>().len();
        let sound = small_number(count)? == keys.len()
            && distinct == keys.len()
            && keys.len() <= MAX_KEYS
            && (1..=keys.len()).contains(&threshold);
        sound.then_some(Self { threshold, keys })
    }
}

/// A number from 1 to 20 as scripts write it: an opcode up to 16, a one-byte push above.
fn small_number(instruction: &Instruction<'_>) -> Option<usize> {
    match instruction {
        Instruction::Op(op) => {
            let code = op.into_u8();
            (OP_PUSHNUM_1.into_u8()..=OP_PUSHNUM_16.into_u8())
                .contains(&code)
                .then(|| usize::from(code - OP_PUSHNUM_1.into_u8()) + 1)
        }
        Instruction::PushBytes([byte]) if (17..=20).contains(byte) => Some(usize::from(*byte)),
        Instruction::PushBytes(_) => None,
    }
}
