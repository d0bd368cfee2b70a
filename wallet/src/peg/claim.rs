//! The transaction that claims a deposit in one step.
//!
//! One input, the deposit on Bitcoin with the peg-in witness, signed with the key of the claim script (P2WPKH over the
//! explicit amount); one confidential output to the wallet; an explicit fee output that is taken from the amount. The
//! input has no blinding, so the value blinding factor of the one output cancels its asset blinding factor.

use aquifer_assets::peg::{deposit_programs, pegin_witness};
use aquifer_assets::primitives;
use bitcoin::consensus::encode::{deserialize, serialize};
use bitcoin::hashes::Hash;
use elements::confidential::{AssetBlindingFactor, Value, ValueBlindingFactor};
use elements::opcodes::all::{OP_CHECKSIG, OP_DUP, OP_EQUALVERIFY, OP_HASH160};
use elements::script::Builder;
use elements::sighash::SighashCache;
use elements::{
    Address, AssetIssuance, EcdsaSighashType, LockTime, OutPoint, Script, Sequence, Transaction, TxIn, TxInWitness,
    TxOut, TxOutSecrets, Txid, Witness,
};
use rand::{CryptoRng, RngCore};
use secp256k1_zkp::{Message, SECP256K1, SecretKey};

use super::PegError;
use super::pegin::PeginAddress;
use crate::network::Chain;
use crate::wallet::FeeRate;

/// What a claim is made of.
#[derive(Clone, Debug)]
pub struct ClaimParts<'a> {
    /// The deposit on Bitcoin.
    pub outpoint: bitcoin::OutPoint,
    /// Its amount in satoshi.
    pub amount_sat: u64,
    /// The Bitcoin transaction, with or without witness.
    pub transaction: &'a [u8],
    /// The BIP 37 Merkle block that proves it.
    pub proof: &'a [u8],
    /// The peg-in address it pays.
    pub address: &'a PeginAddress,
    /// Height of our chain, in blocks.
    pub height: u32,
    /// The confidential address that receives the coins.
    pub receiver: &'a Address,
}

/// A Bitcoin transaction as a peg-in witness must carry it: without its own witness.
fn without_witness(mut transaction: bitcoin::Transaction) -> Vec<u8> {
    for input in &mut transaction.input {
        input.witness.clear();
    }
    serialize(&transaction)
}

/// Builds and signs the claim. `Ok(None)` if the deposit does not cover the fee. What a server says of the deposit is
/// checked against the Bitcoin transaction first: its id, amount and script.
pub fn build<R: RngCore + CryptoRng>(
    chain: &Chain,
    parts: &ClaimParts<'_>,
    key: &SecretKey,
    rate: FeeRate,
    rng: &mut R,
) -> Result<Option<Transaction>, PegError> {
    let raw_transaction = check_deposit(chain, parts)?;
    let parts = &ClaimParts { transaction: &raw_transaction, ..parts.clone() };
    let mut fee_sat = rate.fee_sat(1_000);
    // The size depends on the fee only through the length of a signature: the second round fits.
    for _ in 0..4 {
        let Some(change_sat) = parts.amount_sat.checked_sub(fee_sat).filter(|rest| *rest > 0) else {
            return Ok(None);
        };
        let transaction = sign(chain, parts, key, change_sat, fee_sat, rng)?;
        let size = u64::try_from(transaction.discount_vsize()).unwrap_or(u64::MAX);
        let needed = rate.fee_sat(size);
        if needed <= fee_sat && fee_sat <= needed.saturating_add(rate.fee_sat(8)) {
            return Ok(Some(transaction));
        }
        fee_sat = rate.fee_sat(size.saturating_add(1));
    }
    Err(fail(parts, "the fee does not settle"))
}

fn fail(parts: &ClaimParts<'_>, reason: impl Into<String>) -> PegError {
    PegError::Claim { deposit: parts.outpoint, reason: reason.into() }
}

fn check_deposit(chain: &Chain, parts: &ClaimParts<'_>) -> Result<Vec<u8>, PegError> {
    let parent: bitcoin::Transaction = deserialize(parts.transaction)
        .map_err(|error| fail(parts, format!("its transaction does not decode: {error}")))?;
    if parent.compute_txid() != parts.outpoint.txid {
        return Err(fail(parts, "the server sent another Bitcoin transaction"));
    }
    let output = usize::try_from(parts.outpoint.vout).ok().and_then(|vout| parent.output.get(vout));
    let output = output.ok_or_else(|| fail(parts, "the Bitcoin transaction has no such output"))?;
    if output.value.to_sat() != parts.amount_sat {
        return Err(fail(parts, "the server told a wrong amount"));
    }
    let programs =
        deposit_programs(&chain.file().params, parts.height, &parts.address.claim_script).map_err(PegError::Address)?;
    if !programs.iter().any(|program| program.script_pubkey == output.script_pubkey) {
        return Err(fail(parts, "the output does not pay the federation for this wallet, or too long ago"));
    }
    Ok(without_witness(parent))
}

fn sign<R: RngCore + CryptoRng>(
    chain: &Chain,
    parts: &ClaimParts<'_>,
    key: &SecretKey,
    change_sat: u64,
    fee_sat: u64,
    rng: &mut R,
) -> Result<Transaction, PegError> {
    let asset = chain.pegged_asset();
    let witness = pegin_witness(
        &chain.file().params,
        &parts.address.claim_script,
        parts.amount_sat,
        parts.transaction,
        parts.proof,
    )
    .map_err(|error| fail(parts, error.to_string()))?;
    let blinder = parts.receiver.blinding_pubkey.ok_or_else(|| fail(parts, "the receiver is not confidential"))?;
    let spent = TxOutSecrets::new(asset, AssetBlindingFactor::zero(), parts.amount_sat, ValueBlindingFactor::zero());
    let fee = TxOutSecrets::new(asset, AssetBlindingFactor::zero(), fee_sat, ValueBlindingFactor::zero());
    let (output, ..) = TxOut::new_last_confidential(
        rng,
        SECP256K1,
        change_sat,
        asset,
        parts.receiver.script_pubkey(),
        blinder,
        &[spent],
        &[&fee],
    )
    .map_err(|error| fail(parts, error.to_string()))?;

    let mut transaction = Transaction {
        version: 2,
        lock_time: LockTime::ZERO,
        input: vec![TxIn {
            previous_output: OutPoint::new(
                Txid::from_byte_array(*AsRef::<[u8; 32]>::as_ref(&parts.outpoint.txid)),
                parts.outpoint.vout,
            ),
            is_pegin: true,
            script_sig: Script::new(),
            sequence: Sequence::MAX,
            asset_issuance: AssetIssuance::default(),
            witness: TxInWitness::default(),
        }],
        output: vec![output, TxOut::new_fee(fee_sat, asset)],
    };
    let public = key.public_key(SECP256K1).serialize();
    let script_code = script_code(&public);
    if Script::new_v0_wpkh(&elements::WPubkeyHash::hash(&public)) != parts.address.claim_script {
        return Err(fail(parts, "the wallet's key is not that of the claim script"));
    }
    let sighash = SighashCache::new(&transaction).segwitv0_sighash(
        0,
        &script_code,
        Value::Explicit(parts.amount_sat),
        EcdsaSighashType::All,
    );
    let message = Message::from_digest(sighash.to_byte_array());
    let mut signature = SECP256K1.sign_ecdsa_low_r(&message, key).serialize_der().to_vec();
    signature.push(0x01);
    if let Some(input) = transaction.input.first_mut() {
        input.witness.script_witness = Witness::from_slice(&[signature.as_slice(), public.as_slice()]);
    }
    // The types of the `elements` crate take no peg-in witness in parts.
    let mut claim = primitives::Transaction::from(&transaction);
    if let Some(input) = claim.input.first_mut() {
        input.witness.pegin_witness = witness;
    }
    Transaction::try_from(&claim).map_err(|error| fail(parts, error.to_string()))
}

/// What a P2WPKH spend signs as its script (BIP 143).
fn script_code(public: &[u8; 33]) -> Script {
    let hash = elements::WPubkeyHash::hash(public);
    Builder::new()
        .push_opcode(OP_DUP)
        .push_opcode(OP_HASH160)
        .push_slice(hash.as_ref())
        .push_opcode(OP_EQUALVERIFY)
        .push_opcode(OP_CHECKSIG)
        .into_script()
}
