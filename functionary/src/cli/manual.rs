//! `aquiferd completions` and `aquiferd man`: made of the definition of the command line itself.

use std::path::PathBuf;

use clap::CommandFactory as _;
use clap_complete::Shell;
use serde_json::json;

use super::{CliError, Output};

/// Print the script with which a shell completes commands and options.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  aquiferd completions bash > ~/.local/share/bash-completion/completions/aquiferd")]
pub(super) struct CompletionsArguments {
    /// The shell.
    shell: Shell,
}

impl CompletionsArguments {
    pub(super) fn run(self) -> Output {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut super::Arguments::command(), "aquiferd", &mut script);
        let text = String::from_utf8_lossy(&script).into_owned();
        Output { json: json!({ "completions": text }), text }
    }
}

/// Write manual pages, one for each command.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  aquiferd man ~/.local/share/man/man1")]
pub(super) struct ManArguments {
    /// The folder for the pages; made if there is none.
    folder: PathBuf,
}

impl ManArguments {
    pub(super) fn run(self) -> Result<Output, CliError> {
        let folder = self.folder;
        let written = std::fs::create_dir_all(&folder)
            .and_then(|()| clap_mangen::generate_to(super::Arguments::command(), &folder));
        written.map_err(|error| CliError::Failed(format!("cannot write to {}: {error}", folder.display())))?;
        let text = format!("the manual is in {0}; read it with: man {0}/aquiferd.1", folder.display());
        Ok(Output { text, json: json!({ "folder": folder }) })
    }
}
