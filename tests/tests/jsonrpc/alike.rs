//! The same questions to a member and to an elementsd with the same chain.

use std::collections::BTreeSet;

use aquifer_tests::HarnessError;
use aquifer_tests::elementsd::Elementsd;
use serde_json::{Map, Value, json};

use super::wire::Caller;

/// Both who answer.
struct Both<'a> {
    member: &'a Caller,
    elementsd: &'a Elementsd,
}

impl Both<'_> {
    /// Asks both; what they say must be the same but for the fields named, at whatever depth. Gives the member's answer.
    fn alike(&self, method: &str, arguments: &[Value], but: &[&str]) -> Result<Value, HarnessError> {
        let ours = self.member.call(method, arguments)?;
        let theirs: Option<Value> = self.elementsd.call(method, arguments)?;
        let mut found = Vec::new();
        compare(&ours, &theirs.unwrap_or_default(), but, method, &mut found);
        assert!(found.is_empty(), "{method} {arguments:?} differs:\n{}", found.join("\n"));
        Ok(ours)
    }
}

fn compare(ours: &Value, theirs: &Value, but: &[&str], place: &str, found: &mut Vec<String>) {
    match (ours, theirs) {
        (Value::Object(ours), Value::Object(theirs)) => {
            let names: BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
            for name in names.into_iter().filter(|name| !but.contains(&name.as_str())) {
                let field = |of: &Map<String, Value>| of.get(name).cloned().unwrap_or(json!("(no such field)"));
                compare(&field(ours), &field(theirs), but, &format!("{place}.{name}"), found);
            }
        }
        (Value::Array(ours), Value::Array(theirs)) if ours.len() == theirs.len() => {
            for (index, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
                compare(ours, theirs, but, &format!("{place}[{index}]"), found);
            }
        }
        (Value::Number(ours), Value::Number(theirs)) if ours.as_f64() == theirs.as_f64() => {}
        (ours, theirs) if ours == theirs => {}
        (ours, theirs) => found.push(format!("{place}: {ours} here, {theirs} from elementsd")),
    }
}

pub(crate) fn check(member: &Caller, elementsd: &Elementsd, pegout: &str) -> Result<(), HarnessError> {
    let both = Both { member, elementsd };
    chain(&both)?;
    let scripts = blocks(&both, pegout)?;
    sidechain(&both)?;
    addresses(&both, &scripts)?;
    scans(&both, &scripts)?;
    waiting(&both)
}

fn chain(both: &Both<'_>) -> Result<(), HarnessError> {
    for method in ["getblockcount", "getbestblockhash", "getchaintips"] {
        both.alike(method, &[], &[])?;
    }
    // How large the files are, how long ago the tip was, what a node warns of, and the activation of rules that always held.
    let but = ["size_on_disk", "verificationprogress", "initialblockdownload", "warnings", "softforks"];
    both.alike("getblockchaininfo", &[], &but)?;
    let sums = ["bogosize", "total_amount", "transactions", "disk_size"];
    both.alike("gettxoutsetinfo", &[json!("none")], &sums)?;
    Ok(())
}

/// Every block and transaction; gives the output scripts.
fn blocks(both: &Both<'_>, pegout: &str) -> Result<BTreeSet<String>, HarnessError> {
    let height = both.member.call("getblockcount", &[])?.as_u64().unwrap();
    let mut scripts = BTreeSet::new();
    let (mut pegins, mut issuances, mut pegouts, mut hidden) = (0, 0, 0, 0);
    for height in 0..=height {
        let hash = both.alike("getblockhash", &[json!(height)], &[])?;
        both.alike("getblockheader", std::slice::from_ref(&hash), &[])?;
        both.alike("getblockheader", &[hash.clone(), json!(false)], &[])?;
        both.alike("getblock", &[hash.clone(), json!(0)], &[])?;
        both.alike("getblock", std::slice::from_ref(&hash), &[])?;
        let block = both.alike("getblock", &[hash.clone(), json!(2)], &[])?;
        for transaction in block["tx"].as_array().unwrap() {
            let txid = &transaction["txid"];
            both.alike("getrawtransaction", &[txid.clone(), json!(true), hash.clone()], &[])?;
            both.alike("getrawtransaction", &[txid.clone(), json!(false), hash.clone()], &[])?;
            both.alike("decoderawtransaction", &[transaction["hex"].clone()], &[])?;
            for input in transaction["vin"].as_array().unwrap() {
                pegins += usize::from(input["is_pegin"] == true);
                issuances += usize::from(input.get("issuance").is_some());
            }
            for output in transaction["vout"].as_array().unwrap() {
                scripts.insert(output["scriptPubKey"]["hex"].as_str().unwrap().to_owned());
                pegouts += usize::from(output["scriptPubKey"].get("pegout_chain").is_some() && *txid == pegout);
                hidden += usize::from(output.get("valuecommitment").is_some());
                // elementsd forgets the nonces of outputs in blocks.
                let arguments = [txid.clone(), output["n"].clone(), json!(false)];
                both.alike("gettxout", &arguments, &["commitmentnonce"])?;
            }
        }
    }
    assert!(pegins > 0 && issuances > 1 && pegouts == 1 && hidden > 5, "{pegins} {issuances} {pegouts} {hidden}");
    Ok(scripts)
}

fn sidechain(both: &Both<'_>) -> Result<(), HarnessError> {
    for method in ["getsidechaininfo", "getpakinfo", "dumpassetlabels"] {
        both.alike(method, &[], &[])?;
    }
    let claim_script = json!("00141111111111111111111111111111111111111111");
    both.alike("tweakfedpegscript", std::slice::from_ref(&claim_script), &[])?;
    let key = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
    both.alike("tweakfedpegscript", &[claim_script, json!(format!("5121{key}51ae"))], &[])?;
    Ok(())
}

fn addresses(both: &Both<'_>, scripts: &BTreeSet<String>) -> Result<(), HarnessError> {
    let key = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
    let others = [
        format!("21{key}ac"),
        format!("5121{key}51ae"),
        format!("76a914{}88ac", "11".repeat(20)),
        format!("a914{}87", "11".repeat(20)),
        format!("5120{}", &key[2..]),
        format!("5220{}", &key[2..]),
        "6a0301020304ffffffff".to_owned(),
        "51".to_owned(),
        "00c0c1c7d6e4ba".to_owned(),
        "0500".to_owned(),
        String::new(),
    ];
    for script in scripts.iter().chain(&others) {
        let decoded = both.alike("decodescript", &[json!(script)], &[])?;
        for field in ["/address", "/p2sh", "/segwit/address", "/segwit/p2sh-segwit", "/pegout_address"] {
            let Some(address) = decoded.pointer(field) else { continue };
            // elementsd describes the parent's address as if it were one of this chain, with a blinding key.
            let but: &[&str] = if field == "/pegout_address" { &["confidential_key", "unconfidential"] } else { &[] };
            both.alike("validateaddress", std::slice::from_ref(address), but)?;
            if field != "/pegout_address" {
                let blinded = both.alike("createblindedaddress", &[address.clone(), json!(key)], &[])?;
                both.alike("validateaddress", &[blinded], &[])?;
            }
        }
    }
    let valid = both.member.call("validateaddress", &[json!("nonsense")])?;
    assert!(valid["isvalid"] == false && valid["isvalid_parent"] == false, "{valid}");
    Ok(())
}

fn scans(both: &Both<'_>, scripts: &BTreeSet<String>) -> Result<(), HarnessError> {
    let objects: Vec<Value> =
        scripts.iter().filter(|script| !script.is_empty()).map(|script| json!(format!("raw({script})"))).collect();
    let found = both.alike("scantxoutset", &[json!("start"), json!(objects)], &["unspents"])?;
    let theirs: Value = both.elementsd.call("scantxoutset", &[json!("start"), json!(objects)])?;
    let by_output = |found: &Value| -> BTreeSet<String> {
        found["unspents"].as_array().unwrap().iter().map(Value::to_string).collect()
    };
    assert_eq!(by_output(&found), by_output(&theirs));
    assert!(by_output(&found).len() > 5, "{found}");
    let xpub = "tpubD6NzVbkrYhZ4XgiXtGrdW5XDAPFCL9h7we1vwNCpn8tGbBcgfVYjXyhWo4E1xkh56hjod1RhGjxbaTLV3X4FyWuejifB9jusQ46QzG87VKp";
    let object = json!([{"desc": format!("wpkh({xpub}/0/*)"), "range": [0, 20]}]);
    both.alike("scantxoutset", &[json!("start"), object], &[])?;
    Ok(())
}

/// What waits: sent to both, and judged alike.
fn waiting(both: &Both<'_>) -> Result<(), HarnessError> {
    let waits = both.member.call("getrawmempool", &[])?;
    let txid = waits[0].clone();
    let hex = both.member.call("getrawtransaction", std::slice::from_ref(&txid))?;
    // What a test would say is asked of elementsd alone: the member has it already.
    let theirs: Value = both.elementsd.call("testmempoolaccept", &[json!([hex])])?;
    assert_eq!(theirs[0]["allowed"], true, "{theirs}");
    both.elementsd.call::<Value>("sendrawtransaction", std::slice::from_ref(&hex))?;
    both.alike("sendrawtransaction", std::slice::from_ref(&hex), &[])?;
    both.alike("testmempoolaccept", &[json!([hex])], &[])?;
    both.alike("getrawmempool", &[], &[])?;
    both.alike("getmempoolentry", std::slice::from_ref(&txid), &["time", "unbroadcast"])?;
    both.alike("getrawmempool", &[json!(true)], &["time", "unbroadcast"])?;
    both.alike("getmempoolancestors", std::slice::from_ref(&txid), &[])?;
    both.alike("getmempooldescendants", &[txid.clone(), json!(true)], &[])?;
    both.alike("getmempoolinfo", &[], &["usage", "incrementalrelayfee", "unbroadcastcount"])?;
    let decoded = both.alike("getrawtransaction", &[txid.clone(), json!(true)], &[])?;
    // elementsd shows fees that wait as outputs that could be spent.
    let outputs = decoded["vout"].as_array().unwrap().iter();
    for output in outputs.filter(|output| output["scriptPubKey"]["type"] != "fee") {
        both.alike("gettxout", &[txid.clone(), output["n"].clone()], &[])?;
    }
    for input in decoded["vin"].as_array().unwrap() {
        both.alike("gettxout", &[input["txid"].clone(), input["vout"].clone()], &[])?;
    }
    refusals(both, &decoded, hex.as_str().unwrap())
}

/// What neither takes, under the same names.
fn refusals(both: &Both<'_>, waiting: &Value, hex: &str) -> Result<(), HarnessError> {
    let block = both.member.call("getbestblockhash", &[])?;
    let block = both.member.call("getblock", &[block, json!(2)])?;
    let coinbase = &block["tx"][0]["hex"];
    let previous = waiting["vin"][0]["txid"].as_str().unwrap();
    let reversed: String = {
        let mut bytes = hex::decode(previous).unwrap();
        bytes.reverse();
        hex::encode(bytes)
    };
    let missing = hex.replace(&reversed, &"22".repeat(32));
    let mut later = hex.to_owned();
    later.replace_range(0..8, "09000000");
    for refused in [json!(missing), json!(later), coinbase.clone()] {
        let answer = both.alike("testmempoolaccept", &[json!([refused])], &["reject-details"])?;
        assert_eq!(answer[0]["allowed"], false, "{answer}");
        let (status, ours) = both.member.try_call("sendrawtransaction", std::slice::from_ref(&refused))?;
        let theirs = both.elementsd.call::<Value>("sendrawtransaction", &[refused]).unwrap_err().to_string();
        assert_eq!(status, 500, "{ours}");
        assert!(theirs.contains(&format!("code: {}", ours["error"]["code"])), "{theirs} {ours}");
    }
    Ok(())
}
