//! Signing a batch: every member signs every input, anybody puts `k` signatures together.
//!
//! Change is signed with the peg key itself; a deposit with the peg key plus the tweak of its claim script, which is what
//! the script of the deposit asks for. All signatures are `SIGHASH_ALL`: they cover every input and output.

use std::collections::BTreeMap;

use aquifer_assets::{
    chain::{ChainParams, Multisig},
    peg::{PegError, tweak_scalar},
};
use bitcoin::{
    Amount, EcdsaSighashType, OutPoint, Transaction,
    hashes::Hash,
    secp256k1::{Message, PublicKey, SECP256K1, SecretKey},
    sighash::SighashCache,
};

use super::coins::TreasuryCoin;
use crate::{blocksign::parse_signature, roster::MemberIndex};

/// A batch that cannot be signed, or signatures that do not belong to it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SigningError {
    /// Coins or signatures are not one per input.
    #[error("the batch has {inputs} inputs, but there are {found} coins or signatures")]
    Count {
        /// Inputs of the transaction.
        inputs: usize,
        /// What was given for them.
        found: usize,
    },
    /// A coin is not the one that the input at its place spends.
    #[error("input {input} spends {spent}, not {coin}")]
    WrongCoin {
        /// The input.
        input: usize,
        /// What it spends.
        spent: OutPoint,
        /// The coin given for it.
        coin: OutPoint,
    },
    /// The script of a coin does not ask for this key: a signature would be of no use.
    #[error("the script of coin {0} does not name this member's key")]
    NotOurKey(OutPoint),
    /// The key cannot be tweaked with the claim script.
    #[error("coin {coin}: {error}")]
    Tweak {
        /// The coin.
        coin: OutPoint,
        /// Why.
        error: PegError,
    },
    /// A signature is not by this key, not over this batch, or not encoded as it must be.
    #[error("the signature for input {0} is wrong")]
    BadSignature(usize),
}

/// Signs every input, in order: DER with a low S, and the sighash byte `ALL`.
///
/// # Errors
/// [`SigningError`] if the coins are not those of the transaction or not ours.
///
/// # When
/// Only a batch that a final block commits to.
pub fn sign_batch(
    peg_key: &SecretKey,
    transaction: &Transaction,
    coins: &[TreasuryCoin],
) -> Result<Vec<Vec<u8>>, SigningError> {
    let public = peg_key.public_key(SECP256K1);
    let messages = messages(transaction, coins)?;
    messages
        .iter()
        .zip(coins)
        .map(|(message, coin)| {
            let mut key = match &coin.claim_script {
                None => *peg_key,
                Some(claim) => {
                    let error = |error| SigningError::Tweak { coin: coin.outpoint, error };
                    let tweak = tweak_scalar(&public, claim).map_err(error)?;
                    peg_key.add_tweak(&tweak).map_err(|_| error(PegError::Tweak(public.to_string())))?
                }
            };
            let named = keys_of(coin).is_some_and(|keys| keys.contains(&key.public_key(SECP256K1)));
            let signature = SECP256K1.sign_ecdsa_low_r(message, &key);
            key.non_secure_erase();
            if !named {
                return Err(SigningError::NotOurKey(coin.outpoint));
            }
            Ok(with_sighash_byte(&signature))
        })
        .collect()
}

fn with_sighash_byte(signature: &bitcoin::secp256k1::ecdsa::Signature) -> Vec<u8> {
    bitcoin::ecdsa::Signature { signature: *signature, sighash_type: EcdsaSighashType::All }.to_vec()
}

/// Verifies the signatures of the member with this peg key, one per input.
///
/// # Errors
/// [`SigningError`], naming the input.
pub fn verify_batch_signatures(
    peg_key: &PublicKey,
    transaction: &Transaction,
    coins: &[TreasuryCoin],
    signatures: &[Vec<u8>],
) -> Result<(), SigningError> {
    let messages = messages(transaction, coins)?;
    if signatures.len() != messages.len() {
        return Err(SigningError::Count { inputs: messages.len(), found: signatures.len() });
    }
    for (input, ((message, coin), bytes)) in messages.iter().zip(coins).zip(signatures).enumerate() {
        let key = tweaked(peg_key, coin)?;
        let signature = parse_signature(bytes).ok_or(SigningError::BadSignature(input))?;
        SECP256K1.verify_ecdsa(message, &signature, &key).map_err(|_| SigningError::BadSignature(input))?;
    }
    Ok(())
}

/// Puts the signatures of `k` members into the transaction. Every signature is verified here; members with a wrong one are
/// passed over. `None` while there are fewer than `k` members with good ones for every input.
pub fn finalize_batch(
    params: &ChainParams,
    transaction: &Transaction,
    coins: &[TreasuryCoin],
    signatures: &BTreeMap<MemberIndex, Vec<Vec<u8>>>,
) -> Option<Transaction> {
    let Multisig { threshold, keys } = Multisig::parse(&params.fedpeg_script)?;
    let good: Vec<&Vec<Vec<u8>>> = signatures
        .iter()
        .filter(|(member, signatures)| {
            let key = keys.get(member.position());
            key.is_some_and(|key| verify_batch_signatures(key, transaction, coins, signatures).is_ok())
        })
        .map(|(_, signatures)| signatures)
        .take(threshold)
        .collect();
    if good.len() < threshold {
        return None;
    }
    let mut signed = transaction.clone();
    for (position, (input, coin)) in signed.input.iter_mut().zip(coins).enumerate() {
        // Members come in the order of the roster, which is the order of the keys.
        let signatures: Vec<&Vec<u8>> = good.iter().filter_map(|member| member.get(position)).collect();
        input.witness = coin.witness(&signatures);
    }
    Some(signed)
}

/// What is signed for each input (BIP 143).
fn messages(transaction: &Transaction, coins: &[TreasuryCoin]) -> Result<Vec<Message>, SigningError> {
    let inputs = transaction.input.len();
    if coins.len() != inputs {
        return Err(SigningError::Count { inputs, found: coins.len() });
    }
    let mut cache = SighashCache::new(transaction);
    let mut messages = Vec::with_capacity(inputs);
    for (input, (txin, coin)) in transaction.input.iter().zip(coins).enumerate() {
        if txin.previous_output != coin.outpoint {
            return Err(SigningError::WrongCoin { input, spent: txin.previous_output, coin: coin.outpoint });
        }
        let amount = Amount::from_sat(coin.amount_sat);
        let hash = cache
            .p2wsh_signature_hash(input, &coin.witness_script, amount, EcdsaSighashType::All)
            .map_err(|_| SigningError::Count { inputs, found: input })?;
        messages.push(Message::from_digest(hash.to_byte_array()));
    }
    Ok(messages)
}

/// The public key that signs for a coin.
fn tweaked(peg_key: &PublicKey, coin: &TreasuryCoin) -> Result<PublicKey, SigningError> {
    let Some(claim) = &coin.claim_script else { return Ok(*peg_key) };
    let error = |error| SigningError::Tweak { coin: coin.outpoint, error };
    let tweak = tweak_scalar(peg_key, claim).map_err(error)?;
    peg_key.add_exp_tweak(SECP256K1, &tweak).map_err(|_| error(PegError::Tweak(peg_key.to_string())))
}

fn keys_of(coin: &TreasuryCoin) -> Option<Vec<PublicKey>> {
    Some(Multisig::parse(&elements::Script::from(coin.witness_script.to_bytes()))?.keys)
}
