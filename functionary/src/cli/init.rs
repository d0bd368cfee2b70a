//! `aquiferd init`: a new member.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use aquifer_federation::keys::MemberSeed;
use aquifer_federation::roster::{CardDetails, MemberCard};
use bitcoin::secp256k1::XOnlyPublicKey;
use rand::rngs::OsRng;
use serde_json::json;

use super::{CliError, Output};
use crate::config::{
    AuditConfig, BitcoindConfig, Config, ConfigFile, DataDir, InterfacesConfig, Listen, LogConfig, MempoolConfig,
    TreasuryConfig, VerdictMemory,
};
use crate::files::{self, Access, FileError};
use crate::identity::Member;

/// Make a new member: its seed, its configuration and its public card.
///
/// The card, card.json in the data folder, goes to the other operators. The seed, 24 words in the file `seed`, stays: every
/// key of the member follows from it, so keep a copy of it in a safe place. A data folder that holds only a file `seed`, from
/// a backup for instance, gets a member with that seed.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  aquiferd --data-dir ~/alpha init --name alpha --peer-address alpha.example.org:7100 \\
      --api-address alpha.example.org:7200 --bitcoind-url http://127.0.0.1:8332 \\
      --bitcoind-cookie ~/.bitcoin/.cookie"
)]
pub(super) struct Arguments {
    /// The member's name: a-z, 0-9 and '-'.
    #[arg(long)]
    name: String,
    /// Where other members reach it.
    #[arg(long, value_name = "HOST:PORT")]
    peer_address: String,
    /// Where wallets reach it.
    #[arg(long, value_name = "HOST:PORT")]
    api_address: String,
    #[command(flatten)]
    node: NodeArguments,
}

impl Arguments {
    pub(super) fn run(self, data: DataDir) -> Result<Output, CliError> {
        let file = self.node.config_file(&self.name, &self.peer_address, &self.api_address)?;
        data.make()?;
        let _lock = data.lock()?;
        for path in [data.config(), data.card(), data.federation()] {
            if path.exists() {
                return Err(FileError::Exists { path }.into());
            }
        }
        let seed_path = data.seed();
        let (seed, seed_is_new) = match files::read(&seed_path) {
            Err(error) if error.is_missing() => (MemberSeed::generate(&mut OsRng), true),
            other => (crate::identity::parse_seed(&seed_path, other?)?, false),
        };
        // Everything is checked before anything is written.
        let member = Member::new(&self.name, seed)?;
        let details = CardDetails {
            name: self.name,
            peer_address: self.peer_address,
            api_address: self.api_address,
            tls_certificate: member.tls.certificate().to_vec(),
        };
        let card = MemberCard::new(&member.keys, details).map_err(|error| CliError::Failed(error.to_string()))?;
        if seed_is_new {
            files::create(&seed_path, member.seed.words().as_bytes(), Access::Secret)?;
        }
        let card_path = data.card();
        files::create(&card_path, &files::to_json(&card_path, &card)?, Access::Public)?;
        // Last: it makes the folder that of a member.
        Config { data: data.clone(), file }.create()?;
        let text = format!(
            "Member {name} is made in {folder}.\n\
             Card:  {card}   give it to the other operators\n\
             Seed:  {seed}   {origin}; keep a copy of its 24 words in a safe place\n\
             Next:  aquiferd roster --card ... --out roster.json   (one operator, with the cards of all)",
            name = card.name,
            folder = data.path().display(),
            card = card_path.display(),
            seed = seed_path.display(),
            origin = if seed_is_new { "new" } else { "the one that was there" },
        );
        let json = json!({
            "name": card.name,
            "data_dir": data.path(),
            "card": card_path,
            "seed": seed_path,
            "seed_is_new": seed_is_new,
        });
        Ok(Output { text, json })
    }
}

/// What belongs to a member's machine rather than to its card.
#[derive(Debug, clap::Args)]
pub(super) struct NodeArguments {
    /// Where it listens for members, if that differs [default: the peer address, or its port on all interfaces].
    #[arg(long, value_name = "IP:PORT")]
    pub(super) peer_listen: Option<SocketAddr>,
    /// Where it listens for wallets, if that differs [default: the API address, or its port on all interfaces].
    #[arg(long, value_name = "IP:PORT")]
    pub(super) api_listen: Option<SocketAddr>,
    /// The RPC service of the member's own bitcoind.
    #[arg(long, value_name = "URL")]
    pub(super) bitcoind_url: String,
    /// The cookie file of that bitcoind.
    #[arg(long, value_name = "FILE")]
    pub(super) bitcoind_cookie: PathBuf,
    /// The key of an auditor of this member, as `aquiferd auditor init` prints it; may be given several times.
    #[arg(long = "auditor", value_name = "KEY")]
    pub(super) auditors: Vec<XOnlyPublicKey>,
    #[command(flatten)]
    pub(super) interfaces: InterfacesConfig,
}

impl NodeArguments {
    /// The configuration of the member with this name and these public addresses.
    pub(super) fn config_file(
        &self,
        name: &str,
        peer_address: &str,
        api_address: &str,
    ) -> Result<ConfigFile, CliError> {
        check_url(&self.bitcoind_url)?;
        let cookie_file = std::path::absolute(&self.bitcoind_cookie).map_err(|error| {
            CliError::Failed(format!("the cookie file {} has no full path: {error}", self.bitcoind_cookie.display()))
        })?;
        Ok(ConfigFile {
            name: name.to_owned(),
            peers: Listen { listen: listen(self.peer_listen, peer_address)? },
            api: Listen { listen: listen(self.api_listen, api_address)? },
            bitcoind: BitcoindConfig { url: self.bitcoind_url.clone(), cookie_file },
            treasury: TreasuryConfig::default(),
            audit: AuditConfig { keys: self.auditors.clone(), ..AuditConfig::default() },
            elementsd: None,
            fee_address: None,
            verdicts: VerdictMemory::default(),
            mempool: MempoolConfig::default(),
            interfaces: self.interfaces.clone(),
            log: LogConfig::default(),
        })
    }
}

/// Where to listen for an address that others use.
fn listen(given: Option<SocketAddr>, public: &str) -> Result<SocketAddr, CliError> {
    if let Some(address) = given.or_else(|| public.parse().ok()) {
        return Ok(address);
    }
    let port = public.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
    let port: u16 = port.ok_or_else(|| CliError::Failed(format!("the address {public:?} is not host:port")))?;
    Ok((Ipv4Addr::UNSPECIFIED, port).into())
}

/// bitcoind's RPC is plain HTTP.
fn check_url(url: &str) -> Result<(), CliError> {
    match url.strip_prefix("http://") {
        Some(rest) if !rest.is_empty() => Ok(()),
        _ => Err(CliError::Failed(format!(
            "the URL {url:?} of bitcoind must begin with http://, like http://127.0.0.1:8332"
        ))),
    }
}
