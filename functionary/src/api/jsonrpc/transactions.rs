//! Calls about single transactions and scripts.

use aquifer_assets::primitives::Transaction;
use aquifer_assets::script::{Form, is_unspendable};
use bitcoin::hashes::{Hash as _, hash160};
use elements::encode::serialize;
use elements::script::Instruction;
use elements::{Address, Script};

use super::arguments::{Arguments, bytes};
use super::error::{Code, RpcError};
use super::mempool::read_transaction;
use super::node::{Node, block_at};
use super::shape::{ADDRESSES, Json, Object, output_script, transaction_fields};
use super::table::{Category, Command, Kind, Parameter};
use crate::store::ledger::Snapshot;

const OP_CHECKSIGADD: u8 = 0xba;

/// The calls.
pub(crate) const COMMANDS: &[Command] = &[
    Command {
        name: "decoderawtransaction",
        category: Category::RawTransactions,
        parameters: &[
            Parameter::required("hexstring", Kind::Hex, "The transaction."),
            Parameter::optional("iswitness", Kind::Switch, "true", "Has no meaning: the bytes say it."),
        ],
        text: "What a transaction says, with commitments, issuances, peg-ins and peg-outs.",
        run: decode_raw_transaction,
    },
    Command {
        name: "decodescript",
        category: Category::RawTransactions,
        parameters: &[Parameter::required("hexstring", Kind::Hex, "The script.")],
        text: "A script in words, with the addresses that it can stand behind.",
        run: decode_script,
    },
    Command {
        name: "getrawtransaction",
        category: Category::RawTransactions,
        parameters: &[
            Parameter::required("txid", Kind::Hex, "The transaction."),
            Parameter::optional(
                "verbose",
                Kind::Verbosity,
                "false",
                "false: hexadecimal; true: what it says and where it stands.",
            )
            .or("verbosity"),
            Parameter::optional("blockhash", Kind::Hex, "any", "Look in this block alone."),
        ],
        text: "A transaction that waits or is in a block. All are found; no index needs to be switched on.",
        run: get_raw_transaction,
    },
];

fn decode_raw_transaction(node: &Node, arguments: &Arguments) -> Result<Json, RpcError> {
    let transaction = read_transaction(arguments.needed_text("hexstring")?)?;
    Ok(transaction_fields(&node.sources.params, &transaction).into())
}

/// A transaction, with the height of its block.
struct Found {
    transaction: Transaction,
    height: Option<u32>,
}

fn find(node: &Node, snapshot: &Snapshot<'_>, arguments: &Arguments) -> Result<Option<Found>, RpcError> {
    let txid = arguments.txid("txid")?;
    if arguments.get("blockhash").is_some() {
        let hash = arguments.block_hash("blockhash")?;
        let height = snapshot.height_of(&hash)?;
        let height = height.ok_or_else(|| RpcError::new(Code::AddressOrKey, "Block hash not found"))?;
        if snapshot.place(&txid)?.is_none_or(|place| place.height != height) {
            return Ok(None);
        }
    }
    let Some(place) = snapshot.place(&txid)? else {
        let waiting = node.sources.mempool.get(&txid);
        return Ok(waiting.map(|transaction| Found { transaction: (*transaction).clone(), height: None }));
    };
    let position = usize::try_from(place.position).unwrap_or(usize::MAX);
    let block = block_at(snapshot, place.height)?;
    let transaction = block.txdata.into_iter().nth(position);
    Ok(transaction.map(|transaction| Found { transaction, height: Some(place.height) }))
}

fn get_raw_transaction(node: &Node, arguments: &Arguments) -> Result<Json, RpcError> {
    // What is connected between two looks is found by the second.
    let found = match find(node, &node.snapshot()?, arguments)? {
        Some(found) => Some(found),
        None => find(node, &node.snapshot()?, arguments)?,
    };
    let Some(Found { transaction, height }) = found else {
        let message = match arguments.get("blockhash") {
            Some(_) => "No such transaction found in the provided block. Use gettransaction for wallet transactions.",
            None => "No such mempool or blockchain transaction. Use gettransaction for wallet transactions.",
        };
        return Err(RpcError::new(Code::AddressOrKey, message));
    };
    let hex = Json::hex(serialize(&transaction));
    if arguments.verbosity("verbose", 0)? == 0 {
        return Ok(hex);
    }
    let mut fields = Object::new();
    if arguments.get("blockhash").is_some() {
        fields.set("in_active_chain", true);
    }
    fields = fields.and(transaction_fields(&node.sources.params, &transaction)).with("hex", hex);
    if let Some(height) = height {
        let snapshot = node.snapshot()?;
        let tip = snapshot.tip()?;
        let header = block_at(&snapshot, height)?.header;
        fields = fields
            .with("blockhash", Json::shown(header.block_hash()))
            .with("confirmations", tip.height.saturating_sub(height).saturating_add(1))
            .with("time", header.time)
            .with("blocktime", header.time);
    }
    Ok(fields.into())
}

fn decode_script(node: &Node, arguments: &Arguments) -> Result<Json, RpcError> {
    let script = Script::from(bytes("argument", arguments.needed_text("hexstring")?)?);
    let params = &node.sources.params;
    let mut fields = output_script(params, &script, false);
    if can_be_wrapped(&script) {
        fields.set("p2sh", Json::shown(Address::p2sh(&script, None, ADDRESSES)));
        if let Some(program) = program_for(&script) {
            let nested = Json::shown(Address::p2sh(&program, None, ADDRESSES));
            fields.set("segwit", output_script(params, &program, true).with("p2sh-segwit", nested));
        }
    }
    Ok(fields.into())
}

/// Whether the script can stand behind the hash of a script (`decodescript` of Elements).
fn can_be_wrapped(script: &Script) -> bool {
    let form = Form::of(script.as_bytes());
    if form == Form::Fee {
        return true;
    }
    if matches!(form, Form::Data | Form::ScriptHash | Form::LaterProgram) || script.is_v1_p2tr() {
        return false;
    }
    let usable = |instruction: Result<Instruction<'_>, _>| match instruction {
        Ok(Instruction::PushBytes(bytes)) => bytes.len() <= 520,
        Ok(Instruction::Op(op)) => op.into_u8() < OP_CHECKSIGADD && !is_success(op.into_u8()),
        Err(_) => false,
    };
    !is_unspendable(script) && script.instructions().all(usable)
}

/// Operations below OP_CHECKSIGADD with which a Tapscript succeeds.
fn is_success(opcode: u8) -> bool {
    matches!(opcode, 80 | 98 | 137 | 138 | 141 | 142 | 149..=151)
}

/// The witness program that stands for the script, if there is one.
fn program_for(script: &Script) -> Option<Script> {
    let key_hash = |hash: &[u8]| {
        let hash = <[u8; 20]>::try_from(hash).ok()?;
        Some(Script::new_v0_wpkh(&elements::WPubkeyHash::from_byte_array(hash)))
    };
    let keys: Vec<&[u8]> = script
        .instructions()
        .filter_map(|instruction| match instruction {
            Ok(Instruction::PushBytes(bytes)) if bytes.len() >= 20 => Some(bytes),
            _ => None,
        })
        .collect();
    let is_compressed = |key: &&[u8]| key.len() == 33;
    match Form::of(script.as_bytes()) {
        Form::Key => {
            let key = keys.first().filter(|key| is_compressed(key))?;
            key_hash(&hash160::Hash::hash(key).to_byte_array())
        }
        Form::KeyHash => key_hash(keys.first()?),
        Form::Multisig { .. } if !keys.iter().all(is_compressed) => None,
        Form::Multisig { .. } | Form::Other | Form::Fee => Some(script.to_v0_p2wsh()),
        Form::Data | Form::ScriptHash | Form::Program | Form::LaterProgram => None,
    }
}
