//! The auditor of one member: a folder of its own and, while it runs, an `aquiferd auditor` process.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use crate::error::HarnessError;
use crate::json::Printed;
use crate::process::{self, Process};

/// Time for a command that only makes files.
const COMMAND_LIMIT: Duration = Duration::from_secs(60);
/// Time for an audit of a whole chain.
const AUDIT_LIMIT: Duration = Duration::from_secs(300);
/// Time for a clean shutdown.
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// An auditor, running or not. Dropping it kills the process.
#[derive(Debug)]
pub struct Auditor {
    member: String,
    key: String,
    folder: PathBuf,
    log: PathBuf,
    aquiferd: PathBuf,
    process: Option<Process>,
}

impl Auditor {
    /// `aquiferd auditor init`: makes the folder and the key of an auditor that shall follow a member.
    ///
    /// # Errors
    /// When the command fails.
    pub fn init(aquiferd: &Path, base: &Path, member: &str) -> Result<Self, HarnessError> {
        let mut auditor = Self {
            member: member.to_owned(),
            key: String::new(),
            folder: base.join(format!("auditor-of-{member}")),
            log: base.join(format!("auditor-of-{member}.log")),
            aquiferd: aquiferd.to_owned(),
            process: None,
        };
        let mut command = auditor.command();
        command.args(["init", "--json"]);
        auditor.key = Printed::by(command, COMMAND_LIMIT)?.text("key")?;
        Ok(auditor)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.aquiferd);
        command.arg("--data-dir").arg(&self.folder).arg("auditor");
        command
    }

    fn audit(&self, network: &Path) -> Command {
        let mut command = self.command();
        command.args(["--member", &self.member, "--network"]).arg(network);
        command
    }

    /// The public key that its member lists.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The log of its process, over all restarts.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Starts it with the federation's network file.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn start(&mut self, network: &Path) -> Result<(), HarnessError> {
        let name = format!("auditor of {}", self.member);
        self.process = Some(Process::spawn(name, self.audit(network), &self.log)?);
        Ok(())
    }

    /// `aquiferd auditor --once --json`: audits up to the end of the chain and gives what it counted.
    ///
    /// # Errors
    /// When it refuses a block, or cannot come to the end.
    pub fn once(&self, network: &Path) -> Result<Printed, HarnessError> {
        let mut command = self.audit(network);
        command.args(["--once", "--json"]);
        Printed::by(command, AUDIT_LIMIT)
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

    /// kill -9.
    pub fn kill9(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill9();
        }
    }

    /// Waits until it ends by itself.
    ///
    /// # Errors
    /// When it does not, or was not running.
    pub fn wait_end(&mut self, limit: Duration) -> Result<ExitStatus, HarnessError> {
        let running = self.process.as_mut();
        let running = running.ok_or_else(|| HarnessError::Story(format!("no auditor of {} runs", self.member)))?;
        running.wait(limit)
    }

    /// SIGTERM, and waits for the end.
    ///
    /// # Errors
    /// When it does not end within 30 seconds, or was not running.
    pub fn terminate(&mut self) -> Result<ExitStatus, HarnessError> {
        let process = self.process.take();
        let mut process = process.ok_or_else(|| HarnessError::Story(format!("no auditor of {} runs", self.member)))?;
        process.check_running()?;
        process.terminate(STOP_LIMIT)
    }

    /// The end of its log.
    pub fn tail(&self) -> String {
        process::tail(&self.log)
    }
}
