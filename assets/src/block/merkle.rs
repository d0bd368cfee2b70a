//! The two kinds of Merkle tree, and what a block commits to with them.
//!
//! Transaction ids are committed by Bitcoin's tree, which repeats the last node of an odd level; witnesses and dynafed
//! parameters by Elements' fast tree, which lifts it. Bitcoin's tree has the flaw that a list and the same list with
//! its end repeated have one root (CVE-2012-2459): [`has_repeated_nodes`] finds it, and block checking refuses it.

use elements::encode::serialize;
use elements::hashes::sha256d;
use elements::{TxMerkleNode, Txid, fast_merkle_root};

use crate::primitives::{Transaction, TxInWitness, TxOutWitness};

fn parent(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    sha256d::Hash::hash(&[left.as_slice(), right.as_slice()].concat()).to_byte_array()
}

/// One level up: each pair becomes its parent, a last single node is paired with itself.
fn next_level(level: &[[u8; 32]]) -> Vec<[u8; 32]> {
    level
        .chunks(2)
        .filter_map(|pair| {
            let left = pair.first()?;
            Some(parent(left, pair.get(1).unwrap_or(left)))
        })
        .collect()
}

fn leaves(txids: &[Txid]) -> Vec<[u8; 32]> {
    txids.iter().map(|txid| txid.to_byte_array()).collect()
}

/// Root of Bitcoin's Merkle tree over transaction ids; all zero for none.
pub fn merkle_root(txids: &[Txid]) -> TxMerkleNode {
    let mut level = leaves(txids);
    while level.len() > 1 {
        level = next_level(&level);
    }
    TxMerkleNode::from_byte_array(level.first().copied().unwrap_or_default())
}

/// Whether two sibling nodes of the tree are equal, in which case a shorter list of transactions has the same root.
pub(crate) fn has_repeated_nodes(txids: &[Txid]) -> bool {
    let mut level = leaves(txids);
    while level.len() > 1 {
        if level.chunks_exact(2).any(|pair| pair.first() == pair.get(1)) {
            return true;
        }
        level = next_level(&level);
    }
    false
}

/// The siblings from the transaction at `position` up to the root. Empty if there is no such position.
pub fn merkle_branch(txids: &[Txid], position: u32) -> Vec<[u8; 32]> {
    let mut level = leaves(txids);
    let mut branch = Vec::new();
    let Ok(mut index) = usize::try_from(position) else { return branch };
    if index >= level.len() {
        return branch;
    }
    while level.len() > 1 {
        let sibling = level.get(index ^ 1).or_else(|| level.get(index)).copied();
        branch.extend(sibling);
        level = next_level(&level);
        index /= 2;
    }
    branch
}

/// Whether `siblings` lead from `leaf` at `position` to `root`.
///
/// A position outside a tree of this depth is refused, so that one proof cannot speak for several positions. The proof
/// says that the leaf is in the tree, not that it is a transaction: whoever accepts one must have the transaction
/// itself, and must know that it does not have the length of an inner node (64 bytes).
pub fn verify_merkle_branch(leaf: &Txid, position: u32, siblings: &[[u8; 32]], root: &TxMerkleNode) -> bool {
    let depth = u32::try_from(siblings.len()).unwrap_or(u32::MAX);
    // A tree of depth 32 or more cannot come from a block; with less, the position must fit into `depth` bits.
    if depth >= u32::BITS || position >> depth != 0 {
        return false;
    }
    let mut node = leaf.to_byte_array();
    let mut index = position;
    for sibling in siblings {
        node = if index & 1 == 0 { parent(&node, sibling) } else { parent(sibling, &node) };
        index >>= 1;
    }
    node == root.to_byte_array()
}

fn fast_root(leaves: &[[u8; 32]]) -> [u8; 32] {
    fast_merkle_root(leaves).to_parts().0
}

fn item_hash<T: elements::encode::Encodable>(item: &T) -> [u8; 32] {
    sha256d::Hash::hash(&serialize(item)).to_byte_array()
}

fn input_witness_hash(witness: &TxInWitness) -> [u8; 32] {
    fast_root(&[
        item_hash(&witness.amount_rangeproof),
        item_hash(&witness.inflation_keys_rangeproof),
        item_hash(&witness.script_witness),
        item_hash(&witness.pegin_witness),
    ])
}

fn output_witness_hash(witness: &TxOutWitness) -> [u8; 32] {
    fast_root(&[item_hash(&witness.surjection_proof), item_hash(&witness.rangeproof)])
}

/// Hash of all witnesses of a transaction, and of nothing else (`GetWitnessOnlyHash`).
pub fn witness_hash(tx: &Transaction) -> [u8; 32] {
    // The coinbase carries the nonce of the commitment in its input witness, which can therefore not be committed to.
    let coinbase = tx.is_coinbase();
    let inputs = tx.input.iter().map(|input| {
        if coinbase { input_witness_hash(&TxInWitness::default()) } else { input_witness_hash(&input.witness) }
    });
    let inputs = fast_root(&inputs.collect::<Vec<_>>());
    let outputs = tx.output.iter().map(|output| output_witness_hash(&output.witness)).collect::<Vec<_>>();
    fast_root(&[inputs, fast_root(&outputs)])
}

/// What the coinbase commits to: the witnesses of all transactions, the coinbase's included, and a nonce.
///
/// The coinbase counts with the outputs it has, so its commitment output must be in place before this is computed (its
/// content does not matter).
pub fn witness_commitment(transactions: &[Transaction], nonce: &[u8; 32]) -> [u8; 32] {
    let leaves = transactions.iter().map(witness_hash).collect::<Vec<_>>();
    parent(&fast_root(&leaves), nonce)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn txids(count: u8) -> Vec<Txid> {
        (0..count).map(|number| Txid::from_byte_array([number; 32])).collect()
    }

    #[test]
    fn bitcoin_and_fast_trees_differ_from_each_other() {
        let leaves = leaves(&txids(3));
        // Bitcoin repeats the odd leaf, the fast tree lifts it; both agree with a computation by hand.
        let bitcoin = parent(&parent(&leaves[0], &leaves[1]), &parent(&leaves[2], &leaves[2]));
        assert_eq!(merkle_root(&txids(3)).to_byte_array(), bitcoin);
        let lifted = fast_root(&[fast_root(&leaves[..2]), leaves[2]]);
        assert_eq!(fast_root(&leaves), lifted);
        assert_ne!(fast_root(&leaves), bitcoin);
        assert_eq!(fast_root(&leaves[..1]), leaves[0]);
        assert_eq!(fast_root(&[]), [0; 32]);
        assert_eq!(merkle_root(&[]).to_byte_array(), [0; 32]);
    }

    #[test]
    fn the_root_is_that_of_bitcoin() {
        // Bitcoin's own code as the oracle.
        for count in 1..20 {
            let hashes =
                txids(count).into_iter().map(|txid| bitcoin::hashes::Hash::from_byte_array(txid.to_byte_array()));
            let oracle: bitcoin::Txid = bitcoin::merkle_tree::calculate_root(hashes).unwrap();
            let oracle: [u8; 32] = *oracle.as_ref();
            assert_eq!(merkle_root(&txids(count)).to_byte_array(), oracle, "{count} leaves");
        }
    }

    #[test]
    fn a_repeated_end_has_the_same_root_and_is_found() {
        for count in 1..20 {
            assert!(!has_repeated_nodes(&txids(count)), "{count} leaves");
        }
        let honest = txids(3);
        let repeated = [honest.clone(), vec![honest[2]]].concat();
        assert_eq!(merkle_root(&honest), merkle_root(&repeated));
        assert!(has_repeated_nodes(&repeated));
        // The same one level up: 6 leaves, of which the last two are repeated.
        let honest = txids(6);
        let repeated = [honest.clone(), honest[4..].to_vec()].concat();
        assert_eq!(merkle_root(&honest), merkle_root(&repeated));
        assert!(has_repeated_nodes(&repeated));
    }

    #[test]
    fn branches_lead_to_the_root_from_their_position_only() {
        for count in 1..18 {
            let txids = txids(count);
            let root = merkle_root(&txids);
            for (position, txid) in (0..).zip(&txids) {
                let branch = merkle_branch(&txids, position);
                assert!(verify_merkle_branch(txid, position, &branch, &root), "{position} of {count}");
                let size = 1u32 << branch.len();
                // A position beyond the tree must not pass for the one inside it.
                assert!(!verify_merkle_branch(txid, position + size, &branch, &root));
                assert!(!verify_merkle_branch(txid, u32::MAX, &branch, &root));
                let other = Txid::from_byte_array([0xee; 32]);
                assert!(!verify_merkle_branch(&other, position, &branch, &root));
                if let Some((_, shorter)) = branch.split_last() {
                    assert!(!verify_merkle_branch(txid, position, shorter, &root));
                }
            }
            assert!(merkle_branch(&txids, u32::from(count)).is_empty());
        }
    }

    #[test]
    fn a_branch_of_absurd_length_is_refused() {
        let txid = Txid::from_byte_array([1; 32]);
        let siblings = vec![[2; 32]; 40];
        assert!(!verify_merkle_branch(&txid, 0, &siblings, &merkle_root(&[txid])));
    }
}
