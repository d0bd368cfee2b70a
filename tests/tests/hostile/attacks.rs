//! The table: what is done to every port, and within what time the connection must be closed for it.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use aquifer_tests::HarnessError;

use crate::ports::{Port, Target};
use crate::wire::{Line, Opener, Step};

/// What a busy machine may take for anything.
const MARGIN: Duration = Duration::from_secs(15);
/// A mistake ends the connection when it is seen.
const AT_ONCE: u64 = 0;
/// How long a handshake of TLS may take, on every port.
const TLS: u64 = 5;
/// How long a wallet may take to its first call.
const FIRST_CALL: u64 = 10;
/// After how long a wallet that does not answer is gone.
const WALLET_GONE: u64 = 30;
/// How long HTTP waits for a head, or for room for the answer.
const HTTP: u64 = 30;
/// How long a request may take, with its body.
const REQUEST: u64 = 20;
/// How long JSON-RPC waits for a body.
const CALL_BODY: u64 = 30;
/// How long Electrum waits for a line, or for room for its answer.
const ELECTRUM: u64 = 30;
/// How long a peer may take to introduce itself.
const INTRODUCTION: u64 = 20;

/// How the connection begins.
#[derive(Clone, Copy)]
pub(crate) enum Over {
    Tcp,
    Tls,
    /// TLS for HTTP/2.
    Http2,
}

/// What is done on it.
pub(crate) enum How {
    /// Nothing.
    Silence,
    /// This is said, and answers are read.
    Say(Vec<u8>),
    /// A beginning, and then one byte after the other.
    Drip(Vec<u8>, Vec<u8>),
    /// A beginning, and then this again and again, as fast as it is taken.
    Flood(Vec<u8>, Vec<u8>),
    /// This again and again, and no answer is read.
    Deaf(Vec<u8>),
}

pub(crate) struct Attack {
    pub(crate) port: Port,
    pub(crate) name: &'static str,
    over: Over,
    how: How,
    within_s: u64,
}

impl Attack {
    /// Does it. How long it took until the connection was closed.
    pub(crate) fn run(&self, opener: &Opener, target: &Target, from: Ipv4Addr) -> Result<Duration, HarnessError> {
        let story = |what: String| HarnessError::Story(format!("{:?}, {}: {what}", self.port, self.name));
        let address = target.address(self.port);
        let opened = match self.over {
            Over::Tcp => opener.plain(from, address),
            Over::Tls => opener.tls(from, address, false),
            Over::Http2 => opener.tls(from, address, true),
        };
        let mut line = opened.map_err(|error| story(error.to_string()))?;
        let (begun, limit) = (Instant::now(), Duration::from_secs(self.within_s) + MARGIN);
        self.how.go_on(&mut line, begun + limit);
        let took = begun.elapsed();
        if took >= limit {
            return Err(story(format!("the connection is open after {} s", took.as_secs())));
        }
        Ok(took)
    }
}

impl How {
    /// Until the connection is closed or the time is over.
    fn go_on(&self, line: &mut Line, end: Instant) {
        let left = || end.saturating_duration_since(Instant::now());
        let mut drops = match self {
            Self::Silence | Self::Deaf(_) => [].iter(),
            Self::Say(all) => {
                line.write(all, left());
                [].iter()
            }
            Self::Flood(beginning, _) => {
                line.write(beginning, left());
                [].iter()
            }
            Self::Drip(beginning, drops) => {
                line.write(beginning, left());
                drops.iter()
            }
        };
        while !left().is_zero() {
            let is_closed = match self {
                // Whoever does not read learns it when it writes. What is not taken now is not the beginning of another.
                Self::Deaf(again) => line.write(again, left()) == Step::Closed,
                Self::Flood(_, again) => match line.write_some(again) {
                    Step::Done(_) => false,
                    Step::Waits => line.is_closed(),
                    Step::Closed => true,
                },
                Self::Drip(..) => {
                    drops.next().is_some_and(|drop| line.write_some(&[*drop]) == Step::Closed) || line.is_closed()
                }
                Self::Silence | Self::Say(_) => line.is_closed(),
            };
            if is_closed {
                return;
            }
        }
    }
}

/// Longer than any limit, at a byte in each step.
fn forever(byte: u8) -> Vec<u8> {
    vec![byte; 4_096]
}

/// The begin of HTTP/2, with settings.
fn http2() -> Vec<u8> {
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice(), &frame(4, 0, 0, &[])].concat()
}

/// A frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A call without arguments, complete.
fn call(path: &str) -> Vec<u8> {
    let literal =
        |name: &[u8], value: &str| [name, &[u8::try_from(value.len()).unwrap_or(u8::MAX)], value.as_bytes()].concat();
    // POST, https, the path and the type of the content, with names of the static table.
    let head =
        [vec![0x83, 0x87], literal(&[0x04], path), literal(&[0x01], "a"), literal(&[0x0f, 0x10], "application/grpc")];
    [frame(1, 4, 1, &head.concat()), frame(0, 1, 1, &[0; 5])].concat()
}

/// Every attack on every port of a target.
pub(crate) fn table(opener: &Opener, target: &Target) -> Result<Vec<Attack>, HarnessError> {
    let mut table = Vec::new();
    let mut add = |port, name, over, how, within_s| table.push(Attack { port, name, over, how, within_s });
    let garbage = || b"\xde\xad\xbe\xef\r\n\r\n\0 what is this?\r\n\r\n".repeat(4);
    for port in [Port::Peers, Port::Wallets, Port::ElectrumTls] {
        add(port, "no handshake", Over::Tcp, How::Silence, TLS);
        add(port, "a slow handshake", Over::Tcp, How::Drip(Vec::new(), opener.hello()?), TLS);
        add(port, "garbage for a handshake", Over::Tcp, How::Say(garbage()), AT_ONCE);
        let oversized = [[0x16, 3, 1, 0xff, 0xff].as_slice(), &[0; 0xffff]].concat();
        add(port, "a record that is too long", Over::Tcp, How::Flood(oversized, vec![0; 1 << 14]), AT_ONCE);
    }
    add(Port::Peers, "a stranger", Over::Http2, How::Say(http2()), AT_ONCE);

    let port = Port::Wallets;
    add(port, "no call", Over::Http2, How::Silence, FIRST_CALL);
    add(port, "a slow beginning", Over::Http2, How::Drip(Vec::new(), [http2(), forever(0)].concat()), FIRST_CALL);
    add(port, "settings and no call", Over::Http2, How::Say(http2()), FIRST_CALL);
    add(port, "no HTTP/2", Over::Http2, How::Say(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec()), AT_ONCE);
    let long = [http2(), vec![0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1]].concat();
    add(port, "a frame that is too long", Over::Http2, How::Flood(long, vec![0; 1 << 14]), AT_ONCE);
    let asked = [http2(), call("/aquifer.ledger.v1.Ledger/GetInfo")].concat();
    add(port, "silence after a call", Over::Http2, How::Say(asked), WALLET_GONE);

    let get = b"GET /api/blocks HTTP/1.1\r\nHost: a\r\n\r\n";
    for port in [Port::Http, Port::JsonRpc] {
        add(port, "silence", Over::Tcp, How::Silence, HTTP);
        add(port, "a slow head", Over::Tcp, How::Drip(b"GET / HTTP/1.1\r\nX: ".to_vec(), forever(b'x')), HTTP);
        add(port, "garbage", Over::Tcp, How::Say(garbage()), AT_ONCE);
        let head = b"GET / HTTP/1.1\r\nX: ".to_vec();
        add(port, "a head that is too long", Over::Tcp, How::Flood(head, forever(b'x')), AT_ONCE);
    }
    let port = Port::Http;
    let long = b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n";
    let post =
        |length: u64| format!("POST /api/tx HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n").into_bytes();
    add(port, "silence after an answer", Over::Tcp, How::Say(get.to_vec()), HTTP);
    add(port, "a slow body", Over::Tcp, How::Drip(post(100_000), forever(b'0')), REQUEST);
    add(port, "no body", Over::Tcp, How::Say(post(100_000)), REQUEST);
    add(port, "a body that says it is too long", Over::Tcp, How::Flood(post(1 << 40), forever(b'0')), AT_ONCE);
    let chunked = b"POST /api/tx HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    let chunk = [b"10000\r\n".as_slice(), &[b'0'; 0x10000], b"\r\n"].concat();
    add(port, "a body without end", Over::Tcp, How::Flood(chunked, chunk), REQUEST);
    add(port, "questions without reading", Over::Tcp, How::Deaf(long.repeat(64)), HTTP);

    let port = Port::JsonRpc;
    let login = &target.login;
    let post = |length: u64| {
        format!("POST / HTTP/1.1\r\nHost: a\r\nAuthorization: {login}\r\nContent-Length: {length}\r\n\r\n").into_bytes()
    };
    add(port, "a slow body", Over::Tcp, How::Drip(post(100_000), forever(b' ')), CALL_BODY);
    add(port, "a body that is too long", Over::Tcp, How::Flood(post(1 << 40), forever(b' ')), AT_ONCE);
    let unknown = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n".to_vec();
    add(port, "a slow body of a stranger", Over::Tcp, How::Drip(unknown, forever(b' ')), AT_ONCE);
    let help = format!("[{}]", [r#"{"method":"help"}"#; 100].join(","));
    let length = u64::try_from(help.len()).unwrap_or_default();
    let question = [post(length).as_slice(), help.as_bytes()].concat();
    add(port, "questions without reading", Over::Tcp, How::Deaf(question.repeat(64)), HTTP);

    let ask = b"{\"id\":1,\"method\":\"blockchain.block.headers\",\"params\":[0,20]}\n";
    for (port, over) in [(Port::Electrum, Over::Tcp), (Port::ElectrumTls, Over::Tls)] {
        add(port, "silence", over, How::Silence, ELECTRUM);
        add(port, "a slow line", over, How::Drip(Vec::new(), forever(b'{')), ELECTRUM);
        add(port, "garbage", over, How::Say(garbage()), AT_ONCE);
        add(port, "a line without end", over, How::Flood(Vec::new(), vec![b'['; 1 << 14]), AT_ONCE);
        add(port, "questions without reading", over, How::Deaf(ask.repeat(64)), ELECTRUM);
    }

    let port = Port::P2p;
    add(port, "silence", Over::Tcp, How::Silence, INTRODUCTION);
    add(port, "garbage", Over::Tcp, How::Say(garbage()), AT_ONCE);
    let head = |length: u32| {
        let length = length.to_le_bytes();
        [&target.magic, b"version\0\0\0\0\0".as_slice(), &length, &[0; 4]].concat()
    };
    add(
        port,
        "a slow introduction",
        Over::Tcp,
        How::Drip(Vec::new(), [head(1_000), forever(0)].concat()),
        INTRODUCTION,
    );
    add(port, "a message that is too long", Over::Tcp, How::Flood(head(u32::MAX), vec![0; 1 << 14]), AT_ONCE);
    Ok(table)
}
