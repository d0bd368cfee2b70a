//! A stock elementsd that follows our chain with nothing but the configuration `aquiferd elements-conf` prints.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use aquifer_wallet::backend::Ledger;
use elements::Block;
use elements::encode::serialize_hex;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::bitcoind::Rpc;
use crate::error::HarnessError;
use crate::json::Printed;
use crate::ports::ReservedPort;
use crate::process::Process;
use crate::wait::{self, Answer};

/// The variable that names the program.
pub const VARIABLE: &str = "ELEMENTSD_EXE";

const START_LIMIT: Duration = Duration::from_secs(60);

/// How long it may take to write everything down and end.
const STOP_LIMIT: Duration = Duration::from_secs(120);

/// A running elementsd. Dropping it kills the process.
#[derive(Debug)]
pub struct Elementsd {
    process: Process,
    program: OsString,
    rpc_url: String,
    cookie: PathBuf,
    folder: TempDir,
}

impl Elementsd {
    /// The program, where the user named one.
    pub fn program() -> Option<OsString> {
        env::var_os(VARIABLE).filter(|value| !value.is_empty())
    }

    /// Starts it with a configuration, without peers but those that it names, on ports of its own.
    ///
    /// # Errors
    /// When it does not start: with the end of its log.
    pub fn start(program: OsString, configuration: &str, chain: &str) -> Result<Self, HarnessError> {
        Self::start_with(program, configuration, chain, &[])
    }

    /// The same with further arguments.
    ///
    /// # Errors
    /// When it does not start: with the end of its log.
    pub fn start_with(
        program: OsString,
        configuration: &str,
        chain: &str,
        arguments: &[&str],
    ) -> Result<Self, HarnessError> {
        let folder = tempfile::Builder::new()
            .prefix("aquifer-elementsd-")
            .tempdir()
            .map_err(HarnessError::file("make a folder in", &env::temp_dir()))?;
        let path = folder.path().join("elements.conf");
        fs::write(&path, configuration).map_err(HarnessError::file("write", &path))?;
        let cookie = folder.path().join(chain).join(".cookie");
        let (process, rpc_url) = spawn(&program, folder.path(), arguments)?;
        let mut elementsd = Self { process, program, rpc_url, cookie, folder };
        elementsd.wait_until_it_answers()?;
        Ok(elementsd)
    }

    /// Lets it end and starts it again on what it has, with other arguments and a new log.
    ///
    /// # Errors
    /// When it does not end or does not start.
    pub fn restart(&mut self, arguments: &[&str]) -> Result<(), HarnessError> {
        self.process.terminate(STOP_LIMIT)?;
        fs::remove_file(self.process.log()).map_err(HarnessError::file("remove", self.process.log()))?;
        (self.process, self.rpc_url) = spawn(&self.program, self.folder.path(), arguments)?;
        self.wait_until_it_answers()
    }

    /// Lets it end; gives its log since it was started last.
    ///
    /// # Errors
    /// When it does not end, or its log cannot be read.
    pub fn stop(&mut self) -> Result<String, HarnessError> {
        self.process.terminate(STOP_LIMIT)?;
        fs::read_to_string(self.process.log()).map_err(HarnessError::file("read", self.process.log()))
    }

    /// The operating system's number for it.
    pub fn process_id(&self) -> u32 {
        self.process.id()
    }

    fn wait_until_it_answers(&mut self) -> Result<(), HarnessError> {
        wait::until("elementsd answers", START_LIMIT, || {
            self.process.check_running()?;
            Ok(match self.call::<Value>("getblockchaininfo", &[]) {
                Ok(_) => Answer::Ready(()),
                Err(error) => Answer::NotYet(error.to_string()),
            })
        })
    }

    /// Where its RPC service listens.
    pub fn rpc_url(&self) -> &str {
        &self.rpc_url
    }

    /// The login that it writes at its start.
    pub fn cookie_path(&self) -> &Path {
        &self.cookie
    }

    /// Calls a method.
    ///
    /// # Errors
    /// When it is out of reach or refuses.
    pub fn call<T: DeserializeOwned>(&self, method: &str, arguments: &[Value]) -> Result<T, HarnessError> {
        Rpc::new(&self.rpc_url, &self.cookie)?
            .call(method, arguments)
            .map_err(|error| HarnessError::Story(format!("elementsd: {error}\n{}", self.process.tail())))
    }

    /// Gives it the final blocks from 1 to `height`, on the last of which it must end; gives them back.
    ///
    /// # Errors
    /// When elementsd refuses a block, or has another best one afterwards.
    pub fn follow(&self, ledger: &Ledger, height: u32) -> Result<Vec<Block>, HarnessError> {
        let mut blocks = Vec::new();
        for height in 1..=height {
            let block = ledger.block(height)?;
            self.submit_block(height, &serialize_hex(&block))?;
            blocks.push(block);
        }
        let best: String = self.call("getbestblockhash", &[])?;
        match blocks.last().map(|block| block.block_hash().to_string()) {
            Some(tip) if tip != best => {
                Err(HarnessError::Story(format!("elementsd ends on {best} and not on {tip}, block {height}")))
            }
            _ => Ok(blocks),
        }
    }

    /// `submitblock`.
    ///
    /// # Errors
    /// When elementsd refuses the block, with its reason.
    pub fn submit_block(&self, height: u32, block_hex: &str) -> Result<(), HarnessError> {
        match self.call::<Option<String>>("submitblock", &[json!(block_hex)])? {
            None => Ok(()),
            Some(reason) => {
                let tail = self.process.tail();
                Err(HarnessError::Story(format!("elementsd refuses block {height}: {reason}\n{tail}")))
            }
        }
    }
}

/// Whether the elementsd of a member has every final block of it, by the member's status.
pub fn follows(status: &Printed) -> bool {
    let height = status.height("elementsd/height").ok();
    height.is_some() && height == status.height("height").ok()
}

/// Starts the program on a folder; gives the address of its RPC too.
fn spawn(program: &OsStr, folder: &Path, arguments: &[&str]) -> Result<(Process, String), HarnessError> {
    let rpc = ReservedPort::new()?;
    let rpc_url = format!("http://{}", rpc.address());
    let mut command = Command::new(program);
    command.arg(format!("-datadir={}", folder.display()));
    command.args(["-server", "-listen=0", "-dnsseed=0", "-rpcbind=127.0.0.1", "-rpcallowip=127.0.0.1"]);
    let configuration = folder.join("elements.conf");
    let configured = fs::read_to_string(&configuration).map_err(HarnessError::file("read", &configuration))?;
    if !configured.lines().any(|line| line.starts_with("connect=")) {
        command.arg("-connect=0");
    }
    command.args(arguments);
    command.arg(format!("-rpcport={}", rpc.release()));
    Ok((Process::spawn("elementsd", command, &folder.join("elementsd.log"))?, rpc_url))
}
