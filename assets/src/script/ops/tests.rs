//! What Elements' opcodes do, quirks above all. What they share with Bitcoin's is in the vectors.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use bitcoin::hashes::{Hash, sha256};
use secp256k1_zkp::{Keypair, Message, Parity, SECP256K1, Scalar, SecretKey};

use super::super::checker::ScriptVersion;
use super::super::machine::{Stack, Tapscript, run};
use super::super::opcode::*;
use super::super::{Flags, ScriptError};
use super::testing::{run_as, script, stack, tap, v0, with_checker};

fn num(value: i64) -> [u8; 8] {
    value.to_le_bytes()
}

#[test]
fn splicing() {
    let invalid = |opcode| Err(ScriptError::InvalidStackOperation(opcode));
    assert_eq!(v0([b"abcde", &[2]], &[LEFT]), Ok(stack([b"ab"])));
    assert_eq!(v0([b"abcde", &[2]], &[RIGHT]), Ok(stack([b"cde"])), "RIGHT drops the first bytes");
    assert_eq!(v0([b"abcde", &[9]], &[LEFT]), Ok(stack([b"abcde"])));
    assert_eq!(v0([b"abcde", &[9]], &[RIGHT]), Ok(stack([b""])));
    assert_eq!(v0([b"abcde", &[0x81]], &[LEFT]), Err(ScriptError::Operand(LEFT)));
    assert_eq!(v0([b"abcde", &[1], &[3]], &[SUBSTR]), Ok(stack([b"bcd"])));
    assert_eq!(v0([b"abcde", &[1], &[]], &[SUBSTR]), Ok(stack([b""])));
    assert_eq!(v0([b"abcde", &[5], &[]], &[SUBSTR]), invalid(SUBSTR), "from the end");
    assert_eq!(v0([b"abcde", &[3], &[3]], &[SUBSTR]), invalid(SUBSTR));
    assert_eq!(v0([b"abcde", &[0x81], &[3]], &[SUBSTR]), invalid(SUBSTR));
    assert_eq!(v0([b"abcde", &[3], &[3]], &[SUBSTR_LAZY]), Ok(stack([b"de"])));
    assert_eq!(v0([b"abcde", &[0x83], &[3]], &[SUBSTR_LAZY]), Ok(stack([b"abc"])));
    assert_eq!(v0([b"abcde", &[1], &[0x83]], &[SUBSTR_LAZY]), Ok(stack([b""])));
    assert_eq!(v0([b"abcde", &[9], &[3]], &[SUBSTR_LAZY]), Ok(stack([b""])));
    assert_eq!(v0([b"ab", b"cd"], &[CAT]), Ok(stack([b"abcd"])));
    assert_eq!(v0([&[1; 260], &[1; 260]], &[CAT, SIZE, NIP]), Ok(stack([&[8, 2]])));
    assert_eq!(v0([&[1; 260], &[1; 261]], &[CAT]), invalid(CAT));
}

#[test]
fn shifts_take_elements_for_little_endian_numbers() {
    let shift = |element: &[u8], count: &[u8], opcode| v0([element, count], &[opcode]);
    assert_eq!(shift(&[1], &[9], LSHIFT), Ok(stack([&[0, 2]])));
    assert_eq!(shift(&[0xff], &[4], LSHIFT), Ok(stack([&[0xf0, 0x0f]])));
    assert_eq!(shift(&[0x12, 0x34], &[], LSHIFT), Ok(stack([&[0x12, 0x34]])));
    assert_eq!(shift(&[0, 0], &[3], LSHIFT), Ok(stack([&[]])), "zeros at the end are cut off");
    assert_eq!(shift(&[0x34, 0x12], &[4], RSHIFT), Ok(stack([&[0x23, 0x01]])));
    assert_eq!(shift(&[0x34, 0x12], &[8], RSHIFT), Ok(stack([&[0x12]])));
    assert_eq!(shift(&[0xff, 0x0f], &[4], RSHIFT), Ok(stack([&[0xff]])));
    assert_eq!(shift(&[1], &[0xff, 0xff, 0xff, 0x7f], RSHIFT), Ok(stack([&[]])));
    assert_eq!(shift(&[1], &[0x81], RSHIFT), Err(ScriptError::Operand(RSHIFT)));
    let invalid = Err(ScriptError::InvalidStackOperation(LSHIFT));
    assert_eq!(shift(&[1], &[0x81], LSHIFT), invalid);
    assert_eq!(shift(&[1], &[0xff, 0xff, 0xff, 0x7f], LSHIFT), invalid, "nothing is allocated for it");
    assert_eq!(shift(&[1; 520], &[1], LSHIFT), invalid);
    assert_eq!(shift(&[1; 520], &[], LSHIFT), Ok(stack([&[1; 520]])));
}

#[test]
fn bits() {
    assert_eq!(v0([&[0xf0, 0x0f]], &[INVERT]), Ok(stack([&[0x0f, 0xf0]])));
    assert_eq!(v0([&[0b1100], &[0b1010]], &[AND]), Ok(stack([&[0b1000]])));
    assert_eq!(v0([&[0b1100], &[0b1010]], &[OR]), Ok(stack([&[0b1110]])));
    assert_eq!(v0([&[0b1100], &[0b1010]], &[XOR]), Ok(stack([&[0b0110]])));
    for opcode in [AND, OR, XOR] {
        assert_eq!(v0([&[1], &[1, 2]], &[opcode]), Err(ScriptError::InvalidStackOperation(opcode)));
    }
    for opcode in [OP_2MUL, OP_2DIV, MUL, DIV, MOD] {
        let disabled = Err(ScriptError::DisabledOpcode(opcode));
        assert_eq!(v0([&[2], &[2]], &[opcode]), disabled);
        assert_eq!(v0([&[]], &[IF, opcode, ENDIF]), disabled, "even where it is not run");
    }
}

#[test]
fn random_numbers_come_from_the_seed() {
    let draw = |seed: &[u8], min: &[u8], max: &[u8]| v0([seed, min, max], &[DETERMINISTICRANDOM]);
    // The first eight bytes of SHA-256(seed || 0), modulo the width.
    let hash = sha256::Hash::hash(&[b"seed".as_slice(), &[0; 8]].concat()).to_byte_array();
    let drawn = u64::from_le_bytes(hash[..8].try_into().unwrap()) % 100;
    let expected = u8::try_from(drawn).unwrap() + 5;
    assert_eq!(draw(b"seed", &[5], &[105]), Ok(stack([&[expected]])));
    assert_eq!(draw(b"seed", &[5], &[5]), Ok(stack([&[5]])));
    assert_eq!(draw(b"seed", &[5], &[6]), Ok(stack([&[5]])), "the maximum never comes");
    assert_eq!(draw(b"seed", &[6], &[5]), Err(ScriptError::Operand(DETERMINISTICRANDOM)));
    assert!(draw(b"seed", &[0xff; 4], &[0xff, 0xff, 0xff, 0x7f]).is_ok(), "wider than 31 bits");
}

#[test]
fn sums_and_products_of_64_bits() {
    let (min, max) = (num(i64::MIN), num(i64::MAX));
    for (a, b, opcode, result) in [
        (5, 7, ADD64, 12),
        (5, 7, SUB64, -2),
        (-5, 7, MUL64, -35),
        (i64::MIN, 1, MUL64, i64::MIN),
        (i64::MAX, i64::MIN, ADD64, -1),
    ] {
        assert_eq!(tap([&num(a), &num(b)], &[opcode]), Ok(stack([&num(result), &[1]])));
    }
    // Operands stay where they are.
    for (a, b, opcode) in [
        (max, num(1), ADD64),
        (min, num(-1), ADD64),
        (min, num(1), SUB64),
        (num(0), min, SUB64),
        (min, num(-1), MUL64),
        (max, num(2), MUL64),
        (min, num(-1), DIV64),
        (num(3), num(0), DIV64),
    ] {
        assert_eq!(tap([&a, &b], &[opcode]), Ok(stack([&a, &b, &[]])));
    }
    // Remainder, quotient, true; the remainder is not negative.
    for (a, b, remainder, quotient) in [(7, 3, 1, 2), (-7, 3, 2, -3), (7, -3, 1, -2), (-7, -3, 2, 3), (-6, 3, 0, -2)] {
        let expected = stack([&num(remainder), &num(quotient), &[1]]);
        assert_eq!(tap([&num(a), &num(b)], &[DIV64]), Ok(expected), "{a} / {b}");
    }
    assert_eq!(tap([&num(9)], &[NEG64]), Ok(stack([&num(-9), &[1]])));
    assert_eq!(tap([&min], &[NEG64]), Ok(stack([&min, &[]])));
    for opcode in [ADD64, SUB64, MUL64, DIV64, LESSTHAN64, LESSTHANOREQUAL64, GREATERTHAN64, GREATERTHANOREQUAL64] {
        assert_eq!(tap([&num(1), &[1; 7]], &[opcode]), Err(ScriptError::Expected8Bytes(7)));
        assert_eq!(tap([&[1; 9], &num(1)], &[opcode]), Err(ScriptError::Expected8Bytes(9)));
        assert_eq!(tap([&num(1)], &[opcode]), Err(ScriptError::InvalidStackOperation(opcode)));
    }
}

#[test]
fn comparisons_and_conversions_of_64_bits() {
    let yes = Ok(stack([&[1]]));
    let no = Ok(stack([&[]]));
    for (a, b, less, less_or_equal) in [(-1, 1, true, true), (1, 1, false, true), (1, -1, false, false)] {
        let pick = |condition: bool| if condition { yes.clone() } else { no.clone() };
        assert_eq!(tap([&num(a), &num(b)], &[LESSTHAN64]), pick(less));
        assert_eq!(tap([&num(a), &num(b)], &[LESSTHANOREQUAL64]), pick(less_or_equal));
        assert_eq!(tap([&num(a), &num(b)], &[GREATERTHAN64]), pick(!less_or_equal));
        assert_eq!(tap([&num(a), &num(b)], &[GREATERTHANOREQUAL64]), pick(!less));
    }
    assert_eq!(tap([&[0x81]], &[SCRIPTNUMTOLE64]), Ok(stack([&num(-1)])));
    assert_eq!(tap([&[1; 5]], &[SCRIPTNUMTOLE64]), Err(ScriptError::Number(5)));
    assert_eq!(tap([&num(-255)], &[LE64TOSCRIPTNUM]), Ok(stack([&[0xff, 0x80]])));
    assert_eq!(tap([&num(0x7fff_ffff)], &[LE64TOSCRIPTNUM]), Ok(stack([&[0xff, 0xff, 0xff, 0x7f]])));
    assert_eq!(tap([&num(0x8000_0000)], &[LE64TOSCRIPTNUM]), Err(ScriptError::Arithmetic64));
    assert_eq!(tap([&num(i64::MIN)], &[LE64TOSCRIPTNUM]), Err(ScriptError::Arithmetic64));
    assert_eq!(tap([&[1; 4]], &[LE64TOSCRIPTNUM]), Err(ScriptError::Expected8Bytes(4)));
    assert_eq!(tap([&[0xff; 4]], &[LE32TOLE64]), Ok(stack([&num(0xffff_ffff)])), "unsigned");
    assert_eq!(tap([&[1; 8]], &[LE32TOLE64]), Err(ScriptError::Arithmetic64));
}

#[test]
fn hashing_piece_by_piece() {
    let message = [7; 200];
    for (first, second) in [(0, 0), (1, 63), (63, 64), (64, 128), (100, 150), (128, 200)] {
        let (a, rest) = message.split_at(first);
        let (b, c) = rest.split_at(second - first);
        let steps = script([a], &[SHA256INITIALIZE]);
        let steps = [steps, script([b], &[SHA256UPDATE]), script([c], &[SHA256FINALIZE])].concat();
        let hash = sha256::Hash::hash(&message).to_byte_array();
        assert_eq!(tap([], &steps), Ok(stack([&hash])), "{first}, {second}");
    }
    let context = tap([&[7; 70]], &[SHA256INITIALIZE]).unwrap().remove(0);
    assert_eq!(context.len(), 46, "state, bits and what does not fill a block");
    assert_eq!(context[32..40], (70u64 * 8).to_le_bytes());
    assert_eq!(context[40..], [7; 6]);
    let load = Err(ScriptError::Sha2ContextLoad);
    assert_eq!(tap([&context[..45], &[]], &[SHA256UPDATE]), load);
    assert_eq!(tap([&[0; 39], &[]], &[SHA256FINALIZE]), load);
    let mut bits = context.clone();
    bits[32] |= 1;
    assert_eq!(tap([&bits, &[]], &[SHA256UPDATE]), load, "not whole bytes");
    // One byte less than there is room for.
    let mut full = [[0; 40].as_slice(), &[0; 62]].concat();
    full[32..40].copy_from_slice(&(((u64::MAX >> 3) - 1) << 3).to_le_bytes());
    assert!(tap([&full, &[1]], &[SHA256UPDATE]).is_ok());
    assert!(tap([&full, &[1]], &[SHA256FINALIZE]).is_ok());
    assert_eq!(tap([&full, &[1, 2]], &[SHA256UPDATE]), Err(ScriptError::Sha2ContextWrite));
}

#[test]
fn products_and_sums_of_keys() {
    let generator = SecretKey::from_slice(&[5; 32]).unwrap().public_key(SECP256K1);
    let scalar = Scalar::from_be_bytes([6; 32]).unwrap();
    let product = generator.mul_tweak(SECP256K1, &scalar).unwrap().serialize();
    let generator = generator.serialize();
    let multiply = |result: &[u8], scalar: &[u8]| tap([result, &generator, scalar], &[ECMULSCALARVERIFY]);
    assert_eq!(multiply(&product, &[6; 32]), Ok(stack([])));
    for scalar in [[7; 32].as_slice(), &[0; 32], &[0xff; 32], &[6; 31]] {
        assert_eq!(multiply(&product, scalar), Err(ScriptError::EcMultVerifyFail));
    }
    assert_eq!(multiply(&product[1..], &[6; 32]), Err(ScriptError::PubkeyType(32)));

    let internal = Keypair::from_seckey_slice(SECP256K1, &[5; 32]).unwrap().x_only_public_key().0;
    let (tweaked, parity) = internal.add_tweak(SECP256K1, &scalar).unwrap();
    let prefix = if parity == Parity::Even { 2 } else { 3 };
    let internal = internal.serialize();
    let add = |prefix: u8, tweak: &[u8], internal: &[u8]| {
        let tweaked = [&[prefix], tweaked.serialize().as_slice()].concat();
        tap([&tweaked, tweak, internal], &[TWEAKVERIFY])
    };
    assert_eq!(add(prefix, &[6; 32], &internal), Ok(stack([])));
    assert_eq!(add(prefix ^ 1, &[6; 32], &internal), Err(ScriptError::EcMultVerifyFail));
    assert_eq!(add(prefix, &[7; 32], &internal), Err(ScriptError::EcMultVerifyFail));
    assert_eq!(add(prefix, &[0xff; 32], &internal), Err(ScriptError::EcMultVerifyFail));
    assert!(matches!(add(4, &[6; 32], &internal), Err(ScriptError::PubkeyType(_))));
    assert!(matches!(add(prefix, &[6; 31], &internal), Err(ScriptError::PubkeyType(_))));
    // Each costs as much as a signature, and there is weight for one.
    let twice = [[OP_3DUP, ECMULSCALARVERIFY], [OP_3DUP, ECMULSCALARVERIFY]].concat();
    assert_eq!(tap([&product, &generator, &[6; 32]], &twice), Err(ScriptError::TapscriptValidationWeight));
    for opcode in [ECMULSCALARVERIFY, TWEAKVERIFY] {
        assert_eq!(tap([&[1], &[1]], &[opcode]), Err(ScriptError::Operand(opcode)));
        assert_eq!(ScriptError::Operand(opcode).elements_name(), "UNKNOWN_ERROR");
    }
}

#[test]
fn signatures_over_data_in_tapscript() {
    let keypair = Keypair::from_seckey_slice(SECP256K1, &[5; 32]).unwrap();
    let key = keypair.x_only_public_key().0.serialize();
    let data = [9; 32];
    let signature = SECP256K1.sign_schnorr_no_aux_rand(&Message::from_digest(data), &keypair);
    let check = |signature: &[u8], data: &[u8], key: &[u8]| tap([signature, data, key], &[CHECKSIGFROMSTACK]);
    let (yes, no) = (Ok(stack([&[1]])), Ok(stack([&[]])));
    assert_eq!(check(signature.as_ref(), &data, &key), yes);
    assert_eq!(check(&[], &data, &key), no, "an empty signature is wrong");
    assert_eq!(check(signature.as_ref(), &[8; 32], &key), Err(ScriptError::SchnorrSig));
    assert_eq!(check(signature.as_ref(), &[9; 31], &key), Err(ScriptError::SchnorrSig), "data of another length");
    assert_eq!(check(&[1; 65], &data, &key), Err(ScriptError::SchnorrSigSize(65)));
    assert_eq!(check(&[1], &data, &[]), Err(ScriptError::PubkeyType(0)));
    assert_eq!(check(&[1], &data, &[2; 33]), yes, "a kind of key to come");
    let flags = Flags::CONSENSUS | Flags::DISCOURAGE_UPGRADABLE_PUBKEYTYPE;
    let run = run_as(ScriptVersion::Tapscript, flags, stack([&[1], &data, &[2; 33]]), &[CHECKSIGFROMSTACK]);
    assert_eq!(run, Err(ScriptError::DiscourageUpgradablePubkeyType(33)));
    let twice = [OP_3DUP, CHECKSIGFROMSTACKVERIFY, CHECKSIGFROMSTACK];
    let run = tap([signature.as_ref(), &data, &key], &twice);
    assert_eq!(run, Err(ScriptError::TapscriptValidationWeight));
}

#[test]
fn signatures_over_data_before_tapscript() {
    let secret = SecretKey::from_slice(&[5; 32]).unwrap();
    let key = secret.public_key(SECP256K1).serialize();
    let digest = sha256::Hash::hash(b"data").to_byte_array();
    let der = SECP256K1.sign_ecdsa(&Message::from_digest(digest), &secret).serialize_der();
    assert_eq!(v0([&der, b"data", &key], &[CHECKSIGFROMSTACK]), Ok(stack([&[1]])));
    assert_eq!(v0([&der, b"data", &key], &[CHECKSIGFROMSTACKVERIFY]), Ok(stack([])));
    for signature in [der.as_ref(), &[]] {
        let run = v0([signature, b"other", &key], &[CHECKSIGFROMSTACK]);
        assert_eq!(run, Err(ScriptError::CheckSigVerify), "it cannot be false");
    }
    let with_hash_type = [der.as_ref(), &[1]].concat();
    assert_eq!(v0([&with_hash_type, b"data", &key], &[CHECKSIGFROMSTACK]), Err(ScriptError::SigDer));
}

#[test]
fn tapscript_rules() {
    assert_eq!(tap([&[2]], &[IF, ENDIF]), Err(ScriptError::TapscriptMinimalIf));
    assert_eq!(v0([&[2]], &[IF, ENDIF]), Ok(stack([])));
    assert_eq!(tap([&[]], &[CHECKMULTISIG]), Err(ScriptError::TapscriptCheckMultisig));
    assert_eq!(v0([&[], &[], &[]], &[CHECKSIGADD]), Err(ScriptError::BadOpcode(CHECKSIGADD)));
    assert_eq!(tap([&[], &[3], &[2; 32]], &[CHECKSIGADD]), Ok(stack([&[3]])));
    assert_eq!(tap([&[1], &[3], &[2; 33]], &[CHECKSIGADD]), Ok(stack([&[4]])));
    // No limit on operations or size, but on the stack.
    assert_eq!(tap([&[1]], &[NOP; 20_000]), Ok(stack([&[1]])));
    assert_eq!(v0([&[1]], &[NOP; 202]), Err(ScriptError::OpCount));
    assert_eq!(v0([&[1]], &[NOP; 10_001]), Err(ScriptError::ScriptSize(10_001)));
    assert_eq!(tap([&[1]], &[DUP; 1_000]), Err(ScriptError::StackSize(1_001)));
    let deep = [vec![OP_1], [DUP, IF].repeat(50_000), vec![ENDIF; 50_000]].concat();
    assert_eq!(tap([], &deep), Ok(stack([&[1]])), "conditions cost nothing");
}

#[test]
fn no_bytes_make_the_interpreter_panic() {
    use rand::{Rng, SeedableRng};
    let seed = 0x5c21;
    let mut rng = rand_chacha::ChaCha20Rng::seed_from_u64(seed);
    let elements: [&[u8]; 8] = [&[], &[1], &[0x81], &[2; 8], &[3; 32], &[2; 33], &[0; 40], &[7; 520]];
    with_checker(|checker| {
        for round in 0..20_000 {
            let stack: Stack = (0..rng.gen_range(0..8)).map(|_| elements[rng.gen_range(0..8)].to_vec()).collect();
            let length = rng.gen_range(1..40);
            let opcode = |_| if rng.gen_bool(0.7) { rng.gen_range(0x4f..=0xe6) } else { rng.r#gen() };
            let script: Vec<u8> = (0..length).map(opcode).collect();
            for version in [ScriptVersion::Base, ScriptVersion::WitnessV0, ScriptVersion::Tapscript] {
                for flags in [Flags::NONE, Flags::CONSENSUS, Flags::STANDARD] {
                    if let Ok(left) = run(stack.clone(), &script, flags, version, checker, Tapscript::default()) {
                        assert!(left.len() <= 1_000, "seed {seed}, round {round}");
                        assert!(left.iter().all(|element| element.len() <= 520), "seed {seed}, round {round}");
                    }
                }
            }
        }
    });
}
