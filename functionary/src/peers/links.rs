//! The state of the connections to every other member, shared by the dialling side, the serving side and the handle.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aquifer_federation::roster::MemberIndex;
use aquifer_proto::peer::PeerMessage;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use super::directory::{Directory, Entry};
use super::queue::{Push, Queue};

/// How long a member that sent something hostile is kept out.
pub const REFUSAL_PAUSE: Duration = Duration::from_secs(10);

/// Most connections that one member may hold open to us; beyond it the oldest is closed. One is the rule; a few more exist
/// for moments, when the member restarts or its network changes.
const MAX_SOCKETS_PER_MEMBER: usize = 4;

/// The way out to a peer, while it stands.
#[derive(Clone, Debug)]
pub(super) struct Outgoing {
    pub(super) queue: Arc<Queue>,
    pub(super) channel: Channel,
    /// Ends it.
    pub(super) closed: CancellationToken,
}

#[derive(Debug, Default)]
struct LinkState {
    outgoing: Option<Outgoing>,
    /// Connections that the member made to us by their number, oldest first.
    sockets: Vec<(u64, CancellationToken)>,
    /// The gossip call that is being read; a newer one replaces it.
    gossip: Option<CancellationToken>,
    refused_until: Option<Instant>,
}

/// One other member.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) entry: Entry,
    state: Mutex<LinkState>,
}

impl Link {
    fn state(&self) -> MutexGuard<'_, LinkState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The way out, if it stands.
    pub(super) fn outgoing(&self) -> Option<Outgoing> {
        self.state().outgoing.clone()
    }

    /// Notes that the way out stands, or no longer does. Refused (`false`) while the member is kept out.
    pub(super) fn set_outgoing(&self, outgoing: Option<Outgoing>) -> bool {
        let mut state = self.state();
        if outgoing.is_some() && refused(&state).is_some() {
            return false;
        }
        state.outgoing = outgoing;
        true
    }

    /// How much longer the member is kept out.
    pub(super) fn refused(&self) -> Option<Duration> {
        refused(&self.state())
    }

    /// Counts a connection of the member, once per connection.
    pub(super) fn admit(&self, id: u64, socket: &CancellationToken) {
        let mut state = self.state();
        state.sockets.retain(|(_, known)| !known.is_cancelled());
        if state.sockets.iter().any(|(known, _)| *known == id) {
            return;
        }
        state.sockets.push((id, socket.clone()));
        while state.sockets.len() > MAX_SOCKETS_PER_MEMBER {
            state.sockets.remove(0).1.cancel();
        }
    }

    /// Makes `reader` the one gossip call of this member; the one before it ends.
    pub(super) fn replace_gossip(&self, reader: CancellationToken) {
        if let Some(old) = self.state().gossip.replace(reader) {
            old.cancel();
        }
    }

    /// Queues a message if the way out stands.
    pub(super) fn send(&self, message: PeerMessage) {
        let Some(outgoing) = self.outgoing() else { return };
        match outgoing.queue.push(message) {
            Push::Queued | Push::Closed => {}
            Push::Dropped(count) => {
                tracing::warn!(member = %self.entry.name, count, "the peer is slow: dropped the oldest waiting transactions");
            }
            Push::Overflow => {
                tracing::warn!(member = %self.entry.name, "the peer takes no consensus messages: connecting anew");
                outgoing.closed.cancel();
            }
        }
    }

    /// Closes every connection in both directions and keeps the member out for [`REFUSAL_PAUSE`].
    fn refuse(&self) {
        let mut state = self.state();
        state.refused_until = Some(Instant::now() + REFUSAL_PAUSE);
        if let Some(outgoing) = state.outgoing.take() {
            outgoing.queue.close();
            outgoing.closed.cancel();
        }
        if let Some(gossip) = state.gossip.take() {
            gossip.cancel();
        }
        for (_, socket) in state.sockets.drain(..) {
            socket.cancel();
        }
    }
}

fn refused(state: &LinkState) -> Option<Duration> {
    let left = state.refused_until?.saturating_duration_since(Instant::now());
    (!left.is_zero()).then_some(left)
}

/// The links to all other members.
#[derive(Debug)]
pub(super) struct Links {
    pub(super) directory: Directory,
    links: Vec<Arc<Link>>,
}

impl Links {
    pub(super) fn new(directory: Directory) -> Self {
        let links = directory
            .others()
            .map(|entry| Arc::new(Link { entry: entry.clone(), state: Mutex::new(LinkState::default()) }))
            .collect();
        Self { directory, links }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Link>> {
        self.links.iter()
    }

    /// The link to another member; `None` for this member and for positions outside of the roster.
    pub(super) fn get(&self, member: MemberIndex) -> Option<&Arc<Link>> {
        self.links.iter().find(|link| link.entry.index == member)
    }

    /// See [`super::Peers::disconnect`].
    pub(super) fn disconnect(&self, member: MemberIndex, reason: &str) {
        let Some(link) = self.get(member) else { return };
        tracing::warn!(
            member = %link.entry.name,
            index = %member,
            reason,
            pause_s = REFUSAL_PAUSE.as_secs(),
            "disconnected a member for what it sent"
        );
        link.refuse();
    }
}
