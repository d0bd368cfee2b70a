//! What a valid transaction changes.

use elements::{OutPoint, Txid};

use super::TxContext;
use super::inputs::Source;
use crate::peg::parse_pegout;
use crate::primitives::{Transaction, TxOut, TxOutWitness};
use crate::script::is_unspendable;
use crate::state::{Coin, Effects};

/// Everything that a checked transaction changes, but for its issuances and fees.
pub(super) fn of(ctx: &TxContext<'_>, transaction: &Transaction, txid: Txid, sources: Vec<Source>) -> Effects {
    let mut effects = Effects::default();
    for (input, source) in transaction.input.iter().zip(sources) {
        match source {
            Source::Coin(coin) => {
                effects.spent.insert(input.previous_output, coin);
            }
            Source::Pegin(claim) => effects.pegins.push(claim),
        }
    }
    add_outputs(ctx, transaction, txid, &mut effects);
    effects
}

/// Adds what the outputs change: new unspent outputs, peg-outs, burns.
fn add_outputs(ctx: &TxContext<'_>, transaction: &Transaction, txid: Txid, effects: &mut Effects) {
    for (vout, output) in (0u32..).zip(&transaction.output) {
        let outpoint = OutPoint::new(txid, vout);
        if !is_unspendable(&output.script_pubkey) {
            let output = without_proofs(output);
            effects.created.insert(outpoint, Coin { output, height: ctx.height, is_coinbase: false });
        } else if output.is_fee() {
            continue;
        } else if let Some(request) = parse_pegout(ctx.params, outpoint, output) {
            effects.pegouts.push(request);
        } else if let (Some(asset), Some(value @ 1..)) = (output.asset.explicit(), output.value.explicit()) {
            let burned = effects.burned.entry(asset).or_default();
            *burned = burned.saturating_add(value);
        }
    }
}

/// An output as the ledger keeps it; its proofs are not even copied.
fn without_proofs(output: &TxOut) -> TxOut {
    TxOut {
        asset: output.asset,
        value: output.value,
        nonce: output.nonce,
        script_pubkey: output.script_pubkey.clone(),
        witness: TxOutWitness::default(),
    }
}
