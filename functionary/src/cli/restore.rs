//! `aquiferd restore`: a member from its words.

use std::io::{IsTerminal as _, Read as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use aquifer_federation::federation::FederationFile;
use aquifer_federation::keys::MemberSeed;
use bitcoin::secp256k1::XOnlyPublicKey;
use serde_json::json;
use zeroize::Zeroizing;

use super::init::NodeArguments;
use super::{CliError, Output, block_on};
use crate::backup::{self, BackupError, Restored};
use crate::config::{Config, DataDir, InterfacesConfig};
use crate::files;
use crate::identity::Member;

/// Longest text that can be 24 words, in bytes.
const MAX_WORDS_LEN: u64 = 1_024;

/// Make a member again from the 24 words of its seed, in a new data folder.
///
/// The words are asked for, or read from standard input; they are never an argument. With `--backup` everything else comes
/// from the file that `aquiferd backup` made. Without a backup, any other operator's federation.json is enough: the
/// transcript of the ceremony is fetched from members that run, and the shares are computed from it.
///
/// Make sure that the old node can never run again before the new one does: two nodes with the keys of one member would
/// sign two things. A restored member first learns from the others how far it had signed, and signs nothing up to there.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  aquiferd --data-dir ~/alpha restore --backup alpha.backup\n  \
      aquiferd --data-dir ~/alpha restore --federation federation.json \\
      --bitcoind-url http://127.0.0.1:8332 --bitcoind-cookie ~/.bitcoin/.cookie < words")]
pub(super) struct Arguments {
    /// The file that `aquiferd backup` made.
    #[arg(long, value_name = "FILE", required_unless_present = "federation", conflicts_with = "federation")]
    backup: Option<PathBuf>,
    /// The federation.json of any other member.
    #[arg(long, value_name = "FILE", requires_all = ["bitcoind_url", "bitcoind_cookie"])]
    federation: Option<PathBuf>,
    /// The RPC service of the member's own bitcoind.
    #[arg(long, value_name = "URL", requires = "federation")]
    bitcoind_url: Option<String>,
    /// The cookie file of that bitcoind.
    #[arg(long, value_name = "FILE", requires = "federation")]
    bitcoind_cookie: Option<PathBuf>,
    /// Where it listens for members, if that differs from its address.
    #[arg(long, value_name = "IP:PORT", requires = "federation")]
    peer_listen: Option<SocketAddr>,
    /// Where it listens for wallets, if that differs from its address.
    #[arg(long, value_name = "IP:PORT", requires = "federation")]
    api_listen: Option<SocketAddr>,
    /// The key of an auditor of this member; may be given several times.
    #[arg(long = "auditor", value_name = "KEY", requires = "federation")]
    auditors: Vec<XOnlyPublicKey>,
}

impl Arguments {
    pub(super) fn run(self, data: &DataDir) -> Result<Output, CliError> {
        backup::check_free(data.path())?;
        let restored = match (&self.backup, &self.federation) {
            (Some(path), _) => {
                let sealed = files::read(path)?;
                backup::open(read_words()?, &sealed)?
            }
            (None, Some(path)) => self.with_the_help_of_members(path)?,
            (None, None) => return Err(CliError::Failed("name a file with --backup or --federation".to_owned())),
        };
        restored.put_into(data)?;
        // As a node would, and with everything that it checks.
        let config = Config::load(data.clone())?;
        let member = crate::identity::FederationMember::load(&config)?;
        let text = format!(
            "Member {name} is restored in {folder}.\n\
             Config:  {config}   look whether addresses and paths are right on this machine\n\
             Next:    make sure that the old node cannot run any more, then\n  \
             aquiferd --data-dir {folder} run",
            name = config.file.name,
            folder = data.path().display(),
            config = data.config().display(),
        );
        let json = json!({ "name": config.file.name, "data_dir": data.path(), "member": member.index });
        Ok(Output { text, json })
    }

    fn with_the_help_of_members(&self, path: &Path) -> Result<Restored, CliError> {
        let file: FederationFile = files::read_json(path)?;
        let (Some(bitcoind_url), Some(bitcoind_cookie)) = (self.bitcoind_url.clone(), self.bitcoind_cookie.clone())
        else {
            return Err(CliError::Failed("name bitcoind with --bitcoind-url and --bitcoind-cookie".to_owned()));
        };
        let node = NodeArguments {
            peer_listen: self.peer_listen,
            api_listen: self.api_listen,
            bitcoind_url,
            bitcoind_cookie,
            auditors: self.auditors.clone(),
            interfaces: InterfacesConfig::default(),
        };
        let seed = read_words()?;
        let (federation, index) = backup::place_of(&seed, &file)?;
        let card = federation.roster.member(index).ok_or(BackupError::NotAMember)?;
        let config = node.config_file(&card.name, &card.peer_address, &card.api_address)?;
        let config = toml::to_string(&config).map_err(|error| CliError::Failed(error.to_string()))?;
        let member = Member::new(&card.name, seed)?;
        let (shares, transcript) = block_on(backup::shares_from_members(&member, index, &file))??;
        Ok(Restored { seed: member.seed, config, file, federation, index, shares, transcript })
    }
}

/// The words of a seed: asked at the terminal without showing them, or standard input.
fn read_words() -> Result<MemberSeed, CliError> {
    let failed = |error: std::io::Error| CliError::Failed(format!("cannot read the words: {error}"));
    let words = if std::io::stdin().is_terminal() {
        Zeroizing::new(rpassword::prompt_password("the 24 words of the member: ").map_err(failed)?)
    } else {
        // Room for all of it at once: a buffer that grows would leave copies behind.
        let mut words = Zeroizing::new(String::with_capacity(usize::try_from(MAX_WORDS_LEN).unwrap_or_default()));
        std::io::stdin().lock().take(MAX_WORDS_LEN).read_to_string(&mut words).map_err(failed)?;
        words
    };
    MemberSeed::from_words(&words).map_err(|error| CliError::Failed(format!("the words are wrong: {error}")))
}
