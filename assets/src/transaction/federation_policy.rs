//! What members take into their mempools and sign, where that is less than what Elements accepts.
//!
//! These are no rules of the chain: a transaction in a final block is judged by [`super::verify_transaction`] alone.

use super::{TxError, issuance};
use crate::chain::ChainParams;
use crate::peg::{PegError, has_parent_witness, parse_pegout_script};
use crate::primitives::Transaction;

/// Checks what the federation asks of a transaction beyond the rules of the chain.
///
/// * A peg-out to our parent chain is of the pegged asset, and explicit. Elements takes any other for a burn; but whoever
///   makes it expects bitcoin and would get nothing.
/// * No bytes that nothing needs and that anybody can change: a peg-in witness where there is no peg-in, a range proof of
///   an issuance that is not there, the witness of a parent transaction.
/// * Nothing that the `elements` crate cannot read, and with it most wallets: a nonce that is no point, for one.
///
/// # Errors
/// The first thing found that members do not sign.
pub fn check_federation_policy(params: &ChainParams, transaction: &Transaction) -> Result<(), TxError> {
    for (vin, input) in transaction.input.iter().enumerate() {
        issuance::check_no_idle_proofs(vin, input)?;
        let witness = &input.witness.pegin_witness;
        if !input.is_pegin && !witness.is_empty() {
            return Err(TxError::SuperfluousPeginWitness { vin });
        }
        if has_parent_witness(witness) {
            return Err(TxError::Pegin { vin, source: PegError::TransactionWitness });
        }
    }
    check_pegouts(params, transaction)?;
    elements::Transaction::try_from(transaction).map(drop).map_err(TxError::Unreadable)
}

/// Refuses peg-outs that would pay nobody.
fn check_pegouts(params: &ChainParams, transaction: &Transaction) -> Result<(), TxError> {
    let pegged = params.pegged_asset();
    for (vout, output) in transaction.output.iter().enumerate() {
        // A peg-out whatever its asset and value; one to another parent chain is a burn like any other.
        match parse_pegout_script(&output.script_pubkey) {
            Some((genesis, _)) if genesis == params.parent_genesis() => {}
            _ => continue,
        }
        match (output.asset.explicit(), output.value.explicit()) {
            (Some(asset), _) if asset != pegged => return Err(TxError::PegoutOfWrongAsset { vout, asset }),
            (Some(_), Some(_)) => {}
            _ => return Err(TxError::BlindedPegout { vout }),
        }
    }
    Ok(())
}
