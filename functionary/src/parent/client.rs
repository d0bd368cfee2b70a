//! What is asked of bitcoind over JSON-RPC. It blocks; asynchronous code calls it on a thread for blocking work.
//!
//! Answers are read into structures that name only the fields that are needed, so versions and forks of Bitcoin Core
//! that add, drop or rename others are understood alike.

use std::path::PathBuf;
use std::time::Duration;

use bitcoin::consensus::encode::{deserialize_hex, serialize_hex};
use bitcoin::{Amount, Block, BlockHash, OutPoint, Script, Transaction, Txid};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::rpc::{RpcClient, RpcError};

/// A local bitcoind answers in milliseconds, unless it is busy with a block.
const CALL_LIMIT: Duration = Duration::from_secs(10);
/// Reading all unspent outputs of the main chain takes minutes, on slow disks many.
const SCAN_LIMIT: Duration = Duration::from_secs(60 * 60);

// Error codes of Bitcoin Core's RPC (`rpc/protocol.h`).
const RPC_INVALID_ADDRESS_OR_KEY: i32 = -5;
const RPC_INVALID_PARAMETER: i32 = -8;
const RPC_VERIFY_ALREADY_IN_UTXO_SET: i32 = -27;

/// The parent chain cannot be asked, or answers with an error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParentError {
    /// It cannot be asked, or answers with an error.
    #[error(transparent)]
    Rpc(#[from] RpcError),
    /// It starts, or does not have all blocks yet.
    #[error("bitcoind is not ready: {0}")]
    Syncing(String),
    /// It follows another chain than the one the federation stands on.
    #[error(
        "bitcoind follows another chain: its genesis block is {found}, the federation's parent chain has {expected}"
    )]
    WrongChain {
        /// Its genesis block.
        found: BlockHash,
        /// The federation's `parent_genesis`.
        expected: BlockHash,
    },
    /// It cannot look up transactions.
    #[error("bitcoind runs without a transaction index: start it with -txindex=1")]
    NoTransactionIndex,
    /// Its answer could not be understood.
    #[error("bitcoind answers {method} in a way that is not understood: {reason}")]
    Malformed {
        /// The method.
        method: &'static str,
        /// What is wrong.
        reason: String,
    },
}

impl ParentError {
    fn is(&self, wanted: i32) -> bool {
        matches!(self, Self::Rpc(RpcError::Refused { code, .. }) if *code == wanted)
    }

    /// Whether this is an answer about the thing that was asked, rather than a failure to answer.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Rpc(RpcError::Refused { .. }))
    }
}

/// The best block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParentTip {
    /// Its height in blocks.
    pub height: u32,
    /// Its hash.
    pub hash: BlockHash,
}

/// Where a transaction stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionStatus {
    /// Neither in the mempool nor in the best chain.
    Unknown,
    /// In the mempool.
    Mempool,
    /// In the best chain.
    Confirmed {
        /// The block.
        block: BlockHash,
        /// Blocks from that block to the best one, both counted.
        confirmations: u32,
    },
}

/// Where a block stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockStatus {
    /// bitcoind has never heard of it.
    Unknown,
    /// Known, but not in the best chain.
    Stale,
    /// In the best chain.
    Best {
        /// Its height.
        height: u32,
        /// Blocks from it to the best one, both counted.
        confirmations: u32,
    },
}

/// What became of a transaction handed to bitcoind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Broadcast {
    /// It is in the mempool, or in the chain already.
    Accepted,
    /// bitcoind does not take it.
    Rejected(String),
}

/// What came of a look at all unspent outputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scan {
    /// Every unspent output with one of the scripts in the chain that ends at `tip`, with the height of its block.
    Complete {
        /// The best block when the scan began.
        tip: ParentTip,
        /// The outputs, in no order.
        unspent: Vec<(OutPoint, u32)>,
    },
    /// Somebody has a scan running; bitcoind does one at a time.
    Busy,
    /// It was ended before it had seen everything.
    Aborted,
}

#[derive(Deserialize)]
struct ScanInfo {
    success: bool,
    height: u32,
    bestblock: BlockHash,
    unspents: Vec<UnspentInfo>,
}

#[derive(Deserialize)]
struct UnspentInfo {
    txid: Txid,
    vout: u32,
    height: u32,
}

#[derive(Deserialize)]
struct ChainInfo {
    blocks: u32,
    headers: u32,
    bestblockhash: BlockHash,
    initialblockdownload: bool,
}

#[derive(Deserialize)]
struct HeaderInfo {
    /// Negative for a block outside the best chain.
    confirmations: i64,
    height: u32,
}

#[derive(Deserialize)]
struct TransactionInfo {
    blockhash: Option<BlockHash>,
    confirmations: Option<u32>,
}

#[derive(Deserialize)]
struct OutputInfo {
    confirmations: u32,
}

#[derive(Deserialize)]
struct FeeEstimate {
    /// BTC per 1,000 virtual bytes; absent while there is too little data.
    feerate: Option<f64>,
}

/// A blocking client for one bitcoind.
#[derive(Debug)]
pub struct ParentClient {
    rpc: RpcClient,
    genesis: BlockHash,
}

impl ParentClient {
    /// A client for the bitcoind at `url` (`http://host:port`). Nothing is asked yet.
    pub fn new(url: String, cookie_file: PathBuf, genesis: BlockHash) -> Self {
        Self { rpc: RpcClient::new("bitcoind", url, cookie_file, CALL_LIMIT), genesis }
    }

    /// A second client of the same bitcoind, with a connection of its own and the patience that a scan needs.
    pub(super) fn for_scans(&self) -> Self {
        Self { rpc: self.rpc.with_limit(SCAN_LIMIT), genesis: self.genesis }
    }

    /// The best block of a node that is on the right chain, has all its blocks and can look up transactions.
    ///
    /// # Errors
    ///
    /// Every kind of [`ParentError`].
    pub fn tip(&self) -> Result<ParentTip, ParentError> {
        let genesis: BlockHash = self.call("getblockhash", &[json!(0)])?;
        if genesis != self.genesis {
            return Err(ParentError::WrongChain { found: genesis, expected: self.genesis });
        }
        let info: ChainInfo = self.call("getblockchaininfo", &[])?;
        if info.headers > info.blocks {
            return Err(ParentError::Syncing(format!("it has {} of {} blocks", info.blocks, info.headers)));
        }
        // A regtest node calls itself syncing whenever its last block is a day old, and nobody will ever send it another.
        let regtest = bitcoin::constants::genesis_block(bitcoin::Network::Regtest).block_hash();
        if info.initialblockdownload && self.genesis != regtest {
            return Err(ParentError::Syncing(format!("it still downloads the chain, block {}", info.blocks)));
        }
        let indexes: Value = self.call("getindexinfo", &[json!("txindex")])?;
        match indexes.get("txindex").and_then(|index| index.get("synced")).and_then(Value::as_bool) {
            // The index follows the chain by itself; bitcoind waits for it before it looks something up.
            Some(true) => Ok(ParentTip { height: info.blocks, hash: info.bestblockhash }),
            Some(false) => Err(ParentError::Syncing("it still builds its transaction index".to_owned())),
            None => Err(ParentError::NoTransactionIndex),
        }
    }

    /// The block of the best chain at a height, or `None` above its top.
    ///
    /// # Errors
    ///
    /// Every kind of [`ParentError`].
    pub fn block_hash(&self, height: u32) -> Result<Option<BlockHash>, ParentError> {
        match self.call("getblockhash", &[json!(height)]) {
            Ok(hash) => Ok(Some(hash)),
            Err(error) if error.is(RPC_INVALID_PARAMETER) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A block.
    ///
    /// # Errors
    ///
    /// Every kind of [`ParentError`]; the block is unknown or has been pruned.
    pub fn block(&self, hash: &BlockHash) -> Result<Block, ParentError> {
        self.decoded("getblock", &[json!(hash), json!(0)])
    }

    /// Where a block stands.
    ///
    /// # Errors
    ///
    /// Every kind of [`ParentError`].
    pub fn block_status(&self, hash: &BlockHash) -> Result<BlockStatus, ParentError> {
        match self.call::<HeaderInfo>("getblockheader", &[json!(hash), json!(true)]) {
            Ok(info) => Ok(match u32::try_from(info.confirmations) {
                Ok(confirmations) if confirmations > 0 => BlockStatus::Best { height: info.height, confirmations },
                _ => BlockStatus::Stale,
            }),
            Err(error) if error.is(RPC_INVALID_ADDRESS_OR_KEY) => Ok(BlockStatus::Unknown),
            Err(error) => Err(error),
        }
    }

    /// Whether a block holds a transaction.
    ///
    /// # Errors
    ///
    /// Every kind of [`ParentError`].
    pub fn block_contains(&self, block: &BlockHash, txid: &Txid) -> Result<bool, ParentError> {
        match self.call::<String>("getrawtransaction", &[json!(txid), json!(false), json!(block)]) {
            Ok(_) => Ok(true),
            Err(error) if error.is(RPC_INVALID_ADDRESS_OR_KEY) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// A transaction of the best chain or of the mempool, with its witnesses.
    ///
    /// # Errors
    ///
    /// Every kind of [`ParentError`].
    pub fn transaction(&self, txid: &Txid) -> Result<Transaction, ParentError> {
        self.decoded("getrawtransaction", &[json!(txid), json!(false)])
    }

    /// Where a transaction stands.
    ///
    /// # Errors
    ///
    /// Every kind of [`ParentError`].
    pub fn transaction_status(&self, txid: &Txid) -> Result<TransactionStatus, ParentError> {
        match self.call::<TransactionInfo>("getrawtransaction", &[json!(txid), json!(true)]) {
            Ok(TransactionInfo { blockhash: Some(block), confirmations: Some(confirmations) }) if confirmations > 0 => {
                Ok(TransactionStatus::Confirmed { block, confirmations })
            }
            // A block hash without confirmations: the index still knows it from a block that is no longer in the chain.
            Ok(TransactionInfo { blockhash: Some(_), .. }) => Ok(TransactionStatus::Unknown),
            Ok(TransactionInfo { blockhash: None, .. }) => Ok(TransactionStatus::Mempool),
            Err(error) if error.is(RPC_INVALID_ADDRESS_OR_KEY) => Ok(TransactionStatus::Unknown),
            Err(error) => Err(error),
        }
    }

    /// Confirmations of an output that is unspent in the best chain, whatever waits in the mempool, else `None`.
    ///
    /// # Errors
    ///
    /// Every kind of [`ParentError`].
    pub fn unspent_confirmations(&self, outpoint: &OutPoint) -> Result<Option<u32>, ParentError> {
        let args = [json!(outpoint.txid), json!(outpoint.vout), json!(false)];
        let output: Option<OutputInfo> = self.rpc.call_nullable("gettxout", &args)?;
        Ok(output.map(|output| output.confirmations))
    }

    /// Looks through all unspent outputs of the best chain for these scripts. Takes minutes on the main chain.
    ///
    /// # Errors
    ///
    /// Every kind of [`ParentError`].
    pub fn scan_unspent<'a>(&self, scripts: impl IntoIterator<Item = &'a Script>) -> Result<Scan, ParentError> {
        let wanted: Vec<String> =
            scripts.into_iter().map(|script| format!("raw({})", script.to_hex_string())).collect();
        match self.call::<ScanInfo>("scantxoutset", &[json!("start"), json!(wanted)]) {
            Ok(ScanInfo { success: false, .. }) => Ok(Scan::Aborted),
            Ok(info) => {
                let unspent = info.unspents.iter().map(|at| (OutPoint::new(at.txid, at.vout), at.height)).collect();
                Ok(Scan::Complete { tip: ParentTip { height: info.height, hash: info.bestblock }, unspent })
            }
            // The code is that of a wrong parameter; only the text tells them apart.
            Err(ParentError::Rpc(RpcError::Refused { code: RPC_INVALID_PARAMETER, message, .. }))
                if message.contains("already in progress") =>
            {
                Ok(Scan::Busy)
            }
            Err(error) => Err(error),
        }
    }

    /// Ends the scan that is running, whoever began it. Tells whether there was one.
    ///
    /// # Errors
    ///
    /// Every kind of [`ParentError`].
    pub fn abort_scan(&self) -> Result<bool, ParentError> {
        self.call("scantxoutset", &[json!("abort")])
    }

    /// bitcoind's fee estimate for confirmation within `blocks`, in satoshi per 1,000 virtual bytes; `None` while it has
    /// too little data.
    ///
    /// # Errors
    ///
    /// Every kind of [`ParentError`].
    pub fn estimate_fee_rate(&self, blocks: u16) -> Result<Option<u64>, ParentError> {
        let estimate: FeeEstimate = self.call("estimatesmartfee", &[json!(blocks)])?;
        let Some(rate) = estimate.feerate else { return Ok(None) };
        Amount::from_btc(rate)
            .map(|amount| Some(amount.to_sat()))
            .map_err(|error| ParentError::Malformed { method: "estimatesmartfee", reason: format!("{rate}: {error}") })
    }

    /// Hands over a signed transaction.
    ///
    /// # Errors
    ///
    /// bitcoind could not be asked; that it does not take the transaction is no error of the call.
    pub fn broadcast(&self, transaction: &Transaction) -> Result<Broadcast, ParentError> {
        // bitcoind's own cap on fees (0.1 BTC per kvB) stays in force: a batch above it is a mistake of ours.
        match self.call::<Txid>("sendrawtransaction", &[json!(serialize_hex(transaction))]) {
            Ok(_) => Ok(Broadcast::Accepted),
            Err(error) if error.is(RPC_VERIFY_ALREADY_IN_UTXO_SET) => Ok(Broadcast::Accepted),
            Err(ParentError::Rpc(RpcError::Refused { message, .. })) => Ok(Broadcast::Rejected(message)),
            Err(error) => Err(error),
        }
    }

    fn decoded<T: bitcoin::consensus::Decodable>(
        &self,
        method: &'static str,
        args: &[Value],
    ) -> Result<T, ParentError> {
        let text: String = self.call(method, args)?;
        deserialize_hex(&text).map_err(|error| ParentError::Malformed { method, reason: error.to_string() })
    }

    fn call<T: DeserializeOwned>(&self, method: &'static str, args: &[Value]) -> Result<T, ParentError> {
        Ok(self.rpc.call(method, args)?)
    }
}
