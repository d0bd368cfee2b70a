//! The dialling side between members: one connection to each of them, made anew whenever it ends, and the calls on it.

use std::sync::Arc;
use std::time::Duration;

use aquifer_proto::peer::peer_client::PeerClient;
use aquifer_proto::peer::{FetchBlocksRequest, FetchBodyRequest, FetchCeremonyRequest, FinalBlock};
use bytes::Bytes;
use elements::BlockHash;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use super::directory::Entry;
use super::links::{Link, Outgoing};
use super::queue::Queue;
use super::tls::{self, TlsIdentity};
use super::{FetchError, MAX_BLOCKS_PER_FETCH, MAX_CEREMONY_LEN, MAX_FINAL_BLOCK_LEN, PeerEvent};

/// First and longest wait before a peer is dialled again.
const BACKOFF_FIRST: Duration = Duration::from_millis(50);
const BACKOFF_LONGEST: Duration = Duration::from_secs(2);
/// How long making a connection may take, and the answer to a call.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a silent connection is probed, and how long the answer may take.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Most bytes of final blocks taken from one call; what lies beyond is asked for by the next.
const MAX_BLOCKS_LEN: usize = 32 << 20;

/// Waits that double, from [`BACKOFF_FIRST`] to [`BACKOFF_LONGEST`].
pub(crate) struct Backoff(Duration);

impl Backoff {
    pub(crate) fn new() -> Self {
        Self(BACKOFF_FIRST)
    }

    pub(crate) fn next(&mut self) -> Duration {
        let wait = self.0;
        self.0 = wait.saturating_mul(2).min(BACKOFF_LONGEST);
        wait
    }
}

/// A secured connection to a member.
pub(crate) async fn connect(identity: &TlsIdentity, entry: &Entry) -> Result<Channel, tonic::transport::Error> {
    Endpoint::from_shared(format!("https://{}", entry.address))?
        .tls_config(tls::member_client(identity, &entry.name, &entry.certificate))?
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .connect()
        .await
}

/// Keeps the way out to one member standing until `shutdown`.
pub(super) async fn keep_connected(
    identity: TlsIdentity,
    link: Arc<Link>,
    events: mpsc::Sender<PeerEvent>,
    shutdown: CancellationToken,
) {
    let keeping = async {
        let mut backoff = Backoff::new();
        loop {
            if let Some(left) = link.refused() {
                tokio::time::sleep(left).await;
            }
            let began = Instant::now();
            match session(&identity, &link, &events).await {
                Ended::AfterConnected(reason) => {
                    tracing::info!(member = %link.entry.name, reason, "lost the connection to a member");
                    // A member that accepts and hangs up again and again is not worth more than one that is away.
                    if began.elapsed() > BACKOFF_LONGEST {
                        backoff = Backoff::new();
                    }
                }
                Ended::Never(reason) => {
                    tracing::debug!(member = %link.entry.name, reason, "cannot reach a member");
                }
                Ended::Shutdown => return,
            }
            tokio::time::sleep(backoff.next()).await;
        }
    };
    tokio::select! {
        () = keeping => {}
        () = shutdown.cancelled() => {}
    }
    if let Some(outgoing) = link.outgoing() {
        link.set_outgoing(None);
        outgoing.queue.close();
    }
}

enum Ended {
    Never(String),
    AfterConnected(String),
    Shutdown,
}

/// One life of the way out: connect, be accepted, send what is queued, until either side ends it.
async fn session(identity: &TlsIdentity, link: &Link, events: &mpsc::Sender<PeerEvent>) -> Ended {
    let member = link.entry.index;
    let channel = match connect(identity, &link.entry).await {
        Ok(channel) => channel,
        Err(error) => return Ended::Never(chain(&error)),
    };
    let queue = Arc::new(Queue::default());
    let mut client = PeerClient::new(channel.clone());
    // The answer's headers come at once when the other side has accepted this member.
    let accepted = tokio::time::timeout(ANSWER_TIMEOUT, client.gossip(Arc::clone(&queue).stream())).await;
    let mut answer = match accepted {
        Ok(Ok(response)) => response.into_inner(),
        Ok(Err(status)) => return Ended::Never(describe(&status)),
        Err(_) => return Ended::Never("no answer in time".to_owned()),
    };
    let closed = CancellationToken::new();
    if !link.set_outgoing(Some(Outgoing { queue: Arc::clone(&queue), channel, closed: closed.clone() })) {
        return Ended::Never("refused for what it sent".to_owned());
    }
    tracing::info!(member = %link.entry.name, "connected to a member");
    if events.send(PeerEvent::Connected(member)).await.is_err() {
        return Ended::Shutdown;
    }
    let reason = tokio::select! {
        end = answer.message() => match end {
            Ok(_) => "ended by the other side".to_owned(),
            Err(status) => describe(&status),
        },
        () = closed.cancelled() => "closed by this member".to_owned(),
    };
    link.set_outgoing(None);
    queue.close();
    if events.send(PeerEvent::Disconnected(member)).await.is_err() {
        return Ended::Shutdown;
    }
    Ended::AfterConnected(reason)
}

/// Fetches a block body: chunk by chunk, never more than `max_len`, never trusting the announced length.
pub(super) async fn fetch_body(
    channel: Channel,
    height: u32,
    hash: BlockHash,
    max_len: usize,
) -> Result<Vec<u8>, FetchError> {
    let request = FetchBodyRequest { height, block_hash: Bytes::copy_from_slice(&hash.to_byte_array()) };
    let mut client = PeerClient::new(channel).max_decoding_message_size(1 << 20);
    let mut chunks = in_time(client.fetch_body(request)).await?.into_inner();
    let mut body = Vec::new();
    let mut announced = None;
    while let Some(chunk) = in_time(chunks.message()).await? {
        let total = match announced {
            None => {
                let total = usize::try_from(chunk.total_len).unwrap_or(usize::MAX);
                if total > max_len {
                    return Err(FetchError::TooLong { len: total, max_len });
                }
                *announced.insert(total)
            }
            Some(total) => total,
        };
        if chunk.data.is_empty() {
            return Err(FetchError::Malformed("an empty chunk".to_owned()));
        }
        if body.len() + chunk.data.len() > total {
            return Err(FetchError::Malformed(format!("more than the announced {total} bytes")));
        }
        body.extend_from_slice(&chunk.data);
    }
    match announced {
        Some(total) if total == body.len() => Ok(body),
        Some(total) => Err(FetchError::Malformed(format!("{} of the announced {total} bytes", body.len()))),
        None => Err(FetchError::Malformed("no chunk at all".to_owned())),
    }
}

/// Fetches final blocks from a height on. What comes back starts at `from_height`, has no gap, and may be shorter than
/// asked for.
pub(super) async fn fetch_blocks(
    channel: Channel,
    from_height: u32,
    limit: u32,
) -> Result<Vec<FinalBlock>, FetchError> {
    let limit = limit.min(MAX_BLOCKS_PER_FETCH);
    let mut client = PeerClient::new(channel).max_decoding_message_size(MAX_FINAL_BLOCK_LEN);
    let mut stream = in_time(client.fetch_blocks(FetchBlocksRequest { from_height, limit })).await?.into_inner();
    let mut blocks = Vec::new();
    let mut len = 0;
    for expected in (from_height..).zip(0..limit).map(|(height, _)| height) {
        let Some(block) = in_time(stream.message()).await? else { return Ok(blocks) };
        if block.height != expected {
            return Err(FetchError::Malformed(format!("block {} where {expected} was due", block.height)));
        }
        len += block.block.len() + block.batch.len();
        blocks.push(block);
        if len > MAX_BLOCKS_LEN {
            break;
        }
    }
    Ok(blocks)
}

/// Fetches the ceremony's messages that a member has.
pub(crate) async fn fetch_ceremony(channel: Channel, session: &[u8]) -> Result<Vec<Bytes>, FetchError> {
    let mut client = PeerClient::new(channel).max_decoding_message_size(MAX_CEREMONY_LEN);
    let request = FetchCeremonyRequest { session: Bytes::copy_from_slice(session) };
    Ok(in_time(client.fetch_ceremony(request)).await?.into_inner().messages)
}

async fn in_time<T>(call: impl Future<Output = Result<T, Status>>) -> Result<T, FetchError> {
    match tokio::time::timeout(ANSWER_TIMEOUT, call).await {
        Err(_) => Err(FetchError::TimedOut { seconds: ANSWER_TIMEOUT.as_secs() }),
        Ok(Err(status)) => Err(match status.code() {
            Code::NotFound => FetchError::NotFound(status.message().to_owned()),
            _ if super::is_malformed(&status) => FetchError::Malformed(status.message().to_owned()),
            _ => FetchError::Connection(describe(&status)),
        }),
        Ok(Ok(value)) => Ok(value),
    }
}

/// A status as one line: what the other side, or the transport, says.
fn describe(status: &Status) -> String {
    match status.message() {
        "" => status.code().to_string(),
        message => message.to_owned(),
    }
}

/// An error with its causes as one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}
