//! The script `k <keys> n CHECKMULTISIG`.

/// Most keys that CHECKMULTISIG takes.
pub const MAX_MULTISIG_KEYS: usize = 20;

const OP_1: u8 = 0x51;
const OP_16: u8 = 0x60;
const OP_CHECKMULTISIG: u8 = 0xae;
const COMPRESSED_KEY: u8 = 33;
const UNCOMPRESSED_KEY: u8 = 65;

/// A multisig script, taken apart. Keys are as they stand there: CHECKMULTISIG lets a key that is not a point stand,
/// it only never matches a signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MultisigTemplate<'a> {
    /// Signatures needed, 1 to the number of keys.
    pub threshold: usize,
    /// Keys in order, 33 or 65 bytes each.
    pub keys: Vec<&'a [u8]>,
}

impl<'a> MultisigTemplate<'a> {
    /// Takes a script apart; `None` if it is anything but the template, byte for byte: numbers and pushes in their
    /// shortest form, 1 to 20 keys, nothing before or after.
    pub fn parse(script: &'a [u8]) -> Option<Self> {
        let (threshold, mut rest) = number(script)?;
        let mut keys = Vec::new();
        while let Some((&length @ (COMPRESSED_KEY | UNCOMPRESSED_KEY), tail)) = rest.split_first() {
            let (key, tail) = tail.split_at_checked(usize::from(length))?;
            keys.push(key);
            rest = tail;
        }
        let (count, rest) = number(rest)?;
        let valid = rest == [OP_CHECKMULTISIG]
            && count == keys.len()
            && count <= MAX_MULTISIG_KEYS
            && (1..=count).contains(&threshold);
        valid.then_some(Self { threshold, keys })
    }
}

/// A number from 1 to 20 in its shortest form.
fn number(script: &[u8]) -> Option<(usize, &[u8])> {
    match *script {
        [op @ OP_1..=OP_16, ref rest @ ..] => Some((usize::from(op - OP_1) + 1, rest)),
        [1, value @ 17..=20, ref rest @ ..] => Some((usize::from(value), rest)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use super::*;

    fn script(threshold: &[u8], keys: usize, count: &[u8]) -> Vec<u8> {
        let mut script = threshold.to_vec();
        for index in 0..keys {
            script.push(33);
            script.extend([u8::try_from(index).unwrap(); 33]);
        }
        script.extend(count);
        script.push(OP_CHECKMULTISIG);
        script
    }

    #[test]
    fn takes_the_template_apart() {
        let bytes = script(&[0x52], 3, &[0x53]);
        let parsed = MultisigTemplate::parse(&bytes).unwrap();
        assert_eq!((parsed.threshold, parsed.keys.len()), (2, 3));
        assert_eq!(parsed.keys[2], [2; 33]);
        let bytes = script(&[1, 17], 20, &[1, 20]);
        assert_eq!(MultisigTemplate::parse(&bytes).unwrap().threshold, 17);
    }

    #[test]
    fn refuses_everything_else() {
        for (bytes, why) in [
            (script(&[0x00], 3, &[0x53]), "threshold 0"),
            (script(&[0x54], 3, &[0x53]), "threshold above the keys"),
            (script(&[0x52], 3, &[0x52]), "wrong count"),
            (script(&[1, 2], 3, &[0x53]), "number not in its shortest form"),
            (script(&[0x51], 21, &[1, 21]), "too many keys"),
            (script(&[0x51], 0, &[0x51]), "no keys"),
            ([script(&[0x51], 1, &[0x51]), vec![0x51]].concat(), "something after it"),
            (vec![], "empty"),
            (vec![0x51, 33, 1, 2], "cut short"),
        ] {
            assert_eq!(MultisigTemplate::parse(&bytes), None, "{why}");
        }
    }
}
