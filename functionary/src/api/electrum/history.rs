//! Histories as Electrum has them, and the status that stands for one.

use std::fmt::Write as _;

use elements::Txid;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::rpc::RpcError;
use super::session::Status;
use crate::index::{FinalTx, IndexView, Order, ScriptHash};

/// Longest history that is told. A script with more is no wallet's.
pub(super) const MAX_HISTORY: usize = 20_000;

/// A waiting transaction in a history.
struct Unconfirmed {
    txid: Txid,
    /// -1 if it depends on another one that waits, else 0.
    height: i8,
    fee_sat: u64,
}

fn confirmed(view: &IndexView<'_>, script: &ScriptHash) -> Result<Vec<FinalTx>, RpcError> {
    let history = view.history(script, Order::OldestFirst, None, MAX_HISTORY.saturating_add(1))?;
    if history.len() > MAX_HISTORY {
        return Err(RpcError::bad_request(format!("the history of this script has more than {MAX_HISTORY} entries")));
    }
    Ok(history)
}

/// Those first that depend on nothing that waits, and by id as it is shown: the order of protocol 1.6, which is as good as
/// any for older ones.
fn unconfirmed(view: &IndexView<'_>, script: &ScriptHash) -> Result<Vec<Unconfirmed>, RpcError> {
    let waiting = view.waiting().history(script);
    if waiting.len() > MAX_HISTORY {
        return Err(RpcError::bad_request(format!("more than {MAX_HISTORY} transactions of this script wait")));
    }
    let entry = |waiting: &std::sync::Arc<crate::index::WaitingTx>| Unconfirmed {
        txid: waiting.txid,
        height: if view.waiting().depends_on_waiting(waiting) { -1 } else { 0 },
        fee_sat: waiting.fee_sat,
    };
    let mut entries: Vec<Unconfirmed> = waiting.iter().map(entry).collect();
    entries.sort_unstable_by_key(|entry| {
        let mut shown = entry.txid.to_byte_array();
        shown.reverse();
        (-entry.height, shown)
    });
    Ok(entries)
}

fn unconfirmed_entry(entry: &Unconfirmed) -> Value {
    json!({ "tx_hash": entry.txid.to_string(), "height": entry.height, "fee": entry.fee_sat })
}

/// `blockchain.scripthash.get_history`.
pub(super) fn history(view: &IndexView<'_>, script: &ScriptHash) -> Result<Value, RpcError> {
    let confirmed = confirmed(view, script)?;
    let entry = |entry: &FinalTx| json!({ "tx_hash": entry.txid.to_string(), "height": entry.height });
    let mut entries: Vec<Value> = confirmed.iter().map(entry).collect();
    entries.extend(unconfirmed(view, script)?.iter().map(unconfirmed_entry));
    Ok(Value::Array(entries))
}

/// `blockchain.scripthash.get_mempool`.
pub(super) fn mempool(view: &IndexView<'_>, script: &ScriptHash) -> Result<Value, RpcError> {
    Ok(unconfirmed(view, script)?.iter().map(unconfirmed_entry).collect())
}

/// What a history is summed up by: SHA-256 over `txid:height:` of each entry.
pub(super) fn status(view: &IndexView<'_>, script: &ScriptHash) -> Result<Status, RpcError> {
    let mut text = String::new();
    // Writing to a text does not fail.
    for entry in confirmed(view, script)? {
        let _ = write!(text, "{}:{}:", entry.txid, entry.height);
    }
    for entry in unconfirmed(view, script)? {
        let _ = write!(text, "{}:{}:", entry.txid, entry.height);
    }
    Ok((!text.is_empty()).then(|| hex::encode(Sha256::digest(text))))
}
