//! Reading lines of bounded length, in bounded time, and keeping a bounded number of them.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;

/// Longest line, in bytes: a transaction of the greatest size that is relayed, in hexadecimal, with room to spare.
pub(super) const MAX_LINE_LEN: usize = 2 << 20;
/// Lines up to this length, in bytes, are taken from every connection at any time.
const SHORT_LINE_LEN: usize = 64 << 10;
/// Longer ones at a time, of all connections.
pub(super) const MAX_LONG_LINES: usize = 32;
/// Lines of one connection that wait to be answered, and their bytes.
const MAX_QUEUED: usize = 4_096;
const MAX_QUEUED_LEN: u32 = 256 << 10;

/// How long is waited for a client.
#[derive(Copy, Clone, Debug)]
pub(super) struct Patience {
    /// Before its first line begins.
    pub(super) first: Duration,
    /// Between lines, unless something was written to it meanwhile.
    pub(super) later: Duration,
    /// From the first to the last byte of a line.
    pub(super) line: Duration,
}

/// A line, with the room that it takes.
pub(super) struct Line {
    pub(super) bytes: Vec<u8>,
    _long: Option<OwnedSemaphorePermit>,
    _queued: Option<OwnedSemaphorePermit>,
}

/// What comes in.
pub(super) enum Input {
    /// A line without its end.
    Line(Line),
    /// The beginning of one that is too long. Nothing follows.
    TooLong,
}

/// Reads lines into the queue until the connection ends, is silent for too long, or nobody takes them any more.
pub(super) async fn read_lines(
    stream: impl AsyncRead + Unpin,
    queue: mpsc::Sender<Input>,
    long_lines: Arc<Semaphore>,
    patience: Patience,
    has_written: Arc<AtomicBool>,
) {
    let mut stream = BufReader::new(stream);
    let room = Arc::new(Semaphore::new(usize::try_from(MAX_QUEUED_LEN).unwrap_or(usize::MAX)));
    let mut silence = patience.first;
    loop {
        match timeout(silence, stream.fill_buf()).await {
            Ok(Ok(begun)) if !begun.is_empty() => {}
            Ok(_) => return,
            Err(_) if has_written.swap(false, Ordering::Relaxed) => continue,
            Err(_) => return,
        }
        silence = patience.later;
        let Ok(Ok(input)) = timeout(patience.line, read_line(&mut stream, &long_lines)).await else { return };
        let input = match input {
            Input::Line(line) => {
                // One that is longer than all the room waits until it is alone.
                let needed = u32::try_from(line.bytes.len()).unwrap_or(u32::MAX).clamp(1, MAX_QUEUED_LEN);
                let Ok(queued) = Arc::clone(&room).acquire_many_owned(needed).await else { return };
                Input::Line(Line { _queued: Some(queued), ..line })
            }
            Input::TooLong => Input::TooLong,
        };
        let is_last = matches!(input, Input::TooLong);
        if queue.send(input).await.is_err() || is_last {
            return;
        }
    }
}

/// The queue between reading and answering.
pub(super) fn queue() -> (mpsc::Sender<Input>, mpsc::Receiver<Input>) {
    mpsc::channel(MAX_QUEUED)
}

async fn read_line(stream: &mut (impl AsyncBufRead + Unpin), long_lines: &Arc<Semaphore>) -> io::Result<Input> {
    let mut bytes = Vec::new();
    let mut long = None;
    loop {
        let available = stream.fill_buf().await?;
        if available.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let end = available.iter().position(|byte| *byte == b'\n');
        let part = available.get(..end.unwrap_or(available.len())).unwrap_or_default();
        if bytes.len().saturating_add(part.len()) > MAX_LINE_LEN {
            return Ok(Input::TooLong);
        }
        bytes.extend_from_slice(part);
        let used = part.len().saturating_add(usize::from(end.is_some()));
        stream.consume(used);
        if end.is_some() {
            return Ok(Input::Line(Line { bytes, _long: long, _queued: None }));
        }
        if long.is_none() && bytes.len() > SHORT_LINE_LEN {
            long = Arc::clone(long_lines).acquire_owned().await.ok();
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);
    const SHORT: Duration = Duration::from_millis(50);
    const PATIENT: Patience = Patience { first: LONG, later: LONG, line: LONG };

    /// Everything that is read of these bytes, until reading ends by itself.
    async fn read(bytes: &[u8], patience: Patience) -> Vec<Option<Vec<u8>>> {
        let (mut client, server) = tokio::io::duplex(8 << 20);
        client.write_all(bytes).await.unwrap();
        let (sender, mut receiver) = queue();
        tokio::spawn(read_lines(server, sender, Arc::new(Semaphore::new(MAX_LONG_LINES)), patience, Arc::default()));
        let mut inputs = Vec::new();
        while let Some(input) = receiver.recv().await {
            inputs.push(match input {
                Input::Line(line) => Some(line.bytes),
                Input::TooLong => None,
            });
        }
        inputs
    }

    #[tokio::test]
    async fn lines_have_any_length_up_to_the_longest() {
        let longest = vec![b'x'; MAX_LINE_LEN];
        let bytes = [b"one\n\ntwo\r\n".as_slice(), &longest, b"\n", &longest, b"xx\nnever read\n"].concat();
        let inputs = read(&bytes, PATIENT).await;
        let expected = [Some(b"one".to_vec()), Some(Vec::new()), Some(b"two\r".to_vec()), Some(longest), None];
        assert!(inputs == expected, "{} inputs", inputs.len());
    }

    #[tokio::test]
    async fn who_is_silent_or_slow_is_left() {
        assert!(read(b"", Patience { first: SHORT, ..PATIENT }).await.is_empty());
        assert!(read(b"{", Patience { line: SHORT, ..PATIENT }).await.is_empty());
        assert_eq!(read(b"{}\n", Patience { later: SHORT, ..PATIENT }).await.len(), 1);
    }

    #[tokio::test]
    async fn who_is_told_something_may_be_silent() {
        let (mut client, server) = tokio::io::duplex(1024);
        let (sender, mut receiver) = queue();
        let has_written = Arc::new(AtomicBool::new(true));
        let patience = Patience { first: SHORT, ..PATIENT };
        tokio::spawn(read_lines(server, sender, Arc::new(Semaphore::new(1)), patience, Arc::clone(&has_written)));
        // The first time passes and is forgiven.
        while has_written.load(Ordering::Relaxed) {
            tokio::task::yield_now().await;
        }
        client.write_all(b"{}\n").await.unwrap();
        assert!(receiver.recv().await.is_some());
    }

    #[tokio::test]
    async fn what_is_not_answered_yet_is_bounded() {
        let (mut client, server) = tokio::io::duplex(1024);
        let (sender, receiver) = queue();
        tokio::spawn(read_lines(server, sender, Arc::new(Semaphore::new(1)), PATIENT, Arc::default()));
        let line = [vec![b'x'; 1023], vec![b'\n']].concat();
        let mut taken = 0_usize;
        while timeout(Duration::from_secs(1), client.write_all(&line)).await.is_ok() {
            taken += 1;
        }
        // What is queued, what is read and waits for room, and what lies in both buffers.
        assert!(taken <= 256 + 20, "{taken}");
        drop(receiver);
    }
}
