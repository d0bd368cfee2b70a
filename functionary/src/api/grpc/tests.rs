//! The wallets' service over real TLS, with a ledger in memory.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::sync::Mutex;

use aquifer_assets::primitives::Transaction;
use aquifer_federation::valve::{Closure, NoticeKind};
use aquifer_proto::audit::audit_client::AuditClient;
use aquifer_proto::ledger as proto;
use aquifer_proto::ledger::ledger_client::LedgerClient;
use bytes::Bytes;
use elements::{AssetId, BlockHash, OutPoint, Script, Txid};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};

use super::*;
use crate::api::*;
use crate::audit::{AuditStore, AuditorStatus, FinalBlocks, SignedVerdict, Verdict};
use crate::config::AuditConfig;
use crate::index::IndexProgress;
use crate::opinion::OpinionStatus;
use crate::peers::pinned_client;

const PATIENCE: Duration = Duration::from_secs(30);

/// A ledger in memory.
struct Memory {
    changes: watch::Sender<u64>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    height: u32,
    statuses: BTreeMap<Txid, TransactionStatus>,
    deposits: Deposits,
    watched: Vec<Script>,
    pegouts: BTreeMap<OutPoint, Pegout>,
    submitted: Vec<Txid>,
}

impl Memory {
    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap());
        self.changes.send_modify(|counter| *counter += 1);
    }

    fn read<T>(&self, read: impl FnOnce(&State) -> T) -> T {
        read(&self.state.lock().unwrap())
    }
}

fn hash(tag: u8) -> [u8; 32] {
    [tag; 32]
}

/// The desk of a member that listens to one auditor and has heard nothing of it.
pub(crate) fn desk() -> Arc<AuditDesk> {
    let key = "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798".parse().unwrap();
    let config = AuditConfig { keys: vec![key], required: 1 };
    let store = AuditStore::open(std::path::Path::new(":memory:")).unwrap();
    let genesis = BlockHash::from_byte_array(hash(1));
    Arc::new(AuditDesk::new(&config, genesis, store, Arc::new(NoBlocks), Box::new(|_| ())).unwrap())
}

struct NoBlocks;

impl FinalBlocks for NoBlocks {
    fn final_block(&self, _height: u32) -> Result<Option<BlockHash>, crate::store::StoreError> {
        Ok(None)
    }
}

impl LedgerBackend for Memory {
    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn info(&self) -> Result<ChainInfo, BackendError> {
        Ok(ChainInfo {
            chain: "test".to_owned(),
            genesis: BlockHash::from_byte_array(hash(1)),
            pegged_asset: AssetId::from_byte_array(hash(2)),
            height: self.read(|state| state.height),
            tip: BlockHash::from_byte_array(hash(3)),
            certificate_key: vec![4; 48],
            member: "alpha".to_owned(),
            mempool_transactions: 5,
            parent_height: None,
            parent_problem: "bitcoind does not answer".to_owned(),
            alarms: vec!["an auditor objects".to_owned()],
            index: Some(IndexProgress { height: 3, tip: 4, remaining_s: Some(1), ..IndexProgress::default() }),
            key_proof: KeyProof::Missing(MissingProof::Spend { under_key_sat: 7 }),
            peers: vec![PeerState { name: "beta".to_owned(), connected: true, height: 6 }],
            min_fee_rate_sat_per_kvb: 100,
            round: 0,
            valve: ValveState {
                closure: Some(Closure::Halted { since_height: 2 }),
                positions: vec![MemberPosition {
                    name: "beta".to_owned(),
                    position: NoticeKind::Halt,
                    changing: false,
                }],
                ..ValveState::default()
            },
            oversight: Oversight {
                auditors_required: 1,
                auditors: desk()
                    .auditors()
                    .into_iter()
                    .map(|auditor| AuditorStatus { passed: Some(4), ..auditor })
                    .collect(),
                elementsd: Some(ElementsdState {
                    status: OpinionStatus {
                        follows: Some(3),
                        problem: Some("it sleeps".to_owned()),
                        disagreement: None,
                    },
                    only_warns: true,
                }),
                waiting_batches: BTreeMap::from([(4, "0 of 1 auditors have passed block 4".to_owned())]),
            },
        })
    }

    fn height(&self) -> Result<u32, BackendError> {
        Ok(self.read(|state| state.height))
    }

    fn submit(&self, transaction: Transaction) -> Result<Txid, SubmitError> {
        match transaction.lock_time.to_consensus_u32() {
            1 => Err(SubmitError::Invalid("money from nothing".to_owned())),
            2 => Err(SubmitError::NotNow("its input is missing".to_owned())),
            3 => Err(BackendError("the disk is gone".to_owned()).into()),
            _ => {
                self.change(|state| state.submitted.push(transaction.txid()));
                Ok(transaction.txid())
            }
        }
    }

    fn header(&self, height: u32) -> Result<Option<SignedHeader>, BackendError> {
        let header = |height| SignedHeader {
            height,
            header: vec![7; 100],
            certificate: vec![8; 97],
            txids: vec![Txid::from_byte_array(hash(9))],
            block_size: 1_000,
            block_weight: 3_000,
        };
        Ok((height <= self.read(|state| state.height)).then(|| header(height)))
    }

    fn block(&self, height: u32) -> Result<Option<SignedBlock>, BackendError> {
        let block = || SignedBlock { height, block: vec![7; 1_000], certificate: vec![8; 97], batch: vec![6; 100] };
        Ok((height <= self.read(|state| state.height)).then(block))
    }

    fn transaction(&self, txid: &Txid) -> Result<Option<ProvenTransaction>, BackendError> {
        let proof = MerkleProof { height: 3, position: 1, siblings: vec![hash(9)] };
        let proven = ProvenTransaction { transaction: vec![1, 2, 3], proof: Some(proof) };
        Ok((txid.to_byte_array() == hash(1)).then_some(proven))
    }

    fn history(&self, script: &Script) -> Result<Vec<HistoryEntry>, BackendError> {
        let block = (script.as_bytes() == [1]).then(|| (3, BlockHash::from_byte_array(hash(3))));
        Ok(vec![HistoryEntry { txid: Txid::from_byte_array(hash(1)), block }])
    }

    fn transaction_status(&self, txid: &Txid) -> Result<TransactionStatus, BackendError> {
        Ok(self.read(|state| state.statuses.get(txid).copied()).unwrap_or(TransactionStatus::Unknown))
    }

    fn watch_deposits(&self, claim_script: &Script, _: Option<bitcoin::Txid>) -> Result<(), BackendError> {
        self.state.lock().unwrap().watched.push(claim_script.clone());
        Ok(())
    }

    fn deposits(&self, _claim_script: &Script) -> Result<Deposits, BackendError> {
        Ok(self.read(|state| state.deposits.clone()))
    }

    fn pegout(&self, request: &OutPoint) -> Result<Option<Pegout>, BackendError> {
        Ok(self.read(|state| state.pegouts.get(request).cloned()))
    }

    fn pegouts(&self, limit: u32) -> Result<Vec<Pegout>, BackendError> {
        assert!(limit <= MAX_PEGOUTS);
        Ok(self.read(|state| state.pegouts.values().cloned().collect()))
    }

    fn asset(&self, _asset: &AssetId) -> Result<Option<Asset>, BackendError> {
        Ok(None)
    }

    fn supply(&self) -> Result<Supply, BackendError> {
        let reserve = Reserve { pegged_in_sat: 10, pegged_out_sat: 3, coins_sat: 7, coins: 1, ..Reserve::default() };
        Ok(Supply { height: 4, assets: Vec::new(), reserve })
    }
}

/// A ledger of height 4.
pub(crate) fn ledger() -> Arc<dyn LedgerBackend> {
    memory()
}

fn memory() -> Arc<Memory> {
    let ledger = Arc::new(Memory { changes: watch::Sender::new(0), state: Mutex::default() });
    ledger.change(|state| state.height = 4);
    ledger
}

struct Served {
    ledger: Arc<Memory>,
    client: LedgerClient<Channel>,
    channel: Channel,
    shutdown: CancellationToken,
    server: JoinHandle<Result<(), ApiError>>,
}

impl Served {
    async fn start() -> Self {
        let ledger = memory();
        let identity = TlsIdentity::from_seed("alpha", &[1; 32]).unwrap();
        let certificate = identity.certificate().to_vec();
        let shutdown = CancellationToken::new();
        let api = Api::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let endpoint = Endpoint::from_shared(format!("https://{}", api.address())).unwrap();
        let (backend, stop) = (Arc::<Memory>::clone(&ledger), shutdown.clone());
        let server = tokio::spawn(async move { api.serve(&identity, backend, desk(), None, stop).await });
        let endpoint = endpoint.tls_config(pinned_client("alpha", &certificate)).unwrap();
        let channel = endpoint.connect().await.unwrap();
        Self { ledger, client: LedgerClient::new(channel.clone()), channel, shutdown, server }
    }

    async fn stop(self) {
        self.shutdown.cancel();
        tokio::time::timeout(PATIENCE, self.server).await.unwrap().unwrap().unwrap();
    }
}

async fn next<T>(stream: &mut tonic::Streaming<T>) -> Option<T> {
    tokio::time::timeout(PATIENCE, stream.message()).await.unwrap().unwrap()
}

fn transaction(lock_time: u32) -> Bytes {
    let lock_time = elements::LockTime::from_consensus(lock_time);
    let transaction = Transaction { version: 2, lock_time, input: Vec::new(), output: Vec::new() };
    elements::encode::serialize(&transaction).into()
}

#[tokio::test]
async fn questions_get_answers() {
    let mut served = Served::start().await;
    let info = served.client.get_info(proto::GetInfoRequest {}).await.unwrap().into_inner();
    assert_eq!((info.height, info.member.as_str(), info.parent_height), (4, "alpha", None));
    assert_eq!(info.genesis_hash, hash(1).as_slice());
    let index = info.index.unwrap();
    assert_eq!((index.height, index.tip, index.remaining_s, index.problem.as_str()), (3, 4, Some(1), ""));
    assert!(info.key_proof.is_empty() && info.key_missing.contains("spends the 7 sat"), "{}", info.key_missing);

    let request = proto::GetHeadersRequest { heights: vec![3, 1] };
    let mut headers = served.client.get_headers(request).await.unwrap().into_inner();
    assert_eq!(next(&mut headers).await.unwrap().height, 3);
    let header = next(&mut headers).await.unwrap();
    assert_eq!((header.height, header.txids.len()), (1, 0));
    assert_eq!(next(&mut headers).await, None);

    let request = proto::GetTransactionsRequest { txids: vec![hash(1).to_vec().into()] };
    let mut transactions = served.client.get_transactions(request).await.unwrap().into_inner();
    let proof = next(&mut transactions).await.unwrap().proof.unwrap();
    assert_eq!((proof.height, proof.position, proof.siblings.len()), (3, 1, 1));

    let request = proto::GetScriptHistoriesRequest { scripts: vec![vec![1].into(), vec![2].into()] };
    let histories = served.client.get_script_histories(request).await.unwrap().into_inner().histories;
    assert_eq!((histories[0].entries[0].height, histories[1].entries[0].height), (3, 0));
    assert!(histories[1].entries[0].block_hash.is_empty());

    let supply = served.client.get_supply(proto::GetSupplyRequest {}).await.unwrap().into_inner();
    assert_eq!(supply.reserve.unwrap().coins_sat, 7);
    served.stop().await;
}

#[tokio::test]
async fn a_transaction_is_taken_or_refused_by_the_right_name() {
    let mut served = Served::start().await;
    let submit = |bytes| proto::SubmitTransactionRequest { transaction: bytes };
    let reply = served.client.submit_transaction(submit(transaction(0))).await.unwrap().into_inner();
    assert_eq!(served.ledger.read(|state| state.submitted[0].to_byte_array().to_vec()), reply.txid);
    for (lock_time, code, text) in [
        (1, Code::InvalidArgument, "money from nothing"),
        (2, Code::FailedPrecondition, "its input is missing"),
        (3, Code::Internal, "the disk is gone"),
    ] {
        let status = served.client.submit_transaction(submit(transaction(lock_time))).await.unwrap_err();
        assert_eq!(status.code(), code);
        assert!(status.message().contains(text), "{status}");
    }
    let status = served.client.submit_transaction(submit(Bytes::from_static(b"\x02\0junk"))).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    served.stop().await;
}

#[tokio::test]
async fn malformed_and_excessive_requests_are_refused() {
    let mut served = Served::start().await;
    let client = &mut served.client;
    let short = Bytes::from_static(&[1; 31]);
    let refused = [
        client.get_transactions(proto::GetTransactionsRequest { txids: vec![short.clone()] }).await.map(drop),
        client.get_headers(proto::GetHeadersRequest { heights: vec![0; MAX_HEADERS + 1] }).await.map(drop),
        client.get_script_histories(proto::GetScriptHistoriesRequest { scripts: vec![Bytes::new()] }).await.map(drop),
        client.watch_transaction(proto::WatchTransactionRequest { txid: short.clone() }).await.map(drop),
        client.watch_pegout(proto::WatchPegoutRequest { txid: short.clone(), vout: 0 }).await.map(drop),
        client
            .watch_deposit(proto::WatchDepositRequest {
                claim_script: Bytes::from_static(&[1]),
                parent_txid: short.clone(),
            })
            .await
            .map(drop),
        client.get_asset(proto::GetAssetRequest { asset: short }).await.map(drop),
    ];
    for (number, result) in refused.into_iter().enumerate() {
        assert_eq!(result.unwrap_err().code(), Code::InvalidArgument, "request {number}");
    }
    let unknown = client.get_block(proto::GetBlockRequest { height: 5 }).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    let asset = client.get_asset(proto::GetAssetRequest { asset: hash(1).to_vec().into() }).await.unwrap_err();
    assert_eq!(asset.code(), Code::NotFound);
    assert!(served.ledger.read(|state| state.watched.is_empty()), "a refused watch was begun");
    served.stop().await;
}

#[tokio::test]
async fn blocks_are_followed_without_a_gap_until_shutdown() {
    let mut served = Served::start().await;
    let request = proto::FollowBlocksRequest { from_height: 3 };
    let mut headers = served.client.follow_blocks(request).await.unwrap().into_inner();
    for height in [3, 4] {
        assert_eq!(next(&mut headers).await.unwrap().height, height);
    }
    served.ledger.change(|state| state.height = 7);
    for height in [5, 6, 7] {
        let header = next(&mut headers).await.unwrap();
        assert_eq!((header.height, header.txids.len()), (height, 1));
    }
    served.stop().await;
    let end = tokio::time::timeout(PATIENCE, headers.message()).await.unwrap();
    assert_eq!(end.unwrap_err().code(), Code::Unavailable);
}

#[tokio::test]
async fn an_auditor_follows_full_blocks_and_reports_what_it_thinks_of_them() {
    let mut served = Served::start().await;
    let request = proto::FollowBlocksRequest { from_height: 4 };
    let mut blocks = served.client.follow_full_blocks(request).await.unwrap().into_inner();
    served.ledger.change(|state| state.height = 5);
    for height in [4, 5] {
        let block = next(&mut blocks).await.unwrap();
        assert_eq!((block.height, block.block.len(), block.batch.len()), (height, 1_000, 100));
    }
    let mut reports = AuditClient::new(served.channel.clone());
    let verdict = |secret: u8, genesis: u8| {
        let mut bytes = [0; 32];
        bytes[31] = secret;
        let key = bitcoin::secp256k1::Keypair::from_seckey_slice(bitcoin::secp256k1::SECP256K1, &bytes).unwrap();
        let [genesis, block] = [hash(genesis), hash(5)].map(BlockHash::from_byte_array);
        SignedVerdict::sign(&key, genesis, 5, block, Verdict::Passed, String::new()).to_message()
    };
    // The one listed key is that of the secret 1.
    reports.report(verdict(1, 1)).await.unwrap();
    assert_eq!(reports.report(verdict(2, 1)).await.unwrap_err().code(), Code::PermissionDenied);
    assert_eq!(reports.report(verdict(1, 2)).await.unwrap_err().code(), Code::InvalidArgument);
    let mut forged = verdict(1, 1);
    forged.height = 6;
    assert_eq!(reports.report(forged.clone()).await.unwrap_err().code(), Code::InvalidArgument);
    forged.key = Bytes::from_static(&[1]);
    assert_eq!(reports.report(forged).await.unwrap_err().code(), Code::InvalidArgument);
    drop(blocks);
    served.stop().await;
}

#[tokio::test]
async fn a_transaction_is_watched_until_it_is_final() {
    use proto::transaction_status::State;
    let mut served = Served::start().await;
    let txid = Txid::from_byte_array(hash(5));
    let request = proto::WatchTransactionRequest { txid: hash(5).to_vec().into() };
    let mut states = served.client.watch_transaction(request).await.unwrap().into_inner();
    assert_eq!(next(&mut states).await.unwrap().state(), State::Unknown);
    // A change that is none for this transaction says nothing.
    served.ledger.change(|state| state.height = 5);
    served.ledger.change(|state| state.statuses = BTreeMap::from([(txid, TransactionStatus::Mempool)]));
    assert_eq!(next(&mut states).await.unwrap().state(), State::Mempool);
    let block = BlockHash::from_byte_array(hash(6));
    let last = TransactionStatus::Final { height: 6, block };
    served.ledger.change(|state| state.statuses = BTreeMap::from([(txid, last)]));
    let last = next(&mut states).await.unwrap();
    assert_eq!((last.state(), last.height), (State::Final, 6));
    assert_eq!(next(&mut states).await, None);
    served.stop().await;
}

#[tokio::test]
async fn a_deposit_is_watched_until_it_is_claimed() {
    use proto::deposit_status::State;
    let mut served = Served::start().await;
    let request = proto::WatchDepositRequest { claim_script: Bytes::from_static(&[1, 2]), parent_txid: Bytes::new() };
    let mut states = served.client.watch_deposit(request).await.unwrap().into_inner();
    assert_eq!(next(&mut states).await.unwrap().state(), State::Waiting);
    assert_eq!(served.ledger.read(|state| state.watched.clone()), [Script::from(vec![1, 2])]);
    let stages = [
        (DepositState::Confirming, State::Confirming),
        (DepositState::Ready { transaction: vec![1], proof: vec![2] }, State::Ready),
        (DepositState::Claimed { claim_txid: Txid::from_byte_array(hash(8)) }, State::Claimed),
    ];
    for (state, told) in stages {
        served.ledger.change(|ledger| {
            let outpoint = bitcoin::OutPoint { txid: bitcoin::hashes::Hash::from_byte_array(hash(7)), vout: 1 };
            let deposit = Deposit { outpoint, amount_sat: 9, confirmations: 1, needed_confirmations: 8, state };
            ledger.deposits.deposits = vec![deposit];
        });
        let status = next(&mut states).await.unwrap();
        assert_eq!((status.state(), status.vout, status.amount_sat), (told, 1, 9));
        assert_eq!(status.transaction.is_empty(), told != State::Ready);
    }
    assert_eq!(next(&mut states).await, None);
    served.stop().await;
}

#[tokio::test]
async fn a_pegout_is_watched_until_it_is_paid() {
    use proto::pegout_status::State;
    let mut served = Served::start().await;
    let request = OutPoint::new(Txid::from_byte_array(hash(5)), 2);
    let watch = proto::WatchPegoutRequest { txid: hash(5).to_vec().into(), vout: 2 };
    let mut states = served.client.watch_pegout(watch).await.unwrap().into_inner();
    let unknown = next(&mut states).await.unwrap();
    assert_eq!((unknown.state(), unknown.vout), (State::Unknown, 2));
    let mut pegout = Pegout {
        request,
        state: PegoutState::Requested,
        reason: "waits for a batch".to_owned(),
        amount_sat: 1_000,
        fee_sat: 0,
        parent_script: bitcoin::ScriptBuf::new(),
        requested_height: 3,
        batch: None,
        confirmations: 0,
        expected_seconds: Some(7),
    };
    for (state, told) in [(PegoutState::Requested, State::Requested), (PegoutState::Confirmed, State::Confirmed)] {
        pegout.state = state;
        served.ledger.change(|ledger| drop(ledger.pegouts.insert(request, pegout.clone())));
        assert_eq!(next(&mut states).await.unwrap().state(), told);
    }
    assert_eq!(next(&mut states).await, None);
    let list = served.client.list_pegouts(proto::ListPegoutsRequest { limit: u32::MAX }).await.unwrap().into_inner();
    assert_eq!(list.pegouts.len(), 1);
    served.stop().await;
}
