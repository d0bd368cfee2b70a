//! The witness of a block header: ECDSA signatures of `k` members under the P2WSH of the signblock script.
//!
//! The rules are those of Elements: the message is the block hash itself, signatures are DER with a low S followed by the
//! byte `SIGHASH_ALL`, and the stack is the empty item that `OP_CHECKMULTISIG` takes, exactly `k` signatures in the order
//! of the keys, and the script.

use std::collections::BTreeMap;

use aquifer_assets::chain::{ChainParams, Multisig};
use bitcoin::secp256k1::{Message, PublicKey, SECP256K1, SecretKey, ecdsa::Signature};
use elements::BlockHash;

use crate::roster::MemberIndex;

/// The only signature type that Elements accepts in a block witness.
const SIGHASH_ALL: u8 = 1;

fn message(block: &BlockHash) -> Message {
    Message::from_digest(block.to_byte_array())
}

/// Signs a header: DER with a low S, and the sighash byte. The same key and block always give the same bytes.
///
/// # Safety of the money
/// Only after the block has its commit certificate, once per height, and recorded on disk before the signature leaves.
pub fn sign_header(key: &SecretKey, block: &BlockHash) -> Vec<u8> {
    let mut bytes = SECP256K1.sign_ecdsa_low_r(&message(block), key).serialize_der().to_vec();
    bytes.push(SIGHASH_ALL);
    bytes
}

/// Whether the bytes are a signature of the header by this key, in the one encoding that Elements accepts.
pub fn verify_header_signature(key: &PublicKey, block: &BlockHash, bytes: &[u8]) -> bool {
    parse_signature(bytes).is_some_and(|signature| SECP256K1.verify_ecdsa(&message(block), &signature, key).is_ok())
}

/// Reads DER with the sighash byte `ALL`; `None` unless it is the canonical encoding with a low S.
pub(crate) fn parse_signature(bytes: &[u8]) -> Option<Signature> {
    let (SIGHASH_ALL, der) = bytes.split_last().map(|(last, der)| (*last, der))? else { return None };
    let signature = Signature::from_der(der).ok()?;
    let mut normalized = signature;
    normalized.normalize_s();
    (normalized == signature && signature.serialize_der().as_ref() == der).then_some(signature)
}

/// The witness stack, from signatures that were verified with [`verify_header_signature`]. Of more than `k` signatures those
/// of the first members are taken: Elements refuses a longer stack. `None` with fewer than `k`.
pub fn assemble_witness(params: &ChainParams, signatures: &BTreeMap<MemberIndex, Vec<u8>>) -> Option<Vec<Vec<u8>>> {
    let threshold = Multisig::parse(&params.signblock_script)?.threshold;
    if signatures.len() < threshold {
        return None;
    }
    let mut witness = vec![Vec::new()];
    witness.extend(signatures.values().take(threshold).cloned());
    witness.push(params.signblock_script.to_bytes());
    Some(witness)
}
