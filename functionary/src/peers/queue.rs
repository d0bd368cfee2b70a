//! What waits to be sent to one peer, bounded.
//!
//! Two lanes: consensus (everything that agreement and signing need) goes first and is never dropped in favour of
//! anything else; transactions go when nothing else waits, and of them the oldest are dropped when there are too many. A
//! peer that does not even take its consensus messages is stuck: the queue then reports [`Push::Overflow`], and the
//! connection is made anew, so that both sides learn by their next hello that something was lost. Nothing is lost silently.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use aquifer_proto::peer::PeerMessage;
use aquifer_proto::peer::peer_message::Kind;
use futures::Stream;
use prost::Message as _;
use tokio::sync::Notify;

/// Most consensus messages that wait for one peer.
const MAX_CONSENSUS: usize = 8_192;
/// Most bytes of consensus messages that wait for one peer.
const MAX_CONSENSUS_BYTES: usize = 32 << 20;
/// Most transactions that wait for one peer.
const MAX_TRANSACTIONS: usize = 2_048;
/// Most bytes of transactions that wait for one peer.
const MAX_TRANSACTION_BYTES: usize = 16 << 20;

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Push {
    /// It waits.
    Queued,
    /// It waits, and this many older transactions were dropped for it.
    Dropped(usize),
    /// Too many consensus messages wait: the peer takes none. The queue is closed.
    Overflow,
    /// The queue was closed before.
    Closed,
}

#[derive(Debug, Default)]
struct Lane {
    messages: VecDeque<(usize, PeerMessage)>,
    bytes: usize,
}

impl Lane {
    fn push(&mut self, message: PeerMessage) {
        let len = message.encoded_len();
        self.bytes += len;
        self.messages.push_back((len, message));
    }

    fn pop(&mut self) -> Option<PeerMessage> {
        let (len, message) = self.messages.pop_front()?;
        self.bytes -= len;
        Some(message)
    }

    fn exceeds(&self, messages: usize, bytes: usize) -> bool {
        self.messages.len() > messages || self.bytes > bytes
    }
}

#[derive(Debug, Default)]
struct Lanes {
    consensus: Lane,
    transactions: Lane,
    closed: bool,
}

/// The messages that wait for one peer, for the life of one connection to it.
#[derive(Debug, Default)]
pub(super) struct Queue {
    lanes: Mutex<Lanes>,
    changed: Notify,
}

impl Queue {
    /// Puts a message in its lane; never waits.
    pub(super) fn push(&self, message: PeerMessage) -> Push {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        if lanes.closed {
            return Push::Closed;
        }
        let result = if matches!(message.kind, Some(Kind::Transaction(_))) {
            lanes.transactions.push(message);
            let mut dropped = 0;
            while lanes.transactions.exceeds(MAX_TRANSACTIONS, MAX_TRANSACTION_BYTES)
                && lanes.transactions.pop().is_some()
            {
                dropped += 1;
            }
            if dropped == 0 { Push::Queued } else { Push::Dropped(dropped) }
        } else {
            lanes.consensus.push(message);
            if lanes.consensus.exceeds(MAX_CONSENSUS, MAX_CONSENSUS_BYTES) {
                *lanes = Lanes { closed: true, ..Lanes::default() };
                Push::Overflow
            } else {
                Push::Queued
            }
        };
        drop(lanes);
        self.changed.notify_one();
        result
    }

    /// Ends the stream of messages; what waits is forgotten.
    pub(super) fn close(&self) {
        *self.lanes.lock().unwrap_or_else(PoisonError::into_inner) = Lanes { closed: true, ..Lanes::default() };
        self.changed.notify_one();
    }

    /// The messages in the order in which they shall be sent, until the queue is closed. One reader at a time.
    pub(super) fn stream(self: Arc<Self>) -> impl Stream<Item = PeerMessage> + Send + 'static {
        futures::stream::unfold(self, |queue| async move {
            loop {
                {
                    let mut lanes = queue.lanes.lock().unwrap_or_else(PoisonError::into_inner);
                    if lanes.closed {
                        return None;
                    }
                    if let Some(message) = lanes.consensus.pop().or_else(|| lanes.transactions.pop()) {
                        drop(lanes);
                        return Some((message, queue));
                    }
                }
                queue.changed.notified().await;
            }
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use futures::StreamExt as _;

    use super::*;

    fn transaction(tag: usize, len: usize) -> PeerMessage {
        let mut bytes = vec![0; len];
        bytes.splice(..8, tag.to_le_bytes());
        PeerMessage { kind: Some(Kind::Transaction(bytes.into())) }
    }

    fn vote(tag: u8) -> PeerMessage {
        PeerMessage { kind: Some(Kind::Consensus(vec![tag].into())) }
    }

    #[tokio::test]
    async fn consensus_goes_before_transactions_and_keeps_its_order() {
        let queue = Arc::new(Queue::default());
        queue.push(transaction(0, 8));
        queue.push(vote(1));
        queue.push(vote(2));
        let sent: Vec<PeerMessage> = Arc::clone(&queue).stream().take(3).collect().await;
        assert_eq!(sent, [vote(1), vote(2), transaction(0, 8)]);
    }

    #[tokio::test]
    async fn the_oldest_transactions_are_dropped_and_votes_are_not() {
        let queue = Arc::new(Queue::default());
        queue.push(vote(9));
        for tag in 0..MAX_TRANSACTIONS {
            assert_eq!(queue.push(transaction(tag, 8)), Push::Queued);
        }
        assert_eq!(queue.push(transaction(MAX_TRANSACTIONS, 8)), Push::Dropped(1));
        let sent: Vec<PeerMessage> = Arc::clone(&queue).stream().take(2).collect().await;
        assert_eq!(sent, [vote(9), transaction(1, 8)]);
    }

    #[tokio::test]
    async fn transactions_are_bounded_in_bytes_too() {
        let queue = Queue::default();
        assert_eq!(queue.push(transaction(0, MAX_TRANSACTION_BYTES - 8)), Push::Queued);
        assert_eq!(queue.push(transaction(1, 8)), Push::Dropped(1));
    }

    #[tokio::test]
    async fn a_peer_that_takes_no_votes_is_given_up() {
        let queue = Arc::new(Queue::default());
        for _ in 0..MAX_CONSENSUS {
            assert_eq!(queue.push(vote(0)), Push::Queued);
        }
        assert_eq!(queue.push(vote(0)), Push::Overflow);
        assert_eq!(queue.push(vote(0)), Push::Closed);
        assert_eq!(Arc::clone(&queue).stream().collect::<Vec<_>>().await, []);
    }
}
