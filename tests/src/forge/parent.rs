//! Bitcoin as a table of what it would say.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use aquifer_assets::peg::PegoutRequest;
use aquifer_assets::state::PeginClaim;
use aquifer_federation::roster::MemberIndex;
use aquifer_federation::treasury::{
    BatchPlan, BitcoinView, Family, Signed, Treasury, TreasuryCoin, judge_batch, judge_replacement, propose_batch,
    propose_replacement,
};
use aquifer_functionary::chain::parent::{
    BatchVerdict, BuriedBatch, DepthVerdict, FinalBatch, ParentChain, PegoutError, Shares, SignerRecord,
    WantedSignatures,
};
use bitcoin::secp256k1::schnorr;

/// The fee rate of batches until another is set, in satoshi per 1,000 virtual bytes.
const FEE_RATE_SAT_PER_KVB: u64 = 2_000;

/// A parent chain that knows the depth of the deposits it was told of. Where it knows the treasury, it plans and judges batches;
/// it signs none. Every coin is confirmed and unspent unless it was said to be gone.
#[derive(Default)]
pub struct DepthTable {
    depths: Mutex<HashMap<bitcoin::OutPoint, DepthVerdict>>,
    treasury: Mutex<Option<Treasury>>,
    gone: Mutex<HashSet<bitcoin::Txid>>,
    fee_rate: Mutex<Option<u64>>,
    overdue: Mutex<Vec<u32>>,
    key_is_doubted: AtomicBool,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl DepthTable {
    /// Sets what is said of a deposit from now on.
    pub fn set(&self, deposit: bitcoin::OutPoint, verdict: DepthVerdict) {
        locked(&self.depths).insert(deposit, verdict);
    }

    /// Plans and judges batches of this treasury from now on.
    pub fn pay_from(&self, treasury: Treasury) {
        *locked(&self.treasury) = Some(treasury);
    }

    /// No output of these transactions is there from now on, and that of all others.
    pub fn lose(&self, txids: impl IntoIterator<Item = bitcoin::Txid>) {
        *locked(&self.gone) = txids.into_iter().collect();
    }

    /// It has not seen the treasury key sign, from now on.
    pub fn doubt_key(&self) {
        self.key_is_doubted.store(true, Ordering::Relaxed);
    }

    /// Fees are so high from now on, in satoshi per 1,000 virtual bytes.
    pub fn set_fee_rate(&self, sat_per_kvb: u64) {
        *locked(&self.fee_rate) = Some(sat_per_kvb);
    }

    /// These families wait for long.
    pub fn set_overdue(&self, families: &[u32]) {
        *locked(&self.overdue) = families.to_vec();
    }
}

impl BitcoinView for DepthTable {
    type Error = Infallible;

    fn confirmations(&self, outpoint: &bitcoin::OutPoint) -> Result<Option<u32>, Infallible> {
        Ok((!locked(&self.gone).contains(&outpoint.txid)).then_some(1))
    }

    fn fee_rate_sat_per_kvb(&self) -> Result<u64, Infallible> {
        Ok(locked(&self.fee_rate).unwrap_or(FEE_RATE_SAT_PER_KVB))
    }

    fn is_key_proven(&self) -> Result<bool, Infallible> {
        Ok(!self.key_is_doubted.load(Ordering::Relaxed))
    }
}

impl ParentChain for DepthTable {
    fn deposit_depth(&self, claim: &PeginClaim) -> DepthVerdict {
        let depths = locked(&self.depths);
        let unknown = || DepthVerdict::Unknown("this federation runs without Bitcoin".into());
        depths.get(&claim.deposit).cloned().unwrap_or_else(unknown)
    }

    fn propose_batch(&self, coins: &[TreasuryCoin], waiting: &[PegoutRequest]) -> Option<BatchPlan> {
        let treasury = locked(&self.treasury).clone()?;
        let Ok(plan) = propose_batch(self, &treasury, coins, waiting);
        plan
    }

    fn judge_batch(
        &self,
        batch: &bitcoin::Transaction,
        coins: &[TreasuryCoin],
        waiting: &[PegoutRequest],
    ) -> BatchVerdict {
        match locked(&self.treasury).clone() {
            Some(treasury) => judge_batch(self, &treasury, batch, coins, waiting),
            None => BatchVerdict::Unknown("this federation runs without Bitcoin".into()),
        }
    }

    fn overdue_families(&self) -> Vec<u32> {
        locked(&self.overdue).clone()
    }

    fn propose_replacement(&self, family: &Family) -> Option<BatchPlan> {
        let treasury = locked(&self.treasury).clone()?;
        let Ok(plan) = propose_replacement(self, &treasury, family);
        plan.ok()
    }

    fn judge_replacement(&self, batch: &bitcoin::Transaction, family: &Family) -> BatchVerdict {
        match locked(&self.treasury).clone() {
            Some(treasury) => judge_replacement(self, &treasury, batch, family),
            None => BatchVerdict::Unknown("this federation runs without Bitcoin".into()),
        }
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
