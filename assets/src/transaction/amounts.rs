//! Amounts: nothing is made from nothing, and nothing is of an asset that did not go in.
//!
//! The balance is checked at once. Range proofs and surjection proofs, which take a thousand times as long, are only
//! collected here; their checks do not depend on each other and run side by side.

use elements::confidential::{Asset, Value};
use secp256k1_zkp::{Generator, PedersenCommitment};

use super::TxError;
use super::error::IssuanceLeg;
use super::issuance::{Issuance, range_statement};
use crate::primitives::{SurjectionProof, Transaction, TxOut};
use crate::proof::{RangeStatement, SurjectionStatement, Tally, explicit_commitment, generator};
use crate::script::is_unspendable;

/// A proof to check, and where it stands.
#[derive(Clone, Debug)]
pub(super) enum ProofCheck<'a> {
    IssuanceRange {
        vin: usize,
        leg: IssuanceLeg,
        statement: RangeStatement<'a>,
    },
    Range {
        vout: usize,
        may_be_zero: bool,
        statement: RangeStatement<'a>,
    },
    /// Its targets are those of the whole transaction.
    Surjection {
        vout: usize,
        proof: &'a SurjectionProof,
        asset: Generator,
    },
}

impl ProofCheck<'_> {
    /// Checks the proof; `targets` are those of [`Incoming`].
    pub(super) fn run(&self, targets: &[Generator]) -> Result<(), TxError> {
        match *self {
            // The minimum does not matter: an issuance is bound to the empty script, which nobody can spend.
            Self::IssuanceRange { vin, leg, ref statement } => {
                statement.verify().map(drop).map_err(|_| TxError::IssuanceRangeProof { vin, leg })
            }
            // An output of no tokens must not exist, or one could reissue without owning a token.
            Self::Range { vout, may_be_zero, ref statement } => match statement.verify() {
                Ok(0) if !may_be_zero => Err(TxError::RangeMinimum { vout }),
                Ok(_) => Ok(()),
                Err(_) => Err(TxError::RangeProof { vout }),
            },
            Self::Surjection { vout, proof, asset } => {
                let statement = SurjectionStatement { proof, asset, targets };
                statement.verify().map_err(|source| TxError::SurjectionProof { vout, source })
            }
        }
    }
}

/// What goes into a transaction: the tally's left side, and the targets of surjection proofs, in their order.
pub(super) struct Incoming {
    tally: Tally,
    pub(super) targets: Vec<Generator>,
}

/// Adds up what goes in: for each input the spent output, then the asset and the token that it issues.
pub(super) fn incoming(spent: &[TxOut], issuances: &[Option<Issuance>]) -> Result<Incoming, TxError> {
    let mut incoming = Incoming { tally: Tally::default(), targets: Vec::new() };
    for (vin, (spent, issuance)) in spent.iter().zip(issuances).enumerate() {
        let generator = generator(&spent.asset).ok_or(TxError::NullCoin { vin })?;
        // Zero was refused when the input was looked up.
        let commitment = commitment(&spent.value, generator).ok_or(TxError::NullCoin { vin })?;
        incoming.targets.push(generator);
        incoming.tally.add_input(commitment);
        for leg in issuance.iter().flat_map(|issuance| &issuance.legs) {
            incoming.targets.push(leg.generator);
            incoming.tally.add_input(leg.commitment);
        }
    }
    Ok(incoming)
}

/// Checks the balance and that every proof that must be there is there and no other, and gives the proofs to check, in
/// the order in which their errors count.
pub(super) fn check<'a>(
    transaction: &'a Transaction,
    issuances: &[Option<Issuance>],
    incoming: &Incoming,
) -> Result<Vec<ProofCheck<'a>>, TxError> {
    let mut tally = incoming.tally.clone();
    let mut surjections = Vec::new();
    let mut ranges = Vec::new();
    for (vin, (input, issuance)) in transaction.input.iter().zip(issuances).enumerate() {
        for leg in issuance.iter().flat_map(|issuance| &issuance.legs).filter(|leg| leg.blinded) {
            ranges.push(ProofCheck::IssuanceRange { vin, leg: leg.leg, statement: range_statement(input, leg) });
        }
    }
    for (vout, output) in transaction.output.iter().enumerate() {
        let may_be_zero = is_unspendable(&output.script_pubkey);
        let generator = generator(&output.asset).ok_or(TxError::NullAsset { vout })?;
        let range_proof = &output.witness.rangeproof;
        match output.value {
            Value::Null => return Err(TxError::NullValue { vout }),
            Value::Explicit(_) if !range_proof.is_empty() => return Err(TxError::SuperfluousRangeProof { vout }),
            Value::Explicit(0) if !may_be_zero => return Err(TxError::SpendableZero { vout }),
            Value::Confidential(_) if range_proof.is_empty() => return Err(TxError::MissingRangeProof { vout }),
            Value::Explicit(_) => {}
            Value::Confidential(commitment) => {
                let script = output.script_pubkey.as_bytes();
                let statement = RangeStatement { proof: range_proof, commitment, generator, script };
                ranges.push(ProofCheck::Range { vout, may_be_zero, statement });
            }
        }
        if let Some(commitment) = commitment(&output.value, generator) {
            tally.add_output(commitment);
        }
        let proof = &output.witness.surjection_proof;
        match output.asset {
            Asset::Null => return Err(TxError::NullAsset { vout }),
            Asset::Explicit(_) if !proof.is_empty() => return Err(TxError::SuperfluousSurjectionProof { vout }),
            Asset::Confidential(_) if proof.is_empty() => return Err(TxError::MissingSurjectionProof { vout }),
            Asset::Explicit(_) => {}
            Asset::Confidential(asset) => {
                surjections.push(ProofCheck::Surjection { vout, proof, asset });
            }
        }
    }
    if !tally.balances() {
        return Err(TxError::Unbalanced);
    }
    surjections.extend(ranges);
    Ok(surjections)
}

/// The commitment to a value; `None` for an explicit 0, which adds nothing, and for no value.
fn commitment(value: &Value, generator: Generator) -> Option<PedersenCommitment> {
    match *value {
        Value::Null => None,
        Value::Explicit(amount) => explicit_commitment(amount, generator),
        Value::Confidential(commitment) => Some(commitment),
    }
}
