//! A real bitcoind in regtest mode, in a temporary folder, on a free port of the loopback interface.
//!
//! It listens for nothing but RPC, finds no peers, indexes all transactions, applies the relay policy of the main
//! network, and is killed and waited for when the value is dropped. A wallet is loaded from the start; it mines and pays.

pub mod obtain;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bitcoin::address::NetworkUnchecked;
use bitcoin::{Address, Amount, BlockHash, Network, Transaction, Txid};
use jsonrpc::http::bitreq_http;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::error::HarnessError;
use crate::ports::ReservedPort;
use crate::process::Process;
use crate::wait::{self, Answer};
use obtain::Program;

/// Name of the wallet that mines and pays.
const WALLET: &str = "miner";
/// Blocks until a block reward can be spent.
const COINBASE_MATURITY_BLOCKS: u32 = 100;
const START_LIMIT: Duration = Duration::from_secs(60);
const STOP_LIMIT: Duration = Duration::from_secs(30);
const CALL_LIMIT: Duration = Duration::from_secs(60);
const INDEX_LIMIT: Duration = Duration::from_secs(30);
/// How often the port may be taken by somebody else between being found free and being used.
const START_ATTEMPTS: u32 = 3;

/// A running (or stopped) bitcoind.
#[derive(Debug)]
pub struct Bitcoind {
    program: Program,
    folder: TempDir,
    rpc_port: u16,
    process: Option<Process>,
}

impl Bitcoind {
    /// Finds or obtains bitcoind, starts it and waits until it answers.
    ///
    /// # Errors
    ///
    /// bitcoind is not there and cannot be obtained, or does not start: with the end of its log.
    pub fn start() -> Result<Self, HarnessError> {
        let program = obtain::program()?;
        let mut last = None;
        for _ in 0..START_ATTEMPTS {
            let folder = tempfile::Builder::new().prefix("aquifer-bitcoind-").tempdir().map_err(|source| {
                HarnessError::File { action: "make the folder", path: std::env::temp_dir(), source }
            })?;
            let mut bitcoind =
                Self { program: program.clone(), folder, rpc_port: ReservedPort::new()?.release(), process: None };
            match bitcoind.restart() {
                Ok(()) => {
                    bitcoind.create_wallet(WALLET)?;
                    return Ok(bitcoind);
                }
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| HarnessError::Bitcoind("was never started".to_owned())))
    }

    /// Starts it again after [`Bitcoind::stop`], with the same chain, wallets and port.
    ///
    /// # Errors
    ///
    /// It does not answer within a minute: with the end of its log.
    pub fn restart(&mut self) -> Result<(), HarnessError> {
        self.stop()?;
        let mut command = self.program.command();
        command
            .arg(format!("-datadir={}", self.folder.path().display()))
            .args(["-regtest", "-server", "-txindex=1", "-fallbackfee=0.0001", "-acceptnonstdtxn=0", "-par=1"])
            .args(["-listen=0", "-dnsseed=0", "-fixedseeds=0", "-connect=0", "-rpcworkqueue=256"])
            .args(["-rpcbind=127.0.0.1", "-rpcallowip=127.0.0.1"])
            .arg(format!("-rpcport={}", self.rpc_port));
        let mut process = Process::spawn("bitcoind", command, &self.log_path())?;
        wait::until("bitcoind answers", START_LIMIT, || {
            process.check_running()?;
            let answer = self.client().and_then(|client| client.call::<Value>("getblockchaininfo", &[]));
            Ok(answer.map_or_else(|error| Answer::NotYet(error.to_string()), |_| Answer::Ready(())))
        })?;
        self.process = Some(process);
        Ok(())
    }

    /// Shuts it down in order, so that everything is on disk; kills it if that takes too long. Does nothing if it is down.
    ///
    /// # Errors
    ///
    /// The process could not be waited for.
    pub fn stop(&mut self) -> Result<(), HarnessError> {
        self.process.take().map_or(Ok(()), |mut process| process.terminate(STOP_LIMIT).map(drop))
    }

    /// A client of the node. The login is read from the cookie file at every call of this method.
    ///
    /// # Errors
    ///
    /// There is no cookie file: the node is not up.
    pub fn client(&self) -> Result<Rpc, HarnessError> {
        Rpc::new(&self.rpc_url(), &self.cookie_path())
    }

    /// A client that speaks to one wallet of the node.
    ///
    /// # Errors
    ///
    /// As [`Bitcoind::client`].
    pub fn wallet(&self, name: &str) -> Result<Rpc, HarnessError> {
        Rpc::new(&format!("{}/wallet/{name}", self.rpc_url()), &self.cookie_path())
    }

    /// `http://127.0.0.1:port`, without login.
    pub fn rpc_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.rpc_port)
    }

    /// The port on 127.0.0.1 that answers RPC.
    pub fn rpc_port(&self) -> u16 {
        self.rpc_port
    }

    /// The file that holds the login while the node is up.
    pub fn cookie_path(&self) -> PathBuf {
        self.folder.path().join("regtest/.cookie")
    }

    /// Where it keeps its mempool while it is down. A node that loses the file comes back with an empty mempool.
    pub fn mempool_path(&self) -> PathBuf {
        self.folder.path().join("regtest/mempool.dat")
    }

    /// What bitcoind printed.
    pub fn log_path(&self) -> PathBuf {
        self.folder.path().join("bitcoind.log")
    }

    /// Makes a wallet that is loaded again after a restart, and gives a client for it.
    ///
    /// # Errors
    ///
    /// As [`Rpc::call`]; the name is taken.
    pub fn create_wallet(&self, name: &str) -> Result<Rpc, HarnessError> {
        let args = [json!(name), json!(false), json!(false), json!(""), json!(false), json!(true), json!(true)];
        self.client()?.call::<Value>("createwallet", &args)?;
        self.wallet(name)
    }

    /// A fresh address of the wallet that mines and pays.
    ///
    /// # Errors
    ///
    /// As [`Rpc::call`].
    pub fn new_address(&self) -> Result<Address, HarnessError> {
        let address: Address<NetworkUnchecked> = self.wallet(WALLET)?.call("getnewaddress", &[])?;
        address.require_network(Network::Regtest).map_err(|error| HarnessError::Bitcoind(error.to_string()))
    }

    /// Mines blocks to the wallet that mines and pays. Its first reward can be spent after 101 blocks.
    ///
    /// # Errors
    ///
    /// As [`Rpc::call`].
    pub fn mine(&self, blocks: u32) -> Result<Vec<BlockHash>, HarnessError> {
        self.mine_to(blocks, &self.new_address()?)
    }

    /// Mines blocks whose rewards go to an address.
    ///
    /// # Errors
    ///
    /// As [`Rpc::call`].
    pub fn mine_to(&self, blocks: u32, address: &Address) -> Result<Vec<BlockHash>, HarnessError> {
        self.client()?.call("generatetoaddress", &[json!(blocks), json!(address.to_string())])
    }

    /// Mines until the wallet that mines and pays has `rewards` block rewards to spend.
    ///
    /// # Errors
    ///
    /// As [`Rpc::call`].
    pub fn mine_rewards(&self, rewards: u32) -> Result<(), HarnessError> {
        self.mine(COINBASE_MATURITY_BLOCKS.saturating_add(rewards)).map(drop)
    }

    /// Pays from the wallet that mines and pays. The transaction waits for a block.
    ///
    /// # Errors
    ///
    /// As [`Rpc::call`]; the wallet has too little.
    pub fn send_to(&self, address: &Address, amount_sat: u64) -> Result<Txid, HarnessError> {
        let amount = Amount::from_sat(amount_sat).to_string_in(bitcoin::Denomination::Bitcoin);
        self.wallet(WALLET)?.call("sendtoaddress", &[json!(address.to_string()), json!(amount)])
    }

    /// A transaction of the mempool or of any block.
    ///
    /// # Errors
    ///
    /// As [`Rpc::call`]; it is unknown.
    pub fn transaction(&self, txid: &Txid) -> Result<Transaction, HarnessError> {
        // What was mined a moment ago is in no mempool any more, and in the index only when that has followed.
        wait::until("bitcoind's index of transactions follows", INDEX_LIMIT, || {
            let client = self.client()?;
            let height: u64 = client.call("getblockcount", &[])?;
            let indexes: Value = client.call("getindexinfo", &[json!("txindex")])?;
            let indexed = indexes.pointer("/txindex/best_block_height").and_then(Value::as_u64);
            Ok(if indexed >= Some(height) { Answer::Ready(()) } else { Answer::NotYet(format!("{indexed:?}")) })
        })?;
        let text: String = self.client()?.call("getrawtransaction", &[json!(txid)])?;
        bitcoin::consensus::encode::deserialize_hex(&text).map_err(|error| HarnessError::Bitcoind(error.to_string()))
    }

    /// Height of the best block.
    ///
    /// # Errors
    ///
    /// As [`Rpc::call`].
    pub fn block_count(&self) -> Result<u32, HarnessError> {
        self.client()?.call("getblockcount", &[])
    }

    /// Amount that an address received in transactions with at least so many confirmations, in satoshi. The address
    /// belongs to the wallet that mines and pays.
    ///
    /// # Errors
    ///
    /// As [`Rpc::call`].
    pub fn received_sat(&self, address: &Address, confirmations: u32) -> Result<u64, HarnessError> {
        let args = [json!(address.to_string()), json!(confirmations)];
        let amount: f64 = self.wallet(WALLET)?.call("getreceivedbyaddress", &args)?;
        Amount::from_btc(amount)
            .map(Amount::to_sat)
            .map_err(|error| HarnessError::Bitcoind(format!("{amount} is no amount: {error}")))
    }
}

/// A blocking JSON-RPC client.
#[derive(Debug)]
pub struct Rpc {
    inner: jsonrpc::client::Client,
}

impl Rpc {
    /// A client of a node at a URL, with the login of its cookie file.
    ///
    /// # Errors
    ///
    /// There is no cookie file: the node is not up.
    pub fn new(url: &str, cookie: &Path) -> Result<Self, HarnessError> {
        let login = fs::read_to_string(cookie).map_err(HarnessError::file("read", cookie))?;
        let transport = bitreq_http::Builder::new()
            .url(url)
            .map_err(|error| HarnessError::Bitcoind(error.to_string()))?
            .timeout(CALL_LIMIT)
            .cookie_auth(login.trim())
            .build();
        Ok(Self { inner: jsonrpc::client::Client::with_transport(transport) })
    }

    /// Calls a method.
    ///
    /// # Errors
    ///
    /// The node is out of reach, refuses, or answers with something else than a `T`.
    pub fn call<T: DeserializeOwned>(&self, method: &str, args: &[Value]) -> Result<T, HarnessError> {
        let failed = |error: &dyn std::fmt::Display| HarnessError::Bitcoind(format!("{method}: {error}"));
        let args = serde_json::value::to_raw_value(args).map_err(|error| failed(&error))?;
        self.inner.call(method, Some(&args)).map_err(|error| failed(&error))
    }

    /// Calls a method that answers nothing.
    ///
    /// # Errors
    ///
    /// The node is out of reach or refuses.
    pub fn call_unit(&self, method: &str, args: &[Value]) -> Result<(), HarnessError> {
        self.call::<Option<Value>>(method, args).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_mines_pays_stops_and_comes_back() -> Result<(), HarnessError> {
        let mut bitcoind = Bitcoind::start()?;
        bitcoind.mine_rewards(2)?;
        let address = bitcoind.new_address()?;
        let txid = bitcoind.send_to(&address, 123_456_789)?;
        bitcoind.mine(1)?;
        let paid = bitcoind.transaction(&txid)?;
        assert!(paid.output.iter().any(|output| output.value.to_sat() == 123_456_789));
        assert_eq!(bitcoind.received_sat(&address, 1)?, 123_456_789);
        assert_eq!(bitcoind.block_count()?, 103);

        bitcoind.stop()?;
        assert!(bitcoind.block_count().is_err());
        bitcoind.restart()?;
        assert_eq!(bitcoind.block_count()?, 103);
        bitcoind.send_to(&address, 1_000_000)?;
        Ok(())
    }

    #[test]
    fn an_error_of_the_node_is_shown_with_the_method() -> Result<(), HarnessError> {
        let bitcoind = Bitcoind::start()?;
        match bitcoind.client()?.call::<Value>("getblockhash", &[json!(7)]) {
            Err(HarnessError::Bitcoind(text)) => assert!(text.starts_with("getblockhash:"), "{text}"),
            other => return Err(HarnessError::Story(format!("a missing block was answered with {other:?}"))),
        }
        Ok(())
    }
}
