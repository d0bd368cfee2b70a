//! The network between members: gRPC over mutual TLS with pinned certificates.
//!
//! Every member dials every other one and keeps that connection standing; on it runs one gossip call, in which the dialling
//! side sends, and the calls that fetch block bodies, final blocks and ceremony messages. So between two members there are
//! two connections, one for each direction, and each side reconnects its own.
//!
//! Promises:
//! * A [`PeerEvent::Message`] names the member that sent it; nobody else can have sent it on that connection.
//! * [`Peers::broadcast`] and [`Peers::send`] never wait. What is sent to a member while there is no connection to it is not
//!   sent at all: [`PeerEvent::Connected`] is the moment to say hello and to send again what the other may have missed.
//! * Messages to one member arrive in order, consensus before transactions. Under pressure the oldest transactions are
//!   dropped; consensus messages are not: a peer that takes none gets a new connection.
//! * Lengths are bounded before anything is stored, and what is announced is never allocated in advance.
//! * A hostile message costs its sender every connection in both directions for [`REFUSAL_PAUSE`], and its name is logged.

mod client;
mod directory;
mod links;
mod queue;
mod server;
mod tls;

#[cfg(test)]
mod tests;

use std::error::Error as _;
use std::net::SocketAddr;
use std::sync::Arc;

use aquifer_federation::federation::Federation;
use aquifer_federation::roster::MemberIndex;
use aquifer_proto::peer::{FinalBlock, PeerMessage};
use elements::BlockHash;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

pub(crate) use client::{Backoff, chain, connect, fetch_ceremony};
pub use directory::{Directory, Entry};
use links::Links;
pub use links::REFUSAL_PAUSE;
pub(crate) use server::CeremonySource;
pub(crate) use tls::open_server;
pub use tls::{TlsError, TlsIdentity, pinned_client, server_name, wallet_server};

/// Longest gossip message, in bytes. Bodies do not travel in gossip.
pub const MAX_GOSSIP_LEN: usize = 4 << 20;
/// Longest block body, in bytes: the heaviest block and its batch, with room.
pub const MAX_BODY_LEN: usize = 8 << 20;
/// Longest final block with certificate and batch, in bytes.
const MAX_FINAL_BLOCK_LEN: usize = 9 << 20;
/// Longest set of ceremony messages, in bytes.
const MAX_CEREMONY_LEN: usize = 16 << 20;
/// Most final blocks that one call gives.
pub const MAX_BLOCKS_PER_FETCH: u32 = 500;

/// What happens on the network.
#[derive(Clone, Debug, PartialEq)]
pub enum PeerEvent {
    /// The way out to a member stands: what is sent to it from now on arrives, or [`PeerEvent::Disconnected`] follows.
    Connected(MemberIndex),
    /// The way out to a member has ended. It is being made anew.
    Disconnected(MemberIndex),
    /// A member says something.
    Message {
        /// The member, as its certificate shows.
        from: MemberIndex,
        /// Its message; `kind` is always filled.
        message: PeerMessage,
    },
}

/// What the serving side asks the node for. Called where waiting for the disk is fine.
pub trait PeerService: Send + Sync + 'static {
    /// The body of a proposed or decided block.
    fn body(&self, height: u32, hash: &BlockHash) -> Option<Vec<u8>>;
    /// Final blocks from a height on, without gaps, at most `limit`. An error is passed on to the caller as text.
    fn final_blocks(&self, from: u32, limit: u32) -> Result<Vec<FinalBlock>, String>;
    /// The messages of the ceremony that made this federation, if `session` is its session.
    fn ceremony_messages(&self, session: &[u8]) -> Vec<Vec<u8>>;
}

/// The network could not be started or has failed.
#[derive(Debug, thiserror::Error)]
pub enum PeersError {
    /// The listening address is not to be had.
    #[error(
        "cannot listen for other members on {address}: {source}; is another aquiferd running, or the address in aquiferd.toml wrong?"
    )]
    Listen {
        /// The address from the configuration.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// A certificate of the roster, or the own one, cannot be used.
    #[error("cannot set up TLS: {}", chain(.0))]
    Tls(#[source] tonic::transport::Error),
    /// The server ended by an error.
    #[error("the server for other members failed: {}", chain(.0))]
    Serve(#[source] tonic::transport::Error),
}

/// Something could not be fetched from a member.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// There is no connection to the member at the moment.
    #[error("not connected to member {0}")]
    NotConnected(MemberIndex),
    /// The member does not have it.
    #[error("the member does not have it: {0}")]
    NotFound(String),
    /// The member announces more than is allowed.
    #[error("the member announces {len} bytes, at most {max_len} are allowed")]
    TooLong {
        /// Announced, in bytes.
        len: usize,
        /// Allowed, in bytes.
        max_len: usize,
    },
    /// The member sent what no honest member sends.
    #[error("the member sent something malformed: {0}")]
    Malformed(String),
    /// The member does not answer.
    #[error("no answer within {seconds} s")]
    TimedOut {
        /// How long it was waited, in seconds.
        seconds: u64,
    },
    /// The connection failed, or the member could not answer.
    #[error("the call failed: {0}")]
    Connection(String),
}

impl FetchError {
    /// Whether no honest member would have caused it.
    pub fn is_hostile(&self) -> bool {
        matches!(self, Self::TooLong { .. } | Self::Malformed(_))
    }
}

/// The handle to the network; cheap to clone.
#[derive(Clone, Debug)]
pub struct Peers {
    links: Arc<Links>,
}

/// The running network: its handle, and what ends when it ends.
#[derive(Debug)]
pub struct RunningPeers {
    /// The handle.
    pub peers: Peers,
    /// Where it listens; the port that was found when the configured one was 0.
    pub address: SocketAddr,
    tasks: JoinSet<Result<(), PeersError>>,
}

impl RunningPeers {
    /// Waits until the network has ended: by its shutdown token, or by an error of the server.
    ///
    /// # Errors
    /// [`PeersError::Serve`] if the server failed.
    pub async fn ended(mut self) -> Result<(), PeersError> {
        while let Some(task) = self.tasks.join_next().await {
            if let Ok(Err(error)) = task {
                return Err(error);
            }
        }
        Ok(())
    }
}

impl Peers {
    /// Starts the network on the current tokio runtime: listens on `listen`, dials every other member, sends what happens to
    /// `events`, and answers calls from `service`. Ends when `shutdown` is cancelled or `events` is closed.
    ///
    /// # Errors
    /// [`PeersError::Listen`] if the address cannot be had.
    pub async fn start(
        federation: &Federation,
        me: MemberIndex,
        identity: TlsIdentity,
        listen: SocketAddr,
        events: mpsc::Sender<PeerEvent>,
        service: Arc<dyn PeerService>,
        shutdown: CancellationToken,
    ) -> Result<RunningPeers, PeersError> {
        Self::start_with(Directory::new(&federation.roster, me), identity, listen, events, service, shutdown).await
    }

    async fn start_with(
        directory: Directory,
        identity: TlsIdentity,
        listen: SocketAddr,
        events: mpsc::Sender<PeerEvent>,
        service: Arc<dyn PeerService>,
        shutdown: CancellationToken,
    ) -> Result<RunningPeers, PeersError> {
        let (listener, address) = bind(listen).await?;
        let links = Arc::new(Links::new(directory));
        let mut tasks = JoinSet::new();
        for link in links.all() {
            let (identity, link) = (identity.clone(), Arc::clone(link));
            let (events, shutdown) = (events.clone(), shutdown.clone());
            tasks.spawn(async move {
                client::keep_connected(identity, link, events, shutdown).await;
                Ok(())
            });
        }
        let role = server::Role::Node { events, service };
        let served = Arc::clone(&links);
        tasks.spawn(async move { server::serve(listener, &identity, served, role, shutdown).await });
        Ok(RunningPeers { peers: Self { links }, address, tasks })
    }

    /// Sends to every member that is connected. Never waits.
    pub fn broadcast(&self, message: PeerMessage) {
        for link in self.links.all() {
            link.send(message.clone());
        }
    }

    /// Sends to one member if it is connected. Never waits.
    pub fn send(&self, to: MemberIndex, message: PeerMessage) {
        if let Some(link) = self.links.get(to) {
            link.send(message);
        }
    }

    /// Fetches the body of a block, at most `max_len` bytes long. Whether it is the body of that block is for the caller to
    /// check.
    ///
    /// # Errors
    /// A hostile answer ([`FetchError::is_hostile`]) has already cost the member its connections.
    pub async fn fetch_body(
        &self,
        from: MemberIndex,
        height: u32,
        hash: BlockHash,
        max_len: usize,
    ) -> Result<Vec<u8>, FetchError> {
        let channel = self.channel(from)?;
        let result = client::fetch_body(channel, height, hash, max_len.min(MAX_BODY_LEN)).await;
        self.judge(from, "block body", result)
    }

    /// Fetches final blocks: from `from_height` on, without gaps, at most `limit`, possibly fewer.
    ///
    /// # Errors
    /// A hostile answer ([`FetchError::is_hostile`]) has already cost the member its connections.
    pub async fn fetch_blocks(
        &self,
        from: MemberIndex,
        from_height: u32,
        limit: u32,
    ) -> Result<Vec<FinalBlock>, FetchError> {
        let result = client::fetch_blocks(self.channel(from)?, from_height, limit).await;
        self.judge(from, "final blocks", result)
    }

    /// The members to whom the way out stands.
    pub fn connected(&self) -> Vec<MemberIndex> {
        self.links.all().filter(|link| link.outgoing().is_some()).map(|link| link.entry.index).collect()
    }

    /// Closes every connection with a member that sent something hostile, logs its name with the reason, and keeps it out
    /// for [`REFUSAL_PAUSE`].
    pub fn disconnect(&self, who: MemberIndex, reason: &str) {
        self.links.disconnect(who, reason);
    }

    fn channel(&self, member: MemberIndex) -> Result<tonic::transport::Channel, FetchError> {
        let outgoing = self.links.get(member).and_then(|link| link.outgoing());
        outgoing.map(|outgoing| outgoing.channel).ok_or(FetchError::NotConnected(member))
    }

    fn judge<T>(&self, from: MemberIndex, what: &str, result: Result<T, FetchError>) -> Result<T, FetchError> {
        if let Err(error) = &result
            && error.is_hostile()
        {
            self.disconnect(from, &format!("asked for {what}: {error}"));
        }
        result
    }
}

/// Serves the messages of a running ceremony to the other members until `shutdown`; nothing else is served.
///
/// # Errors
/// [`PeersError::Serve`] if the server failed.
pub(crate) async fn serve_ceremony(
    directory: Directory,
    identity: &TlsIdentity,
    listener: TcpListener,
    source: Arc<dyn CeremonySource>,
    shutdown: CancellationToken,
) -> Result<(), PeersError> {
    let links = Arc::new(Links::new(directory));
    server::serve(listener, identity, links, server::Role::Ceremony(source), shutdown).await
}

/// Listens on an address, and tells which it is when the port was 0.
pub(crate) async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), PeersError> {
    let listening = async {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    listening.await.map_err(|source| PeersError::Listen { address, source })
}

/// Whether an error of a call is about what the other side sent rather than about the connection.
fn is_malformed(status: &Status) -> bool {
    match status.code() {
        // Longer than allowed.
        Code::OutOfRange => true,
        // Not the expected message. Errors of the connection carry their source or say so; errors that the other side
        // reports do not get this far with this wording.
        Code::Internal => status.source().is_none() && status.message().starts_with("failed to decode"),
        _ => false,
    }
}
