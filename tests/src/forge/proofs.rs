//! Commitments and proofs from the secrets of an output.

use elements::confidential::Nonce;
use elements::{RangeProofMessage, Script, TxOutSecrets};
use rand_chacha::ChaCha20Rng;
use secp256k1_zkp::{Generator, PedersenCommitment, PublicKey, SECP256K1, SecretKey};

use super::ForgeError;

use aquifer_assets::primitives::{RangeProof, SurjectionProof};

pub(super) fn generator(secrets: &TxOutSecrets) -> Generator {
    Generator::new_blinded(SECP256K1, secrets.asset.into_tag(), secrets.asset_bf.into_inner())
}

/// The commitment to an amount.
pub fn commitment(secrets: &TxOutSecrets) -> PedersenCommitment {
    PedersenCommitment::new(SECP256K1, secrets.value, secrets.value_bf.into_inner(), generator(secrets))
}

/// Proves that the amount lies between `minimum` and about `minimum + 2^bits`, for this output script.
///
/// # Errors
/// If it does not lie there.
pub fn prove_range(
    rng: &mut ChaCha20Rng,
    secrets: &TxOutSecrets,
    script: &Script,
    minimum: u64,
    bits: u8,
) -> Result<RangeProof, ForgeError> {
    range_proof(secrets, script, (minimum, bits), SecretKey::new(rng), &[])
}

/// The same, so that whoever has the blinding key learns the secrets, as wallets do it. The nonce of the output is the public key
/// of `ephemeral`.
pub(super) fn prove_range_to(
    reader: &PublicKey,
    ephemeral: SecretKey,
    secrets: &TxOutSecrets,
    script: &Script,
    range: (u64, u8),
) -> Result<RangeProof, ForgeError> {
    let (_, shared) = Nonce::with_ephemeral_sk(SECP256K1, ephemeral, reader);
    let message = RangeProofMessage::new(secrets.asset, secrets.asset_bf).to_byte_array();
    range_proof(secrets, script, range, shared, &message)
}

fn range_proof(
    secrets: &TxOutSecrets,
    script: &Script,
    (minimum, bits): (u64, u8),
    nonce: SecretKey,
    message: &[u8],
) -> Result<RangeProof, ForgeError> {
    let proof = secp256k1_zkp::RangeProof::new(
        SECP256K1,
        minimum,
        commitment(secrets),
        secrets.value,
        secrets.value_bf.into_inner(),
        message,
        script.as_bytes(),
        nonce,
        0,
        bits,
        generator(secrets),
    )?;
    Ok(proof.serialize().into())
}

/// Proves that the output's asset is one of those that go in.
///
/// # Errors
/// If it is not.
pub fn prove_surjection(
    rng: &mut ChaCha20Rng,
    secrets: &TxOutSecrets,
    incoming: &[TxOutSecrets],
) -> Result<SurjectionProof, ForgeError> {
    let targets: Vec<_> = incoming.iter().map(|secrets| secrets.surjection_inputs(SECP256K1)).collect();
    let proof = elements::SurjectionProof::new(SECP256K1, rng, secrets.asset, secrets.asset_bf, &targets)?;
    Ok(SurjectionProof::from(&proof))
}
