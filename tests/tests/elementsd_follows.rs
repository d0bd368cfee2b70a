//! The other implementation judges every block of the whole story.

use std::collections::BTreeSet;
use std::io::{self, Write};

use aquifer_tests::HarnessError;
use aquifer_tests::demo::{self, Stage, Summary, Teller};
use aquifer_tests::devnet::{Devnet, DevnetOptions};
use aquifer_tests::elementsd::{Elementsd, VARIABLE};
use elements::{Block, OutPoint};
use serde_json::{Value, json};

#[test]
fn elementsd_accepts_every_block() -> Result<(), HarnessError> {
    let Some(program) = Elementsd::program() else {
        // Written around the test runner, which shows nothing of a test that passes.
        return writeln!(io::stderr(), "SKIPPED: {VARIABLE} is not set, so no elementsd judges the blocks")
            .map_err(HarnessError::program("say what is skipped by", "this test"));
    };
    Devnet::play(DevnetOptions::default(), |devnet| {
        let mut teller = Teller::new(Stage::Errors);
        let summary = demo::tell(devnet, &mut teller)?;
        let chain = devnet.chain()?;
        let configuration = devnet.member(0)?.elements_conf()?;
        let elementsd = Elementsd::start(program, &configuration, &chain.file().params.name)?;

        let genesis: String = elementsd.call("getblockhash", &[json!(0)])?;
        assert_eq!(genesis, chain.genesis().to_string());
        let blocks = elementsd.follow(&devnet.ledger()?, summary.height)?;
        let best: String = elementsd.call("getbestblockhash", &[])?;
        assert_eq!(best, summary.tip_hash, "elementsd ends on our tip");
        compare_unspent(&elementsd, &blocks)?;
        compare_peg(&elementsd, &summary)
    })
}

/// Every output that we hold for unspent is unspent for elementsd, and it has no others.
fn compare_unspent(elementsd: &Elementsd, blocks: &[Block]) -> Result<(), HarnessError> {
    let mut unspent = BTreeSet::new();
    for transaction in blocks.iter().flat_map(|block| &block.txdata) {
        for input in transaction.input.iter().filter(|input| !input.is_pegin()) {
            unspent.remove(&input.previous_output);
        }
        let outputs = (0..).zip(&transaction.output);
        let spendable =
            outputs.filter(|(_, output)| !output.is_fee() && !output.script_pubkey.is_provably_unspendable());
        unspent.extend(spendable.map(|(vout, _)| OutPoint::new(transaction.txid(), vout)));
    }
    for outpoint in &unspent {
        let found: Option<Value> = elementsd.call("gettxout", &[json!(outpoint.txid), json!(outpoint.vout)])?;
        assert!(found.is_some(), "elementsd does not have {outpoint}");
    }
    let set: Value = elementsd.call("gettxoutsetinfo", &[])?;
    assert_eq!(set.get("txouts"), Some(&json!(unspent.len())), "elementsd has outputs that we do not: {set}");
    Ok(())
}

/// What came in and went out over the peg, as elementsd reads the blocks, is what our members say.
fn compare_peg(elementsd: &Elementsd, summary: &Summary) -> Result<(), HarnessError> {
    let (mut pegged_in, mut pegged_out) = (0_u64, 0_u64);
    for height in 1..=summary.height {
        let hash: String = elementsd.call("getblockhash", &[json!(height)])?;
        let block: Value = elementsd.call("getblock", &[json!(hash), json!(2)])?;
        for transaction in list(&block, "tx") {
            let claims = list(transaction, "vin").filter(|input| input.get("is_pegin") == Some(&json!(true)));
            pegged_in += claims.map(|input| claimed_sat(input).unwrap_or_default()).sum::<u64>();
            let requests =
                list(transaction, "vout").filter(|output| output.pointer("/scriptPubKey/pegout_chain").is_some());
            pegged_out += requests.map(|output| value_sat(output).unwrap_or_default()).sum::<u64>();
        }
    }
    assert_eq!(pegged_in, summary.reserve.pegged_in_sat);
    assert_eq!(pegged_out, summary.reserve.pegged_out_sat);
    Ok(())
}

fn list<'a>(value: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> {
    value.get(field).and_then(Value::as_array).into_iter().flatten()
}

/// The amount of a claim is the first element of its witness: 8 bytes, little endian.
fn claimed_sat(input: &Value) -> Option<u64> {
    let text = input.pointer("/pegin_witness/0")?.as_str()?;
    let bytes: [u8; 8] = hex::decode(text).ok()?.try_into().ok()?;
    Some(u64::from_le_bytes(bytes))
}

fn value_sat(output: &Value) -> Option<u64> {
    let text = output.get("value")?.to_string();
    bitcoin::Amount::from_str_in(&text, bitcoin::Denomination::Bitcoin).ok().map(bitcoin::Amount::to_sat)
}
