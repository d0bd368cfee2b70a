//! What is refused, how, and under which headers answers come.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use crate::node::Node;

fn header<'a>(answer: &'a reqwest::blocking::Response, name: &str) -> &'a str {
    answer.headers().get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
}

#[test]
fn bad_questions_are_refused_in_words() {
    let node = Node::start();
    let zero = "00".repeat(32);
    let (bob, silver) = (node.life.bob.script(), node.silver);
    let bob = elements::Address::from_script(&bob, None, &elements::AddressParams::ELEMENTS).unwrap();
    let blinder = node.life.money.output.nonce.commitment().unwrap();
    let blinded = bob.to_confidential(blinder);
    let liquid = "ex1q7gkeyjut0mrxc3j0kjlt7rmcnvsh0gt45d3fud";
    let many = vec![bob.to_string(); 101].join(",");
    for (path, status) in [
        ("/nowhere".to_owned(), 404),
        ("/block/xyz".to_owned(), 400),
        (format!("/block/{zero}"), 404),
        (format!("/block/{zero}/txs"), 404),
        (format!("/block/{}/txs/7", node.hash(3)), 400),
        (format!("/block/{}/txs/25", node.hash(3)), 400),
        (format!("/block/{}/txid/9", node.hash(3)), 404),
        (format!("/block/{}/nothing", node.hash(3)), 404),
        ("/block-height/99999".to_owned(), 404),
        ("/block-height/4294967296".to_owned(), 400),
        ("/block-height/-1".to_owned(), 400),
        ("/blocks/99999".to_owned(), 404),
        ("/block-template".to_owned(), 403),
        ("/tx/12".to_owned(), 400),
        (format!("/tx/{zero}"), 404),
        (format!("/tx/{zero}/hex"), 404),
        (format!("/tx/{zero}/merkle-proof"), 404),
        (format!("/tx/{zero}/outspends"), 404),
        (format!("/tx/{zero}/outspend/99999999999"), 400),
        ("/address/nobody".to_owned(), 400),
        (format!("/address/{liquid}"), 400),
        (format!("/address/{bob}/nothing"), 404),
        (format!("/address/{bob}/txs/chain/12"), 400),
        ("/scripthash/00".to_owned(), 400),
        ("/address-prefix/ert".to_owned(), 400),
        ("/asset/12".to_owned(), 400),
        (format!("/asset/{zero}"), 404),
        (format!("/asset/{silver}/nothing"), 404),
        ("/assets/registry?sort_field=price".to_owned(), 400),
        ("/assets/registry?sort_dir=up".to_owned(), 400),
        ("/assets/registry?limit=many".to_owned(), 400),
        ("/broadcast".to_owned(), 400),
        ("/broadcast?tx=00".to_owned(), 400),
        ("/v2/waterfalls".to_owned(), 400),
        (format!("/v2/waterfalls?addresses={bob}&descriptor=x"), 400),
        (format!("/v2/waterfalls?addresses={bob},{bob}&page=1"), 400),
        (format!("/v2/waterfalls?addresses={blinded}"), 400),
        (format!("/v2/waterfalls?addresses={many}"), 400),
        (format!("/v2/waterfalls?addresses={bob}&page=70000"), 400),
        (format!("/v2/waterfalls?addresses={bob}&utxo_only=maybe"), 400),
        ("/v2/waterfalls?descriptor=elwpkh(nothing)".to_owned(), 400),
        ("/v1/last_used_index".to_owned(), 400),
        ("/v1/subscribe?descriptor=nothing".to_owned(), 400),
    ] {
        let answer = node.ask(&format!("/api{path}"));
        assert_eq!(answer.status().as_u16(), status, "{path}: {}", answer.text().unwrap());
        assert_eq!(header(&answer, "content-type"), "text/plain", "{path}");
        assert_eq!(header(&answer, "cache-control"), "no-store", "{path}");
        assert_eq!(header(&answer, "access-control-allow-origin"), "*", "{path}");
        assert!(!answer.text().unwrap().is_empty(), "{path} does not say why");
    }
    // A descriptor that was encrypted to the key of somebody else, as it stands in a URL.
    let sealed = include_str!("sealed.txt").trim();
    let answer = node.ask(&format!("/api/v2/waterfalls?descriptor={sealed}"));
    assert_eq!((answer.status().as_u16(), answer.text().unwrap()), (422, "CannotDecrypt".to_owned()));

    for (path, body, status) in [
        ("/tx", "".to_owned(), 400),
        ("/tx", "zz".to_owned(), 400),
        ("/tx", "00".repeat(100), 400),
        ("/txs/package", "{}".to_owned(), 400),
        ("/txs/package", serde_json::to_string(&vec!["00"; 26]).unwrap(), 400),
    ] {
        let answer = node.post(&format!("/api{path}"), body);
        assert_eq!(answer.status().as_u16(), status, "{path}: {}", answer.text().unwrap());
    }
    for path in ["/registry/12", &format!("/registry/{zero}")] {
        assert!(node.ask(path).status().is_client_error(), "{path}");
    }
    assert_eq!(node.get("/api/blocks/tip/height"), "7", "it goes on");
}

#[test]
fn answers_say_how_long_they_hold() {
    let node = Node::start();
    let kept = |path: &str| header(&node.ask(path), "cache-control").to_owned();
    let settled = "public, max-age=157784630";
    assert_eq!(kept("/api/blocks/tip/hash"), "public, max-age=10");
    assert_eq!(kept("/api/block-height/3"), settled);
    assert_eq!(kept(&format!("/api/block/{}", node.hash(3))), settled);
    assert_eq!(kept(&format!("/api/tx/{}/raw", node.txids(3)[1])), settled);
    assert_eq!(kept(&format!("/api/tx/{}/outspends", node.txids(3)[1])), "public, max-age=10");
    assert_eq!(kept("/api/mempool/recent"), "public, max-age=5");
    let listed = node.ask("/api/assets/registry?limit=1");
    assert_eq!((header(&listed, "x-total-results"), header(&listed, "cache-control")), ("1", "no-store"));
    let past = node.ask("/api/assets/registry?start_index=1");
    assert_eq!(header(&past, "x-total-results"), "1");
    assert_eq!(past.text().unwrap(), "[]");

    let index = node.ask("/registry/index.json");
    let modified = header(&index, "last-modified").to_owned();
    assert!(modified.ends_with(" GMT"), "{modified}");
    let again = reqwest::blocking::Client::new()
        .get(node.url("/registry/index.json"))
        .header("If-Modified-Since", modified)
        .send()
        .unwrap();
    assert_eq!((again.status().as_u16(), again.text().unwrap().as_str()), (304, ""));
}

#[test]
fn clients_of_every_age_are_answered() {
    let node = Node::start();
    // As the oldest do: no host, bare line feeds.
    let mut stream = TcpStream::connect(node.address).unwrap();
    stream.write_all(b"GET /api/blocks/tip/height HTTP/1.0\n\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("200 OK\r\n") && answer.ends_with("\r\n\r\n7"), "{answer}");
    assert!(answer.contains("\r\nContent-Length: 1\r\n"), "{answer}");
    let asked = reqwest::blocking::Client::new().request(reqwest::Method::OPTIONS, node.url("/api/tx")).send().unwrap();
    assert_eq!((asked.status().as_u16(), header(&asked, "access-control-allow-methods")), (204, "GET, POST, OPTIONS"));
}
