//! How transactions and outputs are shown.

use aquifer_assets::primitives::{Transaction, TxIn, TxOut};
use elements::confidential::{Asset, Value as Amount};
use elements::encode::{Encodable, serialize};
use serde_json::{Map, Value, json};

/// Hexadecimal digits of what Elements serializes.
pub(super) fn hex_of(value: &impl Encodable) -> String {
    hex::encode(serialize(value))
}

/// A fee rate in BTC per 1,000 virtual bytes, as Electrum wants it.
pub(super) fn btc_per_kvb(sat_per_kvb: u64) -> Value {
    // Rates are far below 2^53, so the division is the only rounding.
    let rate = u32::try_from(sat_per_kvb).unwrap_or(u32::MAX);
    json!(f64::from(rate) / 1e8)
}

/// A hash as it is shown, with the bytes reversed.
pub(super) fn reversed(hash: &[u8; 32]) -> String {
    let mut bytes = *hash;
    bytes.reverse();
    hex::encode(bytes)
}

/// An amount in the smallest unit, or the commitment to it.
pub(super) fn amount(value: &Amount) -> Value {
    match value {
        Amount::Explicit(amount) => json!(amount),
        hidden => json!(hex_of(hidden)),
    }
}

/// An asset, or the commitment to it.
pub(super) fn asset(asset: &Asset) -> Value {
    match asset {
        Asset::Explicit(asset) => json!(asset.to_string()),
        hidden => json!(hex_of(hidden)),
    }
}

/// What an output tells its receiver: nothing, or a public key.
pub(super) fn nonce(output: &TxOut) -> Value {
    if output.nonce.is_null() { Value::Null } else { json!(hex_of(&output.nonce)) }
}

/// `blockchain.transaction.get` with `verbose`: what Elements' `getrawtransaction` says of a transaction by itself.
pub(super) fn transaction(transaction: &Transaction) -> Map<String, Value> {
    let fields = json!({
        "txid": transaction.txid().to_string(),
        "hash": transaction.wtxid().to_string(),
        "version": transaction.version,
        "size": transaction.size(),
        "vsize": transaction.vsize(),
        "discountvsize": transaction.discount_vsize(),
        "weight": transaction.weight(),
        "locktime": transaction.lock_time.to_consensus_u32(),
        "vin": transaction.input.iter().map(input).collect::<Vec<_>>(),
        "vout": (0u32..).zip(&transaction.output).map(|(n, output)| shown(n, output)).collect::<Vec<_>>(),
        "hex": hex_of(transaction),
    });
    match fields {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

fn input(input: &TxIn) -> Value {
    let witness: Vec<String> = input.witness.script_witness.iter().map(hex::encode).collect();
    let mut shown = if input.is_coinbase() {
        json!({ "coinbase": hex::encode(input.script_sig.as_bytes()), "sequence": input.sequence.to_consensus_u32() })
    } else {
        json!({
            "txid": input.previous_output.txid.to_string(),
            "vout": input.previous_output.vout,
            "scriptSig": { "hex": hex::encode(input.script_sig.as_bytes()) },
            "is_pegin": input.is_pegin,
            "sequence": input.sequence.to_consensus_u32(),
        })
    };
    if let Value::Object(fields) = &mut shown
        && !witness.is_empty()
    {
        fields.insert("txinwitness".to_owned(), json!(witness));
    }
    shown
}

fn shown(n: u32, output: &TxOut) -> Value {
    let value = if output.value.is_explicit() { "value" } else { "valuecommitment" };
    let of = if output.asset.is_explicit() { "asset" } else { "assetcommitment" };
    json!({
        "n": n,
        // In the smallest unit: how many digits an asset has behind the point is not on the chain.
        value: amount(&output.value),
        of: asset(&output.asset),
        "commitmentnonce": nonce(output),
        "scriptPubKey": { "hex": hex::encode(output.script_pubkey.as_bytes()) },
    })
}
