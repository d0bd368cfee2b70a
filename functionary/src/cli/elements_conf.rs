//! `aquiferd elements-conf`: how a stock elementsd follows the chain.

use std::path::PathBuf;

use aquifer_assets::chain::{ElementsConfOptions, Network, ParentRpc, ParentRpcLogin, elements_conf};
use serde_json::json;

use super::{CliError, Output};
use crate::config::{BitcoindConfig, Config};
use crate::files;
use crate::identity::load_federation;

/// Print the elements.conf with which a stock elementsd follows the chain.
///
/// It contains no secret. A member that listens for nodes (`p2p` of `[interfaces]` in aquiferd.toml) is named as the one to
/// connect to. With `--with-bitcoind`, elementsd also checks the depth of peg-ins, with the bitcoind of
/// aquiferd.toml.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  aquiferd --data-dir ~/alpha elements-conf --with-bitcoind > ~/.elements/elements.conf\n  \
                        aquiferd elements-conf --network network.json"
)]
pub(super) struct Arguments {
    /// Take the chain from a wallet's network file instead of a member's data folder.
    #[arg(long, value_name = "FILE", conflicts_with = "with_bitcoind")]
    network: Option<PathBuf>,
    /// Let elementsd check the depth of peg-ins with the member's bitcoind.
    #[arg(long)]
    with_bitcoind: bool,
}

impl Arguments {
    pub(super) fn run(self, load: impl FnOnce() -> Result<Config, CliError>) -> Result<Output, CliError> {
        let (params, extra) = match &self.network {
            Some(path) => {
                let network: Network = files::read_json(path)?;
                network.check().map_err(|error| CliError::Failed(format!("{}: {error}", path.display())))?;
                (network.params, ElementsConfOptions::default())
            }
            None => {
                let config = load()?;
                let federation = load_federation(&config.data)?;
                let parent = self.with_bitcoind.then(|| parent_rpc(&config.file.bitcoind)).transpose()?;
                // An address that stands for all of this machine is none that can be called.
                let connect = config.file.interfaces.p2p.filter(|address| !address.ip().is_unspecified());
                (federation.params, ElementsConfOptions { parent, connect })
            }
        };
        let text = elements_conf(&params, &extra);
        let json = json!({ "elements_conf": text });
        Ok(Output { text, json })
    }
}

fn parent_rpc(bitcoind: &BitcoindConfig) -> Result<ParentRpc, CliError> {
    let address = bitcoind.url.strip_prefix("http://").map(|rest| rest.trim_end_matches('/'));
    let parts = address.and_then(|address| address.rsplit_once(':'));
    let parts = parts.and_then(|(host, port)| Some((host, port.parse().ok()?)));
    let (host, port) = parts.ok_or_else(|| {
        CliError::Failed(format!("the URL {:?} of bitcoind in aquiferd.toml is not http://host:port", bitcoind.url))
    })?;
    let login = ParentRpcLogin::Cookie(bitcoind.cookie_file.clone());
    Ok(ParentRpc { host: host.to_owned(), port, login })
}
