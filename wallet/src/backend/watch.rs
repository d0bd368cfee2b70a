//! Waiting: for a transaction to be final, for deposits and for peg-outs.
//!
//! A stream ends when its server goes away; the next server is asked then. What a stream says of our own chain is
//! verified like everything else; what it says of Bitcoin is checked by the federation when it matters.

use std::time::{Duration, Instant};

use aquifer_proto::ledger as proto;
use aquifer_proto::ledger::transaction_status::State;
use elements::{OutPoint, Script, Transaction};
use tonic::{Code, Status, Streaming};

use super::BackendError;
use super::connection::{Answer, Client};
use super::ledger::{Ledger, Place};

/// A stream of states from a server.
pub struct Watch<'a, T> {
    ledger: &'a Ledger,
    server: String,
    stream: Streaming<T>,
}

/// What a stream has to say within some time.
#[derive(Debug)]
pub enum Next<T> {
    /// A state.
    State(T),
    /// Nothing yet.
    Nothing,
    /// The server has ended the stream or has gone away.
    Ended,
}

impl<T> Watch<'_, T> {
    /// Waits for the next state, at most `limit`.
    pub fn next_within(&mut self, limit: Duration) -> Next<T> {
        let message = self.stream.message();
        match self.ledger.runtime.block_on(async { tokio::time::timeout(limit, message).await }) {
            Err(_) => Next::Nothing,
            Ok(Ok(Some(state))) => Next::State(state),
            Ok(_) => Next::Ended,
        }
    }

    /// Who sends the states.
    pub fn server(&self) -> &str {
        &self.server
    }
}

impl<T> std::fmt::Debug for Watch<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").field("server", &self.server).finish_non_exhaustive()
    }
}

impl Ledger {
    fn watch<T, F, Fut>(&self, question: F) -> Result<Watch<'_, T>, BackendError>
    where
        F: Fn(Client) -> Fut,
        Fut: Future<Output = Result<Streaming<T>, Status>>,
    {
        let Answer { server, value: stream } = self.ask(question)?;
        Ok(Watch { ledger: self, server, stream })
    }

    /// The deposits to the peg-in address of a claim script.
    pub fn watch_deposits(&self, claim_script: &Script) -> Result<Watch<'_, proto::DepositStatus>, BackendError> {
        let script = claim_script.as_bytes().to_vec();
        self.watch(|mut client| {
            let request = proto::WatchDepositRequest { claim_script: script.clone().into(), ..Default::default() };
            async move { client.watch_deposit(request).await.map(tonic::Response::into_inner) }
        })
    }

    /// Makes all members look out for deposits to the peg-in address of a claim script, from now on and for good. One
    /// of them is enough; that all do lets the wallet go on with another one when one is down.
    pub fn announce_deposits(&self, claim_script: &Script) -> Result<(), BackendError> {
        let script = claim_script.as_bytes().to_vec();
        let told = self.runtime.block_on(self.connection().ask_all(|mut client| {
            let request = proto::WatchDepositRequest { claim_script: script.clone().into(), ..Default::default() };
            async move { client.watch_deposit(request).await.map(|_| ()) }
        }));
        if told == 0 {
            // Says what is wrong with each of them.
            self.watch_deposits(claim_script)?;
        }
        Ok(())
    }

    /// The states of a peg-out.
    pub fn watch_pegout(&self, pegout: OutPoint) -> Result<Watch<'_, proto::PegoutStatus>, BackendError> {
        let txid = pegout.txid.to_byte_array().to_vec();
        self.watch(|mut client| {
            let request = proto::WatchPegoutRequest { txid: txid.clone().into(), vout: pegout.vout };
            async move { client.watch_pegout(request).await.map(tonic::Response::into_inner) }
        })
    }

    /// Waits until a transaction is final and its place is verified. It is handed in again wherever it is unknown, so
    /// that a server that goes down takes nothing with it.
    pub fn wait_final(&self, transaction: &Transaction, patience: Duration) -> Result<Place, BackendError> {
        let txid = transaction.txid();
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            if let Some(place) = self.follow_once(transaction, deadline)? {
                return Ok(place);
            }
            self.pause();
        }
        Err(BackendError::NotFinalInTime { txid, seconds: patience.as_secs() })
    }

    /// One stream of states, to its end.
    fn follow_once(&self, transaction: &Transaction, deadline: Instant) -> Result<Option<Place>, BackendError> {
        let txid = transaction.txid();
        let bytes = txid.to_byte_array().to_vec();
        let watch = self.watch(|mut client| {
            let request = proto::WatchTransactionRequest { txid: bytes.clone().into() };
            async move { client.watch_transaction(request).await.map(tonic::Response::into_inner) }
        });
        let mut watch = match watch {
            Ok(watch) => watch,
            // All down: the payment is handed in, so keep trying until patience ends.
            Err(BackendError::AllDown(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        while let Next::State(status) = watch.next_within(deadline.saturating_duration_since(Instant::now())) {
            match status.state() {
                State::Mempool => {}
                State::Unknown => {
                    if let Err(error @ BackendError::Refused { .. }) = self.submit(transaction)
                        && self.transaction(txid).is_err()
                    {
                        return Err(error);
                    }
                }
                State::Final => {
                    return match self.transaction(txid) {
                        // Told by one server, proven by the next one that is a moment behind: look again.
                        Err(BackendError::Refused { code: Code::NotFound, .. } | BackendError::AllDown(_)) => Ok(None),
                        found => Ok(found?.place),
                    };
                }
            }
        }
        Ok(None)
    }
}
