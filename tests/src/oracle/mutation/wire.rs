//! Changes in fields that no rule of form looks at, and in how they are written.

use aquifer_assets::primitives::{Nonce, RangeProof, SurjectionProof, Transaction, Witness};
use rand::Rng as _;
use rand::seq::SliceRandom as _;
use rand_chacha::ChaCha20Rng;
use secp256k1_zkp::Parity;

use super::{any, flip};

/// Where the index of the first input stands: behind version, flags, count and txid.
const FIRST_INDEX: usize = 4 + 1 + 1 + 32;
const FLAGS: usize = 4;

/// Bytes that may be a proof, or part of one, or anything.
fn proof(rng: &mut ChaCha20Rng, tx: &Transaction) -> Vec<u8> {
    let proofs: Vec<&[u8]> = tx
        .output
        .iter()
        .flat_map(|output| [output.witness.rangeproof.as_bytes(), output.witness.surjection_proof.as_bytes()])
        .filter(|proof| !proof.is_empty())
        .collect();
    let mut bytes = proofs.choose(rng).map(|proof| proof.to_vec()).unwrap_or_default();
    match rng.gen_range(0..5) {
        0 => bytes.truncate(rng.gen_range(0..=bytes.len())),
        1 => bytes.push(0),
        2 => bytes = (0..rng.gen_range(0..80)).map(|_| rng.r#gen()).collect(),
        3 => flip(rng, &mut bytes),
        _ => {}
    }
    bytes
}

/// Makes an output's nonce anything: it is part of what is signed, and of no rule.
pub(super) fn nonce(rng: &mut ChaCha20Rng, tx: &mut Transaction) {
    let nonce = match rng.gen_range(0..4) {
        0 => Nonce::Null,
        1 => Nonce::Explicit(rng.r#gen()),
        2 => Nonce::Confidential(Parity::Even, [0xff; 32]),
        _ => Nonce::Confidential(Parity::Odd, rng.r#gen()),
    };
    any(rng, &mut tx.output).into_iter().for_each(|output| output.nonce = nonce);
}

/// Changes proofs and peg-in witnesses without looking at what they are.
pub(super) fn witness(name: &str, rng: &mut ChaCha20Rng, tx: &mut Transaction) {
    let bytes = proof(rng, tx);
    let second = rng.gen_bool(0.5);
    match name {
        "input-proof" => {
            if let Some(input) = any(rng, &mut tx.input) {
                let proofs = &mut input.witness;
                *if second { &mut proofs.inflation_keys_rangeproof } else { &mut proofs.amount_rangeproof } =
                    RangeProof::from(bytes);
            }
        }
        "output-proof" => {
            if let Some(output) = any(rng, &mut tx.output) {
                if second {
                    output.witness.surjection_proof = SurjectionProof::from(bytes);
                } else {
                    output.witness.rangeproof = RangeProof::from(bytes);
                }
            }
        }
        _ => {
            let claims: Vec<usize> =
                (0..).zip(&tx.input).filter(|(_, input)| input.is_pegin).map(|(vin, _)| vin).collect();
            let vin = claims.choose(rng).copied().unwrap_or_else(|| rng.gen_range(0..tx.input.len().max(1)));
            if let Some(input) = tx.input.get_mut(vin) {
                let mut items = input.witness.pegin_witness.to_vec();
                pegin_items(rng, &mut items);
                input.witness.pegin_witness = Witness::from_slice(&items);
            }
        }
    }
}

fn pegin_items(rng: &mut ChaCha20Rng, items: &mut Vec<Vec<u8>>) {
    let at = rng.gen_range(0..=items.len());
    match rng.gen_range(0..7) {
        0 => items.insert(at, vec![]),
        1 => items.push(vec![7; rng.gen_range(0..5)]),
        2 => drop(items.pop()),
        3 => items.clear(),
        change => {
            if let Some(item) = items.get_mut(at) {
                match change {
                    4 => item.push(0),
                    5 => drop(item.pop()),
                    _ => flip(rng, item),
                }
            }
        }
    }
}

/// Changes what stands on the wire where the flags are.
pub(super) fn flags(name: &str, rng: &mut ChaCha20Rng, bytes: &mut [u8]) {
    if name == "flags" {
        let flags = [0, 1, 2, 3, 0x81, 0xff].choose(rng).copied().unwrap_or(0);
        bytes.get_mut(FLAGS).into_iter().for_each(|byte| *byte = flags);
    } else {
        let bit = [0x40, 0x80, 0xc0].choose(rng).copied().unwrap_or(0);
        bytes.get_mut(FIRST_INDEX + 3).into_iter().for_each(|byte| *byte ^= bit);
    }
}
