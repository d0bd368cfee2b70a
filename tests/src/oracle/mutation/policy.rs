//! Changes at the borders of what is relayed. They keep the sums as they are.

use aquifer_assets::primitives::{Transaction, TxOut};
use elements::confidential::Value;
use elements::{AssetId, Script};
use rand::Rng as _;
use rand::seq::SliceRandom as _;
use rand_chacha::ChaCha20Rng;

use super::super::lock::{public, push};

/// Output scripts of every kind, known and unknown.
fn script(rng: &mut ChaCha20Rng) -> Script {
    let keys = |count: u8| (0..count).flat_map(|number| push(&public(number))).collect::<Vec<u8>>();
    let multisig = |needed: u8, count: u8| [push(&[needed]), keys(count), push(&[count]), vec![0xae]].concat();
    let program = |version: u8, length: u8| [vec![version, length], vec![7; usize::from(length)]].concat();
    let lengths = [1, 2, 20, 32, 33, 40, 41];
    let length = lengths.choose(rng).copied().unwrap_or(2);
    let needed = rng.gen_range(0..5);
    Script::from(match rng.gen_range(0..16) {
        0 => multisig(needed, rng.gen_range(1..6)),
        1 => [multisig(1, 2), vec![0x51]].concat(),
        2 => [push(&[2; 33]), vec![0xac]].concat(),
        3 => [push(&[rng.gen_range(2..8); 33]), vec![0xac]].concat(),
        4 => [push(&[rng.gen_range(2..8); 65]), vec![0xac]].concat(),
        5 => [vec![0x4c, 33], public(0), vec![0xac]].concat(),
        6 => program(0, length),
        7 => program(0x51, length),
        8 => program(rng.gen_range(0x51..0x63), length),
        9 => vec![0x51, 2, 0x4e, 0x73],
        10 => vec![rng.gen_range(0x4f..0x62)],
        11 => [vec![0x76, 0xa9, 20], vec![7; 20], vec![0x88, 0xac]].concat(),
        12 => [vec![0x76, 0xa9, 0x4c, 20], vec![7; 20], vec![0x88, 0xac]].concat(),
        13 => [vec![0xa9, 20], vec![7; 20], vec![0x87]].concat(),
        14 => [push(&[1]), push(&[5; 33]), push(&public(0)), push(&[2]), vec![0xae]].concat(),
        _ => [vec![0xa8, 32], vec![7; 32], vec![0x87]].concat(),
    })
}

/// Scripts that carry data, and some that only look so.
fn data(rng: &mut ChaCha20Rng) -> Script {
    let length: u8 = rng.gen_range(74..84);
    Script::from(match rng.gen_range(0..6) {
        0 => vec![0x6a],
        1 => [vec![0x6a], push(&vec![7; usize::from(length)])].concat(),
        2 => [vec![0x6a], vec![0x51; usize::from(length)]].concat(),
        3 => vec![0x6a, 5, 1],
        4 => vec![0x6a, 0xac],
        _ => [vec![0x6a, 0x4d, length, 0], vec![7; usize::from(length)]].concat(),
    })
}

fn shows(output: &TxOut, asset: AssetId) -> bool {
    output.asset.explicit() == Some(asset) && output.value.explicit().is_some()
}

/// Moves an amount from an output to another.
fn shift(tx: &mut Transaction, from: usize, to: usize, sat: u64) {
    for (vout, more) in [(from, false), (to, true)] {
        if let Some(Value::Explicit(value)) = tx.output.get_mut(vout).map(|output| &mut output.value) {
            *value = if more { value.saturating_add(sat) } else { value.saturating_sub(sat) };
        }
    }
}

/// Makes one of the changes, where there is an open output to change.
pub(super) fn change(name: &str, rng: &mut ChaCha20Rng, tx: &mut Transaction, pegged: AssetId) {
    let fee = tx.output.iter().position(TxOut::is_fee);
    let is_open = |output: &TxOut| output.value.explicit().is_some() && output.asset.explicit().is_some();
    let open: Vec<usize> =
        (0..).zip(&tx.output).filter(|(_, output)| is_open(output) && !output.is_fee()).map(|(vout, _)| vout).collect();
    let of_pegged: Vec<usize> =
        open.iter().copied().filter(|vout| tx.output.get(*vout).is_some_and(|output| shows(output, pegged))).collect();
    match name {
        "output-script" | "data-output" => {
            let script = if name == "data-output" { data(rng) } else { script(rng) };
            let output = open.choose(rng).and_then(|vout| tx.output.get_mut(*vout));
            match output {
                Some(output) => output.script_pubkey = script,
                // Nothing is shown: an output of nothing, which only data may be.
                None => tx.output.push(TxOut { script_pubkey: script, ..TxOut::new_fee(0, pegged) }),
            }
        }
        "dust" => {
            if let (Some(fee), Some(vout)) = (fee, of_pegged.choose(rng).copied()) {
                let value = tx.output.get(vout).and_then(|output| output.value.explicit()).unwrap_or(0);
                shift(tx, vout, fee, value.saturating_sub(rng.gen_range(0..24)));
            }
        }
        _ => {
            if let (Some(fee), Some(vout)) = (fee, of_pegged.choose(rng).copied()) {
                let paid = tx.output.get(fee).and_then(|output| output.value.explicit()).unwrap_or(0);
                let size = aquifer_assets::transaction::discount_vsize(tx);
                let least = u64::try_from(size).unwrap_or(0).div_ceil(10);
                let left = least.saturating_add(3).saturating_sub(rng.gen_range(0..6));
                shift(tx, fee, vout, paid.saturating_sub(left));
            }
        }
    }
}
