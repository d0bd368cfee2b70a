//! The network of Elements nodes, in version 1 of its transport: what lets a stock elementsd follow this chain.
//!
//! ```text
//!            ┌────────────── session, one for each peer ──────────────┐
//!  peer ───► │ wire ──► message ──► handlers ──► outbox (bounded) ─┐  │
//!  peer ◄─── │ ◄───────────────────────────────────────────────────┘  │
//!            └────┬──────────────┬──────────────────────▲─────────────┘
//!                 │ transactions │ headers, blocks      │ tips, arrivals
//!                 ▼              ▼                      │
//!        intake ─► backend     shelf ─► ledger.db     herald ◄─ mempool, ledger
//! ```
//!
//! Members agree among themselves and need no peer here. So nothing that a peer says of blocks is looked at, let alone
//! believed: this side serves final blocks, and takes transactions as it takes them from wallets. The rules are those that
//! Elements' nodes keep to (`net_processing.cpp`); the numbers in [`Limits`] bound what a peer can cost:
//!
//! * A message is read only up to what its command may need; what this side has no use for is skipped, not stored.
//! * Messages have a price, and a peer that sends more than its income of it waits. Answers wait for the room in its outbox,
//!   so a peer that asks much and reads little holds up nobody but itself, and is dropped when it stops reading.
//! * All peers together have two readers of the ledger, one verifier that rests as long as it worked, and one bounded queue
//!   in front of it. What does not fit is dropped; it comes again.
//! * What breaks the protocol costs points; whoever has too many is dropped and not let in again for a while.

mod compact;
mod conduct;
mod dial;
mod handlers;
mod handshake;
mod herald;
mod intake;
mod inventory;
mod limits;
mod message;
mod outbox;
mod requests;
mod session;
mod shelf;
#[cfg(test)]
mod tests;
mod waiting;
mod wire;

use std::net::SocketAddr;
use std::sync::Arc;

use aquifer_assets::chain::ChainParams;
use aquifer_assets::primitives::Transaction;
use elements::Txid;
use tokio::net::TcpListener;
use tokio::sync::{broadcast, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::api::SubmitError;
use crate::mempool::{Arrival, Mempool};
use crate::sockets::{Tally, accept_each};
use crate::store::ledger::LedgerReader;
use conduct::Bans;
use herald::{Herald, Tip};
use intake::Intake;
use session::Direction;
use shelf::Shelf;
use wire::Magic;

pub use limits::Limits;

/// Hands a transaction to the mempool and, if it is new there, to the members.
pub type Submit = dyn Fn(Transaction) -> Result<Txid, SubmitError> + Send + Sync;

/// What the network serves and whom it hands transactions to.
#[derive(Clone)]
pub struct Parts {
    /// The chain.
    pub params: Arc<ChainParams>,
    /// Final blocks.
    pub ledger: Arc<LedgerReader>,
    /// What waits for a block.
    pub mempool: Arc<Mempool>,
    /// Takes what peers send.
    pub submit: Arc<Submit>,
}

/// What all sessions share.
struct Shared {
    magic: Magic,
    shelf: Shelf,
    mempool: Arc<Mempool>,
    intake: Arc<Intake>,
    tip: watch::Receiver<Arc<Tip>>,
    arrivals: broadcast::Sender<Arc<[Arrival]>>,
    bans: Arc<Bans>,
    connections: Tally,
    limits: Limits,
    /// Tells a connection with itself.
    nonce: u64,
}

/// Serves peers on `listener`, if there is one, and stays connected to `connect`, until `stop` is cancelled.
pub async fn serve(
    parts: Parts,
    limits: Limits,
    listener: Option<TcpListener>,
    connect: Vec<SocketAddr>,
    stop: CancellationToken,
) {
    let magic = Magic(parts.params.network_magic());
    let shelf = Shelf::new(Arc::clone(&parts.ledger), magic);
    let (herald, tip) = match Herald::new(&shelf, &parts).await {
        Ok(started) => started,
        Err(error) => return tracing::error!(%error, "the network of Elements nodes is not served"),
    };
    let shared = Arc::new(Shared {
        magic,
        shelf,
        mempool: Arc::clone(&parts.mempool),
        intake: Intake::new(&parts),
        tip,
        arrivals: herald.arrivals(),
        bans: Arc::new(Bans::new(limits.ban)),
        connections: Tally::default(),
        limits,
        nonce: rand::random(),
    });
    // Whatever ends this ends what it started, and nothing else.
    let stop = stop.child_token();
    let _ended = stop.clone().drop_guard();
    let mut tasks = JoinSet::new();
    tasks.spawn(herald.run(shared.shelf.clone(), Arc::clone(&shared.intake), stop.clone()));
    for address in connect {
        tasks.spawn(dial::keep_connected(address, Arc::clone(&shared), stop.clone()));
    }
    if let Some(listener) = listener {
        tasks.spawn(welcome(listener, Arc::clone(&shared), stop.clone()));
    }
    stop.cancelled().await;
    tasks.shutdown().await;
}

/// Lets peers in.
async fn welcome(listener: TcpListener, shared: Arc<Shared>, stop: CancellationToken) {
    accept_each(listener, shared.limits.inbound, &stop, |socket| {
        let remote = socket.remote();
        if shared.bans.contains(remote.ip()) {
            return tracing::debug!(%remote, "a banned peer is not let in");
        }
        let Some(counted) = shared.connections.count(remote.ip(), shared.limits.inbound_per_address) else {
            return tracing::debug!(%remote, "too many connections from this address");
        };
        let (shared, stop) = (Arc::clone(&shared), stop.child_token());
        tokio::spawn(async move {
            let _counted = counted;
            session::run(socket, remote, Direction::Inbound, shared, stop).await;
        });
    })
    .await;
}
