//! Calls about the other members and this node.

use super::arguments::Arguments;
use super::error::RpcError;
use super::node::Node;
use super::shape::{Json, Object};
use super::table::{Category, Command};
use crate::mempool::{INCREMENTAL_FEE_RATE_SAT_PER_KVB, MIN_FEE_RATE_SAT_PER_KVB};

/// The version of Elements whose answers these are.
const ELEMENTS_VERSION: u32 = 230_304;
/// The version of the protocol of Elements' nodes that goes with it.
const PROTOCOL_VERSION: u32 = 70_016;

/// The calls.
pub(crate) const COMMANDS: &[Command] = &[
    Command {
        name: "getconnectioncount",
        category: Category::Network,
        parameters: &[],
        text: "The number of connected members.",
        run: |node, _| Ok(connected(node)?.into()),
    },
    Command {
        name: "getnetworkinfo",
        category: Category::Network,
        parameters: &[],
        text: "This node and its fee rates. `version` is that of the Elements whose answers these are, `subversion` is our own.",
        run: get_network_info,
    },
    Command {
        name: "getpeerinfo",
        category: Category::Network,
        parameters: &[],
        text: "The other members: names in the place of addresses, and how far each is. Nodes of the Elements network are not \
               listed.",
        run: get_peer_info,
    },
];

fn connected(node: &Node) -> Result<usize, RpcError> {
    Ok(node.sources.backend.info()?.peers.iter().filter(|peer| peer.connected).count())
}

fn get_network_info(node: &Node, _: &Arguments) -> Result<Json, RpcError> {
    let info = node.sources.backend.info()?;
    let connections = info.peers.iter().filter(|peer| peer.connected).count();
    let fields = Object::new()
        .with("version", ELEMENTS_VERSION)
        .with("subversion", concat!("/Aquifer:", env!("CARGO_PKG_VERSION"), "/"))
        .with("protocolversion", PROTOCOL_VERSION)
        .with("localservices", "0000000000000000")
        .with("localservicesnames", Vec::new())
        .with("localrelay", true)
        .with("timeoffset", 0)
        .with("networkactive", true)
        .with("connections", connections)
        .with("connections_in", 0)
        .with("connections_out", connections)
        .with("networks", Vec::new())
        .with("relayfee", Json::amount(MIN_FEE_RATE_SAT_PER_KVB))
        .with("incrementalfee", Json::amount(INCREMENTAL_FEE_RATE_SAT_PER_KVB))
        .with("localaddresses", Vec::new())
        .with("warnings", info.alarms.join("; "));
    Ok(fields.into())
}

fn get_peer_info(node: &Node, _: &Arguments) -> Result<Json, RpcError> {
    let info = node.sources.backend.info()?;
    let peers = (0_u32..).zip(info.peers).filter(|(_, peer)| peer.connected).map(|(id, peer)| {
        Object::new()
            .with("id", id)
            .with("addr", peer.name)
            .with("network", "not_publicly_routable")
            .with("relaytxes", true)
            .with("synced_headers", peer.height)
            .with("synced_blocks", peer.height)
            .with("connection_type", "member")
            .into()
    });
    Ok(peers.collect())
}
