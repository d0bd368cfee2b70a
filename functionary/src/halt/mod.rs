//! Halting and resuming peg-outs: this member's own say, and the notices of all members on their way into a block.
//!
//! What counts for the federation stands in coinbases, and [`aquifer_federation::valve`] counts it. Here is what comes
//! before: a notice is made by `aquiferd halt` or `aquiferd resume` with the member's host key, or by the node itself when
//! an auditor objects; it goes to all members, and every proposer puts it into its block.
//!
//! * **A member's own halt binds itself at once**, whatever the chain says: from then on its node neither plans nor votes
//!   for batches and signs none. That is durable before anybody hears of it, and ends by the member's own resume alone. While
//!   it lasts, the node sees to it that the chain shows *halt* for this member, in whatever phase the valve is.
//! * **The pool is bounded**: at most one notice of each member, the latest, and only what the next block may carry.
//!   Signatures are verified before anything is kept or passed on.
//! * **Old notices have no effect**: what this member takes as its own must refer to a later block than all its notices
//!   before. All of them are public, so anybody can send them again.

mod service;
mod store;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aquifer_federation::roster::{MemberIndex, Roster};
use aquifer_federation::valve::{Notice, NoticeError, NoticeKind, Valve};
use bitcoin::secp256k1::Keypair;
use tokio::sync::watch;

pub use service::HaltService;

use self::store::{HaltStore, Own};
use crate::store::StoreError;
use crate::store::ledger::LedgerReader;

/// A notice of the operator was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HaltError {
    /// These bytes are no notice.
    #[error("this is no notice to halt or to resume")]
    Malformed,
    /// Another member's, or one that nobody's key made.
    #[error("the notice is not signed by this member, but in the name of member {0}")]
    NotOurs(MemberIndex),
    /// One of the chain's rules.
    #[error("{0}")]
    Notice(#[from] NoticeError),
    /// The last one is as late.
    #[error(
        "this member's last notice refers to block {last}, this one to block {found}: try again after the next block"
    )]
    Old {
        /// What the last one refers to.
        last: u32,
        /// What this one refers to.
        found: u32,
    },
    /// The halt is on its way into a block.
    #[error("no block has carried this member's halt yet: resume after the next block")]
    OnItsWay,
    /// Nothing was halted.
    #[error("this member has not halted peg-outs: there is nothing to resume")]
    NothingToResume,
    /// It could not be kept, or the ledger not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Whether the other members are told of a notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Published {
    /// They are.
    Yes,
    /// The chain shows the same of this member already.
    No,
}

/// What became of a notice that a member sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is kept and passed on.
    New,
    /// One as late is known.
    Known,
}

struct Inner {
    store: HaltStore,
    own: Own,
    pool: BTreeMap<MemberIndex, Notice>,
    to_relay: BTreeMap<MemberIndex, Notice>,
}

impl Inner {
    /// Keeps what this member has said, durably, before anybody hears of it.
    fn keep(&mut self, own: Own) -> Result<(), StoreError> {
        // A hold counts even if it cannot be written: a disk that fails must not let a batch pass.
        self.own.hold = self.own.hold.take().or_else(|| own.hold.clone());
        self.store.keep(&own)?;
        self.own = own;
        Ok(())
    }

    fn publish(&mut self, notice: Notice) {
        self.to_relay.insert(notice.member, notice.clone());
        self.pool.insert(notice.member, notice);
    }
}

/// The desk; see the module's description.
pub struct HaltDesk {
    me: MemberIndex,
    host: Keypair,
    roster: Arc<Roster>,
    chain: [u8; 32],
    inner: Mutex<Inner>,
    changes: watch::Sender<u64>,
}

impl HaltDesk {
    /// Opens the desk of a member, which keeps its say in a file at `path`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn open(
        path: &Path,
        roster: Arc<Roster>,
        chain: [u8; 32],
        me: MemberIndex,
        host: Keypair,
    ) -> Result<Self, StoreError> {
        let store = HaltStore::open(path)?;
        let own = store.own()?;
        let pool = own.notice.iter().map(|notice| (notice.member, notice.clone())).collect();
        let inner = Mutex::new(Inner { store, own, pool, to_relay: BTreeMap::new() });
        Ok(Self { me, host, roster, chain, inner, changes: watch::Sender::new(0) })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Each change is made in one step, after everything that can fail.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Moves whenever this member's own say has changed, or notices wait to be passed on.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Why this member takes no part in batches, if it does not.
    pub fn hold(&self) -> Option<String> {
        self.lock().own.hold.clone()
    }

    /// The height that this member's last notice refers to.
    pub fn last_seen(&self) -> Option<u32> {
        self.lock().own.last_seen
    }

    /// The notices that the next block shall carry.
    pub fn pending(&self, valve: &Valve) -> Vec<Notice> {
        let inner = self.lock();
        inner.pool.values().filter(|notice| may_be_carried(valve, notice)).cloned().collect()
    }

    /// Everything that waits for a block, for a member that has just connected.
    pub fn pool(&self) -> Vec<Notice> {
        self.lock().pool.values().cloned().collect()
    }

    /// Whether anything waits for a block.
    pub fn is_empty(&self) -> bool {
        self.lock().pool.is_empty()
    }

    /// What is to be passed on to all members; each notice once.
    pub fn take_to_relay(&self) -> Vec<Notice> {
        std::mem::take(&mut self.lock().to_relay).into_values().collect()
    }

    /// Takes a notice that a member sent.
    ///
    /// # Errors
    /// [`NoticeError`]; whether the sender is to blame, [`is_lie`] says.
    pub fn take(&self, valve: &Valve, notice: Notice) -> Result<Taken, HaltError> {
        let mut inner = self.lock();
        if inner.pool.get(&notice.member).is_some_and(|known| known.seen_height >= notice.seen_height) {
            return Ok(Taken::Known);
        }
        valve.check_notices(std::slice::from_ref(&notice))?;
        if notice.member == self.me
            && notice.kind == NoticeKind::Halt
            && inner.own.last_seen.is_none_or(|last| last < notice.seen_height)
        {
            // Ours, and forgotten: our records were lost or restored from a backup.
            let hold = Some("this member has signed a halt that its records do not show".to_owned());
            inner.keep(Own { hold, last_seen: Some(notice.seen_height), notice: Some(notice.clone()) })?;
        }
        inner.publish(notice);
        drop(inner);
        self.changed();
        Ok(Taken::New)
    }

    /// Takes a notice that this member's operator has signed.
    ///
    /// # Errors
    /// [`HaltError`]; nothing has changed then.
    pub fn submit(&self, ledger: &LedgerReader, bytes: &[u8], reason: &str) -> Result<Published, HaltError> {
        let notice = Notice::from_bytes(bytes).ok_or(HaltError::Malformed)?;
        let valve = self.valve(ledger)?;
        self.submit_notice(&valve, notice, reason)
    }

    fn submit_notice(&self, valve: &Valve, notice: Notice, reason: &str) -> Result<Published, HaltError> {
        if notice.member != self.me || !notice.is_signed_by(&self.host.x_only_public_key().0, &self.chain) {
            return Err(HaltError::NotOurs(notice.member));
        }
        let published = match valve.check_notices(std::slice::from_ref(&notice)) {
            Ok(()) => Published::Yes,
            Err(NoticeError::NothingNew { .. }) => Published::No,
            Err(error) => return Err(error.into()),
        };
        let mut inner = self.lock();
        if let Some(last) = inner.own.last_seen.filter(|last| *last >= notice.seen_height) {
            return Err(HaltError::Old { last, found: notice.seen_height });
        }
        let hold = match notice.kind {
            NoticeKind::Halt => Some(reason.to_owned()),
            NoticeKind::Resume => {
                if inner
                    .pool
                    .get(&self.me)
                    .is_some_and(|own| own.kind == NoticeKind::Halt && may_be_carried(valve, own))
                {
                    return Err(HaltError::OnItsWay);
                }
                if published == Published::No && inner.own.hold.is_none() {
                    return Err(HaltError::NothingToResume);
                }
                None
            }
        };
        let kept = (published == Published::Yes).then(|| notice.clone());
        inner.keep(Own { hold, last_seen: Some(notice.seen_height), notice: kept.clone() })?;
        tracing::warn!(kind = ?notice.kind, reason, ?published, "the operator has spoken on peg-outs");
        if let Some(notice) = kept {
            inner.publish(notice);
        }
        drop(inner);
        self.changed();
        Ok(published)
    }

    /// Halts peg-outs on this member's own account, as when its auditor objects.
    ///
    /// # Errors
    /// [`StoreError`]. The hold counts until the member is restarted even if it could not be kept.
    pub fn halt(&self, ledger: &LedgerReader, reason: &str) -> Result<(), StoreError> {
        let mut inner = self.lock();
        if inner.own.hold.is_none() {
            let own = Own { hold: Some(reason.to_owned()), ..inner.own.clone() };
            inner.keep(own)?;
        }
        drop(inner);
        self.changed();
        self.refresh(&self.valve(ledger)?)
    }

    /// After each block, and at the start: forgets what is done, and says *halt* for a member that has halted, wherever the
    /// chain does not show it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn refresh(&self, valve: &Valve) -> Result<(), StoreError> {
        let mut inner = self.lock();
        inner.pool.retain(|_, notice| may_be_carried(valve, notice));
        let waits = inner.pool.get(&self.me).cloned();
        if waits.is_none() && inner.own.notice.is_some() {
            let own = Own { notice: None, ..inner.own.clone() };
            inner.keep(own)?;
        }
        let must_say = inner.own.hold.is_some() && waits.is_none() && valve.position(self.me) == NoticeKind::Resume;
        if must_say && inner.own.last_seen.is_none_or(|last| last < valve.height()) {
            let notice = Notice::sign(&self.host, &self.chain, self.me, NoticeKind::Halt, valve.height());
            if may_be_carried(valve, &notice) {
                let own = Own {
                    last_seen: Some(notice.seen_height),
                    notice: Some(notice.clone()),
                    hold: inner.own.hold.clone(),
                };
                inner.keep(own)?;
                inner.publish(notice);
            }
        } else if let Some(notice) = waits {
            // Once more: who was away or behind has not taken it.
            inner.to_relay.insert(notice.member, notice);
        }
        let idle = inner.to_relay.is_empty();
        drop(inner);
        if !idle {
            self.changed();
        }
        Ok(())
    }

    fn valve(&self, ledger: &LedgerReader) -> Result<Valve, StoreError> {
        ledger
            .snapshot()?
            .valve(&self.roster, self.chain)?
            .map_err(|error| StoreError::Inconsistent { file: "ledger.db".into(), reason: error.to_string() })
    }
}

fn may_be_carried(valve: &Valve, notice: &Notice) -> bool {
    valve.check_notices(std::slice::from_ref(notice)).is_ok()
}

/// Whether no honest member can have sent a notice that is refused for this. What is only old, or ahead of this member, may
/// come from one that is further or further behind.
pub fn is_lie(error: &HaltError) -> bool {
    matches!(error, HaltError::Notice(NoticeError::UnknownMember(_) | NoticeError::Signature(_)))
}
