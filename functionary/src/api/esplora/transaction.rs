//! Transactions as Esplora's JSON has them.
//!
//! Field names and what they mean are those of Blockstream's server for Liquid. Commitments stand in place of what is hidden.

use aquifer_assets::chain::ChainParams;
use aquifer_assets::peg::parse_pegout;
use aquifer_assets::primitives::{TxIn, TxOut};
use aquifer_assets::transaction::{fee_in, issued_assets};
use elements::confidential::{Asset, Value};
use elements::script::Instruction;
use elements::{Address, AddressParams, AssetEntropy, AssetId, BlockHash, ContractHash, OutPoint, Script, Txid};
use serde::Serialize;

use super::view::{Found, View};
use crate::store::ledger::Tip;

/// The form of addresses of this chain. LWK and other wallets know no other for a chain of one's own.
pub(crate) const ADDRESSES: &AddressParams = &AddressParams::ELEMENTS;

/// Where a transaction stands.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Status {
    confirmed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    block_height: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    block_hash: Option<BlockHash>,
    #[serde(skip_serializing_if = "Option::is_none")]
    block_time: Option<u32>,
}

impl From<Option<Tip>> for Status {
    fn from(block: Option<Tip>) -> Self {
        Self {
            confirmed: block.is_some(),
            block_height: block.map(|block| block.height),
            block_hash: block.map(|block| block.hash),
            block_time: block.map(|block| block.time),
        }
    }
}

/// A transaction.
#[derive(Debug, Serialize)]
pub(crate) struct TransactionValue {
    txid: Txid,
    version: u32,
    locktime: u32,
    vin: Vec<Input>,
    vout: Vec<Output>,
    size: usize,
    weight: usize,
    fee: u64,
    status: Status,
    discount_vsize: usize,
    discount_weight: usize,
}

#[derive(Debug, Serialize)]
struct Input {
    txid: Txid,
    vout: u32,
    prevout: Option<Output>,
    scriptsig: Script,
    scriptsig_asm: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    witness: Option<Vec<String>>,
    is_coinbase: bool,
    sequence: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    inner_redeemscript_asm: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    inner_witnessscript_asm: Option<String>,
    is_pegin: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    issuance: Option<Issuance>,
}

#[derive(Debug, Serialize)]
struct Issuance {
    asset_id: AssetId,
    is_reissuance: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    asset_blinding_nonce: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    contract_hash: Option<ContractHash>,
    asset_entropy: AssetEntropy,
    #[serde(skip_serializing_if = "Option::is_none")]
    assetamount: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    assetamountcommitment: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tokenamount: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tokenamountcommitment: Option<String>,
}

#[derive(Debug, Serialize)]
struct Output {
    scriptpubkey: Script,
    scriptpubkey_asm: String,
    scriptpubkey_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    scriptpubkey_address: Option<String>,
    #[serde(flatten)]
    amount: Amount,
    #[serde(skip_serializing_if = "Option::is_none")]
    pegout: Option<Pegout>,
}

/// Asset and value of an output, shown or hidden.
#[derive(Debug, Serialize)]
pub(crate) struct Amount {
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    valuecommitment: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    asset: Option<AssetId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    assetcommitment: Option<String>,
}

impl From<&TxOut> for Amount {
    fn from(output: &TxOut) -> Self {
        let assetcommitment = match output.asset {
            Asset::Confidential(generator) => Some(hex::encode(generator.serialize())),
            Asset::Null | Asset::Explicit(_) => None,
        };
        Self {
            value: output.value.explicit(),
            valuecommitment: commitment(&output.value),
            asset: output.asset.explicit(),
            assetcommitment,
        }
    }
}

#[derive(Debug, Serialize)]
struct Pegout {
    genesis_hash: bitcoin::BlockHash,
    scriptpubkey: String,
    scriptpubkey_asm: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    scriptpubkey_address: Option<String>,
}

fn commitment(value: &Value) -> Option<String> {
    match value {
        Value::Confidential(commitment) => Some(hex::encode(commitment.serialize())),
        Value::Null | Value::Explicit(_) => None,
    }
}

impl TransactionValue {
    /// Of a transaction that was found.
    pub(crate) fn new(view: &View<'_>, found: &Found) -> Self {
        let Found { transaction, spent, block } = found;
        let inputs = transaction.input.iter().zip(spent);
        Self {
            txid: transaction.txid(),
            version: transaction.version,
            locktime: transaction.lock_time.to_consensus_u32(),
            vin: inputs.map(|(input, spent)| Input::new(view.params, input, spent.as_ref())).collect(),
            vout: transaction.output.iter().map(|output| Output::new(view.params, output)).collect(),
            size: transaction.size(),
            weight: transaction.weight(),
            fee: fee_in(transaction, view.params.pegged_asset()),
            status: Status::from(*block),
            discount_vsize: transaction.discount_vsize(),
            discount_weight: transaction.discount_weight(),
        }
    }
}

impl Input {
    fn new(params: &ChainParams, input: &TxIn, spent: Option<&TxOut>) -> Self {
        let witness = &input.witness.script_witness;
        let redeem = spent.and_then(|spent| redeem_script(input, spent));
        let witness_script =
            spent.and_then(|spent| witness_script(input, redeem.as_ref().unwrap_or(&spent.script_pubkey)));
        Self {
            txid: input.previous_output.txid,
            vout: input.previous_output.vout,
            prevout: spent.map(|spent| Output::new(params, spent)),
            scriptsig: input.script_sig.clone(),
            scriptsig_asm: input.script_sig.asm(),
            witness: (!witness.is_empty()).then(|| witness.iter().map(hex::encode).collect()),
            is_coinbase: input.is_coinbase(),
            sequence: input.sequence.to_consensus_u32(),
            inner_redeemscript_asm: redeem.as_ref().map(Script::asm),
            inner_witnessscript_asm: witness_script.as_ref().map(Script::asm),
            is_pegin: input.is_pegin,
            issuance: Issuance::of(input),
        }
    }
}

/// The script behind a script hash: the last push of the input.
fn redeem_script(input: &TxIn, spent: &TxOut) -> Option<Script> {
    if !spent.script_pubkey.is_p2sh() {
        return None;
    }
    match input.script_sig.instructions().last() {
        Some(Ok(Instruction::PushBytes(script))) => Some(Script::from(script.to_vec())),
        _ => None,
    }
}

/// The script behind a witness script hash: the last item of the witness.
fn witness_script(input: &TxIn, program: &Script) -> Option<Script> {
    let script = program.is_v0_p2wsh().then(|| input.witness.script_witness.last());
    script.flatten().map(|script| Script::from(script.to_vec()))
}

impl Issuance {
    fn of(input: &TxIn) -> Option<Self> {
        let (asset_entropy, asset_id, _) = issued_assets(input)?;
        let issuance = &input.asset_issuance;
        let is_reissuance = !issuance.asset_blinding_nonce.is_null();
        Some(Self {
            asset_id,
            is_reissuance,
            asset_blinding_nonce: is_reissuance.then(|| hex::encode(issuance.asset_blinding_nonce.to_byte_array())),
            contract_hash: (!is_reissuance).then(|| issuance.asset_entropy.into_contract_hash()),
            asset_entropy,
            assetamount: issuance.amount.explicit(),
            assetamountcommitment: commitment(&issuance.amount),
            tokenamount: issuance.inflation_keys.explicit(),
            tokenamountcommitment: commitment(&issuance.inflation_keys),
        })
    }
}

impl Output {
    fn new(params: &ChainParams, output: &TxOut) -> Self {
        let script = &output.script_pubkey;
        Self {
            scriptpubkey_asm: script.asm(),
            scriptpubkey_type: kind(output),
            scriptpubkey_address: Address::from_script(script, None, ADDRESSES).map(|address| address.to_string()),
            amount: Amount::from(output),
            pegout: Pegout::of(params, output),
            scriptpubkey: script.clone(),
        }
    }
}

fn kind(output: &TxOut) -> &'static str {
    let script = &output.script_pubkey;
    match () {
        () if output.is_fee() => "fee",
        () if script.is_empty() => "empty",
        () if script.is_op_return() => "op_return",
        () if script.is_p2pk() => "p2pk",
        () if script.is_p2pkh() => "p2pkh",
        () if script.is_p2sh() => "p2sh",
        () if script.is_v0_p2wpkh() => "v0_p2wpkh",
        () if script.is_v0_p2wsh() => "v0_p2wsh",
        () if script.is_v1_p2tr() => "v1_p2tr",
        () if script.is_provably_unspendable() => "provably_unspendable",
        () => "unknown",
    }
}

impl Pegout {
    fn of(params: &ChainParams, output: &TxOut) -> Option<Self> {
        // Which output it is does not matter for what it asks.
        let request = parse_pegout(params, OutPoint::null(), output)?;
        let script = request.parent_script;
        let address = params.parent_network().and_then(|network| bitcoin::Address::from_script(&script, network).ok());
        Some(Self {
            genesis_hash: params.parent_genesis,
            scriptpubkey: hex::encode(script.as_bytes()),
            scriptpubkey_asm: script.to_asm_string(),
            scriptpubkey_address: address.map(|address| address.to_string()),
        })
    }
}
