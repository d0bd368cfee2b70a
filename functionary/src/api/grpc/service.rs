//! The wallets' gRPC service over a [`LedgerBackend`].
//!
//! Every request is checked before the node sees it, every answer is bounded, and every stream has a small buffer: a reader
//! that stops reading stops its own stream and nothing else.

use std::pin::Pin;
use std::sync::Arc;

use aquifer_assets::primitives::Transaction;
use aquifer_proto::ledger as proto;
use aquifer_proto::ledger::ledger_server::Ledger;
use bytes::Bytes;
use elements::{AssetId, OutPoint, Script, Txid};
use futures::Stream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::convert::{self, Txids};
use crate::api::backend::{BackendError, Deposits, LedgerBackend, PegoutState, SubmitError, TransactionStatus};

/// Most headers in one request.
pub const MAX_HEADERS: usize = 2_000;
/// Most transactions in one request.
pub const MAX_TRANSACTIONS: usize = 1_000;
/// Most scripts in one request.
pub const MAX_SCRIPTS: usize = 1_000;
/// Most entries in the histories of one answer.
const MAX_HISTORY_ENTRIES: usize = 100_000;
/// Most peg-outs in one answer.
pub const MAX_PEGOUTS: u32 = 1_000;
/// Most open streams (watches, followers, long answers) of all wallets together.
pub const MAX_STREAMS: usize = 1_000;
/// Items that wait for a slow reader.
const STREAM_BUFFER: usize = 16;

/// The service; see the module's description.
pub struct LedgerService {
    backend: Arc<dyn LedgerBackend>,
    streams: Arc<Semaphore>,
    shutdown: CancellationToken,
}

impl LedgerService {
    /// A service that ends its streams when `shutdown` is cancelled.
    pub fn new(backend: Arc<dyn LedgerBackend>, shutdown: CancellationToken) -> Self {
        Self { backend, streams: Arc::new(Semaphore::new(MAX_STREAMS)), shutdown }
    }

    /// Asks the node where waiting for the disk is fine.
    async fn ask<T, E>(
        &self,
        question: impl FnOnce(&dyn LedgerBackend) -> Result<T, E> + Send + 'static,
    ) -> Result<T, Status>
    where
        T: Send + 'static,
        E: Into<Refusal> + Send + 'static,
    {
        ask(&self.backend, question).await
    }

    fn place(&self) -> Result<OwnedSemaphorePermit, Status> {
        Arc::clone(&self.streams)
            .try_acquire_owned()
            .map_err(|_| Status::resource_exhausted(format!("{MAX_STREAMS} streams are open; try again later")))
    }

    /// Runs `producer` until it ends, the reader goes, or the node shuts down.
    fn stream<T, P, F>(&self, producer: P) -> Result<Response<Items<T>>, Status>
    where
        T: Send + 'static,
        P: FnOnce(Arc<dyn LedgerBackend>, mpsc::Sender<Result<T, Status>>) -> F,
        F: Future<Output = Result<(), Status>> + Send + 'static,
    {
        let place = self.place()?;
        let (sender, receiver) = mpsc::channel(STREAM_BUFFER);
        let producing = producer(Arc::clone(&self.backend), sender.clone());
        let shutdown = self.shutdown.clone();
        tokio::spawn(async move {
            let end = tokio::select! {
                end = producing => end,
                () = sender.closed() => Ok(()),
                () = shutdown.cancelled() => Err(Status::unavailable("this member is shutting down")),
            };
            if let Err(status) = end {
                // The reader may be slow or gone; its own buffer is all it can hold up.
                let _gone = sender.try_send(Err(status));
            }
            drop(place);
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    /// Streams what `question` gives for each final height from `next` on, and then for each new one.
    fn follow<T>(
        &self,
        mut next: u32,
        question: fn(&dyn LedgerBackend, u32) -> Result<Option<T>, BackendError>,
    ) -> Result<Response<Items<T>>, Status>
    where
        T: Send + 'static,
    {
        self.stream(move |backend, sender| async move {
            let mut changes = backend.changes();
            loop {
                changes.borrow_and_update();
                while let Some(item) = ask(&backend, move |backend| question(backend, next)).await? {
                    if sender.send(Ok(item)).await.is_err() {
                        return Ok(());
                    }
                    next = next.checked_add(1).ok_or_else(|| Status::out_of_range("no height is higher"))?;
                }
                if changes.changed().await.is_err() {
                    return Err(Status::unavailable("this member is shutting down"));
                }
            }
        })
    }

    /// Streams the answers to `question`: the first one, and then each that differs, until `is_last`.
    fn watch<T, A, Q, C, L>(&self, question: Q, convert: C, is_last: L) -> Result<Response<Items<T>>, Status>
    where
        T: Send + 'static,
        A: Send + PartialEq + 'static,
        Q: Fn(&dyn LedgerBackend) -> Result<A, BackendError> + Clone + Send + Sync + 'static,
        C: Fn(&A) -> Vec<T> + Send + Sync + 'static,
        L: Fn(&A) -> bool + Send + Sync + 'static,
    {
        self.stream(|backend, sender| async move {
            let mut changes = backend.changes();
            let mut last = None;
            loop {
                // Marked as seen before asking, so that a change in between is not missed.
                changes.borrow_and_update();
                let question = question.clone();
                let answer = ask(&backend, move |backend| question(backend)).await?;
                if last.as_ref() != Some(&answer) {
                    for item in convert(&answer) {
                        if sender.send(Ok(item)).await.is_err() {
                            return Ok(());
                        }
                    }
                    if is_last(&answer) {
                        return Ok(());
                    }
                    last = Some(answer);
                }
                if changes.changed().await.is_err() {
                    return Err(Status::unavailable("this member is shutting down"));
                }
            }
        })
    }
}

/// Why a question was not answered.
struct Refusal(Status);

impl From<BackendError> for Refusal {
    fn from(error: BackendError) -> Self {
        tracing::error!(%error, "a wallet's question could not be answered");
        Self(Status::internal(error.to_string()))
    }
}

impl From<SubmitError> for Refusal {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::Invalid(reason) => Self(Status::invalid_argument(reason)),
            SubmitError::NotNow(reason) => Self(Status::failed_precondition(reason)),
            SubmitError::Backend(error) => error.into(),
        }
    }
}

async fn ask<T, E>(
    backend: &Arc<dyn LedgerBackend>,
    question: impl FnOnce(&dyn LedgerBackend) -> Result<T, E> + Send + 'static,
) -> Result<T, Status>
where
    T: Send + 'static,
    E: Into<Refusal> + Send + 'static,
{
    let backend = Arc::clone(backend);
    let answer = tokio::task::spawn_blocking(move || question(backend.as_ref())).await;
    answer.map_err(|error| Status::internal(format!("a task failed: {error}")))?.map_err(|error| error.into().0)
}

/// Refuses lists longer than the service promises to take.
fn at_most(len: usize, max: usize, what: &str) -> Result<(), Status> {
    if len > max {
        return Err(Status::invalid_argument(format!("{len} {what} in one request, at most {max} are allowed")));
    }
    Ok(())
}

type Items<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;
type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl Ledger for LedgerService {
    async fn get_info(&self, _request: Request<proto::GetInfoRequest>) -> Answer<proto::Info> {
        Ok(Response::new(convert::info(self.ask(|backend| backend.info()).await?)))
    }

    async fn submit_transaction(
        &self,
        request: Request<proto::SubmitTransactionRequest>,
    ) -> Answer<proto::SubmitTransactionReply> {
        // The mempool keeps the bytes; the buffer of the connection, which is larger, must not stay with them.
        let bytes = Bytes::copy_from_slice(&request.into_inner().transaction);
        let transaction = Transaction::decode(bytes)
            .map_err(|error| Status::invalid_argument(format!("this is not a transaction: {error}")))?;
        let txid = self.ask(move |backend| backend.submit(transaction)).await?;
        Ok(Response::new(proto::SubmitTransactionReply { txid: Bytes::copy_from_slice(&txid.to_byte_array()) }))
    }

    type GetHeadersStream = Items<proto::SignedHeader>;

    async fn get_headers(&self, request: Request<proto::GetHeadersRequest>) -> Answer<Self::GetHeadersStream> {
        let heights = request.into_inner().heights;
        at_most(heights.len(), MAX_HEADERS, "heights")?;
        self.stream(|backend, sender| async move {
            for height in heights {
                let header = ask(&backend, move |backend| backend.header(height)).await?;
                let header = header.ok_or_else(|| Status::not_found(format!("no final block at height {height}")))?;
                if sender.send(Ok(convert::header(header, Txids::Omitted))).await.is_err() {
                    return Ok(());
                }
            }
            Ok(())
        })
    }

    async fn get_block(&self, request: Request<proto::GetBlockRequest>) -> Answer<proto::Block> {
        let height = request.into_inner().height;
        let block = self.ask(move |backend| backend.block(height)).await?;
        let block = block.ok_or_else(|| Status::not_found(format!("no final block at height {height}")))?;
        Ok(Response::new(convert::block(block)))
    }

    type GetTransactionsStream = Items<proto::ProvenTransaction>;

    async fn get_transactions(
        &self,
        request: Request<proto::GetTransactionsRequest>,
    ) -> Answer<Self::GetTransactionsStream> {
        let txids = request.into_inner().txids;
        at_most(txids.len(), MAX_TRANSACTIONS, "transaction ids")?;
        let txids = txids.iter().map(|bytes| convert::txid(bytes)).collect::<Result<Vec<Txid>, Status>>()?;
        self.stream(|backend, sender| async move {
            for txid in txids {
                let found = ask(&backend, move |backend| backend.transaction(&txid)).await?;
                let found = found.ok_or_else(|| Status::not_found(format!("transaction {txid} is unknown")))?;
                if sender.send(Ok(convert::transaction(found))).await.is_err() {
                    return Ok(());
                }
            }
            Ok(())
        })
    }

    async fn get_script_histories(
        &self,
        request: Request<proto::GetScriptHistoriesRequest>,
    ) -> Answer<proto::GetScriptHistoriesReply> {
        let scripts = request.into_inner().scripts;
        at_most(scripts.len(), MAX_SCRIPTS, "scripts")?;
        let scripts = scripts.iter().map(|bytes| convert::script(bytes)).collect::<Result<Vec<Script>, Status>>()?;
        let histories = self
            .ask(move |backend| {
                let histories: Result<Vec<_>, BackendError> =
                    scripts.iter().map(|script| backend.history(script)).collect();
                histories
            })
            .await?;
        if histories.iter().map(Vec::len).sum::<usize>() > MAX_HISTORY_ENTRIES {
            let text = format!("more than {MAX_HISTORY_ENTRIES} entries; ask for fewer scripts at a time");
            return Err(Status::resource_exhausted(text));
        }
        let histories = histories.iter().map(|history| convert::history(history)).collect();
        Ok(Response::new(proto::GetScriptHistoriesReply { histories }))
    }

    type FollowBlocksStream = Items<proto::SignedHeader>;

    async fn follow_blocks(&self, request: Request<proto::FollowBlocksRequest>) -> Answer<Self::FollowBlocksStream> {
        self.follow(request.into_inner().from_height, |backend, height| {
            Ok(backend.header(height)?.map(|header| convert::header(header, Txids::Listed)))
        })
    }

    type FollowFullBlocksStream = Items<proto::Block>;

    async fn follow_full_blocks(
        &self,
        request: Request<proto::FollowBlocksRequest>,
    ) -> Answer<Self::FollowFullBlocksStream> {
        self.follow(request.into_inner().from_height, |backend, height| Ok(backend.block(height)?.map(convert::block)))
    }

    type WatchTransactionStream = Items<proto::TransactionStatus>;

    async fn watch_transaction(
        &self,
        request: Request<proto::WatchTransactionRequest>,
    ) -> Answer<Self::WatchTransactionStream> {
        let txid = convert::txid(&request.into_inner().txid)?;
        self.watch(
            move |backend| backend.transaction_status(&txid),
            |status| vec![convert::transaction_status(status)],
            |status| matches!(status, TransactionStatus::Final { .. }),
        )
    }

    type WatchDepositStream = Items<proto::DepositStatus>;

    async fn watch_deposit(&self, request: Request<proto::WatchDepositRequest>) -> Answer<Self::WatchDepositStream> {
        use bitcoin::hashes::Hash as _;
        let proto::WatchDepositRequest { claim_script, parent_txid } = request.into_inner();
        let claim_script = convert::script(&claim_script)?;
        let parent_txid = if parent_txid.is_empty() {
            None
        } else {
            Some(bitcoin::Txid::from_byte_array(convert::hash_bytes(&parent_txid, "the parent transaction id")?))
        };
        let watched = claim_script.clone();
        self.ask(move |backend| backend.watch_deposits(&watched, parent_txid)).await?;
        self.watch(
            move |backend| {
                let mut found = backend.deposits(&claim_script)?;
                found.deposits.retain(|deposit| parent_txid.is_none_or(|txid| deposit.outpoint.txid == txid));
                Ok(found)
            },
            deposit_items,
            |found| !found.deposits.is_empty() && found.deposits.iter().all(is_claimed),
        )
    }

    type WatchPegoutStream = Items<proto::PegoutStatus>;

    async fn watch_pegout(&self, request: Request<proto::WatchPegoutRequest>) -> Answer<Self::WatchPegoutStream> {
        let proto::WatchPegoutRequest { txid, vout } = request.into_inner();
        let outpoint = OutPoint::new(convert::txid(&txid)?, vout);
        self.watch(
            move |backend| backend.pegout(&outpoint),
            move |pegout| vec![pegout.as_ref().map_or_else(|| convert::unknown_pegout(&outpoint), convert::pegout)],
            |pegout| {
                pegout
                    .as_ref()
                    .is_some_and(|pegout| matches!(pegout.state, PegoutState::Confirmed | PegoutState::Parked))
            },
        )
    }

    async fn list_pegouts(&self, request: Request<proto::ListPegoutsRequest>) -> Answer<proto::ListPegoutsReply> {
        let limit = request.into_inner().limit.min(MAX_PEGOUTS);
        let pegouts = self.ask(move |backend| backend.pegouts(limit)).await?;
        Ok(Response::new(proto::ListPegoutsReply { pegouts: pegouts.iter().map(convert::pegout).collect() }))
    }

    async fn get_asset(&self, request: Request<proto::GetAssetRequest>) -> Answer<proto::AssetInfo> {
        let bytes = convert::hash_bytes(&request.into_inner().asset, "an asset")?;
        let asset = AssetId::from_byte_array(bytes);
        let found = self.ask(move |backend| backend.asset(&asset)).await?;
        let found = found.ok_or_else(|| Status::not_found(format!("asset {asset} is unknown")))?;
        Ok(Response::new(convert::asset(&found)))
    }

    async fn get_supply(&self, _request: Request<proto::GetSupplyRequest>) -> Answer<proto::Supply> {
        Ok(Response::new(convert::supply(&self.ask(|backend| backend.supply()).await?)))
    }
}

fn is_claimed(deposit: &crate::api::backend::Deposit) -> bool {
    matches!(deposit.state, crate::api::backend::DepositState::Claimed { .. })
}

fn deposit_items(found: &Deposits) -> Vec<proto::DepositStatus> {
    if found.deposits.is_empty() {
        return vec![convert::deposit(None, &found.problem)];
    }
    found.deposits.iter().map(|deposit| convert::deposit(Some(deposit), &found.problem)).collect()
}
