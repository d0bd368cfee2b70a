//! Peg-out batches of final blocks: our signatures, and those of the others. For those of the treasury key see
//! [`super::sessions`].
//!
//! Between the final block and our signatures stands the guard ([`super::oversight::BatchGuard`]). A batch goes into the
//! queue when its block is connected, and after a restart unless we had signed it already; whenever the guard may have
//! changed its mind, the queue is looked through. The queue is made from the ledger and `signer.db` alone, so a crash at
//! any point costs nothing: what was recorded as signed is given out again, what was not has to pass the guard.

use std::collections::BTreeMap;

use aquifer_federation::roster::MemberIndex;
use aquifer_federation::treasury::{BatchPlan, Signed, TreasuryCoin};
use aquifer_proto::peer::{BatchShare, BatchShareRequest, peer_message::Kind};
use bitcoin::hashes::Hash as _;

use super::ChainError;
use super::core::Core;
use super::oversight::Hold;
use super::parent::{FinalBatch, PegoutError};
use crate::peg::messages::write_key_signatures;
use crate::store::StoreError;

impl Core {
    /// The coins that a batch spends, in the order of its inputs.
    pub(super) fn coins_of(&self, batch: Option<&BatchPlan>) -> Result<Vec<TreasuryCoin>, ChainError> {
        match batch {
            Some(batch) => self.spent_coins(&batch.transaction),
            None => Ok(Vec::new()),
        }
    }

    fn spent_coins(&self, batch: &bitcoin::Transaction) -> Result<Vec<TreasuryCoin>, ChainError> {
        let snapshot = self.judge.ledger.snapshot()?;
        let mut coins = Vec::with_capacity(batch.input.len());
        for input in &batch.input {
            let coin = snapshot.treasury_coin(&input.previous_output)?.ok_or_else(|| StoreError::Inconsistent {
                file: "ledger.db".into(),
                reason: format!("a batch spends {}, which is no coin of the treasury", input.previous_output),
            })?;
            coins.push(coin);
        }
        Ok(coins)
    }

    /// The block of this batch is final: it is signed as soon as the guard lets it pass.
    pub(super) fn queue_batch(&mut self, batch: FinalBatch) -> Result<(), ChainError> {
        self.keep_unsigned(batch)?;
        self.sign_released_batches()
    }

    /// What others make of it is followed meanwhile: k signatures of theirs are enough.
    fn keep_unsigned(&mut self, batch: FinalBatch) -> Result<(), ChainError> {
        self.judge.parent.follow_batch(batch.clone())?;
        self.unsigned.insert(batch.height, batch);
        Ok(())
    }

    /// Signs what the guard lets pass now, oldest first, and notes why the others wait. What it lets pass no more is signed no
    /// further.
    pub(super) fn sign_released_batches(&mut self) -> Result<(), ChainError> {
        self.tend_sessions()?;
        if self.unsigned.is_empty() {
            return Ok(());
        }
        let mut waiting = BTreeMap::new();
        for (height, batch) in std::mem::take(&mut self.unsigned) {
            match self.guard.hold(height)? {
                None => self.sign_batch(batch)?,
                Some(hold) => {
                    waiting.insert(height, hold.to_string());
                    self.unsigned.insert(height, batch);
                }
            }
        }
        self.status.note_waiting_batches(waiting);
        Ok(())
    }

    /// Signs the batch of a final block: the only place where this member signs for the treasury, with its own keys and,
    /// from here on, in sessions for the treasury key.
    fn sign_batch(&mut self, batch: FinalBatch) -> Result<(), ChainError> {
        self.sign_with_own_keys(&batch, Signed::Multisig)?;
        self.open_sessions(batch)
    }

    /// Records and sends this member's own signatures of a batch that [`Core::sign_batch`] has let in.
    pub(super) fn sign_with_own_keys(&mut self, batch: &FinalBatch, signed: Signed) -> Result<(), ChainError> {
        let (height, txid) = (batch.height, batch.transaction.compute_txid());
        let signatures = self.judge.parent.sign_batch(batch.clone(), signed, &mut self.signer)?;
        self.broadcast(Kind::BatchShare(batch_share_message(height, txid, signatures)));
        tracing::info!(height, %txid, "signed the peg-out batch");
        Ok(())
    }

    /// Drops batches that are buried on Bitcoin, on disk first: however long the history is, memory holds what is open.
    pub(super) fn forget_buried_batches(&mut self) -> Result<(), ChainError> {
        let buried = self.judge.parent.buried_batches();
        if buried.is_empty() {
            return Ok(());
        }
        self.ledger.bury_batches(&buried)?;
        let heights: Vec<u32> = buried.iter().map(|batch| batch.height).collect();
        self.judge.parent.forget_batches(&heights);
        self.unsigned.retain(|height, _| !heights.contains(height));
        Ok(())
    }

    /// A member that halts peg-outs, for whatever reason, looks at its latest batches on Bitcoin again: a deep reorganisation
    /// may have taken back what lay deep. When it resumes they are handed over again.
    pub(super) fn reopen_batches_if_halted(&mut self) -> Result<(), ChainError> {
        let is_halted = self.judge.halts.hold().is_some();
        if is_halted && !self.was_halted {
            self.ledger.reopen_batches()?;
            self.resume_batches()?;
        }
        self.was_halted = is_halted;
        Ok(())
    }

    /// After a restart: every batch that is not buried may still need our signatures, or be followed on Bitcoin.
    pub(super) fn resume_batches(&mut self) -> Result<(), ChainError> {
        let batches = self.judge.ledger.snapshot()?.open_batches()?;
        for (height, family, bytes) in batches {
            let batch: bitcoin::Transaction =
                bitcoin::consensus::deserialize(&bytes).map_err(|error| StoreError::Inconsistent {
                    file: "ledger.db".into(),
                    reason: format!("the batch of block {height}: {error}"),
                })?;
            let batch = FinalBatch { height, family, coins: self.spent_coins(&batch)?, transaction: batch };
            if self.signer.batch(height)?.is_some() && !self.is_stopped(height)? {
                self.sign_batch(batch)?;
            } else {
                self.keep_unsigned(batch)?;
            }
        }
        self.sign_released_batches()
    }

    /// Whether not even signatures that were made before an objection are given out.
    pub(super) fn is_stopped(&self, height: u32) -> Result<bool, ChainError> {
        let hold = self.guard.hold(height)?;
        Ok(matches!(hold, Some(Hold::Stopped { from_height, .. }) if from_height <= height))
    }

    pub(super) fn batch_share(&mut self, from: MemberIndex, share: &BatchShare) -> Result<(), ChainError> {
        let Ok(txid) = <[u8; 32]>::try_from(share.txid.as_ref()) else {
            self.world.network.disconnect(from, "a batch share whose transaction id has the wrong length");
            return Ok(());
        };
        let txid = bitcoin::Txid::from_byte_array(txid);
        let signatures = share.signatures.iter().map(|signature| signature.to_vec()).collect();
        match self.judge.parent.accept_signatures(from, share.height, &txid, signatures) {
            Ok(_) => Ok(()),
            Err(error @ (PegoutError::OtherBatch { .. } | PegoutError::BadSignatures { .. })) => {
                self.world.network.disconnect(from, &error.to_string());
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    pub(super) fn batch_share_wanted(&mut self, from: MemberIndex, height: u32) -> Result<(), ChainError> {
        if let Some(signed) = self.signer.batch(height)?
            && !self.is_stopped(height)?
        {
            let txid = bitcoin::Txid::from_byte_array(signed.txid);
            self.send(from, Kind::BatchShare(batch_share_message(height, txid, signed.signatures)));
            if let Some(signatures) = self.judge.parent.key_signatures(height, &txid) {
                self.send(from, write_key_signatures(height, &txid, &signatures));
            }
        }
        Ok(())
    }

    /// Asks for the signatures that batches still lack.
    pub(super) fn chase_batches(&mut self) {
        for wanted in self.judge.parent.wanted_signatures() {
            for member in wanted.members.into_iter().filter(|member| *member != self.me) {
                let (height, txid) = (wanted.height, wanted.txid.to_byte_array().to_vec().into());
                self.send(member, Kind::BatchShareRequest(BatchShareRequest { height, txid }));
            }
        }
    }
}

fn batch_share_message(height: u32, txid: bitcoin::Txid, signatures: Vec<Vec<u8>>) -> BatchShare {
    BatchShare {
        height,
        txid: txid.to_byte_array().to_vec().into(),
        signatures: signatures.into_iter().map(Into::into).collect(),
    }
}
