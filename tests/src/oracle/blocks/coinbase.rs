//! The coinbase: what it says, collects and commits to.

use aquifer_assets::primitives::{Block, Nonce, Transaction, TxOut, Witness};
use aquifer_assets::transaction::fee_in;
use elements::confidential::{Asset, AssetBlindingFactor, Value, ValueBlindingFactor};
use elements::issuance::AssetEntropy;
use elements::script::Builder;
use elements::{AssetId, LockTime, OutPoint, Script, Sequence, TxOutSecrets};
use rand::Rng as _;
use rand::seq::SliceRandom as _;
use rand_chacha::ChaCha20Rng;

use super::super::{Subject, World};
use super::{Made, choose};
use crate::forge::{commit_to_transactions, commit_to_witnesses, commitment};

/// Changes after which the commitment is made anew.
const BEFORE: [&str; 14] = [
    "script",
    "amount",
    "other-asset",
    "zero-output",
    "hidden-output",
    "fee-output",
    "null-output",
    "output-proof",
    "inputs",
    "sequence",
    "issuance",
    "no-outputs",
    "version",
    "totals",
];
/// Changes of the commitment and of the witness.
const AFTER: [&str; 9] = [
    "commitment-missing",
    "commitment-wrong",
    "commitment-twice",
    "commitment-longer",
    "commitment-shorter",
    "nonce-length",
    "nonce-count",
    "pegin-witness",
    "pegin-flag",
];

pub(super) fn make(world: &World, rng: &mut ChaCha20Rng) -> Made {
    let mut block = world.good_block(rng)?;
    let fee = block.txdata.iter().skip(1).map(|tx| fee_in(tx, world.chain.pegged())).fold(0, u64::saturating_add);
    let name = if rng.gen_bool(0.65) { choose(rng, &BEFORE) } else { choose(rng, &AFTER) };
    if BEFORE.contains(&name) {
        if let Some(coinbase) = block.txdata.first_mut() {
            before(name, world, rng, coinbase, fee);
        }
        commit_to_witnesses(&mut block);
    } else {
        after(name, rng, &mut block);
        commit_to_transactions(&mut block);
    }
    Ok((name, Subject::Proposal(Box::new(block))))
}

fn open(asset: AssetId, value: u64, script: Script) -> TxOut {
    TxOut { script_pubkey: script, ..TxOut::new_fee(value, asset) }
}

/// Height pushes of all kinds.
fn script(rng: &mut ChaCha20Rng, height: u32) -> Script {
    let right = Builder::new().push_int(i64::from(height)).into_script().into_bytes();
    let other = Builder::new().push_int(i64::from(height) + rng.gen_range(-1..2)).into_script().into_bytes();
    let byte = u8::try_from(height).unwrap_or(0);
    Script::from(match rng.gen_range(0..8) {
        0 => right,
        1 => [other, vec![0]].concat(),
        2 => [right, vec![0; rng.gen_range(96..101)]].concat(),
        3 => vec![1, byte, 0],
        4 => vec![2, byte, 0, 0],
        5 => vec![0x4c, 1, byte],
        6 => vec![0, 0],
        _ => vec![],
    })
}

fn before(name: &str, world: &World, rng: &mut ChaCha20Rng, coinbase: &mut Transaction, fee: u64) {
    let pegged = world.chain.pegged();
    let anybody = Script::from(vec![0x51]);
    let height = world.chain.next_height().unwrap_or(0);
    let small = rng.gen_range(0..3);
    let at = rng.gen_range(0..=coinbase.output.len());
    let mut add = |output: TxOut| coinbase.output.insert(at, output);
    match name {
        "amount" => {
            let amount = fee.saturating_add(small).saturating_sub(1);
            coinbase.output.retain(|output| output.value.explicit() == Some(0));
            coinbase.output.insert(0, open(pegged, amount, anybody));
        }
        "other-asset" => {
            let asset = [world.shown.asset, AssetId::default()].choose(rng).copied().unwrap_or_default();
            add(open(asset, small, if rng.gen_bool(0.5) { anybody } else { Script::from(vec![0x6a]) }));
        }
        "zero-output" => {
            let scripts = [vec![0x6a], vec![0x6a, 0xac], vec![0x51], vec![0x51; 10_000], vec![0x51; 10_001]];
            add(open(pegged, 0, Script::from(scripts.choose(rng).cloned().unwrap_or_default())));
        }
        "hidden-output" => {
            let (asset_bf, value_bf) = (AssetBlindingFactor::new(rng), ValueBlindingFactor::new(rng));
            let secrets = TxOutSecrets::new(pegged, asset_bf, fee, value_bf);
            let generator = secp256k1_zkp::Generator::new_blinded(
                secp256k1_zkp::SECP256K1,
                pegged.into_tag(),
                asset_bf.into_inner(),
            );
            let mut output = open(pegged, 0, Script::from(vec![0x6a]));
            match small {
                0 => output.asset = Asset::Confidential(generator),
                1 => output.value = Value::Confidential(commitment(&secrets)),
                _ => {
                    output.nonce = Nonce::from(secp256k1_zkp::SecretKey::new(rng).public_key(secp256k1_zkp::SECP256K1));
                }
            }
            add(output);
        }
        "fee-output" => add(TxOut::new_fee(small, pegged)),
        "null-output" => {
            let mut output = open(pegged, 0, Script::from(vec![0x6a]));
            if rng.gen_bool(0.5) {
                output.asset = Asset::Null;
            } else {
                output.value = Value::Null;
            }
            add(output);
        }
        "totals" => {
            let amount = [2_100_000_000_000_000, 2_100_000_000_000_001, u64::MAX].choose(rng).copied().unwrap_or(0);
            add(open(world.shown.asset, amount, Script::from(vec![0x6a])));
        }
        "no-outputs" => coinbase.output.clear(),
        "version" => coinbase.version = [0, 1, 3, u32::MAX].choose(rng).copied().unwrap_or(0),
        "output-proof" => {
            let proofs = world.blocks.iter().flat_map(|block| &block.txdata).flat_map(|tx| &tx.output);
            let proved: Vec<_> = proofs.filter(|output| !output.witness.is_empty()).collect();
            if let (Some(from), Some(output)) = (proved.choose(rng), coinbase.output.first_mut()) {
                output.witness = from.witness.clone();
            }
        }
        "inputs" => {
            let extra = coinbase.input.first().cloned().into_iter().map(|mut input| {
                input.previous_output = OutPoint::new(input.previous_output.txid, rng.gen_range(0..3));
                input
            });
            let extra: Vec<_> = extra.collect();
            if rng.gen_bool(0.5) {
                coinbase.input = extra;
            } else {
                coinbase.input.extend(extra);
            }
        }
        _ => {
            let lock_time = height.saturating_add(1).saturating_sub(rng.gen_range(0..3));
            if name == "sequence" {
                coinbase.lock_time = LockTime::from_consensus(lock_time);
            }
            for input in &mut coinbase.input {
                match name {
                    "script" => input.script_sig = script(rng, height),
                    "sequence" => input.sequence = Sequence([0, u32::MAX].choose(rng).copied().unwrap_or(0)),
                    _ => {
                        input.asset_issuance.asset_entropy = AssetEntropy::from_byte_array([1; 32]);
                        input.asset_issuance.amount = Value::Explicit(5);
                    }
                }
            }
        }
    }
}

fn after(name: &str, rng: &mut ChaCha20Rng, block: &mut Block) {
    let Some(coinbase) = block.txdata.first_mut() else { return };
    let Some(at) = coinbase.output.iter().rposition(|output| output.script_pubkey.len() == 38) else { return };
    let Some(right) = coinbase.output.get(at).cloned() else { return };
    let script = right.script_pubkey.to_bytes();
    let mut wrong = right.clone();
    if let (Some((last, rest)), true) = (script.split_last(), rng.gen_bool(0.5)) {
        wrong.script_pubkey = Script::from([rest, &[last ^ 1]].concat());
    } else {
        wrong.script_pubkey = Script::from(script.iter().copied().take(6).chain([0; 32]).collect::<Vec<u8>>());
    }
    let changed = match name {
        "commitment-missing" => vec![],
        "commitment-wrong" => vec![wrong],
        "commitment-twice" if rng.gen_bool(0.5) => vec![right, wrong],
        "commitment-twice" => vec![wrong, right],
        "commitment-longer" => {
            let longer = Script::from([script, vec![7; rng.gen_range(1..5)]].concat());
            vec![TxOut { script_pubkey: longer, ..right }]
        }
        "commitment-shorter" => {
            let shorter = script.get(..37).unwrap_or_default().to_vec();
            vec![TxOut { script_pubkey: Script::from(shorter), ..right }]
        }
        _ => vec![right],
    };
    drop(coinbase.output.splice(at..=at, changed));
    if coinbase.output.is_empty() {
        coinbase.output.push(TxOut { script_pubkey: Script::from(vec![0x6a]), ..nothing() });
    }
    for input in &mut coinbase.input {
        match name {
            "nonce-length" => {
                let nonce = vec![0; [0, 31, 33].choose(rng).copied().unwrap_or(0)];
                input.witness.script_witness = Witness::from_slice(&[nonce]);
            }
            "nonce-count" => {
                let nonces: Vec<Vec<u8>> = (0..rng.gen_range(0..3)).map(|_| vec![0; 32]).collect();
                input.witness.script_witness = Witness::from_slice(&nonces);
            }
            "pegin-witness" => input.witness.pegin_witness = Witness::from_slice(&[[7]]),
            "pegin-flag" => input.is_pegin = true,
            "commitment-missing" if rng.gen_bool(0.5) => input.witness.script_witness = Witness::default(),
            _ => {}
        }
    }
}

/// An output of nothing.
fn nothing() -> TxOut {
    TxOut::new_fee(0, AssetId::default())
}
