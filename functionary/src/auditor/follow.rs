//! Following a member: block after block, verdict after verdict.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aquifer_assets::chain::{Network, Server};
use aquifer_proto::ledger::Block as Message;
use elements::BlockHash;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::examine::{Chain, Trial};
use super::key::{AuditKey, AuditKeyError};
use super::link::{Link, Reported, choose};
use super::store::AuditorStore;
use super::summary::Summary;
use crate::audit::{SignedVerdict, Verdict};
use crate::config::{ConfigError, DataDir};
use crate::store::StoreError;

/// Pause after a failure, doubled with each one in a row up to eight times this.
const PAUSE: Duration = Duration::from_millis(500);
/// How often a block from the future is tried again.
const CLOCK_PAUSE: Duration = Duration::from_secs(5);
/// How long the auditor tries to hand over a refusal before it ends.
const REFUSAL_PATIENCE: Duration = Duration::from_secs(60);
/// Longest reason of a refusal that is sent, in bytes; the log has all of it.
const MAX_REASON_LEN: usize = 1_000;

/// When an auditor ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// When it has passed the block that was the member's last when it began.
    CaughtUp,
    /// Never: it waits for new blocks.
    Stopped,
}

/// What to audit.
#[derive(Clone, Debug)]
pub struct Options {
    /// The auditor's folder.
    pub data: DataDir,
    /// The federation.
    pub network: Network,
    /// The member to follow; the first of the network file by default.
    pub member: Option<String>,
    /// When to end.
    pub until: Until,
}

/// What an auditor is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It has connected to a member.
    Connected {
        /// The member.
        member: String,
        /// Height up to which blocks were passed before.
        height: u32,
        /// The member's last block.
        goal: u32,
    },
    /// It has passed a block.
    Passed {
        /// The height.
        height: u32,
        /// The last block known.
        goal: u32,
    },
    /// Something keeps it from going on; it tries again.
    Trouble(String),
    /// The member does not listen to this auditor.
    Unlisted {
        /// The member.
        member: String,
    },
    /// A block is refused.
    Refused {
        /// Its height.
        height: u32,
        /// The block.
        block: BlockHash,
        /// Why.
        reason: String,
    },
}

/// An auditor has ended.
#[derive(Debug, thiserror::Error)]
pub enum AuditorError {
    /// A certified block is refused.
    #[error(
        "REFUSED: block {height} ({block}) carries the federation's certificate and must not be believed: {reason}. \
         {reported}. Do not accept payments of this chain until the operators have found out why; running the auditor again \
         judges the block again"
    )]
    Refused {
        /// Its height.
        height: u32,
        /// The block.
        block: BlockHash,
        /// What is wrong with it.
        reason: String,
        /// What became of the report.
        reported: &'static str,
    },
    /// The folder.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The key.
    #[error(transparent)]
    Key(#[from] AuditKeyError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no such member.
    #[error("{0}")]
    Member(String),
    /// The member follows another chain.
    #[error("{member} follows another chain: its genesis block is {found}, the network file describes {expected}")]
    OtherChain {
        /// The member.
        member: String,
        /// Its genesis block.
        found: BlockHash,
        /// That of the network file.
        expected: BlockHash,
    },
    /// It could not come to the end of the chain.
    #[error("{reason}; blocks up to {height} are passed, and the next run goes on from there")]
    Interrupted {
        /// The last block passed.
        height: u32,
        /// What happened.
        reason: String,
    },
}

/// Why a session with a member ended.
enum End {
    CaughtUp,
    Outage(String),
    Tampered(String),
    NotYet(String),
    Refused { height: u32, block: BlockHash, reason: String },
}

struct Auditor<'a> {
    chain: Arc<Chain>,
    key: AuditKey,
    server: Server,
    until: Until,
    store: Arc<Mutex<AuditorStore>>,
    verified: u32,
    progress: &'a mut (dyn FnMut(Progress) + Send),
}

/// Runs an auditor until it has caught up, refuses a block, or `stop` is cancelled. The caller holds the lock of its folder.
///
/// # Errors
/// [`AuditorError`]; what was passed is kept.
pub async fn run(
    options: Options,
    progress: &mut (dyn FnMut(Progress) + Send),
    stop: CancellationToken,
) -> Result<Summary, AuditorError> {
    let Options { data, network, member, until } = options;
    let key = AuditKey::load_or_make(&data)?;
    let server = choose(&network, member.as_deref()).map_err(AuditorError::Member)?.clone();
    let store = AuditorStore::open(&data.database("auditor"), &network.params)?;
    let mut auditor = Auditor {
        chain: Arc::new(Chain::new(&network)),
        key,
        server,
        until,
        store: Arc::new(Mutex::new(store)),
        verified: 0,
        progress,
    };
    tokio::select! {
        ended = auditor.work() => ended?,
        () = stop.cancelled() => {}
    }
    auditor.summary(&stop)
}

impl Auditor<'_> {
    fn with_store<T>(&self, work: impl FnOnce(&mut AuditorStore) -> T) -> T {
        // A block is added in one transaction; a panic elsewhere leaves no half of one.
        work(&mut self.store.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn height(&self) -> Result<u32, StoreError> {
        self.with_store(|store| store.tip()).map(|tip| tip.height)
    }

    fn summary(&self, stop: &CancellationToken) -> Result<Summary, AuditorError> {
        let verified = self.verified;
        let summary = self.with_store(|store| -> Result<Summary, StoreError> {
            let tip = store.tip()?;
            let (assets, reserve) = (store.assets()?, store.reserve()?);
            Ok(Summary { height: tip.height, block: tip.hash, verified, assets, reserve })
        })?;
        if self.until == Until::CaughtUp && stop.is_cancelled() {
            return Err(AuditorError::Interrupted { height: summary.height, reason: "interrupted".to_owned() });
        }
        Ok(summary)
    }

    /// Session after session.
    async fn work(&mut self) -> Result<(), AuditorError> {
        let mut failures = 0u32;
        loop {
            let before = self.verified;
            let end = self.session().await?;
            if self.verified > before {
                failures = 0;
            }
            let is_tampered = matches!(end, End::Tampered(_));
            let (reason, pause) = match end {
                End::CaughtUp => return Ok(()),
                End::Refused { height, block, reason } => return Err(self.refuse(height, block, reason).await),
                End::NotYet(reason) => (format!("{reason}; is the clock of this machine right?"), CLOCK_PAUSE),
                End::Tampered(reason) => {
                    let name = &self.server.name;
                    let text = format!("{name} sent a block that is not what the federation certified: {reason}");
                    (text, PAUSE.saturating_mul(8))
                }
                End::Outage(reason) => (reason, PAUSE.saturating_mul(1 << failures.min(3))),
            };
            failures = failures.saturating_add(1);
            // Who waits for an answer gets it soon: another member may serve what the federation certified.
            if self.until == Until::CaughtUp && (is_tampered || failures > 3) {
                return Err(AuditorError::Interrupted { height: self.height()?, reason });
            }
            (self.progress)(Progress::Trouble(reason));
            tokio::time::sleep(pause).await;
        }
    }

    /// One connection, until it breaks or there is an end.
    async fn session(&mut self) -> Result<End, AuditorError> {
        let link = match Link::open(&self.server).await {
            Ok(link) => link,
            Err(reason) => return Ok(End::Outage(reason)),
        };
        let (genesis, mut goal) = match link.tip().await {
            Ok(tip) => tip,
            Err(reason) => return Ok(End::Outage(reason)),
        };
        let expected = self.chain.genesis();
        if let Some(found) = genesis.filter(|genesis| *genesis != expected) {
            return Err(AuditorError::OtherChain { member: self.server.name.clone(), found, expected });
        }
        let tip = self.with_store(|store| store.tip())?;
        let member = self.server.name.clone();
        (self.progress)(Progress::Connected { member: member.clone(), height: tip.height, goal });
        let pass = |height, block| self.sign(height, block, Verdict::Passed, String::new());
        let passes = watch::Sender::new((tip.height > 0).then(|| pass(tip.height, tip.hash)));
        let mut reporting = tokio::spawn(report_passes(link.clone(), passes.subscribe()));
        let mut blocks = match link.blocks(tip.height.saturating_add(1)).await {
            Ok(blocks) => blocks,
            Err(reason) => return Ok(End::Outage(reason)),
        };
        let mut listed = true;
        loop {
            if self.until == Until::CaughtUp && self.height()? >= goal {
                break;
            }
            let message = tokio::select! {
                message = blocks.message() => message,
                reported = &mut reporting, if listed => match reported {
                    Ok(ReportEnd::Outage(reason)) => return Ok(End::Outage(reason)),
                    Ok(ReportEnd::Unlisted | ReportEnd::Done) => {
                        listed = false;
                        (self.progress)(Progress::Unlisted { member: member.clone() });
                        continue;
                    }
                    Err(error) => return Ok(End::Outage(format!("reporting failed: {error}"))),
                },
            };
            let message = match message {
                Ok(Some(message)) => message,
                Ok(None) => return Ok(End::Outage(format!("{member} ended the stream of blocks"))),
                Err(status) => return Ok(End::Outage(format!("{member}: {}", status.message()))),
            };
            let height = message.height;
            match self.try_block(message).await? {
                Ok(block) => {
                    self.verified = self.verified.saturating_add(1);
                    goal = goal.max(height);
                    (self.progress)(Progress::Passed { height, goal });
                    passes.send_replace(Some(self.sign(height, block, Verdict::Passed, String::new())));
                }
                Err(end) => return Ok(end),
            }
        }
        // The last verdict is handed over before the end.
        drop(passes);
        if listed {
            match reporting.await {
                Ok(ReportEnd::Done) => {}
                Ok(ReportEnd::Unlisted) => (self.progress)(Progress::Unlisted { member }),
                Ok(ReportEnd::Outage(reason)) => return Ok(End::Outage(reason)),
                Err(error) => return Ok(End::Outage(format!("reporting failed: {error}"))),
            }
        }
        Ok(End::CaughtUp)
    }

    fn sign(&self, height: u32, block: BlockHash, verdict: Verdict, reason: String) -> SignedVerdict {
        SignedVerdict::sign(self.key.pair(), self.chain.genesis(), height, block, verdict, reason)
    }

    /// Tries a block and, if it passes, makes it part of the auditor's chain: its hash, or how the session ends.
    async fn try_block(&self, message: Message) -> Result<Result<BlockHash, End>, AuditorError> {
        let (chain, store) = (Arc::clone(&self.chain), Arc::clone(&self.store));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let now = u32::try_from(now).unwrap_or(u32::MAX);
        let trying = tokio::task::spawn_blocking(move || {
            let mut store = store.lock().unwrap_or_else(PoisonError::into_inner);
            let height = message.height;
            Ok(match chain.examine(&store, &message, now)? {
                Trial::Passed(passed) => {
                    store.add(&passed)?;
                    Ok(passed.block.block_hash())
                }
                Trial::Refused { block, reason } => Err(End::Refused { height, block, reason }),
                Trial::Tampered(reason) => Err(End::Tampered(reason)),
                Trial::NotYet(reason) => Err(End::NotYet(reason)),
            })
        });
        match trying.await {
            Ok(tried) => tried.map_err(AuditorError::Store),
            // The verifier itself fell over: no verdict, and nothing was added.
            Err(error) => Err(AuditorError::Interrupted {
                height: self.height()?,
                reason: format!("verifying the next block failed: {error}"),
            }),
        }
    }

    /// Says it loudly and hands it to the member.
    async fn refuse(&mut self, height: u32, block: BlockHash, reason: String) -> AuditorError {
        (self.progress)(Progress::Refused { height, block, reason: reason.clone() });
        let mut sent = reason.clone();
        while sent.len() > MAX_REASON_LEN {
            sent.pop();
        }
        let verdict = self.sign(height, block, Verdict::Refused, sent);
        let begun = Instant::now();
        let reported = loop {
            let result = match Link::open(&self.server).await {
                Ok(link) => link.report(&verdict).await,
                Err(reason) => Err(reason),
            };
            match result {
                Ok(Reported::Taken) => break "The member was told and signs no peg-out batch any more",
                Ok(Reported::Unlisted) => break "The member does not listen to this auditor: tell its operator",
                Err(_) if begun.elapsed() > REFUSAL_PATIENCE => {
                    break "The member could NOT be told: run the auditor again, and tell its operator";
                }
                Err(reason) => (self.progress)(Progress::Trouble(reason)),
            }
            tokio::time::sleep(PAUSE).await;
        };
        AuditorError::Refused { height, block, reason, reported }
    }
}

/// Why a reporter ended.
enum ReportEnd {
    /// Everything is reported, and nothing more will come.
    Done,
    /// The member does not listen to this auditor.
    Unlisted,
    /// The connection broke.
    Outage(String),
}

/// Reports the latest pass whenever there is a later one, until the sender is gone.
async fn report_passes(link: Link, mut passes: watch::Receiver<Option<SignedVerdict>>) -> ReportEnd {
    loop {
        let latest = passes.borrow_and_update().clone();
        if let Some(verdict) = latest {
            match link.report(&verdict).await {
                Ok(Reported::Taken) => {}
                Ok(Reported::Unlisted) => return ReportEnd::Unlisted,
                Err(reason) => return ReportEnd::Outage(reason),
            }
        }
        if passes.changed().await.is_err() {
            return ReportEnd::Done;
        }
    }
}
