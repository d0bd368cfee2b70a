//! The questions a wallet asks, answered by servers and verified here.
//!
//! Blocking: the wallet is a command line program; the runtime for gRPC is owned and hidden.

use std::collections::HashMap;
use std::future::Future;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aquifer_assets::block::merkle_root;
use aquifer_proto::ledger as proto;
use elements::encode::{deserialize, serialize};
use elements::{AssetId, Block, BlockHash, Transaction, Txid};
use tonic::{Code, Status};

use super::BackendError;
use super::cache::ChainCache;
use super::connection::{Answer, Client, Connection, REQUEST_TIMEOUT};
use super::verify::{Trust, VerifiedHeader};
use crate::network::Chain;

/// Where a final transaction stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Height of its block.
    pub height: u32,
    /// Hash of its block.
    pub block: BlockHash,
    /// Time of its block in seconds since 1970.
    pub time: u32,
}

/// A transaction and, when it is final, its proven place.
#[derive(Clone, Debug)]
pub struct Found {
    /// The transaction.
    pub transaction: Transaction,
    /// `None` while it waits in the mempool of the server that was asked.
    pub place: Option<Place>,
}

/// A verified view of the chain over the federation's servers.
pub struct Ledger {
    pub(super) runtime: tokio::runtime::Runtime,
    connection: Mutex<Connection>,
    pub(super) trust: Trust,
    pub(super) cache: ChainCache,
    /// Transactions seen in a mempool during this run. Not proven by anything.
    pub(super) pending: Mutex<HashMap<Txid, Transaction>>,
}

impl Ledger {
    /// Prepares to ask the servers of `chain`, or only the one named. `notice` is told when a server is skipped.
    /// Nothing is sent yet.
    pub fn new(
        chain: &Chain,
        cache_path: &Path,
        only_server: Option<&str>,
        notice: Box<dyn Fn(&str) + Send>,
    ) -> Result<Self, BackendError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(BackendError::Runtime)?;
        Ok(Self {
            runtime,
            connection: Mutex::new(Connection::new(&chain.file().servers, only_server, notice)?),
            trust: Trust::new(chain),
            cache: ChainCache::open(cache_path, &chain.genesis())?,
            pending: Mutex::new(HashMap::new()),
        })
    }

    pub(super) fn connection(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks one question, of the next servers too while they are down.
    pub(super) fn ask<T, F, Fut>(&self, question: F) -> Result<Answer<T>, BackendError>
    where
        F: Fn(Client) -> Fut,
        Fut: Future<Output = Result<T, Status>>,
    {
        let mut connection = self.connection();
        self.runtime.block_on(connection.ask(REQUEST_TIMEOUT, question))
    }

    /// What the server says of itself and its chain. Checked: that it is our chain. The rest is its word.
    pub fn info(&self) -> Result<(String, proto::Info), BackendError> {
        let answer = self.ask(|mut client| async move {
            client.get_info(proto::GetInfoRequest {}).await.map(tonic::Response::into_inner)
        })?;
        let expected = self.trust.genesis();
        if answer.value.genesis_hash != expected.as_byte_array()[..] {
            let got = <[u8; 32]>::try_from(&answer.value.genesis_hash[..])
                .map(BlockHash::from_byte_array)
                .map_or_else(|_| hex::encode(&answer.value.genesis_hash), |hash| hash.to_string());
            return Err(BackendError::OtherChain { server: answer.server, expected, got });
        }
        Ok((answer.server, answer.value))
    }

    /// The newest certified header of the current server. A server that is behind what was verified before is passed
    /// over; if all are, also after a moment, that is the error.
    pub fn tip(&self) -> Result<VerifiedHeader, BackendError> {
        let servers = self.connection().len();
        let mut attempt = 0;
        loop {
            let (server, info) = self.info()?;
            let had = self.cache.highest()?.unwrap_or(0);
            if info.height >= had {
                return self.header(info.height);
            }
            let behind = BackendError::TipWentBack { server, had, now: info.height };
            attempt += 1;
            if attempt == 2 * servers {
                return Err(behind);
            }
            if attempt == servers {
                self.pause();
            }
            self.connection().advance(&format!("is at height {}, behind {had}", info.height));
        }
    }

    /// A final block, checked against its certified header: certificate, and all transactions against the Merkle root.
    pub fn block(&self, height: u32) -> Result<Block, BackendError> {
        let answer = self.ask(|mut client| async move {
            client.get_block(proto::GetBlockRequest { height }).await.map(tonic::Response::into_inner)
        })?;
        let server = answer.server;
        let block: Block = deserialize(&answer.value.block).map_err(|error| BackendError::Malformed {
            server: server.clone(),
            what: "a block",
            reason: error.to_string(),
        })?;
        let signed = proto::SignedHeader {
            height: answer.value.height,
            header: serialize(&block.header).into(),
            certificate: answer.value.certificate,
            ..Default::default()
        };
        let verified = self.trust.header(&server, height, &signed)?;
        let txids: Vec<Txid> = block.txdata.iter().map(Transaction::txid).collect();
        if merkle_root(&txids) != verified.header.merkle_root {
            return Err(BackendError::WrongBlockBody { server, height });
        }
        self.keep_header(&server, &verified)?;
        Ok(block)
    }

    /// Hands a transaction in. A server that has it already counts as success.
    pub fn submit(&self, transaction: &Transaction) -> Result<Txid, BackendError> {
        let txid = transaction.txid();
        let bytes = serialize(transaction);
        let outcome = self.ask(|mut client| {
            let request = proto::SubmitTransactionRequest { transaction: bytes.clone().into() };
            async move { client.submit_transaction(request).await.map(tonic::Response::into_inner) }
        });
        match outcome {
            Err(BackendError::Refused { code: Code::AlreadyExists, .. }) => Ok(txid),
            Err(error) => Err(error),
            Ok(answer) => {
                let got = super::verify::txid(&answer.server, &answer.value.txid)?;
                if got != txid {
                    return Err(BackendError::ForeignTransaction { server: answer.server, asked: txid, got });
                }
                Ok(txid)
            }
        }
    }

    /// What the server knows of an asset. Its word, not proven.
    pub fn asset(&self, asset: &AssetId) -> Result<proto::AssetInfo, BackendError> {
        let id = asset.to_byte_array().to_vec();
        self.ask(|mut client| {
            let request = proto::GetAssetRequest { asset: id.clone().into() };
            async move { client.get_asset(request).await.map(tonic::Response::into_inner) }
        })
        .map(|answer| answer.value)
    }

    /// Supply of every asset and the reserve. The server's word, not proven.
    pub fn supply(&self) -> Result<proto::Supply, BackendError> {
        self.ask(|mut client| async move {
            client.get_supply(proto::GetSupplyRequest {}).await.map(tonic::Response::into_inner)
        })
        .map(|answer| answer.value)
    }

    /// The newest peg-outs, at most `limit`. The server's word, not proven.
    pub fn pegouts(&self, limit: u32) -> Result<Vec<proto::PegoutStatus>, BackendError> {
        self.ask(|mut client| async move {
            client.list_pegouts(proto::ListPegoutsRequest { limit }).await.map(tonic::Response::into_inner)
        })
        .map(|answer| answer.value.pegouts)
    }

    /// Waits a moment between two tries while all servers are down.
    pub(crate) fn pause(&self) {
        self.runtime.block_on(async { tokio::time::sleep(Duration::from_millis(500)).await });
    }
}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ledger").field("trust", &self.trust).finish_non_exhaustive()
    }
}
