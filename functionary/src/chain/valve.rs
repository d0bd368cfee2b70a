//! The valve on the final chain: its state after the last block, what it lets a batch pay, and what a new block makes of it.

use std::collections::{BTreeMap, BTreeSet};

use aquifer_assets::primitives::{Block, Transaction};
use aquifer_assets::state::Effects;
use aquifer_federation::treasury::{BatchPlan, Family, park_reason};
use aquifer_federation::valve::{
    BlockFacts, Closure, Notice, NoticeError, Payment, Request, Valve, Verdict, find_notices,
};
use elements::OutPoint;

use super::judge::Judge;
use crate::store::StoreError;
use crate::store::ledger::{Books, LedgerStore, Snapshot, WaitingPegout};

/// What waits to be paid, and what the valve must know of it.
pub(super) struct Queue {
    /// All that no batch has paid: first what the valve releases, then what must wait, each oldest first.
    ///
    /// A batch does not say which requests it pays: of requests of one amount to one script it pays those that stand first
    /// here. So whoever plans a batch and whoever reads it must have the same order, and what may be paid must stand before
    /// what must wait; else members refuse each other's batches, and the chain stands.
    pub(super) waiting: Vec<WaitingPegout>,
    /// Those of them that can be paid at all.
    requests: Vec<Request>,
    /// Those that the next batch may pay.
    released: BTreeSet<OutPoint>,
}

impl Queue {
    pub(super) fn all(&self) -> Vec<aquifer_assets::peg::PegoutRequest> {
        self.waiting.iter().map(|waiting| waiting.request.clone()).collect()
    }

    /// Those that the next batch may pay, oldest first.
    pub(super) fn released(&self) -> Vec<aquifer_assets::peg::PegoutRequest> {
        let released = self.waiting.iter().filter(|waiting| self.released.contains(&waiting.request.outpoint));
        released.map(|waiting| waiting.request.clone()).collect()
    }

    /// Whether a batch that pays this may stand in the next block.
    pub(super) fn check(&self, valve: &Valve, plan: &BatchPlan) -> Result<(), String> {
        let paid: Vec<OutPoint> = plan.paid.iter().map(|paid| paid.request).collect();
        valve.check_batch(&self.requests, &paid).map_err(|error| error.to_string())
    }
}

fn coinbase_notices(coinbase: Option<&Transaction>) -> Vec<Result<Notice, NoticeError>> {
    coinbase.map(find_notices).unwrap_or_default()
}

impl Judge {
    fn chain(&self) -> [u8; 32] {
        self.params.genesis_hash().to_byte_array()
    }

    /// The valve after the last block of a snapshot.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read. [`Judge::mend_valve`] makes it again.
    pub fn valve(&self, snapshot: &Snapshot<'_>) -> Result<Valve, StoreError> {
        snapshot.valve(&self.roster, self.chain())?.map_err(inconsistent)
    }

    /// Makes the valve again from all blocks, where what is kept of it cannot be used.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn mend_valve(&self, ledger: &mut LedgerStore) -> Result<(), StoreError> {
        let valve = {
            let snapshot = self.ledger.snapshot()?;
            let Err(error) = snapshot.valve(&self.roster, self.chain())? else { return Ok(()) };
            let height = snapshot.tip()?.height;
            tracing::warn!(%error, height, "making the state of the valve again from all blocks of the chain");
            let mut valve = Valve::new(&self.roster, self.chain());
            for height in 1..=height {
                valve.apply_block(&self.facts_again(&snapshot, height)?).map_err(inconsistent)?;
            }
            valve
        };
        ledger.replace_valve(&valve)
    }

    /// What the valve is told of a block that the ledger has.
    fn facts_again(&self, snapshot: &Snapshot<'_>, height: u32) -> Result<BlockFacts, StoreError> {
        use aquifer_assets::state::ChainView as _;
        let missing = || inconsistent(format!("block {height} or the books after it are missing"));
        let stored = snapshot.block(height)?.ok_or_else(missing)?;
        let block = Block::decode(stored.block).map_err(inconsistent)?;
        let books = snapshot.books_at(height)?.ok_or_else(missing)?;
        let median_time_past = snapshot.median_time_past(height).map_err(inconsistent)?;
        Ok(facts(height, median_time_past, snapshot.payments(height)?, &block, &books))
    }

    /// The valve after a block that is about to be connected.
    pub(super) fn valve_after(
        &self,
        snapshot: &Snapshot<'_>,
        block: &Block,
        median_time_past: u32,
        effects: &Effects,
        batch: Option<&BatchPlan>,
    ) -> Result<Valve, StoreError> {
        let mut valve = self.valve(snapshot)?;
        let books = snapshot.books()?.after(effects, batch, self.params.pegged_asset());
        let paid = batch.iter().flat_map(|batch| &batch.paid);
        let mut paid: Vec<Payment> =
            paid.map(|paid| Payment { request: paid.request, amount_sat: paid.amount_sat }).collect();
        // As they are read again, so that the state is the same to the bit.
        paid.sort_by_key(|payment| (payment.request.txid.to_byte_array(), payment.request.vout));
        valve.apply_block(&facts(block.header.height, median_time_past, paid, block, &books)).map_err(inconsistent)?;
        Ok(valve)
    }

    /// What waits to be paid in the block in which the valve is in this state.
    pub(super) fn queue(&self, snapshot: &Snapshot<'_>, valve: &Valve) -> Result<Queue, StoreError> {
        Ok(self.queue_of(snapshot.waiting_pegouts()?, valve))
    }

    /// What waits to be paid, and what a replacement shall pay again: the valve may have forgotten that it was paid.
    pub(super) fn queue_with(
        &self,
        snapshot: &Snapshot<'_>,
        valve: &Valve,
        family: &Family,
    ) -> Result<Queue, StoreError> {
        let mut waiting = snapshot.waiting_pegouts()?;
        waiting.extend(snapshot.paid_by_family(family.height)?);
        Ok(self.queue_of(waiting, valve))
    }

    fn queue_of(&self, mut waiting: Vec<WaitingPegout>, valve: &Valve) -> Queue {
        let payable = waiting.iter().filter(|waiting| park_reason(&self.treasury, &waiting.request).is_none());
        let requests: Vec<Request> = payable.filter_map(WaitingPegout::for_valve).collect();
        let decisions = valve.decide(&requests);
        let places: BTreeMap<OutPoint, (bool, usize)> = (0..)
            .zip(&decisions)
            .map(|(place, decision)| (decision.request, (decision.verdict != Verdict::Release, place)))
            .collect();
        waiting.sort_by_key(|waiting| places.get(&waiting.request.outpoint).copied().unwrap_or((true, usize::MAX)));
        let released = places.into_iter().filter(|(_, (waits, _))| !waits).map(|(request, _)| request).collect();
        Queue { waiting, requests, released }
    }

    /// The notices that a proposed block carries, all of which must count.
    pub(super) fn notices_of(block: &Block, valve: &Valve) -> Result<Vec<Notice>, NoticeError> {
        let notices = coinbase_notices(block.txdata.first()).into_iter().collect::<Result<Vec<_>, _>>()?;
        valve.check_notices(&notices)?;
        Ok(notices)
    }

    /// Why nothing is paid after the last block, if nothing is.
    ///
    /// # Errors
    /// As [`Judge::valve`].
    pub fn closure(&self) -> Result<Option<Closure>, StoreError> {
        Ok(self.valve(&self.ledger.snapshot()?)?.closure())
    }
}

fn facts(height: u32, median_time_past: u32, paid: Vec<Payment>, block: &Block, books: &Books) -> BlockFacts {
    BlockFacts {
        height,
        median_time_past,
        paid,
        notices: coinbase_notices(block.txdata.first()).into_iter().flatten().collect(),
        reserve_sat: books.coins_sat,
        liabilities_sat: books.owed_sat(),
    }
}

fn inconsistent(error: impl ToString) -> StoreError {
    StoreError::Inconsistent { file: "ledger.db".into(), reason: error.to_string() }
}
