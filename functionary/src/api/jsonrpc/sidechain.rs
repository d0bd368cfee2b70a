//! Calls about the federation and the peg.

use aquifer_assets::peg::{PakList, tweak_fedpeg};
use aquifer_assets::state::ChainView as _;
use elements::Script;

use super::arguments::{Arguments, bytes};
use super::error::{Code, RpcError};
use super::node::Node;
use super::shape::{Json, Object};
use super::table::{Category, Command, Kind, Parameter};

/// Length of each key of an entry of the extension space, in bytes.
const KEY_LEN: usize = 33;

/// The calls.
pub(crate) const COMMANDS: &[Command] = &[
    Command {
        name: "dumpassetlabels",
        category: Category::Sidechain,
        parameters: &[],
        text: "The names of assets that this node is configured with: that of the pegged asset.",
        run: |node, _| Ok(Object::new().with("bitcoin", Json::shown(node.sources.params.pegged_asset())).into()),
    },
    Command {
        name: "getpakinfo",
        category: Category::Sidechain,
        parameters: &[],
        text: "Who may ask for peg-outs, if the chain restricts it (`enforce_pak` of `getsidechaininfo`).",
        run: get_pak_info,
    },
    Command {
        name: "getsidechaininfo",
        category: Category::Sidechain,
        parameters: &[],
        text: "The federation scripts that take deposits now, the pegged asset and the parent chain.",
        run: get_sidechain_info,
    },
    Command {
        name: "tweakfedpegscript",
        category: Category::Sidechain,
        parameters: &[
            Parameter::required("claim_script", Kind::Hex, "The script whose owner may claim the deposit."),
            Parameter::optional("fedpegscript", Kind::Hex, "the current one", "The federation script."),
        ],
        text: "The federation script for a claim script, with the addresses of its deposits. A wallet that pegs in watches for \
               its deposits: see `aquifer pegin`.",
        run: tweak_fedpeg_script,
    },
];

fn get_sidechain_info(node: &Node, _: &Arguments) -> Result<Json, RpcError> {
    let params = &node.sources.params;
    let snapshot = node.snapshot()?;
    let federation = snapshot.federation(params, snapshot.tip()?.height.saturating_add(1))?;
    let fedpegs = federation.fedpegs();
    let programs: Json = fedpegs.iter().map(|fedpeg| Json::hex(fedpeg.program.as_bytes())).collect();
    let scripts: Json = fedpegs.iter().map(|fedpeg| Json::hex(fedpeg.script.as_bytes())).collect();
    let fields = Object::new()
        .with("fedpegscript", Json::hex(params.fedpeg_script.as_bytes()))
        .with("current_fedpeg_programs", programs)
        .with("current_fedpegscripts", scripts)
        .with("pegged_asset", Json::shown(params.pegged_asset()))
        .with("min_peg_diff", Json::hex(params.parent_pow_limit))
        .with("parent_blockhash", Json::shown(params.parent_genesis))
        .with("parent_chain_has_pow", true)
        .with("enforce_pak", params.enforce_pak)
        .with("pegin_confirmation_depth", params.pegin_confirmation_depth_blocks);
    Ok(fields.into())
}

fn get_pak_info(node: &Node, _: &Arguments) -> Result<Json, RpcError> {
    let params = &node.sources.params;
    let snapshot = node.snapshot()?;
    let federation = snapshot.federation(params, snapshot.tip()?.height.saturating_add(1))?;
    let entries = &federation.current().extension_space;
    let (mut offline, mut online) = (Vec::new(), Vec::new());
    // Elements reads the list of the next block whether or not it is enforced, and takes one with a wrong key for none.
    if PakList::parse(entries).is_some() {
        for (first, second) in entries.iter().filter_map(|entry| entry.split_at_checked(KEY_LEN)) {
            offline.push(Json::hex(first));
            online.push(Json::hex(second));
        }
    }
    let list = Object::new().with("reject", offline.is_empty()).with("online", online).with("offline", offline);
    Ok(Object::new().with("block_paklist", list).into())
}

fn tweak_fedpeg_script(node: &Node, arguments: &Arguments) -> Result<Json, RpcError> {
    let claim_script = Script::from(bytes("claim_script", arguments.needed_text("claim_script")?)?);
    let script = match arguments.text("fedpegscript") {
        Some(text) => Script::from(bytes("fedpegscript", text)?),
        None => {
            let snapshot = node.snapshot()?;
            let federation = snapshot.federation(&node.sources.params, snapshot.tip()?.height.saturating_add(1))?;
            let newest = federation.fedpegs().first().map(|fedpeg| fedpeg.script.clone());
            newest.ok_or_else(|| RpcError::new(Code::Internal, "there is no federation script"))?
        }
    };
    let tweaked =
        tweak_fedpeg(&script, &claim_script).map_err(|error| RpcError::new(Code::Parameter, error.to_string()))?;
    let network = node.sources.params.parent_network().unwrap_or(bitcoin::Network::Regtest);
    let address =
        |script: &bitcoin::Script| bitcoin::Address::from_script(script, network).map_or(Json::Null, Json::shown);
    let fields = Object::new()
        .with("script", Json::hex(tweaked.as_bytes()))
        .with("p2wsh", address(&tweaked.to_p2wsh()))
        .with("p2shwsh", address(&tweaked.to_p2wsh().to_p2sh()));
    Ok(fields.into())
}
