//! Peg-outs must be authorized, if the chain asks for it (`enforce_pak`).

use super::{TxContext, TxError};
use crate::peg::{PakList, check_authorized};
use crate::primitives::Transaction;
use crate::state::ChainView;

/// Checks every peg-out against the list in the extension space in force.
pub(super) fn check(ctx: &TxContext<'_>, transaction: &Transaction, view: &dyn ChainView) -> Result<(), TxError> {
    // Whatever is a peg-out is unspendable.
    if !ctx.params.enforce_pak || !transaction.output.iter().any(|output| output.script_pubkey.is_op_return()) {
        return Ok(());
    }
    let federation = view.federation(ctx.params, ctx.height)?;
    let list = PakList::parse(&federation.current().extension_space);
    for (vout, output) in transaction.output.iter().enumerate() {
        check_authorized(ctx.params, list.as_ref(), output)
            .map_err(|source| TxError::UnauthorizedPegout { vout, source })?;
    }
    Ok(())
}
