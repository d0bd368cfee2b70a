//! Bitcoin as a table of what it would say.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use aquifer_assets::peg::PegoutRequest;
use aquifer_assets::state::PeginClaim;
use aquifer_federation::roster::MemberIndex;
use aquifer_federation::treasury::{BatchPlan, Signed, TreasuryCoin};
use aquifer_functionary::chain::parent::{
    BatchVerdict, DepthVerdict, FinalBatch, ParentChain, PegoutError, Shares, SignerRecord, WantedSignatures,
};
use bitcoin::secp256k1::schnorr;

/// A parent chain that knows the depth of the deposits it was told of, and pays no peg-outs.
#[derive(Default)]
pub struct DepthTable {
    depths: Mutex<HashMap<bitcoin::OutPoint, DepthVerdict>>,
}

impl DepthTable {
    /// Sets what is said of a deposit from now on.
    pub fn set(&self, deposit: bitcoin::OutPoint, verdict: DepthVerdict) {
        self.depths.lock().unwrap_or_else(PoisonError::into_inner).insert(deposit, verdict);
    }
}

impl ParentChain for DepthTable {
    fn deposit_depth(&self, claim: &PeginClaim) -> DepthVerdict {
        let depths = self.depths.lock().unwrap_or_else(PoisonError::into_inner);
        let unknown = || DepthVerdict::Unknown("this federation runs without Bitcoin".into());
        depths.get(&claim.deposit).cloned().unwrap_or_else(unknown)
    }

    fn propose_batch(&self, _coins: &[TreasuryCoin], _waiting: &[PegoutRequest]) -> Option<BatchPlan> {
        None
    }

    fn judge_batch(
        &self,
        _batch: &bitcoin::Transaction,
        _coins: &[TreasuryCoin],
        _waiting: &[PegoutRequest],
    ) -> BatchVerdict {
        BatchVerdict::Unknown("this federation runs without Bitcoin".into())
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
}
