//! Commitments and witnesses of blocks, to be put right after a change.

use aquifer_assets::block::{merkle_root, witness_commitment};
use aquifer_assets::primitives::{Block, Transaction};
use elements::{BlockExtData, Script, Txid};

/// What the output script of a witness commitment begins with (BIP 141).
const COMMITMENT_PREFIX: [u8; 6] = [0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed];
/// The nonce of blocks that members build.
const NONCE: [u8; 32] = [0; 32];

/// Makes the header commit to the transactions as they are.
pub fn commit_to_transactions(block: &mut Block) {
    let txids: Vec<Txid> = block.txdata.iter().map(Transaction::txid).collect();
    block.header.merkle_root = merkle_root(&txids);
}

/// Makes the coinbase commit to the witnesses as they are, in the output where it does already, and the header to all
/// transactions.
pub fn commit_to_witnesses(block: &mut Block) {
    let commitment = witness_commitment(&block.txdata, &NONCE);
    let outputs = block.txdata.first_mut().into_iter().flat_map(|coinbase| &mut coinbase.output);
    for output in outputs.filter(|output| output.script_pubkey.as_bytes().starts_with(&COMMITMENT_PREFIX)) {
        output.script_pubkey = Script::from([COMMITMENT_PREFIX.as_slice(), &commitment].concat());
    }
    commit_to_transactions(block);
}

/// Puts a witness into a header.
pub fn set_witness(block: &mut Block, witness: Vec<Vec<u8>>) {
    if let BlockExtData::Dynafed { signblock_witness, .. } = &mut block.header.ext {
        *signblock_witness = witness;
    }
}
