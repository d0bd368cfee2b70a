//! The node of a member, wired together.
//!
//! ```text
//!  wallets ──► api ──► backend ──► mempool ─┐
//!                                           ├──► chain (one thread) ──► ledger.db, consensus.db, signer.db
//!  members ◄──► peers ──────────────────────┘         │
//!                                                     ▼
//!  bitcoind ◄── parent, peg-out driver ◄──────── final batches ◄── auditors, elementsd
//! ```
//!
//! Everything ends when the chain's thread ends or the node is told to stop: a member whose stores fail must not go on
//! answering as if nothing had happened. It can also be killed at any instant; what it promised is on the disk.

mod backend;
mod bitcoin;
mod network;
mod oversight;
#[cfg(feature = "sabotage")]
mod sabotage;
mod service;

use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use aquifer_federation::consensus::Timeouts;
use aquifer_proto::peer::{PeerMessage, peer_message::Kind};
use bytes::Bytes;
use elements::Script;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;

use self::oversight::Oversight;
use crate::api::grpc::{Api, ApiError};
use crate::api::{BindError, Interfaces, ListenError, Sources};
use crate::ceremony::CeremonyArchive;
use crate::chain::judge::Judge;
use crate::chain::parent::ParentChain;
use crate::chain::{ChainError, Clock, Core, CoreParts, CoreStatus, Event, Network, Pacing, SigningKeys, SystemClock};
use crate::config::{Config, ConfigError, VerdictMemory};
use crate::files::FileError;
use crate::halt::{HaltDesk, HaltService};
use crate::identity::{FederationMember, IdentityError, Member};
use crate::index::Indexing;
use crate::mempool::keeper::Keeper;
use crate::mempool::{Mempool, MempoolError, PegoutPolicy};
use crate::parent::{Parent, ParentConfig, ParentStoreError};
use crate::peers::{PeerEvent, Peers, PeersError};
use crate::peg::{CoinWatch, DriverConfig, PegoutDriver};
use crate::store::consensus::{BodyReader, ConsensusStore};
use crate::store::ledger::{LedgerReader, LedgerStore};
use crate::store::signer::SignerStore;
use crate::store::{OpenGate, StoreError};
use crate::verdicts::Verdicts;

/// Events that may wait for the chain's thread. Peers' messages wait at the network when it is full.
const EVENT_QUEUE: usize = 4_096;
/// Peers' messages on their way to the chain.
const PEER_QUEUE: usize = 1_024;
/// Transactions of members that are verified or wait for it at a time.
const PEER_ADMISSIONS: usize = 256;
/// How often bitcoind is asked for news.
const PARENT_POLL_INTERVAL: Duration = Duration::from_millis(500);

/// The node could not start or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The data folder.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A file of the data folder.
    #[error(transparent)]
    File(#[from] FileError),
    /// The member's keys or its federation.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// A database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The database of the parent chain.
    #[error(transparent)]
    ParentStore(#[from] ParentStoreError),
    /// The network of members.
    #[error(transparent)]
    Peers(#[from] PeersError),
    /// The service for wallets.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// An address to listen on.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The interfaces for other software.
    #[error(transparent)]
    Interfaces(#[from] ListenError),
    /// The chain stopped.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The system gives no thread.
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
    /// What the environment asks of a sabotaged build.
    #[cfg(feature = "sabotage")]
    #[error(transparent)]
    Sabotage(#[from] sabotage::UnknownDeed),
}

/// Runs the node of a member until `stop` is cancelled or it fails. The caller holds the lock of the data folder.
///
/// # Errors
/// [`NodeError`]. Nothing is lost: the node can be started again when the cause is removed, unless the text says not to.
pub async fn run(config: &Config, stop: CancellationToken) -> Result<(), NodeError> {
    let runtime = tokio::runtime::Handle::current();
    let data = &config.data;
    let FederationMember { member, share, treasury_share, federation, index: me } = FederationMember::load(config)?;
    let params = Arc::new(federation.params.clone());
    let treasury = Arc::new(federation.treasury.clone());
    let settings = federation.roster.settings().clone();
    let roster = Arc::new(federation.roster.clone());

    let gate: Arc<dyn crate::store::Gate> = Arc::new(OpenGate);
    let ledger = LedgerStore::open(&data.database("ledger"), &params, Arc::clone(&gate))?;
    let consensus = ConsensusStore::open(&data.database("consensus"), Arc::clone(&gate))?;
    let signer = SignerStore::open(&data.database("signer"), Arc::clone(&gate))?;
    let reader = Arc::new(LedgerReader::new(&data.database("ledger")));

    let status = Arc::new(CoreStatus::default());
    let chain = params.genesis_hash().to_byte_array();
    let halts = HaltDesk::open(&data.database("halt"), Arc::clone(&roster), chain, me, member.keys.host)?;
    let halts = Arc::new(halts);
    let parent_config = ParentConfig {
        url: config.file.bitcoind.url.clone(),
        cookie_file: config.file.bitcoind.cookie_file.clone(),
        poll_interval: PARENT_POLL_INTERVAL,
        fallback_fee_rate_sat_per_kvb: config.file.treasury.fallback_fee_rate_sat_per_kvb,
        alarm: oversight::reorganisation_alarm(&status, &halts, &reader),
    };
    let (parent, following) = Parent::start(parent_config, Arc::clone(&params), &data.database("parent"), &runtime)?;
    let driver_config = DriverConfig {
        roster: federation.roster.clone(),
        treasury: federation.treasury.clone(),
        me,
        peg_key: member.keys.peg,
        poll_interval: PARENT_POLL_INTERVAL,
        gate,
    };
    let (driver, driving) = PegoutDriver::start(driver_config, parent.clone(), &runtime);
    let bitcoin: Arc<dyn ParentChain> =
        Arc::new(bitcoin::BitcoinParent::new(parent.clone(), driver.clone(), Arc::clone(&treasury)));
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let mempool = Mempool::new((*params).clone(), Arc::clone(&reader), Arc::clone(&bitcoin))
        .with_clock(Arc::clone(&clock))
        .with_limits(config.file.mempool.limits())
        .with_pegout_policy(PegoutPolicy { roster: Arc::clone(&roster), treasury: Arc::clone(&treasury) });
    let mempool = Arc::new(match config.file.verdicts {
        VerdictMemory::On => mempool.remembering(Arc::new(Verdicts::default())),
        VerdictMemory::Off => mempool,
    });

    let (events, queue) = sync_channel(EVENT_QUEUE);
    let (peer_events, mut from_peers) = mpsc::channel(PEER_QUEUE);
    let service = service::NodeService::new(
        Arc::clone(&reader),
        BodyReader::new(&data.database("consensus")),
        CeremonyArchive::load(data)?,
        data.clone(),
    );
    let running = Peers::start(
        &federation,
        me,
        member.tls.clone(),
        config.file.peers.listen,
        peer_events,
        Arc::new(service),
        stop.clone(),
    )
    .await?;
    let api = Api::bind(config.file.api.listen).await?;
    let interfaces = Interfaces::bind(&config.file.interfaces, &member.tls, data).await?;
    let peers = running.peers.clone();
    let network: Arc<dyn Network> = Arc::new(network::PeerNetwork::new(peers.clone(), events.clone(), runtime.clone()));
    #[cfg(feature = "sabotage")]
    let network = sabotage::sabotage(network, me)?;
    let fee_script = match &config.file.fee_address {
        Some(address) => address.script_pubkey(),
        None => own_fee_script(&member),
    };
    let (oversight, feeding) = Oversight::start(config, params.genesis_hash(), &reader, &status, &halts)?;
    let judge = Judge {
        params: Arc::clone(&params),
        roster: Arc::clone(&roster),
        treasury,
        ledger: Arc::clone(&reader),
        mempool: Arc::clone(&mempool),
        parent: bitcoin,
        clock,
        fee_script,
        opinion: oversight.second_opinion(),
        halts: Arc::clone(&halts),
    };
    let parts = CoreParts {
        federation: Arc::clone(&federation),
        me,
        keys: SigningKeys { member: member.keys.clone(), bls: share, treasury: treasury_share },
        pacing: Pacing {
            idle_interval: Duration::from_millis(settings.idle_interval_ms),
            min_spacing: Duration::from_millis(settings.min_block_spacing_ms),
            timeouts: Timeouts::default(),
        },
        script_after: config.file.treasury.script_after(),
        ledger,
        consensus,
        signer,
        judge,
        guard: Arc::new(oversight.clone()),
        network,
        status: Arc::clone(&status),
    };
    let core = Core::new(parts, events.clone(), queue)?;
    let (ended, chain_ended) = tokio::sync::oneshot::channel();
    let chain = std::thread::Builder::new()
        .name("chain".into())
        .spawn(move || {
            let result = core.run();
            // The receiver is gone only when the node is ending anyway.
            let _ = ended.send(());
            result
        })
        .map_err(NodeError::Thread)?;
    tracing::info!(
        member = %config.file.name, chain = %params.name, genesis = %params.genesis_hash(),
        peers = %running.address, api = %api.address(), "running"
    );

    let watching = tokio::spawn({
        let watch = CoinWatch {
            parent: parent.clone(),
            ledger: Arc::clone(&reader),
            driver: driver.clone(),
            clock: Arc::new(SystemClock),
            timelock_blocks: settings.emergency.as_ref().map(|emergency| emergency.timelock_blocks.into()),
        };
        let (oversight, ledger) = (oversight.clone(), Arc::clone(&reader));
        watch.run(move |alarm| oversight.on_coin(&ledger, alarm), stop.clone())
    });
    let (index, indexing) = if config.file.interfaces.needs_index() {
        let (path, params, ledger) = (data.database("index"), Arc::clone(&params), Arc::clone(&reader));
        let (index, indexing) =
            Indexing::start(path, params, ledger, Arc::clone(&mempool), runtime.clone(), stop.clone())?;
        (Some(index), Some(indexing))
    } else {
        (None, None)
    };
    let backend = backend::NodeBackend::new(backend::Parts {
        federation: Arc::clone(&federation),
        me,
        params: Arc::clone(&params),
        ledger: Arc::clone(&reader),
        mempool: Arc::clone(&mempool),
        parent,
        driver,
        peers: peers.clone(),
        status: Arc::clone(&status),
        oversight: oversight.clone(),
        halts: Arc::clone(&halts),
        index: index.clone(),
    });
    let backend = Arc::new(backend);
    let sources = Sources {
        params,
        roster: Arc::clone(&roster),
        status,
        ledger: Arc::clone(&reader),
        mempool: Arc::clone(&mempool),
        backend: Arc::<backend::NodeBackend>::clone(&backend),
        index,
    };
    let mut interfaces = interfaces.serve(&sources, &stop);
    let notices = backend.gather_changes(&runtime, stop.clone());
    let serving = tokio::spawn({
        let (identity, backend, stop) = (member.tls.clone(), Arc::clone(&backend), stop.clone());
        let desk = Arc::clone(&oversight.desk);
        let halting = HaltService::new(Arc::clone(&halts), reader);
        async move { api.serve(&identity, backend, desk, Some(halting), stop).await }
    });
    let waking = tokio::spawn(wake_chain(mempool.changes(), Arc::clone(&mempool), events.clone(), stop.clone()));
    let releasing = tokio::spawn(oversight.wake_chain(events.clone(), stop.clone()));
    let keeping = Keeper::start(data.database("mempool"), Arc::clone(&mempool), stop.clone());
    let pumping = tokio::spawn({
        let (events, mempool, peers) = (events.clone(), Arc::clone(&mempool), peers.clone());
        async move {
            let admissions = Arc::new(Semaphore::new(PEER_ADMISSIONS));
            while let Some(event) = from_peers.recv().await {
                pump(event, &events, &mempool, &peers, &admissions).await;
            }
        }
    });

    tokio::select! {
        () = stop.cancelled() => tracing::info!("stopping"),
        _ = chain_ended => {}
    }
    stop.cancel();
    let chain = tokio::task::spawn_blocking(move || {
        // The chain may have ended by itself; then nobody listens any more.
        let _ = events.send(Event::Stop);
        chain.join()
    })
    .await;
    if let Some(feeding) = feeding {
        // It may wait for elementsd as long as a call may take; the member does not.
        drop(tokio::task::spawn_blocking(move || feeding.stop()));
    }
    if let Some(indexing) = indexing {
        // Nothing is lost if it is not waited for, but what it has done is kept.
        let _ = tokio::task::spawn_blocking(move || indexing.wait()).await;
    }
    driving.stop().await;
    following.stop().await;
    let served = serving.await;
    let peers_ended = running.ended().await;
    // It ends by itself; that the last of what waits is written may fail like any write of it.
    let _ = keeping.await;
    interfaces.shutdown().await;
    for task in [waking, releasing, pumping, notices, watching] {
        task.abort();
    }
    match chain {
        Ok(Ok(result)) => result?,
        _ => return Err(NodeError::Chain(ChainError::Thread("chain"))),
    }
    if let Ok(served) = served {
        served?;
    }
    Ok(peers_ended?)
}

/// The script that owns the fees of a member that names no address for them.
fn own_fee_script(member: &Member) -> Script {
    let key = ::bitcoin::PublicKey::new(member.keys.fee.public_key(::bitcoin::secp256k1::SECP256K1));
    // A compressed key always has a witness program.
    key.wpubkey_hash().map(|hash| Script::new_v0_wpkh(&elements_key_hash(hash))).unwrap_or_default()
}

fn elements_key_hash(hash: ::bitcoin::WPubkeyHash) -> elements::WPubkeyHash {
    use ::bitcoin::hashes::Hash as _;
    elements::WPubkeyHash::from_byte_array(hash.to_byte_array())
}

/// Hands what peers say to the chain; transactions are verified first, on a thread for blocking work.
async fn pump(
    event: PeerEvent,
    events: &SyncSender<Event>,
    mempool: &Arc<Mempool>,
    peers: &Peers,
    admissions: &Arc<Semaphore>,
) {
    if let PeerEvent::Message { from, message: PeerMessage { kind: Some(Kind::Transaction(bytes)) } } = &event {
        // Votes never wait for transactions: when too many are being verified, this one is left out. Whoever sent it
        // proposes it in its turn.
        let Ok(permit) = Arc::clone(admissions).try_acquire_owned() else { return };
        let (from, bytes, mempool, peers) = (*from, bytes.clone(), Arc::clone(mempool), peers.clone());
        tokio::task::spawn_blocking(move || {
            let _permit = permit;
            // The mempool keeps the bytes; the buffer of the connection, which is larger, must not stay with them.
            let transaction = match aquifer_assets::transaction::decode(Bytes::copy_from_slice(&bytes)) {
                Ok(transaction) => transaction,
                Err(error) => return peers.disconnect(from, &format!("a transaction: {error}")),
            };
            let txid = transaction.txid();
            match mempool.submit(transaction) {
                Ok(_) => {}
                // An honest member passes on only what it has verified, but it may have seen another state.
                Err(error @ MempoolError::Store(_)) => tracing::error!(%txid, %error, "a transaction cannot be judged"),
                Err(error) => tracing::debug!(%txid, member = %from, %error, "a member's transaction is not admitted"),
            }
        });
        return;
    }
    hand_over(events, Event::Peer(event)).await;
}

/// Waits for a place in the chain's queue without holding up the runtime.
async fn hand_over(events: &SyncSender<Event>, event: Event) {
    let mut event = event;
    loop {
        match events.try_send(event) {
            Ok(()) | Err(TrySendError::Disconnected(_)) => return,
            Err(TrySendError::Full(back)) => {
                event = back;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }
}

/// Tells the chain when transactions wait.
async fn wake_chain(
    mut changes: watch::Receiver<u64>,
    mempool: Arc<Mempool>,
    events: SyncSender<Event>,
    stop: CancellationToken,
) {
    loop {
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            () = stop.cancelled() => return,
        }
        if !mempool.is_empty() {
            hand_over(&events, Event::TransactionsWait).await;
        }
    }
}
