//! The program `aquifer`.
//!
//! One command, one answer: text for people on the terminal, or with `--json` one object on standard output in which
//! every amount is a raw integer. Progress and notices go to standard error. Exit codes: 0 done, 1 failed, 2 wrong usage.

mod args;
mod asset;
mod chain;
mod context;
mod manual;
mod names;
mod pay;
mod peg;
mod pset;
mod report;
#[cfg(test)]
mod tests;
mod wallet;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use serde_json::json;

pub use args::Arguments;
use context::Context;
use report::Report;

use crate::amount::AmountError;
use crate::assets::AssetError;
use crate::backend::BackendError;
use crate::keystore::KeystoreError;
use crate::peg::PegError;
use crate::pset::PsetError;
use crate::store::StoreError;
use crate::wallet::WalletError;

/// A command failed.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// An amount cannot be read.
    #[error(transparent)]
    Amount(#[from] AmountError),
    /// An argument cannot be used.
    #[error("{0}")]
    Usage(String),
    /// The chain cannot be asked or believed.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// Secrets cannot be used.
    #[error(transparent)]
    Keystore(#[from] KeystoreError),
    /// The wallet cannot do it.
    #[error(transparent)]
    Wallet(#[from] WalletError),
    /// The assets part cannot do it.
    #[error(transparent)]
    Asset(#[from] AssetError),
    /// The peg part cannot do it.
    #[error(transparent)]
    Peg(#[from] PegError),
    /// A PSET cannot be used.
    #[error(transparent)]
    Pset(#[from] PsetError),
    /// The records of the wallet cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file with a secret, or the terminal, cannot be read.
    #[error("{what} cannot be read: {source}")]
    Input {
        /// What.
        what: String,
        /// Why.
        source: std::io::Error,
    },
    /// A file that was asked for cannot be written.
    #[error("{path} cannot be written: {source}; name a new file in a folder of yours")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// No passphrase, and nobody to ask.
    #[error("a passphrase is needed and there is no terminal; set AQUIFER_PASSPHRASE or give --passphrase-file FILE")]
    NoPassphrase,
    /// The two entries differ.
    #[error("the two passphrases differ; nothing was made")]
    PassphrasesDiffer,
    /// The output cannot be written.
    #[error("the output cannot be written: {0}")]
    Output(std::io::Error),
    /// No home folder is known.
    #[error("no data folder is known; give one with --data-dir FOLDER or AQUIFER_DATA_DIR")]
    NoHome,
    /// The data folder given is not usable.
    #[error("{path} is not a folder; give one with --data-dir")]
    NotAFolder {
        /// The path.
        path: PathBuf,
    },
}

impl CliError {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Amount(_) | Self::Usage(_) => 2,
            Self::Keystore(
                KeystoreError::BadName(_)
                | KeystoreError::BadCosigner { .. }
                | KeystoreError::PrivateCosigner
                | KeystoreError::CosignerTwice(_)
                | KeystoreError::CosignerCount(_)
                | KeystoreError::Threshold { .. },
            ) => 2,
            _ => 1,
        }
    }
}

/// Runs the program with the arguments of the process.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let as_json = arguments.json;
    let outcome = Context::new(&arguments).and_then(|context| run(&context, arguments.command));
    match outcome.and_then(|report| print(&report, as_json)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut text = error.to_string();
            if as_json {
                text = json!({ "error": text }).to_string();
                // Nobody reads it any more if this fails.
                let _ = writeln!(std::io::stdout(), "{text}");
            } else {
                let _ = writeln!(std::io::stderr(), "error: {text}");
            }
            ExitCode::from(error.exit_code())
        }
    }
}

/// Runs one command and returns what it has to say.
fn run(context: &Context, command: args::Command) -> Result<Report, CliError> {
    use args::Command;
    match command {
        Command::Wallet(command) => wallet::run(context, command),
        Command::Address(options) => pay::address(context, &options),
        Command::Balance => pay::balance(context),
        Command::Send(options) => pay::send(context, &options),
        Command::Pset(command) => pset::run(context, command),
        Command::History(options) => pay::history(context, &options),
        Command::Tx(options) => pay::transaction(context, &options),
        Command::Asset(command) => asset::run(context, command),
        Command::Pegin(options) => peg::pegin(context, &options),
        Command::Pegout(options) => peg::pegout(context, &options),
        Command::Federation(args::FederationCommand::Info) => chain::info(context),
        Command::Block(options) => chain::block(context, &options),
        Command::Completions { shell } => Ok(manual::completions(shell)),
        Command::Man { folder } => manual::man(&folder),
    }
}

fn print(report: &Report, as_json: bool) -> Result<(), CliError> {
    let mut out = std::io::stdout().lock();
    let written = if as_json { writeln!(out, "{}", report.json) } else { writeln!(out, "{}", report.text.trim_end()) };
    written.and_then(|()| out.flush()).map_err(CliError::Output)
}
