//! The witness of a header: signatures of k block keys.
//!
//! Elements runs the witness through its script interpreter, against the block signing script in force. That script is
//! the P2WSH of a bare multisig ([`Multisig`]), so the outcome can be judged directly, with a name for each thing that can
//! be wrong. Other scripts can be voted for, and are refused here by name.
//! Signatures are ECDSA over the block hash, DER with low S, followed by the byte `SIGHASH_ALL`.

use elements::encode::serialize;
use elements::{BlockExtData, BlockHeader, Script};
use secp256k1_zkp::{Message, PublicKey, SECP256K1, ecdsa};

use super::BlockError;
use super::dynafed::is_expected;
use crate::chain::{Federation, Multisig};

/// Size of the largest ECDSA signature with low S and its sighash byte, in bytes.
const MAX_SIGNATURE_SIZE: usize = 72;
const SIGHASH_ALL: u8 = 1;

/// Size in bytes of the largest header witness: an empty item, `threshold` signatures, the script.
pub fn max_witness_size(threshold: usize, script: &Script) -> usize {
    let items: Vec<Vec<u8>> = std::iter::once(Vec::new())
        .chain(std::iter::repeat_n(vec![0; MAX_SIGNATURE_SIZE], threshold))
        .chain(std::iter::once(script.to_bytes()))
        .collect();
    serialize(&items).len()
}

/// Checks the signatures of a header against the federation in force at its height.
///
/// # Errors
/// The first thing found wrong; [`BlockError::SignatureCount`] when there are fewer or more than the threshold.
pub fn check_block_signatures(federation: &Federation, header: &BlockHeader) -> Result<(), BlockError> {
    let BlockExtData::Dynafed { current, signblock_witness, .. } = &header.ext else {
        return Err(BlockError::NotDynafed);
    };
    if !is_expected(current, &federation.entry()) {
        return Err(BlockError::DynafedCurrent { height: header.height });
    }
    let in_force = federation.current();
    let size = serialize(signblock_witness).len();
    let limit = in_force.signblock_witness_limit;
    if u32::try_from(size).map_or(true, |size| size > limit) {
        return Err(BlockError::SignatureSize { size, limit });
    }
    if !in_force.signblockscript.is_v0_p2wsh() {
        return Err(BlockError::SignblockScriptUnsupported);
    }
    let Some((script, items)) = signblock_witness.split_last() else {
        return Err(BlockError::Unsigned);
    };
    let script = Script::from(script.clone());
    if script.to_v0_p2wsh() != in_force.signblockscript {
        return Err(BlockError::SignatureScript);
    }
    let Multisig { threshold, keys } = Multisig::parse(&script).ok_or(BlockError::SignblockScriptUnsupported)?;
    let Some((dummy, signatures)) = items.split_first() else {
        return Err(BlockError::SignatureCount { found: 0, needed: threshold });
    };
    if signatures.len() != threshold {
        return Err(BlockError::SignatureCount { found: signatures.len(), needed: threshold });
    }
    if !dummy.is_empty() {
        return Err(BlockError::SignatureDummy);
    }
    let message = Message::from_digest(header.block_hash().to_byte_array());
    check_in_order(&message, signatures, &keys)
}

/// Each signature must be by a key after that of the signature before it.
fn check_in_order(message: &Message, signatures: &[Vec<u8>], keys: &[PublicKey]) -> Result<(), BlockError> {
    let mut left = keys;
    for (position, bytes) in signatures.iter().enumerate() {
        let signature = parse_signature(position, bytes)?;
        let by = |key: &PublicKey| SECP256K1.verify_ecdsa(message, &signature, key).is_ok();
        match left.iter().position(by) {
            Some(index) => left = left.get(index.saturating_add(1)..).unwrap_or_default(),
            None if keys.iter().any(by) => return Err(BlockError::SignatureOrder { position }),
            None => return Err(BlockError::SignatureInvalid { position }),
        }
    }
    Ok(())
}

fn parse_signature(position: usize, bytes: &[u8]) -> Result<ecdsa::Signature, BlockError> {
    let Some((sighash, der)) = bytes.split_last() else {
        return Err(BlockError::SignatureEncoding { position });
    };
    if *sighash != SIGHASH_ALL {
        return Err(BlockError::SignatureSighash { position, found: *sighash });
    }
    let signature = ecdsa::Signature::from_der(der).map_err(|_| BlockError::SignatureEncoding { position })?;
    // The encoding must be the only one: what the library would write itself.
    if signature.serialize_der().as_ref() != der {
        return Err(BlockError::SignatureEncoding { position });
    }
    let mut low = signature;
    low.normalize_s();
    if low == signature { Ok(signature) } else { Err(BlockError::SignatureHighS { position }) }
}
