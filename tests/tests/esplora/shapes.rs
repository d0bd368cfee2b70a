//! Every route, and the shape of what it answers, frozen. `AQUIFER_GOLDEN=write` writes the files anew; look at what
//! changes.

use std::collections::BTreeSet;
use std::path::PathBuf;

use elements::encode::serialize;
use serde_json::{Value, json};

use crate::node::Node;

fn golden(name: &str, answer: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/esplora/golden").join(format!("{name}.json"));
    let value: Value = serde_json::from_str(answer).unwrap_or_else(|_| Value::from(answer));
    let mut shown = serde_json::to_string_pretty(&value).unwrap();
    shown.push('\n');
    if std::env::var_os("AQUIFER_GOLDEN").is_some_and(|what| what == "write") {
        std::fs::write(path, shown).unwrap();
        return;
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(shown, kept, "{name} has another shape");
}

#[test]
fn every_route_answers_in_its_shape() {
    let mut node = Node::start();
    let [_, _, issuing] = [0, 1, 2].map(|height| node.txids(height));
    let pegin = node.txids(1)[1];
    let paying = node.txids(3)[1];
    let leaving = node.txids(5)[1];
    let gold = node.life.gold;
    let (pegged, silver) = (node.life.chain.pegged(), node.silver);
    let tip = node.hash(7);
    let bob =
        elements::Address::from_script(&node.life.bob.script(), None, &elements::AddressParams::ELEMENTS).unwrap();
    let bob_hash = {
        use elements::hashes::sha256;
        hex::encode(sha256::Hash::hash(node.life.bob.script().as_bytes()).to_byte_array())
    };

    for (name, path) in [
        ("tip_hash", "/blocks/tip/hash".to_owned()),
        ("tip_height", "/blocks/tip/height".to_owned()),
        ("blocks", "/blocks".to_owned()),
        ("blocks_from", "/blocks/2".to_owned()),
        ("block_height", "/block-height/3".to_owned()),
        ("block", format!("/block/{}", node.hash(3))),
        ("block_genesis", format!("/block/{}", node.hash(0))),
        ("block_status", format!("/block/{}/status", node.hash(3))),
        ("block_status_tip", format!("/block/{tip}/status")),
        ("block_status_unknown", format!("/block/{}/status", "00".repeat(32))),
        ("block_txids", format!("/block/{}/txids", node.hash(3))),
        ("block_txid", format!("/block/{}/txid/1", node.hash(3))),
        ("block_header", format!("/block/{}/header", node.hash(3))),
        ("block_txs", format!("/block/{}/txs", node.hash(6))),
        ("block_txs_from", format!("/block/{}/txs/0", node.hash(6))),
        ("tx_pegin", format!("/tx/{pegin}")),
        ("tx_issuance", format!("/tx/{}", issuing[1])),
        ("tx_confidential", format!("/tx/{paying}")),
        ("tx_reissuance", format!("/tx/{}", node.txids(4)[1])),
        ("tx_pegout", format!("/tx/{leaving}")),
        ("tx_status", format!("/tx/{leaving}/status")),
        ("tx_status_unknown", format!("/tx/{}/status", "00".repeat(32))),
        ("tx_merkle_proof", format!("/tx/{paying}/merkle-proof")),
        ("tx_outspend", format!("/tx/{paying}/outspend/0")),
        ("tx_outspends", format!("/tx/{paying}/outspends")),
        ("address", format!("/address/{bob}")),
        ("address_txs_chain", format!("/address/{bob}/txs/chain")),
        ("address_txs_chain_after", format!("/address/{bob}/txs/chain/{}", node.txids(4)[1])),
        ("address_utxo", format!("/address/{bob}/utxo")),
        ("scripthash", format!("/scripthash/{bob_hash}")),
        ("mempool_empty", "/mempool".to_owned()),
        ("fee_estimates", "/fee-estimates".to_owned()),
        ("asset_pegged", format!("/asset/{pegged}")),
        ("asset_issued", format!("/asset/{gold}")),
        ("asset_named", format!("/asset/{silver}")),
        ("asset_txs_chain", format!("/asset/{gold}/txs/chain")),
        ("asset_supply", format!("/asset/{silver}/supply")),
        ("asset_supply_decimal", format!("/asset/{silver}/supply/decimal")),
        ("asset_supply_pegged", format!("/asset/{pegged}/supply/decimal")),
        ("assets_registry", "/assets/registry".to_owned()),
        ("waterfalls_addresses", format!("/v2/waterfalls?addresses={bob}")),
        ("waterfalls_utxo", format!("/v2/waterfalls?addresses={bob}&utxo_only=true")),
    ] {
        golden(name, &node.get(&format!("/api{path}")));
    }
    for (name, path) in [
        ("registry_index", "/index.json".to_owned()),
        ("registry_minimal", "/index.minimal.json".to_owned()),
        ("registry_icons", "/icons.json".to_owned()),
        ("registry_entry", format!("/{silver}")),
    ] {
        golden(name, &node.get(&format!("/registry{path}")));
    }

    // What is the same under two names.
    assert_eq!(
        node.get(&format!("/api/address/{bob}/txs")),
        node.get(&format!("/api/scripthash/{bob_hash}/txs/chain"))
    );
    assert_eq!(
        node.get(&format!("/api/tx/{paying}/hex")),
        hex::encode(node.ask(&format!("/api/tx/{paying}/raw")).bytes().unwrap())
    );
    let raw = node.ask(&format!("/api/block/{}/raw", node.hash(3))).bytes().unwrap();
    assert!(hex::encode(&raw).starts_with(&node.get(&format!("/api/block/{}/header", node.hash(3)))));

    let payment = node.life.payment().unwrap();
    let txid = payment.txid().to_string();
    let taken = node.post("/api/tx", hex::encode(serialize(&payment)));
    assert_eq!((taken.status().as_u16(), taken.text().unwrap()), (200, txid.clone()));
    node.wait_until("the payment is seen", |node| node.get("/api/mempool/txids").contains(&txid));
    for (name, path) in [
        ("mempool", "/mempool".to_owned()),
        ("mempool_recent", "/mempool/recent".to_owned()),
        ("tx_waiting", format!("/tx/{txid}")),
        ("address_waiting", format!("/address/{bob}")),
        ("address_txs_mempool", format!("/address/{bob}/txs/mempool")),
        (
            "outspend_waiting",
            format!("/tx/{}/outspend/{}", node.life.money.outpoint.txid, node.life.money.outpoint.vout),
        ),
        ("asset_txs_mempool", format!("/asset/{gold}/txs/mempool")),
        ("waterfalls_waiting", format!("/v2/waterfalls?addresses={bob}")),
    ] {
        golden(name, &node.get(&format!("/api{path}")));
    }
    let utxo: Value = serde_json::from_str(&node.get(&format!("/api/address/{bob}/utxo"))).unwrap();
    assert_eq!(utxo[0]["txid"], json!(txid), "what waits comes first");
    let again = node.ask(&format!("/api/broadcast?tx={}", hex::encode(serialize(&payment))));
    assert_eq!(again.text().unwrap(), txid, "one that is there is no error");
    let package = json!([hex::encode(serialize(&payment))]).to_string();
    let package: Value = serde_json::from_str(&node.post("/api/txs/package", package).text().unwrap()).unwrap();
    assert_eq!(package["package_msg"], json!("success"));
    assert_eq!(package["tx-results"][payment.wtxid().to_string()]["txid"], json!(txid));
}

#[test]
fn every_golden_file_is_looked_at() {
    let source = include_str!("shapes.rs");
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/esplora/golden");
    let files: BTreeSet<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    let unread: Vec<&String> = files.iter().filter(|name| !source.contains(&format!("\"{name}\""))).collect();
    assert!(unread.is_empty(), "{unread:?}");
}
