//! `aquiferd run`: the node.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::{CliError, Output, block_on, stop_signal};
use crate::config::Config;
use crate::node;

/// Files that a member may have open: the connections that all of its ports take together, and its databases.
const OPEN_FILES: u64 = 8_192;

/// Run the member's node until Ctrl-C or SIGTERM.
///
/// Needs the outcome of the ceremony in the data folder. It can be killed at any time and goes on where it was.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  aquiferd --data-dir ~/alpha run --log info")]
pub(super) struct Arguments {}

impl Arguments {
    pub(super) fn run(self, config: Config) -> Result<Output, CliError> {
        allow_open_files();
        let _lock = config.data.lock()?;
        block_on(async {
            let stop = stop_signal()?;
            node::run(&config, stop).await.map_err(|error| CliError::Failed(error.to_string()))
        })??;
        Ok(Output { text: "stopped".to_owned(), json: serde_json::json!({ "stopped": true }) })
    }
}

/// Every connection is an open file, and most systems give a process 1,024 of them at first: callers within the limits of the
/// ports could leave none for a database. A process may have more by itself, up to what its user allows.
fn allow_open_files() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = maximum.map_or(OPEN_FILES, |maximum| maximum.min(OPEN_FILES));
    if current.is_some_and(|current| current < wanted) {
        // What cannot be had is told below.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum });
    }
    if let Some(current) = getrlimit(Resource::Nofile).current.filter(|current| *current < OPEN_FILES) {
        tracing::warn!(
            current,
            needed = OPEN_FILES,
            "few files may be open at a time (ulimit -n): many clients may stop this member"
        );
    }
}
