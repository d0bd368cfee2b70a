//! Whether the two scripts of a spend and its witness are satisfied: the shape around the interpreter.

use bitcoin::hashes::{Hash, HashEngine, sha256};
use elements::encode::serialize;
use secp256k1_zkp::{Parity, SECP256K1, Scalar, XOnlyPublicKey};

use super::checker::{ScriptVersion, SignatureChecker};
use super::machine::{MAX_ELEMENT_SIZE, MAX_STACK_SIZE, Stack, Tapscript, is_true, run};
use super::reader::{Items, is_push_only, push_of};
use super::sighash::{NO_CODE_SEPARATOR, TaprootLeaf, TaprootSpend, annex_hash};
use super::{Flags, ScriptError, opcode, schnorr};

/// First byte of an annex (BIP 341).
pub(super) const ANNEX_TAG: u8 = 0x50;
const TAPSCRIPT_LEAF: u8 = 0xc4;
const SIMPLICITY_LEAF: u8 = 0xbe;
const CONTROL_BASE: usize = 33;
const CONTROL_NODE: usize = 32;
const MAX_CONTROL_NODES: usize = 128;
/// What a tapscript has for signatures besides the size of its witness.
const FREE_WEIGHT: i64 = 50;
const ANCHOR: (u8, &[u8]) = (1, &[0x4e, 0x73]);

/// Whether a program stands in the output itself or in a redeem script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Output,
    RedeemScript,
}

/// Checks a spend.
///
/// # Errors
/// [`ScriptError`] with the first rule that is broken.
pub fn verify_script(
    script_sig: &[u8],
    script_pubkey: &[u8],
    witness: &[&[u8]],
    flags: Flags,
    checker: &dyn SignatureChecker,
) -> Result<(), ScriptError> {
    if flags.contains(Flags::SIGPUSHONLY) && !is_push_only(script_sig) {
        return Err(ScriptError::SigPushOnly);
    }
    let run_base =
        |stack: Stack, script: &[u8]| run(stack, script, flags, ScriptVersion::Base, checker, Tapscript::default());
    let pushed = run_base(Stack::new(), script_sig)?;
    let is_p2sh = flags.contains(Flags::P2SH) && is_p2sh(script_pubkey);
    let for_redeem_script = if is_p2sh { pushed.clone() } else { Stack::new() };
    let mut stack = run_base(pushed, script_pubkey)?;
    check_top(&stack)?;

    let mut program_found = false;
    if let Some(program) = witness_program(script_pubkey).filter(|_| flags.contains(Flags::WITNESS)) {
        program_found = true;
        if !script_sig.is_empty() {
            return Err(ScriptError::WitnessMalleated(script_sig.len()));
        }
        verify_program(program, Place::Output, witness, flags, checker)?;
        stack.truncate(1);
    }
    if is_p2sh {
        if !is_push_only(script_sig) {
            return Err(ScriptError::SigPushOnly);
        }
        stack = for_redeem_script;
        let redeem_script = stack.pop().ok_or(ScriptError::EvalFalse)?;
        stack = run_base(stack, &redeem_script)?;
        check_top(&stack)?;
        if let Some(program) = witness_program(&redeem_script).filter(|_| flags.contains(Flags::WITNESS)) {
            program_found = true;
            if script_sig != push_of(&redeem_script) {
                return Err(ScriptError::WitnessMalleatedP2sh);
            }
            verify_program(program, Place::RedeemScript, witness, flags, checker)?;
            stack.truncate(1);
        }
    }
    if flags.contains(Flags::CLEANSTACK) && stack.len() != 1 {
        return Err(ScriptError::CleanStack(stack.len()));
    }
    if flags.contains(Flags::WITNESS) && !program_found && !witness.is_empty() {
        return Err(ScriptError::WitnessUnexpected);
    }
    Ok(())
}

fn check_top(stack: &Stack) -> Result<(), ScriptError> {
    match stack.last() {
        Some(top) if is_true(top) => Ok(()),
        _ => Err(ScriptError::EvalFalse),
    }
}

fn is_p2sh(script: &[u8]) -> bool {
    matches!(script, [opcode::HASH160, 20, hash @ .., opcode::EQUAL] if hash.len() == 20)
}

/// Version and program of a witness program: a number from 0 to 16 and one push of 2 to 40 bytes (BIP 141).
pub(super) fn witness_program(script: &[u8]) -> Option<(u8, &[u8])> {
    let [version, length, program @ ..] = script else { return None };
    let version = match version {
        0 => 0,
        opcode::OP_1..=opcode::OP_16 => version - (opcode::OP_1 - 1),
        _ => return None,
    };
    ((2..=40).contains(length) && usize::from(*length) == program.len()).then_some((version, program))
}

/// The annex, if there is one, and what is left of the witness (BIP 341).
pub(super) fn split_annex<'a, 'b>(witness: &'b [&'a [u8]]) -> (Option<&'a [u8]>, &'b [&'a [u8]]) {
    match witness {
        [rest @ .., annex] if !rest.is_empty() && annex.first() == Some(&ANNEX_TAG) => (Some(annex), rest),
        whole => (None, whole),
    }
}

fn verify_program(
    (version, program): (u8, &[u8]),
    place: Place,
    witness: &[&[u8]],
    flags: Flags,
    checker: &dyn SignatureChecker,
) -> Result<(), ScriptError> {
    match (version, program.len(), place) {
        (0, 32, _) => {
            let (script, stack) = witness.split_last().ok_or(ScriptError::WitnessProgramWitnessEmpty)?;
            if sha256::Hash::hash(script).as_byte_array() != program {
                return Err(ScriptError::WitnessProgramMismatch);
            }
            run_witness(script, stack, flags, ScriptVersion::WitnessV0, checker, Tapscript::default())
        }
        (0, 20, _) => {
            if witness.len() != 2 {
                return Err(ScriptError::WitnessProgramMismatch);
            }
            // The implied script: DUP HASH160 <program> EQUALVERIFY CHECKSIG.
            let head = [opcode::DUP, opcode::HASH160, 20];
            let script = [&head, program, &[opcode::EQUALVERIFY, opcode::CHECKSIG]].concat();
            run_witness(&script, witness, flags, ScriptVersion::WitnessV0, checker, Tapscript::default())
        }
        (0, length, _) => Err(ScriptError::WitnessProgramWrongLength(length)),
        (1, 32, Place::Output) if flags.contains(Flags::TAPROOT) => {
            let key = program.try_into().map_err(|_| ScriptError::WitnessProgramMismatch)?;
            verify_taproot(key, witness, flags, checker)
        }
        (1, 32, Place::Output) => Ok(()),
        (version, _, Place::Output) if (version, program) == ANCHOR => Ok(()),
        // What nobody knows yet is valid, so that it can be given a meaning.
        (version, ..) if flags.contains(Flags::DISCOURAGE_UPGRADABLE_WITNESS_PROGRAM) => {
            Err(ScriptError::DiscourageUpgradableWitnessProgram(version))
        }
        _ => Ok(()),
    }
}

fn verify_taproot(
    program: &[u8; 32],
    witness: &[&[u8]],
    flags: Flags,
    checker: &dyn SignatureChecker,
) -> Result<(), ScriptError> {
    let (annex, elements) = split_annex(witness);
    let mut spend = TaprootSpend { annex: annex.map(annex_hash), leaf: None };
    let (stack, script, control) = match *elements {
        [] => return Err(ScriptError::WitnessProgramWitnessEmpty),
        [signature] => return schnorr::check(checker, &spend, signature, program),
        [ref stack @ .., script, control] => (stack, script, control),
    };
    let control = ControlBlock::parse(control).ok_or(ScriptError::TaprootWrongControlSize(control.len()))?;
    let leaf_version = control.first & 0xfe;
    let leaf_hash = tagged(b"TapLeaf/elements", &[&[leaf_version], &serialize(&script.to_vec())]);
    if !control.commits(program, leaf_hash) {
        return Err(ScriptError::WitnessProgramMismatch);
    }
    match leaf_version {
        TAPSCRIPT_LEAF => {
            spend.leaf = Some(TaprootLeaf { hash: leaf_hash, code_separator: NO_CODE_SEPARATOR });
            let weight_left = witness_size(witness).saturating_add(FREE_WEIGHT);
            run_witness(script, stack, flags, ScriptVersion::Tapscript, checker, Tapscript { spend, weight_left })
        }
        SIMPLICITY_LEAF if flags.contains(Flags::SIMPLICITY) => {
            if stack.len() == 2 && script.len() == 32 {
                Err(ScriptError::Unsupported)
            } else {
                Err(ScriptError::SimplicityWrongLength)
            }
        }
        version if flags.contains(Flags::DISCOURAGE_UPGRADABLE_TAPROOT_VERSION) => {
            Err(ScriptError::DiscourageUpgradableTaprootVersion(version))
        }
        _ => Ok(()),
    }
}

/// Where a leaf stands in the tree of a Taproot output.
struct ControlBlock<'a> {
    /// The leaf version, with the parity of the output key in the lowest bit.
    first: u8,
    internal_key: &'a [u8; 32],
    /// What the leaf is hashed with on the way to the root.
    path: &'a [[u8; CONTROL_NODE]],
}

impl<'a> ControlBlock<'a> {
    /// `None` if the size is wrong.
    fn parse(control: &'a [u8]) -> Option<Self> {
        let (base, path) = control.split_at_checked(CONTROL_BASE)?;
        let (first, internal_key) = base.split_first()?;
        let (path, rest) = path.as_chunks();
        let internal_key = internal_key.try_into().ok()?;
        (rest.is_empty() && path.len() <= MAX_CONTROL_NODES).then_some(Self { first: *first, internal_key, path })
    }

    /// Whether the program is the internal key, tweaked by the root of the tree that the leaf is in.
    fn commits(&self, program: &[u8; 32], leaf: sha256::Hash) -> bool {
        let root = self.path.iter().fold(leaf.to_byte_array(), |hash, node| {
            let (lower, higher) = if hash < *node { (&hash, node) } else { (node, &hash) };
            tagged(b"TapBranch/elements", &[lower, higher]).to_byte_array()
        });
        let tweak = tagged(b"TapTweak/elements", &[self.internal_key, &root]).to_byte_array();
        let parity = if self.first & 1 == 0 { Parity::Even } else { Parity::Odd };
        let keys = (XOnlyPublicKey::from_slice(self.internal_key), XOnlyPublicKey::from_slice(program));
        match (keys, Scalar::from_be_bytes(tweak)) {
            ((Ok(internal), Ok(program)), Ok(tweak)) => internal.tweak_add_check(SECP256K1, &program, parity, tweak),
            _ => false,
        }
    }
}

fn tagged(tag: &[u8], parts: &[&[u8]]) -> sha256::Hash {
    let tag = sha256::Hash::hash(tag).to_byte_array();
    let mut engine = sha256::Hash::engine();
    engine.input(&tag);
    engine.input(&tag);
    parts.iter().for_each(|part| engine.input(part));
    sha256::Hash::from_engine(engine)
}

/// The size of a witness on the wire, in bytes.
fn witness_size(witness: &[&[u8]]) -> i64 {
    let compact_size = |length: usize| match length {
        0..=0xfc => 1,
        0xfd..=0xffff => 3,
        _ => 5,
    };
    let elements: usize = witness.iter().map(|element| compact_size(element.len()) + element.len()).sum();
    i64::try_from(compact_size(witness.len()) + elements).unwrap_or(i64::MAX)
}

fn run_witness(
    script: &[u8],
    stack: &[&[u8]],
    flags: Flags,
    version: ScriptVersion,
    checker: &dyn SignatureChecker,
    tapscript: Tapscript,
) -> Result<(), ScriptError> {
    if version == ScriptVersion::Tapscript {
        // Opcodes that let a script succeed do so before any other rule, but for what stands before them.
        for item in Items::new(script) {
            let item = item.ok_or(ScriptError::PushCutShort)?;
            if opcode::is_success(item.opcode) {
                return if flags.contains(Flags::DISCOURAGE_OP_SUCCESS) {
                    Err(ScriptError::DiscourageOpSuccess(item.opcode))
                } else {
                    Ok(())
                };
            }
        }
        if stack.len() > MAX_STACK_SIZE {
            return Err(ScriptError::StackSize(stack.len()));
        }
    }
    if let Some(element) = stack.iter().find(|element| element.len() > MAX_ELEMENT_SIZE) {
        return Err(ScriptError::PushSize(element.len()));
    }
    let stack = stack.iter().map(|element| element.to_vec()).collect();
    let left = run(stack, script, flags, version, checker, tapscript)?;
    match left.as_slice() {
        [top] if is_true(top) => Ok(()),
        [_] => Err(ScriptError::EvalFalse),
        other => Err(ScriptError::CleanStack(other.len())),
    }
}
