//! What makes one chain differ from another: its parameters, its genesis block, the configuration with which a stock
//! `elementsd` follows it, and the file that tells a wallet about it.

mod elements_conf;
mod federation;
mod genesis;
mod multisig;
mod network;
mod params;

pub(crate) mod hex_fields;

pub use elements_conf::{ElementsConfOptions, ParentRpc, ParentRpcLogin, elements_conf};
pub use federation::{Federation, Fedpeg};
pub use multisig::Multisig;
pub use network::{NETWORK_VERSION, Network, NetworkError, Server};
pub use params::{ChainParams, GenesisStyle, ParamsError};
