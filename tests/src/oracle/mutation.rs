//! One change in a transaction: before it is signed, so that only the changed thing is wrong, or in what is signed.

mod policy;
mod wire;

use elements::confidential::{Asset, Value};
use elements::encode::{deserialize, serialize};
use elements::{AssetId, LockTime, OutPoint, Script, Sequence};
use rand::Rng as _;
use rand_chacha::ChaCha20Rng;

use aquifer_assets::primitives::{Nonce, RangeProof, SurjectionProof, Transaction, TxOut, Witness};

/// Changes before signing.
pub(super) const BEFORE: [&str; 35] = [
    "nonce",
    "output-script",
    "data-output",
    "dust",
    "low-fee",
    "same-spend",
    "amount",
    "no-rangeproof",
    "no-surjection",
    "other-rangeproof",
    "other-surjection",
    "rangeproof-byte",
    "surjection-byte",
    "script",
    "null-nonce",
    "swap-values",
    "swap-assets",
    "superfluous-rangeproof",
    "superfluous-surjection",
    "version",
    "locktime",
    "sequence",
    "same-input",
    "less-inputs",
    "less-outputs",
    "more-fee",
    "issuance-amount",
    "issuance-tokens",
    "issuance-proof",
    "issuance-nonce",
    "issuance-entropy",
    "pegin-flag",
    "pegin-witness",
    "null-value",
    "same-output",
];
/// Changes afterwards.
pub(super) const AFTER: [&str; 12] = [
    "witness-byte",
    "witness-less",
    "witness-more",
    "script-sig",
    "hash-type",
    "bytes",
    "witness-order",
    "input-proof",
    "output-proof",
    "pegin-items",
    "flags",
    "index-bits",
];

/// The block that a case is judged for.
#[derive(Copy, Clone, Debug)]
pub(super) struct Moment {
    /// Its height.
    pub(super) height: u32,
    /// The median time before it, in seconds since 1970.
    pub(super) median_time_past: u32,
}

/// Any of them, sorted by index so that the choice is that of the seed.
fn any<'a, T>(rng: &mut ChaCha20Rng, from: &'a mut [T]) -> Option<&'a mut T> {
    let index = rng.gen_range(0..from.len().max(1));
    from.get_mut(index)
}

fn flip(rng: &mut ChaCha20Rng, bytes: &mut [u8]) {
    if let Some(byte) = any(rng, bytes) {
        *byte ^= 1 << rng.gen_range(0..8);
    }
}

/// One bit of the encoding changed, if that is the encoding of something that the `elements` crate knows.
fn flipped<T: elements::encode::Decodable>(
    rng: &mut ChaCha20Rng,
    value: &impl elements::encode::Encodable,
) -> Option<T> {
    let mut bytes = serialize(value);
    flip(rng, &mut bytes);
    deserialize(&bytes).ok()
}

/// The outputs that hide something.
fn hidden(transaction: &mut Transaction) -> Vec<&mut TxOut> {
    transaction.output.iter_mut().filter(|output| output.asset.is_confidential()).collect()
}

fn bump(rng: &mut ChaCha20Rng, value: &mut Value) {
    if let Value::Explicit(amount) = value {
        *amount = match rng.gen_range(0..6) {
            0 => amount.wrapping_add(1),
            1 => amount.wrapping_sub(1),
            2 => 0,
            3 => u64::MAX,
            4 => 2_100_000_000_000_001,
            _ => rng.r#gen(),
        };
    }
}

/// Makes a change of [`BEFORE`], where there is something to change.
pub(super) fn before(name: &str, rng: &mut ChaCha20Rng, tx: &mut Transaction, pegged: AssetId, moment: Moment) {
    let outputs = tx.output.len();
    let proofs: Vec<_> =
        tx.output.iter().map(|output| output.witness.clone()).filter(|proof| !proof.is_empty()).collect();
    let other = proofs.get(rng.gen_range(0..proofs.len().max(1))).cloned().unwrap_or_default();
    let (one, two) = (rng.gen_range(0..outputs.max(1)), rng.gen_range(0..outputs.max(1)));
    let copy = tx.output.get(two).cloned();
    match name {
        "amount" => {
            if let Some(output) = any(rng, &mut tx.output) {
                bump(rng, &mut output.value);
            }
        }
        "no-rangeproof" => any(rng, &mut hidden(tx)).into_iter().for_each(|o| o.witness.rangeproof = RangeProof::EMPTY),
        "no-surjection" => {
            any(rng, &mut hidden(tx)).into_iter().for_each(|o| o.witness.surjection_proof = SurjectionProof::EMPTY);
        }
        "other-rangeproof" => {
            any(rng, &mut hidden(tx)).into_iter().for_each(|o| o.witness.rangeproof = other.rangeproof.clone());
        }
        "other-surjection" => {
            any(rng, &mut hidden(tx))
                .into_iter()
                .for_each(|o| o.witness.surjection_proof = other.surjection_proof.clone());
        }
        "rangeproof-byte" => {
            if let Some(output) = any(rng, &mut hidden(tx)) {
                let mut bytes = output.witness.rangeproof.as_bytes().to_vec();
                flip(rng, &mut bytes);
                output.witness.rangeproof = RangeProof::from(bytes);
            }
        }
        "surjection-byte" => {
            if let Some(output) = any(rng, &mut hidden(tx)) {
                let mut bytes = output.witness.surjection_proof.as_bytes().to_vec();
                flip(rng, &mut bytes);
                output.witness.surjection_proof = SurjectionProof::from(bytes);
            }
        }
        "script" => {
            let script = match rng.gen_range(0..4) {
                0 => Script::new(),
                1 => Script::from(vec![0x6a]),
                2 => Script::from(vec![0x51; 10_001]),
                _ => Script::from(vec![0x51]),
            };
            any(rng, &mut tx.output).into_iter().for_each(|output| output.script_pubkey = script.clone());
        }
        "nonce" => wire::nonce(rng, tx),
        "null-nonce" => any(rng, &mut hidden(tx)).into_iter().for_each(|output| output.nonce = Nonce::Null),
        "swap-values" | "swap-assets" | "same-output" => {
            if let (Some(output), Some(copy)) = (tx.output.get_mut(one), copy) {
                match name {
                    "swap-values" => output.value = copy.value,
                    "swap-assets" => output.asset = copy.asset,
                    _ => *output = copy,
                }
            }
        }
        "superfluous-rangeproof" => {
            tx.output.last_mut().into_iter().for_each(|output| output.witness.rangeproof = other.rangeproof.clone());
        }
        "superfluous-surjection" => {
            let last = tx.output.last_mut().into_iter();
            last.for_each(|output| output.witness.surjection_proof = other.surjection_proof.clone());
        }
        "version" => tx.version = [0, 1, 3, u32::MAX].get(rng.gen_range(0..4)).copied().unwrap_or(1),
        "locktime" => {
            let border = if rng.gen_bool(0.5) { moment.height } else { moment.median_time_past };
            let lock_time = border.saturating_add(1).saturating_sub(rng.gen_range(0..4));
            tx.lock_time = LockTime::from_consensus(lock_time);
        }
        "output-script" | "data-output" | "dust" | "low-fee" => policy::change(name, rng, tx, pegged),
        "sequence" => {
            let sequence = match rng.gen_range(0..4) {
                0 => [0x8000_0000, 0xffff_fffd, 0xffff_fffe, u32::MAX].get(rng.gen_range(0..4)).copied().unwrap_or(0),
                // Spans of 512 seconds; the blocks are a minute apart.
                1 => 0x40_0000 | rng.gen_range(0..4),
                // Bits without a meaning.
                2 => 0x3f_0000 | rng.gen_range(0..12),
                _ => rng.gen_range(0..24),
            };
            any(rng, &mut tx.input).into_iter().for_each(|input| input.sequence = Sequence(sequence));
        }
        "same-spend" => {
            if let (Some(first), Some(last)) = (tx.input.first().cloned(), tx.input.last_mut()) {
                last.previous_output = first.previous_output;
            }
        }
        "same-input" => {
            if let Some(input) = tx.input.first().cloned() {
                tx.input.push(input);
            }
        }
        "less-inputs" => drop(tx.input.pop()),
        "less-outputs" => {
            if outputs > 0 {
                tx.output.remove(one);
            }
        }
        "more-fee" => tx.output.push(TxOut::new_fee(rng.gen_range(0..3), pegged)),
        "issuance-amount" => {
            tx.input.first_mut().into_iter().for_each(|input| match input.asset_issuance.amount {
                Value::Null => input.asset_issuance.amount = Value::Explicit(5),
                _ => bump(rng, &mut input.asset_issuance.amount),
            });
        }
        "issuance-tokens" => {
            tx.input.first_mut().into_iter().for_each(|input| match input.asset_issuance.inflation_keys {
                Value::Null => input.asset_issuance.inflation_keys = Value::Explicit(5),
                _ => bump(rng, &mut input.asset_issuance.inflation_keys),
            });
        }
        "issuance-proof" => {
            if let Some(input) = tx.input.first_mut() {
                input.witness.amount_rangeproof = other.rangeproof;
            }
        }
        "issuance-nonce" | "issuance-entropy" => {
            if let Some(input) = tx.input.first_mut() {
                let issuance = &mut input.asset_issuance;
                if name == "issuance-nonce" {
                    issuance.asset_blinding_nonce =
                        flipped(rng, &issuance.asset_blinding_nonce).unwrap_or(issuance.asset_blinding_nonce);
                } else {
                    issuance.asset_entropy = flipped(rng, &issuance.asset_entropy).unwrap_or(issuance.asset_entropy);
                }
            }
        }
        "pegin-flag" => any(rng, &mut tx.input).into_iter().for_each(|input| input.is_pegin = !input.is_pegin),
        "pegin-witness" => {
            for input in tx.input.iter_mut().filter(|input| input.is_pegin) {
                let mut items = input.witness.pegin_witness.to_vec();
                any(rng, &mut items).into_iter().for_each(|item| flip(rng, item));
                input.witness.pegin_witness = Witness::from_slice(&items);
            }
            if rng.gen_bool(0.2) {
                tx.input
                    .iter_mut()
                    .for_each(|input| input.previous_output = OutPoint::new(input.previous_output.txid, 0));
            }
        }
        _ => {
            if let Some(output) = any(rng, &mut tx.output) {
                if rng.gen_bool(0.5) {
                    output.value = Value::Null;
                } else {
                    output.asset = Asset::Null;
                }
            }
        }
    }
}

/// Makes a change of [`AFTER`] and gives the bytes.
pub(super) fn after(name: &str, rng: &mut ChaCha20Rng, tx: &mut Transaction) -> Vec<u8> {
    if let Some(input) = any(rng, &mut tx.input) {
        let mut witness = input.witness.script_witness.to_vec();
        let position = rng.gen_range(0..=witness.len());
        match name {
            "witness-byte" => any(rng, &mut witness).into_iter().for_each(|item| flip(rng, item)),
            "witness-less" => drop(witness.pop()),
            "witness-more" => witness.insert(position, [vec![], vec![1], vec![0x50]].concat()),
            "witness-order" => witness.reverse(),
            "hash-type" => {
                let byte = rng.r#gen();
                witness.first_mut().and_then(|item| item.last_mut()).into_iter().for_each(|last| *last = byte);
            }
            "script-sig" => {
                let mut script = input.script_sig.to_bytes();
                match rng.gen_range(0..3) {
                    0 => script.insert(0, 0x51),
                    1 => flip(rng, &mut script),
                    _ => drop(script.pop()),
                }
                input.script_sig = Script::from(script);
            }
            _ => {}
        }
        input.witness.script_witness = Witness::from_slice(&witness);
    }
    if matches!(name, "input-proof" | "output-proof" | "pegin-items") {
        wire::witness(name, rng, tx);
    }
    let mut bytes = serialize(tx);
    if matches!(name, "flags" | "index-bits") {
        wire::flags(name, rng, &mut bytes);
    }
    if name == "bytes" {
        let end = bytes.len();
        change_bytes(rng, &mut bytes, end);
    }
    bytes
}

/// Changes one place among the bytes before `end`.
pub(super) fn change_bytes(rng: &mut ChaCha20Rng, bytes: &mut Vec<u8>, end: usize) {
    let position = rng.gen_range(0..end);
    match rng.gen_range(0..8) {
        0 => bytes.truncate(position),
        1 => bytes.insert(position, rng.r#gen()),
        2 => drop(bytes.remove(position)),
        3 => bytes.push(0),
        _ => flip(rng, bytes.get_mut(..end).unwrap_or_default()),
    }
}
