//! What this member shows the others while the ceremony runs, and who has seen it.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use aquifer_federation::roster::MemberIndex;
use tokio::sync::Notify;

use crate::peers::CeremonySource;

#[derive(Debug, Default)]
struct State {
    messages: Vec<Vec<u8>>,
    /// Whether there is nothing left to add: everybody has everything, or a fault has ended the ceremony.
    last: bool,
    /// Who has fetched the last messages.
    seen: BTreeSet<MemberIndex>,
}

/// The messages that are safe on our disk, for anyone of the roster who asks.
#[derive(Debug)]
pub(super) struct Board {
    session: [u8; 32],
    state: Mutex<State>,
    /// Told whenever a member has fetched the last messages.
    pub(super) changed: Notify,
}

impl Board {
    pub(super) fn new(session: [u8; 32]) -> Self {
        Self { session, state: Mutex::default(), changed: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows these messages from now on. They must be on the disk.
    pub(super) fn publish(&self, messages: Vec<Vec<u8>>, last: bool) {
        *self.state() = State { messages, last, seen: BTreeSet::new() };
    }

    /// The members that have fetched the last messages.
    pub(super) fn seen(&self) -> BTreeSet<MemberIndex> {
        self.state().seen.clone()
    }
}

impl CeremonySource for Board {
    fn messages_for(&self, caller: MemberIndex, session: &[u8]) -> Vec<Vec<u8>> {
        if session != self.session {
            return Vec::new();
        }
        let mut state = self.state();
        if state.last && state.seen.insert(caller) {
            self.changed.notify_one();
        }
        state.messages.clone()
    }
}
