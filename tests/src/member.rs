//! One member of the federation: a data folder and, while it runs, an `aquiferd` process.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use elements::BlockHash;
use rusqlite::{Connection, OpenFlags};

use crate::auditor::Auditor;
use crate::binaries::Binaries;
use crate::bitcoind::Bitcoind;
use crate::elementsd::Elementsd;
use crate::error::HarnessError;
use crate::interfaces::Interfaces;
use crate::json::Printed;
use crate::ports::ReservedPort;
use crate::process::{self, Process};
use crate::wait::{self, Answer};

/// Time for a command that only looks at files or asks a running member.
const COMMAND_LIMIT: Duration = Duration::from_secs(60);
/// When members sign a batch by script that the treasury key has not signed.
const SCRIPT_AFTER_SECONDS: u32 = 10;
/// The setting for that in `aquiferd.toml`.
const SCRIPT_AFTER: &str = "script_after_s";
/// Tells a sabotaged member what it does.
const SABOTAGE: &str = "AQUIFER_SABOTAGE";
/// Time for a clean shutdown.
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// A member, running or not. Dropping it kills the process.
#[derive(Debug)]
pub struct Member {
    name: String,
    folder: PathBuf,
    log: PathBuf,
    aquiferd: PathBuf,
    peer_address: String,
    api_address: String,
    interfaces: Option<Interfaces>,
    deed: Option<Deed>,
    process: Option<Process>,
}

/// What a sabotaged member does (`functionary/src/node/sabotage.rs`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// It says nothing in the signing sessions of the treasury key.
    Silence,
    /// It answers there with wrong shares, and leads no session itself.
    Lies,
    /// It sends notices to halt and to resume in the name of the first other member.
    Forgery,
}

impl Deed {
    /// As the sabotaged program is told.
    const fn name(self) -> &'static str {
        match self {
            Self::Silence => "silent-signer",
            Self::Lies => "lying-signer",
            Self::Forgery => "notice-forger",
        }
    }
}

/// What `aquiferd status --json` tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Final height.
    pub height: u32,
    /// Hash of the block there.
    pub tip_hash: String,
    /// How many other members it is connected to.
    pub connected: usize,
}

impl Member {
    /// `aquiferd init`: makes the seed and the public card of a member that listens to one auditor.
    ///
    /// # Errors
    /// When the command fails.
    pub fn init(
        aquiferd: &Path,
        base: &Path,
        name: &str,
        ports: [ReservedPort; 2],
        bitcoind: &Bitcoind,
        auditor: &Auditor,
    ) -> Result<Self, HarnessError> {
        let [peer, api] = ports.map(|port| port.address().to_string());
        let member = Self {
            name: name.to_owned(),
            folder: base.join(name),
            log: base.join(format!("{name}.log")),
            aquiferd: aquiferd.to_owned(),
            peer_address: peer.clone(),
            api_address: api.clone(),
            interfaces: None,
            deed: None,
            process: None,
        };
        let mut command = member.command("init");
        command.args(["--name", name, "--peer-address", &peer, "--api-address", &api]);
        command.args(["--bitcoind-url", &bitcoind.rpc_url()]).arg("--bitcoind-cookie").arg(bitcoind.cookie_path());
        command.args(["--auditor", auditor.key()]);
        process::run(command, COMMAND_LIMIT)?;
        member.configure(&format!("[treasury]\n{}", script_after(SCRIPT_AFTER_SECONDS)))?;
        Ok(member)
    }

    /// `aquiferd <subcommand>` on this member's folder.
    pub fn command(&self, subcommand: &str) -> Command {
        self.command_of(&self.aquiferd, subcommand)
    }

    fn command_of(&self, program: &Path, subcommand: &str) -> Command {
        let mut command = Command::new(program);
        command.arg("--data-dir").arg(&self.folder).arg(subcommand);
        command
    }

    /// The name on its card.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its data folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The log of its process, over all restarts.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Where other members reach it.
    pub fn peer_address(&self) -> &str {
        &self.peer_address
    }

    /// Where wallets reach it.
    pub fn api_address(&self) -> &str {
        &self.api_address
    }

    /// Has it serve other software, from its next start on.
    ///
    /// # Errors
    /// When no port is free or its configuration cannot be written.
    pub fn serve_others(&mut self) -> Result<(), HarnessError> {
        let interfaces = Interfaces::find()?;
        self.configure(&interfaces.section())?;
        self.interfaces = Some(interfaces);
        Ok(())
    }

    /// Where it serves other software.
    ///
    /// # Errors
    /// When it does not.
    pub fn interfaces(&self) -> Result<Interfaces, HarnessError> {
        self.interfaces.ok_or_else(|| HarnessError::Story(format!("{} has no interfaces", self.name)))
    }

    /// The number of its process.
    ///
    /// # Errors
    /// When it does not run.
    pub fn process_id(&self) -> Result<u32, HarnessError> {
        let process = self.process.as_ref().map(Process::id);
        process.ok_or_else(|| HarnessError::Story(format!("{} does not run", self.name)))
    }

    /// The card that goes to the other operators.
    pub fn card(&self) -> PathBuf {
        self.folder.join("card.json")
    }

    /// What wallets get of the federation, after the ceremony.
    pub fn network_file(&self) -> PathBuf {
        self.folder.join("network.json")
    }

    /// Starts `aquiferd ceremony` with a roster. All members must run it at the same time.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn ceremony(&self, roster: &Path) -> Result<Process, HarnessError> {
        let mut command = self.command("ceremony");
        command.arg("--roster").arg(roster);
        Process::spawn(format!("ceremony of {}", self.name), command, &self.log)
    }

    /// Starts `aquiferd run`.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn start(&mut self) -> Result<(), HarnessError> {
        let command = match self.deed {
            None => self.command("run"),
            Some(deed) => {
                let mut command = self.command_of(&Binaries::sabotaged()?, "run");
                command.env(SABOTAGE, deed.name());
                command
            }
        };
        self.process = Some(Process::spawn(format!("aquiferd of {}", self.name), command, &self.log)?);
        Ok(())
    }

    /// Makes it do this when it starts again, or what it should.
    pub const fn sabotage(&mut self, deed: Option<Deed>) {
        self.deed = deed;
    }

    /// kill -9.
    pub fn kill9(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill9();
        }
    }

    /// SIGTERM, and waits for the end.
    ///
    /// # Errors
    /// When it does not end within 30 seconds, or was not running.
    pub fn terminate(&mut self) -> Result<ExitStatus, HarnessError> {
        let mut process =
            self.process.take().ok_or_else(|| HarnessError::Story(format!("{} is not running", self.name)))?;
        process.check_running()?;
        process.terminate(STOP_LIMIT)
    }

    /// Is the process meant to be up?
    pub const fn is_started(&self) -> bool {
        self.process.is_some()
    }

    /// # Errors
    /// [`HarnessError::Died`] when the process was started and is gone.
    pub fn check_running(&mut self) -> Result<(), HarnessError> {
        self.process.as_mut().map_or(Ok(()), Process::check_running)
    }

    /// `aquiferd status --json`.
    ///
    /// # Errors
    /// When the member does not answer.
    pub fn status(&self) -> Result<Status, HarnessError> {
        let printed = self.printed_status()?;
        let peers = printed.list("peers")?;
        Ok(Status {
            height: printed.height("height")?,
            tip_hash: printed.text("tip_hash")?,
            connected: peers.iter().filter(|peer| peer.value().get("connected") == Some(&true.into())).count(),
        })
    }

    /// All that `aquiferd status --json` tells.
    ///
    /// # Errors
    /// When the member does not answer.
    pub fn printed_status(&self) -> Result<Printed, HarnessError> {
        let mut command = self.command("status");
        command.arg("--json");
        Printed::by(command, COMMAND_LIMIT)
    }

    /// Its disk is lost: the folder of the member, which does not run, goes to `to`. What is left are the words of its seed.
    ///
    /// # Errors
    /// When the folder cannot be moved.
    pub fn lose_disk(&mut self, to: &Path) -> Result<String, HarnessError> {
        self.kill9();
        let seed = self.folder.join("seed");
        let words = fs::read_to_string(&seed).map_err(HarnessError::file("read", &seed))?;
        fs::rename(&self.folder, to).map_err(HarnessError::file("move", &self.folder))?;
        Ok(words)
    }

    /// `aquiferd restore` from the words of its seed.
    ///
    /// # Errors
    /// When the command fails.
    pub fn restore(&self, words: &str, arguments: &[&str]) -> Result<String, HarnessError> {
        let mut command = self.command("restore");
        command.args(arguments);
        process::run_with_input(command, words, COMMAND_LIMIT)
    }

    /// Waits until its status is such.
    ///
    /// # Errors
    /// When it is not within `limit`: with the last status.
    pub fn wait_status(
        &self,
        limit: Duration,
        what: &str,
        fits: impl Fn(&Printed) -> bool,
    ) -> Result<Printed, HarnessError> {
        wait::until(what, limit, || {
            Ok(match self.printed_status() {
                Ok(status) if fits(&status) => Answer::Ready(status),
                Ok(status) => Answer::NotYet(status.value().to_string()),
                Err(error) => Answer::NotYet(error.to_string()),
            })
        })
    }

    /// Adds lines to its `aquiferd.toml`, which it reads when it starts.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn configure(&self, lines: &str) -> Result<(), HarnessError> {
        self.rewrite(|text| format!("{text}\n{lines}\n"))
    }

    /// How many seconds it gives the treasury key for a batch, when it starts again, before it signs by script.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn wait_for_key(&self, seconds: u32) -> Result<(), HarnessError> {
        let setting = |line: &str| line.trim_start().starts_with(SCRIPT_AFTER);
        self.rewrite(|text| {
            let lines = text.lines();
            let lines = lines.map(|line| if setting(line) { script_after(seconds) } else { line.to_owned() });
            lines.collect::<Vec<_>>().join("\n")
        })
    }

    /// Makes it pay such a fee rate, in satoshi per 1,000 virtual bytes, when it starts again: in a regtest that mines few
    /// transactions bitcoind has no estimate.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn expect_fees(&self, sat_per_kvb: u64) -> Result<(), HarnessError> {
        let section = format!("[treasury]\nfallback_fee_rate_sat_per_kvb = {sat_per_kvb}");
        self.rewrite(|text| text.replace("[treasury]", &section))
    }

    /// Changes its `aquiferd.toml`.
    fn rewrite(&self, change: impl FnOnce(&str) -> String) -> Result<(), HarnessError> {
        let path = self.folder.join("aquiferd.toml");
        let text = fs::read_to_string(&path).map_err(HarnessError::file("read", &path))?;
        fs::write(&path, change(&text)).map_err(HarnessError::file("write", &path))
    }

    /// Starts it anew with an elementsd of its own, which it feeds and asks.
    ///
    /// # Errors
    /// When it does not end or does not start.
    pub fn consult(&mut self, elementsd: &Elementsd) -> Result<(), HarnessError> {
        self.configure(&format!(
            "[elementsd]\nurl = \"{}\"\ncookie_file = \"{}\"\n",
            elementsd.rpc_url(),
            elementsd.cookie_path().display()
        ))?;
        self.terminate()?;
        self.start()
    }

    /// `aquiferd halt` or `aquiferd resume`, said without being asked back.
    ///
    /// # Errors
    /// When the command fails.
    pub fn say(&self, word: &str, reason: &str) -> Result<Printed, HarnessError> {
        let mut command = self.command(word);
        command.args(["--reason", reason, "--yes", "--json"]);
        Printed::by(command, COMMAND_LIMIT)
    }

    /// `aquiferd elements-conf --with-bitcoind`: the configuration with which an elementsd follows the chain and checks
    /// the depth of peg-ins itself.
    ///
    /// # Errors
    /// When the command fails.
    pub fn elements_conf(&self) -> Result<String, HarnessError> {
        let mut command = self.command("elements-conf");
        command.arg("--with-bitcoind");
        process::run(command, COMMAND_LIMIT)
    }

    /// The header that it signed at each height, from the record it made before the signature left.
    ///
    /// # Errors
    /// When the record cannot be read.
    pub fn signed_headers(&self) -> Result<BTreeMap<u32, BlockHash>, HarnessError> {
        let signed = signed_in(&self.folder, "SELECT height, block FROM headers")?;
        Ok(signed.into_iter().map(|(height, block)| (height, BlockHash::from_byte_array(block))).collect())
    }

    /// Everything it has logged.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn logged(&self) -> Result<String, HarnessError> {
        fs::read_to_string(&self.log).map_err(HarnessError::file("read", &self.log))
    }
}

/// The line of `aquiferd.toml` that says when a member signs by script.
fn script_after(seconds: u32) -> String {
    format!("{SCRIPT_AFTER} = {seconds}")
}

/// What stands at each height in the `signer.db` of a folder: 32 bytes that say what was signed.
///
/// # Errors
/// When the record cannot be read.
pub fn signed_in(folder: &Path, query: &str) -> Result<BTreeMap<u32, [u8; 32]>, HarnessError> {
    let path = folder.join("signer.db");
    let failed = |error: rusqlite::Error| HarnessError::Story(format!("{}: {error}", path.display()));
    let database = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(failed)?;
    let mut query = database.prepare(query).map_err(failed)?;
    let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).map_err(failed)?;
    rows.collect::<Result<_, _>>().map_err(failed)
}
