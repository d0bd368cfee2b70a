//! Peg-ins: an input that spends a deposit of the parent chain, and shows it.
//!
//! The peg-in witness has the amount, the asset, the parent chain, the claim script, the parent transaction and a proof
//! that it is in a parent block with enough work. What the witness cannot show is how deep that block is and whether
//! the parent chain has dropped it: each member asks its own parent node before it votes.

use bitcoin::consensus::encode::{deserialize, serialize};
use bitcoin::merkle_tree::MerkleBlock;
use bitcoin::{Target, TxOut};
use elements::{AssetId, Script};

use super::PegError;
use crate::chain::{ChainParams, Federation};
use crate::primitives::{Transaction, Witness};
use crate::state::PeginClaim;

/// Longest claim script, in bytes (Elements).
pub(super) const MAX_CLAIM_SCRIPT_SIZE: usize = 100;
/// Length of a header of the parent chain, in bytes.
const PARENT_HEADER_SIZE: usize = 80;
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
    let data = PeginData::read(&input.witness.pegin_witness)?;
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
    let output = claimed_output(data.transaction, &deposit)?;
    let parent_block = check_inclusion(params, data.merkle_proof, deposit.txid)?;
    let claim_script = Script::from(data.claim_script.to_vec());
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

/// The items of a peg-in witness (`pegins.cpp`, `IsValidPeginWitness`).
struct PeginData<'a> {
    value: u64,
    asset_id: AssetId,
    genesis_hash: bitcoin::BlockHash,
    claim_script: &'a [u8],
    transaction: &'a [u8],
    merkle_proof: &'a [u8],
}

impl<'a> PeginData<'a> {
    fn read(witness: &'a Witness) -> Result<Self, PegError> {
        if witness.is_empty() {
            return Err(PegError::WitnessMissing);
        }
        let items =
            items(witness).ok_or_else(|| malformed(format!("it has {} items instead of six", witness.len())))?;
        let [value, asset, genesis, claim_script, transaction, merkle_proof] = items;
        let hash = |item: &[u8], what| {
            <[u8; 32]>::try_from(item)
                .map_err(|_| malformed(format!("the {what} has {} bytes instead of 32", item.len())))
        };
        // Elements reads the value from the front of its item and does not look at what follows.
        let value = value.first_chunk().ok_or_else(|| malformed("the value has less than eight bytes".to_owned()))?;
        Ok(Self {
            value: u64::from_le_bytes(*value),
            asset_id: AssetId::from_byte_array(hash(asset, "asset")?),
            genesis_hash: bitcoin::hashes::Hash::from_byte_array(hash(genesis, "parent chain")?),
            claim_script,
            transaction,
            merkle_proof,
        })
    }
}

fn items(witness: &Witness) -> Option<[&[u8]; 6]> {
    // A witness of many items is not even put into a list.
    (witness.len() == 6).then(|| witness.iter().collect::<Vec<_>>().try_into().ok()).flatten()
}

fn malformed(reason: String) -> PegError {
    PegError::WitnessMalformed(reason)
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
pub(crate) fn has_parent_witness(witness: &Witness) -> bool {
    let Some([.., transaction, _]) = items(witness) else { return false };
    deserialize::<bitcoin::Transaction>(transaction).is_ok_and(|tx| without_witness(&tx) != transaction)
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
) -> Result<Witness, PegError> {
    if merkle_block.len() < PARENT_HEADER_SIZE {
        return Err(malformed("the proof is too short".to_owned()));
    }
    Ok(Witness::from_slice(&[
        amount_sat.to_le_bytes().as_slice(),
        &params.pegged_asset().to_byte_array(),
        AsRef::<[u8; 32]>::as_ref(&params.parent_genesis),
        claim_script.as_bytes(),
        raw_tx_without_witness,
        merkle_block,
    ]))
}
