//! Where verdicts arrive, and what follows from them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bitcoin::secp256k1::XOnlyPublicKey;
use elements::BlockHash;
use tokio::sync::watch;

use super::store::AuditStore;
use super::verdict::{SignedVerdict, Verdict, VerdictError};
use crate::config::AuditConfig;
use crate::store::StoreError;
use crate::store::ledger::LedgerReader;

/// Verdicts on blocks that are not final here yet, kept per auditor. When there are more, the later ones are left out: the
/// auditor goes on reporting, and by then this member is further.
const MAX_AHEAD: usize = 64;

/// The final blocks of this member.
pub trait FinalBlocks: Send + Sync {
    /// The final block at a height, `None` above the tip.
    ///
    /// # Errors
    /// If the ledger cannot be read.
    fn final_block(&self, height: u32) -> Result<Option<BlockHash>, StoreError>;
}

impl FinalBlocks for LedgerReader {
    fn final_block(&self, height: u32) -> Result<Option<BlockHash>, StoreError> {
        Ok(self.snapshot()?.header(height)?.map(|header| header.hash))
    }
}

/// Why a batch must not be signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hold {
    /// Not yet: this is what it waits for.
    Waits(String),
    /// Not any more: an auditor objects to a block, or this member has halted peg-outs. Not even earlier signatures of
    /// batches from `from_height` on are given out.
    Stopped {
        /// Height of the block in question; 0 for all.
        from_height: u32,
        /// Who objects, and to what; or why it has halted.
        reason: String,
    },
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Waits(reason) | Self::Stopped { reason, .. } => f.write_str(reason),
        }
    }
}

/// A verdict was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReportError {
    /// Not one of ours.
    #[error("this member does not list the auditor {0}; its operator can add the key to [audit] in aquiferd.toml")]
    Unlisted(XOnlyPublicKey),
    /// A verdict on another chain.
    #[error("the verdict is on the chain with genesis block {found}, this member's has {expected}")]
    OtherChain {
        /// The chain in the verdict.
        found: BlockHash,
        /// Ours.
        expected: BlockHash,
    },
    /// It proves nothing.
    #[error(transparent)]
    Verdict(#[from] VerdictError),
    /// It could not be kept or compared.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What is known of one auditor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditorStatus {
    /// Its key.
    pub key: XOnlyPublicKey,
    /// Height up to which it has passed the final blocks of this member; `None` until it has reported.
    pub passed: Option<u32>,
    /// What it objects to.
    pub objection: Option<SignedVerdict>,
}

#[derive(Default)]
struct Record {
    passed: Option<u32>,
    ahead: BTreeMap<u32, SignedVerdict>,
    objection: Option<SignedVerdict>,
}

struct Inner {
    store: AuditStore,
    auditors: BTreeMap<XOnlyPublicKey, Record>,
}

/// Called once for each objection, when it is durable: to raise an alarm, and to publish a request to halt peg-outs.
pub type OnRefusal = Box<dyn Fn(&SignedVerdict) + Send + Sync>;

/// The desk; see the module's description.
pub struct AuditDesk {
    genesis: BlockHash,
    required: usize,
    blocks: Arc<dyn FinalBlocks>,
    inner: Mutex<Inner>,
    changes: watch::Sender<u64>,
    on_refusal: OnRefusal,
}

impl AuditDesk {
    /// Opens the desk for the auditors of the configuration. `on_refusal` is called for objections of an earlier run, too.
    ///
    /// # Errors
    /// If the objections cannot be read.
    pub fn new(
        config: &AuditConfig,
        genesis: BlockHash,
        store: AuditStore,
        blocks: Arc<dyn FinalBlocks>,
        on_refusal: OnRefusal,
    ) -> Result<Self, StoreError> {
        let mut auditors: BTreeMap<_, _> = config.keys.iter().map(|key| (*key, Record::default())).collect();
        for objection in store.objections()? {
            // One who is no longer listed has no say any more.
            if let Some(record) = auditors.get_mut(&objection.key) {
                on_refusal(&objection);
                record.objection = Some(objection);
            }
        }
        Ok(Self {
            genesis,
            required: config.required,
            blocks,
            inner: Mutex::new(Inner { store, auditors }),
            changes: watch::Sender::new(0),
            on_refusal,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Records change in single steps; an objection counts as soon as it is in its record.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A counter that moves with every verdict that is taken.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// How many auditors must pass.
    pub fn required(&self) -> usize {
        self.required
    }

    /// Takes a verdict. An objection is durable on return.
    ///
    /// # Errors
    /// [`ReportError`]; nothing has changed then.
    pub fn report(&self, verdict: SignedVerdict) -> Result<(), ReportError> {
        let mut inner = self.lock();
        let Inner { store, auditors } = &mut *inner;
        let record = auditors.get_mut(&verdict.key).ok_or(ReportError::Unlisted(verdict.key))?;
        if verdict.genesis != self.genesis {
            return Err(ReportError::OtherChain { found: verdict.genesis, expected: self.genesis });
        }
        if !verdict.is_authentic() {
            return Err(VerdictError::Signature { key: verdict.key, block: verdict.block }.into());
        }
        match verdict.verdict {
            Verdict::Refused => self.object(store, record, verdict)?,
            Verdict::Passed => {
                if record.ahead.len() < MAX_AHEAD || self.blocks.final_block(verdict.height)?.is_some() {
                    record.ahead.insert(verdict.height, verdict);
                }
                self.settle(store, record)?;
            }
        }
        drop(inner);
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
        Ok(())
    }

    /// Compares verdicts that came early with the blocks that are final by now.
    fn settle(&self, store: &mut AuditStore, record: &mut Record) -> Result<(), StoreError> {
        while let Some(entry) = record.ahead.first_entry() {
            let Some(block) = self.blocks.final_block(*entry.key())? else { break };
            let verdict = entry.remove();
            if verdict.block == block {
                record.passed = record.passed.max(Some(verdict.height));
            } else {
                let reason = format!("it has passed another block than {block}, which is final here");
                self.object(store, record, SignedVerdict { reason, ..verdict })?;
            }
        }
        Ok(())
    }

    fn object(&self, store: &mut AuditStore, record: &mut Record, objection: SignedVerdict) -> Result<(), StoreError> {
        if record.objection.is_none() {
            // Counts before it is written: a disk that fails must not let a batch pass.
            record.objection = Some(objection.clone());
            store.keep(&objection)?;
            (self.on_refusal)(&objection);
        }
        Ok(())
    }

    /// Why the batch of the final block at `height` must not be signed now; `None` if nothing speaks against it.
    ///
    /// # Errors
    /// If the ledger cannot be read.
    pub fn hold(&self, height: u32) -> Result<Option<Hold>, StoreError> {
        let mut inner = self.lock();
        let Inner { store, auditors } = &mut *inner;
        for record in auditors.values_mut() {
            self.settle(store, record)?;
        }
        if let Some(objection) = auditors.values().find_map(|record| record.objection.as_ref()) {
            return Ok(Some(Hold::Stopped { from_height: objection.height, reason: describe(objection) }));
        }
        let passed = auditors.values().filter(|record| record.passed >= Some(height)).count();
        if passed >= self.required {
            return Ok(None);
        }
        let needed = self.required;
        Ok(Some(Hold::Waits(if auditors.len() < needed {
            format!(
                "{needed} auditors must pass the block, but aquiferd.toml lists {}: make one with `aquiferd auditor init` \
                 and add its key to [audit]",
                auditors.len()
            )
        } else {
            format!("{passed} of {needed} auditors have passed block {height}")
        })))
    }

    /// What is known of each auditor, in the order of their keys.
    pub fn auditors(&self) -> Vec<AuditorStatus> {
        let inner = self.lock();
        let status = |(key, record): (&XOnlyPublicKey, &Record)| AuditorStatus {
            key: *key,
            passed: record.passed,
            objection: record.objection.clone(),
        };
        inner.auditors.iter().map(status).collect()
    }
}

/// An objection in words.
pub(crate) fn describe(objection: &SignedVerdict) -> String {
    let SignedVerdict { key, height, block, reason, .. } = objection;
    format!("the auditor {key} objects to block {height} ({block}): {reason}")
}
