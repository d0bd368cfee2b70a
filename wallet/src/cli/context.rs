//! What every command needs: folders, the wallet, the servers, secrets, and a way to show that one waits.

use std::io::{BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use zeroize::Zeroizing;

use super::CliError;
use super::args::{Arguments, WaitOptions};
use crate::backend::Ledger;
use crate::keystore::{Home, Keys, Passphrase, WalletFolder, WalletName};
use crate::network::Chain;
use crate::wallet::{FeeRate, Wait, Wallet};

/// The circumstances of a command.
pub(super) struct Context {
    pub(super) home: Home,
    name: String,
    network: Option<PathBuf>,
    server: Option<String>,
    passphrase_file: Option<PathBuf>,
    json: bool,
}

/// A wallet that is open and up to date, and the servers.
pub(super) struct Session {
    pub(super) wallet: Wallet,
    pub(super) ledger: Ledger,
    folder: WalletFolder,
}

impl Context {
    pub(super) fn new(arguments: &Arguments) -> Result<Self, CliError> {
        let home = match &arguments.data_dir {
            Some(path) => path.clone(),
            None => default_home().ok_or(CliError::NoHome)?,
        };
        if home.exists() && !home.is_dir() {
            return Err(CliError::NotAFolder { path: home });
        }
        Ok(Self {
            home: Home::new(home),
            name: arguments.wallet.clone(),
            network: arguments.network.clone(),
            server: arguments.server.clone(),
            passphrase_file: arguments.passphrase_file.clone(),
            json: arguments.json,
        })
    }

    pub(super) fn wallet_name(&self) -> Result<WalletName, CliError> {
        Ok(self.name.parse()?)
    }

    pub(super) fn chain(&self) -> Result<Chain, CliError> {
        Ok(self.home.chain(self.network.as_deref())?)
    }

    pub(super) fn ledger(&self, chain: &Chain) -> Result<Ledger, CliError> {
        self.home.keep_chain(chain)?;
        let notice = Box::new(|text: &str| notice(text));
        Ok(Ledger::new(chain, &self.home.cache_path(), self.server.as_deref(), notice)?)
    }

    /// Opens the wallet without asking a server.
    pub(super) fn wallet(&self) -> Result<Wallet, CliError> {
        let folder = self.home.wallet(&self.wallet_name()?)?;
        Ok(Wallet::open(&folder, self.chain()?)?)
    }

    /// Opens the wallet and brings it up to date.
    pub(super) fn session(&self) -> Result<Session, CliError> {
        let folder = self.home.wallet(&self.wallet_name()?)?;
        let chain = self.chain()?;
        let ledger = self.ledger(&chain)?;
        let mut wallet = Wallet::open(&folder, chain)?;
        let spinner = self.spinner("looking at the chain");
        wallet.sync(&ledger)?;
        spinner.finish_and_clear();
        Ok(Session { wallet, ledger, folder })
    }

    /// Unlocks the wallet of a session.
    pub(super) fn keys(&self, session: &Session) -> Result<Keys, CliError> {
        let passphrase = self.passphrase("passphrase: ")?;
        Ok(session.folder.unlock(&passphrase, session.wallet.chain())?)
    }

    /// Unlocks the wallet without asking a server.
    pub(super) fn unlock(&self) -> Result<Keys, CliError> {
        let folder = self.home.wallet(&self.wallet_name()?)?;
        let passphrase = self.passphrase("passphrase: ")?;
        Ok(folder.unlock(&passphrase, &self.chain()?)?)
    }

    /// The fee rate asked for, or the server's.
    pub(super) fn fee_rate(&self, session: &Session, asked: Option<u64>) -> Result<FeeRate, CliError> {
        Ok(match asked {
            Some(rate) => FeeRate::new(rate)?,
            None => FeeRate::of_server(session.ledger.info()?.1.min_fee_rate_sat_per_kvb)?,
        })
    }

    /// A passphrase from where it may come from. Never from the command line: other users could read it there.
    pub(super) fn passphrase(&self, prompt: &str) -> Result<Passphrase, CliError> {
        match self.given_passphrase()? {
            Some(passphrase) => Ok(passphrase),
            None if std::io::stdin().is_terminal() => ask_hidden(prompt),
            None => Err(CliError::NoPassphrase),
        }
    }

    /// A new passphrase: asked twice at the terminal.
    pub(super) fn new_passphrase(&self) -> Result<Passphrase, CliError> {
        if let Some(passphrase) = self.given_passphrase()? {
            return Ok(passphrase);
        }
        if !std::io::stdin().is_terminal() {
            return Err(CliError::NoPassphrase);
        }
        let first = ask_hidden("new passphrase: ")?;
        let second = ask_hidden("once more: ")?;
        if first.matches(&second) { Ok(first) } else { Err(CliError::PassphrasesDiffer) }
    }

    fn given_passphrase(&self) -> Result<Option<Passphrase>, CliError> {
        if let Some(path) = &self.passphrase_file {
            return first_line(path).and_then(|text| Ok(Some(Passphrase::new(text)?)));
        }
        match std::env::var("AQUIFER_PASSPHRASE") {
            Ok(text) => Ok(Some(Passphrase::new(text)?)),
            Err(std::env::VarError::NotPresent) => Ok(None),
            Err(error) => {
                Err(CliError::Input { what: "AQUIFER_PASSPHRASE".to_owned(), source: std::io::Error::other(error) })
            }
        }
    }

    /// The words of a wallet: asked at the terminal, or the first line of standard input.
    pub(super) fn read_words(&self) -> Result<Zeroizing<String>, CliError> {
        let failed = |source| CliError::Input { what: "the words".to_owned(), source };
        let text = if std::io::stdin().is_terminal() {
            rpassword::prompt_password("the words of the wallet: ").map_err(failed)?
        } else {
            let mut line = String::new();
            std::io::stdin().lock().read_line(&mut line).map_err(failed)?;
            line
        };
        let text = Zeroizing::new(text);
        Ok(Zeroizing::new(text.split_whitespace().collect::<Vec<_>>().join(" ")))
    }

    /// A spinner where a person would wait; nothing with `--json` or without a terminal.
    pub(super) fn spinner(&self, text: &str) -> ProgressBar {
        if self.json || !std::io::stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        let spinner = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
            spinner.set_style(style);
        }
        spinner.set_message(text.to_owned());
        spinner.enable_steady_tick(Duration::from_millis(100));
        spinner
    }

    /// Shows people something before a command goes on.
    pub(super) fn show(&self, text: &str) {
        if !self.json {
            notice(text);
        }
    }

    /// Tells people something while a command goes on.
    pub(super) fn say(&self, spinner: &ProgressBar, text: &str) {
        if !self.json {
            spinner.suspend(|| notice(text));
        }
    }
}

/// How long to wait for finality.
pub(super) fn wait(options: WaitOptions) -> Wait {
    if options.no_wait { Wait::No } else { Wait::UntilFinal(Duration::from_secs(options.timeout)) }
}

fn notice(text: &str) {
    // A notice that nobody can see is not worth failing for.
    let _ = writeln!(std::io::stderr(), "{text}");
}

fn ask_hidden(prompt: &str) -> Result<Passphrase, CliError> {
    let text = rpassword::prompt_password(prompt)
        .map_err(|source| CliError::Input { what: "the passphrase".to_owned(), source })?;
    Ok(Passphrase::new(text)?)
}

fn first_line(path: &Path) -> Result<String, CliError> {
    let content = std::fs::read_to_string(path)
        .map(Zeroizing::new)
        .map_err(|source| CliError::Input { what: path.display().to_string(), source })?;
    Ok(content.lines().next().unwrap_or_default().to_owned())
}

fn default_home() -> Option<PathBuf> {
    std::env::var_os("HOME").filter(|home| !home.is_empty()).map(|home| PathBuf::from(home).join(".aquifer"))
}
