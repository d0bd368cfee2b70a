//! A node without federation that serves the chain of a [`Life`], with an asset that has a name.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aquifer_assets::primitives::Transaction;
use aquifer_functionary::api::{Interfaces, Sources};
use aquifer_functionary::config::{DataDir, InterfacesConfig};
use aquifer_functionary::index::{IndexReader, Indexing};
use aquifer_functionary::peers::TlsIdentity;
use aquifer_tests::forge::{FEE_SAT, Issue, Life, MempoolBackend, Pay, Shape};
use aquifer_tests::wait::{self, Answer};
use elements::hashes::sha256;
use elements::{AssetId, Txid};
use reqwest::blocking::{Client, Response};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// The seed of the chain; golden files are of this one.
const SEED: u64 = 12;
const LIMIT: Duration = Duration::from_secs(60);
/// What the issuer of the asset has said of it.
pub(crate) const CONTRACT: &str = r#"{"entity":{"domain":"silver.example"},"issuer_pubkey":"02c6047f9441ed7d6d3045406e95c07cd85c778e4b8cef3ca7abac09b95c709ee5","name":"Silver","precision":3,"ticker":"SLV","version":0}"#;

/// The node, serving. It stops when this is dropped.
pub(crate) struct Node {
    pub(crate) life: Life,
    /// The asset with a name.
    pub(crate) silver: AssetId,
    pub(crate) address: SocketAddr,
    _folder: TempDir,
    index: Arc<IndexReader>,
    client: Client,
    stop: CancellationToken,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Node {
    /// Serves the chain of `SEED`.
    pub(crate) fn start() -> Self {
        let mut life = Life::new(SEED).unwrap();
        let silver = issue_silver(&mut life);
        let folder = tempfile::tempdir().unwrap();
        let registry = folder.path().join("registry");
        list(&registry, &silver);

        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let stop = CancellationToken::new();
        let judge = &life.chain.judge;
        let (params, ledger) = (Arc::clone(&judge.params), Arc::clone(&judge.ledger));
        let (mempool, roster) = (Arc::clone(&judge.mempool), Arc::clone(&judge.roster));
        let (index, indexing) = Indexing::start(
            folder.path().join("index.db"),
            Arc::clone(&params),
            Arc::clone(&ledger),
            Arc::clone(&mempool),
            runtime.handle().clone(),
            stop.clone(),
        )
        .unwrap();
        runtime.spawn_blocking(move || indexing.wait());
        let backend = Arc::new(MempoolBackend(Arc::clone(&mempool)));
        let (status, index_reader) = (Arc::default(), Some(Arc::clone(&index)));
        let sources = Sources { params, roster, status, ledger, mempool, backend, index: index_reader };
        let config = InterfacesConfig {
            http: Some(([127, 0, 0, 1], 0).into()),
            registry: Some(registry),
            http_rate: Some(100_000.try_into().unwrap()),
            ..InterfacesConfig::default()
        };
        let data = DataDir::new(folder.path());
        let identity = TlsIdentity::from_seed("node", &[7; 32]).unwrap();
        let interfaces = runtime.block_on(Interfaces::bind(&config, &identity, &data)).unwrap();
        let address = interfaces.http_address().unwrap();
        let serving = {
            let _inside = runtime.enter();
            interfaces.serve(&sources, &stop)
        };
        runtime.spawn(serving.join_all());
        let client = Client::builder().timeout(LIMIT).build().unwrap();
        let node = Self { life, silver, address, _folder: folder, index, client, stop, runtime: Some(runtime) };
        node.wait_indexed();
        node
    }

    /// Adds a block.
    pub(crate) fn extend(&mut self, transactions: Vec<Transaction>) {
        self.life.chain.extend(transactions).unwrap();
        self.wait_indexed();
    }

    fn wait_indexed(&self) {
        let tip = self.life.chain.next_height().unwrap() - 1;
        self.wait_until(&format!("the index is at block {tip}"), |node| {
            let progress = node.index.progress();
            progress.is_ready && progress.height == tip
        });
    }

    pub(crate) fn wait_until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        wait::until(what, LIMIT, || Ok(if is_so(self) { Answer::Ready(()) } else { Answer::NotYet("not yet".into()) }))
            .unwrap();
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn ask(&self, path: &str) -> Response {
        self.client.get(self.url(path)).send().unwrap()
    }

    /// What a path answers with, which must be fine.
    pub(crate) fn get(&self, path: &str) -> String {
        let answer = self.ask(path);
        let status = answer.status();
        let body = answer.text().unwrap();
        assert!(status.is_success(), "{path}: {status}: {body}");
        body
    }

    pub(crate) fn post(&self, path: &str, body: impl Into<reqwest::blocking::Body>) -> Response {
        self.client.post(self.url(path)).body(body).send().unwrap()
    }

    /// Ids of the transactions of a block.
    pub(crate) fn txids(&self, height: u32) -> Vec<Txid> {
        self.life.chain.judge.ledger.snapshot().unwrap().txids(height).unwrap()
    }

    /// Hash of a block.
    pub(crate) fn hash(&self, height: u32) -> String {
        self.life.chain.judge.ledger.snapshot().unwrap().tip_at(height).unwrap().unwrap().hash.to_string()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(LIMIT);
        }
    }
}

/// Issues an asset whose contract is [`CONTRACT`], with Alice's money; the rest of it stays hers.
fn issue_silver(life: &mut Life) -> AssetId {
    let contract = sha256::Hash::hash(CONTRACT.as_bytes()).to_byte_array();
    let issue = Issue::new(contract, 1_234_500, 0, Shape::Explicit);
    let (silver, _) = issue.assets(&life.money).unwrap();
    let rest = life.money.secrets.value - FEE_SAT;
    let pays = [
        Pay::explicit(silver, 1_234_500, life.bob.script()),
        Pay::confidential(life.chain.pegged(), rest, life.alice.script()),
    ];
    let issuing = life.chain.issue(std::slice::from_ref(&life.money), &issue, &pays).unwrap();
    life.chain.extend(vec![issuing.transaction.clone()]).unwrap();
    life.money = issuing.coin(1, life.alice).unwrap();
    silver
}

/// Puts the asset into a registry, and one beside it whose contract nobody has committed to.
fn list(registry: &Path, silver: &AssetId) {
    let name = silver.to_string();
    let part = registry.join(&name[..2]);
    std::fs::create_dir_all(&part).unwrap();
    std::fs::write(part.join(format!("{name}.json")), format!(r#"{{"contract":{CONTRACT},"ticker":"XXX"}}"#)).unwrap();
    std::fs::write(part.join(format!("{name}.png")), b"\x89PNG\r\n\x1a\nand the rest").unwrap();
    let other = AssetId::from_byte_array([9; 32]);
    std::fs::write(registry.join(format!("{other}.json")), format!(r#"{{"contract":{CONTRACT}}}"#)).unwrap();
}
