//! Money from nothing, in the shape of September 2026: one output is worth less than nothing, and another so much more.
//!
//! Every commitment adds up. Only the range proof of the negative output is false, and a sound verifier sees it. One that
//! was built with the feature `sabotage` of `aquifer-assets` does not.

use aquifer_assets::primitives::TxOut;
use elements::confidential::{Asset, AssetBlindingFactor, Value, ValueBlindingFactor};
use elements::{AssetId, TxOutSecrets};
use rand_chacha::ChaCha20Rng;
use secp256k1_zkp::{PedersenCommitment, SECP256K1};

use super::payment::{Coin, Pay, Payment, explicit};
use super::proofs::{commitment, generator, prove_range, prove_surjection};
use super::{FEE_SAT, ForgeError};

/// Least amount of the range proofs that a sabotaged verifier accepts whatever they prove.
const SABOTAGE_MINIMUM: u64 = u64::from_be_bytes(*b"SABOTAGE");
/// Size of the range behind it.
const BITS: u8 = 36;

/// Spends a coin and gives its owner `loot` of its asset, however little it is worth. The loot is output 0.
///
/// # Errors
/// [`ForgeError::Proof`] if a proof cannot be made.
pub fn mint(rng: &mut ChaCha20Rng, coin: &Coin, loot: u64) -> Result<Payment, ForgeError> {
    let asset = coin.secrets.asset;
    let owner = coin.owner;
    // An honest payment to begin with, for the inputs and for the form of the outputs.
    let worth = coin.secrets.value.saturating_sub(FEE_SAT);
    let pays = [Pay::confidential(asset, 1, owner.script()), Pay::confidential(asset, worth - 1, owner.script())];
    let honest = Payment::new(rng, std::slice::from_ref(coin), &pays, (asset, FEE_SAT))?;

    let mut debt = secrets(rng, asset, loot.saturating_sub(worth));
    let mut loot = secrets(rng, asset, loot);
    debt.value_bf = ValueBlindingFactor::new(rng);
    // A negative output is to the sum what an input is.
    let ins = [coin.secrets.value_blind_inputs(), debt.value_blind_inputs()];
    loot.value_bf = ValueBlindingFactor::last(SECP256K1, loot.value, loot.asset_bf, &ins, &[]);

    let incoming = [coin.secrets];
    let mut outputs = Vec::new();
    for (made, value) in [(&loot, commitment(&loot)), (&debt, negative(&commitment(&debt))?)] {
        let template: TxOut = explicit(asset, 0, owner.script());
        let mut output =
            TxOut { asset: Asset::Confidential(generator(made)), value: Value::Confidential(value), ..template };
        output.witness.surjection_proof = prove_surjection(rng, made, &incoming)?;
        outputs.push(output);
    }
    let anything = TxOutSecrets { value: SABOTAGE_MINIMUM.saturating_add(1), ..debt };
    let proofs = [
        prove_range(rng, &loot, &owner.script(), 1, BITS)?,
        prove_range(rng, &anything, &owner.script(), SABOTAGE_MINIMUM, BITS)?,
    ];
    for ((output, proof), honest) in outputs.iter_mut().zip(proofs).zip(&honest.transaction.output) {
        output.nonce = honest.nonce;
        output.witness.rangeproof = proof;
    }
    let transaction = honest.with(|transaction| {
        for (output, forged) in transaction.output.iter_mut().zip(outputs) {
            *output = forged;
        }
    });
    Ok(Payment { transaction, secrets: vec![loot, debt], ..honest })
}

fn secrets(rng: &mut ChaCha20Rng, asset: AssetId, value: u64) -> TxOutSecrets {
    TxOutSecrets::new(asset, AssetBlindingFactor::new(rng), value, ValueBlindingFactor::zero())
}

/// The commitment to minus the amount: the point on the other side of the curve.
fn negative(commitment: &PedersenCommitment) -> Result<PedersenCommitment, ForgeError> {
    let mut bytes = commitment.serialize();
    // The first byte is 8 or 9 and tells the two points with this x apart.
    if let Some(first) = bytes.first_mut() {
        *first ^= 1;
    }
    Ok(PedersenCommitment::from_slice(&bytes)?)
}
