//! For tests: a chain with real certificates, and a server of it that can be told to lie.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used)]

use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};

use aquifer_assets::block::{Certificate, CertificateKey, certificate_message, merkle_branch, merkle_root};
use aquifer_assets::chain::{ChainParams, Federation, NETWORK_VERSION, Network, Server};
use aquifer_assets::primitives;
use aquifer_assets::state::{Coin, DynafedEntries, MemoryView};
use aquifer_assets::transaction::{TxContext, TxError, verify_transaction};
use aquifer_proto::ledger::ledger_server::{Ledger as LedgerApi, LedgerServer};
use aquifer_proto::ledger::{self as proto, transaction_status};
use bitcoin::hashes::{Hash, sha256};
use elements::confidential::{AssetBlindingFactor, ValueBlindingFactor};
use elements::dynafed::Params;
use elements::encode::{deserialize, serialize};
use elements::{
    Address, AssetId, AssetIssuance, BlockExtData, BlockHash, BlockHeader, LockTime, OutPoint, Script, Sequence,
    Transaction, TxIn, TxInWitness, TxOut, TxOutSecrets, Txid,
};
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use secp256k1_zkp::{SECP256K1, SecretKey};
use tokio_stream::Stream;
use tonic::transport::{Identity, ServerTlsConfig, server::TcpIncoming};
use tonic::{Request, Response, Status};

use crate::backend::Ledger;
use crate::network::Chain;

pub(crate) const WORDS: &str =
    "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about";
pub(crate) const OTHER_WORDS: &str = "zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo wrong";
pub(crate) const THIRD_WORDS: &str = "legal winner thank year wave sausage worth useful legal winner thank yellow";

/// How a server lies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Lie {
    #[default]
    None,
    /// The certificate of another block.
    Certificate,
    /// A certificate that does not decode.
    BrokenCertificate,
    /// The header of another height.
    Height,
    /// Another transaction than asked for.
    ForeignTransaction,
    /// A branch with a changed hash.
    Branch,
    /// The branch of another position.
    Position,
    /// A branch that is absurdly long.
    LongBranch,
    /// Final transactions without a proof.
    NoProof,
    /// Histories one block too high.
    HistoryHeight,
    /// Histories with a wrong block hash.
    HistoryBlock,
    /// One history less than asked for.
    FewerHistories,
    /// Histories without their first entry.
    ForgetEntry,
    /// One transaction less than asked for.
    FewerTransactions,
    /// One header less than asked for.
    FewerHeaders,
    /// A tip that is one block lower.
    OldTip,
    /// Bytes that are no transaction.
    Garbage,
    /// Outputs without their range proofs.
    StripProofs,
    /// Another chain.
    OtherChain,
    /// A block without its last transaction.
    ShortBlock,
    /// No room for any transaction.
    Full,
}

struct TestBlock {
    header: BlockHeader,
    certificate: Vec<u8>,
    transactions: Vec<Transaction>,
}

/// The chain behind the servers.
pub(crate) struct World {
    params: ChainParams,
    key: threshold_crypto::SecretKey,
    blocks: Vec<TestBlock>,
    mempool: Vec<Transaction>,
    pub(crate) lie: Lie,
    pub(crate) deposits: Vec<proto::DepositStatus>,
    view: MemoryView,
    rng: ChaCha20Rng,
}

impl World {
    /// Each name has its own key, so that two worlds differ and each is the same every time.
    fn new(name: &str) -> Self {
        let seed = sha256::Hash::hash(name.as_bytes()).to_byte_array().map(|byte| byte & 0x3f);
        let key = threshold_crypto::SecretKey::from_bytes(seed).unwrap();
        let mut world = Self {
            params: params(),
            key,
            blocks: Vec::new(),
            mempool: Vec::new(),
            lie: Lie::None,
            deposits: Vec::new(),
            view: MemoryView::default(),
            rng: ChaCha20Rng::seed_from_u64(7),
        };
        for _ in 0..3 {
            world.mine();
        }
        world
    }

    pub(crate) fn height(&self) -> u32 {
        u32::try_from(self.blocks.len()).unwrap()
    }

    /// Makes the next block of a coinbase and the mempool, heights from 1.
    pub(crate) fn mine(&mut self) -> u32 {
        let height = self.height() + 1;
        let current = Federation::without_votes(&self.params, height).entry();
        self.view.set_dynafed(height, DynafedEntries { current, ..DynafedEntries::default() });
        let coinbase = coinbase(height);
        let mut transactions = vec![coinbase];
        transactions.append(&mut self.mempool);
        let txids: Vec<Txid> = transactions.iter().map(Transaction::txid).collect();
        let genesis = self.params.genesis_hash();
        let header = BlockHeader {
            version: 0x2000_0000,
            prev_blockhash: self.blocks.last().map_or(genesis, |block| block.header.block_hash()),
            merkle_root: merkle_root(&txids),
            time: 1_700_000_000 + height,
            height,
            ext: BlockExtData::Dynafed {
                current: Params::Null,
                proposed: Params::Null,
                signblock_witness: vec![vec![1]],
            },
        };
        let message = certificate_message(&genesis, height, &header.block_hash());
        let certificate = Certificate::new(self.key.sign(message)).to_bytes().to_vec();
        self.blocks.push(TestBlock { header, certificate, transactions });
        height
    }

    /// A final confidential payment out of nothing.
    pub(crate) fn fund(&mut self, address: &Address, asset: AssetId, amount: u64) -> (Txid, TxOut) {
        let zero = (AssetBlindingFactor::zero(), ValueBlindingFactor::zero());
        let spent = TxOutSecrets::new(asset, zero.0, amount, zero.1);
        let blinder = address.blinding_pubkey.unwrap();
        let script = address.script_pubkey();
        let (output, ..) =
            TxOut::new_last_confidential(&mut self.rng, SECP256K1, amount, asset, script, blinder, &[spent], &[])
                .unwrap();
        let tx = Transaction {
            version: 2,
            lock_time: LockTime::ZERO,
            input: vec![input(OutPoint::new(Txid::from_byte_array([8; 32]), self.height()))],
            output: vec![output.clone()],
        };
        let txid = tx.txid();
        let coin = TxOut { witness: Default::default(), ..output.clone() };
        let coin = Coin { output: primitives::TxOut::from(&coin), height: 1, is_coinbase: false };
        self.view.insert(OutPoint::new(txid, 0), coin);
        self.mempool.push(tx);
        (txid, output)
    }

    /// Judges a transaction by the rules of the chain and applies it.
    fn judge(&mut self, tx: &Transaction) -> Result<(), TxError> {
        let params = self.params.clone();
        let context = TxContext { params: &params, height: self.height() + 1, median_time_past: 1_700_000_000 };
        let effects = verify_transaction(&context, &primitives::Transaction::from(tx), &self.view)?;
        self.view.apply(&effects);
        Ok(())
    }

    fn place(&self, txid: &Txid) -> Option<(&TestBlock, u32)> {
        self.blocks.iter().find_map(|block| {
            let position = block.transactions.iter().position(|tx| tx.txid() == *txid)?;
            Some((block, u32::try_from(position).unwrap()))
        })
    }

    fn all(&self) -> impl Iterator<Item = (&Transaction, u32, Option<BlockHash>)> {
        let final_ones = self.blocks.iter().flat_map(|block| {
            block.transactions.iter().map(|tx| (tx, block.header.height, Some(block.header.block_hash())))
        });
        final_ones.chain(self.mempool.iter().map(|tx| (tx, 0, None)))
    }

    fn signed_header(&self, height: u32) -> proto::SignedHeader {
        let shown = if self.lie == Lie::Height { height - 1 } else { height };
        let block = &self.blocks[usize::try_from(shown).unwrap() - 1];
        let mut certificate = match self.lie {
            Lie::Certificate => self.blocks[usize::try_from(height % self.height()).unwrap()].certificate.clone(),
            _ => block.certificate.clone(),
        };
        if self.lie == Lie::BrokenCertificate {
            certificate[0] = 9;
        }
        proto::SignedHeader {
            height,
            header: serialize(&block.header).into(),
            certificate: certificate.into(),
            ..Default::default()
        }
    }

    fn proven(&self, txid: &Txid) -> Option<proto::ProvenTransaction> {
        if self.lie == Lie::ForeignTransaction {
            return Some(proto::ProvenTransaction {
                transaction: serialize(&self.blocks[0].transactions[0]).into(),
                proof: None,
            });
        }
        let (tx, ..) = self.all().find(|(tx, ..)| tx.txid() == *txid)?;
        let mut tx = tx.clone();
        if self.lie == Lie::StripProofs {
            tx.output.iter_mut().for_each(|output| output.witness = Default::default());
        }
        let mut transaction = serialize(&tx);
        if self.lie == Lie::Garbage {
            transaction.truncate(20);
        }
        let proof = self.place(txid).filter(|_| self.lie != Lie::NoProof).map(|(block, position)| {
            let txids: Vec<Txid> = block.transactions.iter().map(Transaction::txid).collect();
            let mut siblings = merkle_branch(&txids, position);
            match self.lie {
                Lie::Branch => siblings[0][0] ^= 1,
                Lie::LongBranch => siblings = vec![[0; 32]; 40],
                _ => {}
            }
            proto::MerkleProof {
                height: block.header.height,
                position: if self.lie == Lie::Position { position ^ 1 } else { position },
                siblings: siblings.into_iter().map(|hash| hash.to_vec().into()).collect(),
            }
        });
        Some(proto::ProvenTransaction { transaction: transaction.into(), proof })
    }

    fn history(&self, script: &Script) -> proto::ScriptHistory {
        let mut outputs = std::collections::BTreeSet::new();
        for (tx, ..) in self.all() {
            for (vout, output) in (0..).zip(&tx.output) {
                if output.script_pubkey == *script {
                    outputs.insert(OutPoint::new(tx.txid(), vout));
                }
            }
        }
        let touches = |tx: &Transaction| {
            tx.output.iter().any(|output| output.script_pubkey == *script)
                || tx.input.iter().any(|input| outputs.contains(&input.previous_output))
        };
        let mut entries: Vec<proto::HistoryEntry> = self
            .all()
            .filter(|(tx, ..)| touches(tx))
            .map(|(tx, height, block)| {
                let block = if self.lie == Lie::HistoryBlock {
                    self.params.genesis_hash()
                } else {
                    block.unwrap_or(self.params.genesis_hash())
                };
                proto::HistoryEntry {
                    txid: tx.txid().to_byte_array().to_vec().into(),
                    height: if self.lie == Lie::HistoryHeight { height + 1 } else { height },
                    block_hash: if height == 0 || self.lie == Lie::HistoryHeight {
                        Vec::new().into()
                    } else {
                        block.to_byte_array().to_vec().into()
                    },
                }
            })
            .collect();
        if self.lie == Lie::ForgetEntry && !entries.is_empty() {
            entries.remove(0);
        }
        proto::ScriptHistory { entries }
    }
}

fn params() -> ChainParams {
    let keys: Vec<_> = (1..=4).map(|n| SecretKey::from_slice(&[n; 32]).unwrap().public_key(SECP256K1)).collect();
    let mut script = elements::script::Builder::new().push_int(3);
    for key in &keys {
        script = script.push_slice(&key.serialize());
    }
    let script = script.push_int(4).push_opcode(elements::opcodes::all::OP_CHECKMULTISIG).into_script();
    ChainParams {
        signblock_script: script.clone(),
        fedpeg_script: script,
        max_block_signature_size: 1_000,
        ..ChainParams::elements_default("aquifer-test")
    }
}

pub(crate) fn input(previous_output: OutPoint) -> TxIn {
    TxIn {
        previous_output,
        is_pegin: false,
        script_sig: Script::new(),
        sequence: Sequence::MAX,
        asset_issuance: AssetIssuance::default(),
        witness: TxInWitness::default(),
    }
}

fn coinbase(height: u32) -> Transaction {
    let mut input = input(OutPoint::null());
    input.script_sig = elements::script::Builder::new().push_int(i64::from(height)).push_int(0).into_script();
    Transaction {
        version: 2,
        lock_time: LockTime::ZERO,
        input: vec![input],
        output: vec![TxOut {
            script_pubkey: Script::new_op_return(&[1]),
            ..TxOut::new_fee(0, AssetId::from_byte_array([1; 32]))
        }],
    }
}

/// A network of servers over one world.
pub(crate) struct TestNetwork {
    pub(crate) world: Arc<Mutex<World>>,
    pub(crate) chain: Chain,
    _runtime: tokio::runtime::Runtime,
}

impl TestNetwork {
    /// Starts servers with these names; one whose name begins with `down` is named in the file and does not run.
    pub(crate) fn start(names: &[&str]) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let world = Arc::new(Mutex::new(World::new(names[0])));
        let servers = names.iter().map(|name| serve(&runtime, name, &world)).collect();
        let key = {
            let world = world.lock().unwrap();
            CertificateKey::new(world.key.public_key()).unwrap()
        };
        let treasury_script = bitcoin::ScriptBuf::new();
        let file =
            Network { version: NETWORK_VERSION, params: params(), certificate_key: key, treasury_script, servers };
        Self { world, chain: Chain::new(file).unwrap(), _runtime: runtime }
    }

    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    pub(crate) fn ledger(&self, folder: &Path) -> Ledger {
        Ledger::new(&self.chain, &folder.join("chain.db"), None, Box::new(|_| {})).unwrap()
    }
}

fn serve(runtime: &tokio::runtime::Runtime, name: &str, world: &Arc<Mutex<World>>) -> Server {
    let made = rcgen::generate_simple_self_signed(vec![format!("{name}.aquifer")]).unwrap();
    let identity = Identity::from_pem(made.cert.pem(), made.signing_key.serialize_pem());
    let _guard = runtime.enter();
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = incoming.local_addr().unwrap();
    if !name.starts_with("down") {
        let api = LedgerServer::new(Api(world.clone()));
        let tls = ServerTlsConfig::new().identity(identity);
        crate::backend::settle_cryptography();
        let server = tonic::transport::Server::builder().tls_config(tls).unwrap().add_service(api);
        runtime.spawn(server.serve_with_incoming(incoming));
    }
    Server { name: name.to_owned(), api_address: address.to_string(), certificate: made.cert.der().to_vec() }
}

struct Api(Arc<Mutex<World>>);

type Stream_<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

fn stream<T: Send + 'static>(items: Vec<T>) -> Response<Stream_<T>> {
    Response::new(Box::pin(tokio_stream::iter(items.into_iter().map(Ok))))
}

fn txid(bytes: &[u8]) -> Txid {
    Txid::from_byte_array(bytes.try_into().unwrap())
}

#[tonic::async_trait]
impl LedgerApi for Api {
    type GetHeadersStream = Stream_<proto::SignedHeader>;
    type GetTransactionsStream = Stream_<proto::ProvenTransaction>;
    type FollowBlocksStream = Stream_<proto::SignedHeader>;
    type WatchTransactionStream = Stream_<proto::TransactionStatus>;
    type WatchDepositStream = Stream_<proto::DepositStatus>;
    type WatchPegoutStream = Stream_<proto::PegoutStatus>;
    type FollowFullBlocksStream = Stream_<proto::Block>;

    async fn get_info(&self, _: Request<proto::GetInfoRequest>) -> Result<Response<proto::Info>, Status> {
        let world = self.0.lock().unwrap();
        let genesis = match world.lie {
            Lie::OtherChain => [9; 32],
            _ => world.params.genesis_hash().to_byte_array(),
        };
        Ok(Response::new(proto::Info {
            genesis_hash: genesis.to_vec().into(),
            height: world.height() - u32::from(world.lie == Lie::OldTip),
            min_fee_rate_sat_per_kvb: 100,
            ..Default::default()
        }))
    }

    async fn submit_transaction(
        &self,
        request: Request<proto::SubmitTransactionRequest>,
    ) -> Result<Response<proto::SubmitTransactionReply>, Status> {
        let tx: Transaction = deserialize(&request.into_inner().transaction).unwrap();
        let txid = tx.txid();
        let mut world = self.0.lock().unwrap();
        if world.all().any(|(known, ..)| known.txid() == txid) {
            return Err(Status::already_exists("known"));
        }
        if world.lie == Lie::Full {
            return Err(Status::resource_exhausted("the mempool is full"));
        }
        world.judge(&tx).map_err(|error| Status::invalid_argument(error.to_string()))?;
        world.mempool.push(tx);
        Ok(Response::new(proto::SubmitTransactionReply { txid: txid.to_byte_array().to_vec().into() }))
    }

    async fn get_headers(
        &self,
        request: Request<proto::GetHeadersRequest>,
    ) -> Result<Response<Self::GetHeadersStream>, Status> {
        let world = self.0.lock().unwrap();
        let heights = request.into_inner().heights;
        if heights.iter().any(|height| *height > world.height()) {
            return Err(Status::not_found("no such block"));
        }
        let mut headers: Vec<_> = heights.into_iter().map(|height| world.signed_header(height)).collect();
        if world.lie == Lie::FewerHeaders {
            headers.pop();
        }
        Ok(stream(headers))
    }

    async fn get_block(&self, request: Request<proto::GetBlockRequest>) -> Result<Response<proto::Block>, Status> {
        let world = self.0.lock().unwrap();
        let height = request.into_inner().height;
        let block = world.blocks.get(usize::try_from(height).unwrap() - 1).ok_or_else(|| Status::not_found("none"))?;
        let mut txdata = block.transactions.clone();
        if world.lie == Lie::ShortBlock {
            txdata.push(coinbase(1));
        }
        let bytes = serialize(&elements::Block { header: block.header.clone(), txdata });
        let certificate = block.certificate.clone().into();
        Ok(Response::new(proto::Block { height, block: bytes.into(), certificate, ..Default::default() }))
    }

    async fn get_transactions(
        &self,
        request: Request<proto::GetTransactionsRequest>,
    ) -> Result<Response<Self::GetTransactionsStream>, Status> {
        let world = self.0.lock().unwrap();
        let asked = request.into_inner().txids;
        let found: Option<Vec<_>> = asked.iter().map(|id| world.proven(&txid(id))).collect();
        let mut found = found.ok_or_else(|| Status::not_found("unknown transaction"))?;
        if world.lie == Lie::FewerTransactions {
            found.pop();
        }
        Ok(stream(found))
    }

    async fn get_script_histories(
        &self,
        request: Request<proto::GetScriptHistoriesRequest>,
    ) -> Result<Response<proto::GetScriptHistoriesReply>, Status> {
        let world = self.0.lock().unwrap();
        let scripts = request.into_inner().scripts;
        let mut histories: Vec<_> =
            scripts.iter().map(|script| world.history(&Script::from(script.to_vec()))).collect();
        if world.lie == Lie::FewerHistories {
            histories.pop();
        }
        Ok(Response::new(proto::GetScriptHistoriesReply { histories }))
    }

    async fn follow_blocks(
        &self,
        _: Request<proto::FollowBlocksRequest>,
    ) -> Result<Response<Self::FollowBlocksStream>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn follow_full_blocks(
        &self,
        _: Request<proto::FollowBlocksRequest>,
    ) -> Result<Response<Self::FollowFullBlocksStream>, Status> {
        Err(Status::unimplemented("not here"))
    }

    /// Mines the mempool when it is asked, so that whatever one waits for becomes final.
    async fn watch_transaction(
        &self,
        request: Request<proto::WatchTransactionRequest>,
    ) -> Result<Response<Self::WatchTransactionStream>, Status> {
        use transaction_status::State;
        let mut world = self.0.lock().unwrap();
        let id = txid(&request.into_inner().txid);
        let known = world.all().any(|(tx, ..)| tx.txid() == id);
        let state = |state: State| proto::TransactionStatus { state: state.into(), ..Default::default() };
        if !known {
            return Ok(stream(vec![state(State::Unknown)]));
        }
        if world.place(&id).is_none() {
            world.mine();
        }
        Ok(stream(vec![state(State::Mempool), state(State::Final)]))
    }

    async fn watch_deposit(
        &self,
        _: Request<proto::WatchDepositRequest>,
    ) -> Result<Response<Self::WatchDepositStream>, Status> {
        Ok(stream(self.0.lock().unwrap().deposits.clone()))
    }

    async fn watch_pegout(
        &self,
        _: Request<proto::WatchPegoutRequest>,
    ) -> Result<Response<Self::WatchPegoutStream>, Status> {
        use proto::pegout_status::State;
        let state = |state: State| proto::PegoutStatus { state: state.into(), ..Default::default() };
        Ok(stream(vec![state(State::Requested), state(State::Batched), state(State::Confirmed)]))
    }

    async fn list_pegouts(
        &self,
        _: Request<proto::ListPegoutsRequest>,
    ) -> Result<Response<proto::ListPegoutsReply>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn get_asset(&self, request: Request<proto::GetAssetRequest>) -> Result<Response<proto::AssetInfo>, Status> {
        let asset = request.into_inner().asset;
        let world = self.0.lock().unwrap();
        let issues = |tx: &&Transaction| {
            let mut issued = tx.input.iter().filter(|input| input.has_issuance());
            issued.any(|input| input.issuance_ids().0.to_byte_array()[..] == asset[..])
        };
        let issue = world.all().map(|(tx, ..)| tx).find(issues).ok_or_else(|| Status::not_found("unknown asset"))?;
        let issuance_txid = issue.txid().to_byte_array().to_vec().into();
        Ok(Response::new(proto::AssetInfo { asset, issuance_txid, ..Default::default() }))
    }

    async fn get_supply(&self, _: Request<proto::GetSupplyRequest>) -> Result<Response<proto::Supply>, Status> {
        Ok(Response::new(proto::Supply::default()))
    }
}
