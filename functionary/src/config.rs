//! The data folder of a member and its configuration file.
//!
//! Everything a member keeps lies in one folder. What is secret is readable by its owner alone: the seed and, after the
//! ceremony, the shares of both keys.

use std::fs::{File, TryLockError};
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bitcoin::secp256k1::XOnlyPublicKey;
use serde::{Deserialize, Serialize};

use crate::files::{self, Access, FileError};
use crate::mempool::Limits;

/// The folder could not be used, or its configuration is wrong.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// There is no member in this folder.
    #[error("{} has no aquiferd.toml: make a member there with `aquiferd init`, or name its folder with --data-dir", folder.display())]
    NotInitialized {
        /// The folder.
        folder: PathBuf,
    },
    /// The configuration does not parse.
    #[error("{}: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// What is wrong, with line and column.
        message: String,
    },
    /// Another process works in this folder.
    #[error("another aquiferd works in {}: stop it first", folder.display())]
    InUse {
        /// The folder.
        folder: PathBuf,
    },
    /// The folder could not be made or locked.
    #[error("cannot use the folder {}: {source}", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// The data folder of one member: where each file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataDir(PathBuf);

/// Holds the data folder for this process; given back when dropped, also by a crash.
#[derive(Debug)]
pub struct DataDirLock {
    _file: File,
}

impl DataDir {
    /// The data folder at `path`, which need not exist.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Makes the folder, readable by its owner alone, if it does not exist.
    ///
    /// # Errors
    /// [`ConfigError::Folder`].
    pub fn make(&self) -> Result<(), ConfigError> {
        use std::os::unix::fs::DirBuilderExt as _;
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.0)
            .map_err(|source| ConfigError::Folder { folder: self.0.clone(), source })
    }

    /// Takes the folder for this process. Two processes with the keys of one member could sign two things.
    ///
    /// # Errors
    /// [`ConfigError::InUse`] while another process has it.
    pub fn lock(&self) -> Result<DataDirLock, ConfigError> {
        let folder = |source| ConfigError::Folder { folder: self.0.clone(), source };
        let file =
            File::options().create(true).write(true).truncate(false).open(self.0.join("lock")).map_err(folder)?;
        match file.try_lock() {
            Ok(()) => Ok(DataDirLock { _file: file }),
            Err(TryLockError::WouldBlock) => Err(ConfigError::InUse { folder: self.0.clone() }),
            Err(TryLockError::Error(source)) => Err(folder(source)),
        }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The configuration.
    pub fn config(&self) -> PathBuf {
        self.0.join("aquiferd.toml")
    }

    /// The member's seed as 24 words. Secret; every key but the two shares follows from it.
    pub fn seed(&self) -> PathBuf {
        self.0.join("seed")
    }

    /// The member's public card.
    pub fn card(&self) -> PathBuf {
        self.0.join("card.json")
    }

    /// The state of the ceremony while it runs. Secret.
    pub fn ceremony_state(&self) -> PathBuf {
        self.0.join("ceremony.state")
    }

    /// The messages of the ceremony: public, but needed by members that come late.
    pub fn ceremony_messages(&self) -> PathBuf {
        self.0.join("ceremony.messages")
    }

    /// The messages of the repair that this member helps with: public, and there only while it does.
    pub fn repair_messages(&self) -> PathBuf {
        self.0.join("repair.messages")
    }

    /// The member's share of the certificate key. Secret; it follows from the ceremony and the seed.
    pub fn certificate_share(&self) -> PathBuf {
        self.0.join("certificate.share")
    }

    /// The member's share of the treasury key. Secret; it follows from the ceremony and the seed.
    pub fn treasury_share(&self) -> PathBuf {
        self.0.join("treasury.share")
    }

    /// Why the ceremony whose state lies beside it has failed.
    pub fn ceremony_failure(&self) -> PathBuf {
        self.0.join("ceremony.failure")
    }

    /// The outcome of the ceremony, the same for all members.
    pub fn federation(&self) -> PathBuf {
        self.0.join("federation.json")
    }

    /// What wallets need to know of the federation.
    pub fn network(&self) -> PathBuf {
        self.0.join("network.json")
    }

    /// The key with which an auditor signs its verdicts. Secret.
    pub fn audit_key(&self) -> PathBuf {
        self.0.join("audit.key")
    }

    /// The key that wallets encrypt descriptors to. Secret.
    pub fn descriptor_key(&self) -> PathBuf {
        self.0.join("descriptor.key")
    }

    /// A database by its name: `ledger`, `consensus`, `signer`, `parent`, `mempool`, `audit`, `auditor`,
    /// `index`.
    pub fn database(&self, name: &str) -> PathBuf {
        self.0.join(format!("{name}.db"))
    }
}

/// The configuration of a member: `aquiferd.toml`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfigFile {
    /// The member's name, as in its card.
    pub name: String,
    /// The service for other members.
    pub peers: Listen,
    /// The service for wallets.
    pub api: Listen,
    /// The member's own bitcoind.
    pub bitcoind: BitcoindConfig,
    /// How long the treasury key may take to sign.
    #[serde(default, skip_serializing_if = "TreasuryConfig::is_default")]
    pub treasury: TreasuryConfig,
    /// Whose verdicts this member waits for before it signs peg-out batches.
    #[serde(default)]
    pub audit: AuditConfig,
    /// The member's own elementsd, whose opinion it asks for before it votes and before it signs batches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elementsd: Option<ElementsdConfig>,
    /// Where the fees of this member's blocks go, an address of the chain; by default a key derived from its seed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fee_address: Option<elements::Address>,
    /// Whether verdicts on scripts and proofs are remembered.
    #[serde(default)]
    pub verdicts: VerdictMemory,
    /// How much may wait for a block.
    #[serde(default)]
    pub mempool: MempoolConfig,
    /// The interfaces for other software.
    #[serde(default, skip_serializing_if = "InterfacesConfig::is_default")]
    pub interfaces: InterfacesConfig,
    /// What is logged.
    #[serde(default)]
    pub log: LogConfig,
}

/// Where a service listens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listen {
    /// Address and port of this machine.
    pub listen: SocketAddr,
}

/// The interfaces for other software: explorers, Electrum and Esplora wallets, elementsd. Each is on where it has an
/// address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::Args)]
#[serde(deny_unknown_fields, default)]
pub struct InterfacesConfig {
    /// Listen there for HTTP: explorer, Esplora, Waterfalls, asset registry, metrics [default: off].
    #[arg(long, value_name = "IP:PORT")]
    pub http: Option<SocketAddr>,
    /// Requests per second that one address may send over HTTP [default: 300].
    #[arg(long, value_name = "NUMBER")]
    pub http_rate: Option<NonZeroU32>,
    /// The folder of the asset registry, with a file <asset>.json for each asset, seen from the data folder [default: none].
    #[arg(long, value_name = "FOLDER")]
    pub registry: Option<PathBuf>,
    /// Listen there for Electrum wallets, without TLS [default: off].
    #[arg(long, value_name = "IP:PORT")]
    pub electrum: Option<SocketAddr>,
    /// Listen there for Electrum wallets, with TLS and the member's own certificate [default: off].
    #[arg(long, value_name = "IP:PORT")]
    pub electrum_tls: Option<SocketAddr>,
    /// Listen there for elements-cli and others that speak elementsd's JSON-RPC [default: off].
    #[arg(long, value_name = "IP:PORT")]
    pub jsonrpc: Option<SocketAddr>,
    /// Listen there for nodes of the Elements network, such as elementsd [default: off].
    #[arg(long, value_name = "IP:PORT")]
    pub p2p: Option<SocketAddr>,
    /// Stay connected to this node of the Elements network; may be given several times.
    #[arg(long, value_name = "IP:PORT")]
    pub p2p_connect: Vec<SocketAddr>,
    /// Whether the node keeps the index that HTTP and Electrum answer from.
    #[arg(long, value_enum, default_value_t)]
    pub index: IndexMode,
}

/// Whether there is an index of the chain. Deleting `index.db` has it made again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum IndexMode {
    /// There is where an interface needs it.
    #[default]
    On,
    /// There is none: interfaces that need it say so.
    Off,
}

impl InterfacesConfig {
    /// Whether the index is to be kept: an interface needs it, and it is not switched off.
    pub fn needs_index(&self) -> bool {
        let is_wanted = self.http.is_some() || self.electrum.is_some() || self.electrum_tls.is_some();
        is_wanted && self.index == IndexMode::On
    }

    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// How to reach bitcoind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BitcoindConfig {
    /// The RPC service, such as `http://127.0.0.1:8332`.
    pub url: String,
    /// The cookie file that bitcoind writes at each start.
    pub cookie_file: PathBuf,
}

/// How peg-out batches are signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TreasuryConfig {
    /// When the treasury key has not signed a batch after this many seconds, this member signs it by the script of the
    /// members and tells its operator.
    pub script_after_s: u32,
    /// The fee rate of batches while bitcoind has no estimate of its own, in satoshi per 1,000 virtual bytes.
    pub fallback_fee_rate_sat_per_kvb: u64,
}

impl Default for TreasuryConfig {
    fn default() -> Self {
        Self { script_after_s: 60, fallback_fee_rate_sat_per_kvb: 5_000 }
    }
}

impl TreasuryConfig {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// The same as the chain takes it.
    pub fn script_after(&self) -> Duration {
        Duration::from_secs(self.script_after_s.into())
    }
}

/// The auditors of a member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuditConfig {
    /// Their public keys, as `aquiferd auditor init` prints them.
    pub keys: Vec<XOnlyPublicKey>,
    /// How many of them must have passed the block of a batch before it is signed. 0 switches the audit off.
    pub required: usize,
}

impl Default for AuditConfig {
    fn default() -> Self {
        Self { keys: Vec::new(), required: 1 }
    }
}

/// How to reach elementsd, and what to do when it does not agree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ElementsdConfig {
    /// The RPC service, such as `http://127.0.0.1:7041`.
    pub url: String,
    /// The cookie file that elementsd writes at each start.
    pub cookie_file: PathBuf,
    /// What to do when elementsd refuses a block that this member finds valid, or does not answer.
    #[serde(default)]
    pub disagreement: Disagreement,
}

/// What a member does when its elementsd refuses or is silent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Disagreement {
    /// It does not vote for the block and signs no batch in it.
    #[default]
    Abstain,
    /// It says so and goes on.
    Warn,
}

/// Whether scripts and proofs of a transaction that were right when it arrived are checked again in its block. The
/// verdict is the same; it takes longer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VerdictMemory {
    /// What was checked is remembered.
    #[default]
    On,
    /// Everything is checked every time.
    Off,
}

/// How much may wait for a block, and how long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MempoolConfig {
    /// Memory that waiting transactions may take, in megabytes.
    pub max_megabytes: u32,
    /// How long a transaction may wait, in hours.
    pub expiry_hours: u32,
}

impl Default for MempoolConfig {
    fn default() -> Self {
        Self { max_megabytes: 300, expiry_hours: 336 }
    }
}

impl MempoolConfig {
    /// The same as the mempool takes them.
    pub fn limits(&self) -> Limits {
        Limits {
            memory_bytes: u64::from(self.max_megabytes).saturating_mul(1_000_000),
            expiry_s: self.expiry_hours.saturating_mul(3_600),
        }
    }
}

/// What is logged, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// A filter as `tracing-subscriber` reads it, such as `info` or `info,aquifer_functionary=debug`.
    pub filter: String,
    /// The form of a line.
    pub format: LogFormat,
}

/// The form of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl Default for LogConfig {
    fn default() -> Self {
        // The engine tells every vote at this level; what came of them is said by this program.
        let filter = "info,arc_malachitebft_core_consensus=warn,arc_malachitebft_core_driver=warn".to_owned();
        Self { filter, format: LogFormat::Text }
    }
}

/// A member's configuration with the folder it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The folder.
    pub data: DataDir,
    /// The content of its `aquiferd.toml`.
    pub file: ConfigFile,
}

impl Config {
    /// Reads the configuration of the member in `data`.
    ///
    /// # Errors
    /// [`ConfigError::NotInitialized`] if there is none, [`ConfigError::Syntax`] if it is wrong.
    pub fn load(data: DataDir) -> Result<Self, ConfigError> {
        let path = data.config();
        let bytes = match files::read(&path) {
            Err(error) if error.is_missing() => {
                return Err(ConfigError::NotInitialized { folder: data.path().to_owned() });
            }
            other => other?,
        };
        let syntax = |message: String| ConfigError::Syntax { path: path.clone(), message };
        let text = String::from_utf8(bytes).map_err(|error| syntax(error.to_string()))?;
        let file = toml::from_str(&text).map_err(|error| syntax(error.to_string()))?;
        Ok(Self { data, file })
    }

    /// Writes the configuration of a new member.
    ///
    /// # Errors
    /// [`FileError::Exists`] if there is one already.
    pub fn create(&self) -> Result<(), ConfigError> {
        let path = self.data.config();
        let text = toml::to_string(&self.file)
            .map_err(|error| ConfigError::Syntax { path: path.clone(), message: error.to_string() })?;
        Ok(files::create(&path, text.as_bytes(), Access::Public)?)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn config(folder: &Path) -> Config {
        let file = ConfigFile {
            name: "alpha".to_owned(),
            peers: Listen { listen: "127.0.0.1:7100".parse().unwrap() },
            api: Listen { listen: "127.0.0.1:7200".parse().unwrap() },
            bitcoind: BitcoindConfig { url: "http://127.0.0.1:18443".to_owned(), cookie_file: "/b/.cookie".into() },
            treasury: TreasuryConfig { script_after_s: 7, fallback_fee_rate_sat_per_kvb: 9_000 },
            audit: AuditConfig {
                keys: vec!["79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798".parse().unwrap()],
                required: 2,
            },
            elementsd: Some(ElementsdConfig {
                url: "http://127.0.0.1:7041".to_owned(),
                cookie_file: "/e/.cookie".into(),
                disagreement: Disagreement::Warn,
            }),
            fee_address: None,
            verdicts: VerdictMemory::Off,
            mempool: MempoolConfig::default(),
            interfaces: InterfacesConfig::default(),
            log: LogConfig::default(),
        };
        Config { data: DataDir::new(folder), file }
    }

    #[test]
    fn a_configuration_comes_back_as_written_and_is_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path());
        config.create().unwrap();
        assert_eq!(Config::load(config.data.clone()).unwrap(), config);
        assert!(matches!(config.create(), Err(ConfigError::File(FileError::Exists { .. }))));
    }

    #[test]
    fn a_wrong_configuration_is_refused_with_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::new(folder.path());
        assert!(matches!(Config::load(data.clone()), Err(ConfigError::NotInitialized { .. })));
        std::fs::write(data.config(), "name = \"alpha\"\nnmae = 1\n").unwrap();
        let error = Config::load(data).unwrap_err();
        assert!(matches!(&error, ConfigError::Syntax { message, .. } if message.contains("line 2")), "{error}");
    }

    #[test]
    fn one_process_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::new(folder.path());
        let held = data.lock().unwrap();
        assert!(matches!(data.lock(), Err(ConfigError::InUse { .. })));
        drop(held);
        data.lock().unwrap();
    }
}
