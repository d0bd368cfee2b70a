//! The witness of a block header: ECDSA signatures of `k` members under the P2WSH of the signblock script.
//!
//! The rules are those of Elements: the message is the block hash itself, signatures are DER with a low S followed by the
//! byte `SIGHASH_ALL`, and the stack is the empty item that `OP_CHECKMULTISIG` takes, exactly `k` signatures in the order
//! of the keys, and the script.

use std::collections::BTreeMap;

use aquifer_assets::chain::{ChainParams, Multisig};
use bitcoin::secp256k1::{Message, PublicKey, SECP256K1, SecretKey, ecdsa::Signature};
use elements::{BlockExtData, BlockHash, BlockHeader};

use crate::roster::{MemberIndex, Roster};

/// The only signature type that Elements accepts in a block witness.
const SIGHASH_ALL: u8 = 1;

fn message(block: &BlockHash) -> Message {
    Message::from_digest(block.to_byte_array())
}

/// Signs a header: DER with a low S, and the sighash byte. The same key and block always give the same bytes.
///
/// # When
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
    let Multisig { threshold, keys } = Multisig::parse(&params.signblock_script)?;
    let by_members = signatures.iter().filter(|(member, _)| member.position() < keys.len());
    let mut witness = vec![Vec::new()];
    witness.extend(by_members.take(threshold).map(|(_, signature)| signature.clone()));
    witness.push(params.signblock_script.to_bytes());
    // The empty item, the signatures, the script.
    (witness.len() == threshold.checked_add(2)?).then_some(witness)
}

/// Whose signatures the witness of a header carries, in the order of the roster. Of the members that have signed, a witness
/// takes the first `k` only.
pub fn signers(header: &BlockHeader, roster: &Roster) -> Vec<bool> {
    let signatures: &[Vec<u8>] = match &header.ext {
        BlockExtData::Dynafed { signblock_witness, .. } => signblock_witness,
        BlockExtData::Proof { .. } => &[],
    };
    let block = header.block_hash();
    // The signatures stand in the order of the keys: each is tried from where the one before was found.
    let mut signatures = signatures.iter().filter(|item| !item.is_empty()).peekable();
    let signed = roster
        .members()
        .iter()
        .map(|member| signatures.next_if(|item| verify_header_signature(&member.block_key, &block, item)).is_some());
    signed.collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use aquifer_assets::block::check_block_signatures;
    use aquifer_assets::chain::Federation;
    use elements::{TxMerkleNode, dynafed};

    use super::*;
    use crate::{keys::MemberSeed, roster::tests::federation_of};

    fn header(params: &ChainParams) -> BlockHeader {
        BlockHeader {
            version: 0x2000_0000,
            prev_blockhash: params.genesis_hash(),
            merkle_root: TxMerkleNode::from_byte_array([3; 32]),
            time: 1,
            height: 1,
            ext: BlockExtData::Dynafed {
                current: Federation::without_votes(params, 1).entry(),
                proposed: dynafed::Params::Null,
                signblock_witness: vec![],
            },
        }
    }

    fn sign_all(seeds: &[MemberSeed], block: &BlockHash) -> BTreeMap<MemberIndex, Vec<u8>> {
        (0..).map(MemberIndex).zip(seeds.iter().map(|seed| sign_header(&seed.keys().block, block))).collect()
    }

    fn with_witness(mut header: BlockHeader, witness: Vec<Vec<u8>>) -> BlockHeader {
        if let BlockExtData::Dynafed { signblock_witness, .. } = &mut header.ext {
            *signblock_witness = witness;
        }
        header
    }

    #[test]
    fn any_k_members_sign_a_header_that_the_rules_accept() {
        for count in [1, 4, 7, 20] {
            let (seeds, roster) = federation_of(count);
            let params = roster.chain_params();
            params.check().unwrap();
            let header = header(&params);
            let mut signatures = sign_all(&seeds, &header.block_hash());
            let witness = assemble_witness(&params, &signatures).unwrap();
            assert_eq!(witness.len(), roster.threshold() + 2);
            let signed = with_witness(header.clone(), witness);
            check_block_signatures(&Federation::without_votes(&params, 1), &signed).unwrap();
            let first = (0..roster.members().len()).map(|position| position < roster.threshold());
            assert_eq!(signers(&signed, &roster), first.collect::<Vec<_>>());
            while signatures.len() > roster.threshold() {
                signatures.pop_first();
            }
            let witness = assemble_witness(&params, &signatures).unwrap();
            let signed = with_witness(header.clone(), witness);
            check_block_signatures(&Federation::without_votes(&params, 1), &signed).unwrap();
            let away = roster.members().len() - roster.threshold();
            let last = (0..roster.members().len()).map(|position| position >= away);
            assert_eq!(signers(&signed, &roster), last.collect::<Vec<_>>());
            assert!(!signers(&header, &roster).contains(&true));
            let (_, stray) = signatures.pop_first().unwrap();
            assert_eq!(assemble_witness(&params, &signatures), None);
            signatures.insert(MemberIndex(99), stray);
            assert_eq!(assemble_witness(&params, &signatures), None);
        }
    }

    #[test]
    fn only_the_one_encoding_of_the_right_signature_verifies() {
        let (seeds, roster) = federation_of(4);
        let block = BlockHash::from_byte_array([5; 32]);
        let key = roster.members()[0].block_key;
        let good = sign_header(&seeds[0].keys().block, &block);
        assert!(verify_header_signature(&key, &block, &good));
        assert_eq!(good, sign_header(&seeds[0].keys().block, &block));
        assert!(good.len() <= 72);
        assert!(!verify_header_signature(&roster.members()[1].block_key, &block, &good));
        assert!(!verify_header_signature(&key, &BlockHash::from_byte_array([6; 32]), &good));
        assert!(!verify_header_signature(&key, &block, &[]));
        assert!(!verify_header_signature(&key, &block, &[1]));
        for position in 0..good.len() {
            let mut changed = good.clone();
            changed[position] ^= 1;
            assert!(!verify_header_signature(&key, &block, &changed), "byte {position}");
        }
        assert!(!verify_header_signature(&key, &block, &good[..good.len() - 1]));
        assert!(!verify_header_signature(&key, &block, &[&good[..], &[1]].concat()));
    }
}
