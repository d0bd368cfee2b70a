//! Notices to halt or resume on their way through this member, and the books after every block.

use aquifer_federation::roster::MemberIndex;
use aquifer_federation::valve::{Closure, Notice};
use aquifer_proto::peer::peer_message::Kind;

use super::ChainError;
use super::core::Core;
use crate::halt::{HaltError, is_lie};

impl Core {
    /// A member passes a notice on.
    pub(super) fn notice(&mut self, from: MemberIndex, bytes: &[u8]) -> Result<(), ChainError> {
        let Some(notice) = Notice::from_bytes(bytes) else {
            self.world.network.disconnect(from, "a notice to halt or resume that is none");
            return Ok(());
        };
        let valve = self.judge.valve(&self.judge.ledger.snapshot()?)?;
        match self.judge.halts.take(&valve, notice) {
            Ok(_) => self.notices_moved(),
            Err(HaltError::Store(error)) => Err(error.into()),
            Err(error) if is_lie(&error) => {
                self.world.network.disconnect(from, &error.to_string());
                Ok(())
            }
            Err(error) => {
                tracing::debug!(member = %from, %error, "a notice is not taken now");
                Ok(())
            }
        }
    }

    /// Passes on what is new, makes a block for it, and acts on what this member has said itself.
    pub(super) fn notices_moved(&mut self) -> Result<(), ChainError> {
        for notice in self.judge.halts.take_to_relay() {
            tracing::info!(member = %notice.member, kind = ?notice.kind, seen_height = notice.seen_height, "a notice on peg-outs");
            self.broadcast(Kind::Notice(notice.to_bytes().into()));
        }
        self.reopen_batches_if_halted()?;
        self.sign_released_batches()?;
        self.consider_start()
    }

    /// Counts after every block: what was pegged in and not paid out is what the federation holds. Says when the valve has
    /// closed or opened.
    pub(super) fn count(&mut self, closed_before: Option<Closure>) -> Result<(), ChainError> {
        let books = self.judge.ledger.snapshot()?.books()?;
        let closure = self.judge.closure()?;
        if books.difference_sat() > 0 {
            self.status.raise(format!("more coins are counted than is owed: {books:?}"));
        }
        match (closed_before, closure) {
            (_, Some(closure @ Closure::Shortfall { .. })) if closed_before != Some(closure) => {
                self.status.raise(format!("no peg-out is paid: {closure}"));
            }
            (None, Some(closure)) => tracing::warn!("peg-outs have stopped: {closure}"),
            (Some(closure), None) => tracing::warn!("peg-outs go on; they had stopped: {closure}"),
            _ => {}
        }
        Ok(())
    }

    /// At the start: the books against everything they are the sum of.
    pub(super) fn recount(&self) -> Result<(), ChainError> {
        let snapshot = self.judge.ledger.snapshot()?;
        let (books, counted) = (snapshot.books()?, snapshot.recount()?);
        if books != counted {
            self.status.raise(format!("the books are {books:?}, but coins and requests add up to {counted:?}"));
        }
        Ok(())
    }
}
