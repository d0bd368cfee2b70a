//! `aquiferd run`: the node.

use super::{CliError, Output, block_on, stop_signal};
use crate::config::Config;
use crate::node;

/// Run the member's node until Ctrl-C or SIGTERM.
///
/// Needs the outcome of the ceremony in the data folder. It can be killed at any time and goes on where it was.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  aquiferd --data-dir ~/alpha run --log info")]
pub(super) struct Arguments {}

impl Arguments {
    pub(super) fn run(self, config: Config) -> Result<Output, CliError> {
        let _lock = config.data.lock()?;
        block_on(async {
            let stop = stop_signal()?;
            node::run(&config, stop).await.map_err(|error| CliError::Failed(error.to_string()))
        })??;
        Ok(Output { text: "stopped".to_owned(), json: serde_json::json!({ "stopped": true }) })
    }
}
