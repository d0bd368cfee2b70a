//! Peg-ins: an input that spends a deposit of the parent chain, and shows it.
//!
//! The peg-in witness has the amount, the asset, the parent chain, the claim script, the parent transaction and a proof
//! that it is in a parent block with enough work. What the witness cannot show is how deep that block is and whether
//! the parent chain has dropped it: each member asks its own parent node before it votes.

use bitcoin::consensus::encode::{deserialize, serialize};
use bitcoin::merkle_tree::MerkleBlock;
use bitcoin::{Target, TxOut};
use elements::{PeginData, PeginWitness, Script, Transaction};

use super::PegError;
use crate::chain::{ChainParams, Federation};
use crate::state::PeginClaim;

/// Longest claim script, in bytes (Elements).
pub(super) const MAX_CLAIM_SCRIPT_SIZE: usize = 100;
/// Largest amount of the pegged asset, in satoshi.
const MAX_MONEY_SAT: u64 = 2_100_000_000_000_000;

/// Checks the peg-in at input `vin` and returns what it claims. Its depth on the parent chain is not judged here, nor
/// whether it was claimed before.
///
/// # Errors
/// The first rule found broken.
pub fn check_pegin(
    params: &ChainParams,
    federation: &Federation,
    tx: &Transaction,
    vin: usize,
) -> Result<PeginClaim, PegError> {
    let input = tx.input.get(vin).ok_or(PegError::NotPegin(vin))?;
    let deposit = input.pegin_prevout().ok_or(PegError::NotPegin(vin))?;
    let data = input.pegin_data().ok_or(PegError::WitnessMissing)?;
    if data.value == 0 || data.value > MAX_MONEY_SAT {
        return Err(PegError::Value(data.value));
    }
    if data.asset_id != params.pegged_asset() {
        return Err(PegError::Asset(data.asset_id));
    }
    if data.genesis_hash != params.parent_genesis {
        return Err(PegError::ParentGenesis(data.genesis_hash));
    }
    if data.claim_script.len() > MAX_CLAIM_SCRIPT_SIZE {
        return Err(PegError::ClaimScriptSize(data.claim_script.len()));
    }
    let output = claimed_output(&data.transaction, &deposit)?;
    let parent_block = check_inclusion(params, &data.merkle_proof, deposit.txid)?;
    let claim_script = Script::from(data.claim_script.to_bytes());
    let witness_script = destination(federation, &claim_script, &output)?;
    let deposit_sat = output.value.to_sat();
    if deposit_sat != data.value {
        return Err(PegError::Amount { claimed_sat: data.value, deposit_sat });
    }
    Ok(PeginClaim {
        deposit,
        amount_sat: deposit_sat,
        claim_script,
        parent_block,
        witness_script,
        deposit_script: output.script_pubkey,
        claim_txid: tx.txid(),
    })
}

/// The witness script of the federation program that the deposit pays.
///
/// Under a federation program of a later witness version any output is a deposit; there is no witness script then.
fn destination(federation: &Federation, claim_script: &Script, output: &TxOut) -> Result<bitcoin::ScriptBuf, PegError> {
    for fedpeg in federation.fedpegs() {
        match fedpeg.tweaked(claim_script)? {
            None => return Ok(bitcoin::ScriptBuf::new()),
            Some(program) if program.script_pubkey == output.script_pubkey => return Ok(program.witness_script),
            Some(_) => {}
        }
    }
    Err(PegError::Destination(output.script_pubkey.clone()))
}

/// The output that is claimed, from the parent transaction in the witness.
fn claimed_output(bytes: &[u8], deposit: &bitcoin::OutPoint) -> Result<TxOut, PegError> {
    let tx: bitcoin::Transaction = deserialize(bytes).map_err(|error| PegError::Transaction(error.to_string()))?;
    let found = tx.compute_txid();
    if found != deposit.txid {
        return Err(PegError::TransactionId { found, claimed: deposit.txid });
    }
    let index = usize::try_from(deposit.vout).map_err(|_| PegError::Output(deposit.vout))?;
    tx.output.into_iter().nth(index).ok_or(PegError::Output(deposit.vout))
}

/// Checks that the proof is of exactly this transaction, in a parent block with enough work; returns that block.
fn check_inclusion(params: &ChainParams, proof: &[u8], txid: bitcoin::Txid) -> Result<bitcoin::BlockHash, PegError> {
    let proof: MerkleBlock = deserialize(proof).map_err(|error| PegError::ProofMalformed(error.to_string()))?;
    let (mut matches, mut positions) = (Vec::new(), Vec::new());
    proof.extract_matches(&mut matches, &mut positions).map_err(|error| PegError::ProofInvalid(error.to_string()))?;
    let [found] = matches.as_slice() else { return Err(PegError::ProofMatches(matches.len())) };
    if *found != txid {
        return Err(PegError::ProofTransaction { found: *found, claimed: txid });
    }
    let hash = proof.header.block_hash();
    let target = proof.header.target();
    let limit = Target::from_be_bytes(params.parent_pow_limit);
    if overflows(proof.header.bits) || target == Target::ZERO || target > limit {
        return Err(PegError::ParentTarget(hash));
    }
    proof.header.validate_pow(target).map_err(|_| PegError::ParentWork(hash))
}

/// Whether a target in compact form encodes a number of more than 256 bits.
fn overflows(bits: bitcoin::CompactTarget) -> bool {
    let bits = bits.to_consensus();
    let (size, mantissa) = (bits >> 24, bits & 0x007f_ffff);
    mantissa != 0 && (size > 34 || (size > 33 && mantissa > 0xff) || (size > 32 && mantissa > 0xffff))
}

/// Whether the parent transaction in a peg-in witness carries a witness of its own, which the transaction id does not
/// commit to, so that anybody could change it.
pub(crate) fn has_parent_witness(data: &PeginData) -> bool {
    deserialize::<bitcoin::Transaction>(&data.transaction).is_ok_and(|tx| without_witness(&tx) != data.transaction)
}

fn without_witness(tx: &bitcoin::Transaction) -> Vec<u8> {
    let mut bytes = serialize(&tx.version);
    bytes.extend(serialize(&tx.input));
    bytes.extend(serialize(&tx.output));
    bytes.extend(serialize(&tx.lock_time));
    bytes
}

/// Puts a peg-in witness together from a deposit: the parent transaction without its witness, and the proof as
/// `gettxoutproof` gives it.
///
/// # Errors
/// [`PegError::WitnessMalformed`] if the proof is too short to have a header.
pub fn pegin_witness(
    params: &ChainParams,
    claim_script: &Script,
    amount_sat: u64,
    raw_tx_without_witness: &[u8],
    merkle_block: &[u8],
) -> Result<PeginWitness, PegError> {
    let header =
        merkle_block.get(..80).ok_or_else(|| PegError::WitnessMalformed("the proof is too short".to_owned()))?;
    let header: bitcoin::block::Header =
        deserialize(header).map_err(|error| PegError::WitnessMalformed(error.to_string()))?;
    Ok(PeginWitness::new(PeginData {
        value: amount_sat,
        asset_id: params.pegged_asset(),
        genesis_hash: params.parent_genesis,
        claim_script: bitcoin::ScriptBuf::from_bytes(claim_script.to_bytes()),
        transaction: raw_tx_without_witness.to_vec(),
        merkle_proof: merkle_block.to_vec(),
        referenced_block: header.block_hash(),
    }))
}
