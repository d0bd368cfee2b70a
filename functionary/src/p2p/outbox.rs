//! What waits to be sent to one peer.

use std::sync::Arc;

use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::limits::Limits;
use super::wire::Frame;

/// What may wait, in kilobytes. One frame that is longer waits alone.
const ROOM_KB: u32 = 1 << 10;
/// Up to this length, in bytes, head and payload leave together.
const SHORT_LEN: usize = 4 << 10;

/// The connection does not send any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the connection is closed")]
pub(super) struct Closed;

/// The queue in front of a connection.
pub(super) struct Outbox {
    queue: mpsc::UnboundedSender<(Frame, OwnedSemaphorePermit)>,
    room: Arc<Semaphore>,
}

impl Outbox {
    /// Sends until `closed` is cancelled, and cancels it when the peer takes too long.
    pub(super) fn start(
        stream: impl AsyncWrite + Send + Unpin + 'static,
        limits: Limits,
        closed: CancellationToken,
    ) -> Self {
        let (queue, waiting) = mpsc::unbounded_channel();
        let room = Arc::new(Semaphore::new(usize::try_from(ROOM_KB).unwrap_or(usize::MAX)));
        tokio::spawn({
            let room = Arc::clone(&room);
            async move {
                tokio::select! {
                    () = send(stream, waiting, limits) => {}
                    () = closed.cancelled() => {}
                }
                closed.cancel();
                room.close();
            }
        });
        Self { queue, room }
    }

    /// Adds a frame as soon as there is room for it.
    pub(super) async fn push(&self, frame: Frame) -> Result<(), Closed> {
        let size_kb = u32::try_from(frame.len() >> 10).unwrap_or(ROOM_KB).saturating_add(1).min(ROOM_KB);
        let permit = Arc::clone(&self.room).acquire_many_owned(size_kb).await.map_err(|_| Closed)?;
        self.queue.send((frame, permit)).map_err(|_| Closed)
    }
}

async fn send(
    mut stream: impl AsyncWrite + Unpin,
    mut waiting: mpsc::UnboundedReceiver<(Frame, OwnedSemaphorePermit)>,
    limits: Limits,
) {
    while let Some((frame, _permit)) = waiting.recv().await {
        let writing = async {
            if frame.payload.len() <= SHORT_LEN {
                stream.write_all(&[frame.head.as_slice(), &frame.payload].concat()).await?;
            } else {
                stream.write_all(&frame.head).await?;
                stream.write_all(&frame.payload).await?;
            }
            stream.flush().await
        };
        if !matches!(tokio::time::timeout(limits.transfer_of(frame.len()), writing).await, Ok(Ok(()))) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::wire::{Command, Magic};
    use super::*;

    #[tokio::test]
    async fn a_peer_that_does_not_read_is_dropped_and_never_holds_more_than_the_room() {
        let (near, far) = tokio::io::duplex(1 << 10);
        let closed = CancellationToken::new();
        let limits = Limits { transfer: Duration::from_millis(50), ..Limits::default() };
        let outbox = Outbox::start(near, limits, closed.clone());
        let frame = Frame::new(Magic([1; 4]), Command::Block, vec![0; 10 << 10]);
        let mut pushed = 0_u32;
        while outbox.push(frame.clone()).await.is_ok() {
            pushed += 1;
        }
        assert!(closed.is_cancelled());
        // Eleven kilobytes each.
        assert!(pushed <= ROOM_KB / 11 + 1, "{pushed}");
        drop(far);
    }
}
