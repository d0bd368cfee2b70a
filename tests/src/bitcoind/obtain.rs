//! Where bitcoind comes from.
//!
//! In this order: the variable `BITCOIND_EXE`, the `PATH`, and on Debian the distribution's own package, unpacked below the
//! build folder. That package needs newer libraries than a stable system has, so it comes with everything that it depends on
//! and is started through the loader of its own tree.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use crate::error::HarnessError;
use crate::packages::{Origin, Packaged, Tree, on_path, run_quietly};

const BITCOIND: Packaged = Packaged {
    program: "bitcoind",
    packages: &["bitcoin-knots"],
    origin: Origin::Suites(&["trixie", "sid"]),
    size_mb: 50,
    advice: "install Bitcoin Core 25 or newer and run again, or set BITCOIND_EXE to the path of its `bitcoind`:\n  \
        Ubuntu:  sudo snap install bitcoin-core   (then BITCOIND_EXE=/snap/bin/bitcoin-core.daemon)\n  \
        Fedora:  sudo dnf install bitcoin-core-server\n  \
        Arch:    sudo pacman -S bitcoin-daemon\n  \
        macOS:   brew install bitcoin\n  \
        others:  https://bitcoincore.org/en/download/",
};

/// How to start bitcoind: a program and the arguments that come before bitcoind's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    path: PathBuf,
    leading_args: Vec<OsString>,
}

impl Program {
    fn plain(path: PathBuf) -> Self {
        Self { path, leading_args: Vec::new() }
    }

    /// A bitcoind in an unpacked tree, started through the tree's own loader with the tree's own libraries.
    fn unpacked(tree: &Tree) -> Self {
        let libraries = tree.libraries();
        Self {
            path: libraries.join(tree.platform.loader),
            leading_args: vec![
                "--library-path".into(),
                libraries.into_os_string(),
                tree.root.join("usr/bin/bitcoind").into_os_string(),
            ],
        }
    }

    /// A command that starts bitcoind; its own arguments are to be added.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command.args(&self.leading_args);
        command
    }
}

/// Finds bitcoind, or obtains it. Several processes may call it at once: one obtains, the others wait for it.
///
/// # Errors
///
/// What could not be done and, where the harness cannot help itself, which command installs Bitcoin Core.
pub fn program() -> Result<Program, HarnessError> {
    if let Some(path) = std::env::var_os("BITCOIND_EXE").filter(|value| !value.is_empty()) {
        let path = PathBuf::from(path);
        if path.is_file() {
            return Ok(Program::plain(path));
        }
        return Err(HarnessError::Bitcoind(format!("BITCOIND_EXE names {}, which is not a file", path.display())));
    }
    if let Some(path) = on_path("bitcoind") {
        return Ok(Program::plain(path));
    }
    let tree = BITCOIND.unpacked(|tree| run_quietly(Program::unpacked(tree).command().arg("-version")))?;
    Ok(Program::unpacked(&tree))
}
