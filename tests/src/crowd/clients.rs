//! The crowd: many connections, each of which does what an ordinary wallet does.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::error::HarnessError;
use crate::interfaces::Interfaces;

/// Connections to Esplora among which requests are shared.
const BROWSERS: u32 = 8;
/// Time for a client's first answers.
const PATIENCE: Duration = Duration::from_secs(30);
/// What is asked of Esplora, in turn.
const PAGES: [&str; 6] = [
    "/api/blocks/tip/hash",
    "/api/blocks",
    "/api/mempool",
    "/api/fee-estimates",
    "/api/blocks/tip/height",
    "/api/block-height/1",
];

/// What the crowd has seen.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Seen {
    /// Answers of Esplora with status 200.
    pub answered: u32,
    /// Answers with another status.
    pub refused: u32,
    /// Notifications over Electrum.
    pub notifications: u32,
    /// Clients whose connection has ended before its time, and the first reason.
    pub lost: u32,
    /// Why the first of them was lost.
    pub first_loss: Option<String>,
    /// Answers of Esplora by the time they took, in milliseconds.
    #[serde(skip)]
    pub latencies_ms: BTreeMap<u64, u32>,
}

impl Seen {
    /// Adds what others have seen.
    pub fn add(&mut self, other: &Self) {
        self.answered += other.answered;
        self.refused += other.refused;
        self.notifications += other.notifications;
        self.lost += other.lost;
        self.first_loss = self.first_loss.take().or_else(|| other.first_loss.clone());
        for (latency, count) in &other.latencies_ms {
            *self.latencies_ms.entry(*latency).or_default() += count;
        }
    }
}

/// Clients that are connected.
pub(super) struct Crowd {
    runtime: Runtime,
    clients: JoinSet<Result<(), String>>,
    gone: CancellationToken,
    notifications: Arc<AtomicU32>,
    pages: Arc<Mutex<Seen>>,
}

impl Crowd {
    /// Connects everybody, and waits until each Electrum client has been answered.
    ///
    /// # Errors
    /// When a client is refused.
    pub(super) fn gather(
        interfaces: Interfaces,
        connections: usize,
        requests_per_second: u32,
    ) -> Result<Self, HarnessError> {
        let runtime = Runtime::new().map_err(HarnessError::program("start threads for", "the crowd"))?;
        let gone = CancellationToken::new();
        let notifications = Arc::new(AtomicU32::new(0));
        let pages = Arc::new(Mutex::new(Seen::default()));
        let mut clients = JoinSet::new();
        let (ready, mut is_ready) = mpsc::channel(connections.max(1));
        for number in 0..connections {
            let client = subscribe(interfaces.electrum, number, ready.clone(), Arc::clone(&notifications));
            clients.spawn_on(until(gone.clone(), client), runtime.handle());
        }
        drop(ready);
        runtime.block_on(async {
            for _ in 0..connections {
                let answered = tokio::time::timeout(PATIENCE, is_ready.recv()).await;
                if !matches!(answered, Ok(Some(()))) {
                    let reason = match clients.try_join_next() {
                        Some(Ok(Err(reason))) => reason,
                        _ => "no answer in time".to_owned(),
                    };
                    return Err(HarnessError::Story(format!("an Electrum client is refused: {reason}")));
                }
            }
            Ok(())
        })?;
        let interval = Duration::from_secs(BROWSERS.into()) / requests_per_second.max(1);
        for number in 0..BROWSERS {
            let client = browse(interfaces.http, number, interval, Arc::clone(&pages));
            clients.spawn_on(until(gone.clone(), client), runtime.handle());
        }
        Ok(Self { runtime, clients, gone, notifications, pages })
    }

    /// Everybody goes; whoever was lost before is counted.
    pub(super) fn disperse(mut self) -> Seen {
        self.gone.cancel();
        let mut seen = std::mem::take(&mut *self.pages.lock().unwrap_or_else(PoisonError::into_inner));
        seen.notifications = self.notifications.load(Ordering::Relaxed);
        while let Some(ended) = self.runtime.block_on(self.clients.join_next()) {
            if let Ok(Err(reason)) = ended {
                seen.lost += 1;
                seen.first_loss.get_or_insert(reason);
            }
        }
        seen
    }
}

async fn until(gone: CancellationToken, client: impl Future<Output = Result<(), String>>) -> Result<(), String> {
    tokio::select! {
        result = client => result,
        () = gone.cancelled() => Ok(()),
    }
}

/// An Electrum client with a subscription to headers and one to a script of its own.
async fn subscribe(
    server: SocketAddr,
    number: usize,
    ready: mpsc::Sender<()>,
    notifications: Arc<AtomicU32>,
) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("Electrum client {number}: {error}");
    let mut stream = BufReader::new(TcpStream::connect(server).await.map_err(failed)?);
    let script = format!("{number:064x}");
    let questions = format!(
        "{{\"id\":0,\"method\":\"server.version\",\"params\":[\"crowd\",\"1.4\"]}}\n\
         {{\"id\":1,\"method\":\"blockchain.headers.subscribe\",\"params\":[]}}\n\
         {{\"id\":2,\"method\":\"blockchain.scripthash.subscribe\",\"params\":[\"{script}\"]}}\n"
    );
    stream.write_all(questions.as_bytes()).await.map_err(failed)?;
    let mut answers = 0;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.map_err(failed)? == 0 {
            return Err(format!("Electrum client {number}: the server has closed the connection"));
        }
        if line.contains("\"error\":{") {
            return Err(format!("Electrum client {number}: {line}"));
        }
        if line.contains("\"method\"") {
            notifications.fetch_add(1, Ordering::Relaxed);
            continue;
        }
        answers += 1;
        if answers == 3 {
            // The crowd may have been given up.
            let _ = ready.send(()).await;
        }
    }
}

/// A client of Esplora that asks once in each interval.
async fn browse(server: SocketAddr, number: u32, interval: Duration, pages: Arc<Mutex<Seen>>) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("Esplora client {number}: {error}");
    let mut stream = BufReader::new(TcpStream::connect(server).await.map_err(failed)?);
    let mut ticks = tokio::time::interval(interval);
    for page in PAGES.iter().cycle() {
        ticks.tick().await;
        let start = Instant::now();
        let request = format!("GET {page} HTTP/1.1\r\nHost: {server}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.map_err(failed)?;
        let status = read_answer(&mut stream).await.map_err(failed)?;
        let latency = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut seen = pages.lock().unwrap_or_else(PoisonError::into_inner);
        if status == 200 {
            seen.answered += 1;
            *seen.latencies_ms.entry(latency).or_default() += 1;
        } else {
            seen.refused += 1;
        }
    }
    Ok(())
}

/// Reads an HTTP answer to its end and gives its status.
async fn read_answer(stream: &mut BufReader<TcpStream>) -> std::io::Result<u16> {
    let invalid = || std::io::Error::other("no HTTP answer");
    let (mut status, mut length) = (None, 0_u64);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        if status.is_none() {
            status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().map_err(|_| invalid())?;
        }
    }
    tokio::io::copy(&mut stream.take(length), &mut tokio::io::sink()).await?;
    status.ok_or_else(invalid)
}
