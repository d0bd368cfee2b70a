//! Looking at the transaction that spends, in tapscript only.
//!
//! Assets and values are pushed as bytes and prefix, explicit values in little-endian; scripts as witness program and
//! version, or as their SHA-256 and -1.

use bitcoin::hashes::{Hash, sha256};
use elements::Script;
use elements::confidential::{Asset, Value};
use elements::encode::serialize;

use super::super::machine::Machine;
use super::super::opcode::*;
use super::super::sighash::outpoint_flag;
use super::super::verify::witness_program;
use super::super::{ScriptError, SighashData, number};
use crate::primitives::{Nonce, TxIn, TxOut};

const UNAVAILABLE: ScriptError = ScriptError::IntrospectContextUnavailable;

pub(super) fn execute(machine: &mut Machine<'_>) -> Result<(), ScriptError> {
    match machine.opcode {
        INSPECTVERSION => push(machine, machine.checker.version().to_le_bytes()),
        INSPECTLOCKTIME => push(machine, machine.checker.lock_time().to_le_bytes()),
        INSPECTINPUTOUTPOINT..=INSPECTINPUTISSUANCE => inspect_input(machine)?,
        INSPECTOUTPUTASSET..=INSPECTOUTPUTSCRIPTPUBKEY => inspect_output(machine)?,
        other => {
            let (data, vin) = machine.checker.inspect().ok_or(UNAVAILABLE)?;
            match other {
                PUSHCURRENTINPUTINDEX => machine.push_count(vin),
                INSPECTNUMINPUTS => machine.push_count(data.transaction.input.len()),
                INSPECTNUMOUTPUTS => machine.push_count(data.transaction.output.len()),
                TXWEIGHT => {
                    let weight = u64::try_from(data.weight()).map_err(|_| UNAVAILABLE)?;
                    push(machine, weight.to_le_bytes());
                }
                other => return Err(ScriptError::BadOpcode(other)),
            }
        }
    }
    Ok(())
}

fn push(machine: &mut Machine<'_>, bytes: impl AsRef<[u8]>) {
    machine.stack.push(bytes.as_ref().to_vec());
}

/// Takes an index and gives what stands there in a list.
fn index(machine: &mut Machine<'_>, length: impl Fn(&SighashData<'_>) -> usize) -> Result<usize, ScriptError> {
    let asked = machine.pop_number()?;
    let (data, _) = machine.checker.inspect().ok_or(UNAVAILABLE)?;
    let index = usize::try_from(asked).ok().filter(|index| *index < length(data));
    index.ok_or(ScriptError::IntrospectIndexOutOfBounds(asked))
}

fn inspect_input(machine: &mut Machine<'_>) -> Result<(), ScriptError> {
    let vin = index(machine, |data| data.transaction.input.len())?;
    let (data, _) = machine.checker.inspect().ok_or(UNAVAILABLE)?;
    let (input, spent): (&TxIn, &TxOut) =
        data.transaction.input.get(vin).zip(data.spent.get(vin)).ok_or(UNAVAILABLE)?;
    match machine.opcode {
        INSPECTINPUTOUTPOINT => {
            let outpoint = serialize(&input.previous_output);
            let (txid, vout) = outpoint.split_at_checked(32).ok_or(UNAVAILABLE)?;
            machine.stack.extend([txid.to_vec(), vout.to_vec(), vec![outpoint_flag(input)]]);
            Ok(())
        }
        INSPECTINPUTASSET => push_asset(machine, &spent.asset),
        INSPECTINPUTVALUE => push_value(machine, &spent.value),
        INSPECTINPUTSCRIPTPUBKEY => push_script(machine, &spent.script_pubkey, data.spent_script_hash(vin)),
        INSPECTINPUTSEQUENCE => {
            push(machine, input.sequence.to_consensus_u32().to_le_bytes());
            Ok(())
        }
        _ if !input.has_issuance() => {
            machine.push_bool(false);
            Ok(())
        }
        _ => {
            // The nonce last: the top is empty if and only if there is no issuance.
            let issuance = &input.asset_issuance;
            push_value(machine, &issuance.inflation_keys)?;
            push_value(machine, &issuance.amount)?;
            push(machine, serialize(&issuance.asset_entropy));
            push(machine, serialize(&issuance.asset_blinding_nonce));
            Ok(())
        }
    }
}

fn inspect_output(machine: &mut Machine<'_>) -> Result<(), ScriptError> {
    let vout = index(machine, |data| data.transaction.output.len())?;
    let (data, _) = machine.checker.inspect().ok_or(UNAVAILABLE)?;
    let output = data.transaction.output.get(vout).ok_or(UNAVAILABLE)?;
    match machine.opcode {
        INSPECTOUTPUTASSET => push_asset(machine, &output.asset),
        INSPECTOUTPUTVALUE => push_value(machine, &output.value),
        INSPECTOUTPUTNONCE => {
            push(machine, if output.nonce == Nonce::Null { Vec::new() } else { serialize(&output.nonce) });
            Ok(())
        }
        _ => push_script(machine, &output.script_pubkey, data.output_script_hash(vout)),
    }
}

/// An asset is never null: neither outputs nor coins without one are let in.
fn push_asset(machine: &mut Machine<'_>, asset: &Asset) -> Result<(), ScriptError> {
    match serialize(asset).split_first() {
        Some((prefix, id)) if !id.is_empty() => {
            machine.stack.extend([id.to_vec(), vec![*prefix]]);
            Ok(())
        }
        _ => Err(UNAVAILABLE),
    }
}

/// A null value, which only an issuance has, is an explicit zero.
fn push_value(machine: &mut Machine<'_>, value: &Value) -> Result<(), ScriptError> {
    let (bytes, prefix) = match value {
        Value::Null => (vec![0; 8], 1),
        Value::Explicit(amount) => (amount.to_le_bytes().to_vec(), 1),
        Value::Confidential(_) => {
            let serialized = serialize(value);
            let (prefix, commitment) = serialized.split_first().ok_or(UNAVAILABLE)?;
            (commitment.to_vec(), *prefix)
        }
    };
    machine.stack.extend([bytes, vec![prefix]]);
    Ok(())
}

fn push_script(machine: &mut Machine<'_>, script: &Script, hash: Option<sha256::Hash>) -> Result<(), ScriptError> {
    match witness_program(script.as_bytes()) {
        Some((version, program)) => machine.stack.extend([program.to_vec(), number::encode(i64::from(version))]),
        None => {
            let hash = hash.ok_or(UNAVAILABLE)?;
            machine.stack.extend([hash.to_byte_array().to_vec(), number::encode(-1)]);
        }
    }
    Ok(())
}
