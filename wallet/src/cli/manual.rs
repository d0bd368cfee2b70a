//! `aquifer completions` and `aquifer man`: made of the definition of the command line itself.

use std::path::Path;

use clap::CommandFactory as _;
use clap_complete::Shell;
use serde_json::json;

use super::CliError;
use super::args::Arguments;
use super::report::Report;

pub(super) fn completions(shell: Shell) -> Report {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "aquifer", &mut script);
    let script = String::from_utf8_lossy(&script).into_owned();
    Report::new(json!({ "completions": script }), script)
}

pub(super) fn man(folder: &Path) -> Result<Report, CliError> {
    let written = std::fs::create_dir_all(folder).and_then(|()| clap_mangen::generate_to(Arguments::command(), folder));
    written.map_err(|source| CliError::Write { path: folder.to_owned(), source })?;
    let text = format!("the manual is in {}; read it with: man {}/aquifer.1", folder.display(), folder.display());
    Ok(Report::new(json!({ "folder": folder }), text))
}
