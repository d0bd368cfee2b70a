//! The network of a chain that is made by hand, served in this process.

use std::net::SocketAddr;
use std::sync::Arc;

use aquifer_functionary::api::SubmitError;
use aquifer_functionary::mempool::Mempool;
use aquifer_functionary::p2p::{self, Limits, Parts};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use crate::error::HarnessError;
use crate::forge::Chain;

/// It ends when this is dropped.
pub struct Network {
    /// Where it is served.
    pub address: SocketAddr,
    stop: CancellationToken,
    _runtime: Runtime,
}

impl Network {
    /// Serves a chain and what waits in a pool, and keeps connected to these peers.
    ///
    /// # Errors
    /// If there is no port or no thread to be had.
    pub fn serve(
        chain: &Chain,
        mempool: Arc<Mempool>,
        limits: Limits,
        connect: Vec<SocketAddr>,
    ) -> Result<Self, HarnessError> {
        let failed = HarnessError::program("serve", "the network of Elements nodes");
        let serving = || -> std::io::Result<Self> {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
            let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
            let address = listener.local_addr()?;
            let parts = Parts {
                params: Arc::clone(&chain.judge.params),
                ledger: Arc::clone(&chain.judge.ledger),
                mempool: Arc::clone(&mempool),
                submit: Arc::new(move |transaction| match mempool.submit(transaction) {
                    Ok(admission) => Ok(admission.txid()),
                    Err(error) if error.is_temporary() => Err(SubmitError::NotNow(error.to_string())),
                    Err(error) => Err(SubmitError::Invalid(error.to_string())),
                }),
            };
            let stop = CancellationToken::new();
            runtime.spawn(p2p::serve(parts, limits, Some(listener), connect, stop.clone()));
            Ok(Self { address, stop, _runtime: runtime })
        };
        serving().map_err(failed)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
