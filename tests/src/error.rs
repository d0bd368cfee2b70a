//! What can go wrong when the harness drives real programs. Every error names the program, the file or the condition,
//! and carries the last lines of the log that explains it.

use std::path::{Path, PathBuf};

use thiserror::Error;

/// An error of the harness.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HarnessError {
    /// A file or folder could not be used.
    #[error("cannot {action} {path}: {source}", path = path.display())]
    File {
        /// What was tried, as a verb.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// A program could not be started or waited for.
    #[error("cannot {action} {program}: {source}")]
    Program {
        /// What was tried, as a verb.
        action: &'static str,
        /// The program.
        program: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// A program ended with an exit code that was not asked for.
    #[error("`{command}` ended with {status}\n{output}")]
    Failed {
        /// The command line.
        command: String,
        /// Its exit status.
        status: String,
        /// The last lines of what it said.
        output: String,
    },
    /// A program that should stay up is gone.
    #[error("{name} ended by itself with {status}; the last lines of {log}:\n{tail}", log = log.display())]
    Died {
        /// The process.
        name: String,
        /// Its exit status.
        status: String,
        /// Its log file.
        log: PathBuf,
        /// The end of the log.
        tail: String,
    },
    /// Something did not happen in time.
    #[error("{what}: not within {seconds} s; last seen: {last}")]
    Timeout {
        /// What was waited for.
        what: String,
        /// How long, in seconds.
        seconds: u64,
        /// The last state that was seen.
        last: String,
    },
    /// A program's output lacks what it should have.
    #[error("`{command}`: {problem}; it printed: {output}")]
    Output {
        /// The command line.
        command: String,
        /// What is missing or wrong.
        problem: String,
        /// What it printed.
        output: String,
    },
    /// No free port was found.
    #[error("no free port on 127.0.0.1 between {from} and {to} after {tries} tries")]
    NoPort {
        /// First port of the range.
        from: u16,
        /// Last port of the range.
        to: u16,
        /// How many were tried.
        tries: u32,
    },
    /// A program that is not on this machine cannot be had.
    #[error("{program}: {problem}")]
    Unobtainable {
        /// The program.
        program: &'static str,
        /// Why, and what a person can do.
        problem: String,
    },
    /// bitcoind, or another node with its interface, answered with an error or not at all.
    #[error("RPC: {0}")]
    Bitcoind(String),
    /// The members' service did not answer, or what it answered cannot be believed.
    #[error(transparent)]
    Ledger(#[from] aquifer_wallet::backend::BackendError),
    /// Something the story promises is not so.
    #[error("{0}")]
    Story(String),
    /// Ctrl-C or SIGTERM.
    #[error("interrupted")]
    Interrupted,
}

impl HarnessError {
    /// For `map_err` on file operations.
    pub fn file(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { action, path, source }
    }

    /// For `map_err` on processes.
    pub fn program(action: &'static str, program: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let program = program.into();
        move |source| Self::Program { action, program, source }
    }
}
