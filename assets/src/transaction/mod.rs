//! Whether a transaction is valid, and what it changes.
//!
//! [`verify_transaction`] checks every rule that does not need the block around the transaction: structure, inputs, lock
//! times, fees, issuances, balance, proofs and scripts. It reads the ledger through a view and changes nothing; it is a
//! pure function, so the mempool, a voting member and an auditor come to the same verdict. [`verify_transaction_with`]
//! comes to it faster where scripts and proofs of the very same statement were checked before ([`crate::verdicts`]).
//!
//! The rules are those of Elements with dynafed active. What members ask beyond them of the transactions that they sign is
//! in [`check_federation_policy`].
//! Cheap rules come first. Of scripts and proofs, which are checked side by side, the first in the order of the
//! transaction decides which error is reported, so errors are deterministic too. A block has the checks of all its
//! transactions done together.

mod amounts;
mod checks;
mod effects;
mod error;
mod federation_policy;
mod fees;
mod inputs;
mod issuance;
mod locktime;
mod pegouts;
mod structure;

use elements::Txid;

pub use crate::script::sigop_cost;
pub use error::{IssuanceLeg, Outlook, TxError};
pub use federation_policy::check_federation_policy;
pub use fees::{discount_vsize, fee_in};
pub use inputs::COINBASE_MATURITY_BLOCKS;
pub use issuance::issued_assets;
pub(crate) use locktime::is_final;
pub use structure::decode;

use crate::chain::ChainParams;
use crate::primitives::{Transaction, TxOut};
use crate::state::{ChainView, Effects};
use crate::verdicts::{RuleSet, VerdictCache};
pub(crate) use checks::{Statement, verify as verify_statements};

/// Most that an explicit value can be, in satoshi: 21 million coins.
pub const MAX_MONEY: u64 = 2_100_000_000_000_000;

/// Where in the chain a transaction is judged.
#[derive(Clone, Copy, Debug)]
pub struct TxContext<'a> {
    /// The chain.
    pub params: &'a ChainParams,
    /// Height of the block that it would be in.
    pub height: u32,
    /// Median time past of the block before, in seconds since 1970.
    pub median_time_past: u32,
}

/// Checks a transaction against the ledger as `view` shows it, and gives what it changes.
///
/// Every rule is checked, except the depth of a peg-in's deposit, which only a node of the parent chain can tell, and what
/// concerns the block as a whole. Coinbases are refused; they are judged with their block.
///
/// # Errors
/// [`TxError`] with the first rule that is broken.
pub fn verify_transaction(
    ctx: &TxContext<'_>,
    transaction: &Transaction,
    view: &dyn ChainView,
) -> Result<Effects, TxError> {
    verify_transaction_with(ctx, transaction, view, None)
}

/// The same, without looking again at scripts and proofs of a statement that `verdicts` remembers, if there are any.
/// The verdict is no other; a statement that holds is remembered.
///
/// # Errors
/// As [`verify_transaction`].
pub fn verify_transaction_with(
    ctx: &TxContext<'_>,
    transaction: &Transaction,
    view: &dyn ChainView,
    verdicts: Option<&dyn VerdictCache>,
) -> Result<Effects, TxError> {
    let (effects, statement) = examine(ctx, transaction, transaction.txid(), view)?;
    checks::verify(&[statement], verdicts).map_err(|failure| failure.error)?;
    Ok(effects)
}

/// Checks every rule but balance, scripts and proofs, which are left in the statement. Only if that holds too is the
/// transaction valid, and are these its effects.
pub(crate) fn examine<'a>(
    ctx: &TxContext<'_>,
    transaction: &'a Transaction,
    txid: Txid,
    view: &dyn ChainView,
) -> Result<(Effects, Statement<'a>), TxError> {
    structure::check(transaction)?;
    let fees = fees::check(transaction)?;
    pegouts::check(ctx, transaction, view)?;
    let inputs = inputs::resolve(ctx, transaction, view)?;
    locktime::check(ctx, transaction, &inputs.sources, view)?;
    // Once for all inputs, so that the work stays linear in the size of the transaction.
    let pegged_asset = ctx.params.pegged_asset();
    let issuances = transaction
        .input
        .iter()
        .zip(&inputs.spent)
        .enumerate()
        .map(|(vin, (input, spent))| issuance::resolve(pegged_asset, txid, vin, input, spent))
        .collect::<Result<Vec<_>, _>>()?;

    let mut effects = effects::of(ctx, transaction, txid, inputs.sources);
    effects.fees = fees;
    effects.issuances = issuances.iter().flatten().map(|issuance| issuance.record.clone()).collect();
    Ok((effects, Statement { rules: RuleSet::of(ctx.params), transaction, txid, spent: inputs.spent, issuances }))
}

/// The outputs that a checked transaction spends, in the order of its inputs, with the claim script for peg-ins: what
/// [`sigop_cost`] and [`crate::script::standard::check_standard`] ask for. `None` if `effects` are not those of this
/// transaction.
pub fn spent_outputs(ctx: &TxContext<'_>, transaction: &Transaction, effects: &Effects) -> Option<Vec<TxOut>> {
    let mut claims = effects.pegins.iter();
    transaction
        .input
        .iter()
        .map(|input| {
            if input.is_pegin {
                claims.next().map(|claim| inputs::pegin_output(ctx, claim))
            } else {
                effects.spent.get(&input.previous_output).map(|coin| coin.output.clone())
            }
        })
        .collect()
}

#[cfg(test)]
mod ledger_tests;
#[cfg(test)]
mod mutation_tests;
#[cfg(test)]
mod pegin_tests;
#[cfg(test)]
mod proof_tests;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod valid_tests;
#[cfg(test)]
mod verdict_tests;
