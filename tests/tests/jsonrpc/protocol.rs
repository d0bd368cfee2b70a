//! What every client meets before any call: login, paths, versions, batches, statuses, errors.

use std::os::unix::fs::PermissionsExt as _;

use aquifer_tests::HarnessError;
use serde_json::{Value, json};

use super::wire::Caller;

pub(crate) fn check(caller: &Caller) -> Result<(), HarnessError> {
    logging_in(caller)?;
    versions(caller)?;
    batches(caller)?;
    errors(caller)?;
    help(caller)
}

fn logging_in(caller: &Caller) -> Result<(), HarnessError> {
    let mode =
        std::fs::metadata(&caller.cookie).map_err(HarnessError::file("look at", &caller.cookie))?.permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let body = r#"{"method":"getblockcount","params":[],"id":1}"#;
    let length = body.len();
    for authorization in ["", "Authorization: Basic X19jb29raWVfXzp4\r\n", "Authorization: Bearer x\r\n"] {
        let answer = caller.exchange(
            format!("POST / HTTP/1.1\r\nHost: x\r\n{authorization}Content-Length: {length}\r\n\r\n{body}").as_bytes(),
        )?;
        assert_eq!(answer.status(), 401, "{answer:?}");
        assert!(answer.headers["Www-Authenticate"].starts_with("Basic realm="), "{answer:?}");
        assert!(answer.body.is_empty());
    }
    // As an indexer writes it: bare line feeds, no host.
    let authorization = caller.authorization();
    let answer = caller.exchange(
        format!("POST / HTTP/1.1\nAuthorization: {authorization}\nContent-Length: {length}\n\n{body}").as_bytes(),
    )?;
    assert_eq!(answer.status_line, "HTTP/1.1 200 OK");
    assert_eq!(answer.headers["Content-Type"], "application/json");
    assert!(!answer.headers.contains_key("Transfer-Encoding") && answer.body.ends_with("\n"), "{answer:?}");
    let answer =
        caller.exchange(format!("GET / HTTP/1.1\r\nHost: x\r\nAuthorization: {authorization}\r\n\r\n").as_bytes())?;
    assert_eq!((answer.status(), answer.body.as_str()), (405, "JSONRPC server handles only POST requests\n"));
    assert_eq!(caller.post("/elsewhere", body)?.status(), 404);
    let answer = caller.post("/wallet/mine", body)?;
    assert_eq!((answer.status(), &answer.json()["error"]["code"]), (500, &json!(-18)), "{answer:?}");
    let too_long =
        format!("POST / HTTP/1.1\r\nHost: x\r\nAuthorization: {authorization}\r\nContent-Length: 99999999\r\n\r\n");
    assert_eq!(caller.exchange(too_long.as_bytes())?.status(), 413);
    Ok(())
}

fn versions(caller: &Caller) -> Result<(), HarnessError> {
    let ask = |request: Value| caller.post("/", &request.to_string());
    for version in [json!(null), json!("1.0"), json!("1.1")] {
        let answer = ask(json!({"jsonrpc": version, "method": "getblockcount", "id": "a"}))?;
        let fields = answer.json();
        assert_eq!(answer.status(), 200);
        assert!(fields["result"].is_u64() && fields["id"] == "a", "{fields}");
        assert_eq!(fields.as_object().unwrap().get("error"), Some(&Value::Null));
        assert!(!answer.body.contains("jsonrpc"));
    }
    let answer = ask(json!({"jsonrpc": "2.0", "method": "getblockcount", "id": null}))?;
    let fields = answer.json();
    assert!(answer.status() == 200 && fields["jsonrpc"] == "2.0" && fields.get("error").is_none(), "{fields}");
    let answer = ask(json!({"jsonrpc": "2.0", "method": "nothing", "id": 1}))?;
    let fields = answer.json();
    assert!(answer.status() == 200 && fields["error"]["code"] == -32601 && fields.get("result").is_none(), "{fields}");
    let answer = ask(json!({"jsonrpc": "2.0", "method": "getblockcount"}))?;
    assert_eq!((answer.status(), answer.body.as_str()), (204, ""));
    for (request, status, code) in [
        (json!({"method": "nothing", "id": 1}), 404, -32601),
        (json!({"method": "getnewaddress", "id": 1}), 404, -32601),
        (json!({"method": "generatetoaddress", "params": [1, "x"], "id": 1}), 404, -32601),
        (json!({"id": 1}), 400, -32600),
        (json!({"method": 7, "id": 1}), 400, -32600),
        (json!({"method": "getblockcount", "params": "x", "id": 1}), 400, -32600),
        (json!({"jsonrpc": "3.0", "method": "getblockcount", "id": 1}), 400, -32600),
        (json!(7), 500, -32700),
    ] {
        let answer = ask(request.clone())?;
        assert_eq!((answer.status(), &answer.json()["error"]["code"]), (status, &json!(code)), "{request}: {answer:?}");
    }
    let answer = caller.post("/", "{not json")?;
    assert_eq!((answer.status(), &answer.json()["error"]["code"]), (500, &json!(-32700)));
    Ok(())
}

fn batches(caller: &Caller) -> Result<(), HarnessError> {
    let batch = json!([
        {"method": "getblockhash", "params": [0], "id": 1},
        {"method": "nothing", "id": 2},
        7,
        {"jsonrpc": "2.0", "method": "getblockcount"},
        {"jsonrpc": "2.0", "method": "getblockhash", "params": {"height": 1}, "id": 3}
    ]);
    let answer = caller.post("/", &batch.to_string())?;
    let answers = answer.json();
    assert_eq!((answer.status(), answers.as_array().unwrap().len()), (200, 4), "{answers}");
    assert!(answers[0]["result"].is_string() && answers[0]["id"] == 1);
    assert_eq!((&answers[1]["error"]["code"], &answers[2]["error"]["code"]), (&json!(-32601), &json!(-32600)));
    assert!(answers[3]["result"].is_string() && answers[3]["jsonrpc"] == "2.0");
    assert_eq!(caller.post("/", "[]")?.json(), json!([]));
    let silent = caller.post("/", r#"[{"jsonrpc":"2.0","method":"getblockcount"}]"#)?;
    assert_eq!((silent.status(), silent.body.as_str()), (204, ""));
    // As many as an indexer asks for at once.
    let many: Vec<Value> = (0..50_000).map(|id| json!({"method": "getblockhash", "params": [0], "id": id})).collect();
    assert_eq!(caller.post("/", &json!(many).to_string())?.json().as_array().unwrap().len(), many.len());
    Ok(())
}

fn errors(caller: &Caller) -> Result<(), HarnessError> {
    let missing = "11".repeat(32);
    for (method, arguments, code) in [
        ("getblockhash", json!([99_999_999]), -8),
        ("getblockhash", json!([-1]), -8),
        ("getblockhash", json!(["1"]), -3),
        ("getblockhash", json!([]), -1),
        ("getblockhash", json!([1, 2]), -1),
        ("getblockhash", json!({"hoehe": 1}), -8),
        ("getblock", json!([missing]), -5),
        ("getblock", json!(["11"]), -8),
        ("getblockheader", json!(["zz".repeat(32)]), -8),
        ("getrawtransaction", json!([missing]), -5),
        ("getrawtransaction", json!([missing, true, missing]), -5),
        ("getmempoolentry", json!([missing]), -5),
        ("decoderawtransaction", json!(["00"]), -22),
        ("sendrawtransaction", json!(["zz"]), -22),
        ("testmempoolaccept", json!([[]]), -8),
        ("estimatesmartfee", json!([0]), -8),
        ("createblindedaddress", json!(["nonsense", missing]), -5),
        ("scantxoutset", json!(["start"]), -1),
        ("scantxoutset", json!(["nonsense"]), -8),
    ] {
        let body = json!({"method": method, "params": arguments, "id": 1}).to_string();
        let answer = caller.post("/", &body)?;
        assert_eq!(
            (answer.status(), &answer.json()["error"]["code"]),
            (500, &json!(code)),
            "{method} {arguments}: {answer:?}"
        );
    }
    assert_eq!(caller.call("scantxoutset", &[json!("status")])?, Value::Null);
    assert_eq!(caller.call("scantxoutset", &[json!("abort")])?, json!(false));
    Ok(())
}

fn help(caller: &Caller) -> Result<(), HarnessError> {
    let all = caller.call("help", &[])?;
    for line in ["== Blockchain ==", "getblock \"blockhash\" ( verbosity )", "== Sidechain ==", "uptime"] {
        assert!(all.as_str().unwrap().contains(line), "{line}: {all}");
    }
    assert!(caller.call("help", &[json!("getblock")])?.as_str().unwrap().contains("verbosity"));
    assert!(caller.call("help", &[json!("getnewaddress")])?.as_str().unwrap().contains("no wallet"));
    assert_eq!(caller.call("help", &[json!("nothing")])?, json!("help: unknown command: nothing"));
    let network = caller.call("getnetworkinfo", &[])?;
    assert!(network["version"].as_u64().unwrap() >= 160_000, "{network}");
    assert!(network["subversion"].as_str().unwrap().starts_with("/Aquifer:"), "{network}");
    // What an indexer asks before it begins; two of four members are gone.
    let chain = caller.call("getblockchaininfo", &[])?;
    assert!(chain["blocks"] == chain["headers"] && chain["initialblockdownload"] == false, "{chain}");
    assert_eq!(caller.call("estimatesmartfee", &[json!(6), json!("ECONOMICAL")])?["feerate"], json!(0.000_001));
    assert_eq!(caller.call("getrpcinfo", &[])?["active_commands"][0]["method"], "getrpcinfo");
    assert!(caller.call("uptime", &[])?.is_u64() && caller.call("getpeerinfo", &[])?.is_array());
    assert!(caller.call("getindexinfo", &[])?["txindex"]["synced"].as_bool().unwrap());
    Ok(())
}
