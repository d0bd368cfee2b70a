//! Calls about what waits for a block.

use std::collections::HashSet;

use aquifer_assets::primitives::Transaction;
use aquifer_assets::state::ChainView as _;
use aquifer_assets::transaction::{decode, fee_in};
use elements::Txid;
use serde_json::Value;

use super::arguments::{Arguments, short};
use super::error::{Code, RpcError};
use super::node::Node;
use super::shape::{Json, Object};
use super::table::{Category, Command, Kind, Parameter};
use crate::api::SubmitError;
use crate::mempool::{INCREMENTAL_FEE_RATE_SAT_PER_KVB, MIN_FEE_RATE_SAT_PER_KVB, MempoolError, Standing};

/// Most transactions of `testmempoolaccept` and `submitpackage`.
const MAX_PACKAGE: usize = 25;
/// What `maxfeerate` is where it is left out: 0.10 coins per 1,000 vbytes.
const MAX_FEE_RATE_SAT_PER_KVB: u64 = 10_000_000;

const MAX_FEE_RATE: Parameter = Parameter::optional(
    "maxfeerate",
    Kind::Amount,
    "0.10",
    "Refuse transactions that pay more, in coins per 1,000 vbytes of the discounted size; 0 for any.",
);
const VERBOSE: Parameter =
    Parameter::optional("verbose", Kind::Switch, "false", "true: with sizes, fees and relations of each.");
const TXID: Parameter = Parameter::required("txid", Kind::Hex, "The waiting transaction.");

/// The calls.
pub(crate) const COMMANDS: &[Command] = &[
    Command {
        name: "getmempoolancestors",
        category: Category::Blockchain,
        parameters: &[TXID, VERBOSE],
        text: "The waiting transactions that one depends on.",
        run: |node, arguments| relatives(node, arguments, node.sources.mempool.ancestors_of(&arguments.txid("txid")?)),
    },
    Command {
        name: "getmempooldescendants",
        category: Category::Blockchain,
        parameters: &[TXID, VERBOSE],
        text: "The waiting transactions that depend on one.",
        run: |node, arguments| {
            relatives(node, arguments, node.sources.mempool.descendants_of(&arguments.txid("txid")?))
        },
    },
    Command {
        name: "getmempoolentry",
        category: Category::Blockchain,
        parameters: &[TXID],
        text: "A waiting transaction among the others. `height` is that of the last final block.",
        run: get_mempool_entry,
    },
    Command {
        name: "getmempoolinfo",
        category: Category::Blockchain,
        parameters: &[],
        text: "How much waits, and the least fee rates.",
        run: get_mempool_info,
    },
    Command {
        name: "getrawmempool",
        category: Category::Blockchain,
        parameters: &[
            VERBOSE,
            Parameter::optional(
                "mempool_sequence",
                Kind::Switch,
                "false",
                "Only false: there are no sequence numbers.",
            ),
        ],
        text: "All that waits, by arrival.",
        run: get_raw_mempool,
    },
    Command {
        name: "sendrawtransaction",
        category: Category::RawTransactions,
        parameters: &[
            Parameter::required("hexstring", Kind::Hex, "The transaction."),
            MAX_FEE_RATE,
            Parameter::optional("ignore_blindfail", Kind::Switch, "true", "Has no meaning here."),
        ],
        text: "Verifies a transaction in full and passes it on to the members, one of which puts it into a block.",
        run: send_raw_transaction,
    },
    Command {
        name: "submitpackage",
        category: Category::RawTransactions,
        parameters: &[
            Parameter::required("package", Kind::List, "Transactions, parents before children."),
            MAX_FEE_RATE,
        ],
        text: "Submits up to 25 transactions one after the other. Each must pay for itself: fees are not counted together.",
        run: submit_package,
    },
    Command {
        name: "testmempoolaccept",
        category: Category::RawTransactions,
        parameters: &[
            Parameter::required("rawtxs", Kind::List, "Transactions that do not spend each other."),
            MAX_FEE_RATE,
        ],
        text: "Says whether up to 25 transactions would be taken, each by itself, with the reasons of Elements and this node's.",
        run: test_mempool_accept,
    },
];

fn not_waiting() -> RpcError {
    RpcError::new(Code::AddressOrKey, "Transaction not in mempool")
}

fn list(txids: &[Txid]) -> Json {
    txids.iter().map(Json::shown).collect()
}

fn relatives(node: &Node, arguments: &Arguments, txids: Option<Vec<Txid>>) -> Result<Json, RpcError> {
    let txids = txids.ok_or_else(not_waiting)?;
    if arguments.switch("verbose") != Some(true) {
        return Ok(list(&txids));
    }
    let height = node.snapshot()?.tip()?.height;
    let standings = txids.iter().filter_map(|txid| node.sources.mempool.standing(txid));
    Ok(by_id(standings, height))
}

fn by_id(standings: impl Iterator<Item = Standing>, height: u32) -> Json {
    let mut fields = Object::new();
    for standing in standings {
        fields.set(standing.txid.to_string(), entry_fields(&standing, height));
    }
    fields.into()
}

fn entry_fields(standing: &Standing, height: u32) -> Object {
    let fees = Object::new()
        .with("base", Json::amount(standing.fee_sat))
        .with("modified", Json::amount(standing.fee_sat))
        .with("ancestor", Json::amount(standing.ancestors.fee_sat))
        .with("descendant", Json::amount(standing.descendants.fee_sat));
    Object::new()
        .with("vsize", standing.vsize)
        .with("weight", standing.weight)
        .with("time", standing.admitted_at)
        .with("height", height)
        .with("descendantcount", standing.descendants.count)
        .with("descendantsize", standing.descendants.vsize)
        .with("ancestorcount", standing.ancestors.count)
        .with("ancestorsize", standing.ancestors.vsize)
        .with("wtxid", Json::shown(standing.transaction.wtxid()))
        .with("fees", fees)
        .with("depends", list(&standing.depends))
        .with("spentby", list(&standing.spent_by))
        .with("bip125-replaceable", standing.is_replaceable)
        .with("unbroadcast", false)
}

fn get_mempool_entry(node: &Node, arguments: &Arguments) -> Result<Json, RpcError> {
    let standing = node.sources.mempool.standing(&arguments.txid("txid")?).ok_or_else(not_waiting)?;
    Ok(entry_fields(&standing, node.snapshot()?.tip()?.height).into())
}

fn get_mempool_info(node: &Node, _: &Arguments) -> Result<Json, RpcError> {
    let mempool = &node.sources.mempool;
    let occupancy = mempool.occupancy();
    let fields = Object::new()
        .with("loaded", true)
        .with("size", occupancy.count)
        .with("bytes", occupancy.vsize)
        .with("usage", occupancy.memory_bytes)
        .with("total_fee", Json::amount(occupancy.fee_sat))
        .with("maxmempool", occupancy.max_memory_bytes)
        .with("mempoolminfee", Json::amount(mempool.min_fee_rate_sat_per_kvb()))
        .with("minrelaytxfee", Json::amount(MIN_FEE_RATE_SAT_PER_KVB))
        .with("incrementalrelayfee", Json::amount(INCREMENTAL_FEE_RATE_SAT_PER_KVB))
        .with("unbroadcastcount", 0);
    Ok(fields.into())
}

fn get_raw_mempool(node: &Node, arguments: &Arguments) -> Result<Json, RpcError> {
    if arguments.switch("mempool_sequence") == Some(true) {
        return Err(RpcError::new(Code::Parameter, "there are no mempool sequence numbers here"));
    }
    if arguments.switch("verbose") != Some(true) {
        return Ok(list(&node.sources.mempool.txids()));
    }
    let height = node.snapshot()?.tip()?.height;
    Ok(by_id(node.sources.mempool.standings().into_iter(), height))
}

/// A transaction in hexadecimal.
///
/// # Errors
/// Code -22 if it is none.
pub(crate) fn read_transaction(text: &str) -> Result<Transaction, RpcError> {
    let failed = |reason: String| {
        RpcError::new(
            Code::Deserialization,
            format!("TX decode failed: {reason}. Make sure the tx has at least one input."),
        )
    };
    let bytes = hex::decode(text).map_err(|error| failed(error.to_string()))?;
    let transaction = decode(bytes).map_err(|error| failed(error.to_string()))?;
    if transaction.input.is_empty() { Err(failed("it has no input".to_owned())) } else { Ok(transaction) }
}

fn read_package(arguments: &Arguments, name: &str) -> Result<Vec<Transaction>, RpcError> {
    let list = arguments.needed_list(name)?;
    if list.is_empty() || list.len() > MAX_PACKAGE {
        let message = format!("Array must contain between 1 and {MAX_PACKAGE} transactions.");
        return Err(RpcError::new(Code::Parameter, message));
    }
    let text = |value: &Value| match value.as_str() {
        Some(text) => read_transaction(text),
        None => Err(RpcError::new(Code::Type, format!("{name} holds {}, not text", short(&value.to_string())))),
    };
    list.iter().map(text).collect()
}

/// The most that may be paid, if there is a most.
fn max_fee_rate(arguments: &Arguments) -> Result<Option<u64>, RpcError> {
    let rate = arguments.amount("maxfeerate")?.unwrap_or(MAX_FEE_RATE_SAT_PER_KVB);
    Ok((rate > 0).then_some(rate))
}

fn pays_too_much(fee_sat: u64, vsize: u64, most: Option<u64>) -> bool {
    most.is_some_and(|rate| u128::from(fee_sat) * 1_000 > u128::from(rate) * u128::from(vsize))
}

/// What Elements calls a refusal, and where its words say less than ours, ours.
fn reason_of(error: &MempoolError) -> String {
    match error {
        MempoolError::Invalid(rule) => rule.elements_reason().unwrap_or_else(|| rule.name()),
        other => other.elements_reason().unwrap_or_else(|| other.name()),
    }
    .to_owned()
}

/// How `sendrawtransaction` reports a refusal.
fn refusal(error: &MempoolError) -> RpcError {
    let code = match error {
        MempoolError::Invalid(rule) if rule.is_missing_input() => {
            return RpcError::new(Code::Transaction, reason_of(error));
        }
        MempoolError::Store(_) => Code::Database,
        _ => Code::Rejected,
    };
    RpcError::new(code, format!("{}, {error}", reason_of(error)))
}

/// Whether a transaction is in a block, with outputs left to spend or not.
fn is_final(node: &Node, txid: &Txid) -> Result<bool, RpcError> {
    Ok(node.snapshot()?.place(txid)?.is_some())
}

/// Hands a transaction to the member.
fn submit(node: &Node, transaction: Transaction, most: Option<u64>) -> Result<Txid, RpcError> {
    let txid = transaction.txid();
    let size = u64::try_from(transaction.discount_vsize()).unwrap_or(u64::MAX);
    if pays_too_much(fee_in(&transaction, node.sources.params.pegged_asset()), size, most) {
        let message = "Fee exceeds maximum configured by user (e.g. -maxtxfee, maxfeerate)";
        return Err(RpcError::new(Code::Transaction, message));
    }
    if node.snapshot()?.has_unspent_outputs(&txid)? {
        return Err(RpcError::new(Code::AlreadyInChain, "Transaction already in block chain"));
    }
    match node.sources.backend.submit(transaction.clone()) {
        Ok(txid) => Ok(txid),
        Err(SubmitError::Backend(error)) => Err(error.into()),
        // The member's own words; the reason that clients look for is found by asking once more.
        Err(SubmitError::Invalid(text) | SubmitError::NotNow(text)) => match node.sources.mempool.test(transaction) {
            Err(error) => Err(refusal(&error)),
            Ok(_) => Err(RpcError::new(Code::Rejected, text)),
        },
    }
}

fn send_raw_transaction(node: &Node, arguments: &Arguments) -> Result<Json, RpcError> {
    let transaction = read_transaction(arguments.needed_text("hexstring")?)?;
    submit(node, transaction, max_fee_rate(arguments)?).map(Json::shown)
}

fn submit_package(node: &Node, arguments: &Arguments) -> Result<Json, RpcError> {
    let transactions = read_package(arguments, "package")?;
    let most = max_fee_rate(arguments)?;
    let mut results = Object::new();
    let mut all = true;
    for transaction in transactions {
        let (txid, wtxid) = (transaction.txid(), transaction.wtxid());
        let fee_sat = fee_in(&transaction, node.sources.params.pegged_asset());
        let (vsize, discounted) = (transaction.vsize(), transaction.discount_vsize());
        let result = Object::new().with("txid", Json::shown(txid));
        let result = match submit(node, transaction, most) {
            Ok(_) => result
                .with("vsize", vsize)
                .with("discountvsize", discounted)
                .with("fees", Object::new().with("base", Json::amount(fee_sat))),
            Err(error) => {
                all = false;
                result.with("error", error.message)
            }
        };
        results.set(wtxid.to_string(), result);
    }
    let fields = Object::new()
        .with("package_msg", if all { "success" } else { "transaction failed" })
        .with("tx-results", results)
        .with("replaced-transactions", Vec::new());
    Ok(fields.into())
}

fn test_mempool_accept(node: &Node, arguments: &Arguments) -> Result<Json, RpcError> {
    let transactions = read_package(arguments, "rawtxs")?;
    let most = max_fee_rate(arguments)?;
    let txids: HashSet<Txid> = transactions.iter().map(Transaction::txid).collect();
    let spends = |transaction: &Transaction| {
        transaction.input.iter().any(|input| !input.is_pegin && txids.contains(&input.previous_output.txid))
    };
    if txids.len() != transactions.len() || transactions.iter().any(spends) {
        let message =
            "transactions that spend each other, or are there twice, are not tested together: send the parents first";
        return Err(RpcError::new(Code::Parameter, message));
    }
    transactions
        .into_iter()
        .map(|transaction| test(node, transaction, most).map(Json::from))
        .collect::<Result<_, _>>()
        .map(Json::List)
}

fn test(node: &Node, transaction: Transaction, most: Option<u64>) -> Result<Object, RpcError> {
    let (txid, wtxid) = (transaction.txid(), transaction.wtxid());
    let fields = Object::new().with("txid", Json::shown(txid)).with("wtxid", Json::shown(wtxid));
    let refused = |reason: String| fields.clone().with("allowed", false).with("reject-reason", reason);
    // That it is a coinbase is said before anything of where it stands.
    let is_coinbase = transaction.is_coinbase();
    if !is_coinbase && node.sources.mempool.get(&txid).is_some() {
        return Ok(refused("txn-already-in-mempool".to_owned()));
    }
    if !is_coinbase && is_final(node, &txid)? {
        return Ok(refused("txn-already-known".to_owned()));
    }
    match node.sources.mempool.test(transaction) {
        Ok(tested) if pays_too_much(tested.fee_sat, tested.discounted_vsize, most) => {
            Ok(refused("max-fee-exceeded".to_owned()))
        }
        Ok(tested) => {
            let fees = Object::new().with("base", Json::amount(tested.fee_sat));
            Ok(fields.with("allowed", true).with("vsize", tested.vsize).with("fees", fees))
        }
        Err(MempoolError::Store(error)) => Err(error.into()),
        Err(MempoolError::Invalid(rule)) if rule.is_missing_input() => Ok(refused("missing-inputs".to_owned())),
        Err(error) => Ok(refused(reason_of(&error)).with("reject-details", error.to_string())),
    }
}
