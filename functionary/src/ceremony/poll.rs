//! Asking the other members for their messages, each in its own task.

use std::sync::Arc;
use std::time::Duration;

use aquifer_federation::roster::MemberIndex;
use bytes::Bytes;
use tokio::sync::mpsc;

use crate::peers::{Backoff, Entry, TlsIdentity, chain, connect, fetch_ceremony};

/// Pause between two questions to the same member.
const INTERVAL: Duration = Duration::from_millis(150);

/// What came of asking a member.
#[derive(Debug)]
pub(super) struct Polled {
    pub(super) from: MemberIndex,
    /// Its messages, or why there is no answer.
    pub(super) answer: Result<Vec<Bytes>, String>,
}

/// Asks a member again and again, until nobody listens.
pub(super) async fn poll(identity: TlsIdentity, entry: Entry, session: [u8; 32], answers: mpsc::Sender<Polled>) {
    let entry = Arc::new(entry);
    let mut backoff = Backoff::new();
    loop {
        let problem = match connect(&identity, &entry).await {
            Err(error) => chain(&error),
            Ok(channel) => loop {
                match fetch_ceremony(channel.clone(), &session).await {
                    Ok(messages) => {
                        backoff = Backoff::new();
                        if answers.send(Polled { from: entry.index, answer: Ok(messages) }).await.is_err() {
                            return;
                        }
                    }
                    Err(error) => break error.to_string(),
                }
                tokio::time::sleep(INTERVAL).await;
            },
        };
        if answers.send(Polled { from: entry.index, answer: Err(problem) }).await.is_err() {
            return;
        }
        tokio::time::sleep(backoff.next()).await;
    }
}
