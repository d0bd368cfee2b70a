//! Which kind of script an output has, and whether a witness satisfies it.

use bitcoin::hashes::{Hash, hash160, sha256};
use elements::{Script, TxIn, TxOut};
use secp256k1_zkp::{Message, SECP256K1, XOnlyPublicKey, schnorr};

use super::signature::EcdsaSignature;
use super::sigops::redeem_script;
use super::{MultisigTemplate, ScriptError, SighashData, TaprootHashType, UnsupportedKind};

const MAX_SCRIPT_SIZE: usize = 10_000;
const MAX_ELEMENT_SIZE: usize = 520;
const OP_RETURN: u8 = 0x6a;
const OP_CHECKSIG: u8 = 0xac;
/// First byte of an annex (BIP 341).
const ANNEX_TAG: u8 = 0x50;
const TAPSCRIPT_LEAF: u8 = 0xc4;
const SIMPLICITY_LEAF: u8 = 0xbe;
const ANCHOR_PROGRAM: [u8; 2] = [0x4e, 0x73];

/// Whether nobody can ever spend a script: `OP_RETURN`, longer than 10,000 bytes, or empty (a fee). Such outputs are
/// not kept (`script.h`, `IsUnspendable`).
pub fn is_unspendable(script: &Script) -> bool {
    let bytes = script.as_bytes();
    bytes.first().is_none_or(|first| *first == OP_RETURN) || bytes.len() > MAX_SCRIPT_SIZE
}

/// The kinds of spends that are accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpendKind {
    /// A version 0 key hash, or the same inside P2SH.
    P2wpkh {
        /// Hash of the key.
        program: [u8; 20],
        /// Whether it stands inside P2SH.
        nested: bool,
    },
    /// A version 0 script hash, or the same inside P2SH.
    P2wsh {
        /// Hash of the script.
        program: [u8; 32],
        /// Whether it stands inside P2SH.
        nested: bool,
    },
    /// A Taproot output key.
    Taproot {
        /// The output key.
        program: [u8; 32],
    },
}

impl SpendKind {
    /// The kind of an output, with the scriptSig that spends it (it carries the redeem script of P2SH).
    ///
    /// # Errors
    /// [`ScriptError::Unsupported`] for other kinds, [`ScriptError::RedeemScript`] and
    /// [`ScriptError::ScriptSigNotEmpty`] if the scriptSig does not fit the kind.
    pub fn of(script_pubkey: &Script, script_sig: &Script) -> Result<Self, ScriptError> {
        if let Some((version, program)) = witness_program(script_pubkey.as_bytes()) {
            let kind = Self::of_program(version, program, false)?;
            return match script_sig.len() {
                0 => Ok(kind),
                length => Err(ScriptError::ScriptSigNotEmpty(length)),
            };
        }
        match script_pubkey.as_bytes() {
            [0xa9, 0x14, hash @ .., 0x87] if hash.len() == 20 => {
                let redeem = redeem_script(script_sig).ok_or(ScriptError::RedeemScript)?;
                if hash160::Hash::hash(redeem).as_byte_array() != hash {
                    return Err(ScriptError::RedeemScript);
                }
                let (version, program) = witness_program(redeem).ok_or(unsupported(UnsupportedKind::P2sh))?;
                let kind = Self::of_program(version, program, true)?;
                // Exactly one push, in its shortest form: a witness program has at most 42 bytes.
                match script_sig.as_bytes() {
                    [length, pushed @ ..] if usize::from(*length) == pushed.len() && pushed == redeem => Ok(kind),
                    _ => Err(ScriptError::RedeemScript),
                }
            }
            other => Err(unsupported(name_of(other))),
        }
    }

    fn of_program(version: u8, program: &[u8], nested: bool) -> Result<Self, ScriptError> {
        match (version, program.len(), nested) {
            (0, 20, _) => {
                let program = <[u8; 20]>::try_from(program).map_err(|_| ScriptError::ProgramMismatch)?;
                Ok(Self::P2wpkh { program, nested })
            }
            (0, 32, _) => {
                let program = <[u8; 32]>::try_from(program).map_err(|_| ScriptError::ProgramMismatch)?;
                Ok(Self::P2wsh { program, nested })
            }
            (1, 32, false) => {
                let program = <[u8; 32]>::try_from(program).map_err(|_| ScriptError::ProgramMismatch)?;
                Ok(Self::Taproot { program })
            }
            (1, 2, false) if program == ANCHOR_PROGRAM => Err(unsupported(UnsupportedKind::Anchor)),
            (version, length, _) => Err(unsupported(UnsupportedKind::UnknownWitness { version, length })),
        }
    }
}

/// Checks that input `vin` may spend its output.
///
/// # Errors
/// [`ScriptError`] with the rule that is broken.
pub fn verify_spend(data: &SighashData<'_>, vin: usize) -> Result<(), ScriptError> {
    let (input, spent) = input_and_output(data, vin)?;
    let witness: Vec<&[u8]> = input.witness.script_witness.iter().collect();
    match SpendKind::of(&spent.script_pubkey, &input.script_sig)? {
        SpendKind::P2wpkh { program, .. } => verify_p2wpkh(data, vin, spent, program, &witness),
        SpendKind::P2wsh { program, .. } => verify_p2wsh(data, vin, spent, program, &witness),
        SpendKind::Taproot { program } => verify_taproot(data, vin, program, &witness),
    }
}

pub(super) fn input_and_output<'a>(data: &SighashData<'a>, vin: usize) -> Result<(&'a TxIn, &'a TxOut), ScriptError> {
    data.transaction.input.get(vin).zip(data.spent.get(vin)).ok_or(ScriptError::NoSuchInput(vin))
}

fn verify_p2wpkh(
    data: &SighashData<'_>,
    vin: usize,
    spent: &TxOut,
    program: [u8; 20],
    witness: &[&[u8]],
) -> Result<(), ScriptError> {
    let [signature, key] = *witness else {
        return Err(ScriptError::WitnessLength { expected: 2, found: witness.len() });
    };
    check_element_sizes(witness)?;
    if hash160::Hash::hash(key).to_byte_array() != program {
        return Err(ScriptError::ProgramMismatch);
    }
    let signature = EcdsaSignature::parse(signature)?.ok_or(ScriptError::BadSignature)?;
    // The implied script: DUP HASH160 <program> EQUALVERIFY CHECKSIG.
    let script_code = [&[0x76, 0xa9, 0x14], program.as_slice(), &[0x88, OP_CHECKSIG]].concat();
    let digest =
        data.segwit_v0(vin, &script_code, &spent.value, signature.hash_type).ok_or(ScriptError::NoSuchInput(vin))?;
    if signature.verify(key, digest) { Ok(()) } else { Err(ScriptError::BadSignature) }
}

fn verify_p2wsh(
    data: &SighashData<'_>,
    vin: usize,
    spent: &TxOut,
    program: [u8; 32],
    witness: &[&[u8]],
) -> Result<(), ScriptError> {
    let Some((script, stack)) = witness.split_last() else {
        return Err(ScriptError::WitnessLength { expected: 1, found: 0 });
    };
    if sha256::Hash::hash(script).to_byte_array() != program {
        return Err(ScriptError::ProgramMismatch);
    }
    let template = MultisigTemplate::parse(script).ok_or(unsupported(UnsupportedKind::P2wshOther))?;
    check_element_sizes(stack)?;
    // A dummy and the signatures, nothing below: a witness script must leave a clean stack.
    let Some((dummy, signatures)) = stack.split_first().filter(|(_, rest)| rest.len() == template.threshold) else {
        return Err(ScriptError::WitnessLength { expected: template.threshold + 2, found: witness.len() });
    };
    if !dummy.is_empty() {
        return Err(ScriptError::NullDummy);
    }
    check_multisig(data, vin, spent, script, &template, signatures)
}

/// CHECKMULTISIG starts with the last signature and the last key; a key that does not match is left behind, and it
/// stops as soon as fewer keys than signatures are left. A signature is looked at only when its turn comes.
fn check_multisig(
    data: &SighashData<'_>,
    vin: usize,
    spent: &TxOut,
    script: &[u8],
    template: &MultisigTemplate<'_>,
    mut signatures: &[&[u8]],
) -> Result<(), ScriptError> {
    let needed = template.threshold;
    let mut keys = template.keys.as_slice();
    while let Some((element, signatures_left)) = signatures.split_last() {
        let (key, keys_left) =
            keys.split_last().ok_or(ScriptError::Multisig { needed, found: needed - signatures.len() })?;
        keys = keys_left;
        let matches = match EcdsaSignature::parse(element)? {
            None => false,
            Some(signature) => {
                let digest = data
                    .segwit_v0(vin, script, &spent.value, signature.hash_type)
                    .ok_or(ScriptError::NoSuchInput(vin))?;
                signature.verify(key, digest)
            }
        };
        if matches {
            signatures = signatures_left;
        }
        if signatures.len() > keys.len() {
            return Err(ScriptError::Multisig { needed, found: needed - signatures.len() });
        }
    }
    Ok(())
}

fn verify_taproot(data: &SighashData<'_>, vin: usize, program: [u8; 32], witness: &[&[u8]]) -> Result<(), ScriptError> {
    let (annex, stack) = split_annex(witness);
    let signature = match *stack {
        [] => return Err(ScriptError::WitnessLength { expected: 1, found: 0 }),
        [signature] => signature,
        [.., control] => return Err(unsupported(leaf_kind(control))),
    };
    let (signature, hash_type) = match signature.len() {
        64 => (signature, TaprootHashType::DEFAULT),
        65 => {
            let (hash_type, signature) = signature.split_last().ok_or(ScriptError::SchnorrSize(0))?;
            let known = TaprootHashType::new(*hash_type).filter(|known| *known != TaprootHashType::DEFAULT);
            (signature, known.ok_or(ScriptError::SchnorrHashType(*hash_type))?)
        }
        other => return Err(ScriptError::SchnorrSize(other)),
    };
    // The one way left to have no digest is SINGLE without an output at this place.
    let digest =
        data.taproot_key_path(vin, annex, hash_type).ok_or(ScriptError::SchnorrHashType(hash_type.to_byte()))?;
    let key = XOnlyPublicKey::from_slice(&program).map_err(|_| ScriptError::BadSchnorrSignature)?;
    let signature = schnorr::Signature::from_slice(signature).map_err(|_| ScriptError::BadSchnorrSignature)?;
    SECP256K1
        .verify_schnorr(&signature, &Message::from_digest(digest), &key)
        .map_err(|_| ScriptError::BadSchnorrSignature)
}

/// The annex, if there is one, and what is left of the witness (BIP 341).
pub(super) fn split_annex<'a, 'b>(witness: &'b [&'a [u8]]) -> (Option<&'a [u8]>, &'b [&'a [u8]]) {
    match witness {
        [rest @ .., annex] if !rest.is_empty() && annex.first() == Some(&ANNEX_TAG) => (Some(annex), rest),
        whole => (None, whole),
    }
}

fn leaf_kind(control: &[u8]) -> UnsupportedKind {
    match control.first().map(|byte| byte & 0xfe) {
        Some(TAPSCRIPT_LEAF) | None => UnsupportedKind::TaprootScriptPath,
        Some(SIMPLICITY_LEAF) => UnsupportedKind::Simplicity,
        Some(version) => UnsupportedKind::UnknownLeaf(version),
    }
}

fn check_element_sizes(stack: &[&[u8]]) -> Result<(), ScriptError> {
    match stack.iter().map(|element| element.len()).find(|length| *length > MAX_ELEMENT_SIZE) {
        Some(length) => Err(ScriptError::ElementSize(length)),
        None => Ok(()),
    }
}

/// Version and program of a witness program: a number from 0 to 16 and one push of 2 to 40 bytes (BIP 141).
pub(super) fn witness_program(script: &[u8]) -> Option<(u8, &[u8])> {
    let [version, length, program @ ..] = script else { return None };
    let version = match version {
        0 => 0,
        0x51..=0x60 => version - 0x50,
        _ => return None,
    };
    ((2..=40).contains(length) && usize::from(*length) == program.len()).then_some((version, program))
}

fn name_of(script: &[u8]) -> UnsupportedKind {
    match script {
        [] => UnsupportedKind::Empty,
        [OP_RETURN, ..] => UnsupportedKind::OpReturn,
        [0x76, 0xa9, 0x14, rest @ ..] if rest.len() == 22 && rest.ends_with(&[0x88, OP_CHECKSIG]) => {
            UnsupportedKind::P2pkh
        }
        [33, key @ .., OP_CHECKSIG] if key.len() == 33 => UnsupportedKind::P2pk,
        [65, key @ .., OP_CHECKSIG] if key.len() == 65 => UnsupportedKind::P2pk,
        other if MultisigTemplate::parse(other).is_some() => UnsupportedKind::BareMultisig,
        _ => UnsupportedKind::NonStandard,
    }
}

fn unsupported(kind: UnsupportedKind) -> ScriptError {
    ScriptError::Unsupported { kind }
}
