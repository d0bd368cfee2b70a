//! Signing a batch with the members' own keys, and putting all signatures together.
//!
//! Deposits need `k` ECDSA signatures, made with the peg key plus the tweak of the claim script, `SIGHASH_ALL`; change in the
//! federation's own script the same, without a tweak. An output of the treasury needs one signature of the FROST key, which a session of members makes ([`super::roast`]), or, when no
//! session comes to its end, `k` Schnorr signatures with the peg keys themselves. Both cover every input and output
//! (`SIGHASH_DEFAULT`); both can be collected at the same time, and the FROST signature is preferred, since it is smaller.

use std::collections::BTreeMap;

use aquifer_assets::{
    chain::Multisig,
    peg::{PegError, tweak_scalar},
};
use bitcoin::{
    Amount, EcdsaSighashType, OutPoint, ScriptBuf, TapLeafHash, TapSighashType, Transaction, TxOut,
    hashes::Hash,
    secp256k1::{Keypair, Message, PublicKey, SECP256K1, SecretKey, schnorr},
    sighash::{Prevouts, SighashCache},
};

use super::{
    coins::{CoinKind, TreasuryCoin, key_witness, members_witness, multisig_witness},
    rules::Treasury,
};
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

/// What a member signs with its own keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signed {
    /// Deposits and the federation's own script. Outputs of the treasury are left to the FROST key.
    Multisig,
    /// Every input: outputs of the treasury by the script of the members.
    Everything,
}

/// What is signed for an input.
enum SigningHash {
    /// BIP 143.
    Ecdsa(Message),
    /// BIP 341, for the script of the members.
    Schnorr(Message),
}

/// Signs with the member's own keys, one entry per input: DER with a low S and the sighash byte `ALL`, or for an
/// output of the treasury a BIP 340 signature, or nothing if it is left to the FROST key. The same arguments give the same
/// signatures.
///
/// # Errors
/// [`SigningError`] if the coins are not those of the transaction or not ours.
///
/// # When
/// Only a batch that a final block commits to.
pub fn sign_batch(
    treasury: &Treasury,
    peg_key: &SecretKey,
    transaction: &Transaction,
    coins: &[TreasuryCoin],
    signed: Signed,
) -> Result<Vec<Vec<u8>>, SigningError> {
    let public = peg_key.public_key(SECP256K1);
    let hashes = hashes(treasury, transaction, coins)?;
    hashes
        .iter()
        .zip(coins)
        .map(|(hash, coin)| match hash {
            SigningHash::Ecdsa(message) => sign_multisig(peg_key, &public, message, coin),
            SigningHash::Schnorr(_) if signed == Signed::Multisig => Ok(Vec::new()),
            SigningHash::Schnorr(message) => {
                if !treasury.peg_keys.contains(&public) {
                    return Err(SigningError::NotOurKey(coin.outpoint));
                }
                let mut pair = Keypair::from_secret_key(SECP256K1, peg_key);
                let signature = SECP256K1.sign_schnorr_no_aux_rand(message, &pair);
                pair.non_secure_erase();
                Ok(signature.serialize().to_vec())
            }
        })
        .collect()
}

fn sign_multisig(
    peg_key: &SecretKey,
    public: &PublicKey,
    message: &Message,
    coin: &TreasuryCoin,
) -> Result<Vec<u8>, SigningError> {
    let error = |error| SigningError::Tweak { coin: coin.outpoint, error };
    let (mut key, witness_script) = match &coin.kind {
        CoinKind::Deposit { claim_script, witness_script, .. } => {
            let tweak = tweak_scalar(public, claim_script).map_err(error)?;
            let key = peg_key.add_tweak(&tweak).map_err(|_| error(PegError::Tweak(public.to_string())))?;
            (key, witness_script)
        }
        CoinKind::Federation { witness_script, .. } => (*peg_key, witness_script),
        CoinKind::Treasury => return Err(SigningError::NotOurKey(coin.outpoint)),
    };
    let named = keys_of(witness_script).is_some_and(|keys| keys.contains(&key.public_key(SECP256K1)));
    let signature = SECP256K1.sign_ecdsa_low_r(message, &key);
    key.non_secure_erase();
    if !named {
        return Err(SigningError::NotOurKey(coin.outpoint));
    }
    Ok(bitcoin::ecdsa::Signature { signature, sighash_type: EcdsaSighashType::All }.to_vec())
}

/// Verifies the signatures of the member with this peg key, one entry per input. For an output of the treasury the entry may
/// be empty: the member leaves it to the FROST key.
///
/// # Errors
/// [`SigningError`], naming the input.
pub fn verify_batch_signatures(
    treasury: &Treasury,
    peg_key: &PublicKey,
    transaction: &Transaction,
    coins: &[TreasuryCoin],
    signatures: &[Vec<u8>],
) -> Result<(), SigningError> {
    let hashes = hashes(treasury, transaction, coins)?;
    if signatures.len() != hashes.len() {
        return Err(SigningError::Count { inputs: hashes.len(), found: signatures.len() });
    }
    for (input, ((hash, coin), bytes)) in hashes.iter().zip(coins).zip(signatures).enumerate() {
        let bad = SigningError::BadSignature(input);
        match hash {
            SigningHash::Ecdsa(message) => {
                let key = tweaked(peg_key, coin)?;
                let signature = parse_signature(bytes).ok_or(bad.clone())?;
                SECP256K1.verify_ecdsa(message, &signature, &key).map_err(|_| bad)?;
            }
            SigningHash::Schnorr(_) if bytes.is_empty() => {}
            SigningHash::Schnorr(message) => {
                let signature = schnorr::Signature::from_slice(bytes).map_err(|_| bad.clone())?;
                let (key, _) = peg_key.x_only_public_key();
                SECP256K1.verify_schnorr(&signature, message, &key).map_err(|_| bad)?;
            }
        }
    }
    Ok(())
}

/// Puts the transaction together: the signatures of members with their own keys, and those of the FROST key by the outpoint
/// they spend. Every signature is verified here; members with a wrong one are passed over. `None` while an input has neither.
pub fn finalize_batch(
    treasury: &Treasury,
    transaction: &Transaction,
    coins: &[TreasuryCoin],
    signatures: &BTreeMap<MemberIndex, Vec<Vec<u8>>>,
    key_spends: &BTreeMap<OutPoint, schnorr::Signature>,
) -> Option<Transaction> {
    let good: BTreeMap<MemberIndex, &Vec<Vec<u8>>> = signatures
        .iter()
        .filter(|(member, signatures)| {
            let key = treasury.peg_keys.get(member.position());
            key.is_some_and(|key| verify_batch_signatures(treasury, key, transaction, coins, signatures).is_ok())
        })
        .map(|(member, signatures)| (*member, signatures))
        .collect();
    let outputs = KeySpends::of(transaction, coins).ok()?;
    let mut signed = transaction.clone();
    for (position, (input, coin)) in signed.input.iter_mut().zip(coins).enumerate() {
        // Members come in the order of the roster, which is the order of the keys.
        let given = good.iter().filter_map(|(member, signatures)| {
            let signature = signatures.get(position).filter(|signature| !signature.is_empty())?;
            Some((*member, signature.as_slice()))
        });
        let given: BTreeMap<MemberIndex, &[u8]> = given.take(treasury.threshold).collect();
        let enough = given.len() == treasury.threshold;
        input.witness = match &coin.kind {
            CoinKind::Deposit { witness_script, .. } | CoinKind::Federation { witness_script, .. } if enough => {
                multisig_witness(witness_script, &given.into_values().collect::<Vec<_>>())
            }
            CoinKind::Deposit { .. } | CoinKind::Federation { .. } => return None,
            CoinKind::Treasury => {
                let by_key = key_spends
                    .get(&coin.outpoint)
                    .filter(|signature| outputs.verify(treasury, &coin.outpoint, signature));
                match by_key {
                    Some(signature) => key_witness(&signature.serialize()),
                    None if enough => {
                        let members = (0..treasury.peg_keys.len()).filter_map(|member| u16::try_from(member).ok());
                        let all: Vec<&[u8]> =
                            members.map(|member| given.get(&MemberIndex(member)).copied().unwrap_or(&[])).collect();
                        members_witness(treasury.output(), &all)
                    }
                    None => return None,
                }
            }
        };
    }
    Some(signed)
}

/// What a batch asks of the FROST key: for every output of the treasury that it spends, what the signature covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySpends {
    /// The batch.
    pub(super) batch: bitcoin::Txid,
    /// What is spent, in the order of the inputs, and the hash to sign (BIP 341, `SIGHASH_DEFAULT`).
    pub(super) messages: Vec<(OutPoint, [u8; 32])>,
}

impl KeySpends {
    /// What this batch asks of the FROST key. The coins are those of its inputs, in order.
    ///
    /// # Errors
    /// [`SigningError`] if they are not.
    pub fn of(transaction: &Transaction, coins: &[TreasuryCoin]) -> Result<Self, SigningError> {
        check_coins(transaction, coins)?;
        let spent: Vec<TxOut> = coins.iter().map(TreasuryCoin::txout).collect();
        let mut cache = SighashCache::new(transaction);
        let mut messages = Vec::new();
        for (input, coin) in coins.iter().enumerate().filter(|(_, coin)| coin.kind == CoinKind::Treasury) {
            let hash = cache
                .taproot_key_spend_signature_hash(input, &Prevouts::All(&spent), TapSighashType::Default)
                .map_err(|_| SigningError::Count { inputs: coins.len(), found: input })?;
            messages.push((coin.outpoint, hash.to_byte_array()));
        }
        Ok(Self { batch: transaction.compute_txid(), messages })
    }

    /// The batch.
    pub fn batch(&self) -> bitcoin::Txid {
        self.batch
    }

    /// The coins, in the order of the inputs.
    pub fn coins(&self) -> impl Iterator<Item = OutPoint> + '_ {
        self.messages.iter().map(|(coin, _)| *coin)
    }

    /// How many signatures it asks for.
    pub fn count(&self) -> usize {
        self.messages.len()
    }

    /// Whether this is the FROST key's signature for the spend of a coin.
    pub fn verify(&self, treasury: &Treasury, coin: &OutPoint, signature: &schnorr::Signature) -> bool {
        self.messages.iter().any(|(outpoint, message)| {
            let message = Message::from_digest(*message);
            outpoint == coin && SECP256K1.verify_schnorr(signature, &message, &treasury.output().output_key()).is_ok()
        })
    }
}

fn check_coins(transaction: &Transaction, coins: &[TreasuryCoin]) -> Result<(), SigningError> {
    let inputs = transaction.input.len();
    if coins.len() != inputs {
        return Err(SigningError::Count { inputs, found: coins.len() });
    }
    for (input, (txin, coin)) in transaction.input.iter().zip(coins).enumerate() {
        if txin.previous_output != coin.outpoint {
            return Err(SigningError::WrongCoin { input, spent: txin.previous_output, coin: coin.outpoint });
        }
    }
    Ok(())
}

/// What members sign with their own keys.
fn hashes(
    treasury: &Treasury,
    transaction: &Transaction,
    coins: &[TreasuryCoin],
) -> Result<Vec<SigningHash>, SigningError> {
    check_coins(transaction, coins)?;
    let spent: Vec<TxOut> = coins.iter().map(TreasuryCoin::txout).collect();
    let leaf = treasury.output().members_leaf().hash();
    let mut cache = SighashCache::new(transaction);
    let hash = |(input, coin): (usize, &TreasuryCoin)| {
        let hash = match &coin.kind {
            CoinKind::Deposit { witness_script, .. } | CoinKind::Federation { witness_script, .. } => {
                ecdsa_hash(&mut cache, input, witness_script, coin.amount_sat)
            }
            CoinKind::Treasury => leaf_hash(&mut cache, input, &spent, leaf),
        };
        hash.ok_or(SigningError::Count { inputs: coins.len(), found: input })
    };
    coins.iter().enumerate().map(hash).collect()
}

fn ecdsa_hash(
    cache: &mut SighashCache<&Transaction>,
    input: usize,
    script: &ScriptBuf,
    amount_sat: u64,
) -> Option<SigningHash> {
    let amount = Amount::from_sat(amount_sat);
    let hash = cache.p2wsh_signature_hash(input, script, amount, EcdsaSighashType::All).ok()?;
    Some(SigningHash::Ecdsa(Message::from_digest(hash.to_byte_array())))
}

fn leaf_hash(
    cache: &mut SighashCache<&Transaction>,
    input: usize,
    spent: &[TxOut],
    leaf: TapLeafHash,
) -> Option<SigningHash> {
    let hash =
        cache.taproot_script_spend_signature_hash(input, &Prevouts::All(spent), leaf, TapSighashType::Default).ok()?;
    Some(SigningHash::Schnorr(Message::from_digest(hash.to_byte_array())))
}

/// The public key that signs for a deposit or another coin.
fn tweaked(peg_key: &PublicKey, coin: &TreasuryCoin) -> Result<PublicKey, SigningError> {
    let CoinKind::Deposit { claim_script, .. } = &coin.kind else { return Ok(*peg_key) };
    let error = |error| SigningError::Tweak { coin: coin.outpoint, error };
    let tweak = tweak_scalar(peg_key, claim_script).map_err(error)?;
    peg_key.add_exp_tweak(SECP256K1, &tweak).map_err(|_| error(PegError::Tweak(peg_key.to_string())))
}

fn keys_of(witness_script: &ScriptBuf) -> Option<Vec<PublicKey>> {
    Some(Multisig::parse(&elements::Script::from(witness_script.to_bytes()))?.keys)
}
