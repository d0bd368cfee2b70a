//! Bitcoin as a table of what it would say.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use aquifer_assets::peg::PegoutRequest;
use aquifer_assets::state::PeginClaim;
use aquifer_federation::roster::MemberIndex;
use aquifer_federation::treasury::{
    BatchPlan, Family, FeeRateBounds, Signed, Treasury, TreasuryCoin, check_batch, plan_batch,
};
use aquifer_functionary::chain::parent::{
    BatchVerdict, BuriedBatch, DepthVerdict, FinalBatch, ParentChain, PegoutError, Shares, SignerRecord,
    WantedSignatures,
};
use bitcoin::secp256k1::schnorr;

/// The fee rate of batches, in satoshi per 1,000 virtual bytes.
const FEE_RATE_SAT_PER_KVB: u64 = 2_000;

/// A parent chain that knows the depth of the deposits it was told of. Where it knows the treasury, all of whose coins it
/// takes for confirmed, it plans and judges batches; it signs none.
#[derive(Default)]
pub struct DepthTable {
    depths: Mutex<HashMap<bitcoin::OutPoint, DepthVerdict>>,
    treasury: Mutex<Option<Treasury>>,
}

impl DepthTable {
    /// Sets what is said of a deposit from now on.
    pub fn set(&self, deposit: bitcoin::OutPoint, verdict: DepthVerdict) {
        self.depths.lock().unwrap_or_else(PoisonError::into_inner).insert(deposit, verdict);
    }
}

impl DepthTable {
    /// Plans and judges batches of this treasury from now on.
    pub fn pay_from(&self, treasury: Treasury) {
        *self.treasury.lock().unwrap_or_else(PoisonError::into_inner) = Some(treasury);
    }
}

impl ParentChain for DepthTable {
    fn deposit_depth(&self, claim: &PeginClaim) -> DepthVerdict {
        let depths = self.depths.lock().unwrap_or_else(PoisonError::into_inner);
        let unknown = || DepthVerdict::Unknown("this federation runs without Bitcoin".into());
        depths.get(&claim.deposit).cloned().unwrap_or_else(unknown)
    }

    fn propose_batch(&self, coins: &[TreasuryCoin], waiting: &[PegoutRequest]) -> Option<BatchPlan> {
        let treasury = self.treasury.lock().unwrap_or_else(PoisonError::into_inner);
        plan_batch(treasury.as_ref()?, coins, waiting, FEE_RATE_SAT_PER_KVB)
    }

    fn judge_batch(
        &self,
        batch: &bitcoin::Transaction,
        coins: &[TreasuryCoin],
        waiting: &[PegoutRequest],
    ) -> BatchVerdict {
        let treasury = self.treasury.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(treasury) = treasury.as_ref() else {
            return BatchVerdict::Unknown("this federation runs without Bitcoin".into());
        };
        match check_batch(treasury, coins, waiting, batch, &FeeRateBounds::HARD_LIMITS) {
            Ok(plan) => BatchVerdict::Good(Box::new(plan)),
            Err(error) => BatchVerdict::Bad(error.to_string()),
        }
    }

    fn overdue_families(&self) -> Vec<u32> {
        Vec::new()
    }

    fn propose_replacement(&self, _family: &Family) -> Option<BatchPlan> {
        None
    }

    fn judge_replacement(&self, _batch: &bitcoin::Transaction, _family: &Family) -> BatchVerdict {
        BatchVerdict::Unknown("this federation replaces nothing".into())
    }

    fn follow_batch(&self, _batch: FinalBatch) -> Result<(), PegoutError> {
        Ok(())
    }

    fn sign_batch(
        &self,
        batch: FinalBatch,
        _signed: Signed,
        _record: &mut dyn SignerRecord,
    ) -> Result<Vec<Vec<u8>>, PegoutError> {
        Err(PegoutError::Assembly(batch.height))
    }

    fn accept_signatures(
        &self,
        from: MemberIndex,
        _height: u32,
        _txid: &bitcoin::Txid,
        _signatures: Vec<Vec<u8>>,
    ) -> Result<Shares, PegoutError> {
        Err(PegoutError::NoMember(from))
    }

    fn accept_key_signatures(
        &self,
        from: MemberIndex,
        _height: u32,
        _txid: &bitcoin::Txid,
        _signatures: &[schnorr::Signature],
    ) -> Result<Shares, PegoutError> {
        Err(PegoutError::NoMember(from))
    }

    fn key_signatures(&self, _height: u32, _txid: &bitcoin::Txid) -> Option<Vec<schnorr::Signature>> {
        None
    }

    fn wanted_signatures(&self) -> Vec<WantedSignatures> {
        Vec::new()
    }

    fn buried_batches(&self) -> Vec<BuriedBatch> {
        Vec::new()
    }

    fn forget_batches(&self, _heights: &[u32]) {}
}
