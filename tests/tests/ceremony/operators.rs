//! Four operators before their ceremony: folders, cards, a roster, and what each is shown.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use aquifer_federation::ceremony::{Ceremony, Step};
use aquifer_tests::HarnessError;
use aquifer_tests::binaries::Binaries;
use aquifer_tests::ports::ReservedPort;
use aquifer_tests::process::{self, Process};
use aquifer_tests::wait::{self, Answer};
use tempfile::TempDir;

/// Time for a ceremony, and for anything in it.
pub(crate) const LIMIT: Duration = Duration::from_secs(120);
pub(crate) const NAMES: [&str; 4] = ["alpha", "beta", "gamma", "delta"];

pub(crate) struct Operators {
    aquiferd: PathBuf,
    base: TempDir,
    roster: PathBuf,
    fingerprint: String,
}

pub(crate) fn story(text: impl Into<String>) -> HarnessError {
    HarnessError::Story(text.into())
}

impl Operators {
    pub(crate) fn new() -> Result<Self, HarnessError> {
        let aquiferd = Binaries::get()?.aquiferd;
        let base = tempfile::tempdir().map_err(HarnessError::file("make a folder in", &std::env::temp_dir()))?;
        let mut operators = Self { aquiferd, base, roster: PathBuf::new(), fingerprint: String::new() };
        for (member, name) in NAMES.into_iter().enumerate() {
            let [peer, api] = [ReservedPort::new()?, ReservedPort::new()?].map(|port| port.address().to_string());
            let mut init = operators.command(member);
            init.args(["init", "--name", name, "--peer-address", &peer, "--api-address", &api]);
            // No ceremony asks bitcoind.
            init.args(["--bitcoind-url", "http://127.0.0.1:1", "--bitcoind-cookie", "none"]);
            process::run(init, LIMIT)?;
        }
        operators.agree("first.json", &[])?;
        Ok(operators)
    }

    /// Everybody takes the roster of the same cards under other settings.
    pub(crate) fn agree_on_another_roster(&mut self) -> Result<(), HarnessError> {
        self.agree("second.json", &["--epoch-length", "77"])
    }

    fn agree(&mut self, name: &str, settings: &[&str]) -> Result<(), HarnessError> {
        self.roster = self.base.path().join(name);
        let mut roster = Command::new(&self.aquiferd);
        roster.arg("roster").arg("--out").arg(&self.roster).args(settings);
        roster.args((0..NAMES.len()).map(|member| self.folder(member).join("card.json")));
        let shown = process::run(roster, LIMIT)?;
        let line = shown.lines().find_map(|line| line.strip_prefix("Fingerprint:"));
        line.ok_or_else(|| story(format!("no fingerprint in {shown}")))?.trim().clone_into(&mut self.fingerprint);
        Ok(())
    }

    pub(crate) fn folder(&self, member: usize) -> PathBuf {
        self.base.path().join(NAMES[member])
    }

    pub(crate) fn roster(&self) -> &Path {
        &self.roster
    }

    /// What all compare.
    pub(crate) fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    fn command(&self, member: usize) -> Command {
        let mut command = Command::new(&self.aquiferd);
        command.arg("--data-dir").arg(self.folder(member));
        command
    }

    fn log(&self, member: usize) -> PathBuf {
        self.base.path().join(format!("{}.log", NAMES[member]))
    }

    /// Starts `aquiferd ceremony`.
    pub(crate) fn ceremony(&self, member: usize) -> Result<Process, HarnessError> {
        let mut command = self.command(member);
        command.arg("ceremony").arg("--roster").arg(&self.roster);
        Process::spawn(format!("ceremony of {}", NAMES[member]), command, &self.log(member))
    }

    /// Starts `aquiferd run`, once the ceremony is over.
    pub(crate) fn node(&self, member: usize) -> Result<Process, HarnessError> {
        let mut command = self.command(member);
        command.arg("run");
        Process::spawn(format!("node of {}", NAMES[member]), command, &self.log(member))
    }

    /// Everything that an operator was shown so far, over all runs.
    pub(crate) fn shown(&self, member: usize) -> Result<String, HarnessError> {
        let log = self.log(member);
        std::fs::read_to_string(&log).map_err(HarnessError::file("read", &log))
    }

    /// Waits until an operator is shown one of these, behind byte `from` of everything.
    pub(crate) fn wait_shown(&self, member: usize, from: usize, one_of: &[&str]) -> Result<(), HarnessError> {
        let what = format!("{} shows {one_of:?}", NAMES[member]);
        wait::until(&what, LIMIT, || {
            let shown = self.shown(member)?;
            let new = shown.get(from..).unwrap_or_default();
            let found = one_of.iter().any(|text| new.contains(text));
            Ok(if found { Answer::Ready(()) } else { Answer::NotYet(process::tail(&self.log(member))) })
        })
    }

    pub(crate) fn shares(&self, member: usize) -> [PathBuf; 2] {
        ["certificate.share", "treasury.share"].map(|name| self.folder(member).join(name))
    }

    /// Whether a member has come to the end of the protocol, as its state on the disk says.
    pub(crate) fn has_stored(&self, member: usize) -> bool {
        let Ok(state) = std::fs::read(self.folder(member).join("ceremony.state")) else {
            return self.folder(member).join("federation.json").exists();
        };
        let ceremony = Ceremony::resume(&state).ok();
        ceremony.is_some_and(|ceremony| ceremony.progress().contains(&(ceremony.me(), Step::Stored)))
    }

    /// All have the same federation, shares of their own, and no state of the ceremony.
    pub(crate) fn check_success(&self) -> Result<(), HarnessError> {
        let read = |path: PathBuf| std::fs::read(&path).map_err(HarnessError::file("read", &path));
        let federation = read(self.folder(0).join("federation.json"))?;
        for (member, name) in NAMES.into_iter().enumerate() {
            if read(self.folder(member).join("federation.json"))? != federation {
                return Err(story(format!("{name} has another federation")));
            }
            let mut conf = self.command(member);
            // Loads the federation and checks that it proves itself.
            conf.arg("elements-conf");
            process::run(conf, LIMIT)?;
            assert!(self.shares(member).iter().all(|share| share.exists()));
            assert!(!self.folder(member).join("ceremony.state").exists(), "secret state was left behind");
        }
        Ok(())
    }

    /// A failed run leaves neither shares nor a federation.
    pub(crate) fn check_nothing_left(&self, member: usize) -> Result<(), HarnessError> {
        let files = ["federation.json", "network.json", "certificate.share", "treasury.share", "ceremony.messages"];
        match files.into_iter().find(|file| self.folder(member).join(file).exists()) {
            Some(file) => Err(story(format!("{} was left behind in {}", file, NAMES[member]))),
            None => Ok(()),
        }
    }
}
