//! The genesis block, and the pegged asset that follows from it.
//!
//! The rules are Elements': the block is made from the parameters and never validated, so a mistake here would show
//! only as a chain that no other implementation recognises. The vectors in the tests were made by other programs.

use elements::encode::serialize;
use elements::hashes::{sha256, sha256d};
use elements::{
    AssetId, AssetIssuance, BlockExtData, BlockHash, BlockHeader, ContractHash, LockTime, OutPoint, Script, Sequence,
    Txid, confidential,
};

use super::{ChainParams, GenesisStyle};
use crate::block::merkle_root;
use crate::primitives::{Block, Transaction, TxIn, TxInWitness, TxOut, TxOutWitness};

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
        nonce: crate::primitives::Nonce::Null,
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use elements::encode::serialize_hex;

    use crate::chain::{ChainParams, GenesisStyle};

    /// Checks a vector, and that the block of the `elements` types says the same where they can.
    fn check(params: &ChainParams, genesis: &str, asset: &str) {
        assert_eq!(params.genesis_hash().to_string(), genesis);
        assert_eq!(params.pegged_asset().to_string(), asset);
        if params.signed_blocks && params.block_height_in_header {
            assert_eq!(params.genesis_block().block_hash().to_string(), genesis);
            assert_eq!(serialize_hex(&params.genesis_block()), hex::encode(params.genesis_bytes()));
        }
    }

    const CUSTOM_ASSET: &str = "8a63e6baa239f8d1b99f8d79ac0d6532e9b511f0bba9ac7b8cf0669b68acc3a8";

    fn custom() -> ChainParams {
        ChainParams::elements_default("custom")
    }

    #[test]
    fn genesis_of_custom_chains() {
        check(&custom(), "1fe63ca3e05d5a1ca2d526b214839e4dbec7c3934d646f31337e46c934dd6ba6", CUSTOM_ASSET);
        let params = ChainParams { initial_free_coins_sat: 2_100_000_000_000_000, ..custom() };
        check(&params, "65dd3c6a245fc69cdc81630f32edb95d20054c94dc5846e2103ed01634809cdc", CUSTOM_ASSET);
        let params = ChainParams {
            initial_free_coins_sat: 2_000_000_000_000_000,
            initial_reissuance_tokens: 200_000_000,
            ..custom()
        };
        check(&params, "c634256c9ccaa68d320524795113372c5a87fa7148dcbb6903dc609ed4f56eaa", CUSTOM_ASSET);
        let params = ChainParams { initial_reissuance_tokens: 7, ..custom() };
        check(&params, "d0d73f832e4f5bf6dccd1a9f658e5b47b1b0cec8e1dcfcbffa5c5353f7d8bc27", CUSTOM_ASSET);
    }

    #[test]
    fn genesis_in_other_forms() {
        let params = ChainParams { genesis_style: GenesisStyle::Bitcoin, ..custom() };
        check(&params, "ac62fb402997fc364f1e6affcfbfdf431eb6d4ac6c13a713e27a1622742e2b81", CUSTOM_ASSET);
        let params = ChainParams { block_height_in_header: false, ..custom() };
        check(&params, "89d0b2d394fd433197ca9857a274a6128610edf3dfb1d827c0ccef133049f859", CUSTOM_ASSET);
        let params = ChainParams { signed_blocks: false, ..custom() };
        check(&params, "3e2ae32e86cafa9afa871638d8844372b910fe90d2d139d9948b90236d894751", CUSTOM_ASSET);
    }

    #[test]
    fn initial_coins_do_not_exist_in_bitcoin_style() {
        let params = ChainParams { genesis_style: GenesisStyle::Bitcoin, initial_free_coins_sat: 5, ..custom() };
        check(&params, "ac62fb402997fc364f1e6affcfbfdf431eb6d4ac6c13a713e27a1622742e2b81", CUSTOM_ASSET);
    }

    #[test]
    fn genesis_with_another_parent_chain() {
        let no_parent = ChainParams {
            has_parent_chain: false,
            parent_genesis: bitcoin::hashes::Hash::all_zeros(),
            initial_free_coins_sat: 1,
            ..custom()
        };
        check(
            &no_parent,
            "2393c47eabd8da35547ad7f60618c84fe011c7194e6a7a86756c5298a24beb5d",
            "9ff6a6cafe0a2b159b71a37bd35e2c233e1a792b203f3a9210132f729663454c",
        );
        let script: elements::Script = elements::Script::from(
            hex::decode("512103dff4923d778550cc13ce0d887d737553b4b58f4e8e886507fc39f5e447b2186451ae").unwrap(),
        );
        let mainnet_parent = ChainParams {
            signblock_script: script.clone(),
            fedpeg_script: script,
            parent_genesis: bitcoin::constants::genesis_block(bitcoin::Network::Bitcoin).block_hash(),
            initial_free_coins_sat: 1000,
            ..ChainParams::elements_default("mychain")
        };
        check(
            &mainnet_parent,
            "6f3ea50367be4bd1f2f56d03784a45cc6f5a57b210f40ef0901b2976fd588f50",
            "39d6436119ad90ed039a3aa2c348ab533aec3ec76f57c6900c2e1884b9d5f6e2",
        );
    }

    #[test]
    fn genesis_of_the_well_known_test_chains() {
        let liquid_asset = "5ac9f65c0efcc4775e0baec4ec03abdde22473cd3cf33c0419ca290e0751b225";
        let elements_asset = "b2e15d0d7a0c94e4e2ce0fe6e8691b9e451377f6e46e8045a86f7c4b5d4f0f23";
        for (name, coins, genesis, asset) in [
            (
                "liquidregtest",
                2_100_000_000_000_000,
                "00902a6b70c2ca83b5d9c815d96a0e2f4202179316970d14ea1847dae5b1ca21",
                liquid_asset,
            ),
            ("liquidregtest", 0, "cc2641af46f536fba45aab6016f63e12a80e4c98bbb2686dafb22b9451cfe338", liquid_asset),
            (
                "liquidregtest",
                2_100_000_000,
                "c7af03b0774a3498a574902bd41045c1633fd40b69ca163345c5d9c78bfd6af7",
                liquid_asset,
            ),
            ("elementsregtest", 0, "cd179c84c35f51825f20a3b91a18d45f0c53b5ceb744a5b6ef8f0babe809396f", elements_asset),
            (
                "elementsregtest",
                2_100_000_000_000_000,
                "209577bda6bf4b5804bd46f8621580dd6d4e8bfa2d190e1c50e932492baca07d",
                elements_asset,
            ),
        ] {
            check(
                &ChainParams { initial_free_coins_sat: coins, ..ChainParams::elements_default(name) },
                genesis,
                asset,
            );
        }
    }

    #[test]
    fn genesis_of_a_federation() {
        // Both from an elementsd that was started with the generated configuration.
        let params = crate::fixtures::params();
        let asset = "307317ba71b6dfff8bbc13a912d011e891331ab6ed776c0ff96267cb3efb1415";
        check(&params, "462585be69a083c8ff9933c8689de0c680dd3bd8a824ea5ec5a959cc3d0bb173", asset);
        let params = ChainParams { initial_free_coins_sat: 1_000_000, ..params };
        check(&params, "1c572790c29d9c6bc5f810be71716b2a4e9320d1e2ea5e95d16ca9c01f3b5d16", asset);
    }

    #[test]
    fn default_genesis_block_byte_for_byte() {
        let zeros = "00".repeat(32);
        let expected = [
            "01000000",
            &zeros,
            "c613303d0931de006302fca975b6b32fc28ccb48ec4894bc7c8090c6128189fd",
            "dae5494d 00000000 01 51 00",
            "01 01000000 00 01",
            &zeros,
            "ffffffff 21 20 ff044db9d9bd6adcfc5c5ed45f5f2e87c1ae7e114ccd29a547638d5e739a25f7 ffffffff",
            "01 01",
            &zeros,
            "01 0000000000000000 00 01 6a 00000000",
        ];
        assert_eq!(hex::encode(custom().genesis_bytes()), expected.concat().replace(' ', ""));
    }
}
