//! A whole federation on one machine: bitcoind in regtest, the members with an auditor each, the key ceremony between
//! them, wallets.
//!
//! Everything lives in one temporary folder. When the devnet goes down while its test fails, the folder stays and is
//! named, with the last lines of every member's log.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use aquifer_assets::chain::{ElementsConfOptions, elements_conf};
use aquifer_wallet::backend::Ledger;
use aquifer_wallet::network::Chain;
use bitcoin::address::NetworkUnchecked;
use bitcoin::{Address, Network};
use tempfile::TempDir;

use crate::auditor::Auditor;
use crate::binaries::Binaries;
use crate::bitcoind::Bitcoind;
use crate::elementsd::Elementsd;
use crate::error::HarnessError;
use crate::interrupt;
use crate::load::Load;
use crate::member::{Member, Status};
use crate::ports::ReservedPort;
use crate::process::{self, Process};
use crate::turn::Turn;
use crate::wait::{self, Answer};
use crate::wallet::Wallet;

/// Names of members, in roster order.
const NAMES: [&str; 15] = [
    "anna", "boris", "carla", "deniz", "elif", "felix", "greta", "hanna", "ivan", "joana", "karim", "lena", "marek",
    "nora", "omar",
];

const ROSTER_LIMIT: Duration = Duration::from_secs(60);
const CEREMONY_LIMIT: Duration = Duration::from_secs(180);
const READY_LIMIT: Duration = Duration::from_secs(120);
/// How often a port may be taken by somebody else between being found free and being used.
const START_ATTEMPTS: u32 = 3;
/// What a program says when a port is taken.
const PORT_TAKEN: &str = "in use";

/// Choices for a devnet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DevnetOptions {
    /// Number of members, 1 to 15.
    pub members: usize,
    /// Whose verifier accepts money from nothing.
    pub sabotaged: Sabotaged,
    /// Whom members serve.
    pub served: Served,
}

/// Whom members serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Served {
    /// Wallets and auditors of the project.
    Ours,
    /// Other software as well: every interface of every member is on.
    Everybody,
}

/// Who runs a program whose verifier is defective on purpose (`aquifer-assets`, feature `sabotage`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotaged {
    /// Nobody.
    Nobody,
    /// All members; their auditors do not.
    Members,
    /// All members and all auditors.
    MembersAndAuditors,
}

impl Default for DevnetOptions {
    fn default() -> Self {
        Self { members: 4, sabotaged: Sabotaged::Nobody, served: Served::Ours }
    }
}

/// What a devnet does while it starts, for progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartStep {
    /// Cargo builds the programs.
    Build,
    /// bitcoind is found, or obtained, and started.
    Bitcoind,
    /// Members make their seeds and cards.
    Cards,
    /// Members generate their common key.
    Ceremony,
    /// Members and their auditors start, and members find each other.
    Members,
}

/// What members and auditors run.
#[derive(Clone, Debug)]
struct Daemons {
    member: PathBuf,
    auditor: PathBuf,
}

impl Daemons {
    fn get(binaries: &Binaries, sabotaged: Sabotaged) -> Result<Self, HarnessError> {
        let sound = &binaries.aquiferd;
        Ok(match sabotaged {
            Sabotaged::Nobody => Self { member: sound.clone(), auditor: sound.clone() },
            Sabotaged::Members => Self { member: Binaries::sabotaged()?, auditor: sound.clone() },
            Sabotaged::MembersAndAuditors => {
                let member = Binaries::sabotaged()?;
                Self { auditor: member.clone(), member }
            }
        })
    }
}

/// A running federation.
///
/// Fields are dropped in order: auditors before the members they follow, these before the bitcoind they ask, all before
/// their folder.
#[derive(Debug)]
pub struct Devnet {
    auditors: Vec<Auditor>,
    members: Vec<Member>,
    bitcoind: Bitcoind,
    binaries: Binaries,
    daemons: Daemons,
    folder: Option<TempDir>,
}

impl Devnet {
    /// Starts a federation and waits until all members are connected to each other.
    ///
    /// # Errors
    /// The first thing that failed, with the end of the log that explains it.
    pub fn start(options: DevnetOptions) -> Result<Self, HarnessError> {
        Self::start_with(options, |_| {})
    }

    /// As [`Devnet::start`], telling each step as it begins.
    ///
    /// # Errors
    /// As [`Devnet::start`].
    pub fn start_with(options: DevnetOptions, mut progress: impl FnMut(StartStep)) -> Result<Self, HarnessError> {
        interrupt::watch()?;
        progress(StartStep::Build);
        let binaries = Binaries::get()?;
        let daemons = Daemons::get(&binaries, options.sabotaged)?;
        let mut attempt = 1;
        loop {
            match Self::try_start(options, &binaries, &daemons, &mut progress) {
                Err(error) if attempt < START_ATTEMPTS && error.to_string().contains(PORT_TAKEN) => attempt += 1,
                result => return result,
            }
        }
    }

    fn try_start(
        options: DevnetOptions,
        binaries: &Binaries,
        daemons: &Daemons,
        progress: &mut impl FnMut(StartStep),
    ) -> Result<Self, HarnessError> {
        progress(StartStep::Bitcoind);
        let bitcoind = Bitcoind::start()?;
        let folder = tempfile::Builder::new()
            .prefix("aquifer-devnet-")
            .tempdir()
            .map_err(HarnessError::file("make a folder in", &std::env::temp_dir()))?;
        let mut devnet = Self {
            auditors: Vec::new(),
            members: Vec::new(),
            bitcoind,
            binaries: binaries.clone(),
            daemons: daemons.clone(),
            folder: Some(folder),
        };

        match devnet.found(options, progress) {
            Ok(()) => Ok(devnet),
            Err(error) => {
                devnet.keep_unless_interrupted();
                Err(error)
            }
        }
    }

    fn found(&mut self, options: DevnetOptions, progress: &mut impl FnMut(StartStep)) -> Result<(), HarnessError> {
        progress(StartStep::Cards);
        let roster = self.make_roster(options.members)?;
        if options.served == Served::Everybody {
            self.members.iter_mut().try_for_each(Member::serve_others)?;
        }
        progress(StartStep::Ceremony);
        self.hold_ceremony(&roster)?;
        progress(StartStep::Members);
        self.start_all()
    }

    /// Waits for the turn, starts a devnet and plays a story on it. If the story ends badly, the files stay. Where an
    /// elementsd is at hand, it judges every block of the story afterwards.
    ///
    /// # Errors
    /// As [`Devnet::start`], and what the story returns.
    pub fn play(
        options: DevnetOptions,
        story: impl FnOnce(&mut Self) -> Result<(), HarnessError>,
    ) -> Result<(), HarnessError> {
        let _turn = Turn::take()?;
        let mut devnet = Self::start(options)?;
        let played = story(&mut devnet).and_then(|()| match (options.sabotaged, Elementsd::program()) {
            (Sabotaged::Nobody, Some(program)) => devnet.let_elementsd_judge(program),
            _ => Ok(()),
        });
        played.inspect_err(|_| devnet.keep_unless_interrupted())
    }

    /// Gives every final block to a stock elementsd, which must end on the same one.
    fn let_elementsd_judge(&mut self, program: OsString) -> Result<(), HarnessError> {
        self.start_all()?;
        let height = self.height()?;
        let params = self.chain()?.file().params.clone();
        // Without a bitcoind: how deep deposits are is no rule of the block, and a story may have reorganised Bitcoin.
        let configuration = elements_conf(&params, &ElementsConfOptions::default());
        let elementsd = Elementsd::start(program, &configuration, &params.name)?;
        elementsd.follow(&self.ledger()?, height).map(drop)
    }

    fn make_roster(&mut self, members: usize) -> Result<PathBuf, HarnessError> {
        let base = self.folder()?.to_owned();
        for name in NAMES.iter().take(members) {
            let ports = [ReservedPort::new()?, ReservedPort::new()?];
            let auditor = Auditor::init(&self.daemons.auditor, &base, name)?;
            self.members.push(Member::init(&self.daemons.member, &base, name, ports, &self.bitcoind, &auditor)?);
            self.auditors.push(auditor);
        }
        let roster = base.join("roster.json");
        let mut command = Command::new(&self.binaries.aquiferd);
        command.arg("roster").arg("--output").arg(&roster).args(self.members.iter().map(Member::card));
        process::run(command, ROSTER_LIMIT)?;
        Ok(roster)
    }

    fn hold_ceremony(&self, roster: &Path) -> Result<(), HarnessError> {
        let mut running: Vec<Process> =
            self.members.iter().map(|member| member.ceremony(roster)).collect::<Result<_, _>>()?;
        for process in &mut running {
            let status = process.wait(CEREMONY_LIMIT)?;
            if !status.success() {
                process.check_running()?;
            }
        }
        Ok(())
    }

    /// Starts every member and every auditor that is down, and waits until all members see each other.
    ///
    /// # Errors
    /// When a member dies or does not become ready in time.
    pub fn start_all(&mut self) -> Result<(), HarnessError> {
        let network = self.network_file()?;
        for auditor in self.auditors.iter_mut().filter(|auditor| !auditor.is_started()) {
            auditor.start(&network)?;
        }
        for member in self.members.iter_mut().filter(|member| !member.is_started()) {
            member.start()?;
        }
        self.wait_connected()
    }

    /// Waits until all started members are connected to each other.
    ///
    /// # Errors
    /// When a member dies or it takes too long.
    pub fn wait_connected(&mut self) -> Result<(), HarnessError> {
        let others = self.members.iter().filter(|member| member.is_started()).count().saturating_sub(1);
        let started: Vec<usize> =
            (0..).zip(&self.members).filter(|(_, member)| member.is_started()).map(|(index, _)| index).collect();
        for index in started {
            let what = format!("{} is connected to {others} members", self.member(index)?.name());
            wait::until(&what, READY_LIMIT, || {
                // One that has died is why the others wait.
                self.members.iter_mut().filter(|member| member.is_started()).try_for_each(Member::check_running)?;
                let member = self.member(index)?;
                Ok(match member.status() {
                    Ok(status) if status.connected >= others => Answer::Ready(()),
                    Ok(status) => Answer::NotYet(format!("{} connected", status.connected)),
                    Err(error) => Answer::NotYet(error.to_string()),
                })
            })?;
        }
        Ok(())
    }

    /// Waits until every started member has a final block at `height`, and gives what each says then.
    ///
    /// # Errors
    /// When a member dies or it takes longer than `limit`.
    pub fn wait_height(&mut self, height: u32, limit: Duration) -> Result<Vec<Status>, HarnessError> {
        let mut all = Vec::new();
        for member in self.members.iter_mut().filter(|member| member.is_started()) {
            all.push(wait_height(member, height, limit)?);
        }
        Ok(all)
    }

    /// The highest final height of the started members.
    ///
    /// # Errors
    /// When none of them answers.
    pub fn height(&self) -> Result<u32, HarnessError> {
        let heights = self.members.iter().filter(|member| member.is_started()).map(Member::status);
        let mut last = HarnessError::Story("no member is running".to_owned());
        let mut highest = None;
        for status in heights {
            match status {
                Ok(status) => highest = highest.max(Some(status.height)),
                Err(error) => last = error,
            }
        }
        highest.ok_or(last)
    }

    /// The members, in roster order.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// One member, to be stopped or started.
    ///
    /// # Errors
    /// When there is none with that number.
    pub fn member(&mut self, index: usize) -> Result<&mut Member, HarnessError> {
        let count = self.members.len();
        self.members.get_mut(index).ok_or_else(|| HarnessError::Story(format!("there is no member {index} of {count}")))
    }

    /// The auditor of a member, to be stopped or started.
    ///
    /// # Errors
    /// When there is none with that number.
    pub fn auditor(&mut self, index: usize) -> Result<&mut Auditor, HarnessError> {
        let missing = || HarnessError::Story(format!("there is no auditor {index}"));
        self.auditors.get_mut(index).ok_or_else(missing)
    }

    /// The parent chain.
    pub const fn bitcoind(&self) -> &Bitcoind {
        &self.bitcoind
    }

    /// The parent chain, to be stopped and started.
    pub const fn bitcoind_mut(&mut self) -> &mut Bitcoind {
        &mut self.bitcoind
    }

    /// The programs it runs.
    pub const fn binaries(&self) -> &Binaries {
        &self.binaries
    }

    /// The folder that everything but bitcoind's data lies in.
    ///
    /// # Errors
    /// Never while the devnet lives.
    pub fn folder(&self) -> Result<&Path, HarnessError> {
        let folder = self.folder.as_ref().map(TempDir::path);
        folder.ok_or_else(|| HarnessError::Story("the devnet has no folder".to_owned()))
    }

    /// What wallets get of the federation.
    ///
    /// # Errors
    /// When there is no member.
    pub fn network_file(&self) -> Result<PathBuf, HarnessError> {
        let first = self.members.first().ok_or_else(|| HarnessError::Story("there is no member".to_owned()))?;
        Ok(first.network_file())
    }

    /// The chain, as wallets know it.
    ///
    /// # Errors
    /// When the network file is not there or wrong.
    pub fn chain(&self) -> Result<Chain, HarnessError> {
        Chain::read(&self.network_file()?).map_err(|error| HarnessError::Story(error.to_string()))
    }

    /// A verified view of the chain through all members: what it gives is checked against certificates.
    ///
    /// # Errors
    /// When it cannot be prepared. Nothing is asked yet.
    pub fn ledger(&self) -> Result<Ledger, HarnessError> {
        let cache = self.folder()?.join("observer.db");
        Ledger::new(&self.chain()?, &cache, None, Box::new(|_| {})).map_err(HarnessError::from)
    }

    /// # Errors
    /// [`HarnessError::Died`] when a member or an auditor that was started is gone.
    pub fn check_running(&mut self) -> Result<(), HarnessError> {
        self.auditors.iter_mut().try_for_each(Auditor::check_running)?;
        self.members.iter_mut().try_for_each(Member::check_running)
    }

    /// Bitcoin forgets what waits for a block.
    ///
    /// # Errors
    /// When bitcoind does not end or does not start, or its file cannot be removed.
    pub fn forget_parent_mempool(&mut self) -> Result<(), HarnessError> {
        self.bitcoind.stop()?;
        let path = self.bitcoind.mempool_path();
        fs::remove_file(&path).map_err(HarnessError::file("remove", &path))?;
        self.bitcoind.restart()
    }

    /// Waits until a transaction waits for a Bitcoin block, and gives its id.
    ///
    /// # Errors
    /// When none comes within `limit`.
    pub fn wait_parent_mempool(&self, limit: Duration) -> Result<String, HarnessError> {
        let client = self.bitcoind.client()?;
        wait::until("a transaction reaches Bitcoin's mempool", limit, || {
            let waiting: Vec<String> = client.call("getrawmempool", &[])?;
            Ok(waiting.into_iter().next().map_or_else(|| Answer::NotYet("an empty mempool".to_owned()), Answer::Ready))
        })
    }

    /// Waits until every member has seen the treasury key sign on Bitcoin.
    ///
    /// # Errors
    /// When one has not within `limit`.
    pub fn wait_key_proven(&self, limit: Duration) -> Result<(), HarnessError> {
        for member in &self.members {
            member.wait_status(limit, "the treasury key is proven", |status| status.text("key_proof").is_ok())?;
        }
        Ok(())
    }

    /// Gives a wallet pegged coins: pays its peg-in address on Bitcoin, mines, and waits for the claim.
    ///
    /// # Errors
    /// When a step fails or takes too long.
    pub fn fund(&self, wallet: &Wallet, amount_sat: u64) -> Result<(), HarnessError> {
        if self.bitcoind.block_count()? == 0 {
            self.bitcoind.mine_rewards(2)?;
        }
        let address = wallet.pegin_address()?;
        self.bitcoind.send_to(&parent_address(&address)?, amount_sat)?;
        self.bitcoind.mine(self.chain()?.file().params.pegin_confirmation_depth_blocks)?;
        wallet.claim(&address).map(drop)
    }

    /// Ends a load: everything that was paid is there, every member has every block, and all agree.
    ///
    /// # Errors
    /// When a payment failed or is missing, or members do not agree, or do not have every block within `limit`.
    pub fn settle(&mut self, load: Load, payee: &Wallet, asset: &str, limit: Duration) -> Result<(), HarnessError> {
        let paid = load.finish()?;
        payee.wait_payments(asset, &paid)?;
        let height = self.height()?;
        self.wait_height(height, limit)?;
        self.check_agreement(height)?;
        self.check_signatures(height)
    }

    /// Makes a wallet.
    ///
    /// # Errors
    /// When the wallet's command fails.
    pub fn wallet(&self, name: &str) -> Result<Wallet, HarnessError> {
        self.wallet_with(name, &[])
    }

    /// Makes a wallet with options of `aquifer wallet create`.
    ///
    /// # Errors
    /// When the wallet's command fails.
    pub fn wallet_with(&self, name: &str, options: &[&str]) -> Result<Wallet, HarnessError> {
        Wallet::create(&self.binaries.aquifer, &self.folder()?.join("wallets"), name, &self.network_file()?, options)
    }

    /// Keeps the files after a failure, and says where they are.
    pub fn keep_unless_interrupted(&mut self) {
        if !interrupt::requested() {
            self.keep_for_inspection();
        }
    }

    fn keep_for_inspection(&mut self) {
        let Some(folder) = self.folder.take().map(TempDir::keep) else { return };
        let mut text = format!("the devnet's files are kept in {}\n", folder.display());
        for member in &self.members {
            let log = member.log();
            text.push_str(&format!("last lines of {}:\n{}", log.display(), process::tail(log)));
        }
        for auditor in &self.auditors {
            text.push_str(&format!("last lines of {}:\n{}", auditor.log().display(), auditor.tail()));
        }
        report(&text);
    }
}

/// An address of the parent chain.
///
/// # Errors
/// When it is none.
pub fn parent_address(text: &str) -> Result<Address, HarnessError> {
    let parsed =
        text.parse::<Address<NetworkUnchecked>>().and_then(|address| address.require_network(Network::Regtest));
    parsed.map_err(|error| HarnessError::Story(format!("`{text}` is no Bitcoin address in regtest: {error}")))
}

/// Waits until one member has a final block at `height`.
///
/// # Errors
/// When it dies or does not get there within `limit`.
pub fn wait_height(member: &mut Member, height: u32, limit: Duration) -> Result<Status, HarnessError> {
    let what = format!("{} reaches height {height}", member.name());
    wait::until(&what, limit, || {
        member.check_running()?;
        Ok(match member.status() {
            Ok(status) if status.height >= height => Answer::Ready(status),
            Ok(status) => Answer::NotYet(format!("height {}", status.height)),
            Err(error) => Answer::NotYet(error.to_string()),
        })
    })
}

/// The one thing the harness says by itself: where to look after a failure.
#[expect(clippy::print_stderr, reason = "shown by the test runner beside the failure")]
fn report(text: &str) {
    eprint!("{text}");
}

impl Drop for Devnet {
    fn drop(&mut self) {
        for auditor in &mut self.auditors {
            auditor.kill9();
        }
        for member in &mut self.members {
            member.kill9();
        }
        if thread::panicking() {
            self.keep_for_inspection();
        }
        if let Some(folder) = self.folder.take() {
            // What cannot be removed stays in the system's temporary folder.
            let _ = fs::remove_dir_all(folder.path());
        }
    }
}
