//! New assets and reissuances (`issuance.cpp`, `confidential_validation.cpp`).
//!
//! A new asset takes its entropy from the outpoint that its input spends, so it is unique. Who reissues must spend the
//! reissuance token: the input names the blinding of the token it spends, and the generator that this makes must be the
//! asset commitment of the spent output. That is why a token must be blinded to be used.

use elements::confidential::{Asset, Value};
use elements::{AssetEntropy, AssetId, Txid};
use secp256k1_zkp::{Generator, PedersenCommitment};

use super::error::IssuanceLeg;
use super::{MAX_MONEY, TxError};
use crate::primitives::{RangeProof, TxIn, TxOut};
use crate::proof::{RangeStatement, blinded_generator, explicit_commitment, generator};
use crate::state::IssuanceRecord;

/// Amounts are signed 64-bit numbers in Elements.
const MAX_ISSUANCE: u64 = u64::MAX >> 1;

/// One of the two amounts of an issuance, as a pseudo-input.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leg {
    pub(super) leg: IssuanceLeg,
    pub(super) generator: Generator,
    pub(super) commitment: PedersenCommitment,
    /// Whether the amount is blinded, so that it needs a range proof.
    pub(super) blinded: bool,
}

/// The issuance of an input.
#[derive(Clone, Debug)]
pub(super) struct Issuance {
    pub(super) record: IssuanceRecord,
    /// What it adds to the inputs: asset, then token; amounts that are null add nothing.
    pub(super) legs: Vec<Leg>,
}

/// The range proof that belongs to an amount of an issuance. It is bound to no script.
pub(super) fn range_statement<'a>(input: &'a TxIn, leg: &Leg) -> RangeStatement<'a> {
    let proof = match leg.leg {
        IssuanceLeg::Asset => &input.witness.amount_rangeproof,
        IssuanceLeg::Token => &input.witness.inflation_keys_rangeproof,
    };
    RangeStatement { proof, commitment: leg.commitment, generator: leg.generator, script: &[] }
}

/// Reads and checks the issuance of an input, all but its range proofs.
pub(super) fn resolve(
    pegged_asset: AssetId,
    txid: Txid,
    vin: usize,
    input: &TxIn,
    spent: &TxOut,
) -> Result<Option<Issuance>, TxError> {
    let issuance = &input.asset_issuance;
    check_proofs_present(vin, input)?;
    let Some((entropy, asset, token)) = issued_assets(input) else { return Ok(None) };
    let is_new = issuance.asset_blinding_nonce.is_null();
    if !is_new {
        if !issuance.inflation_keys.is_null() {
            return Err(TxError::ReissuanceWithTokens { vin });
        }
        check_token(vin, input, spent, asset, token)?;
    }
    let mut legs = Vec::new();
    legs.extend(leg(pegged_asset, vin, IssuanceLeg::Asset, asset, &issuance.amount)?);
    legs.extend(leg(pegged_asset, vin, IssuanceLeg::Token, token, &issuance.inflation_keys)?);
    let record = IssuanceRecord {
        asset,
        token,
        entropy: entropy.to_byte_array(),
        contract_hash: is_new.then(|| issuance.asset_entropy.to_byte_array()),
        amount: explicit_amount(&issuance.amount),
        token_amount: explicit_amount(&issuance.inflation_keys),
        txid,
        vin: u32::try_from(vin).unwrap_or(u32::MAX),
    };
    Ok(Some(Issuance { record, legs }))
}

/// The token must be spent, blinded by the nonce that the issuance shows.
fn check_token(vin: usize, input: &TxIn, spent: &TxOut, asset: AssetId, token: AssetId) -> Result<(), TxError> {
    let nonce = input.asset_issuance.asset_blinding_nonce.to_byte_array();
    let expected = blinded_generator(token, &nonce).ok_or(TxError::ReissuanceNonce { vin })?;
    match spent.asset {
        Asset::Confidential(found) if found == expected => Ok(()),
        Asset::Confidential(_) => Err(TxError::ReissuanceWithoutToken { vin, asset, token }),
        Asset::Explicit(_) | Asset::Null => Err(TxError::ReissuanceTokenNotBlinded { vin, asset }),
    }
}

fn leg(
    pegged_asset: AssetId,
    vin: usize,
    leg: IssuanceLeg,
    asset: AssetId,
    amount: &Value,
) -> Result<Option<Leg>, TxError> {
    // An explicit asset always has a generator.
    let Some(generator) = generator(&Asset::Explicit(asset)) else { return Ok(None) };
    match *amount {
        Value::Null => Ok(None),
        Value::Explicit(amount) => {
            let out_of_range = TxError::IssuanceAmount { vin, leg, amount };
            let most = if asset == pegged_asset { MAX_MONEY } else { MAX_ISSUANCE };
            let commitment = explicit_commitment(amount, generator).filter(|_| amount <= most).ok_or(out_of_range)?;
            Ok(Some(Leg { leg, generator, commitment, blinded: false }))
        }
        Value::Confidential(commitment) => Ok(Some(Leg { leg, generator, commitment, blinded: true })),
    }
}

/// A blinded amount has a range proof, an explicit one has none. Without an amount Elements does not look: see
/// [`super::check_federation_policy`].
fn check_proofs_present(vin: usize, input: &TxIn) -> Result<(), TxError> {
    for (leg, amount, proof) in proofs(input) {
        match (amount, proof.is_empty()) {
            (Value::Confidential(_), true) => return Err(TxError::MissingIssuanceProof { vin, leg }),
            (Value::Explicit(_), false) => return Err(TxError::SuperfluousIssuanceProof { vin, leg }),
            _ => {}
        }
    }
    Ok(())
}

/// Refuses range proofs of amounts that are not there. They are bytes that nothing needs.
pub(super) fn check_no_idle_proofs(vin: usize, input: &TxIn) -> Result<(), TxError> {
    let idle = |(_, amount, proof): &(IssuanceLeg, &Value, &RangeProof)| amount.is_null() && !proof.is_empty();
    match proofs(input).into_iter().find(idle) {
        Some((leg, ..)) => Err(TxError::SuperfluousIssuanceProof { vin, leg }),
        None => Ok(()),
    }
}

/// Both amounts of an issuance with their range proofs.
fn proofs(input: &TxIn) -> [(IssuanceLeg, &Value, &RangeProof); 2] {
    let issuance = &input.asset_issuance;
    [
        (IssuanceLeg::Asset, &issuance.amount, &input.witness.amount_rangeproof),
        (IssuanceLeg::Token, &issuance.inflation_keys, &input.witness.inflation_keys_rangeproof),
    ]
}

/// The amount if it is not blinded; no amount is 0.
fn explicit_amount(value: &Value) -> Option<u64> {
    match *value {
        Value::Null => Some(0),
        Value::Explicit(amount) => Some(amount),
        Value::Confidential(_) => None,
    }
}

/// Entropy, asset and reissuance token of the issuance in an input, whether or not it is valid; `None` if there is none.
pub fn issued_assets(input: &TxIn) -> Option<(AssetEntropy, AssetId, AssetId)> {
    let issuance = &input.asset_issuance;
    if issuance.is_null() {
        return None;
    }
    let entropy = if issuance.asset_blinding_nonce.is_null() {
        AssetId::generate_asset_entropy(input.previous_output, issuance.asset_entropy.into_contract_hash())
    } else {
        issuance.asset_entropy
    };
    // Blinded and explicit issuances have different tokens; when reissuing, the amount of the reissuance counts.
    let token = AssetId::reissuance_token_from_entropy(entropy, issuance.amount.is_confidential());
    Some((entropy, AssetId::from_entropy(entropy), token))
}
