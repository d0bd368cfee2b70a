//! An Electrum server over the chain of a [`Life`], and a client that speaks lines.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use aquifer_functionary::api::Sources;
use aquifer_functionary::api::electrum::ElectrumServer;
use aquifer_functionary::index::{Follower, Step};
use aquifer_functionary::peers::TlsIdentity;
use aquifer_tests::forge::{Life, MempoolBackend};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

/// Time for an answer that comes at all.
const PATIENCE: Duration = Duration::from_secs(90);

/// The server with its chain.
pub(crate) struct Server {
    pub(crate) life: Life,
    address: SocketAddr,
    follower: Follower,
    stop: CancellationToken,
    _folder: TempDir,
    _runtime: Runtime,
}

impl Server {
    /// Serves a chain that is made from this seed.
    pub(crate) fn start(seed: u64) -> Self {
        let life = Life::new(seed).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let judge = &life.chain.judge;
        let (params, ledger, mempool) = (&judge.params, &judge.ledger, &judge.mempool);
        let path = folder.path().join("index.db");
        let follower = Follower::open(&path, Arc::clone(params), Arc::clone(ledger), Arc::clone(mempool)).unwrap();
        let sources = Sources {
            params: Arc::clone(params),
            roster: Arc::clone(&judge.roster),
            status: Arc::default(),
            ledger: Arc::clone(ledger),
            mempool: Arc::clone(mempool),
            backend: Arc::new(MempoolBackend(Arc::clone(mempool))),
            index: Some(Arc::clone(follower.reader())),
        };
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let identity = TlsIdentity::from_seed("anna", &[7; 32]).unwrap();
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let server = runtime.block_on(ElectrumServer::bind(Some(any), None, &identity)).unwrap();
        let address = server.addresses()[0];
        let stop = CancellationToken::new();
        runtime.spawn(server.serve(sources, stop.clone()));
        let mut server = Self { life, address, follower, stop, _folder: folder, _runtime: runtime };
        server.follow();
        server
    }

    /// Brings the index up to the chain and the mempool.
    pub(crate) fn follow(&mut self) {
        while self.follower.step().unwrap() != Step::UpToDate {}
    }

    pub(crate) fn connect(&self) -> Client {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Client { reader: BufReader::new(stream.try_clone().unwrap()), stream }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// A connection.
pub(crate) struct Client {
    reader: BufReader<TcpStream>,
    pub(crate) stream: TcpStream,
}

impl Client {
    pub(crate) fn send(&mut self, line: &str) {
        self.stream.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    /// The next line; `None` if the connection has ended.
    pub(crate) fn receive(&mut self) -> Option<Value> {
        let mut line = String::new();
        match self.reader.read_line(&mut line) {
            Ok(0) => None,
            Ok(_) => Some(serde_json::from_str(&line).unwrap()),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => None,
            Err(error) => panic!("neither an answer nor an end: {error}"),
        }
    }

    /// Asks, and gives the result or the error.
    pub(crate) fn ask(&mut self, method: &str, params: &Value) -> Value {
        self.send(&json!({ "id": 7, "method": method, "params": params }).to_string());
        let answer = self.receive().unwrap();
        assert_eq!(answer["id"], 7, "{answer}");
        match answer.get("result") {
            Some(result) => result.clone(),
            None => json!({ "error": answer["error"] }),
        }
    }
}
