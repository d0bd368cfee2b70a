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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::fixtures::{block_keys, key, multisig};

    #[test]
    fn multisig_scripts_are_taken_apart() {
        let parsed = Multisig::parse(&multisig(2, &block_keys())).unwrap();
        let keys: Vec<PublicKey> = block_keys().iter().map(crate::fixtures::public).collect();
        assert_eq!(parsed, Multisig { threshold: 2, keys });
        let many: Vec<_> = (1..=20).map(|number| key(3, number)).collect();
        assert_eq!(Multisig::parse(&multisig(17, &many)).unwrap().threshold, 17);
    }

    #[test]
    fn everything_else_is_refused() {
        let too_many: Vec<_> = (1..=21).map(|number| key(3, number)).collect();
        let twice = [block_keys(), block_keys()].concat();
        for wrong in [
            multisig(4, &block_keys()),
            multisig(0, &block_keys()),
            multisig(1, &[]),
            multisig(2, &twice),
            multisig(2, &too_many),
            Script::from(vec![0x51]),
            Script::new(),
            multisig(2, &block_keys()).to_v0_p2wsh(),
        ] {
            assert_eq!(Multisig::parse(&wrong), None, "{wrong:x}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_can_be_asked(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let mut script = bytes;
            script.push(0xae);
            proptest::prop_assert_eq!(Multisig::parse(&Script::from(script)), None);
        }

        #[test]
        fn a_flipped_bit_is_another_script(byte in 0usize..105, bit in 0u8..8) {
            let script = multisig(2, &block_keys());
            let mut bytes = script.to_bytes();
            if let Some(byte) = bytes.get_mut(byte) {
                *byte ^= 1 << bit;
            }
            proptest::prop_assert_ne!(Multisig::parse(&Script::from(bytes)), Multisig::parse(&script));
        }
    }
}
