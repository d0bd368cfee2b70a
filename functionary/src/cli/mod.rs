//! The command line of `aquiferd`.
//!
//! Every command prints what a person wants to read, or with `--json` one JSON value, on standard output; logs and progress go
//! to standard error. Exit code 0: done, 1: failed, 2: wrong usage. Secrets are never arguments.

mod auditor;
mod backup;
mod ceremony;
mod dismiss;
mod elements_conf;
mod halt;
mod init;
mod manual;
mod repair;
mod restore;
mod roster;
mod run;
mod status;
mod valve;

#[cfg(test)]
mod tests;

use std::future::Future;
use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::config::{Config, ConfigError, DataDir, LogConfig, LogFormat};
use crate::files::FileError;
use crate::identity::IdentityError;

/// The node of a member of an Aquifer federation.
///
/// A federation begins like this: every member runs `init` and gives its card to the others; one of them makes the roster,
/// and all compare its fingerprint; all run `ceremony` at the same time; then every member runs `run`.
#[derive(Debug, Parser)]
#[command(name = "aquiferd", version, max_term_width = 100)]
pub struct Arguments {
    /// The member's data folder [default: ~/.aquiferd; ~/.aquifer-auditor for the auditor].
    #[arg(long, global = true, env = "AQUIFERD_DATA_DIR", value_name = "FOLDER")]
    data_dir: Option<PathBuf>,
    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,
    /// What to log, such as `info` or `info,aquifer_functionary=debug` [default: RUST_LOG, then aquiferd.toml].
    #[arg(long, global = true, value_name = "FILTER")]
    log: Option<String>,
    /// The form of log lines [default: that of aquiferd.toml].
    #[arg(long, global = true, value_enum, value_name = "FORM")]
    log_format: Option<LogFormat>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Init(Box<init::Arguments>),
    Roster(roster::Arguments),
    Ceremony(ceremony::Arguments),
    Run(run::Arguments),
    Status(status::Arguments),
    Halt(halt::HaltArguments),
    Resume(halt::ResumeArguments),
    Backup(backup::Arguments),
    Restore(restore::Arguments),
    Repair(repair::Arguments),
    Auditor(auditor::Arguments),
    #[command(name = "dismiss-objection")]
    DismissObjection(dismiss::Arguments),
    ElementsConf(elements_conf::Arguments),
    Completions(manual::CompletionsArguments),
    Man(manual::ManArguments),
}

/// A command has failed. The text says what to do next.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The data folder or its configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The member's identity could not be loaded.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The ceremony has failed.
    #[error(transparent)]
    Ceremony(#[from] crate::ceremony::RunError),
    /// A repair has failed.
    #[error(transparent)]
    Repair(#[from] crate::ceremony::repair::RepairRunError),
    /// A backup could not be made or used.
    #[error(transparent)]
    Backup(#[from] crate::backup::BackupError),
    /// Anything else, in words.
    #[error("{0}")]
    Failed(String),
}

/// What a command gives.
struct Output {
    /// For people; ends without a line end.
    text: String,
    /// For programs.
    json: serde_json::Value,
}

/// Runs the command of this process.
pub fn main() -> ExitCode {
    // Wrong usage ends here with code 2, `--help` and `--version` with 0.
    let arguments = Arguments::parse();
    let json = arguments.json;
    let result = arguments.run();
    let (mut stdout, mut stderr) = (std::io::stdout().lock(), std::io::stderr().lock());
    let printed = match &result {
        Ok(output) if json => writeln!(stdout, "{}", output.json),
        Ok(output) if output.text.is_empty() => Ok(()),
        Ok(output) => writeln!(stdout, "{}", output.text.trim_end()),
        Err(error) if json => writeln!(stderr, "{}", json!({ "error": error.to_string() })),
        Err(error) => writeln!(stderr, "aquiferd: {error}"),
    };
    match (result, printed) {
        (Ok(_), Ok(())) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

impl Arguments {
    fn run(self) -> Result<Output, CliError> {
        let Self { data_dir, json, log, log_format, command } = self;
        let folder = |default: &str| -> Result<DataDir, CliError> {
            let folder = data_dir.clone().or_else(|| Some(std::env::home_dir()?.join(default)));
            let folder = folder.ok_or_else(|| CliError::Failed("name the data folder with --data-dir".to_owned()))?;
            Ok(DataDir::new(folder))
        };
        let data = || folder(".aquiferd");
        let load = || Ok::<Config, CliError>(Config::load(data()?)?);
        let logging = Logging { filter: log, format: log_format };
        match command {
            Command::Init(arguments) => arguments.run(data()?),
            Command::Roster(arguments) => arguments.run(),
            Command::Ceremony(arguments) => {
                let config = load()?;
                // Its own progress is what a person wants to see.
                logging.start(None, "warn")?;
                arguments.run(config, if json { ceremony::Shown::Nothing } else { ceremony::Shown::Progress })
            }
            Command::Run(arguments) => {
                let config = load()?;
                logging.start(Some(&config.file.log), "info")?;
                arguments.run(config)
            }
            Command::Status(arguments) => {
                logging.start(None, "error")?;
                arguments.run(&load()?)
            }
            Command::Backup(arguments) => arguments.run(&load()?),
            Command::Restore(arguments) => {
                logging.start(None, "error")?;
                arguments.run(&data()?)
            }
            Command::Repair(arguments) => {
                let config = load()?;
                logging.start(None, "warn")?;
                arguments.run(&config, if json { repair::Shown::Nothing } else { repair::Shown::Progress })
            }
            Command::Auditor(arguments) => {
                logging.start(None, "info")?;
                // Never the folder of a member by default: the auditor shares nothing with it.
                let data = folder(".aquifer-auditor")?;
                arguments.run(data, if json { auditor::Shown::Log } else { auditor::Shown::Progress })
            }
            Command::Halt(arguments) => arguments.run(&load()?),
            Command::Resume(arguments) => arguments.run(&load()?),
            Command::DismissObjection(arguments) => arguments.run(&load()?),
            Command::ElementsConf(arguments) => arguments.run(load),
            Command::Completions(arguments) => Ok(arguments.run()),
            Command::Man(arguments) => arguments.run(),
        }
    }
}

/// What the command line says of logging.
struct Logging {
    filter: Option<String>,
    format: Option<LogFormat>,
}

impl Logging {
    /// Logs to standard error: what the command line says, else the environment, else the configuration, else `otherwise`.
    fn start(&self, config: Option<&LogConfig>, otherwise: &str) -> Result<(), CliError> {
        let environment = std::env::var(EnvFilter::DEFAULT_ENV).ok().filter(|filter| !filter.is_empty());
        let filter = self.filter.clone().or(environment);
        let filter =
            filter.or_else(|| config.map(|config| config.filter.clone())).unwrap_or_else(|| otherwise.to_owned());
        let filter = EnvFilter::try_new(&filter)
            .map_err(|error| CliError::Failed(format!("the log filter {filter:?} is wrong: {error}")))?;
        // Colours are for people; a file would keep their codes.
        let colours = std::io::stderr().is_terminal();
        let subscriber =
            tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(std::io::stderr);
        // Fails only where this process logs already.
        let _started = match self.format.or(config.map(|config| config.format)).unwrap_or_default() {
            LogFormat::Text => subscriber.try_init(),
            LogFormat::Json => subscriber.json().try_init(),
        };
        Ok(())
    }
}

/// Runs a command that uses the network.
fn block_on<T>(task: impl Future<Output = T>) -> Result<T, CliError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| CliError::Failed(format!("cannot start threads: {error}")))?;
    Ok(runtime.block_on(task))
}

/// A token that is cancelled by Ctrl-C and SIGTERM.
fn stop_signal() -> Result<CancellationToken, CliError> {
    use tokio::signal::unix::{SignalKind, signal};
    let stop = CancellationToken::new();
    let wait = |kind| signal(kind).map_err(|error| CliError::Failed(format!("cannot wait for signals: {error}")));
    let (mut interrupt, mut terminate) = (wait(SignalKind::interrupt())?, wait(SignalKind::terminate())?);
    let stopping = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        stopping.cancel();
    });
    Ok(stop)
}
