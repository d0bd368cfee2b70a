//! How both sides introduce themselves.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bitcoin::p2p::message_network::VersionMessage;
use bitcoin::p2p::{Address, ServiceFlags};
use tokio::io::AsyncRead;

use super::Shared;
use super::message::{Message, MessageError};
use super::outbox::{Closed, Outbox};
use super::session::Direction;
use super::wire::{Command, Frame, FrameReader, Received, WireError};

/// The version of the protocol that this side speaks (`PROTOCOL_VERSION`).
const PROTOCOL_VERSION: u32 = 70_016;
/// Peers know compact blocks from here on; older ones are not served.
const LEAST_VERSION: u32 = 70_014;
/// From here on transactions can be named by the hash of all of them.
const WTXID_VERSION: u32 = 70_016;
/// Messages that a peer may send before it has introduced itself.
const MAX_EARLY_MESSAGES: u32 = 20;

/// Why two nodes do not come together.
#[derive(Debug, thiserror::Error)]
pub(super) enum HandshakeError {
    /// What the peer sends cannot be read.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The same of a payload.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// It does not read.
    #[error(transparent)]
    Closed(#[from] Closed),
    /// It is too old.
    #[error("the peer speaks version {found} of the protocol, at least {LEAST_VERSION} is needed")]
    Old {
        /// Its version.
        found: u32,
    },
    /// It is this very node.
    #[error("that is this node itself")]
    Ourselves,
    /// Something else comes first.
    #[error("the peer does not introduce itself")]
    Silent,
    /// It takes too long.
    #[error("the peer has not introduced itself within {} s", .0.as_secs())]
    Late(Duration),
}

/// What a peer says of itself.
#[derive(Clone, Debug)]
pub(super) struct Introduction {
    /// The program that it is.
    pub(super) user_agent: String,
    /// Whether it wants to hear of transactions.
    pub(super) wants_transactions: bool,
    /// Whether both name transactions by the hash of all of them.
    pub(super) by_wtxid: bool,
}

/// Introduces both sides to each other.
pub(super) async fn introduce<R: AsyncRead + Unpin>(
    reader: &mut FrameReader<R>,
    outbox: &Outbox,
    direction: Direction,
    remote: SocketAddr,
    shared: &Shared,
) -> Result<Introduction, HandshakeError> {
    let send = |command, payload: Vec<u8>| outbox.push(Frame::new(shared.magic, command, payload));
    if direction == Direction::Outbound {
        send(Command::Version, own_version(shared, remote)).await?;
    }
    let version = match read(reader).await? {
        Some(Message::Version(version)) => version,
        _ => return Err(HandshakeError::Silent),
    };
    if version.nonce == shared.nonce {
        return Err(HandshakeError::Ourselves);
    }
    if version.version < LEAST_VERSION {
        return Err(HandshakeError::Old { found: version.version });
    }
    if direction == Direction::Inbound {
        send(Command::Version, own_version(shared, remote)).await?;
    }
    if version.version >= WTXID_VERSION {
        send(Command::WtxidRelay, Vec::new()).await?;
    }
    send(Command::Verack, Vec::new()).await?;
    let mut by_wtxid = false;
    for _ in 0..MAX_EARLY_MESSAGES {
        match read(reader).await? {
            Some(Message::WtxidRelay) => by_wtxid = version.version >= WTXID_VERSION,
            Some(Message::Verack) => {
                let VersionMessage { user_agent, relay, .. } = *version;
                return Ok(Introduction { user_agent, wants_transactions: relay, by_wtxid });
            }
            // What it can do beside: nothing that is of use here.
            _ => {}
        }
    }
    Err(HandshakeError::Silent)
}

async fn read<R: AsyncRead + Unpin>(reader: &mut FrameReader<R>) -> Result<Option<Message>, HandshakeError> {
    match reader.next().await? {
        Received::Message(command, payload) => Ok(Message::decode(command, payload)?),
        Received::Skipped(_) => Ok(None),
    }
}

fn own_version(shared: &Shared, remote: SocketAddr) -> Vec<u8> {
    let services = ServiceFlags::NETWORK | ServiceFlags::WITNESS;
    // A clock before 1970 is nobody's.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    let nowhere = SocketAddr::from((IpAddr::from(Ipv4Addr::UNSPECIFIED), 0));
    let version = VersionMessage {
        version: PROTOCOL_VERSION,
        services,
        timestamp: i64::try_from(now).unwrap_or(i64::MAX),
        receiver: Address::new(&remote, ServiceFlags::NONE),
        sender: Address::new(&nowhere, services),
        nonce: shared.nonce,
        user_agent: format!("/Aquifer:{}/", env!("CARGO_PKG_VERSION")),
        start_height: i32::try_from(shared.tip.borrow().height).unwrap_or(i32::MAX),
        relay: true,
    };
    bitcoin::consensus::serialize(&version)
}
