//! Who wants to hear of which script. One task takes the changes of the index and puts each script into the mailboxes of
//! those who watch it, so that a change wakes nobody else.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Notify, broadcast, watch};
use tokio_util::sync::CancellationToken;

use crate::index::{IndexChange, IndexReader, ScriptHash};

/// Most subscriptions of one connection.
pub(super) const MAX_SUBSCRIPTIONS: usize = 10_000;
/// Most subscriptions of all.
const MAX_SUBSCRIPTIONS_IN_ALL: usize = 300_000;

/// All subscriptions.
pub(super) struct Hub {
    watched: Mutex<Watched>,
    height: watch::Sender<u32>,
}

#[derive(Default)]
struct Watched {
    scripts: HashMap<ScriptHash, Vec<Arc<Mailbox>>>,
    count: usize,
}

/// What has changed for one connection and was not looked at yet: at most what it has subscribed to.
#[derive(Default)]
pub(super) struct Mailbox {
    changed: Mutex<HashSet<ScriptHash>>,
    wake: Notify,
}

impl Mailbox {
    fn changed(&self) -> MutexGuard<'_, HashSet<ScriptHash>> {
        self.changed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, script: ScriptHash) {
        self.changed().insert(script);
        self.wake.notify_one();
    }

    /// Waits until something has changed.
    pub(super) async fn wait(&self) {
        self.wake.notified().await;
    }

    /// Whether something has changed since the last time.
    pub(super) fn has_changes(&self) -> bool {
        !self.changed().is_empty()
    }

    /// What has changed since the last time.
    pub(super) fn take(&self) -> HashSet<ScriptHash> {
        std::mem::take(&mut *self.changed())
    }
}

/// No further subscription is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

impl Hub {
    pub(super) fn new() -> Self {
        Self { watched: Mutex::default(), height: watch::Sender::new(0) }
    }

    fn watched(&self) -> MutexGuard<'_, Watched> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The height of the chain, for those who follow headers.
    pub(super) fn height(&self) -> watch::Receiver<u32> {
        self.height.subscribe()
    }

    /// Puts changes of a script into a mailbox from now on. Once for each script and mailbox.
    pub(super) fn watch(&self, script: ScriptHash, mailbox: &Arc<Mailbox>) -> Result<(), Full> {
        let mut watched = self.watched();
        if watched.count >= MAX_SUBSCRIPTIONS_IN_ALL {
            return Err(Full);
        }
        watched.count = watched.count.saturating_add(1);
        watched.scripts.entry(script).or_default().push(Arc::clone(mailbox));
        Ok(())
    }

    /// Ends that.
    pub(super) fn forget(&self, scripts: impl IntoIterator<Item = ScriptHash>, mailbox: &Arc<Mailbox>) {
        let mut watched = self.watched();
        for script in scripts {
            let Some(mailboxes) = watched.scripts.get_mut(&script) else { continue };
            let before = mailboxes.len();
            mailboxes.retain(|other| !Arc::ptr_eq(other, mailbox));
            let gone = before.saturating_sub(mailboxes.len());
            if mailboxes.is_empty() {
                watched.scripts.remove(&script);
            }
            watched.count = watched.count.saturating_sub(gone);
        }
    }

    /// Hands on the changes of the index until `stop` is cancelled; those since `changes` began.
    pub(super) async fn run(
        &self,
        index: &IndexReader,
        mut changes: broadcast::Receiver<Arc<IndexChange>>,
        stop: &CancellationToken,
    ) {
        loop {
            let change = tokio::select! {
                change = changes.recv() => change,
                () = stop.cancelled() => return,
            };
            match change {
                Ok(change) => {
                    let watched = self.watched();
                    for script in &change.scripts {
                        let mailboxes = watched.scripts.get(script).into_iter().flatten();
                        mailboxes.for_each(|mailbox| mailbox.put(*script));
                    }
                    drop(watched);
                    self.tell_height(change.height);
                }
                Err(RecvError::Lagged(_)) => {
                    for (script, mailboxes) in &self.watched().scripts {
                        mailboxes.iter().for_each(|mailbox| mailbox.put(*script));
                    }
                    self.tell_height(index.progress().height);
                }
                Err(RecvError::Closed) => return,
            }
        }
    }

    fn tell_height(&self, height: u32) {
        self.height.send_if_modified(|told| std::mem::replace(told, height) != height);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(number: u8) -> ScriptHash {
        ScriptHash::from_byte_array([number; 32])
    }

    #[test]
    fn what_is_forgotten_leaves_nothing_behind_and_the_number_is_bounded() {
        let hub = Hub::new();
        let [mine, yours] = [Arc::new(Mailbox::default()), Arc::new(Mailbox::default())];
        for (number, mailbox) in [(1, &mine), (1, &yours), (2, &mine)] {
            assert_eq!(hub.watch(script(number), mailbox), Ok(()));
        }
        let counts = || {
            let watched = hub.watched();
            (watched.count, watched.scripts.len())
        };
        hub.forget([script(1), script(2), script(3)], &mine);
        assert_eq!(counts(), (1, 1));
        hub.forget([script(1)], &yours);
        assert_eq!(counts(), (0, 0));
        hub.watched().count = MAX_SUBSCRIPTIONS_IN_ALL;
        assert_eq!(hub.watch(script(1), &mine), Err(Full));
    }

    #[test]
    fn a_mailbox_holds_each_script_once() {
        let mailbox = Mailbox::default();
        mailbox.put(script(1));
        mailbox.put(script(1));
        assert_eq!(mailbox.take().len(), 1);
        assert!(mailbox.take().is_empty());
    }
}
