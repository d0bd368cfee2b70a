//! To and from the types of the `elements` crate, which wallets and most libraries use.

use std::mem::size_of;

use elements::encode::{MAX_VEC_SIZE, deserialize, serialize};

use super::{Block, Nonce, RangeProof, SurjectionProof, Transaction, TxIn, TxInWitness, TxOut, TxOutWitness, Witness};

/// What a transaction has that the `elements` crate cannot read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the fields are vin and vout, and what the message says of them")]
pub enum Inexpressible {
    #[error("the nonce of output {vout} is no point of the curve")]
    Nonce { vout: usize },
    #[error("the bytes of the range proof of output {vout} have not the form of one")]
    RangeProof { vout: usize },
    #[error("the bytes of the surjection proof of output {vout} have not the form of one")]
    SurjectionProof { vout: usize },
    #[error("the bytes of a range proof of the issuance in input {vin} have not the form of one")]
    IssuanceRangeProof { vin: usize },
    #[error("the peg-in witness of input {vin} has not the six items of one")]
    PeginWitness { vin: usize },
    #[error("{count} inputs or outputs are too many for it")]
    Count { count: usize },
}

impl From<&elements::Transaction> for Transaction {
    fn from(transaction: &elements::Transaction) -> Self {
        Self {
            version: transaction.version,
            lock_time: transaction.lock_time,
            input: transaction.input.iter().map(TxIn::from).collect(),
            output: transaction.output.iter().map(TxOut::from).collect(),
        }
    }
}

impl From<&elements::TxIn> for TxIn {
    fn from(input: &elements::TxIn) -> Self {
        Self {
            previous_output: input.previous_output,
            is_pegin: input.is_pegin,
            script_sig: input.script_sig.clone(),
            sequence: input.sequence,
            asset_issuance: input.asset_issuance,
            witness: TxInWitness {
                amount_rangeproof: RangeProof::from(&input.witness.amount_rangeproof),
                inflation_keys_rangeproof: RangeProof::from(&input.witness.inflation_keys_rangeproof),
                script_witness: Witness::from(&input.witness.script_witness),
                pegin_witness: Witness::from(&input.witness.pegin_witness),
            },
        }
    }
}

impl From<&elements::TxOut> for TxOut {
    fn from(output: &elements::TxOut) -> Self {
        Self {
            asset: output.asset,
            value: output.value,
            nonce: Nonce::from(output.nonce),
            script_pubkey: output.script_pubkey.clone(),
            witness: TxOutWitness {
                surjection_proof: SurjectionProof::from(&output.witness.surjection_proof),
                rangeproof: RangeProof::from(&output.witness.rangeproof),
            },
        }
    }
}

impl From<elements::confidential::Nonce> for Nonce {
    fn from(nonce: elements::confidential::Nonce) -> Self {
        use elements::confidential::Nonce as Theirs;
        match nonce {
            Theirs::Null => Self::Null,
            Theirs::Explicit(bytes) => Self::Explicit(bytes),
            Theirs::Confidential(key) => Self::from(key),
        }
    }
}

impl From<&elements::RangeProof> for RangeProof {
    fn from(proof: &elements::RangeProof) -> Self {
        Self::from(proof.to_vec())
    }
}

impl From<&elements::SurjectionProof> for SurjectionProof {
    fn from(proof: &elements::SurjectionProof) -> Self {
        Self::from(proof.to_vec())
    }
}

impl From<&elements::Witness> for Witness {
    fn from(witness: &elements::Witness) -> Self {
        Self::from_slice(&witness.iter().collect::<Vec<_>>())
    }
}

impl From<&elements::PeginWitness> for Witness {
    fn from(witness: &elements::PeginWitness) -> Self {
        match witness.data() {
            None => Self::EMPTY,
            Some(data) => Self::from_slice(&[
                data.value.to_le_bytes().as_slice(),
                &data.asset_id.to_byte_array(),
                AsRef::<[u8; 32]>::as_ref(&data.genesis_hash),
                data.claim_script.as_bytes(),
                &data.transaction,
                &data.merkle_proof,
            ]),
        }
    }
}

impl From<&elements::Block> for Block {
    fn from(block: &elements::Block) -> Self {
        Self { header: block.header.clone(), txdata: block.txdata.iter().map(Transaction::from).collect() }
    }
}

impl TryFrom<&Transaction> for elements::Transaction {
    type Error = Inexpressible;

    fn try_from(transaction: &Transaction) -> Result<Self, Inexpressible> {
        check_count::<elements::TxIn>(transaction.input.len())?;
        check_count::<elements::TxOut>(transaction.output.len())?;
        Ok(Self {
            version: transaction.version,
            lock_time: transaction.lock_time,
            input: transaction.input.iter().enumerate().map(their_input).collect::<Result<_, _>>()?,
            output: transaction.output.iter().enumerate().map(their_output).collect::<Result<_, _>>()?,
        })
    }
}

/// Its decoder limits the memory of a list.
fn check_count<T>(count: usize) -> Result<(), Inexpressible> {
    if count.saturating_mul(size_of::<T>()) > MAX_VEC_SIZE { Err(Inexpressible::Count { count }) } else { Ok(()) }
}

fn their_input((vin, input): (usize, &TxIn)) -> Result<elements::TxIn, Inexpressible> {
    let witness = &input.witness;
    let proof = |proof: &RangeProof| their_range_proof(proof).ok_or(Inexpressible::IssuanceRangeProof { vin });
    Ok(elements::TxIn {
        previous_output: input.previous_output,
        is_pegin: input.is_pegin,
        script_sig: input.script_sig.clone(),
        sequence: input.sequence,
        asset_issuance: input.asset_issuance,
        witness: elements::TxInWitness {
            amount_rangeproof: proof(&witness.amount_rangeproof)?,
            inflation_keys_rangeproof: proof(&witness.inflation_keys_rangeproof)?,
            script_witness: elements::Witness::from_slice(&witness.script_witness.iter().collect::<Vec<_>>()),
            pegin_witness: deserialize(&serialize(&witness.pegin_witness))
                .map_err(|_| Inexpressible::PeginWitness { vin })?,
        },
    })
}

fn their_output((vout, output): (usize, &TxOut)) -> Result<elements::TxOut, Inexpressible> {
    use elements::confidential::Nonce as Theirs;
    let nonce = match output.nonce {
        Nonce::Null => Theirs::Null,
        Nonce::Explicit(bytes) => Theirs::Explicit(bytes),
        Nonce::Confidential(..) => {
            output.nonce.commitment().map(Theirs::Confidential).ok_or(Inexpressible::Nonce { vout })?
        }
    };
    let surjection_proof = elements::SurjectionProof::from_slice(output.witness.surjection_proof.as_bytes())
        .map_err(|_| Inexpressible::SurjectionProof { vout })?;
    Ok(elements::TxOut {
        asset: output.asset,
        value: output.value,
        nonce,
        script_pubkey: output.script_pubkey.clone(),
        witness: elements::TxOutWitness {
            surjection_proof,
            rangeproof: their_range_proof(&output.witness.rangeproof).ok_or(Inexpressible::RangeProof { vout })?,
        },
    })
}

fn their_range_proof(proof: &RangeProof) -> Option<elements::RangeProof> {
    elements::RangeProof::from_slice(proof.as_bytes()).ok()
}
