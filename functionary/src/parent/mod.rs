//! The parent chain: this member's own bitcoind, its blocks and the deposits in them.
//!
//! [`Parent`] is a handle for all of the node. A task asks bitcoind regularly (and at once when [`Parent::refresh`] is
//! called), tells whether it is healthy, and looks for deposits in new blocks. Another one looks for deposits that were made
//! before their scripts were watched here. Everything else asks bitcoind when it is
//! called and therefore blocks: asynchronous code calls it on a thread for blocking work.
//!
//! Without a healthy bitcoind nothing here calls anything invalid: questions are answered with "unknown", and peg-ins and
//! batches wait. The one thing that cannot be waited out is a bitcoind on another chain, [`ParentState::WrongChain`].

mod client;
mod deposits;
mod follower;
mod lookback;
mod store;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aquifer_assets::chain::ChainParams;
use aquifer_assets::peg::{PegError, deposit_programs};
use bitcoin::{BlockHash, OutPoint, ScriptBuf, Transaction, Txid};
use tokio::sync::{Notify, watch};

pub use client::{BlockStatus, Broadcast, ParentClient, ParentError, ParentTip, Scan, TransactionStatus};
pub use deposits::{DepositProgress, DepositStatus, DepthVerdict};
pub use follower::Following;
pub use store::{Deposit, ParentStore, ParentStoreError, SignedBatch, WatchChange};

/// A payment of the federation shall be confirmed within this many blocks.
const FEE_TARGET_BLOCKS: u16 = 6;

/// Told of a reorganisation before it is followed; if it fails, the member stays before the reorganisation and tells it again.
pub type ReorganisationAlarm = Arc<dyn Fn(DeepReorganisation) -> Result<(), String> + Send + Sync>;

/// A reorganisation of Bitcoin that took back more blocks than a peg-in waits for: a deposit that was claimed may be gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeepReorganisation {
    /// Height of the best block before it.
    pub height: u32,
    /// Blocks that left the best chain, as far as they are remembered.
    pub depth_blocks: u32,
}

/// How to reach bitcoind.
#[derive(Clone)]
pub struct ParentConfig {
    /// `http://host:port` of its RPC.
    pub url: String,
    /// Its cookie file, read again after every restart.
    pub cookie_file: PathBuf,
    /// How often it is asked for news.
    pub poll_interval: Duration,
    /// Used while bitcoind has no estimate of fees, in satoshi per 1,000 virtual bytes.
    pub fallback_fee_rate_sat_per_kvb: u64,
    /// Called for reorganisations deeper than a peg-in.
    pub alarm: ReorganisationAlarm,
}

/// Whether the parent chain can be relied upon at the moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParentState {
    /// bitcoind is on the right chain and has all its blocks.
    Healthy {
        /// Height of its best block.
        height: u32,
        /// Hash of its best block.
        hash: BlockHash,
    },
    /// Peg-ins and batches wait.
    Unhealthy {
        /// Why.
        reason: String,
    },
    /// bitcoind follows another chain. Only its operator can change that.
    WrongChain {
        /// Its genesis block and the one it should have.
        reason: String,
    },
}

impl ParentState {
    /// Why peg-ins and batches wait, if they do.
    pub fn problem(&self) -> Option<&str> {
        match self {
            Self::Healthy { .. } => None,
            Self::Unhealthy { reason } | Self::WrongChain { reason } => Some(reason),
        }
    }
}

/// A watch for deposits could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// No deposit address can be made from the claim script.
    #[error("no deposit address for claim script {claim_script:x}: {source}")]
    ClaimScript {
        /// The claim script.
        claim_script: elements::Script,
        /// Why.
        source: PegError,
    },
    /// The watch cannot be kept.
    #[error(transparent)]
    Store(#[from] ParentStoreError),
}

/// A round of the follower failed.
#[derive(Debug, thiserror::Error)]
enum FollowError {
    #[error(transparent)]
    Parent(#[from] ParentError),
    #[error(transparent)]
    Store(#[from] ParentStoreError),
    #[error("a deep reorganisation could not be told: {0}")]
    Alarm(String),
}

/// A handle to the parent chain.
#[derive(Clone)]
pub struct Parent {
    shared: Arc<Shared>,
}

struct Shared {
    alarm: ReorganisationAlarm,
    fallback_fee_rate_sat_per_kvb: u64,
    client: ParentClient,
    /// For the look at all unspent outputs, which would keep the other one from its work.
    scans: ParentClient,
    params: Arc<ChainParams>,
    state: watch::Sender<ParentState>,
    store: Mutex<ParentStore>,
    /// Every watched script and its claim script; a copy of what the store holds.
    watched: Mutex<HashMap<ScriptBuf, elements::Script>>,
    changes: watch::Sender<u64>,
    asked: Notify,
}

impl Parent {
    /// Opens `parent.db` and starts to follow bitcoind, which need not be up yet.
    ///
    /// # Errors
    ///
    /// The file cannot be used.
    pub fn start(
        config: ParentConfig,
        params: Arc<ChainParams>,
        store: &Path,
        runtime: &tokio::runtime::Handle,
    ) -> Result<(Self, Following), ParentStoreError> {
        let store = ParentStore::open(store)?;
        let watched = store.watched()?.into_iter().collect();
        let reason = "bitcoind has not been asked yet".to_owned();
        let client = ParentClient::new(config.url, config.cookie_file, params.parent_genesis);
        let parent = Self {
            shared: Arc::new(Shared {
                alarm: config.alarm,
                fallback_fee_rate_sat_per_kvb: config.fallback_fee_rate_sat_per_kvb,
                scans: client.for_scans(),
                client,
                params,
                state: watch::Sender::new(ParentState::Unhealthy { reason }),
                store: Mutex::new(store),
                watched: Mutex::new(watched),
                changes: watch::Sender::new(0),
                asked: Notify::new(),
            }),
        };
        let following = Following::start(parent.clone(), config.poll_interval, runtime);
        Ok((parent, following))
    }

    /// The state as it was when bitcoind was last asked.
    pub fn state(&self) -> ParentState {
        self.shared.state.borrow().clone()
    }

    /// Tells every change of the state, new blocks included.
    pub fn subscribe(&self) -> watch::Receiver<ParentState> {
        self.shared.state.subscribe()
    }

    /// A counter that moves whenever the state or a deposit has changed. Who watches a deposit asks again when it moves,
    /// and so never misses a state that lasts.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.shared.changes.subscribe()
    }

    /// Asks bitcoind for news at once rather than at the next interval.
    pub fn refresh(&self) {
        self.shared.asked.notify_one();
    }

    /// Whether a deposit lies deep enough in the best chain. `block` is the block that the claim proves inclusion in; the
    /// proof itself has been checked already, and here bitcoind confirms it.
    pub fn deposit_depth(&self, deposit: &Txid, block: &BlockHash) -> DepthVerdict {
        let needed = self.shared.params.pegin_confirmation_depth_blocks;
        let verdict = self.ask(|client| {
            let confirmations = match client.block_status(block)? {
                BlockStatus::Unknown => {
                    return Ok(DepthVerdict::Unknown(format!("bitcoind has no block {block} (yet)")));
                }
                BlockStatus::Stale => return Ok(DepthVerdict::NotInBestChain),
                BlockStatus::Best { confirmations, .. } => confirmations,
            };
            if !client.block_contains(block, deposit)? {
                return Ok(DepthVerdict::NotInBestChain);
            }
            Ok(if confirmations >= needed {
                DepthVerdict::Deep { confirmations }
            } else {
                DepthVerdict::Shallow { confirmations, needed }
            })
        });
        verdict.unwrap_or_else(|error| DepthVerdict::Unknown(error.to_string()))
    }

    /// Watches for deposits to the addresses of a claim script: those valid at `height` of our chain and those of the
    /// epoch after it. The watch survives restarts. Earlier deposits that are still unspent are found a while later, after
    /// a look at all unspent outputs ([`Parent::looks_back`]); `paid_by` names a transaction that is looked up at once.
    ///
    /// # Errors
    ///
    /// The claim script has no deposit address; the watch cannot be stored. That bitcoind cannot be asked for `paid_by` is
    /// no error: the look back finds it.
    pub fn watch_deposit(
        &self,
        claim_script: &elements::Script,
        height: u32,
        paid_by: Option<Txid>,
    ) -> Result<(), WatchError> {
        let scripts = self.deposit_scripts(claim_script, height)?;
        let change = {
            // Both at once: a script that waits for its look back is searched for in every block from now on.
            let mut watched = self.shared.watched.lock().unwrap_or_else(PoisonError::into_inner);
            let mut store = self.store();
            let change = store.watch(claim_script, &scripts)?;
            for script in &change.forgotten {
                watched.remove(script);
            }
            watched.extend(scripts.iter().map(|script| (script.clone(), claim_script.clone())));
            change
        };
        if change.added > 0 {
            self.changed();
        }
        if let Some(txid) = paid_by
            && let Err(error) = lookback::take_in_transaction(self, claim_script, &scripts, &txid)
        {
            tracing::warn!(%txid, %error, "an earlier deposit could not be looked up");
        }
        Ok(())
    }

    /// Whether deposits to the addresses of a claim script that were made before the watch are still looked for.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub fn looks_back(&self, claim_script: &elements::Script) -> Result<bool, ParentStoreError> {
        self.store().waits_for_look_back(claim_script)
    }

    /// The deposits to the addresses of a claim script that are in the best chain, oldest first.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub fn deposits(&self, claim_script: &elements::Script) -> Result<Vec<DepositStatus>, ParentStoreError> {
        let store = self.store();
        let Some(position) = store.position()? else { return Ok(Vec::new()) };
        let needed = self.shared.params.pegin_confirmation_depth_blocks;
        let deposits = store.deposits(claim_script)?;
        Ok(deposits.into_iter().map(|deposit| DepositStatus::of(deposit, position.height, needed)).collect())
    }

    /// The fee rate for a payment now, in satoshi per 1,000 virtual bytes. The treasury keeps
    /// it within its own limits.
    ///
    /// # Errors
    ///
    /// bitcoind cannot be asked.
    pub fn fee_rate_sat_per_kvb(&self) -> Result<u64, ParentError> {
        let estimate = self.ask(|client| client.estimate_fee_rate(FEE_TARGET_BLOCKS))?;
        Ok(estimate.unwrap_or(self.shared.fallback_fee_rate_sat_per_kvb))
    }

    /// Hands a signed transaction to the network.
    ///
    /// # Errors
    ///
    /// bitcoind cannot be asked.
    pub fn broadcast(&self, transaction: &Transaction) -> Result<Broadcast, ParentError> {
        self.ask(|client| client.broadcast(transaction))
    }

    /// Where a transaction stands.
    ///
    /// # Errors
    ///
    /// bitcoind cannot be asked.
    pub fn transaction_status(&self, txid: &Txid) -> Result<TransactionStatus, ParentError> {
        self.ask(|client| client.transaction_status(txid))
    }

    /// Confirmations of an output that is unspent in the best chain, else `None`. A transaction that waits in the mempool
    /// does not count: it may be a batch that is to be replaced.
    ///
    /// # Errors
    ///
    /// bitcoind cannot be asked.
    pub fn is_unspent(&self, outpoint: &OutPoint) -> Result<Option<u32>, ParentError> {
        self.ask(|client| client.unspent_confirmations(outpoint))
    }

    /// Asks bitcoind if it was healthy when last asked. A failure to answer is noted, so that nobody else waits for it.
    fn ask<T>(&self, question: impl FnOnce(&ParentClient) -> Result<T, ParentError>) -> Result<T, ParentError> {
        if let Some(problem) = self.shared.state.borrow().problem() {
            return Err(ParentError::Syncing(problem.to_owned()));
        }
        question(&self.shared.client).inspect_err(|error| {
            if !error.is_refusal() {
                self.note_failure(error);
            }
        })
    }

    /// Keeps a batch that has all its signatures, to hand it over again after a restart or a reorganisation.
    pub(crate) fn keep_batch(&self, batch: &SignedBatch) -> Result<(), ParentStoreError> {
        self.store().keep_batch(batch)
    }

    /// The batch that was kept for a height of our chain.
    pub(crate) fn kept_batch(&self, height: u32) -> Result<Option<SignedBatch>, ParentStoreError> {
        self.store().batch(height)
    }

    /// The first confirmed transaction in which this member has seen the treasury key spend an output of the treasury.
    pub fn key_proof(&self) -> Option<Txid> {
        // What cannot be read was not seen: the member is more careful then.
        self.store().key_proof().ok().flatten()
    }

    /// Takes note of it when one of these inputs of a confirmed transaction, which spend outputs of the treasury, was signed
    /// by the key: its witness is one signature, and Bitcoin has taken it.
    pub(crate) fn look_for_key_proof(&self, txid: &Txid, inputs: &[usize]) -> Result<(), ParentError> {
        let transaction = self.ask(|client| client.transaction(txid))?;
        let is_by_key = |input: &usize| {
            let witness = transaction.input.get(*input).map(|input| &input.witness);
            witness.is_some_and(|witness| witness.len() == 1 && witness.nth(0).is_some_and(|item| item.len() == 64))
        };
        if transaction.compute_txid() == *txid && inputs.iter().any(is_by_key) {
            match self.store().keep_key_proof(txid) {
                Ok(()) => tracing::info!(%txid, "Bitcoin has taken a signature of the treasury key"),
                Err(error) => tracing::error!(%error, "that the treasury key has signed could not be kept"),
            }
        }
        Ok(())
    }

    fn note_failure(&self, error: &ParentError) {
        let reason = error.to_string();
        self.set_state(match error {
            ParentError::WrongChain { .. } => ParentState::WrongChain { reason },
            _ => ParentState::Unhealthy { reason },
        });
    }

    fn set_state(&self, new: ParentState) {
        let changed = self.shared.state.send_if_modified(|state| {
            match (state.problem(), new.problem()) {
                (None, Some(reason)) => tracing::warn!(reason, "the parent chain cannot be relied upon"),
                (Some(_), None) => tracing::info!("the parent chain is followed"),
                _ => {}
            }
            if *state == new {
                return false;
            }
            *state = new;
            true
        });
        if changed {
            self.changed();
        }
    }

    fn store(&self) -> MutexGuard<'_, ParentStore> {
        // Every change is one SQLite transaction, so a panic elsewhere leaves nothing half-done.
        self.shared.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The output scripts of all deposit addresses of a claim script that are valid at a height or in the next epoch.
    fn deposit_scripts(&self, claim_script: &elements::Script, height: u32) -> Result<Vec<ScriptBuf>, WatchError> {
        let params = &self.shared.params;
        let mut scripts = Vec::new();
        for height in [height, height.saturating_add(params.epoch_length_blocks)] {
            let programs = deposit_programs(params, height, claim_script)
                .map_err(|source| WatchError::ClaimScript { claim_script: claim_script.clone(), source })?;
            for program in programs {
                if !scripts.contains(&program.script_pubkey) {
                    scripts.push(program.script_pubkey);
                }
            }
        }
        Ok(scripts)
    }

    fn changed(&self) {
        self.shared.changes.send_modify(|count| *count = count.wrapping_add(1));
    }
}
