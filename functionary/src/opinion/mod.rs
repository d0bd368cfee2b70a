//! The second opinion: a local elementsd judges the same blocks, and this member acts only when both agree.
//!
//! A thread of its own gives every final block to elementsd, from where its best chain ends, also after a restart of either.
//! Before a vote the member asks about the proposed block (`testproposedblock`); before it signs a batch the block of the
//! batch must be in elementsd's best chain. What holds:
//!
//! * Every call has a time limit, and none is made by the chain's thread: that one looks only at how far elementsd has
//!   followed.
//! * An elementsd that is down, behind or of another opinion costs this member's vote, not the chain: the others go on. With
//!   `disagreement = "warn"` it costs nothing but a warning.
//! * A disagreement is an alarm, once for each block. It is withdrawn when elementsd takes that block after all, as it does
//!   when its own bitcoind was behind.

mod client;

#[cfg(test)]
mod tests;

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use aquifer_assets::primitives::Block;
use elements::BlockHash;
use elements::encode::serialize;
use tokio::sync::watch;

use self::client::{Elementsd, OtherNode, Submitted, Tested};
use crate::chain::oversight::{Doubt, Hold, SecondOpinion};
use crate::config::{Disagreement, ElementsdConfig};
use crate::rpc::RpcError;
use crate::store::StoreError;
use crate::store::ledger::LedgerReader;

/// How often final blocks are looked for when nobody asks.
const IDLE_PAUSE: Duration = Duration::from_millis(500);
/// How long elementsd is left alone after it failed or refused.
const TROUBLE_PAUSE: Duration = Duration::from_secs(2);
/// How long a vote waits for elementsd to take the block before.
const FOLLOW_PATIENCE: Duration = Duration::from_secs(2);

/// The final blocks of this member.
pub(crate) trait FinalChain: Send + Sync {
    /// Height of the last one.
    fn height(&self) -> Result<u32, StoreError>;
    /// A block by height: its hash and its bytes.
    fn block(&self, height: u32) -> Result<Option<(BlockHash, Vec<u8>)>, StoreError>;
}

impl FinalChain for LedgerReader {
    fn height(&self) -> Result<u32, StoreError> {
        Ok(self.snapshot()?.tip()?.height)
    }

    fn block(&self, height: u32) -> Result<Option<(BlockHash, Vec<u8>)>, StoreError> {
        Ok(self.snapshot()?.block(height)?.map(|stored| (stored.hash, stored.block)))
    }
}

/// How it stands with elementsd.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpinionStatus {
    /// Height up to which its best chain is ours; `None` while that is not known.
    pub follows: Option<u32>,
    /// Why it does not follow, if it does not.
    pub problem: Option<String>,
    /// What it refuses although this member finds it valid.
    pub disagreement: Option<String>,
}

#[derive(Default)]
struct State {
    status: OpinionStatus,
    refused: Option<BlockHash>,
    nudged: bool,
    stop: bool,
}

/// Why elementsd does not follow now.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("{0}")]
    Rpc(#[from] RpcError),
    #[error("{0}")]
    Store(#[from] StoreError),
    #[error(
        "elementsd follows another chain: its genesis block is {theirs}, ours {ours}; start it with what `aquiferd elements-conf` prints"
    )]
    OtherGenesis { ours: BlockHash, theirs: BlockHash },
    #[error("elementsd refuses the final block {height} ({block}): {reason}")]
    Refuses { height: u32, block: BlockHash, reason: String },
    #[error("elementsd has not made block {height} part of its best chain yet")]
    Undecided { height: u32 },
}

/// Called with the text of each new disagreement.
pub type OnDisagreement = Box<dyn Fn(String) + Send + Sync>;

/// The second opinion of one member; see the module's description.
pub struct Opinion {
    node: Arc<dyn OtherNode>,
    chain: Arc<dyn FinalChain>,
    policy: Disagreement,
    state: Mutex<State>,
    /// Wakes the feeding thread.
    wanted: Condvar,
    /// Wakes who waits for it.
    moved: Condvar,
    changes: watch::Sender<u64>,
    on_disagreement: OnDisagreement,
}

/// The thread that feeds elementsd.
pub struct Feeding {
    opinion: Arc<Opinion>,
    thread: JoinHandle<()>,
}

impl Feeding {
    /// Ends the thread after the call that it waits for.
    pub fn stop(self) {
        self.opinion.lock().stop = true;
        self.opinion.wanted.notify_all();
        if self.thread.join().is_err() {
            tracing::error!("the thread that gives blocks to elementsd had failed before it was stopped");
        }
    }
}

impl Opinion {
    /// Starts to feed the elementsd of the configuration.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn start(
        config: &ElementsdConfig,
        ledger: Arc<LedgerReader>,
        on_disagreement: OnDisagreement,
    ) -> std::io::Result<(Arc<Self>, Feeding)> {
        let node = Arc::new(Elementsd::new(config.url.clone(), config.cookie_file.clone()));
        let opinion = Arc::new(Self::new(node, ledger, config.disagreement, on_disagreement));
        let feeder = Arc::clone(&opinion);
        let thread = std::thread::Builder::new().name("elementsd".into()).spawn(move || feeder.feed_until_stopped())?;
        Ok((Arc::clone(&opinion), Feeding { opinion, thread }))
    }

    fn new(
        node: Arc<dyn OtherNode>,
        chain: Arc<dyn FinalChain>,
        policy: Disagreement,
        on_disagreement: OnDisagreement,
    ) -> Self {
        Self {
            node,
            chain,
            policy,
            state: Mutex::default(),
            wanted: Condvar::new(),
            moved: Condvar::new(),
            changes: watch::Sender::new(0),
            on_disagreement,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change is a single step.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How it stands.
    pub fn status(&self) -> OpinionStatus {
        self.lock().status.clone()
    }

    /// What happens when it does not agree.
    pub fn policy(&self) -> Disagreement {
        self.policy
    }

    /// A counter that moves whenever the status has changed.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Why the batch of the final block at `height` must not be signed now, as far as elementsd is concerned.
    pub fn hold(&self, height: u32) -> Option<Hold> {
        let mut state = self.lock();
        if self.policy == Disagreement::Warn || state.status.follows >= Some(height) {
            return None;
        }
        state.nudged = true;
        self.wanted.notify_all();
        let trouble = state.status.disagreement.clone().or_else(|| state.status.problem.clone());
        Some(Hold::Waits(
            trouble.unwrap_or_else(|| format!("elementsd does not have block {height} in its best chain yet")),
        ))
    }

    fn feed_until_stopped(&self) {
        loop {
            let pause = match self.feed() {
                Ok(()) => IDLE_PAUSE,
                Err(trouble) => {
                    self.note_trouble(&trouble);
                    TROUBLE_PAUSE
                }
            };
            let state = self.lock();
            let in_trouble = pause == TROUBLE_PAUSE;
            let (mut state, _) = self
                .wanted
                .wait_timeout_while(state, pause, |state| !state.stop && (in_trouble || !state.nudged))
                .unwrap_or_else(PoisonError::into_inner);
            if state.stop {
                return;
            }
            state.nudged = false;
        }
    }

    /// Gives elementsd the final blocks that it lacks.
    fn feed(&self) -> Result<(), Trouble> {
        let tip = self.chain.height()?;
        let common = self.node.height()?.min(tip);
        self.compare(common)?;
        self.note_followed(common);
        for height in common.saturating_add(1)..=tip {
            if self.lock().stop {
                return Ok(());
            }
            let Some((block, bytes)) = self.chain.block(height)? else { break };
            if let Submitted::Refused(reason) = self.node.submit(&bytes)? {
                return Err(Trouble::Refuses { height, block, reason });
            }
            if self.node.block_hash(height)? != Some(block) {
                return Err(Trouble::Undecided { height });
            }
            self.note_followed(height);
        }
        Ok(())
    }

    /// Its best chain must be ours as far as both go; blocks are final, so one look at the end tells for all before.
    fn compare(&self, height: u32) -> Result<(), Trouble> {
        let (Some((ours, _)), Some(theirs)) = (self.chain.block(height)?, self.node.block_hash(height)?) else {
            return Err(Trouble::Undecided { height });
        };
        if ours == theirs {
            return Ok(());
        }
        if let (Some((ours, _)), Some(theirs)) = (self.chain.block(0)?, self.node.block_hash(0)?)
            && ours != theirs
        {
            return Err(Trouble::OtherGenesis { ours, theirs });
        }
        let reason = format!("its best chain has {theirs} there");
        Err(Trouble::Refuses { height, block: ours, reason })
    }

    fn note_followed(&self, height: u32) {
        let mut state = self.lock();
        let before = state.status.clone();
        if before.problem.is_some() {
            tracing::info!(height, "elementsd follows");
        }
        state.status.follows = Some(height);
        state.status.problem = None;
        // A final block that was refused has been taken after all.
        if state.refused.take_if(|refused| self.is_final(height, refused)).is_some() {
            tracing::warn!(height, "elementsd takes the block after all that it had refused");
            state.status.disagreement = None;
        }
        self.publish(&state, &before);
    }

    fn is_final(&self, height: u32, block: &BlockHash) -> bool {
        self.chain.block(height).is_ok_and(|ours| ours.is_some_and(|(ours, _)| ours == *block))
    }

    fn note_trouble(&self, trouble: &Trouble) {
        if let Trouble::Refuses { block, .. } = trouble {
            self.disagrees(*block, trouble.to_string());
        }
        let mut state = self.lock();
        let before = state.status.clone();
        let problem = trouble.to_string();
        if before.problem.as_ref() != Some(&problem) {
            tracing::warn!(problem, "elementsd does not follow");
        }
        if matches!(trouble, Trouble::Rpc(_) | Trouble::OtherGenesis { .. }) {
            state.status.follows = None;
        }
        state.status.problem = Some(problem);
        self.publish(&state, &before);
    }

    fn disagrees(&self, block: BlockHash, text: String) {
        let mut state = self.lock();
        if state.refused == Some(block) {
            return;
        }
        let before = state.status.clone();
        state.refused = Some(block);
        state.status.disagreement = Some(text.clone());
        self.publish(&state, &before);
        drop(state);
        (self.on_disagreement)(text);
    }

    fn publish(&self, state: &State, before: &OpinionStatus) {
        self.moved.notify_all();
        if state.status != *before {
            self.changes.send_modify(|count| *count = count.wrapping_add(1));
        }
    }

    /// Waits until elementsd has followed to a height; the error is why it has not.
    fn wait_followed(&self, height: u32) -> Result<(), String> {
        let deadline = Instant::now() + FOLLOW_PATIENCE;
        let mut state = self.lock();
        loop {
            if state.status.follows >= Some(height) {
                return Ok(());
            }
            if let Some(problem) = &state.status.problem {
                return Err(problem.clone());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let at = state.status.follows.map_or_else(|| "nowhere".to_owned(), |at| at.to_string());
                return Err(format!("elementsd is not at block {height} yet, but at {at}"));
            }
            state.nudged = true;
            self.wanted.notify_all();
            (state, _) = self.moved.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn test(&self, block: &Block) -> Result<(), Doubt> {
        let (height, hash) = (block.header.height, block.block_hash());
        self.wait_followed(height.saturating_sub(1)).map_err(Doubt::Unheard)?;
        match self.node.test(&serialize(block)) {
            Ok(Tested::Good) => Ok(()),
            Ok(Tested::OtherTip) => {
                let previous = block.header.prev_blockhash;
                Err(Doubt::Unheard(format!("elementsd has another best block than {previous}")))
            }
            Ok(Tested::Bad(reason)) => {
                let text =
                    format!("elementsd refuses the proposed block {height} ({hash}), which is valid here: {reason}");
                self.disagrees(hash, text.clone());
                Err(Doubt::Refused(text))
            }
            Err(error) => {
                self.note_trouble(&Trouble::Rpc(error.clone()));
                Err(Doubt::Unheard(error.to_string()))
            }
        }
    }
}

impl SecondOpinion for Opinion {
    fn on_proposal(&self, block: &Block) -> Result<(), Doubt> {
        match (self.test(block), self.policy) {
            (Err(doubt), Disagreement::Warn) => {
                tracing::warn!(height = block.header.height, %doubt, "voting without a second opinion");
                Ok(())
            }
            (result, _) => result,
        }
    }

    fn is_refused(&self, block: &Block) -> bool {
        matches!(self.node.test(&serialize(block)), Ok(Tested::Bad(_)))
    }
}
