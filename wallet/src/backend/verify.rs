//! The checks that stand between a server and the wallet. Pure: no I/O, no state.

use aquifer_assets::block::{Certificate, CertificateKey, verify_merkle_branch};
use aquifer_assets::primitives::RangeProof;
use aquifer_assets::proof::RangeStatement;
use aquifer_proto::ledger::{MerkleProof, SignedHeader};
use elements::confidential::Asset;
use elements::encode::deserialize;
use elements::{BlockHash, BlockHeader, Transaction, TxOut, Txid};
use secp256k1_zkp::{Generator, SECP256K1};

use super::BackendError;
use crate::network::Chain;

/// A Merkle tree over more than 2^32 transactions cannot exist.
const MAX_BRANCH: usize = 32;

/// A transaction of exactly two hashes' length could pass for an inner node of a Merkle tree.
const INNER_NODE_LENGTH: usize = 64;

/// What certificates are checked against.
#[derive(Clone, Debug)]
pub struct Trust {
    genesis: BlockHash,
    key: CertificateKey,
}

/// A header that the federation certified, or the genesis header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedHeader {
    /// The header with its block-signing witness.
    pub header: BlockHeader,
    /// Its hash.
    pub hash: BlockHash,
}

impl VerifiedHeader {
    /// Height of the block.
    pub fn height(&self) -> u32 {
        self.header.height
    }
}

impl Trust {
    /// Trust in the certificate key of a chain.
    pub fn new(chain: &Chain) -> Self {
        Self { genesis: chain.genesis(), key: chain.file().certificate_key }
    }

    /// The chain's genesis block.
    pub fn genesis(&self) -> BlockHash {
        self.genesis
    }

    /// Checks a header that was asked for by height: right height, and a certificate over chain, height and hash. The
    /// genesis block has no certificate; its hash is known.
    pub fn header(&self, server: &str, asked: u32, signed: &SignedHeader) -> Result<VerifiedHeader, BackendError> {
        let malformed = |what, reason: String| BackendError::Malformed { server: server.to_owned(), what, reason };
        let header: BlockHeader =
            deserialize(&signed.header).map_err(|error| malformed("a header", error.to_string()))?;
        if header.height != asked || signed.height != asked {
            let got = if header.height == asked { signed.height } else { header.height };
            return Err(BackendError::WrongHeight { server: server.to_owned(), asked, got });
        }
        let hash = header.block_hash();
        if asked == 0 {
            if hash != self.genesis {
                return Err(BackendError::WrongGenesis { server: server.to_owned(), got: hash });
            }
            return Ok(VerifiedHeader { header, hash });
        }
        let refuse = |source| BackendError::Certificate { server: server.to_owned(), height: asked, source };
        let certificate = Certificate::from_bytes(&signed.certificate).map_err(refuse)?;
        self.key.verify(&certificate, &self.genesis, asked, &hash).map_err(refuse)?;
        Ok(VerifiedHeader { header, hash })
    }
}

/// Reads a transaction that was asked for by id and computes the id anew.
pub fn transaction(server: &str, asked: Txid, bytes: &[u8]) -> Result<Transaction, BackendError> {
    let malformed = |reason| BackendError::Malformed { server: server.to_owned(), what: "a transaction", reason };
    let tx: Transaction = deserialize(bytes).map_err(|error| malformed(error.to_string()))?;
    let got = tx.txid();
    if got != asked {
        return Err(BackendError::ForeignTransaction { server: server.to_owned(), asked, got });
    }
    if base_length(&tx) == INNER_NODE_LENGTH {
        return Err(malformed(format!("{got} is {INNER_NODE_LENGTH} bytes long, like a node of the Merkle tree")));
    }
    Ok(tx)
}

fn base_length(tx: &Transaction) -> usize {
    // weight = 3 * base + total, all in bytes.
    tx.weight().saturating_sub(tx.size()) / 3
}

/// Checks that a branch leads from the transaction to the header's root.
pub fn inclusion(server: &str, txid: Txid, proof: &MerkleProof, header: &VerifiedHeader) -> Result<(), BackendError> {
    let false_proof = || BackendError::WrongBranch { server: server.to_owned(), txid, height: header.height() };
    if proof.siblings.len() > MAX_BRANCH {
        return Err(false_proof());
    }
    let siblings = proof
        .siblings
        .iter()
        .map(|sibling| <[u8; 32]>::try_from(&sibling[..]))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| false_proof())?;
    if verify_merkle_branch(&txid, proof.position, &siblings, &header.header.merkle_root) {
        Ok(())
    } else {
        Err(false_proof())
    }
}

/// Whether an output's amount is shown or its range proof holds. The id of a transaction does not cover its proofs, so a
/// server could damage them; the wallet could then not read an amount that is its own, and would not know that it has it.
pub fn witness(output: &TxOut) -> bool {
    let Some(commitment) = output.value.commitment() else { return true };
    let generator = match output.asset {
        Asset::Confidential(generator) => generator,
        Asset::Explicit(asset) => Generator::new_unblinded(SECP256K1, asset.into_tag()),
        Asset::Null => return false,
    };
    let script = output.script_pubkey.as_bytes();
    let proof = &RangeProof::from(&output.witness.rangeproof);
    RangeStatement { proof, commitment, generator, script }.verify().is_ok()
}

/// Reads an identifier of 32 bytes in internal byte order.
pub fn txid(server: &str, bytes: &[u8]) -> Result<Txid, BackendError> {
    <[u8; 32]>::try_from(bytes).map(Txid::from_byte_array).map_err(|_| BackendError::Malformed {
        server: server.to_owned(),
        what: "a transaction id",
        reason: format!("it has {} bytes", bytes.len()),
    })
}
