//! Catching up: final blocks of other members, each checked in full before it is connected.

use std::time::{Duration, Instant};

use aquifer_federation::consensus::BlockId;
use aquifer_federation::roster::MemberIndex;
use aquifer_proto::peer::FinalBlock;

use super::ChainError;
use super::core::{Core, Phase};
use super::judge::Verdict;

/// After this time a member that was asked for blocks counts as silent, and another is asked.
const FETCH_PATIENCE: Duration = Duration::from_secs(20);

impl Core {
    /// A member says, or shows by its messages, that `height` is final for it.
    pub(super) fn peer_tip(&mut self, from: MemberIndex, height: u32) -> Result<(), ChainError> {
        self.note_peer_height(from, height);
        // One block ahead is how it looks when the others were a little faster; the tick asks if it stays so.
        if height > self.next_height() {
            self.fetch_from(from);
        }
        Ok(())
    }

    fn fetch_from(&mut self, from: MemberIndex) {
        if self.fetching.is_none_or(|(_, since)| since.elapsed() > FETCH_PATIENCE) {
            self.fetching = Some((from, Instant::now()));
            self.world.network.fetch_blocks(from, self.next_height());
        }
    }

    /// Twice a second: look for what is missing.
    pub(super) fn tick(&mut self) -> Result<(), ChainError> {
        self.chase_shares()?;
        self.sign_released_batches()?;
        self.chase_batches();
        self.forget_buried_batches()?;
        let stuck = self.tip.height == self.tip_at_last_tick;
        self.tip_at_last_tick = self.tip.height;
        let ahead = self.peer_heights.iter().filter(|(_, height)| **height > self.tip.height);
        let best = ahead.max_by_key(|(_, height)| **height).map(|(member, _)| *member);
        if let (true, Some(member)) = (stuck, best) {
            self.fetch_from(member);
        }
        self.consider_start()
    }

    pub(super) fn final_blocks(
        &mut self,
        from: MemberIndex,
        result: Result<Vec<FinalBlock>, String>,
    ) -> Result<(), ChainError> {
        self.fetching = None;
        let blocks = match result {
            Ok(blocks) => blocks,
            Err(reason) => {
                tracing::debug!(member = %from, %reason, "could not fetch final blocks");
                // Ask somebody else next time, until it tells of its tip again.
                self.peer_heights.remove(&from);
                return Ok(());
            }
        };
        let count = blocks.len();
        for block in blocks {
            if block.height != self.next_height() {
                continue;
            }
            if let Err(reason) = self.take_final_block(&block)? {
                self.world.network.disconnect(from, &format!("its final block {}: {reason}", block.height));
                self.peer_heights.remove(&from);
                return Ok(());
            }
        }
        if count > 1 {
            tracing::info!(blocks = count, height = self.tip.height, member = %from, "caught up");
        }
        if self.peer_heights.get(&from).is_some_and(|height| *height > self.tip.height) && count > 0 {
            self.fetch_from(from);
        }
        Ok(())
    }

    /// Checks a final block of another member and connects it; the inner error says what is wrong with it.
    fn take_final_block(&mut self, message: &FinalBlock) -> Result<Result<(), String>, ChainError> {
        let height = self.next_height();
        let examined = match self.judge.judge_final(&self.federation.certificate_key(), message)? {
            Verdict::Valid(examined) => *examined,
            Verdict::Invalid(reason) => return Ok(Err(reason.to_string())),
            Verdict::NotNow(reason) => return Ok(Err(reason)),
        };
        let theirs = BlockId::from(examined.body.block.block_hash());
        if let Some(decided) = self.world.store.decided(height)?
            && decided.block != theirs
        {
            return Err(ChainError::Fork { height, ours: decided.block, theirs });
        }
        if !matches!(self.phase, Phase::Waiting) {
            self.phase = Phase::Waiting;
        }
        self.connect(examined, &message.certificate)?;
        Ok(Ok(()))
    }
}
