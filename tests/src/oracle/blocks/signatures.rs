//! Signatures of a header.

use aquifer_assets::primitives::Block;
use rand::Rng as _;
use rand::seq::SliceRandom as _;
use rand_chacha::ChaCha20Rng;
use secp256k1_zkp::{Message, SECP256K1, SecretKey, ecdsa};

use super::super::{Subject, World};
use super::Made;
use crate::forge::set_witness;

const CHANGES: [&str; 18] = [
    "none",
    "other-members",
    "order",
    "less",
    "more",
    "same-twice",
    "stranger",
    "other-block",
    "high-s",
    "hash-type",
    "der",
    "dummy",
    "script",
    "extra-item",
    "no-witness",
    "large",
    "empty-signature",
    "byte",
];

pub(super) fn make(world: &World, rng: &mut ChaCha20Rng) -> Made {
    let mut block = world.good_block(rng)?;
    // No two cases share a hash: elementsd remembers which blocks it has refused.
    block.header.time = block.header.time.saturating_add(rng.gen_range(0..100_000));
    let name = CHANGES.choose(rng).copied().unwrap_or("none");
    let witness = witness(name, world, rng, &block);
    set_witness(&mut block, witness);
    Ok((name, Subject::Signed(Box::new(block))))
}

/// Signs for some members and makes the change.
fn witness(name: &str, world: &World, rng: &mut ChaCha20Rng, block: &Block) -> Vec<Vec<u8>> {
    let needed = world.chain.founded.federation.threshold();
    let mut members: Vec<u16> = (0..4).collect();
    match name {
        "other-members" => {
            members.remove(rng.gen_range(0..needed.min(4)));
        }
        "less" => members.truncate(needed.saturating_sub(1)),
        "more" => {}
        _ => members.truncate(needed),
    }
    let signed = world.chain.header_signatures(block, &members);
    let mut signatures: Vec<Vec<u8>> = signed.into_values().collect();
    let at = rng.gen_range(0..signatures.len().max(1));
    let mut dummy = vec![];
    let mut script = world.chain.signblock_script().to_bytes();
    let message = |block: &Block| Message::from_digest(block.block_hash().to_byte_array());
    let stranger = SecretKey::new(rng);
    let (all_but, byte) = (rng.gen_range(2..5u8), rng.r#gen::<u8>());
    if name == "order" {
        signatures.rotate_left(1);
    }
    if name == "same-twice"
        && let Some(first) = signatures.first().cloned()
        && let Some(second) = signatures.get_mut(1)
    {
        *second = first;
    }
    if let Some(signature) = signatures.get_mut(at) {
        match name {
            "stranger" => *signature = sign(&message(block), &stranger),
            "other-block" => {
                let mut other = block.clone();
                other.header.time = other.header.time.wrapping_add(1);
                let member = u16::try_from(at).unwrap_or(0);
                *signature = world.chain.header_signatures(&other, &[member]).into_values().next().unwrap_or_default();
            }
            "high-s" => *signature = high_s(signature).unwrap_or_default(),
            "hash-type" => {
                let kinds = [0, 2, 3, 0x41, 0x81, 0x83, byte];
                let kind = kinds.choose(rng).copied().unwrap_or(0);
                signature.last_mut().into_iter().for_each(|last| *last = kind);
            }
            "der" => {
                let inside = signature.len().saturating_sub(usize::from(all_but));
                signature.insert(if byte > 128 { 1 } else { inside }, if byte > 128 { 0x81 } else { 0 });
            }
            "empty-signature" => signature.clear(),
            "byte" => {
                let position = usize::from(byte).checked_rem(signature.len()).unwrap_or(0);
                signature.get_mut(position).into_iter().for_each(|at| *at ^= 1 << (all_but & 7));
            }
            _ => {}
        }
    }
    match name {
        "dummy" => dummy = [vec![0], vec![1], vec![7; 20]].choose(rng).cloned().unwrap_or_default(),
        "script" => {
            script = [vec![0x51], vec![], [script, vec![0x51]].concat()].choose(rng).cloned().unwrap_or_default()
        }
        "extra-item" => signatures.insert(at, vec![]),
        "large" => dummy = vec![0; 1_000],
        "no-witness" => return vec![],
        _ => {}
    }
    [vec![dummy], signatures, vec![script]].concat()
}

fn sign(message: &Message, key: &SecretKey) -> Vec<u8> {
    [SECP256K1.sign_ecdsa(message, key).serialize_der().as_ref(), &[1]].concat()
}

/// The same signature with the other S.
fn high_s(signature: &[u8]) -> Option<Vec<u8>> {
    let (_, der) = signature.split_last()?;
    let mut compact = ecdsa::Signature::from_der(der).ok()?.serialize_compact();
    let (_, s) = compact.split_at_mut_checked(32)?;
    let negated = SecretKey::from_slice(s).ok()?.negate();
    s.copy_from_slice(&negated.secret_bytes());
    Some([ecdsa::Signature::from_compact(&compact).ok()?.serialize_der().as_ref(), &[1]].concat())
}
