//! What a transaction spends: outputs of the ledger, and deposits of the parent chain.

use elements::confidential::{Asset, Value};

use super::{MAX_MONEY, TxContext, TxError};
use crate::peg::check_pegin;
use crate::primitives::{Nonce, Transaction, TxOut, TxOutWitness};
use crate::state::{ChainView, Coin, PeginClaim};

/// Blocks until an output of a coinbase may be spent.
pub const COINBASE_MATURITY_BLOCKS: u32 = 100;

/// Where the value of an input comes from.
#[derive(Clone, Debug)]
pub(super) enum Source {
    /// An unspent output of the ledger.
    Coin(Coin),
    /// A deposit on the parent chain.
    Pegin(PeginClaim),
}

/// The inputs of a transaction, resolved.
#[derive(Clone, Debug)]
pub(super) struct Inputs {
    pub(super) sources: Vec<Source>,
    /// The outputs that are spent, in the order of the inputs; for a peg-in one of the pegged asset with the claimed
    /// amount and the claim script.
    pub(super) spent: Vec<TxOut>,
}

/// Looks the inputs up.
///
/// That a transaction claims one deposit only once needs no check here: two inputs with one outpoint are refused
/// before.
pub(super) fn resolve(ctx: &TxContext<'_>, transaction: &Transaction, view: &dyn ChainView) -> Result<Inputs, TxError> {
    let mut inputs = Inputs { sources: Vec::new(), spent: Vec::new() };
    for (vin, input) in transaction.input.iter().enumerate() {
        let (source, spent) = if input.is_pegin {
            let federation = view.federation(ctx.params, ctx.height)?;
            let claim = check_pegin(ctx.params, &federation, transaction, vin)
                .map_err(|source| TxError::Pegin { vin, source })?;
            if view.is_claimed(&claim.deposit)? {
                return Err(TxError::AlreadyClaimed { vin, deposit: claim.deposit });
            }
            let spent = pegin_output(ctx, &claim);
            (Source::Pegin(claim), spent)
        } else {
            let outpoint = input.previous_output;
            let coin = view.coin(&outpoint)?.ok_or(TxError::MissingInput { vin, outpoint })?;
            if coin.is_coinbase && ctx.height.saturating_sub(coin.height) < COINBASE_MATURITY_BLOCKS {
                return Err(TxError::ImmatureCoinbase { vin, made: coin.height, height: ctx.height });
            }
            let spent = coin.output.clone();
            (Source::Coin(coin), spent)
        };
        check_spent(vin, &spent)?;
        inputs.sources.push(source);
        inputs.spent.push(spent);
    }
    Ok(inputs)
}

/// The output that a peg-in counts as.
pub(super) fn pegin_output(ctx: &TxContext<'_>, claim: &PeginClaim) -> TxOut {
    TxOut {
        asset: Asset::Explicit(ctx.params.pegged_asset()),
        value: Value::Explicit(claim.amount_sat),
        nonce: Nonce::Null,
        script_pubkey: claim.claim_script.clone(),
        witness: TxOutWitness::default(),
    }
}

fn check_spent(vin: usize, spent: &TxOut) -> Result<(), TxError> {
    if spent.asset == Asset::Null {
        return Err(TxError::NullCoin { vin });
    }
    match spent.value {
        Value::Null => Err(TxError::NullCoin { vin }),
        Value::Explicit(value) if !(1..=MAX_MONEY).contains(&value) => Err(TxError::SpentValueRange { vin, value }),
        Value::Explicit(_) | Value::Confidential(_) => Ok(()),
    }
}
