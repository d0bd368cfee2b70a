//! Calls about blocks and unspent outputs.

use aquifer_assets::block::block_weight;
use aquifer_assets::primitives::{Block, decode_header};
use aquifer_assets::state::ChainView as _;
use elements::{OutPoint, Txid};

use super::arguments::{Arguments, hash};
use super::error::{Code, RpcError};
use super::node::{Node, block_at, height_of};
use super::shape::{Json, Object, asm, coin_fields, header_fields, transaction_fields};
use super::table::{Category, Command, Kind, Parameter};
use crate::mempool::WaitingOutput;
use crate::store::ledger::{Snapshot, StoredBlock};

const WITNESS_SCALE_FACTOR: u64 = 4;

/// The calls.
pub(crate) const COMMANDS: &[Command] = &[
    Command {
        name: "getbestblockhash",
        category: Category::Blockchain,
        parameters: &[],
        text: "The hash of the last final block.",
        run: |node, _| Ok(Json::shown(node.snapshot()?.tip()?.hash)),
    },
    Command {
        name: "getblock",
        category: Category::Blockchain,
        parameters: &[
            Parameter::required("blockhash", Kind::Hex, "The hash of the block."),
            Parameter::optional(
                "verbosity",
                Kind::Verbosity,
                "1",
                "0: hexadecimal; 1: with the ids of its transactions; 2: with its transactions.",
            )
            .or("verbose"),
        ],
        text: "A final block. Verbosity 3, with the outputs that are spent, is not served.",
        run: get_block,
    },
    Command {
        name: "getblockchaininfo",
        category: Category::Blockchain,
        parameters: &[],
        text: "The state of the chain, with the parameters of the next block. `headers` is what most connected members have.",
        run: get_blockchain_info,
    },
    Command {
        name: "getblockcount",
        category: Category::Blockchain,
        parameters: &[],
        text: "The height of the last final block.",
        run: |node, _| Ok(node.snapshot()?.tip()?.height.into()),
    },
    Command {
        name: "getblockhash",
        category: Category::Blockchain,
        parameters: &[Parameter::required("height", Kind::Number, "The height.")],
        text: "The hash of the final block at a height.",
        run: get_block_hash,
    },
    Command {
        name: "getblockheader",
        category: Category::Blockchain,
        parameters: &[
            Parameter::required("blockhash", Kind::Hex, "The hash of the block."),
            Parameter::optional("verbose", Kind::Switch, "true", "false: hexadecimal, with the signatures."),
        ],
        text: "The header of a final block.",
        run: get_block_header,
    },
    Command {
        name: "getchaintips",
        category: Category::Blockchain,
        parameters: &[],
        text: "The one tip of the chain: final blocks have no branches.",
        run: get_chain_tips,
    },
    Command {
        name: "gettxout",
        category: Category::Blockchain,
        parameters: &[
            Parameter::required("txid", Kind::Hex, "The transaction."),
            Parameter::required("n", Kind::Number, "Its output."),
            Parameter::optional("include_mempool", Kind::Switch, "true", "Whether waiting transactions count."),
        ],
        text: "An unspent output; null if it is spent or does not exist.",
        run: get_tx_out,
    },
    Command {
        name: "gettxoutsetinfo",
        category: Category::Blockchain,
        parameters: &[Parameter::optional("hash_type", Kind::Text, "none", "Only \"none\" is served.")],
        text: "The number of unspent outputs. There is no hash of them and no total: amounts are hidden.",
        run: get_tx_out_set_info,
    },
];

fn get_block_hash(node: &Node, arguments: &Arguments) -> Result<Json, RpcError> {
    let out_of_range = || RpcError::new(Code::Parameter, "Block height out of range");
    let height = arguments.number("height")?.unwrap_or(-1);
    let height = u32::try_from(height).map_err(|_| out_of_range())?;
    let stored = node.snapshot()?.header(height)?.ok_or_else(out_of_range)?;
    Ok(Json::shown(stored.hash))
}

fn stored_header(snapshot: &Snapshot<'_>, height: u32) -> Result<StoredBlock, RpcError> {
    let stored = snapshot.header(height)?;
    stored.ok_or_else(|| RpcError::new(Code::Database, format!("the header at height {height} cannot be read")))
}

fn get_block_header(node: &Node, arguments: &Arguments) -> Result<Json, RpcError> {
    let snapshot = node.snapshot()?;
    let height = height_of(&snapshot, &arguments.block_hash("blockhash")?)?;
    let stored = stored_header(&snapshot, height)?;
    if arguments.switch("verbose") == Some(false) {
        return Ok(Json::hex(stored.header));
    }
    let transactions = snapshot.txids(height)?.len();
    Ok(header_json(&snapshot, stored, transactions)?.into())
}

fn header_json(snapshot: &Snapshot<'_>, stored: StoredBlock, transactions: usize) -> Result<Object, RpcError> {
    let height = stored.height;
    let header = decode_header(stored.header)
        .map_err(|error| RpcError::new(Code::Database, format!("the header at height {height}: {error}")))?;
    let tip = snapshot.tip()?.height;
    let mut fields = Object::new()
        .with("hash", Json::shown(stored.hash))
        .with("confirmations", tip.saturating_sub(height).saturating_add(1))
        .with("height", height)
        .and(header_fields(&header, snapshot.median_time_past(height)?))
        .with("nTx", transactions);
    if height > 0 {
        fields.set("previousblockhash", Json::shown(header.prev_blockhash));
    }
    if let Some(next) = height.checked_add(1).filter(|next| *next <= tip) {
        fields.set("nextblockhash", Json::shown(stored_header(snapshot, next)?.hash));
    }
    Ok(fields)
}

fn get_block(node: &Node, arguments: &Arguments) -> Result<Json, RpcError> {
    let snapshot = node.snapshot()?;
    let height = height_of(&snapshot, &arguments.block_hash("blockhash")?)?;
    let verbosity = arguments.verbosity("verbosity", 1)?;
    if verbosity <= 0 {
        let stored = snapshot.block(height)?;
        let stored = stored.ok_or_else(|| RpcError::new(Code::Database, format!("block {height} cannot be read")))?;
        return Ok(Json::hex(stored.block));
    }
    if verbosity > 2 {
        return Err(RpcError::new(
            Code::Parameter,
            "verbosity 3 is not served: ask for 2, and for the transactions that are spent",
        ));
    }
    let block = block_at(&snapshot, height)?;
    let stored = stored_header(&snapshot, height)?;
    let (size, weight) = (u64::from(stored.size), weight_of(&block));
    let stripped = weight.saturating_sub(size) / (WITNESS_SCALE_FACTOR - 1);
    let transactions = block.txdata.iter().map(|transaction| match verbosity {
        1 => Json::shown(transaction.txid()),
        _ => {
            let hex = Json::hex(elements::encode::serialize(transaction));
            transaction_fields(&node.sources.params, transaction).with("hex", hex).into()
        }
    });
    let transactions: Json = transactions.collect();
    let fields = header_json(&snapshot, stored, block.txdata.len())?
        .with("strippedsize", stripped)
        .with("size", size)
        .with("weight", weight)
        .with("tx", transactions);
    Ok(fields.into())
}

/// Its weight as Elements 23.3 counts it.
fn weight_of(block: &Block) -> u64 {
    block_weight(block)
}

fn get_chain_tips(node: &Node, _: &Arguments) -> Result<Json, RpcError> {
    let tip = node.snapshot()?.tip()?;
    let tip = Object::new()
        .with("height", tip.height)
        .with("hash", Json::shown(tip.hash))
        .with("branchlen", 0)
        .with("status", "active");
    Ok(vec![tip.into()].into())
}

fn get_blockchain_info(node: &Node, _: &Arguments) -> Result<Json, RpcError> {
    let info = node.sources.backend.info()?;
    let params = &node.sources.params;
    let snapshot = node.snapshot()?;
    let tip = snapshot.tip()?;
    let mut heights: Vec<u32> = info.peers.iter().filter(|peer| peer.connected).map(|peer| peer.height).collect();
    heights.sort_unstable();
    // The middle one, so that a few cannot keep those away who wait until this member has caught up.
    let others = heights.get(heights.len() / 2).copied().unwrap_or(0);
    let headers = tip.height.max(others);
    let federation = snapshot.federation(params, tip.height.saturating_add(1))?;
    let current = federation.current();
    let progress = if headers == tip.height { 1.0 } else { f64::from(tip.height) / f64::from(headers) };
    let warnings = info.alarms.join("; ");
    let extension_space: Json = current.extension_space.iter().map(Json::hex).collect();
    let fields = Object::new()
        .with("chain", params.name.as_str())
        .with("blocks", tip.height)
        .with("headers", headers)
        .with("bestblockhash", Json::shown(tip.hash))
        .with("time", tip.time)
        .with("mediantime", tip.median_time_past)
        .with("verificationprogress", Json::real(progress))
        .with("initialblockdownload", headers > tip.height.saturating_add(1))
        .with("size_on_disk", snapshot.file_size()?)
        .with("pruned", false)
        .with("trim_headers", false)
        .with("current_params_root", Json::shown(current.calculate_root()))
        .with("current_signblock_asm", asm(&current.signblockscript, false))
        .with("current_signblock_hex", Json::hex(current.signblockscript.as_bytes()))
        .with("max_block_witness", current.signblock_witness_limit)
        .with("current_fedpeg_program", Json::hex(current.fedpeg_program.as_bytes()))
        .with("current_fedpeg_script", Json::hex(&current.fedpegscript))
        .with("extension_space", extension_space)
        .with("epoch_length", params.epoch_length_blocks)
        .with("total_valid_epochs", params.total_valid_epochs)
        .with("epoch_age", tip.height.checked_rem(params.epoch_length_blocks).unwrap_or(0))
        .with("warnings", warnings);
    Ok(fields.into())
}

fn get_tx_out(node: &Node, arguments: &Arguments) -> Result<Json, RpcError> {
    let txid: Txid = hash("txid", arguments.needed_text("txid")?)?;
    let vout = arguments.number("n")?.and_then(|vout| u32::try_from(vout).ok());
    let vout = vout.ok_or_else(|| RpcError::new(Code::Parameter, "n is not the number of an output"))?;
    let outpoint = OutPoint::new(txid, vout);
    let params = &node.sources.params;
    let waiting = match arguments.switch("include_mempool") {
        Some(false) => WaitingOutput::Unknown,
        _ => node.sources.mempool.output(&outpoint),
    };
    let snapshot = node.snapshot()?;
    let tip = snapshot.tip()?;
    let (confirmations, is_coinbase, output) = match waiting {
        WaitingOutput::Spent => return Ok(Json::Null),
        WaitingOutput::Made(output) => (0, false, *output),
        WaitingOutput::Unknown => match snapshot.coin(&outpoint)? {
            None => return Ok(Json::Null),
            Some(coin) => {
                let confirmations = tip.height.saturating_sub(coin.height).saturating_add(1);
                (confirmations, coin.is_coinbase, coin.output)
            }
        },
    };
    let fields = Object::new()
        .with("bestblock", Json::shown(tip.hash))
        .with("confirmations", confirmations)
        .and(coin_fields(params, &output))
        .with("coinbase", is_coinbase);
    Ok(fields.into())
}

fn get_tx_out_set_info(node: &Node, arguments: &Arguments) -> Result<Json, RpcError> {
    if let Some(other) = arguments.text("hash_type").filter(|kind| *kind != "none") {
        return Err(RpcError::new(
            Code::Parameter,
            format!("'{other}' is not a hash_type that is served: only none is"),
        ));
    }
    let snapshot = node.snapshot()?;
    let tip = snapshot.tip()?;
    let fields = Object::new()
        .with("height", tip.height)
        .with("bestblock", Json::shown(tip.hash))
        .with("txouts", snapshot.coin_count()?);
    Ok(fields.into())
}
