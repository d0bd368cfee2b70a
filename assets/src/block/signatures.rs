//! The witness of a header: signatures of k block keys.
//!
//! Elements runs the witness through its script interpreter, against the block signing script in force, and so do we: a
//! vote can put any witness program there. What members sign under is the P2WSH of a bare multisig ([`Multisig`]); for it
//! each thing that can be wrong has a name. Signatures are ECDSA over the block hash, DER with low S, followed by the byte
//! `SIGHASH_ALL`.
//!
//! Programs of version 1 and above have no meaning under the flags of headers, so with them anybody signs. Members never
//! vote for one; a final block is judged as all others judge it.

use elements::encode::serialize;
use elements::{BlockExtData, BlockHeader, Script};
use secp256k1_zkp::{Message, PublicKey, SECP256K1, ecdsa};

use super::BlockError;
use super::dynafed::is_expected;
use crate::chain::{Federation, Multisig};
use crate::script::{
    Flags, ScriptVersion, SighashData, SignatureChecker, TaprootHashType, TaprootSpend, verify_script,
};

/// Size of the largest ECDSA signature with low S and its sighash byte, in bytes.
const MAX_SIGNATURE_SIZE: usize = 72;
const SIGHASH_ALL: u8 = 1;

/// Answers for a header: what is signed is its hash, and there is no transaction.
struct HeaderChecker {
    hash: [u8; 32],
}

impl SignatureChecker for HeaderChecker {
    fn ecdsa_digest(&self, _code: &[u8], hash_type: u8, _version: ScriptVersion, _flags: Flags) -> Option<[u8; 32]> {
        // The hash type is not signed, so there is only one.
        (hash_type == SIGHASH_ALL).then_some(self.hash)
    }

    fn schnorr_digest(&self, _spend: &TaprootSpend, _hash_type: TaprootHashType) -> Option<[u8; 32]> {
        None
    }

    fn version(&self) -> u32 {
        0
    }

    fn lock_time(&self) -> u32 {
        0
    }

    fn sequence(&self) -> u32 {
        0
    }

    fn inspect(&self) -> Option<(&SighashData<'_>, usize)> {
        None
    }
}

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
    let checker = HeaderChecker { hash: header.block_hash().to_byte_array() };
    let witness: Vec<&[u8]> = signblock_witness.iter().map(Vec::as_slice).collect();
    verify_script(&[], in_force.signblockscript.as_bytes(), &witness, Flags::HEADER, &checker).map_err(|error| {
        let fault = multisig_fault(&in_force.signblockscript, signblock_witness, &checker.hash);
        fault.unwrap_or(BlockError::SignatureWitness(error))
    })
}

/// What is wrong with a witness that does not satisfy the P2WSH of a multisig, if that is what it has to satisfy.
fn multisig_fault(program: &Script, witness: &[Vec<u8>], hash: &[u8; 32]) -> Option<BlockError> {
    let Some((script, items)) = witness.split_last() else { return Some(BlockError::Unsigned) };
    let script = Script::from(script.clone());
    if !program.is_v0_p2wsh() {
        return None;
    }
    if script.to_v0_p2wsh() != *program {
        return Some(BlockError::SignatureScript);
    }
    let Multisig { threshold, keys } = Multisig::parse(&script)?;
    let Some((dummy, signatures)) = items.split_first().filter(|(_, signatures)| signatures.len() == threshold) else {
        return Some(BlockError::SignatureCount { found: items.len().saturating_sub(1), needed: threshold });
    };
    if !dummy.is_empty() {
        return Some(BlockError::SignatureDummy);
    }
    check_in_order(&Message::from_digest(*hash), signatures, &keys).err()
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
