//! Counting signature operations, as Elements counts them (`script.cpp`, `tx_verify.cpp`).

use elements::Script;

use super::reader::Items;
use super::verify::witness_program;
use crate::primitives::{Transaction, TxOut};

const WITNESS_SCALE_FACTOR: u64 = 4;
const MAX_MULTISIG_KEYS: u64 = 20;

/// Signature operations of a script by itself: every CHECKMULTISIG counts 20.
pub(super) fn legacy_sigops(script: &[u8]) -> u64 {
    count(script, |_| MAX_MULTISIG_KEYS)
}

/// Signature operations of a script that is known to be run: CHECKMULTISIG counts its keys if a number from 1 to 16
/// stands before it, else 20.
pub(super) fn accurate_sigops(script: &[u8]) -> u64 {
    count(script, |before| match before {
        Some(number @ 0x51..=0x60) => u64::from(number - 0x50),
        _ => MAX_MULTISIG_KEYS,
    })
}

fn count(script: &[u8], keys: impl Fn(Option<u8>) -> u64) -> u64 {
    let mut total = 0;
    let mut before = None;
    for item in Items::new(script).map_while(|item| item) {
        total += match item.opcode {
            // CHECKSIG(VERIFY), and Elements' CHECKSIGFROMSTACK(VERIFY).
            0xac | 0xad | 0xc1 | 0xc2 => 1,
            0xae | 0xaf => keys(before),
            _ => 0,
        };
        before = Some(item.opcode);
    }
    total
}

/// Signature operation cost of a transaction. `spent` are the outputs that it spends, in the order of its inputs, with
/// the claim script for a peg-in; none for a coinbase.
pub fn sigop_cost(transaction: &Transaction, spent: &[TxOut]) -> u64 {
    let legacy: u64 = transaction.input.iter().map(|input| legacy_sigops(input.script_sig.as_bytes())).sum::<u64>()
        + transaction.output.iter().map(|output| legacy_sigops(output.script_pubkey.as_bytes())).sum::<u64>();
    let mut cost = legacy * WITNESS_SCALE_FACTOR;
    for (input, output) in transaction.input.iter().zip(spent) {
        let script = &output.script_pubkey;
        // Peg-ins are counted as segwit only.
        if !input.is_pegin && script.is_p2sh() {
            cost += p2sh_sigops(&input.script_sig) * WITNESS_SCALE_FACTOR;
        }
        let witness_script = input.witness.script_witness.last().unwrap_or_default();
        let nested = || redeem_script(&input.script_sig).filter(|_| script.is_p2sh()).and_then(witness_program);
        if let Some(program) = witness_program(script.as_bytes()).or_else(nested) {
            cost += witness_sigops(program, witness_script);
        }
    }
    cost
}

fn p2sh_sigops(script_sig: &Script) -> u64 {
    redeem_script(script_sig).map_or(0, accurate_sigops)
}

/// What the last push of a scriptSig pushes: the redeem script of P2SH. Numbers push no bytes here, an empty scriptSig
/// is an empty redeem script; `None` if it does anything but push.
pub(super) fn redeem_script(script_sig: &Script) -> Option<&[u8]> {
    let mut last: &[u8] = &[];
    for item in Items::new(script_sig.as_bytes()) {
        let item = item.filter(|item| item.opcode <= 0x60)?;
        last = item.data;
    }
    Some(last)
}

fn witness_sigops((version, program): (u8, &[u8]), witness_script: &[u8]) -> u64 {
    match (version, program.len()) {
        (0, 20) => 1,
        (0, 32) => accurate_sigops(witness_script),
        _ => 0,
    }
}
