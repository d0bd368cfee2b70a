#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::*;

/// A server that stops with the test.
struct Running {
    address: SocketAddr,
    _stop: DropGuard,
}

async fn serve(router: Router) -> Running {
    let server = HttpServer::bind("a test", "127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = server.address();
    let stop = CancellationToken::new();
    tokio::spawn(server.serve(router, stop.clone()));
    Running { address, _stop: stop.drop_guard() }
}

fn pages(rate: u32) -> Router {
    let router = Router::new()
        .route("/", get(async || -> Answer { text("yes", Keep::SHORT) }))
        .route("/echo", post(async |body: String| -> Answer { text(body.len(), Keep::No) }))
        .fallback(async || Refusal::NotFound("nothing".to_owned()));
    open_to_all_origins(Limits::new(NonZeroU32::new(rate)).around(router))
}

/// Sends bytes and reads to the end of the connection.
async fn raw(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The server may answer and close before it has read everything.
    let _ = stream.write_all(request).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

async fn ask(address: SocketAddr, line: &str) -> String {
    raw(address, format!("{line} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").as_bytes()).await
}

#[tokio::test]
async fn answers_say_how_long_they_may_be_kept_and_that_all_may_read_them() {
    let server = serve(pages(1_000)).await;
    let answer = ask(server.address, "GET /").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nyes"), "{answer}");
    assert!(answer.contains("\r\nContent-Length: 3\r\n"), "{answer}");
    assert!(answer.contains("\r\nCache-Control: public, max-age=10\r\n"), "{answer}");
    assert!(answer.contains("\r\nAccess-Control-Allow-Origin: *\r\n"), "{answer}");
    let asked = ask(server.address, "OPTIONS /").await;
    assert!(asked.starts_with("HTTP/1.1 204") && asked.contains("Access-Control-Allow-Methods: GET, POST"), "{asked}");
    let nothing = ask(server.address, "GET /nowhere").await;
    assert!(nothing.starts_with("HTTP/1.1 404") && nothing.ends_with("\r\n\r\nnothing"), "{nothing}");
    assert!(nothing.contains("Cache-Control: no-store"), "{nothing}");
    assert!(ask(server.address, "DELETE /").await.starts_with("HTTP/1.1 405"));
}

#[tokio::test]
async fn who_asks_too_much_is_told_when_to_come_again() {
    let server = serve(pages(1)).await;
    let mut taken = 0;
    let refused = loop {
        let answer = ask(server.address, "GET /").await;
        if !answer.starts_with("HTTP/1.1 200") {
            break answer;
        }
        taken += 1;
        assert!(taken < 50, "nothing is refused");
    };
    assert!(taken >= 5, "a burst is taken: {taken}");
    assert!(refused.starts_with("HTTP/1.1 429 Too Many Requests\r\n"), "{refused}");
    assert!(refused.contains("\r\nRetry-After: 1\r\n") || refused.contains("\r\nRetry-After: 2\r\n"), "{refused}");
    assert!(refused.contains("Access-Control-Allow-Origin: *"), "pages must be able to read it: {refused}");
}

#[tokio::test]
async fn what_is_no_request_is_refused() {
    let server = serve(pages(1_000)).await;
    let garbage = raw(server.address, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n").await;
    assert!(garbage.is_empty() || garbage.starts_with("HTTP/1.1 400"), "{garbage}");
    let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(1 << 20));
    let long = raw(server.address, long.as_bytes()).await;
    assert!(long.is_empty() || long.starts_with("HTTP/1.1 4"), "{long}");
    assert!(ask(server.address, "GET /").await.starts_with("HTTP/1.1 200"), "others are served");
}

#[tokio::test]
async fn a_body_is_bounded_whatever_it_says_of_its_length() {
    let server = serve(pages(1_000)).await;
    let said =
        format!("POST /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", 1_u64 << 40);
    let answer = raw(server.address, said.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    let small = "POST /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello";
    assert!(raw(server.address, small.as_bytes()).await.ends_with("\r\n\r\n5"));
}

#[tokio::test]
async fn half_open_connections_do_not_keep_others_out() {
    let server = serve(pages(1_000)).await;
    let mut idle = Vec::new();
    for _ in 0..64 {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(b"GET / HT").await.unwrap();
        idle.push(stream);
    }
    let answer = tokio::time::timeout(Duration::from_secs(10), ask(server.address, "GET /")).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_given_up() {
    // An end that has room for 16 bytes, and nobody reads the other one.
    let (near, _far) = tokio::io::duplex(16);
    let mut patient = Patience::new(near, Duration::from_millis(20));
    let error = patient.write_all(&[0; 64]).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
}

#[tokio::test]
async fn a_client_that_takes_a_little_at_a_time_is_served() {
    let (near, mut far) = tokio::io::duplex(16);
    let reading = tokio::spawn(async move {
        let mut taken = 0;
        let mut part = [0; 1];
        while let Ok(count @ 1..) = far.read(&mut part).await {
            taken += count;
            tokio::task::yield_now().await;
        }
        taken
    });
    let mut patient = Patience::new(near, Duration::from_secs(60));
    patient.write_all(&[0; 64]).await.unwrap();
    drop(patient);
    assert_eq!(reading.await.unwrap(), 64);
}

#[tokio::test]
async fn work_that_fails_is_an_answer() {
    let work = Work::default();
    let failed = work.run(|_| -> Result<(), Refusal> { panic!("a defect") }).await;
    assert!(matches!(failed, Err(Refusal::Failed(_))), "{failed:?}");
    assert_eq!(work.run(|deadline| deadline.check().map(|()| 1)).await, Ok(1));
}

#[tokio::test]
async fn who_finds_no_place_is_told_to_come_again() {
    let work = Work::new(1, Duration::from_millis(20));
    let (began, begun) = tokio::sync::oneshot::channel();
    let (end, ended) = std::sync::mpsc::channel::<()>();
    let holding = tokio::spawn({
        let work = work.clone();
        let hold = move |_: Deadline| {
            let _ = began.send(());
            let _ = ended.recv();
            Ok(())
        };
        async move { work.run(hold).await }
    });
    begun.await.unwrap();
    let refused = work.run(|_| Ok(())).await;
    assert!(matches!(refused, Err(Refusal::NotNow(_))), "{refused:?}");
    drop(end);
    holding.await.unwrap().unwrap();
    work.run(|_| Ok(())).await.unwrap();
}

#[tokio::test]
async fn work_learns_that_nobody_waits_any_more() {
    let work = Work::new(1, Duration::from_millis(20));
    let refused = work.run(|deadline| {
        while deadline.check().is_ok() {
            std::thread::yield_now();
        }
        deadline.check()
    });
    assert!(matches!(refused.await, Err(Refusal::NotNow(_))));
}

/// Half of a long body, and the connection that it was sent on.
async fn half_of_a_long_body(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!("POST /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", 1 << 20);
    // Whoever is refused is not read to the end.
    let _ = stream.write_all(&[head.as_bytes(), &[b'x'; 1 << 19]].concat()).await;
    stream
}

#[tokio::test]
async fn one_caller_cannot_have_bodies_held_without_end() {
    const SENT: u32 = MAX_LONG_BODIES_OF_CALLER + 4;
    let server = serve(pages(1_000)).await;
    let (answered, mut answers) = tokio::sync::mpsc::channel(64);
    let (finish, _) = tokio::sync::broadcast::channel::<()>(1);
    for _ in 0..SENT {
        let (address, answered, mut finish) = (server.address, answered.clone(), finish.subscribe());
        tokio::spawn(async move {
            let mut stream = half_of_a_long_body(address).await;
            let mut answer = [0; 12];
            let taken = tokio::select! {
                // Refused: an answer, or the end of the connection.
                _ = stream.read(&mut answer) => false,
                _ = finish.recv() => true,
            };
            if taken {
                stream.write_all(&[b'x'; 1 << 19]).await.unwrap();
                stream.read_exact(&mut answer).await.unwrap();
            }
            answered.send((taken, String::from_utf8_lossy(&answer).into_owned())).await.unwrap();
        });
    }
    drop(answered);
    for _ in MAX_LONG_BODIES_OF_CALLER..SENT {
        let (taken, answer) = answers.recv().await.unwrap();
        assert!(!taken && !answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    let small = "POST /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello";
    assert!(raw(server.address, small.as_bytes()).await.ends_with("\r\n\r\n5"), "short ones wait for nobody");
    finish.send(()).unwrap();
    for _ in 0..MAX_LONG_BODIES_OF_CALLER {
        assert_eq!(answers.recv().await.unwrap(), (true, "HTTP/1.1 200".to_owned()));
    }
}
