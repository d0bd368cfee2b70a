//! Transactions as `decoderawtransaction` shows them (`core_write.cpp`, `TxToUniv`).

use std::collections::BTreeMap;

use aquifer_assets::block::witness_hash;
use aquifer_assets::chain::ChainParams;
use aquifer_assets::primitives::{Nonce, Transaction, TxIn, TxOut};
use aquifer_assets::transaction::issued_assets;
use elements::confidential::{Asset, Value};
use elements::encode::serialize;

use super::script::{asm, output_script};
use super::{Json, Object};

/// Shortest range proof whose head can be read, in bytes.
const MIN_RANGE_PROOF_LEN: usize = 65;

/// All about a transaction that is in it.
pub(crate) fn transaction_fields(params: &ChainParams, transaction: &Transaction) -> Object {
    let wtxid = transaction.wtxid();
    let mut withash = witness_hash(transaction);
    withash.reverse();
    let mut fees = BTreeMap::<_, u64>::new();
    for output in transaction.output.iter().filter(|output| output.is_fee()) {
        if let (Some(asset), Some(amount)) = (output.asset.explicit(), output.value.explicit()) {
            let sum = fees.entry(asset).or_default();
            *sum = sum.saturating_add(amount);
        }
    }
    let mut fee = Object::new();
    for (asset, amount) in fees {
        fee.set(asset.to_string(), Json::amount(amount));
    }
    let outputs = (0_u32..).zip(&transaction.output);
    Object::new()
        .with("txid", Json::shown(transaction.txid()))
        .with("hash", Json::shown(wtxid))
        .with("wtxid", Json::shown(wtxid))
        .with("withash", Json::hex(withash))
        .with("version", transaction.version)
        .with("size", transaction.size())
        .with("vsize", transaction.vsize())
        .with("weight", transaction.weight())
        .with("discountvsize", transaction.discount_vsize())
        .with("discountweight", transaction.discount_weight())
        .with("locktime", transaction.lock_time.to_consensus_u32())
        .with("vin", transaction.input.iter().map(|input| input_fields(transaction, input).into()).collect::<Json>())
        .with("vout", outputs.map(|(vout, output)| output_fields(params, vout, output).into()).collect::<Json>())
        .with("fee", fee)
}

fn input_fields(transaction: &Transaction, input: &TxIn) -> Object {
    let mut fields = Object::new();
    if transaction.is_coinbase() {
        fields.set("coinbase", Json::hex(input.script_sig.as_bytes()));
    } else {
        let script =
            Object::new().with("asm", asm(&input.script_sig, true)).with("hex", Json::hex(input.script_sig.as_bytes()));
        fields.set("txid", Json::shown(input.previous_output.txid));
        fields.set("vout", input.previous_output.vout);
        fields.set("scriptSig", script);
        fields.set("is_pegin", input.is_pegin);
    }
    fields.set("sequence", input.sequence.0);
    for (name, witness) in
        [("txinwitness", &input.witness.script_witness), ("pegin_witness", &input.witness.pegin_witness)]
    {
        if !witness.is_empty() {
            fields.set(name, witness.iter().map(Json::hex).collect::<Json>());
        }
    }
    if let Some(issuance) = issuance_fields(input) {
        fields.set("issuance", issuance);
    }
    fields
}

fn issuance_fields(input: &TxIn) -> Option<Object> {
    let (entropy, asset, token) = issued_assets(input)?;
    let issuance = &input.asset_issuance;
    let is_reissuance = !issuance.asset_blinding_nonce.is_null();
    let reversed = |mut bytes: [u8; 32]| {
        bytes.reverse();
        Json::hex(bytes)
    };
    let mut fields = Object::new()
        .with("assetBlindingNonce", reversed(issuance.asset_blinding_nonce.to_byte_array()))
        .with("assetEntropy", reversed(entropy.to_byte_array()))
        .with("isreissuance", is_reissuance);
    if !is_reissuance {
        fields.set("token", Json::shown(token));
    }
    fields.set("asset", Json::shown(asset));
    for (name, commitment, value) in [
        ("assetamount", "assetamountcommitment", &issuance.amount),
        ("tokenamount", "tokenamountcommitment", &issuance.inflation_keys),
    ] {
        put_amount(&mut fields, name, commitment, value);
    }
    Some(fields)
}

/// Sets an amount under one name if it is explicit, under another if it is a commitment.
pub(crate) fn put_amount(fields: &mut Object, name: &'static str, commitment_name: &'static str, value: &Value) {
    match value {
        Value::Null => {}
        Value::Explicit(amount) => fields.set(name, Json::wrapping_amount(*amount)),
        Value::Confidential(_) => fields.set(commitment_name, Json::hex(serialize(value))),
    }
}

/// Sets an asset, or the commitment to one.
pub(crate) fn put_asset(fields: &mut Object, asset: &Asset) {
    match asset {
        Asset::Explicit(asset) => fields.set("asset", Json::shown(asset)),
        other => fields.set("assetcommitment", Json::hex(serialize(other))),
    }
}

/// The nonce of an output as on the wire; nothing for none.
fn nonce(nonce: &Nonce) -> Json {
    if nonce.is_null() { "".into() } else { Json::hex(serialize(nonce)) }
}

/// What the head of a range proof tells (`secp256k1_rangeproof_info`).
#[derive(Debug, PartialEq, Eq)]
struct RangeInfo {
    /// Decimal exponent; `None` for a proof of the one amount.
    exponent: Option<u8>,
    /// Bits that are hidden.
    bits: u8,
    least: u64,
    most: u64,
}

fn range_info(proof: &[u8]) -> Option<RangeInfo> {
    let (head, mut rest) = proof.split_first()?;
    if proof.len() < MIN_RANGE_PROOF_LEN || head & 0x80 != 0 {
        return None;
    }
    let (mut exponent, mut bits, mut most) = (None, 0, 0_u64);
    if head & 0x40 != 0 {
        let (mantissa, after) = rest.split_first()?;
        rest = after;
        let power = head & 0x1f;
        bits = mantissa.checked_add(1).filter(|bits| *bits <= 64)?;
        most = u64::MAX.checked_shr(u32::from(64_u8.checked_sub(bits)?)).unwrap_or(0);
        most = most.checked_mul(10_u64.checked_pow(u32::from(power)).filter(|_| power <= 18)?)?;
        exponent = Some(power);
    }
    let least = if head & 0x20 == 0 { 0 } else { u64::from_be_bytes(*rest.first_chunk()?) };
    Some(RangeInfo { exponent, bits, least, most: most.checked_add(least)? })
}

fn output_fields(params: &ChainParams, vout: u32, output: &TxOut) -> Object {
    let mut fields = Object::new();
    if let Some(amount) = output.value.explicit() {
        fields.set("value", Json::wrapping_amount(amount));
    } else {
        if let Some(info) = range_info(output.witness.rangeproof.as_bytes()) {
            match info.exponent {
                None => fields.set("value", Json::wrapping_amount(info.least)),
                Some(_) => {
                    fields.set("value-minimum", Json::wrapping_amount(info.least));
                    fields.set("value-maximum", Json::wrapping_amount(info.most));
                }
            }
            fields.set("ct-exponent", info.exponent.map_or(-1, i32::from));
            fields.set("ct-bits", info.bits);
        }
        let surjection_proof = output.witness.surjection_proof.as_bytes();
        if !surjection_proof.is_empty() {
            fields.set("surjectionproof", Json::hex(surjection_proof));
        }
        fields.set("valuecommitment", Json::hex(serialize(&output.value)));
    }
    put_asset(&mut fields, &output.asset);
    fields.set("commitmentnonce", nonce(&output.nonce));
    fields.set("commitmentnonce_fully_valid", output.nonce.commitment().is_some());
    fields.set("n", vout);
    fields.set("scriptPubKey", output_script(params, &output.script_pubkey, true));
    fields
}

/// An unspent output as `gettxout` shows it, without where it stands.
pub(crate) fn coin_fields(params: &ChainParams, output: &TxOut) -> Object {
    let mut fields = Object::new();
    put_amount(&mut fields, "value", "valuecommitment", &output.value);
    put_asset(&mut fields, &output.asset);
    fields.set("commitmentnonce", nonce(&output.nonce));
    fields.set("scriptPubKey", output_script(params, &output.script_pubkey, true));
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proof(head: &[u8]) -> Vec<u8> {
        let mut proof = head.to_vec();
        proof.resize(100, 7);
        proof
    }

    #[test]
    fn heads_of_range_proofs_are_read() {
        let ordinary = [[0x60, 51].as_slice(), &1_u64.to_be_bytes()].concat();
        let most = (1 << 52) - 1 + 1;
        let expected = RangeInfo { exponent: Some(0), bits: 52, least: 1, most };
        assert_eq!(range_info(&proof(&ordinary)), Some(expected));
        let single = [[0x20].as_slice(), &7_u64.to_be_bytes()].concat();
        assert_eq!(range_info(&proof(&single)), Some(RangeInfo { exponent: None, bits: 0, least: 7, most: 7 }));
        let all = RangeInfo { exponent: Some(0), bits: 64, least: 0, most: u64::MAX };
        assert_eq!(range_info(&proof(&[0x40, 63])), Some(all));
        // Reserved bit, too many bits, too large an exponent, a sum that is too large, too short.
        for wrong in [&[0x80, 0][..], &[0x40, 64], &[0x53, 0], &[0x60, 63, 0, 0, 0, 0, 0, 0, 0, 1]] {
            assert_eq!(range_info(&proof(wrong)), None, "{wrong:?}");
        }
        assert_eq!(range_info(&[0x40; 64]), None);
        assert_eq!(range_info(&[]), None);
    }
}
