//! Calls about this service, addresses and fees.

use std::str::FromStr as _;

use aquifer_assets::block::MAX_BLOCK_WEIGHT;
use aquifer_assets::script::Form;
use elements::secp256k1_zkp::PublicKey;
use elements::{Address, Script};

use super::arguments::{Arguments, short};
use super::error::{Code, RpcError};
use super::node::Node;
use super::shape::{ADDRESSES, Json, Object};
use super::table::{Category, Command, Kind, Parameter, help};
use crate::api::fees::rate;

/// Furthest block for which fees are estimated.
const MAX_TARGET: i64 = 1_008;

/// The calls.
pub(crate) const COMMANDS: &[Command] = &[
    Command {
        name: "createblindedaddress",
        category: Category::Util,
        parameters: &[
            Parameter::required("address", Kind::Text, "An address without blinding key."),
            Parameter::required("blinding_key", Kind::Hex, "The blinding key."),
        ],
        text: "The confidential address of an address and a blinding key.",
        run: create_blinded_address,
    },
    Command {
        name: "estimatesmartfee",
        category: Category::Util,
        parameters: &[
            Parameter::required("conf_target", Kind::Number, "How many blocks it may take, 1 to 1008."),
            Parameter::optional(
                "estimate_mode",
                Kind::Text,
                "conservative",
                "Has no meaning: the estimate is what waits.",
            ),
        ],
        text: "The fee rate, in coins per 1,000 vbytes of the discounted size, at which a transaction would be among the next \
               blocks by what waits now.",
        run: estimate_smart_fee,
    },
    Command {
        name: "getindexinfo",
        category: Category::Util,
        parameters: &[Parameter::optional("index_name", Kind::Text, "all", "Only this index.")],
        text: "The index of transactions, which the ledger always has.",
        run: get_index_info,
    },
    Command {
        name: "getrpcinfo",
        category: Category::Control,
        parameters: &[],
        text: "The calls that run now, and for how long, in microseconds.",
        run: get_rpc_info,
    },
    Command {
        name: "help",
        category: Category::Control,
        parameters: &[Parameter::optional("command", Kind::Text, "all", "The call to explain.")],
        text: "All calls, or all about one.",
        run: |_, arguments| Ok(help(arguments.text("command")).into()),
    },
    Command {
        name: "uptime",
        category: Category::Control,
        parameters: &[],
        text: "For how long this service has run, in seconds.",
        run: |node, _| Ok(node.uptime().as_secs().into()),
    },
    Command {
        name: "validateaddress",
        category: Category::Util,
        parameters: &[Parameter::required("address", Kind::Text, "The address.")],
        text: "What an address of this chain or of the parent chain stands for.",
        run: validate_address,
    },
];

fn get_rpc_info(node: &Node, _: &Arguments) -> Result<Json, RpcError> {
    let calls = node.calls().into_iter().map(|(method, duration)| {
        let duration = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        Object::new().with("method", method).with("duration", duration).into()
    });
    Ok(Object::new().with("active_commands", calls.collect::<Json>()).with("logpath", "").into())
}

fn get_index_info(node: &Node, arguments: &Arguments) -> Result<Json, RpcError> {
    let mut fields = Object::new();
    if arguments.text("index_name").is_none_or(|name| name == "txindex" || name.is_empty()) {
        let height = node.snapshot()?.tip()?.height;
        fields.set("txindex", Object::new().with("synced", true).with("best_block_height", height));
    }
    Ok(fields.into())
}

fn estimate_smart_fee(node: &Node, arguments: &Arguments) -> Result<Json, RpcError> {
    let target = arguments.number("conf_target")?.unwrap_or(0);
    if !(1..=MAX_TARGET).contains(&target) {
        let message = format!("Invalid conf_target, must be between 1 and {MAX_TARGET}");
        return Err(RpcError::new(Code::Parameter, message));
    }
    let mode = arguments.text("estimate_mode").unwrap_or("conservative").to_lowercase();
    if !["unset", "economical", "conservative"].contains(&mode.as_str()) {
        let message = "Invalid estimate_mode parameter, must be one of: \"unset\", \"economical\", \"conservative\"";
        return Err(RpcError::new(Code::Parameter, message));
    }
    let mempool = &node.sources.mempool;
    let floor = mempool.min_fee_rate_sat_per_kvb();
    let blocks = u64::try_from(target).unwrap_or(1);
    let room = blocks.saturating_mul(MAX_BLOCK_WEIGHT);
    // Where everything fits, the least is enough; else it takes more than the last that fits.
    let chosen = mempool.candidates(room);
    let rate = match chosen.last() {
        Some(last) if chosen.len() < mempool.len() => {
            let size = u64::try_from(last.transaction.discount_vsize()).unwrap_or(u64::MAX);
            rate(last.fee_sat, size).saturating_add(1).max(floor)
        }
        _ => floor,
    };
    Ok(Object::new().with("feerate", Json::amount(rate)).with("blocks", target).into())
}

fn create_blinded_address(_: &Node, arguments: &Arguments) -> Result<Json, RpcError> {
    let wrong = |message: String| RpcError::new(Code::AddressOrKey, message);
    let text = arguments.needed_text("address")?;
    let address =
        Address::parse_with_params(text, ADDRESSES).map_err(|_| wrong(format!("Invalid address: {}", short(text))))?;
    if address.is_blinded() {
        return Err(wrong("Not an unblinded address".to_owned()));
    }
    let key = arguments.needed_text("blinding_key")?;
    let key = PublicKey::from_str(key).ok().filter(|_| key.len() == 66);
    let key = key.ok_or_else(|| wrong("Invalid blinding key: it must be a public key of 66 characters".to_owned()))?;
    Ok(Json::shown(address.to_confidential(key)))
}

/// What the script of an address says of it.
fn described(script: &Script) -> Object {
    let bytes = script.as_bytes();
    if let (Some(version), Some(program)) = (bytes.first(), bytes.get(2..))
        && script.is_witness_program()
    {
        let mut fields = Object::new();
        if Form::of(bytes) == Form::Program {
            fields.set("isscript", !script.is_v0_p2wpkh());
        }
        fields.set("iswitness", true);
        // OP_1 is 0x51; OP_0 is 0.
        fields.set("witness_version", version.saturating_sub(0x50));
        fields.set("witness_program", Json::hex(program));
        return fields;
    }
    Object::new().with("isscript", script.is_p2sh()).with("iswitness", false)
}

fn validate_address(node: &Node, arguments: &Arguments) -> Result<Json, RpcError> {
    let text = arguments.needed_text("address")?;
    let address = Address::parse_with_params(text, ADDRESSES);
    let network = node.sources.params.parent_network().unwrap_or(bitcoin::Network::Regtest);
    let parent = bitcoin::Address::from_str(text).map_err(|error| error.to_string());
    let parent = parent.and_then(|parent| parent.require_network(network).map_err(|error| error.to_string()));
    let mut fields = Object::new().with("isvalid", address.is_ok()).with("isvalid_parent", parent.is_ok());
    if let Ok(address) = &address {
        let script = address.script_pubkey();
        let key = address.blinding_pubkey.map_or(Json::from(""), |key| Json::hex(key.serialize()));
        fields = fields
            .with("address", Json::shown(address))
            .with("scriptPubKey", Json::hex(script.as_bytes()))
            .and(described(&script));
        // As in Elements, nothing is said of the blinding of programs of later versions.
        if Form::of(script.as_bytes()) != Form::LaterProgram {
            fields.set("confidential_key", key);
            fields.set("unconfidential", Json::shown(address.to_unconfidential()));
        }
    }
    if let Ok(parent) = &parent {
        let script = Script::from(parent.script_pubkey().to_bytes());
        let info = Object::new()
            .with("address", Json::shown(parent))
            .with("scriptPubKey", Json::hex(script.as_bytes()))
            .and(described(&script));
        fields.set("parent_address_info", info);
    }
    if let (Err(error), Err(parent_error)) = (&address, &parent) {
        fields.set("error_locations", Vec::new());
        fields.set("error", Json::shown(error));
        fields.set("error_parent", parent_error.as_str());
    }
    Ok(fields.into())
}
