//! Signatures over the transaction and over data on the stack.

use bitcoin::hashes::{Hash, sha256};

use super::super::checker::ScriptVersion;
use super::super::machine::Machine;
use super::super::opcode::*;
use super::super::reader::{find_and_delete, push_of};
use super::super::schnorr;
use super::super::signature::{check_key_encoding, check_signature_encoding, verify_ecdsa};
use super::super::{Flags, ScriptError};

const MAX_MULTISIG_KEYS: usize = 20;

pub(super) fn execute(machine: &mut Machine<'_>) -> Result<(), ScriptError> {
    match machine.opcode {
        CHECKSIG | CHECKSIGVERIFY => {
            let [signature, key] = machine.pop_many()?;
            let right = check(machine, &signature, &key)?;
            finish(machine, CHECKSIGVERIFY, right, ScriptError::CheckSigVerify)
        }
        CHECKSIGADD => {
            machine.need_tapscript()?;
            let [signature, count, key] = machine.pop_many()?;
            let count = machine.number(&count)?;
            let right = check(machine, &signature, &key)?;
            machine.push_number(count + i64::from(right));
            Ok(())
        }
        CHECKSIGFROMSTACK | CHECKSIGFROMSTACKVERIFY => {
            let [signature, data, key] = machine.pop_many()?;
            let right = check_from_stack(machine, &signature, &data, &key)?;
            finish(machine, CHECKSIGFROMSTACKVERIFY, right, ScriptError::CheckSigVerify)
        }
        _ => {
            let right = check_multisig(machine)?;
            finish(machine, CHECKMULTISIGVERIFY, right, ScriptError::CheckMultisigVerify)
        }
    }
}

/// Pushes whether it was right, or with VERIFY demands that it was.
fn finish(machine: &mut Machine<'_>, verify: u8, right: bool, error: ScriptError) -> Result<(), ScriptError> {
    if machine.opcode != verify {
        machine.push_bool(right);
        Ok(())
    } else if right {
        Ok(())
    } else {
        Err(error)
    }
}

fn check(machine: &mut Machine<'_>, signature: &[u8], key: &[u8]) -> Result<bool, ScriptError> {
    if machine.version == ScriptVersion::Tapscript {
        return check_tapscript(machine, signature, key, |machine, key| {
            schnorr::check(machine.checker, &machine.tapscript.spend, signature, key)
        });
    }
    let script_code = script_code(machine, &[signature])?;
    let right = check_ecdsa(machine, signature, key, &script_code)?;
    if !right && !signature.is_empty() && machine.flags.contains(Flags::NULLFAIL) {
        return Err(ScriptError::NullFail);
    }
    Ok(right)
}

/// The script that is signed. In base scripts the signatures are taken out of it.
fn script_code(machine: &Machine<'_>, signatures: &[&[u8]]) -> Result<Vec<u8>, ScriptError> {
    let mut script_code = machine.script_code.to_vec();
    if machine.version == ScriptVersion::Base {
        for signature in signatures {
            let (without, found) = find_and_delete(&script_code, &push_of(signature));
            if found > 0 && machine.flags.contains(Flags::CONST_SCRIPTCODE) {
                return Err(ScriptError::SigFindAndDelete);
            }
            script_code = without;
        }
    }
    Ok(script_code)
}

/// One signature before tapscript: forms first, then whether it is right.
fn check_ecdsa(machine: &Machine<'_>, signature: &[u8], key: &[u8], script_code: &[u8]) -> Result<bool, ScriptError> {
    let (flags, version) = (machine.flags, machine.version);
    let parts = signature.split_last();
    if let Some((hash_type, der)) = parts {
        check_signature_encoding(der, Some(*hash_type), flags)?;
    }
    check_key_encoding(key, version, flags)?;
    let Some((hash_type, der)) = parts else { return Ok(false) };
    let digest = machine.checker.ecdsa_digest(script_code, *hash_type, version, flags);
    Ok(digest.is_some_and(|digest| verify_ecdsa(der, key, digest)))
}

/// One signature in tapscript (BIP 342): an empty one is wrong, any other has to be right, and keys of other lengths than
/// 32 are always satisfied, for the kinds of keys to come.
fn check_tapscript(
    machine: &mut Machine<'_>,
    signature: &[u8],
    key: &[u8],
    verify: impl FnOnce(&Machine<'_>, &[u8; 32]) -> Result<(), ScriptError>,
) -> Result<bool, ScriptError> {
    let given = !signature.is_empty();
    if given {
        machine.pay_for_signature()?;
    }
    if key.is_empty() {
        return Err(ScriptError::PubkeyType(0));
    }
    match <&[u8; 32]>::try_from(key) {
        Ok(key) if given => verify(machine, key)?,
        Ok(_) => {}
        Err(_) if machine.flags.contains(Flags::DISCOURAGE_UPGRADABLE_PUBKEYTYPE) => {
            return Err(ScriptError::DiscourageUpgradablePubkeyType(key.len()));
        }
        Err(_) => {}
    }
    Ok(given)
}

/// A signature over data: before tapscript ECDSA without hash type over its SHA-256, which has to be right; in tapscript
/// BIP 340 over the data as it is, of any length.
fn check_from_stack(machine: &mut Machine<'_>, signature: &[u8], data: &[u8], key: &[u8]) -> Result<bool, ScriptError> {
    if machine.version == ScriptVersion::Tapscript {
        return check_tapscript(machine, signature, key, |_, key| {
            let signature =
                <&[u8; 64]>::try_from(signature).map_err(|_| ScriptError::SchnorrSigSize(signature.len()))?;
            if schnorr::verify(signature, data, key) { Ok(()) } else { Err(ScriptError::SchnorrSig) }
        });
    }
    if !signature.is_empty() {
        check_signature_encoding(signature, None, machine.flags)?;
    }
    check_key_encoding(key, machine.version, machine.flags)?;
    if verify_ecdsa(signature, key, sha256::Hash::hash(data).to_byte_array()) {
        Ok(true)
    } else {
        Err(ScriptError::CheckSigVerify)
    }
}

/// `[dummy] [signatures] count [keys] count`.
fn check_multisig(machine: &mut Machine<'_>) -> Result<bool, ScriptError> {
    if machine.version == ScriptVersion::Tapscript {
        return Err(ScriptError::TapscriptCheckMultisig);
    }
    let asked = machine.pop_number()?;
    let count = usize::try_from(asked).ok().filter(|count| *count <= MAX_MULTISIG_KEYS);
    let key_count = count.ok_or(ScriptError::PubkeyCount(asked))?;
    machine.count_operations(key_count)?;
    machine.need(key_count + 1)?;
    let keys = machine.stack.split_off(machine.stack.len().saturating_sub(key_count));
    let asked = machine.pop_number()?;
    let count = usize::try_from(asked).ok().filter(|count| *count <= key_count);
    let signature_count = count.ok_or(ScriptError::SigCount(asked))?;
    // With the element that CHECKMULTISIG takes too many.
    machine.need(signature_count + 1)?;
    let signatures = machine.stack.split_off(machine.stack.len().saturating_sub(signature_count));
    let dummy = machine.pop()?;

    let right = match_signatures(machine, &signatures, &keys)?;
    if !right && machine.flags.contains(Flags::NULLFAIL) && signatures.iter().any(|signature| !signature.is_empty()) {
        return Err(ScriptError::NullFail);
    }
    if !dummy.is_empty() && machine.flags.contains(Flags::NULLDUMMY) {
        return Err(ScriptError::NullDummy);
    }
    Ok(right)
}

/// Starts with the last signature and the last key; a key that does not match is left behind, and it stops as soon as
/// fewer keys than signatures are left. What it does not come to is not looked at.
fn match_signatures(machine: &Machine<'_>, signatures: &[Vec<u8>], keys: &[Vec<u8>]) -> Result<bool, ScriptError> {
    let newest_first: Vec<&[u8]> = signatures.iter().rev().map(Vec::as_slice).collect();
    let script_code = script_code(machine, &newest_first)?;
    let mut signatures = newest_first.as_slice();
    let mut keys = keys.iter().rev();
    while let Some((signature, later)) = signatures.split_first() {
        if signatures.len() > keys.len() {
            return Ok(false);
        }
        let Some(key) = keys.next() else { return Ok(false) };
        if check_ecdsa(machine, signature, key, &script_code)? {
            signatures = later;
        }
    }
    Ok(true)
}
