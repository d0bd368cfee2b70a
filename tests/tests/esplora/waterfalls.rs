//! Waterfalls: which addresses are looked at, and histories that do not fit into one answer.

use std::collections::BTreeSet;

use aquifer_tests::forge::{Coin, FEE_SAT, Pay};
use elements::{Address, AddressParams, Script};
use lwk_wollet::elements_miniscript::{Descriptor, DescriptorPublicKey};
use serde_json::{Value, json};

use crate::node::Node;

const KEY: &str =
    "tpubDCRMaF33e44pcJj534LXVhFbHibPbJ5vuLhSSPFAw57kYURv4tzXFL6LSnd78bkjqdmE3USedkbpXJUPA1tdzKfuYSL7PianceqAhwL2UkA";
/// What is enough for the fees of all of them, in satoshi.
const FLOAT_SAT: u64 = 250_000;
/// Transactions of one address in one answer.
const PAGE: usize = 200;

fn script(chain: u32, index: u32) -> Script {
    let descriptor: Descriptor<DescriptorPublicKey> = format!("elwpkh({KEY}/{chain}/*)").parse().unwrap();
    descriptor.at_derivation_index(index).unwrap().script_pubkey()
}

/// Pays every script a little of what Alice has, openly.
fn pay(node: &mut Node, scripts: &[Script]) {
    let pegged = node.life.chain.pegged();
    let each = 100;
    let rest = node.life.money.secrets.value - FEE_SAT - each * u64::try_from(scripts.len()).unwrap();
    // What is hidden on one side needs something hidden on the other.
    let mut pays = vec![Pay::confidential(pegged, rest, node.life.alice.script())];
    pays.extend(scripts.iter().map(|script| Pay::explicit(pegged, each, script.clone())));
    let payment = node.life.chain.pay(std::slice::from_ref(&node.life.money), &pays).unwrap();
    node.life.money = payment.coin(0, node.life.alice).unwrap();
    node.extend(vec![payment.transaction.clone()]);
}

fn ask(node: &Node, question: &str) -> Value {
    serde_json::from_str(&node.get(&format!("/api/v2/waterfalls?{question}"))).unwrap()
}

/// Lengths of the histories of both chains, by index.
fn lengths(answer: &Value) -> [Vec<usize>; 2] {
    let seen = answer["txs_seen"].as_object().unwrap();
    [0, 1].map(|chain| {
        let name = format!("elwpkh({KEY}/{chain}/*)#");
        let (_, of_chain) = seen.iter().find(|(found, _)| found.starts_with(&name)).unwrap();
        of_chain.as_array().unwrap().iter().map(|seen| seen.as_array().unwrap().len()).collect()
    })
}

#[test]
fn a_wallet_is_searched_to_the_gap_and_as_far_as_it_asks() {
    let mut node = Node::start();
    pay(&mut node, &[script(0, 0), script(0, 15), script(0, 90), script(0, 1_005), script(1, 3)]);
    let descriptor = format!("descriptor=elwpkh({KEY}/%3C0;1%3E/*)");

    let answer = ask(&node, &descriptor);
    let [receiving, change] = lengths(&answer);
    assert_eq!((receiving.len(), change.len()), (40, 40), "whole gaps after the last used one");
    let used = |lengths: &[usize]| {
        lengths.iter().enumerate().filter(|(_, length)| **length > 0).map(|(index, _)| index).collect()
    };
    assert_eq!((used(&receiving), used(&change)), (vec![0, 15], vec![3]));
    assert_eq!((&answer["page"], &answer["tip"]), (&json!(0), &json!(node.hash(8))));

    let [receiving, _] = lengths(&ask(&node, &format!("{descriptor}&to_index=90")));
    assert_eq!((receiving.len(), used(&receiving)), (120, vec![0, 15, 90]));

    let answer = ask(&node, &format!("{descriptor}&page=1"));
    let [receiving, change] = lengths(&answer);
    assert_eq!((used(&receiving), change.len(), &answer["page"]), (vec![5], 20, &json!(1)));
    let [receiving, _] = lengths(&ask(&node, &format!("{descriptor}&to_index=5000")));
    assert_eq!(receiving.len(), 1_000, "a page is full");

    let last: Value = serde_json::from_str(&node.get(&format!("/api/v1/last_used_index?{descriptor}"))).unwrap();
    assert_eq!((&last["external"], &last["internal"]), (&json!(15), &json!(3)));
    let answer = ask(&node, &format!("descriptor=elwpkh({KEY}/0/15)"));
    let only: Vec<&Value> = answer["txs_seen"].as_object().unwrap().values().collect();
    assert_eq!((only.len(), only[0].as_array().unwrap().len()), (1, 1), "one address is one");
}

#[test]
fn an_address_that_is_used_much_is_told_in_pages() {
    let mut node = Node::start();
    let (alice, pegged) = (node.life.alice, node.life.chain.pegged());
    // Each spends the one before, so all touch Alice's script.
    let rest = node.life.money.secrets.value - FEE_SAT - FLOAT_SAT;
    let pays = [Pay::confidential(pegged, rest, alice.script()), Pay::explicit(pegged, FLOAT_SAT, alice.script())];
    let split = node.life.chain.pay(std::slice::from_ref(&node.life.money), &pays).unwrap();
    node.extend(vec![split.transaction.clone()]);
    let mut money: Coin = split.coin(1, alice).unwrap();
    node.life.money = split.coin(0, alice).unwrap();
    let mut made = BTreeSet::from([split.transaction.txid().to_string()]);
    for _ in 0..3 {
        let mut transactions = Vec::new();
        for _ in 0..80 {
            let pay = Pay::explicit(pegged, money.secrets.value - FEE_SAT, alice.script());
            let payment = node.life.chain.pay(&[money], &[pay]).unwrap();
            money = payment.coin(0, alice).unwrap();
            made.insert(payment.transaction.txid().to_string());
            transactions.push(payment.transaction.clone());
        }
        node.extend(transactions);
    }
    let address = Address::from_script(&alice.script(), None, &AddressParams::ELEMENTS).unwrap().to_string();
    let mut told = BTreeSet::new();
    for page in 0.. {
        let answer = ask(&node, &format!("addresses={address}&page={page}"));
        let seen = answer["txs_seen"]["addresses"][0].as_array().unwrap();
        assert_eq!(answer["page"], json!(page));
        for entry in seen {
            assert!(told.insert(entry["txid"].as_str().unwrap().to_owned()), "told twice");
        }
        if answer["has_more"] != json!([address]) {
            assert!(seen.len() <= PAGE && answer["has_more"].is_null());
            break;
        }
        assert_eq!(seen.len(), PAGE);
    }
    assert!(made.is_subset(&told));

    // In pages of Esplora's kind it is the same.
    let mut paged = BTreeSet::new();
    let mut path = format!("/api/address/{address}/txs/chain");
    loop {
        let page: Vec<Value> = serde_json::from_str(&node.get(&path)).unwrap();
        let Some(last) = page.last() else { break };
        path = format!("/api/address/{address}/txs/chain/{}", last["txid"].as_str().unwrap());
        assert!(page.len() <= 25);
        paged.extend(page.iter().map(|transaction| transaction["txid"].as_str().unwrap().to_owned()));
    }
    assert_eq!(paged, told);

    // So many coins under one script are not told, by either.
    let many = vec![script(0, 0); 600];
    pay(&mut node, &many[..300]);
    pay(&mut node, &many[300..]);
    let address = Address::from_script(&script(0, 0), None, &AddressParams::ELEMENTS).unwrap().to_string();
    let refused = node.ask(&format!("/api/v2/waterfalls?addresses={address}&utxo_only=true"));
    assert_eq!((refused.status().as_u16(), refused.text().unwrap().as_str()), (400, "UtxoOnlyHistoryTooLarge"));
    assert_eq!(node.ask(&format!("/api/address/{address}/utxo")).status().as_u16(), 400);
}
