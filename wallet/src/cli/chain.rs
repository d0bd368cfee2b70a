//! `aquifer federation info` and `aquifer block`.

use aquifer_assets::chain::Multisig;
use elements::AssetId;
use serde_json::{Value, json};

use super::CliError;
use super::args::BlockOptions;
use super::context::Context;
use super::report::{Report, table};
use crate::amount::{self, PEGGED_PRECISION};

pub(super) fn info(context: &Context) -> Result<Report, CliError> {
    let chain = context.chain()?;
    let ledger = context.ledger(&chain)?;
    let tip = ledger.tip()?;
    let (server, info) = ledger.info()?;
    let supply = ledger.supply()?;
    let file = chain.file();
    let signers = Multisig::parse(&file.params.signblock_script);
    let (threshold, members) = signers.map_or((0, 0), |multisig| (multisig.threshold, multisig.keys.len()));
    let servers: Vec<Value> =
        file.servers.iter().map(|server| json!({ "name": server.name, "address": server.api_address })).collect();
    let assets: Vec<Value> = supply
        .assets
        .iter()
        .map(|supply| {
            json!({
                "asset": asset_id(&supply.asset),
                "issued_sat": supply.issued_sat,
                "removed_sat": supply.removed_sat,
                "blinded_issuances": supply.blinded_issuances,
            })
        })
        .collect();
    let reserve = supply.reserve.unwrap_or_default();
    let peers: Vec<Value> = info
        .peers
        .iter()
        .map(|peer| json!({ "name": peer.name, "connected": peer.connected, "height": peer.height }))
        .collect();
    let json = json!({
        "chain": file.params.name,
        "genesis_hash": chain.genesis().to_string(),
        "pegged_asset": chain.pegged_asset().to_string(),
        "certificate_key": hex::encode(file.certificate_key.to_bytes()),
        "members": members,
        "threshold": threshold,
        "parent": chain.parent().to_string(),
        "pegin_confirmations": file.params.pegin_confirmation_depth_blocks,
        "height": tip.height(),
        "tip_hash": tip.hash.to_string(),
        "tip_time": tip.header.time,
        "servers": servers,
        "server": {
            "name": server,
            "version": info.version,
            "parent_height": info.parent_height,
            "parent_problem": info.parent_problem,
            "mempool_transactions": info.mempool_transactions,
            "min_fee_rate_sat_per_kvb": info.min_fee_rate_sat_per_kvb,
            "peers": peers,
        },
        "supply": { "height": supply.height, "assets": assets },
        "reserve": {
            "pegged_in_sat": reserve.pegged_in_sat,
            "pegged_out_sat": reserve.pegged_out_sat,
            "burned_sat": reserve.burned_sat,
            "coins_sat": reserve.coins_sat,
            "coins": reserve.coins,
            "pending_pegouts_sat": reserve.pending_pegouts_sat,
        },
    });
    let btc = |sat| format!("{} BTC", amount::format(sat, PEGGED_PRECISION));
    let parent = match info.parent_height {
        Some(height) => format!("{}, height {height} {}", chain.parent(), info.parent_problem),
        None => format!("{}: {}", chain.parent(), info.parent_problem),
    };
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    let text = table(&[
        row("chain", file.params.name.clone()),
        row("genesis", chain.genesis().to_string()),
        row("members", format!("{members}, of whom {threshold} sign")),
        row("height", format!("{} (certificate verified)", tip.height())),
        row("parent", parent),
        row("pegged in", btc(reserve.pegged_in_sat)),
        row("pegged out", btc(reserve.pegged_out_sat)),
        row("reserve", format!("{} in {} coins", btc(reserve.coins_sat), reserve.coins)),
        row("waiting peg-outs", btc(reserve.pending_pegouts_sat)),
        row("told by", format!("{server}; supply and reserve are its word")),
    ]);
    Ok(Report::new(json, text))
}

fn asset_id(bytes: &[u8]) -> Option<String> {
    <[u8; 32]>::try_from(bytes).ok().map(|bytes| AssetId::from_byte_array(bytes).to_string())
}

pub(super) fn block(context: &Context, options: &BlockOptions) -> Result<Report, CliError> {
    let chain = context.chain()?;
    let block = context.ledger(&chain)?.block(options.height)?;
    let transactions: Vec<Value> = block
        .txdata
        .iter()
        .map(|tx| {
            json!({
                "txid": tx.txid().to_string(),
                "size": tx.size(),
                "weight": tx.weight(),
                "discount_vsize": tx.discount_vsize(),
                "fee_sat": tx.fee_in(chain.pegged_asset()),
            })
        })
        .collect();
    let json = json!({
        "height": block.header.height,
        "block_hash": block.block_hash().to_string(),
        "previous": block.header.prev_blockhash.to_string(),
        "time": block.header.time,
        "size": block.size(),
        "weight": block.weight(),
        "certified": true,
        "transactions": transactions,
        "hex": elements::encode::serialize_hex(&block),
    });
    let mut rows = vec![
        vec!["block".to_owned(), block.header.height.to_string()],
        vec!["hash".to_owned(), block.block_hash().to_string()],
        vec!["time".to_owned(), block.header.time.to_string()],
        vec!["size".to_owned(), format!("{} bytes, weight {}", block.size(), block.weight())],
    ];
    rows.extend(block.txdata.iter().map(|tx| vec!["tx".to_owned(), tx.txid().to_string()]));
    Ok(Report::new(json, table(&rows)))
}
