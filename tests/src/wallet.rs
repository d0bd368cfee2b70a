//! One user's wallet, driven through the `aquifer` program. The passphrase goes by the environment, never by argument.

use std::collections::BTreeMap;
use std::fs;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use aquifer_wallet::keystore::{Home, Passphrase};
use serde_json::Value;

use crate::error::HarnessError;
use crate::json::Printed;
use crate::load::PAYMENT_SAT;
use crate::process::Process;
use crate::wait::{self, Answer};

/// Time for one command, the wait for finality included.
const COMMAND_LIMIT: Duration = Duration::from_secs(180);
/// The encryption of a wallet that holds regtest coins needs no secret.
const PASSPHRASE: &str = "correct horse battery staple";

/// A wallet that exists.
#[derive(Clone, Debug)]
pub struct Wallet {
    aquifer: PathBuf,
    home: PathBuf,
    network: PathBuf,
    name: String,
}

/// An asset and the token that allows issuing more of it, as they came into being.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// The asset id, hex.
    pub asset: String,
    /// The id of the reissuance token, hex.
    pub token: String,
    /// The transaction.
    pub txid: String,
}

impl Wallet {
    /// `aquifer wallet create` with these options.
    ///
    /// # Errors
    /// When the command fails.
    pub fn create(
        aquifer: &Path,
        home: &Path,
        name: &str,
        network: &Path,
        options: &[&str],
    ) -> Result<Self, HarnessError> {
        let wallet = Self {
            aquifer: aquifer.to_owned(),
            home: home.to_owned(),
            network: network.to_owned(),
            name: name.to_owned(),
        };
        wallet.run(&[&["wallet", "create"], options].concat())?;
        Ok(wallet)
    }

    /// The words of its seed.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn words(&self) -> Result<String, HarnessError> {
        let read = || {
            let folder = Home::new(self.home.clone()).wallet(&self.name.parse()?)?;
            folder.words(&Passphrase::new(PASSPHRASE.to_owned())?)
        };
        let words = read().map_err(|error| HarnessError::Story(format!("the words of {}: {error}", self.name)))?;
        Ok(words.to_string())
    }

    /// The name under which the program knows it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The variables with which the program finds this wallet; also what a person has to export.
    pub fn environment(&self) -> [(&'static str, String); 4] {
        [
            ("AQUIFER_DATA_DIR", self.home.display().to_string()),
            ("AQUIFER_NETWORK", self.network.display().to_string()),
            ("AQUIFER_WALLET", self.name.clone()),
            ("AQUIFER_PASSPHRASE", PASSPHRASE.to_owned()),
        ]
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.aquifer);
        command.envs(self.environment()).arg("--json").args(arguments);
        command
    }

    /// Runs `aquifer --json` with the arguments to its end.
    ///
    /// # Errors
    /// When it fails, hangs, or prints no JSON.
    pub fn run(&self, arguments: &[&str]) -> Result<Printed, HarnessError> {
        Printed::by(self.command(arguments), COMMAND_LIMIT)
    }

    /// Starts a command that takes its time; what it prints is read while it runs.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(&self, arguments: &[&str]) -> Result<Job, HarnessError> {
        let title = format!("aquifer {}", arguments.join(" "));
        let log = tempfile::Builder::new()
            .prefix("job-")
            .tempfile_in(&self.home)
            .map_err(HarnessError::file("make a file in", &self.home))?;
        let process = Process::spawn(title.clone(), self.command(arguments), log.path())?;
        Ok(Job { title, process, log })
    }

    /// A fresh confidential address.
    ///
    /// # Errors
    /// As [`Wallet::run`].
    pub fn address(&self) -> Result<String, HarnessError> {
        self.run(&["address"])?.text("address")
    }

    /// Final balance per asset id, in the smallest unit.
    ///
    /// # Errors
    /// As [`Wallet::run`].
    pub fn balance(&self) -> Result<BTreeMap<String, u64>, HarnessError> {
        let entries = self.run(&["balance"])?.list("assets")?;
        entries.iter().map(|entry| Ok((entry.text("asset")?, entry.number("confirmed_sat")?))).collect()
    }

    /// Final balance of one asset, in the smallest unit.
    ///
    /// # Errors
    /// As [`Wallet::run`].
    pub fn balance_of(&self, asset: &str) -> Result<u64, HarnessError> {
        Ok(self.balance()?.get(asset).copied().unwrap_or_default())
    }

    /// Waits until the balance of one asset is this.
    ///
    /// # Errors
    /// As [`Wallet::run`], or when it takes too long.
    pub fn wait_balance(&self, asset: &str, amount_sat: u64) -> Result<(), HarnessError> {
        let what = format!("{} has {amount_sat} of {asset}", self.name);
        wait::until(&what, COMMAND_LIMIT, || {
            let now = self.balance_of(asset)?;
            Ok(if now == amount_sat { Answer::Ready(()) } else { Answer::NotYet(now.to_string()) })
        })
    }

    /// Waits until the wallet has as much of an asset as so many payments of [`crate::load::PAYMENT_SAT`].
    ///
    /// # Errors
    /// As [`Wallet::run`], or when it does not come to that.
    pub fn wait_payments(&self, asset: &str, payments: &RangeInclusive<u64>) -> Result<(), HarnessError> {
        let what = format!("{} has {payments:?} payments of {asset}", self.name);
        wait::until(&what, COMMAND_LIMIT, || {
            let now = self.balance_of(asset)?;
            let whole = now.checked_rem(PAYMENT_SAT) == Some(0);
            let counts = now.checked_div(PAYMENT_SAT).is_some_and(|count| payments.contains(&count));
            Ok(if whole && counts { Answer::Ready(()) } else { Answer::NotYet(now.to_string()) })
        })
    }

    /// Pays and waits until the payment is final.
    ///
    /// # Errors
    /// As [`Wallet::run`].
    pub fn send(&self, address: &str, amount_sat: u64, asset: &str) -> Result<Printed, HarnessError> {
        self.run(&["send", address, &raw(amount_sat), "--asset", asset])
    }

    /// A Bitcoin address whose deposits the wallet can claim.
    ///
    /// # Errors
    /// As [`Wallet::run`].
    pub fn pegin_address(&self) -> Result<String, HarnessError> {
        self.run(&["pegin", "--no-wait"])?.text("address")
    }

    /// Waits for the deposit to a peg-in address, claims it, and gives what the wallet says of the claim.
    ///
    /// # Errors
    /// As [`Wallet::run`].
    pub fn claim(&self, address: &str) -> Result<Printed, HarnessError> {
        self.run(&["pegin", "--resume", "--address", address])?.object("pegins/0/deposits/0/claim")
    }

    /// Issues an asset with a reissuance token.
    ///
    /// # Errors
    /// As [`Wallet::run`].
    pub fn issue(&self, ticker: &str, amount_sat: u64, tokens: u64) -> Result<(Issued, Printed), HarnessError> {
        let (amount, tokens) = (raw(amount_sat), tokens.to_string());
        let printed = self.run(&["asset", "issue", &amount, "--ticker", ticker, "--tokens", &tokens])?;
        let issued =
            Issued { asset: printed.text("asset")?, token: printed.text("token")?, txid: printed.text("txid")? };
        Ok((issued, printed))
    }

    /// Issues more of an asset, with its token.
    ///
    /// # Errors
    /// As [`Wallet::run`].
    pub fn reissue(&self, asset: &str, amount_sat: u64) -> Result<Printed, HarnessError> {
        self.run(&["asset", "reissue", asset, &raw(amount_sat)])
    }

    /// Destroys units of an asset.
    ///
    /// # Errors
    /// As [`Wallet::run`].
    pub fn burn(&self, asset: &str, amount_sat: u64) -> Result<Printed, HarnessError> {
        self.run(&["asset", "burn", asset, &raw(amount_sat)])
    }
}

/// Amounts in the smallest unit, as the command line writes them.
pub fn raw(amount_sat: u64) -> String {
    format!("{amount_sat}sat")
}

/// A command of a wallet that is running.
#[derive(Debug)]
pub struct Job {
    title: String,
    process: Process,
    log: tempfile::NamedTempFile,
}

impl Job {
    /// Every JSON value it has printed, one per line.
    ///
    /// # Errors
    /// When its output cannot be read.
    pub fn printed(&self) -> Result<Vec<Printed>, HarnessError> {
        let path = self.log.path();
        let text = fs::read_to_string(path).map_err(HarnessError::file("read", path))?;
        let values = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        Ok(values.map(|value| Printed::new(self.title.clone(), value)).collect())
    }

    /// Waits for a value that has what is looked for.
    ///
    /// # Errors
    /// When the command fails first, or it takes longer than `limit`.
    pub fn wait_for<T>(
        &mut self,
        what: &str,
        limit: Duration,
        find: impl Fn(&Printed) -> Option<T>,
    ) -> Result<T, HarnessError> {
        let what = format!("`{}`: {what}", self.title);
        wait::until(&what, limit, || {
            let ended = self.process.try_status()?;
            let printed = self.printed()?;
            if let Some(found) = printed.iter().find_map(&find) {
                return Ok(Answer::Ready(found));
            }
            if ended.is_some() {
                self.process.check_running()?;
            }
            Ok(Answer::NotYet(printed.last().map_or_else(|| "nothing".to_owned(), |last| last.value().to_string())))
        })
    }

    /// Waits for its end and gives the last value it printed.
    ///
    /// # Errors
    /// When it fails or takes longer than `limit`.
    pub fn finish(mut self, limit: Duration) -> Result<Printed, HarnessError> {
        let status = self.process.wait(limit)?;
        if !status.success() {
            self.process.check_running()?;
        }
        self.printed()?.pop().ok_or_else(|| HarnessError::Output {
            command: self.title.clone(),
            problem: "it printed no JSON".to_owned(),
            output: self.process.tail(),
        })
    }
}
