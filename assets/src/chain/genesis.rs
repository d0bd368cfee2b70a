//! The genesis block, and the pegged asset that follows from it.
//!
//! The rules are Elements': the block is made from the parameters and never validated, so a mistake here would show
//! only as a chain that no other implementation recognises. The vectors in the tests were made by other programs.

use elements::encode::serialize;
use elements::hashes::{sha256, sha256d};
use elements::{
    AssetId, AssetIssuance, Block, BlockExtData, BlockHash, BlockHeader, ContractHash, LockTime, OutPoint, Script,
    Sequence, Transaction, TxIn, TxInWitness, TxOut, TxOutWitness, Txid, confidential,
};

use super::{ChainParams, GenesisStyle};
use crate::block::merkle_root;

/// Time of every genesis block of a custom chain, in seconds since 1970 (that of Bitcoin's regtest).
const GENESIS_TIME: u32 = 1_296_688_602;
/// Proof-of-work fields, on the wire only when blocks are unsigned.
const GENESIS_BITS: u32 = 0x207f_ffff;
const GENESIS_NONCE: u32 = 2;
/// Output script of initial coins and tokens: anyone can spend.
const OP_TRUE: u8 = 0x51;
const OP_RETURN: u8 = 0x6a;

/// What the chain is committed to: its name and both scripts, the scripts as lower-case hex *text*.
fn commitment(params: &ChainParams) -> [u8; 32] {
    let text = format!(
        "{}{}{}",
        params.name,
        hex::encode(params.fedpeg_script.as_bytes()),
        hex::encode(params.signblock_script.as_bytes())
    );
    sha256::Hash::hash(text.as_bytes()).to_byte_array()
}

/// The outpoint that the pegged asset is issued from. No such output ever existed.
fn issuance_outpoint(params: &ChainParams) -> OutPoint {
    OutPoint::new(Txid::from_byte_array(commitment(params)), 0)
}

/// The contract hash of the pegged asset is the parent chain's genesis hash.
fn contract_hash(params: &ChainParams) -> ContractHash {
    ContractHash::from_byte_array(bitcoin::hashes::Hash::to_byte_array(params.parent_genesis))
}

pub(super) fn pegged_asset(params: &ChainParams) -> AssetId {
    AssetId::new_issuance(issuance_outpoint(params), contract_hash(params))
}

fn explicit_output(asset: AssetId, amount: u64, script_pubkey: Script) -> TxOut {
    TxOut {
        asset: confidential::Asset::Explicit(asset),
        value: confidential::Value::Explicit(amount),
        nonce: confidential::Nonce::Null,
        script_pubkey,
        witness: TxOutWitness::default(),
    }
}

fn transaction(input: TxIn, output: Vec<TxOut>) -> Transaction {
    Transaction { version: 1, lock_time: LockTime::ZERO, input: vec![input], output }
}

fn input(previous_output: OutPoint, script_sig: Script, asset_issuance: AssetIssuance) -> TxIn {
    TxIn {
        previous_output,
        is_pegin: false,
        script_sig,
        sequence: Sequence::MAX,
        asset_issuance,
        witness: TxInWitness::default(),
    }
}

/// The coinbase of the genesis block. Its asset is the all-zero identifier, which no issuance can make.
fn coinbase(params: &ChainParams) -> Transaction {
    let no_asset = AssetId::from_byte_array([0; 32]);
    let (script_sig, output) = match params.genesis_style {
        GenesisStyle::Elements => {
            let mut script_sig = vec![32];
            script_sig.extend(commitment(params));
            (script_sig, explicit_output(no_asset, 0, Script::from(vec![OP_RETURN])))
        }
        GenesisStyle::Bitcoin => bitcoin_coinbase(no_asset),
    };
    transaction(input(OutPoint::null(), Script::from(script_sig), AssetIssuance::null()), vec![output])
}

/// Script and output of the coinbase that begins every Bitcoin chain.
fn bitcoin_coinbase(asset: AssetId) -> (Vec<u8>, TxOut) {
    let block = bitcoin::constants::genesis_block(bitcoin::Network::Regtest);
    let coinbase = block.txdata.first();
    let script_sig = coinbase.and_then(|tx| tx.input.first()).map(|input| input.script_sig.to_bytes());
    let output = coinbase.and_then(|tx| tx.output.first());
    let amount = output.map_or(0, |output| output.value.to_sat());
    let script = output.map(|output| output.script_pubkey.to_bytes()).unwrap_or_default();
    (script_sig.unwrap_or_default(), explicit_output(asset, amount, Script::from(script)))
}

/// The transaction that makes the initial coins and tokens, if there are any. It is no coinbase, so they need not mature.
fn initial_issuance(params: &ChainParams) -> Option<Transaction> {
    let (coins, tokens) = (params.initial_free_coins_sat, params.initial_reissuance_tokens);
    if params.genesis_style != GenesisStyle::Elements || (coins == 0 && tokens == 0) {
        return None;
    }
    let outpoint = issuance_outpoint(params);
    let contract = contract_hash(params);
    let issuance = AssetIssuance {
        asset_blinding_nonce: elements::AssetBlindingNonce::NEW_ISSUANCE,
        asset_entropy: elements::issuance::AssetEntropy::from_byte_array(contract.to_byte_array()),
        amount: confidential::Value::Explicit(coins),
        inflation_keys: confidential::Value::Explicit(tokens),
    };
    let token = AssetId::new_reissuance_token(outpoint, contract, false);
    let outputs = [(pegged_asset(params), coins), (token, tokens)]
        .into_iter()
        .filter(|(_, amount)| *amount != 0)
        .map(|(asset, amount)| explicit_output(asset, amount, Script::from(vec![OP_TRUE])))
        .collect();
    Some(transaction(input(outpoint, Script::new(), issuance), outputs))
}

pub(super) fn block(params: &ChainParams) -> Block {
    let txdata: Vec<Transaction> = [Some(coinbase(params)), initial_issuance(params)].into_iter().flatten().collect();
    let txids: Vec<Txid> = txdata.iter().map(Transaction::txid).collect();
    let header = BlockHeader {
        version: 1,
        prev_blockhash: BlockHash::GENESIS_PREVIOUS_BLOCK_HASH,
        merkle_root: merkle_root(&txids),
        time: GENESIS_TIME,
        height: 0,
        ext: BlockExtData::Proof { challenge: params.signblock_script.clone(), solution: Script::new() },
    };
    Block { header, txdata }
}

/// Whether the signature (`solution`) is part of a header's bytes: it is sent, but not hashed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Solution {
    Included,
    Left,
}

/// The header in the form that the parameters ask for.
fn header_bytes(params: &ChainParams, header: &BlockHeader, solution: Solution) -> Vec<u8> {
    let mut bytes = serialize(&header.version);
    bytes.extend(serialize(&header.prev_blockhash));
    bytes.extend(serialize(&header.merkle_root));
    bytes.extend(serialize(&header.time));
    if params.block_height_in_header {
        bytes.extend(serialize(&header.height));
    }
    if params.signed_blocks {
        bytes.extend(serialize(&params.signblock_script));
        if solution == Solution::Included {
            bytes.extend(serialize(&Script::new()));
        }
    } else {
        bytes.extend(serialize(&GENESIS_BITS));
        bytes.extend(serialize(&GENESIS_NONCE));
    }
    bytes
}

pub(super) fn hash(params: &ChainParams) -> BlockHash {
    let header = block(params).header;
    BlockHash::from_byte_array(sha256d::Hash::hash(&header_bytes(params, &header, Solution::Left)).to_byte_array())
}

pub(super) fn bytes(params: &ChainParams) -> Vec<u8> {
    let block = block(params);
    let mut bytes = header_bytes(params, &block.header, Solution::Included);
    bytes.extend(serialize(&block.txdata));
    bytes
}
