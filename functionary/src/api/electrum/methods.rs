//! The methods, one line each. They read files and verify transactions: not on a thread that must not wait.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aquifer_assets::primitives::Transaction;
use aquifer_assets::transaction::decode;
use elements::{OutPoint, Txid};
use serde_json::{Value, json};

use super::hub::Hub;
use super::rpc::{Message, Params, Refused, Request, RpcError, answer, notification, read};
use super::session::{Session, Status};
use super::version::Version;
use super::{chain, history, shape};
use crate::api::fees::{self, Rates};
use crate::api::{Sources, SubmitError};
use crate::index::{IndexError, IndexView, ScriptHash, Unspent};
use crate::mempool::{INCREMENTAL_FEE_RATE_SAT_PER_KVB, MIN_FEE_RATE_SAT_PER_KVB};
use crate::store::StoreError;

/// Most unspent outputs that are told of one script.
const MAX_UNSPENT: usize = 20_000;
/// Most transactions in one package.
const MAX_PACKAGE: usize = 25;
/// Farthest block that fees are estimated for.
const MAX_TARGET_BLOCKS: u32 = 1_008;
/// Statuses that are kept for others who ask for them in the same state.
const MAX_STATUSES: usize = 10_000;

/// What all connections share.
pub(super) struct Methods {
    sources: Sources,
    hub: Arc<Hub>,
    statuses: Mutex<Statuses>,
}

/// Statuses of scripts in one state of the chain: a script that many watch is summed up once.
#[derive(Default)]
struct Statuses {
    state: u64,
    of: HashMap<ScriptHash, Status>,
}

impl From<StoreError> for RpcError {
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "an Electrum client cannot be answered");
        Self::internal("the member cannot read its files")
    }
}

impl From<IndexError> for RpcError {
    fn from(error: IndexError) -> Self {
        match error {
            IndexError::Building { .. } => Self::node(format!("{error}; try again later")),
            IndexError::Store(error) => error.into(),
        }
    }
}

impl Methods {
    pub(super) fn new(sources: Sources, hub: Arc<Hub>) -> Self {
        Self { sources, hub, statuses: Mutex::default() }
    }

    /// A new connection.
    pub(super) fn session(&self) -> Session {
        Session::new(Arc::clone(&self.hub))
    }

    fn statuses(&self) -> MutexGuard<'_, Statuses> {
        self.statuses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn view(&self) -> Result<IndexView<'_>, RpcError> {
        match &self.sources.index {
            Some(index) => Ok(index.view()?),
            None => Err(RpcError::node("this server has its index switched off ([interfaces] in its aquiferd.toml)")),
        }
    }

    /// What is answered to a line, if anything is, and how many requests it holds.
    pub(super) fn process(&self, session: &mut Session, line: &[u8]) -> (Option<Value>, usize) {
        match read(line) {
            Message::One(request) => (self.answer(session, request), 1),
            Message::Many(requests) => {
                let count = requests.len();
                let answers: Vec<Value> =
                    requests.into_iter().filter_map(|request| self.answer(session, request)).collect();
                ((!answers.is_empty()).then_some(Value::Array(answers)), count)
            }
        }
    }

    fn answer(&self, session: &mut Session, request: Result<Request, Refused>) -> Option<Value> {
        match request {
            Ok(Request { id, method, params }) => {
                let result = self.call(session, &method, &params);
                id.map(|id| answer(&id, result))
            }
            Err(Refused { id, error }) => {
                session.offences = session.offences.saturating_add(1);
                Some(answer(&id, Err(error)))
            }
        }
    }

    /// What a connection is told of the changes that it watches.
    pub(super) fn notifications(&self, session: &mut Session) -> Result<Vec<Value>, RpcError> {
        let view = self.view()?;
        let mut notifications = Vec::new();
        let height = view.tip().0;
        if session.told_height.is_some_and(|told| told != height) {
            session.told_height = Some(height);
            notifications.push(notification("blockchain.headers.subscribe", &json!([chain::tip(&view)?])));
        }
        for script in session.mailbox.take() {
            let status = self.status(&view, script)?;
            if session.tell(script, &status) {
                let params = json!([script.to_string(), status]);
                notifications.push(notification("blockchain.scripthash.subscribe", &params));
            }
        }
        Ok(notifications)
    }

    fn status(&self, view: &IndexView<'_>, script: ScriptHash) -> Result<Status, RpcError> {
        let state = view.state();
        {
            let kept = self.statuses();
            if kept.state == state
                && let Some(status) = kept.of.get(&script)
            {
                return Ok(status.clone());
            }
        }
        let status = history::status(view, &script)?;
        let mut kept = self.statuses();
        if kept.state < state {
            *kept = Statuses { state, of: HashMap::new() };
        }
        if kept.state == state && kept.of.len() < MAX_STATUSES {
            kept.of.insert(script, status.clone());
        }
        Ok(status)
    }

    fn call(&self, session: &mut Session, method: &str, params: &Params) -> Result<Value, RpcError> {
        match method {
            "blockchain.block.header" => chain::block_header(&self.view()?, params),
            "blockchain.block.headers" => chain::block_headers(&self.view()?, params, session.version),
            "blockchain.estimatefee" => self.estimate_fee(params),
            "blockchain.headers.subscribe" => {
                let view = self.view()?;
                session.told_height = Some(view.tip().0);
                chain::tip(&view)
            }
            "blockchain.relayfee" => Ok(shape::btc_per_kvb(self.sources.mempool.min_fee_rate_sat_per_kvb())),
            "blockchain.scripthash.get_balance" => Err(RpcError::unknown_method(
                "amounts and assets are confidential on this chain: a balance is known to the wallet alone",
            )),
            "blockchain.scripthash.get_history" => history::history(&self.view()?, &params.script()?),
            "blockchain.scripthash.get_mempool" => history::mempool(&self.view()?, &params.script()?),
            "blockchain.scripthash.listunspent" => list_unspent(&self.view()?, params.script()?),
            "blockchain.scripthash.subscribe" => {
                let script = params.script()?;
                // Watched first: what changes in between is told as well.
                session.watch(script)?;
                let status = self.status(&self.view()?, script);
                match status {
                    Ok(status) => {
                        session.tell(script, &status);
                        Ok(json!(status))
                    }
                    Err(error) => {
                        session.forget(script);
                        Err(error)
                    }
                }
            }
            "blockchain.scripthash.unsubscribe" => Ok(json!(session.forget(params.script()?))),
            "blockchain.transaction.broadcast" => {
                let txid = self.submit(&transaction(params.text(0, "raw_tx")?)?)?;
                Ok(json!(txid.to_string()))
            }
            "blockchain.transaction.broadcast_package" => self.submit_package(params),
            "blockchain.transaction.get" => self.transaction(params),
            "blockchain.transaction.get_merkle" => chain::merkle(&self.view()?, params),
            "blockchain.transaction.id_from_pos" => chain::id_from_position(&self.view()?, params),
            "mempool.get_fee_histogram" => self.fee_histogram(),
            "mempool.get_info" => Ok(json!({
                "mempoolminfee": shape::btc_per_kvb(self.sources.mempool.min_fee_rate_sat_per_kvb()),
                "minrelaytxfee": shape::btc_per_kvb(MIN_FEE_RATE_SAT_PER_KVB),
                "incrementalrelayfee": shape::btc_per_kvb(INCREMENTAL_FEE_RATE_SAT_PER_KVB),
            })),
            "server.add_peer" => Ok(json!(false)),
            "server.banner" => Ok(json!(format!("Aquifer, {}", self.sources.params.name))),
            "server.donation_address" => Ok(json!("")),
            "server.features" => Ok(self.features()),
            "server.peers.subscribe" => Ok(json!([])),
            "server.ping" => Ok(Value::Null),
            "server.version" => {
                session.version = Version::negotiate(params)?;
                Ok(json!([software(), session.version.to_string()]))
            }
            _ => Err(RpcError::unknown_method(format!("there is no method {method:?}"))),
        }
    }

    fn features(&self) -> Value {
        json!({
            "genesis_hash": self.sources.params.genesis_hash().to_string(),
            "hash_function": "sha256",
            "hosts": {},
            "protocol_max": Version::MAX.to_string(),
            "protocol_min": Version::MIN.to_string(),
            "pruning": null,
            "server_version": software(),
        })
    }

    fn estimate_fee(&self, params: &Params) -> Result<Value, RpcError> {
        let blocks = params.number(0, "number")?;
        if !(1..=MAX_TARGET_BLOCKS).contains(&blocks) {
            return Err(RpcError::params(format!("number is not from 1 to {MAX_TARGET_BLOCKS}")));
        }
        let floor = self.sources.mempool.min_fee_rate_sat_per_kvb();
        Ok(shape::btc_per_kvb(Rates::of(self.view()?.waiting()).for_target(blocks, floor)))
    }

    /// `mempool.get_fee_histogram`: pairs of a rate in satoshi per virtual byte and the virtual bytes that pay it or more, up to
    /// the pair before. By the discounted size.
    fn fee_histogram(&self) -> Result<Value, RpcError> {
        let view = self.view()?;
        let sizes = view.waiting().latest().map(|waiting| (waiting.fee_sat, waiting.discounted_vsize));
        let steps = fees::histogram(sizes.map(|(fee_sat, vsize)| (fees::rate(fee_sat, vsize), vsize)));
        Ok(steps.into_iter().map(|(rate, size)| json!([fees::sat_per_vbyte(rate), size])).collect())
    }

    fn submit(&self, transaction: &Transaction) -> Result<Txid, RpcError> {
        match self.sources.backend.submit(transaction.clone()) {
            Ok(txid) => Ok(txid),
            Err(SubmitError::Invalid(reason) | SubmitError::NotNow(reason)) => Err(RpcError::node(reason)),
            Err(SubmitError::Backend(error)) => {
                tracing::error!(%error, "a transaction of an Electrum client cannot be judged");
                Err(RpcError::internal("the member cannot judge the transaction at the moment"))
            }
        }
    }

    /// One after the other, as they come: a package is here what depends on each other, not what pays for each other.
    fn submit_package(&self, params: &Params) -> Result<Value, RpcError> {
        let package = params.texts(0, "raw_txs")?;
        if package.len() > MAX_PACKAGE {
            return Err(RpcError::params(format!("{} transactions, {MAX_PACKAGE} are allowed", package.len())));
        }
        if params.flag(1, "verbose")? {
            return Err(RpcError::params("verbose is not to be had here"));
        }
        let transactions: Vec<Transaction> = package.into_iter().map(transaction).collect::<Result<_, _>>()?;
        let mut errors = Vec::new();
        for transaction in &transactions {
            if let Err(error) = self.submit(transaction) {
                errors.push(json!({ "txid": transaction.txid().to_string(), "error": error.message }));
            }
        }
        Ok(if errors.is_empty() { json!({ "success": true }) } else { json!({ "success": false, "errors": errors }) })
    }

    fn transaction(&self, params: &Params) -> Result<Value, RpcError> {
        let txid: Txid = params.hash(0, "tx_hash")?;
        let is_verbose = params.flag(1, "verbose")?;
        let view = self.view()?;
        let waiting = view.waiting().get(&txid);
        let found = view.transaction(&txid)?;
        if !is_verbose {
            let bytes = found.map(|(_, bytes)| hex::encode(bytes));
            let hex = bytes.or_else(|| waiting.map(|waiting| shape::hex_of(&*waiting.transaction)));
            return hex.map(Value::String).ok_or_else(|| not_found(&txid));
        }
        let mut fields = match (found, waiting) {
            (Some((place, bytes)), _) => {
                let broken = |_| RpcError::internal("the member cannot read its files");
                let mut fields = shape::transaction(&Transaction::decode(bytes).map_err(broken)?);
                if let Some(block) = view.ledger().header(place.height)? {
                    let confirmations = view.tip().0.saturating_sub(place.height).saturating_add(1);
                    let time = view.ledger().tip_at(place.height)?.map(|at| at.time);
                    fields.insert("blockhash".to_owned(), json!(block.hash.to_string()));
                    fields.insert("confirmations".to_owned(), json!(confirmations));
                    fields.insert("time".to_owned(), json!(time));
                    fields.insert("blocktime".to_owned(), json!(time));
                }
                fields
            }
            (None, Some(waiting)) => shape::transaction(&waiting.transaction),
            (None, None) => return Err(not_found(&txid)),
        };
        fields.entry("confirmations").or_insert(json!(0));
        Ok(Value::Object(fields))
    }
}

fn not_found(txid: &Txid) -> RpcError {
    RpcError::node(format!("no such transaction in a block or waiting for one: {txid}"))
}

fn software() -> String {
    format!("aquiferd {}", env!("CARGO_PKG_VERSION"))
}

fn transaction(text: &str) -> Result<Transaction, RpcError> {
    let bytes = hex::decode(text).map_err(|_| RpcError::params("a transaction is not hexadecimal"))?;
    decode(bytes).map_err(|error| RpcError::node(format!("a transaction cannot be read: {error}")))
}

/// `blockchain.scripthash.listunspent`: outputs of final transactions and of those that wait.
fn list_unspent(view: &IndexView<'_>, script: ScriptHash) -> Result<Value, RpcError> {
    let mut entries = Vec::new();
    let mut list = |outpoint: OutPoint, height: u32, output: &aquifer_assets::primitives::TxOut| {
        if view.waiting().spender(&outpoint).is_none() {
            entries.push(json!({
                "tx_hash": outpoint.txid.to_string(),
                "tx_pos": outpoint.vout,
                "height": height,
                "value": shape::amount(&output.value),
                "asset": shape::asset(&output.asset),
                "nonce": shape::nonce(output),
            }));
        }
    };
    let unspent = view.unspent(&script, MAX_UNSPENT.saturating_add(1))?;
    if unspent.len() > MAX_UNSPENT {
        return Err(RpcError::bad_request(format!("this script has more than {MAX_UNSPENT} unspent outputs")));
    }
    for Unspent { transaction, vout, output } in &unspent {
        list(OutPoint::new(transaction.txid, *vout), transaction.height, output);
    }
    for waiting in view.waiting().history(&script) {
        for (vout, output) in (0u32..).zip(&waiting.transaction.output) {
            if ScriptHash::of(&output.script_pubkey) == script {
                list(OutPoint::new(waiting.txid, vout), 0, output);
            }
        }
    }
    Ok(Value::Array(entries))
}
