//! Clients that mean no good, beside one that does and notices nothing.

use std::io::Write as _;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::server::{Client, Server};

/// The code of the error in the next line.
fn refused(client: &mut Client) -> Option<i64> {
    client.receive().map(|answer| answer["error"]["code"].as_i64().unwrap())
}

#[test]
fn who_sends_no_requests_is_answered_and_then_left() {
    let server = Server::start(90);
    let mut honest = server.connect();
    for garbage in ["GET / HTTP/1.1", "\u{0}\u{1}\u{2}", "{}", "[[]]", "\"ping\"", ""] {
        let mut client = server.connect();
        // Some mistakes are forgiven.
        client.send(garbage);
        assert!(client.receive().is_some(), "{garbage:?} is answered");
        assert_eq!(client.ask("server.ping", &json!([])), json!(null));
        for _ in 0..20 {
            // Fails once the connection has ended.
            let _ = client.stream.write_all(format!("{garbage}\n").as_bytes());
        }
        let mut answers = 0;
        while client.receive().is_some() {
            answers += 1;
        }
        assert!(answers <= 10, "{answers} answers to {garbage:?}");
    }
    assert_eq!(honest.ask("server.ping", &json!([])), json!(null));
}

#[test]
fn a_line_without_end_is_refused() {
    let server = Server::start(91);
    let mut client = server.connect();
    let part = vec![b'['; 1 << 20];
    // Fails once the connection has ended.
    while client.stream.write_all(&part).is_ok() {}
    // The answer may be lost with the connection, as what was sent is not read to its end.
    assert!(matches!(refused(&mut client), None | Some(-32_600)));
    assert_eq!(client.receive(), None);
    assert_eq!(server.connect().ask("server.ping", &json!([])), json!(null));
}

#[test]
fn too_many_subscriptions_and_too_long_arrays_are_refused() {
    let server = Server::start(92);
    let mut client = server.connect();
    let request =
        |id: u32| json!({ "id": id, "method": "blockchain.scripthash.subscribe", "params": [format!("{id:064x}")] });
    let mut refused = 0;
    for start in (0..10_001).step_by(20) {
        client.send(&json!((start..start + 20).map(request).collect::<Vec<_>>()).to_string());
        refused +=
            client.receive().unwrap().as_array().unwrap().iter().filter(|one| one.get("error").is_some()).count();
    }
    assert_eq!(refused, 20, "10,000 are allowed");
    client.send(&json!((0..21).map(request).collect::<Vec<_>>()).to_string());
    assert_eq!(client.receive().unwrap()["error"]["code"], -32_600);
}

#[test]
fn who_does_not_read_is_left() {
    let server = Server::start(93);
    let mut honest = server.connect();
    let mut client = server.connect();
    client.stream.set_write_timeout(Some(Duration::from_secs(5))).unwrap();
    let question = json!({ "id": 1, "method": "blockchain.block.headers", "params": [0, 7] }).to_string();
    let questions = format!("{question}\n").repeat(1_000);
    // Until nothing more goes in: the server waits for the client to read.
    while client.stream.write_all(questions.as_bytes()).is_ok() {}
    let start = Instant::now();
    assert_eq!(honest.ask("server.ping", &json!([])), json!(null));
    assert!(start.elapsed() < Duration::from_secs(5), "others are answered meanwhile");
    // It gives up after half a minute. What was sent before it is still there to be read.
    std::thread::sleep(Duration::from_secs(31));
    let mut bytes = 0_u64;
    let end = std::io::copy(&mut client.stream, &mut std::io::sink()).inspect(|count| bytes += count);
    assert!(end.is_ok() || end.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset));
    assert_eq!(honest.ask("server.ping", &json!([])), json!(null));
}
