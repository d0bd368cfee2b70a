//! What one connection has said and is told of.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use super::hub::{Hub, MAX_SUBSCRIPTIONS, Mailbox};
use super::rpc::RpcError;
use super::version::Version;
use crate::index::ScriptHash;

/// The status of a script as a client is told it; `None` for one that nothing has touched.
pub(super) type Status = Option<String>;

/// One connection. Its subscriptions end with it.
pub(super) struct Session {
    /// The protocol that is spoken.
    pub(super) version: Version,
    /// The height that was told last, if headers are followed.
    pub(super) told_height: Option<u32>,
    /// Lines that were no requests.
    pub(super) offences: u32,
    /// What has changed of that which is watched.
    pub(super) mailbox: Arc<Mailbox>,
    scripts: HashMap<ScriptHash, Status>,
    hub: Arc<Hub>,
}

impl Session {
    pub(super) fn new(hub: Arc<Hub>) -> Self {
        Self {
            version: Version::MIN,
            told_height: None,
            offences: 0,
            mailbox: Arc::default(),
            scripts: HashMap::new(),
            hub,
        }
    }

    /// Whether something that is watched has changed.
    pub(super) fn has_changes(&self) -> bool {
        self.mailbox.has_changes()
    }

    /// Watches a script. What changes from now on is found in the mailbox.
    pub(super) fn watch(&mut self, script: ScriptHash) -> Result<(), RpcError> {
        let count = self.scripts.len();
        let Entry::Vacant(vacant) = self.scripts.entry(script) else { return Ok(()) };
        if count >= MAX_SUBSCRIPTIONS {
            let message = format!("too many subscriptions on one connection: {MAX_SUBSCRIPTIONS} are allowed");
            return Err(RpcError::bad_request(message));
        }
        self.hub
            .watch(script, &self.mailbox)
            .map_err(|_| RpcError::bad_request("too many subscriptions: this server takes no more at the moment"))?;
        vacant.insert(None);
        Ok(())
    }

    /// Ends that; tells whether it was watched.
    pub(super) fn forget(&mut self, script: ScriptHash) -> bool {
        self.hub.forget([script], &self.mailbox);
        self.scripts.remove(&script).is_some()
    }

    /// Notes what the client is told of a script. Tells whether that differs from what it was told before; not, if it does
    /// not watch the script.
    pub(super) fn tell(&mut self, script: ScriptHash, status: &Status) -> bool {
        self.scripts.get_mut(&script).is_some_and(|told| {
            let differs = told != status;
            told.clone_from(status);
            differs
        })
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.hub.forget(self.scripts.drain().map(|(script, _)| script), &self.mailbox);
    }
}
