//! Signing with the treasury key, as far as the chain has to do with it.
//!
//! [`crate::peg::sessions`] holds the sessions, on a thread of its own. The chain opens them, for batches that it has let in
//! to be signed and no others, carries their messages, and closes them. What comes of them is verified again where it is put
//! together, and passed on to all members: whoever could not finish itself can hand the transaction to Bitcoin all the same.
//!
//! When the key has not signed in time, the member signs with its own key what it had left to it: `k` members can spend by
//! script what the key does not. The sessions go on meanwhile, and whichever is complete first is used; both make the same
//! transaction.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Instant;

use aquifer_federation::federation::Federation;
use aquifer_federation::keys::TreasuryShare;
use aquifer_federation::roster::MemberIndex;
use aquifer_federation::treasury::{KeySpends, Signed};
use aquifer_proto::peer::{KeySignatures, PeerMessage};
use bitcoin::Txid;

use super::core::Core;
use super::parent::{FinalBatch, PegoutError};
use super::{ChainError, Event};
use crate::peg::messages::{MessageError, SessionMessage, read_key_signatures, write, write_key_signatures};
use crate::peg::sessions::{Fault, HostEnded, SessionEffect, SessionHost, Sessions};

/// A batch that the treasury key has still to sign.
pub(super) struct InSession {
    batch: FinalBatch,
    txid: Txid,
    since: Instant,
    /// Whether this member has signed by script what it had left to the key.
    signed_by_script: bool,
}

/// Starts the sessions of a member; what they have to say becomes events.
pub(super) fn start_sessions(
    federation: &Arc<Federation>,
    share: &TreasuryShare,
    events: SyncSender<Event>,
) -> Result<SessionHost, ChainError> {
    let members = u16::try_from(federation.roster.members().len()).unwrap_or(u16::MAX);
    let sessions = Sessions::new(members, &federation.treasury, &federation.treasury_key, share);
    let tell = move |effect| events.send(Event::Session(effect)).is_ok();
    SessionHost::start(sessions, tell).map_err(|_| ChainError::Thread("sessions"))
}

fn ended(_: HostEnded) -> ChainError {
    ChainError::Thread("sessions")
}

impl Core {
    /// Begins to sign with the treasury key what a batch spends of its outputs.
    pub(super) fn open_sessions(&mut self, batch: FinalBatch) -> Result<(), ChainError> {
        let height = batch.height;
        if self.waiting_for_key().contains(&height) {
            let spends = KeySpends::of(&batch.transaction, &batch.coins)?;
            let txid = spends.batch();
            self.sessions.open(height, spends).map_err(ended)?;
            let in_session = InSession { batch, txid, since: Instant::now(), signed_by_script: false };
            self.in_session.insert(height, in_session);
        }
        Ok(())
    }

    /// Heights of the blocks whose batches the treasury key has still to sign.
    fn waiting_for_key(&self) -> BTreeSet<u32> {
        let wanted = self.judge.parent.wanted_signatures().into_iter();
        wanted.filter(|wanted| wanted.treasury_key).map(|wanted| wanted.height).collect()
    }

    /// Ends sessions that are over or must not go on, and signs by script what takes too long.
    pub(super) fn tend_sessions(&mut self) -> Result<(), ChainError> {
        if self.in_session.is_empty() {
            return Ok(());
        }
        let waiting = self.waiting_for_key();
        for (height, mut open) in std::mem::take(&mut self.in_session) {
            if !waiting.contains(&height) {
                self.sessions.close(open.txid).map_err(ended)?;
                continue;
            }
            if self.is_stopped(height)? {
                self.sessions.close(open.txid).map_err(ended)?;
                self.unsigned.insert(height, open.batch);
                continue;
            }
            if !open.signed_by_script && open.since.elapsed() >= self.script_after {
                self.status.raise(format!(
                    "the treasury key has not signed the peg-out batch of block {height} within {} s: too few members \
                     take part. This member has signed by the script of the members; see which members are away",
                    self.script_after.as_secs()
                ));
                self.sign_with_own_keys(&open.batch, Signed::Everything)?;
                open.signed_by_script = true;
            }
            self.in_session.insert(height, open);
        }
        Ok(())
    }

    /// A message for the sessions, if it can be read.
    pub(super) fn session_message(
        &mut self,
        from: MemberIndex,
        message: Result<SessionMessage, MessageError>,
    ) -> Result<(), ChainError> {
        match message {
            Ok(message) => self.sessions.receive(from, message).map_err(ended),
            Err(error) => {
                self.world.network.disconnect(from, &format!("a message of a signing session: {error}"));
                Ok(())
            }
        }
    }

    /// Does what the sessions want.
    pub(super) fn session_effect(&mut self, effect: SessionEffect) -> Result<(), ChainError> {
        match effect {
            SessionEffect::Send(to, message) => {
                // Said before the batch was closed: an objection, for instance, stops what has not left.
                if self.in_session.values().any(|open| open.txid == *message.batch()) {
                    self.world.network.send(to, PeerMessage { kind: Some(write(&message)) });
                }
                Ok(())
            }
            SessionEffect::Finished { height, batch, signatures } => {
                // Not any more: an objection, or somebody else was faster.
                if self.is_stopped(height)? {
                    return self.tend_sessions();
                }
                let Some(open) = self.in_session.get(&height) else { return Ok(()) };
                let coins = open.batch.transaction.input.iter().map(|input| &input.previous_output);
                let signatures: Vec<_> = coins.filter_map(|coin| signatures.get(coin)).copied().collect();
                self.judge.parent.accept_key_signatures(self.me, height, &batch, &signatures)?;
                tracing::info!(height, txid = %batch, "the treasury key has signed the peg-out batch");
                self.broadcast(write_key_signatures(height, &batch, &signatures));
                self.tend_sessions()
            }
            SessionEffect::Misbehaved { member, fault } => {
                self.misbehaved(member, &fault);
                Ok(())
            }
        }
    }

    fn misbehaved(&mut self, member: MemberIndex, fault: &Fault) {
        self.status.raise(format!("member {member} hinders the signing of a peg-out batch: {fault}"));
        if fault.is_evident() {
            self.world.network.disconnect(member, &format!("signing a peg-out batch: {fault}"));
        }
    }

    /// Takes finished signatures of the treasury key from a member.
    pub(super) fn key_signatures(&mut self, from: MemberIndex, message: &KeySignatures) -> Result<(), ChainError> {
        let (txid, signatures) = match read_key_signatures(message) {
            Ok(read) => read,
            Err(error) => {
                self.world.network.disconnect(from, &format!("signatures of the treasury key: {error}"));
                return Ok(());
            }
        };
        match self.judge.parent.accept_key_signatures(from, message.height, &txid, &signatures) {
            Ok(_) => self.tend_sessions(),
            Err(error @ (PegoutError::OtherBatch { .. } | PegoutError::BadKeySignatures { .. })) => {
                self.world.network.disconnect(from, &error.to_string());
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }
}
