//! Every method, with the shape of its answer frozen in `golden.json`. Where a shape is meant to change, write the file
//! anew with `AQUIFER_WRITE_GOLDEN=1` and look at the difference.

use std::path::Path;

use aquifer_assets::block::verify_merkle_branch;
use aquifer_assets::primitives::decode_header;
use aquifer_functionary::index::ScriptHash;
use bitcoin::hashes::{Hash as _, sha256};
use elements::Txid;
use elements::encode::serialize;
use serde_json::{Value, json};

use crate::server::{Client, Server};

/// Long texts are told by their length and hash.
const LONG: usize = 140;

fn shorten(value: &mut Value) {
    match value {
        Value::String(text) if text.len() > LONG => {
            let hash = hex::encode(sha256::Hash::hash(text.as_bytes()).to_byte_array());
            *text = format!("{} characters, {}", text.len(), &hash[..16]);
        }
        Value::Array(values) => values.iter_mut().for_each(shorten),
        Value::Object(fields) => fields.values_mut().for_each(shorten),
        _ => {}
    }
}

/// Asks, and keeps question and answer.
fn note(notes: &mut Vec<Value>, client: &mut Client, method: &str, params: Value) -> Value {
    let answer = client.ask(method, &params);
    let mut note = json!({ "method": method, "params": params, "answer": answer });
    shorten(&mut note);
    notes.push(note);
    answer
}

fn compare(notes: Vec<Value>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/electrum/golden.json");
    if std::env::var_os("AQUIFER_WRITE_GOLDEN").is_some() {
        std::fs::write(&path, format!("{}\n", serde_json::to_string_pretty(&notes).unwrap())).unwrap();
    }
    let golden: Vec<Value> = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    for (found, golden) in notes.iter().zip(&golden) {
        assert_eq!(found, golden, "the answer to {} has changed", found["method"]);
    }
    assert_eq!(notes.len(), golden.len());
}

#[test]
fn every_method_answers_as_it_always_has() {
    let mut server = Server::start(80);
    let mut client = server.connect();
    let (alice, bob) = (server.life.alice.script(), server.life.bob.script());
    let [alice, bob] = [alice, bob].map(|script| ScriptHash::of(&script).to_string());
    let nobody = "00".repeat(32);
    let mut notes = Vec::new();
    let mut ask = |client: &mut Client, method: &str, params: Value| note(&mut notes, client, method, params);

    // Without the version, which is another one with each release.
    assert_eq!(client.ask("server.version", &json!(["test", "1.4"]))[1], "1.4");
    assert_eq!(client.ask("server.features", &json!([]))["protocol_max"], "1.6");
    for (method, params) in [
        ("server.banner", json!([])),
        ("server.donation_address", json!([])),
        ("server.peers.subscribe", json!([])),
        ("server.add_peer", json!([{}])),
        ("server.ping", json!([])),
        ("server.version", json!(["test", "3.0"])),
        ("server.nonsense", json!([])),
        ("blockchain.relayfee", json!([])),
        ("blockchain.estimatefee", json!([6])),
        ("blockchain.estimatefee", json!([6, "CONSERVATIVE"])),
        ("blockchain.estimatefee", json!([0])),
        ("mempool.get_fee_histogram", json!([])),
        ("mempool.get_info", json!([])),
        ("blockchain.headers.subscribe", json!([])),
        ("blockchain.block.header", json!([5])),
        ("blockchain.block.header", json!([5, 6])),
        ("blockchain.block.header", json!([5, 4])),
        ("blockchain.block.header", json!([7])),
        ("blockchain.block.headers", json!([1, 3])),
        ("blockchain.block.headers", json!([5, 10, 6])),
        ("blockchain.block.headers", json!([100, 10])),
        ("blockchain.scripthash.get_history", json!([bob])),
        ("blockchain.scripthash.get_history", json!({ "scripthash": nobody })),
        ("blockchain.scripthash.get_history", json!(["nothing"])),
        ("blockchain.scripthash.get_balance", json!([bob])),
        ("blockchain.scripthash.listunspent", json!([bob])),
        ("blockchain.scripthash.get_mempool", json!([bob])),
        ("blockchain.scripthash.subscribe", json!([bob])),
        ("blockchain.scripthash.subscribe", json!([nobody])),
        ("blockchain.scripthash.unsubscribe", json!([nobody])),
        ("blockchain.scripthash.unsubscribe", json!([nobody])),
        ("blockchain.transaction.get", json!([nobody])),
        ("blockchain.transaction.broadcast", json!(["00"])),
        ("blockchain.transaction.broadcast", json!(["xx"])),
    ] {
        ask(&mut client, method, params);
    }
    for (height, position) in [(2, 1), (3, 2), (5, 1)] {
        let txid = ask(&mut client, "blockchain.transaction.id_from_pos", json!([height, position]));
        ask(&mut client, "blockchain.transaction.id_from_pos", json!([height, position, true]));
        ask(&mut client, "blockchain.transaction.get_merkle", json!([txid, height]));
        ask(&mut client, "blockchain.transaction.get", json!([txid]));
        ask(&mut client, "blockchain.transaction.get", json!([txid, true]));
    }
    ask(&mut client, "blockchain.transaction.id_from_pos", json!([3, 9]));
    ask(&mut client, "blockchain.transaction.get_merkle", json!([nobody, 3]));

    let payment = server.life.payment().unwrap();
    let raw = hex::encode(serialize(&payment));
    ask(&mut client, "blockchain.transaction.broadcast", json!([raw]));
    server.follow();
    // Bob's script is watched.
    let mut told = client.receive().unwrap();
    assert_eq!((&told["method"], &told["params"][0]), (&json!("blockchain.scripthash.subscribe"), &json!(bob)));
    for (method, params) in [
        ("blockchain.scripthash.get_history", json!([bob])),
        ("blockchain.scripthash.get_mempool", json!([alice])),
        ("blockchain.scripthash.listunspent", json!([bob])),
        ("blockchain.scripthash.listunspent", json!([alice])),
        ("blockchain.transaction.get", json!([payment.txid().to_string(), true])),
        ("blockchain.transaction.broadcast_package", json!([[raw]])),
        ("blockchain.transaction.broadcast_package", json!([[raw], true])),
        ("mempool.get_fee_histogram", json!([])),
    ] {
        ask(&mut client, method, params);
    }
    server.life.chain.extend(vec![payment]).unwrap();
    server.follow();
    let lines = [client.receive().unwrap(), client.receive().unwrap()];
    let status = lines.iter().find(|line| line["method"] == "blockchain.scripthash.subscribe").unwrap();
    let header = lines.iter().find(|line| line["method"] == "blockchain.headers.subscribe").unwrap();
    assert_eq!(header["params"][0]["height"], 7);
    assert_ne!(status["params"], told["params"]);
    told = status.clone();
    assert_eq!(client.ask("blockchain.scripthash.subscribe", &json!([bob])), told["params"][1]);

    // The newer protocol has headers in a list.
    assert_eq!(client.ask("server.version", &json!(["test", ["1.4", "1.6"]]))[1], "1.6");
    note(&mut notes, &mut client, "blockchain.block.headers", json!([0, 2]));
    compare(notes);
}

#[test]
fn statuses_branches_and_headers_are_what_they_say() {
    let server = Server::start(81);
    let mut client = server.connect();
    let bob = ScriptHash::of(&server.life.bob.script()).to_string();
    let history = client.ask("blockchain.scripthash.get_history", &json!([bob]));
    let entries = history.as_array().unwrap().iter();
    let text: String =
        entries.map(|entry| format!("{}:{}:", entry["tx_hash"].as_str().unwrap(), entry["height"])).collect();
    let status = client.ask("blockchain.scripthash.subscribe", &json!([bob]));
    assert_eq!(status, json!(hex::encode(sha256::Hash::hash(text.as_bytes()).to_byte_array())));

    let headers = client.ask("blockchain.block.headers", &json!([0, 10]));
    assert_eq!(headers["count"], 7);
    let mut all = Vec::new();
    for height in 0..=6 {
        let hex = client.ask("blockchain.block.header", &json!([height])).as_str().unwrap().to_owned();
        let header = decode_header(hex::decode(&hex).unwrap()).unwrap();
        assert_eq!(header.height, height);
        all.push(hex);
        for position in 0..if height == 3 { 3 } else { 1 } {
            let found = client.ask("blockchain.transaction.id_from_pos", &json!([height, position, true]));
            let txid: Txid = found["tx_hash"].as_str().unwrap().parse().unwrap();
            let siblings = found["merkle"].as_array().unwrap().iter().map(|hash| {
                let mut hash = <[u8; 32]>::try_from(hex::decode(hash.as_str().unwrap()).unwrap()).unwrap();
                hash.reverse();
                hash
            });
            let siblings: Vec<[u8; 32]> = siblings.collect();
            assert!(verify_merkle_branch(&txid, position, &siblings, &header.merkle_root), "{height} {position}");
        }
    }
    assert_eq!(headers["hex"], all.concat());
}

#[test]
fn requests_come_in_arrays_and_in_a_row() {
    let server = Server::start(82);
    let mut client = server.connect();
    client.send("[{\"id\":1,\"method\":\"server.ping\"},{\"method\":\"server.ping\"},{\"id\":2,\"method\":\"x\"},7]");
    let answers = client.receive().unwrap();
    let found: Vec<_> =
        answers.as_array().unwrap().iter().map(|answer| (&answer["id"], &answer["error"]["code"])).collect();
    let (null, one, two) = (json!(null), json!(1), json!(2));
    assert_eq!(found, [(&one, &null), (&two, &json!(-32_601)), (&null, &json!(-32_600))]);

    // In one write, as LWK sends a scan.
    let questions: Vec<String> = (0..3_000)
        .map(|id| {
            json!({ "id": id, "method": "blockchain.scripthash.get_history", "params": [format!("{id:064x}")] })
                .to_string()
        })
        .collect();
    client.send(&questions.join("\n"));
    for id in 0..3_000 {
        assert_eq!(client.receive().unwrap()["id"], id);
    }
}
