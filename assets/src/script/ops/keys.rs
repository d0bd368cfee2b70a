//! Products and sums of keys, in tapscript only. Each costs as much as a signature.

use secp256k1_zkp::{Parity, PublicKey, SECP256K1, Scalar, XOnlyPublicKey};

use super::super::ScriptError;
use super::super::machine::Machine;
use super::super::opcode::*;
use super::super::signature::is_compressed;

pub(super) fn execute(machine: &mut Machine<'_>) -> Result<(), ScriptError> {
    let opcode = machine.opcode;
    // Elements has no error of its own for a stack that is too short here.
    let [first, second, third] = machine.pop_many().map_err(|_| ScriptError::Operand(opcode))?;
    let holds = if opcode == ECMULSCALARVERIFY {
        let (result, generator, scalar) = (&first, &second, &third);
        for key in [generator, result] {
            if !is_compressed(key) {
                return Err(ScriptError::PubkeyType(key.len()));
            }
        }
        machine.pay_for_signature()?;
        is_product(result, generator, scalar)
    } else {
        let (tweaked, tweak, internal) = (&first, &second, &third);
        if !is_compressed(tweaked) {
            return Err(ScriptError::PubkeyType(tweaked.len()));
        }
        let (Ok(tweak), Ok(internal)) =
            (<[u8; 32]>::try_from(tweak.as_slice()), <[u8; 32]>::try_from(internal.as_slice()))
        else {
            return Err(ScriptError::PubkeyType(internal.len()));
        };
        machine.pay_for_signature()?;
        is_sum(tweaked, tweak, internal)
    };
    if holds { Ok(()) } else { Err(ScriptError::EcMultVerifyFail) }
}

/// Whether `result` is `generator`, taken `scalar` times; a scalar of zero or beyond the order of the group never is right.
fn is_product(result: &[u8], generator: &[u8], scalar: &[u8]) -> bool {
    let product = || {
        let scalar = Scalar::from_be_bytes(scalar.try_into().ok()?).ok()?;
        PublicKey::from_slice(generator).ok()?.mul_tweak(SECP256K1, &scalar).ok()
    };
    product().is_some_and(|product| product.serialize() == result)
}

/// Whether `tweaked` is the internal key plus `tweak` times the generator of the group.
fn is_sum(tweaked: &[u8], tweak: [u8; 32], internal: [u8; 32]) -> bool {
    let [prefix, tweaked @ ..] = tweaked else { return false };
    let parity = if prefix & 1 == 0 { Parity::Even } else { Parity::Odd };
    let parts =
        (XOnlyPublicKey::from_slice(tweaked), Scalar::from_be_bytes(tweak), XOnlyPublicKey::from_slice(&internal));
    match parts {
        (Ok(tweaked), Ok(tweak), Ok(internal)) => internal.tweak_add_check(SECP256K1, &tweaked, parity, tweak),
        _ => false,
    }
}
