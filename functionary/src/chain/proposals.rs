//! Proposed blocks: fetching bodies, judging them, proposing our own.

use std::time::Duration;

use aquifer_federation::consensus::BlockId;
use aquifer_federation::roster::MemberIndex;

use super::ChainError;
use super::core::{Core, Knowledge, Phase};
use super::judge::Verdict;
use super::timers::Alarm;
use super::worker::{Done, Job};

/// Pause before a body is fetched again, growing with each attempt up to eight times this.
const FETCH_AGAIN: Duration = Duration::from_millis(100);
/// Pause before a block that cannot be judged yet is judged again.
const JUDGE_AGAIN: Duration = Duration::from_millis(300);

impl Core {
    /// A member proposed a block in its turn: find out whether it is valid and tell the engine.
    pub(super) fn want_verdict(
        &mut self,
        from: MemberIndex,
        height: u32,
        round: u32,
        block: BlockId,
    ) -> Result<(), ChainError> {
        match self.known.get(&block) {
            Some(Knowledge::Judged { valid }) => {
                let valid = *valid;
                let result = self.engine.judged(height, round, block, valid, &mut self.world);
                self.after_engine(result)
            }
            Some(Knowledge::Pending { .. }) => Ok(()),
            None => {
                self.known.insert(block, Knowledge::Pending { from, attempts: 0 });
                match self.world.store.body(height, block)? {
                    Some(body) => self.ask(Job::Judge { height, block, body }),
                    None => {
                        self.world.network.fetch_body(from, height, block);
                        Ok(())
                    }
                }
            }
        }
    }

    fn is_pending(&self, height: u32, block: BlockId) -> bool {
        height == self.next_height()
            && matches!(self.phase, Phase::Agreeing)
            && matches!(self.known.get(&block), Some(Knowledge::Pending { .. }))
    }

    pub(super) fn body_arrived(
        &mut self,
        from: MemberIndex,
        height: u32,
        block: BlockId,
        result: Result<Vec<u8>, String>,
    ) -> Result<(), ChainError> {
        if !self.is_pending(height, block) {
            return Ok(());
        }
        match result {
            Ok(body) => self.ask(Job::Judge { height, block, body }),
            Err(reason) => {
                tracing::debug!(member = %from, height, %block, %reason, "could not fetch the body of a proposed block");
                let Some(Knowledge::Pending { attempts, .. }) = self.known.get_mut(&block) else { return Ok(()) };
                *attempts = attempts.saturating_add(1);
                let pause = FETCH_AGAIN.saturating_mul((*attempts).min(8));
                self.world.timers.after(pause, Alarm::FetchAgain { height, block });
                Ok(())
            }
        }
    }

    /// Asks for the body again: the proposer first, then the others in turn.
    pub(super) fn fetch_again(&mut self, height: u32, block: BlockId) -> Result<(), ChainError> {
        if !self.is_pending(height, block) {
            return Ok(());
        }
        let Some(Knowledge::Pending { from, attempts }) = self.known.get(&block) else { return Ok(()) };
        let count = u32::try_from(self.federation.roster.members().len()).unwrap_or(u32::MAX).max(1);
        let turn = u32::from(from.0).wrapping_add(*attempts).wrapping_rem(count);
        let mut whom = MemberIndex(u16::try_from(turn).unwrap_or(0));
        if whom == self.me {
            whom = *from;
        }
        self.world.network.fetch_body(whom, height, block);
        Ok(())
    }

    pub(super) fn judge_again(&mut self, height: u32, block: BlockId) -> Result<(), ChainError> {
        if !self.is_pending(height, block) {
            return Ok(());
        }
        match self.world.store.body(height, block)? {
            Some(body) => self.ask(Job::Judge { height, block, body }),
            None => Ok(()),
        }
    }

    pub(super) fn work_done(&mut self, done: Done) -> Result<(), ChainError> {
        match done {
            Done::Built { height, round, result } => {
                let examined = result?;
                if height != self.next_height()
                    || !matches!(self.phase, Phase::Agreeing)
                    || self.engine.round() != round
                {
                    return Ok(());
                }
                let bytes = examined.body.to_bytes().map_err(|error| ChainError::Decided {
                    height,
                    block: BlockId::from(examined.body.block.block_hash()),
                    reason: error.to_string(),
                })?;
                let block = BlockId::from(examined.body.block.block_hash());
                self.world.store.put_own(height, round, block, &bytes)?;
                self.known.insert(block, Knowledge::Judged { valid: true });
                self.examined.insert(block, *examined);
                let result = self.engine.propose(height, round, block, &mut self.world);
                self.after_engine(result)
            }
            Done::Withheld { height, reason } => {
                tracing::warn!(height, reason, "not proposing a block: others have to");
                Ok(())
            }
            Done::Judged { height, block, body, result } => {
                let verdict = result?;
                if self.is_pending(height, block) { self.judged(height, block, &body, verdict) } else { Ok(()) }
            }
        }
    }

    fn judged(&mut self, height: u32, block: BlockId, body: &[u8], verdict: Verdict) -> Result<(), ChainError> {
        let valid = match verdict {
            Verdict::Valid(examined) => {
                // Durable before the engine hears of it: a vote may depend on this body.
                self.world.store.put_body(height, block, body)?;
                self.examined.insert(block, *examined);
                true
            }
            Verdict::Invalid(reason) => {
                let proposer = match self.known.get(&block) {
                    Some(Knowledge::Pending { from, .. }) => *from,
                    _ => self.me,
                };
                tracing::warn!(height, %block, member = %proposer, %reason, "refusing a proposed block");
                false
            }
            Verdict::NotNow(reason) => {
                tracing::info!(height, %block, %reason, "cannot judge a proposed block yet");
                self.world.store.put_body(height, block, body)?;
                self.world.timers.after(JUDGE_AGAIN, Alarm::JudgeAgain { height, block });
                return Ok(());
            }
        };
        self.known.insert(block, Knowledge::Judged { valid });
        let round = self.engine.round();
        let result = self.engine.judged(height, round, block, valid, &mut self.world);
        self.after_engine(result)
    }
}
