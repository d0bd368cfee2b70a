//! Where deposits go: the federation script, tweaked by the script whose owner may claim.
//!
//! Every key P of the federation script becomes P + t·G with t = HMAC-SHA256(key = P, message = claim script). So each
//! claim script has an address of its own, which nobody else can claim from, and the members can sign for it with
//! their keys and the claim script alone.
//!
//! A federation script takes deposits in the epoch in which it was in force at the start, and in the epochs after, as
//! many in all as `total_valid_epochs`. Epoch 0 starts with the genesis block, which has no dynafed entry; its program
//! is the P2SH-P2WSH of the fedpeg script whatever `start_p2wsh` says.

use elements::Script;
use elements::hashes::{Hash as _, HashEngine as _, HmacEngine, sha256};
use elements::opcodes::all::OP_DEPTH;
use elements::script::{Builder, Instruction};
use secp256k1_zkp::{PublicKey, SECP256K1, Scalar};

use super::PegError;
use crate::chain::ChainParams;

/// The scripts of a deposit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FedpegProgram {
    /// What the spender of the deposit has to satisfy.
    pub witness_script: bitcoin::ScriptBuf,
    /// The deposit's output script.
    pub script_pubkey: bitcoin::ScriptBuf,
    /// With P2SH: the witness program that the spender shows in the script signature.
    pub redeem: Option<bitcoin::ScriptBuf>,
}

/// The scalar that the peg key `pubkey` is tweaked with for a claim script. Whoever signs adds it to the secret key.
///
/// # Errors
/// [`PegError::Tweak`] if the hash is no scalar, which nobody will ever see.
pub fn tweak_scalar(pubkey: &PublicKey, claim_script: &Script) -> Result<Scalar, PegError> {
    let mut engine = HmacEngine::<sha256::HashEngine>::new(&pubkey.serialize());
    engine.input(claim_script.as_bytes());
    let bytes = engine.finalize().to_byte_array();
    Scalar::from_be_bytes(bytes).map_err(|_| PegError::Tweak(pubkey.to_string()))
}

/// The federation script for a claim script: every 33-byte push is a key and is tweaked.
///
/// # Errors
/// If the script is malformed, is the old template that begins with `OP_DEPTH` (which is tweaked in part only), or has
/// a 33-byte push that is no key.
pub fn tweak_fedpeg(fedpeg_script: &Script, claim_script: &Script) -> Result<bitcoin::ScriptBuf, PegError> {
    if fedpeg_script.as_bytes().first() == Some(&OP_DEPTH.into_u8()) {
        return Err(PegError::FedpegScript);
    }
    let mut tweaked = Builder::new();
    for instruction in fedpeg_script.instructions() {
        tweaked = match instruction.map_err(|_| PegError::FedpegScript)? {
            Instruction::Op(op) => tweaked.push_opcode(op),
            Instruction::PushBytes(bytes) if bytes.len() == 33 => {
                let invalid = || PegError::Tweak(hex::encode(bytes));
                let key = PublicKey::from_slice(bytes).map_err(|_| invalid())?;
                let tweak = tweak_scalar(&key, claim_script)?;
                tweaked.push_slice(&key.add_exp_tweak(SECP256K1, &tweak).map_err(|_| invalid())?.serialize())
            }
            Instruction::PushBytes(bytes) => tweaked.push_slice(bytes),
        };
    }
    Ok(bitcoin::ScriptBuf::from_bytes(tweaked.into_script().into_bytes()))
}

/// How a witness program stands in the deposit's output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    P2wsh,
    P2shP2wsh,
}

/// The form of the programs of an epoch.
fn form(params: &ChainParams, epoch: u32) -> Form {
    if params.start_p2wsh && epoch > 0 { Form::P2wsh } else { Form::P2shP2wsh }
}

fn program(params: &ChainParams, form: Form, claim_script: &Script) -> Result<FedpegProgram, PegError> {
    let witness_script = tweak_fedpeg(&params.fedpeg_script, claim_script)?;
    let witness_program = witness_script.to_p2wsh();
    Ok(match form {
        Form::P2wsh => FedpegProgram { witness_script, script_pubkey: witness_program, redeem: None },
        Form::P2shP2wsh => {
            FedpegProgram { witness_script, script_pubkey: witness_program.to_p2sh(), redeem: Some(witness_program) }
        }
    })
}

fn epoch_at(params: &ChainParams, height: u32) -> u32 {
    height.checked_div(params.epoch_length_blocks).unwrap_or(0)
}

/// The program of the federation script that was in force at the start of `epoch`, for a claim script.
///
/// # Errors
/// As [`tweak_fedpeg`].
pub fn fedpeg_program(params: &ChainParams, epoch: u32, claim_script: &Script) -> Result<FedpegProgram, PegError> {
    program(params, form(params, epoch), claim_script)
}

/// The programs a deposit may pay if its claim is to stand in the block at `height`, newest first, without repetitions.
///
/// # Errors
/// As [`tweak_fedpeg`].
pub fn deposit_programs(
    params: &ChainParams,
    height: u32,
    claim_script: &Script,
) -> Result<Vec<FedpegProgram>, PegError> {
    let newest = epoch_at(params, height);
    let oldest = newest.saturating_sub(params.total_valid_epochs.saturating_sub(1));
    // Only the first epoch can differ from the rest, so looking at both ends of the window is enough.
    let mut forms = vec![form(params, newest), form(params, oldest)];
    forms.dedup();
    forms.into_iter().map(|form| program(params, form, claim_script)).collect()
}

/// The address to give a depositor while the next block is the one at `height`: that of the current epoch.
///
/// With `start_p2wsh`, an address of epoch 0 can be claimed from only until `total_valid_epochs` epochs have passed; the
/// addresses of later epochs stay good as long as the federation script does.
///
/// # Errors
/// As [`tweak_fedpeg`].
pub fn deposit_address(
    params: &ChainParams,
    height: u32,
    claim_script: &Script,
    network: bitcoin::Network,
) -> Result<bitcoin::Address, PegError> {
    let program = fedpeg_program(params, epoch_at(params, height), claim_script)?;
    bitcoin::Address::from_script(&program.script_pubkey, network).map_err(|error| PegError::Address(error.to_string()))
}
