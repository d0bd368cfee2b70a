//! `aquiferd run`: the node.

use super::{CliError, Output};
use crate::config::Config;

/// Run the member's node until Ctrl-C or SIGTERM.
///
/// Needs the outcome of the ceremony in the data folder. It can be killed at any time and goes on where it was.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  aquiferd --data-dir ~/alpha run --log info")]
pub(super) struct Arguments {}

impl Arguments {
    pub(super) fn run(self, config: Config) -> Result<Output, CliError> {
        let _lock = config.data.lock()?;
        Err(CliError::Failed(format!("the node of {} is not part of this build", config.file.name)))
    }
}
