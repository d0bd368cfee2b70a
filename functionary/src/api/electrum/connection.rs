//! One connection: answers lines in their order, and tells of what is watched.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::task::{AbortHandle, spawn_blocking};
use tokio::time::timeout;

use super::Shared;
use super::callers::Place;
use super::lines::{Input, MAX_LINE_LEN, Patience, queue, read_lines};
use super::rpc::{RpcError, answer};
use super::session::Session;

/// Lines that are answered in one go, as long as the answers are short.
const LINES_AT_ONCE: usize = 32;
/// Answers are written once there is this much of them, in bytes.
const WRITE_AFTER_LEN: usize = 256 << 10;
/// How long a client may take to read what is written to it.
const WRITE_LIMIT: Duration = Duration::from_secs(30);
/// Lines that are no requests, until the connection ends.
const MAX_OFFENCES: u32 = 10;
/// Bytes that cost a caller as much as one request.
const BYTES_PER_REQUEST: usize = 16 << 10;
/// How long is waited for a client.
const PATIENCE: Patience =
    Patience { first: Duration::from_secs(30), later: Duration::from_secs(600), line: Duration::from_secs(30) };

/// The connection ends.
struct Ended;

/// Stops reading when the connection ends.
struct Reading(AbortHandle);

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Connection<W> {
    shared: Arc<Shared>,
    place: Place,
    writer: W,
    /// `Some`, but while a thread for blocking work has it.
    session: Option<Session>,
    has_written: Arc<AtomicBool>,
}

/// Serves a connection to its end.
pub(super) async fn serve(shared: Arc<Shared>, place: Place, stream: impl AsyncRead + AsyncWrite + Send + 'static) {
    let (reader, writer) = tokio::io::split(stream);
    let (sender, mut inputs) = queue();
    let has_written = Arc::<AtomicBool>::default();
    let reader = Box::pin(reader);
    let long_lines = Arc::clone(&shared.long_lines);
    let reading = tokio::spawn(read_lines(reader, sender, long_lines, PATIENCE, Arc::clone(&has_written)));
    let _reading = Reading(reading.abort_handle());
    let session = shared.methods.session();
    let mailbox = Arc::clone(&session.mailbox);
    let mut height = shared.hub.height();
    let mut connection = Connection { shared, place, writer: Box::pin(writer), session: Some(session), has_written };
    let mut lines = Vec::new();
    loop {
        let done = tokio::select! {
            count = inputs.recv_many(&mut lines, LINES_AT_ONCE) => {
                if count == 0 {
                    return;
                }
                connection.answer(std::mem::take(&mut lines).into()).await
            }
            () = mailbox.wait() => connection.notify().await,
            changed = height.changed() => match changed {
                Ok(()) => connection.notify().await,
                Err(_) => return,
            },
        };
        if done.is_err() {
            return;
        }
    }
}

impl<W: AsyncWrite + Unpin> Connection<W> {
    /// Runs work that may wait for the disk, of all connections a bounded number at a time.
    async fn work<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&Shared, &mut Session) -> T + Send + 'static,
    ) -> Result<T, Ended> {
        let permit = Arc::clone(&self.shared.work).acquire_owned().await.map_err(|_| Ended)?;
        let mut session = self.session.take().ok_or(Ended)?;
        let shared = Arc::clone(&self.shared);
        let work = spawn_blocking(move || {
            let _permit = permit;
            let result = work(&shared, &mut session);
            (session, result)
        });
        let (session, result) = work.await.map_err(|_| Ended)?;
        self.session = Some(session);
        Ok(result)
    }

    async fn answer(&mut self, mut inputs: VecDeque<Input>) -> Result<(), Ended> {
        while !inputs.is_empty() {
            let (rest, answered) = self.work(move |shared, session| answer_some(shared, session, inputs)).await?;
            inputs = rest;
            self.write(&answered.text).await?;
            if answered.is_last || self.session.as_ref().is_some_and(|session| session.offences > MAX_OFFENCES) {
                return Err(Ended);
            }
            self.shared.callers.charge(&self.place.caller, answered.cost).await;
        }
        Ok(())
    }

    async fn notify(&mut self) -> Result<(), Ended> {
        if self.session.as_ref().is_some_and(|session| session.told_height.is_none() && !session.has_changes()) {
            return Ok(());
        }
        let notifications = self.work(|shared, session| shared.methods.notifications(session)).await?;
        // Without an answer from the index there is nothing to tell; the client is told when it asks.
        let text: String = notifications.unwrap_or_default().iter().map(line).collect();
        self.write(text.as_bytes()).await
    }

    async fn write(&mut self, text: &[u8]) -> Result<(), Ended> {
        if text.is_empty() {
            return Ok(());
        }
        let writing = async {
            self.writer.write_all(text).await?;
            self.writer.flush().await
        };
        match timeout(WRITE_LIMIT, writing).await {
            Ok(Ok(())) => {
                self.has_written.store(true, Ordering::Relaxed);
                Ok(())
            }
            _ => Err(Ended),
        }
    }
}

struct Answered {
    text: Vec<u8>,
    /// In requests.
    cost: u32,
    is_last: bool,
}

/// Answers lines until the answers are long enough; gives those that are left.
fn answer_some(shared: &Shared, session: &mut Session, mut inputs: VecDeque<Input>) -> (VecDeque<Input>, Answered) {
    let mut text = Vec::new();
    let (mut requests, mut read, mut is_last) = (0_usize, 0_usize, false);
    while text.len() < WRITE_AFTER_LEN
        && session.offences <= MAX_OFFENCES
        && let Some(input) = inputs.pop_front()
    {
        match input {
            Input::Line(question) => {
                let (answer, count) = shared.methods.process(session, &question.bytes);
                requests = requests.saturating_add(count);
                read = read.saturating_add(question.bytes.len());
                text.extend(answer.iter().flat_map(|answer| line(answer).into_bytes()));
            }
            Input::TooLong => {
                let error = RpcError::invalid_request(format!("a line has at most {MAX_LINE_LEN} bytes"));
                text.extend(line(&answer(&json!(null), Err(error))).into_bytes());
                is_last = true;
            }
        }
    }
    let bytes = text.len().saturating_add(read);
    let cost = requests.saturating_add(bytes.checked_div(BYTES_PER_REQUEST).unwrap_or(0));
    (inputs, Answered { text, cost: u32::try_from(cost).unwrap_or(u32::MAX), is_last })
}

fn line(value: &Value) -> String {
    format!("{value}\n")
}
