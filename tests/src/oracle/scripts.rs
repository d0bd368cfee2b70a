//! Locks of every family, with parts drawn at random.

use bitcoin::hashes::{Hash as _, hash160, sha256};
use rand::Rng as _;
use rand::seq::SliceRandom as _;
use rand_chacha::ChaCha20Rng;

use super::lock::{Item, Lock, Wrap, public, push, x_only};

/// Scripts that are not bound to a version of signatures.
const WRAPS: [Wrap; 5] = [Wrap::Bare, Wrap::P2sh, Wrap::P2wsh, Wrap::NestedP2wsh, Wrap::Tapscript];
/// Hash types of ECDSA that consensus knows, and some that it only takes.
const HASH_TYPES: [u8; 16] = [1, 1, 1, 2, 3, 0x41, 0x42, 0x43, 0x81, 0x82, 0x83, 0xc1, 0xc2, 0xc3, 0x00, 0x5f];
/// Hash types of Taproot.
const TAPROOT_HASH_TYPES: [u8; 8] = [0, 0, 1, 2, 3, 0x81, 0x82, 0x83];
/// Leaves one element, whatever is above it: takes away all below the top.
const CLEAN_UP: [u8; 6] = [0x74, 0x8c, 0x92, 0x63, 0x77, 0x68];

fn pick<T: Copy>(rng: &mut ChaCha20Rng, from: &[T], default: T) -> T {
    from.choose(rng).copied().unwrap_or(default)
}

/// A lock that its items spend, mostly; `height` is that of the block that spends it, `age` how many blocks later it is.
pub(super) fn draw(rng: &mut ChaCha20Rng, height: u32, age: u32) -> Lock {
    let sig = |wrap| if wrap == Wrap::Tapscript { x_only(1) } else { public(1) };
    let mut lock = match rng.gen_range(0..18) {
        0 => Lock::new("p2wpkh", Wrap::P2wpkh, vec![], vec![Item::Signature(0), Item::Bytes(public(0))]),
        1 => Lock::new("p2sh-p2wpkh", Wrap::NestedP2wpkh, vec![], vec![Item::Signature(0), Item::Bytes(public(0))]),
        2 => {
            let hash = hash160::Hash::hash(&public(0)).to_byte_array();
            let script = [[0x76, 0xa9, 20].as_slice(), &hash, &[0x88, 0xac]].concat();
            let wrap = pick(rng, &WRAPS[..4], Wrap::Bare);
            Lock::new("p2pkh", wrap, script, vec![Item::Signature(0), Item::Bytes(public(0))])
        }
        3 => Lock::new("taproot-key", Wrap::TaprootKey, vec![0x51], vec![Item::Signature(0)]),
        4 | 5 => multisig(rng),
        6 => {
            let wrap = pick(rng, &WRAPS, Wrap::P2wsh);
            Lock::new("p2pk", wrap, [push(&sig(wrap)), vec![0xac]].concat(), vec![Item::Signature(1)])
        }
        7 | 8 => timelock(rng, height, age),
        9 => {
            let wrap = pick(rng, &WRAPS, Wrap::P2wsh);
            let secret: [u8; 32] = rng.r#gen();
            let hash = sha256::Hash::hash(&secret).to_byte_array();
            let script =
                [vec![0x63, 0xa8], push(&hash), vec![0x88, 0x67, 0x75, 0x68], push(&sig(wrap)), vec![0xac]].concat();
            let way = if rng.gen_bool(0.7) { vec![1] } else { vec![] };
            Lock::new(
                "hash-lock",
                wrap,
                script,
                vec![Item::Signature(1), Item::Bytes(secret.to_vec()), Item::Bytes(way)],
            )
        }
        10 => checksig_add(rng),
        11 => from_stack(rng),
        12 | 13 => introspection(rng),
        14 => {
            let wrap = pick(rng, &WRAPS, Wrap::P2wsh);
            let size = pick(rng, &[0, 1, 79, 80, 81, 520, 521], 1);
            Lock::new("drop", wrap, vec![0x75, 0x51], vec![Item::Bytes(vec![7; size])])
        }
        _ => operations(rng),
    };
    let taproot = lock.is_taproot();
    if taproot && rng.gen_bool(0.15) {
        lock.annex = Some([vec![0x50], vec![7; rng.gen_range(0..40)]].concat());
    }
    lock.hash_type = if taproot { pick(rng, &TAPROOT_HASH_TYPES, 0) } else { pick(rng, &HASH_TYPES, 1) };
    lock
}

fn multisig(rng: &mut ChaCha20Rng) -> Lock {
    let keys: u8 = rng.gen_range(1..=15);
    let needed = rng.gen_range(1..=keys).min(4);
    let mut script = push(&[needed]);
    for number in 0..keys {
        script.extend(push(&public(number)));
    }
    script.extend(push(&[keys]));
    script.push(0xae);
    let mut items = vec![Item::Bytes(vec![])];
    items.extend((0..needed).map(Item::Signature));
    let wraps = if keys > 14 { &WRAPS[2..4] } else { &WRAPS[..4] };
    Lock::new("multisig", pick(rng, wraps, Wrap::P2wsh), script, items)
}

fn timelock(rng: &mut ChaCha20Rng, height: u32, age: u32) -> Lock {
    let wrap = pick(rng, &WRAPS, Wrap::P2wsh);
    let key = if wrap == Wrap::Tapscript { x_only(1) } else { public(1) };
    let small = |number: u32| u8::try_from(number).unwrap_or(0x7f).min(0x7f);
    let script = |number: u8, opcode| [push(&[number]), vec![opcode, 0x75], push(&key), vec![0xac]].concat();
    if rng.gen_bool(0.5) {
        let number = small(height.saturating_sub(rng.gen_range(0..4)));
        return Lock::new("cltv", wrap, script(number, 0xb1), vec![Item::Signature(1)]);
    }
    // Seldom one block too many.
    let number = small(age.saturating_add(1).saturating_sub(rng.gen_range(0..6)).max(1));
    Lock { age: Some(number), ..Lock::new("csv", wrap, script(number, 0xb2), vec![Item::Signature(1)]) }
}

fn checksig_add(rng: &mut ChaCha20Rng) -> Lock {
    let keys: u8 = rng.gen_range(1..6);
    let mut script = vec![0];
    for number in 0..keys {
        script.extend(push(&x_only(number)));
        script.push(0xba);
    }
    let mut items: Vec<Item> = (0..keys).rev().map(Item::Signature).collect();
    let missing = usize::from(rng.gen_range(0..keys));
    if let Some(item) = items.get_mut(missing) {
        *item = Item::Bytes(vec![]);
    }
    script.extend(push(&[keys.saturating_sub(1)]));
    script.push(0x9c);
    if keys == 1 {
        script.truncate(script.len().saturating_sub(2));
        script.push(0x91);
    }
    Lock::new("checksigadd", Wrap::Tapscript, script, items)
}

/// CHECKSIGFROMSTACK of a message.
fn from_stack(rng: &mut ChaCha20Rng) -> Lock {
    use secp256k1_zkp::{Keypair, SECP256K1};
    let message: Vec<u8> = (0..32).map(|_| rng.r#gen()).collect();
    let mut digest = [0; 32];
    digest.copy_from_slice(&message);
    let wrap = pick(rng, &WRAPS, Wrap::Tapscript);
    let (key, signature) = if wrap == Wrap::Tapscript {
        let pair = Keypair::from_secret_key(SECP256K1, &super::lock::key(2));
        let signature = SECP256K1.sign_schnorr_no_aux_rand(&secp256k1_zkp::Message::from_digest(digest), &pair);
        (x_only(2), signature.as_ref().to_vec())
    } else {
        let hash = sha256::Hash::hash(&message).to_byte_array();
        let message = secp256k1_zkp::Message::from_digest(hash);
        let signature = SECP256K1.sign_ecdsa(&message, &super::lock::key(2));
        (public(2), signature.serialize_der().to_vec())
    };
    let script = [push(&message), push(&key), vec![0xc1]].concat();
    Lock::new("checksigfromstack", wrap, script, vec![Item::Bytes(signature)])
}

/// Looks at the transaction and throws away what it sees.
fn introspection(rng: &mut ChaCha20Rng) -> Lock {
    let mut script = Vec::new();
    for _ in 0..rng.gen_range(1..5) {
        let index = rng.gen_range(0..3);
        match rng.gen_range(0..3) {
            0 => {
                script.extend(push(&[index]));
                script.push(rng.gen_range(0xc7..=0xcc));
            }
            1 => {
                script.extend(push(&[index]));
                script.push(rng.gen_range(0xce..=0xd1));
            }
            _ => script.push(pick(rng, &[0xcd, 0xd2, 0xd3, 0xd4, 0xd5, 0xd6], 0xd2)),
        }
    }
    script.push(0x51);
    script.extend(CLEAN_UP.repeat(40));
    Lock::new("introspection", Wrap::Tapscript, script, vec![])
}

/// A few constants and a few operations on them.
fn operations(rng: &mut ChaCha20Rng) -> Lock {
    let wrap = pick(rng, &WRAPS, Wrap::Bare);
    let mut script = Vec::new();
    for _ in 0..rng.gen_range(2..7) {
        let bytes = match rng.gen_range(0..6) {
            0 => vec![],
            1 => vec![rng.gen_range(1..17)],
            2 => (0..rng.gen_range(1..6)).map(|_| rng.r#gen()).collect(),
            3 => rng.gen_range(-9_i64..99).to_le_bytes().to_vec(),
            4 => rng.r#gen::<[u8; 8]>().to_vec(),
            _ => x_only(rng.gen_range(0..3)),
        };
        script.extend(push(&bytes));
    }
    for _ in 0..rng.gen_range(1..5) {
        let opcode = match rng.gen_range(0..5) {
            0 => rng.gen_range(0x69..=0x88),
            1 => rng.gen_range(0x8b..=0xab),
            2 => rng.gen_range(0x76..=0x8a),
            3 if wrap == Wrap::Tapscript => rng.gen_range(0xc4..=0xe4),
            3 => rng.gen_range(0xb0..=0xc3),
            _ => rng.gen_range(0x50..=0xff),
        };
        script.push(opcode);
    }
    script.push(0x51);
    script.extend(CLEAN_UP.repeat(12));
    Lock::new("operations", wrap, script, vec![])
}
