//! The real parent chain behind the chain's capability.

use std::sync::Arc;

use aquifer_assets::peg::PegoutRequest;
use aquifer_assets::state::PeginClaim;
use aquifer_federation::roster::MemberIndex;
use aquifer_federation::treasury::{BatchPlan, Family, Signed, Treasury, TreasuryCoin, judge_batch, judge_replacement};
use bitcoin::secp256k1::schnorr;

use crate::chain::parent::{
    BatchVerdict, BuriedBatch, DepthVerdict, FinalBatch, ParentChain, PegoutError, Shares, SignerRecord,
    WantedSignatures,
};
use crate::parent::Parent;
use crate::peg::{PegoutDriver, propose_batch, propose_replacement};

/// This member's bitcoind and the driver of its batches.
pub(super) struct BitcoinParent {
    parent: Parent,
    driver: PegoutDriver,
    treasury: Arc<Treasury>,
}

impl BitcoinParent {
    pub(super) fn new(parent: Parent, driver: PegoutDriver, treasury: Arc<Treasury>) -> Self {
        Self { parent, driver, treasury }
    }
}

impl ParentChain for BitcoinParent {
    fn deposit_depth(&self, claim: &PeginClaim) -> DepthVerdict {
        self.parent.deposit_depth(&claim.deposit.txid, &claim.parent_block)
    }

    fn propose_batch(&self, coins: &[TreasuryCoin], waiting: &[PegoutRequest]) -> Option<BatchPlan> {
        propose_batch(&self.parent, &self.treasury, coins, waiting)
    }

    fn judge_batch(
        &self,
        batch: &bitcoin::Transaction,
        coins: &[TreasuryCoin],
        waiting: &[PegoutRequest],
    ) -> BatchVerdict {
        judge_batch(&self.parent, &self.treasury, batch, coins, waiting)
    }

    fn overdue_families(&self) -> Vec<u32> {
        self.driver.overdue()
    }

    fn propose_replacement(&self, family: &Family) -> Option<BatchPlan> {
        propose_replacement(&self.parent, &self.treasury, family)
    }

    fn judge_replacement(&self, batch: &bitcoin::Transaction, family: &Family) -> BatchVerdict {
        judge_replacement(&self.parent, &self.treasury, batch, family)
    }

    fn follow_batch(&self, batch: FinalBatch) -> Result<(), PegoutError> {
        self.driver.follow(batch)
    }

    fn sign_batch(
        &self,
        batch: FinalBatch,
        signed: Signed,
        record: &mut dyn SignerRecord,
    ) -> Result<Vec<Vec<u8>>, PegoutError> {
        self.driver.sign(batch, signed, record)
    }

    fn accept_signatures(
        &self,
        from: MemberIndex,
        height: u32,
        txid: &bitcoin::Txid,
        signatures: Vec<Vec<u8>>,
    ) -> Result<Shares, PegoutError> {
        self.driver.accept(from, height, txid, signatures)
    }

    fn accept_key_signatures(
        &self,
        from: MemberIndex,
        height: u32,
        txid: &bitcoin::Txid,
        signatures: &[schnorr::Signature],
    ) -> Result<Shares, PegoutError> {
        self.driver.accept_key_signatures(from, height, txid, signatures)
    }

    fn key_signatures(&self, height: u32, txid: &bitcoin::Txid) -> Option<Vec<schnorr::Signature>> {
        self.driver.key_signatures(height, txid)
    }

    fn wanted_signatures(&self) -> Vec<WantedSignatures> {
        self.driver.wanted()
    }

    fn buried_batches(&self) -> Vec<BuriedBatch> {
        self.driver.buried()
    }

    fn forget_batches(&self, heights: &[u32]) {
        self.driver.forget(heights);
    }
}
