//! A member that serves whatever blocks it is given, true or not, and listens to one auditor.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aquifer_assets::chain::{Network, Server};
use aquifer_assets::primitives::{Block, Transaction};
use aquifer_federation::federation::Federation;
use aquifer_functionary::api::grpc::Api;
use aquifer_functionary::api::{
    Asset, BackendError, ChainInfo, Deposits, HistoryEntry, KeyProof, LedgerBackend, MissingProof, Oversight, Pegout,
    ProvenTransaction, SignedBlock, SignedHeader, SubmitError, Supply, TransactionStatus, ValveState,
};
use aquifer_functionary::audit::{AuditDesk, AuditStore, FinalBlocks};
use aquifer_functionary::config::AuditConfig;
use aquifer_functionary::peers::TlsIdentity;
use aquifer_functionary::store::StoreError;
use bitcoin::secp256k1::XOnlyPublicKey;
use elements::encode::serialize;
use elements::{AssetId, BlockHash, OutPoint, Script, Txid};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::ForgeError;

const NAME: &str = "forger";

/// The blocks that are served, by height.
struct Shelf {
    genesis: BlockHash,
    pegged_asset: AssetId,
    blocks: Mutex<BTreeMap<u32, (BlockHash, SignedBlock)>>,
    changes: watch::Sender<u64>,
}

impl Shelf {
    fn blocks(&self) -> MutexGuard<'_, BTreeMap<u32, (BlockHash, SignedBlock)>> {
        self.blocks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tip(&self) -> (u32, BlockHash) {
        let last = self.blocks().last_key_value().map(|(height, (hash, _))| (*height, *hash));
        last.unwrap_or((0, self.genesis))
    }
}

impl FinalBlocks for Shelf {
    fn final_block(&self, height: u32) -> Result<Option<BlockHash>, StoreError> {
        Ok(self.blocks().get(&height).map(|(hash, _)| *hash))
    }
}

pub(super) fn not_here<T>() -> Result<T, BackendError> {
    Err(BackendError("this is no whole member".to_owned()))
}

impl LedgerBackend for Shelf {
    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn info(&self) -> Result<ChainInfo, BackendError> {
        let (height, tip) = self.tip();
        Ok(ChainInfo {
            chain: NAME.to_owned(),
            genesis: self.genesis,
            pegged_asset: self.pegged_asset,
            height,
            tip,
            certificate_key: Vec::new(),
            member: NAME.to_owned(),
            mempool_transactions: 0,
            parent_height: None,
            parent_problem: String::new(),
            alarms: Vec::new(),
            key_proof: KeyProof::Missing(MissingProof::Probe),
            peers: Vec::new(),
            min_fee_rate_sat_per_kvb: 0,
            round: 0,
            oversight: Oversight::default(),
            valve: ValveState::default(),
            index: None,
        })
    }

    fn height(&self) -> Result<u32, BackendError> {
        Ok(self.tip().0)
    }

    fn submit(&self, _: Transaction) -> Result<Txid, SubmitError> {
        Err(SubmitError::NotNow("not here".to_owned()))
    }

    fn header(&self, _: u32) -> Result<Option<SignedHeader>, BackendError> {
        not_here()
    }

    fn block(&self, height: u32) -> Result<Option<SignedBlock>, BackendError> {
        Ok(self.blocks().get(&height).map(|(_, block)| block.clone()))
    }

    fn transaction(&self, _: &Txid) -> Result<Option<ProvenTransaction>, BackendError> {
        not_here()
    }

    fn history(&self, _: &Script) -> Result<Vec<HistoryEntry>, BackendError> {
        not_here()
    }

    fn transaction_status(&self, _: &Txid) -> Result<TransactionStatus, BackendError> {
        not_here()
    }

    fn watch_deposits(&self, _: &Script, _: Option<bitcoin::Txid>) -> Result<(), BackendError> {
        not_here()
    }

    fn deposits(&self, _: &Script) -> Result<Deposits, BackendError> {
        not_here()
    }

    fn pegout(&self, _: &OutPoint) -> Result<Option<Pegout>, BackendError> {
        not_here()
    }

    fn pegouts(&self, _: u32) -> Result<Vec<Pegout>, BackendError> {
        not_here()
    }

    fn asset(&self, _: &AssetId) -> Result<Option<Asset>, BackendError> {
        not_here()
    }

    fn supply(&self) -> Result<Supply, BackendError> {
        not_here()
    }
}

/// The member, serving. It ends when this is dropped.
pub struct Served {
    /// What listens to the auditor, as in a real member.
    pub desk: Arc<AuditDesk>,
    /// What the auditor is given of the federation.
    pub network: Network,
    shelf: Arc<Shelf>,
    stop: CancellationToken,
    _runtime: tokio::runtime::Runtime,
}

impl Served {
    /// Serves nothing yet.
    ///
    /// # Errors
    /// If there is no port or no thread to be had.
    pub fn start(federation: &Federation, auditor: XOnlyPublicKey) -> Result<Self, Box<dyn std::error::Error>> {
        let (genesis, pegged_asset) = (federation.params.genesis_hash(), federation.params.pegged_asset());
        let blocks = Mutex::default();
        let shelf = Arc::new(Shelf { genesis, pegged_asset, blocks, changes: watch::Sender::new(0) });
        let config = AuditConfig { keys: vec![auditor], required: 1 };
        let store = AuditStore::open(std::path::Path::new(":memory:"))?;
        let blocks: Arc<dyn FinalBlocks> = Arc::<Shelf>::clone(&shelf);
        let desk = Arc::new(AuditDesk::new(&config, genesis, store, blocks, Box::new(|_| ()))?);

        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let api = runtime.block_on(Api::bind(([127, 0, 0, 1], 0).into()))?;
        let identity = TlsIdentity::from_seed(NAME, &[7; 32])?;
        let server = Server {
            name: NAME.to_owned(),
            api_address: api.address().to_string(),
            certificate: identity.certificate().to_vec(),
        };
        let network = Network { servers: vec![server], ..federation.network() };
        let stop = CancellationToken::new();
        let (backend, listening, shutdown) = (Arc::<Shelf>::clone(&shelf), Arc::clone(&desk), stop.clone());
        runtime.spawn(async move { api.serve(&identity, backend, listening, None, shutdown).await });
        Ok(Self { desk, network, shelf, stop, _runtime: runtime })
    }

    /// Serves a block from now on, instead of an earlier one of its height.
    pub fn put(&self, block: &Block, certificate: Vec<u8>, batch: Option<&bitcoin::Transaction>) {
        let height = block.header.height;
        let batch = batch.map(bitcoin::consensus::serialize).unwrap_or_default();
        let served = SignedBlock { height, block: serialize(block), certificate, batch };
        self.shelf.blocks().insert(height, (block.block_hash(), served));
        self.shelf.changes.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Writes the network file for an auditor.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write_network(&self, path: &std::path::Path) -> Result<(), ForgeError> {
        let text = serde_json::to_string(&self.network).map_err(std::io::Error::from)?;
        Ok(std::fs::write(path, text)?)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
