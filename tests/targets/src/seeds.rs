//! Inputs to begin with, so that a fuzzer does not have to find out by itself what a transaction looks like.

use crate::ground::{Case, ground};
use crate::{block, p2p, script};

/// Inputs with the name of the target that each is for.
pub fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let mut seeds = Vec::new();
    for (number, case) in (0_u16..).zip(&ground().cases) {
        let number = number.to_le_bytes();
        seeds.push(("transaction", [[0].as_slice(), &number, &case.bytes].concat()));
        seeds.push(("transaction", [[1].as_slice(), &number].concat()));
        seeds.push(("block", [[0].as_slice(), &block::bytes(case)].concat()));
        seeds.push(("block", [[2].as_slice(), &number].concat()));
        seeds.push(("verdicts", [number.as_slice(), &[2]].concat()));
        seeds.extend(spends(number, case).map(|spend| ("script", spend)));
    }
    seeds.extend((0..4).map(|kind| ("proof", vec![kind])));
    seeds.push(("pegin", vec![]));
    let entry = [[1, 1, 0, 0, 0].as_slice(), &[7; 32]].concat();
    for (number, command) in (0_u8..).zip(p2p::COMMANDS) {
        seeds.push(("p2p", [[9, 1, number, 37, 0].as_slice(), &entry, &[number, 8, 0], &[1; 8]].concat()));
        seeds.push(("p2p", [[2, 0].as_slice(), &p2p::frame(command, &entry), &p2p::frame(command, &[1; 9])].concat()));
    }
    // A 1 and as many NOPs as can be: valid if nobody counted them.
    seeds.push(("script", [[0; 13].as_slice(), &[0, 1, 1, 1, 2, u8::MAX, 0x61]].concat()));
    seeds
}

/// The spends of witness scripts, whose signatures hold.
fn spends(number: [u8; 2], case: &Case) -> impl Iterator<Item = Vec<u8>> {
    (0_u16..).zip(case.transaction.input.iter().zip(&case.spent)).filter_map(move |(vin, (input, spent))| {
        let witness = input.witness.script_witness.to_vec();
        let (last, rest) = witness.split_last()?;
        let (place, script, items) = match spent.script_pubkey.as_bytes() {
            [0, 32, ..] => (script::P2WSH, last, rest),
            [0x51, 32, ..] => rest.split_last().map(|(script, items)| (script::TAPSCRIPT, script, items))?,
            _ => return None,
        };
        let mut seed = [number, vin.to_le_bytes()].concat();
        // No rules but those of consensus.
        seed.extend([0; 9]);
        seed.extend([place, u8::try_from(items.len()).ok()?]);
        for item in items {
            seed.push(u8::try_from(item.len()).ok()?);
            seed.extend(item);
        }
        seed.extend([0, 0]);
        seed.extend(script);
        Some(seed)
    })
}
