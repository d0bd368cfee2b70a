//! The serving side between members: accepts connections of the roster's members and answers their calls.
//!
//! Nothing a caller says is looked at before it is known who it is: the handshake lets only holders of the roster's keys
//! through, and every call compares the presented certificate with the roster once more, byte for byte. A caller that sends
//! something that no honest member would is disconnected, with its name in the log, and kept out for a while.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use aquifer_federation::roster::MemberIndex;
use aquifer_proto::peer::peer_server::{Peer, PeerServer as PeerRoutes};
use aquifer_proto::peer::{
    BodyChunk, FetchBlocksRequest, FetchBodyRequest, FetchCeremonyReply, FetchCeremonyRequest, FinalBlock, GossipEnd,
    PeerMessage,
};
use bytes::Bytes;
use elements::BlockHash;
use futures::Stream;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::TlsConnectInfo;
use tonic::{Request, Response, Status, Streaming};

use super::links::{Link, Links};
use super::tls::{self, TlsIdentity};
use super::{MAX_BLOCKS_PER_FETCH, MAX_BODY_LEN, MAX_GOSSIP_LEN, PeerEvent, PeerService, PeersError, is_malformed};
use crate::sockets::{SocketInfo, accept_callers};

/// Bytes of a body in one chunk.
const CHUNK_LEN: usize = 64 << 10;
/// Blocks read from the store at a time while a peer catches up.
const BLOCKS_PER_READ: u32 = 4;
/// Chunks or blocks that wait for a slow reader.
const STREAM_BUFFER: usize = 4;
/// Calls that a member may have open at once on one connection.
const MAX_CALLS: u32 = 64;
/// How often an idle connection is probed, and how long the answer may take.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the server waits for open calls to end when it shuts down.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(2);

/// What is served to whom.
pub(super) enum Role {
    /// A running node: everything.
    Node { events: mpsc::Sender<PeerEvent>, service: Arc<dyn PeerService> },
    /// A member in a ceremony: the ceremony's messages only.
    Ceremony(Arc<dyn CeremonySource>),
}

/// Where the messages come from while a ceremony runs.
pub(crate) trait CeremonySource: Send + Sync + 'static {
    /// The messages of the ceremony `session` that may be shown to `caller`.
    fn messages_for(&self, caller: MemberIndex, session: &[u8]) -> Vec<Vec<u8>>;
}

/// The serving side between members.
struct MemberServer {
    links: Arc<Links>,
    role: Role,
    shutdown: CancellationToken,
}

/// Serves the other members on `listener` until `shutdown` is cancelled.
pub(super) async fn serve(
    listener: TcpListener,
    identity: &TlsIdentity,
    links: Arc<Links>,
    role: Role,
    shutdown: CancellationToken,
) -> Result<(), PeersError> {
    let tls = tls::member_server(identity, &links.directory);
    // Room for every member several times over, and for strangers that are turned away during the handshake.
    let limit = 64 + 8 * links.all().count();
    // Half of it: strangers at one address keep no member out.
    let of_caller = u32::try_from(limit / 2).unwrap_or(u32::MAX);
    let routes = PeerRoutes::new(MemberServer { links, role, shutdown: shutdown.clone() })
        .max_decoding_message_size(MAX_GOSSIP_LEN)
        .max_encoding_message_size(usize::MAX);
    let serving = tonic::transport::Server::builder()
        .tls_config(tls)
        .map_err(PeersError::Tls)?
        .max_concurrent_streams(MAX_CALLS)
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .add_service(routes)
        .serve_with_incoming_shutdown(
            Box::pin(accept_callers(listener, limit, of_caller)),
            shutdown.clone().cancelled_owned(),
        );
    tokio::select! {
        result = serving => result.map_err(PeersError::Serve),
        () = async { shutdown.cancelled().await; tokio::time::sleep(SHUTDOWN_GRACE).await } => Ok(()),
    }
}

type Outcome<T> = Result<Response<T>, Status>;
type Chunks<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl MemberServer {
    /// Who calls, from the certificate of the connection.
    fn caller<T>(&self, request: &Request<T>) -> Result<Arc<Link>, Status> {
        let info = request
            .extensions()
            .get::<TlsConnectInfo<SocketInfo>>()
            .ok_or_else(|| Status::unauthenticated("the connection is not secured"))?;
        info.get_ref().note_call();
        let certificates =
            info.peer_certs().ok_or_else(|| Status::unauthenticated("the caller showed no certificate"))?;
        let link = certificates
            .first()
            .and_then(|certificate| self.links.directory.by_certificate(certificate))
            .and_then(|entry| self.links.get(entry.index))
            .ok_or_else(|| Status::unauthenticated("the caller's certificate is not in the roster"))?;
        if let Some(left) = link.refused() {
            info.get_ref().closed.cancel();
            return Err(Status::permission_denied(format!("refused for another {} ms", left.as_millis())));
        }
        link.admit(info.get_ref().id, &info.get_ref().closed);
        Ok(Arc::clone(link))
    }

    fn node(&self) -> Result<(&mpsc::Sender<PeerEvent>, &Arc<dyn PeerService>), Status> {
        match &self.role {
            Role::Node { events, service } => Ok((events, service)),
            Role::Ceremony(_) => Err(Status::unavailable("this member is still in its ceremony")),
        }
    }
}

/// Reads one member's gossip until it ends, and passes it on.
async fn read_gossip(
    links: &Links,
    link: &Link,
    mut messages: Streaming<PeerMessage>,
    events: &mpsc::Sender<PeerEvent>,
) -> Result<(), Status> {
    let from = link.entry.index;
    loop {
        match messages.message().await {
            Ok(Some(PeerMessage { kind: None })) => {
                links.disconnect(from, "a message without content");
                return Err(Status::invalid_argument("a message without content"));
            }
            Ok(Some(message)) => {
                // Waits while the node is busy: the sender then waits, too, and nothing piles up here.
                if events.send(PeerEvent::Message { from, message }).await.is_err() {
                    return Err(Status::unavailable("this member is shutting down"));
                }
            }
            Ok(None) => return Ok(()),
            Err(status) => {
                if is_malformed(&status) {
                    links.disconnect(from, &format!("a malformed message: {}", status.message()));
                }
                return Err(status);
            }
        }
    }
}

#[tonic::async_trait]
impl Peer for MemberServer {
    type GossipStream = Chunks<GossipEnd>;

    async fn gossip(&self, request: Request<Streaming<PeerMessage>>) -> Outcome<Self::GossipStream> {
        let link = self.caller(&request)?;
        let events = self.node()?.0.clone();
        let links = Arc::clone(&self.links);
        let replaced = CancellationToken::new();
        link.replace_gossip(replaced.clone());
        let shutdown = self.shutdown.clone();
        let messages = request.into_inner();
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(async move {
            let end = tokio::select! {
                end = read_gossip(&links, &link, messages, &events) => end,
                () = replaced.cancelled() => Err(Status::aborted("replaced by a newer connection")),
                () = shutdown.cancelled() => Err(Status::unavailable("this member is shutting down")),
                // The caller has gone.
                () = sender.closed() => Ok(()),
            };
            if let Err(status) = end {
                // Nobody may be there any more to hear it.
                let _gone = sender.send(Err(status)).await;
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    type FetchBodyStream = Chunks<BodyChunk>;

    async fn fetch_body(&self, request: Request<FetchBodyRequest>) -> Outcome<Self::FetchBodyStream> {
        let link = self.caller(&request)?;
        let service = Arc::clone(self.node()?.1);
        let FetchBodyRequest { height, block_hash } = request.into_inner();
        let Ok(hash) = <[u8; 32]>::try_from(block_hash.as_ref()).map(BlockHash::from_byte_array) else {
            self.links.disconnect(link.entry.index, "asked for a body by a hash that is not 32 bytes long");
            return Err(Status::invalid_argument("a block hash is 32 bytes long"));
        };
        let body = blocking(move || service.body(height, &hash))
            .await?
            .ok_or_else(|| Status::not_found(format!("no body of block {hash} at height {height}")))?;
        let total_len = u32::try_from(body.len()).ok().filter(|_| body.len() <= MAX_BODY_LEN);
        let total_len = total_len.ok_or_else(|| Status::internal("the body is too long"))?;
        let body = Bytes::from(body);
        let starts = (0..body.len()).step_by(CHUNK_LEN);
        let chunks: Vec<Result<BodyChunk, Status>> = starts
            .map(|start| {
                let end = body.len().min(start + CHUNK_LEN);
                Ok(BodyChunk { total_len: if start == 0 { total_len } else { 0 }, data: body.slice(start..end) })
            })
            .collect();
        Ok(Response::new(Box::pin(tokio_stream::iter(chunks))))
    }

    type FetchBlocksStream = Chunks<FinalBlock>;

    async fn fetch_blocks(&self, request: Request<FetchBlocksRequest>) -> Outcome<Self::FetchBlocksStream> {
        self.caller(&request)?;
        let service = Arc::clone(self.node()?.1);
        let FetchBlocksRequest { from_height, limit } = request.into_inner();
        let end = from_height.saturating_add(limit.min(MAX_BLOCKS_PER_FETCH));
        let (sender, receiver) = mpsc::channel(STREAM_BUFFER);
        let shutdown = self.shutdown.clone();
        tokio::spawn(async move {
            let sending = async {
                let mut next = from_height;
                while next < end {
                    let count = (end - next).min(BLOCKS_PER_READ);
                    let service = Arc::clone(&service);
                    let blocks = match blocking(move || service.final_blocks(next, count)).await {
                        Ok(Ok(blocks)) => blocks,
                        Ok(Err(reason)) => return drop(sender.send(Err(Status::internal(reason))).await),
                        Err(status) => return drop(sender.send(Err(status)).await),
                    };
                    let complete = u32::try_from(blocks.len()) == Ok(count);
                    for block in blocks {
                        if sender.send(Ok(block)).await.is_err() {
                            return;
                        }
                    }
                    if !complete {
                        return;
                    }
                    next = next.saturating_add(count);
                }
            };
            tokio::select! {
                () = sending => {}
                () = shutdown.cancelled() => {}
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn fetch_ceremony(&self, request: Request<FetchCeremonyRequest>) -> Outcome<FetchCeremonyReply> {
        let caller = self.caller(&request)?.entry.index;
        let session = request.into_inner().session;
        let messages = match &self.role {
            Role::Node { service, .. } => {
                let service = Arc::clone(service);
                blocking(move || service.ceremony_messages(&session)).await?
            }
            Role::Ceremony(source) => source.messages_for(caller, &session),
        };
        Ok(Response::new(FetchCeremonyReply { messages: messages.into_iter().map(Bytes::from).collect() }))
    }
}

/// Runs what may wait for the disk where it holds up nobody.
async fn blocking<T: Send + 'static>(task: impl FnOnce() -> T + Send + 'static) -> Result<T, Status> {
    tokio::task::spawn_blocking(task).await.map_err(|error| Status::internal(format!("a task failed: {error}")))
}
