//! Bitcoin for a federation in one process: every deposit is deep, every coin of the ledger can be spent, and nothing is
//! ever confirmed. Batches are signed, put together and kept by the real driver, whose bitcoind is out of reach.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aquifer_assets::peg::PegoutRequest;
use aquifer_assets::state::PeginClaim;
use aquifer_federation::federation::Federation;
use aquifer_federation::roster::MemberIndex;
use aquifer_federation::treasury::{BatchPlan, Family, Signed, TreasuryCoin};
use aquifer_functionary::chain::parent::{
    BatchVerdict, BuriedBatch, DepthVerdict, FinalBatch, ParentChain, PegoutError, Shares, SignerRecord,
    WantedSignatures,
};
use aquifer_functionary::parent::{Following, Parent, ParentConfig};
use aquifer_functionary::peg::{DriverConfig, Driving, PegoutDriver};
use aquifer_functionary::store::Gate;
use bitcoin::secp256k1::{SecretKey, schnorr};

use crate::forge::DepthTable;

/// Nothing is there to be asked.
const POLL_INTERVAL: Duration = Duration::from_secs(600);

/// One member's parent chain.
pub(super) struct LocalParent {
    plans: DepthTable,
    driver: PegoutDriver,
}

/// What keeps it at work.
pub(super) struct LocalParentTasks {
    driving: Driving,
    following: Following,
}

impl LocalParentTasks {
    pub(super) async fn stop(self) {
        self.driving.stop().await;
        self.following.stop().await;
    }
}

impl LocalParent {
    pub(super) fn start(
        federation: &Federation,
        me: MemberIndex,
        peg_key: SecretKey,
        folder: &Path,
        gate: Arc<dyn Gate>,
        runtime: &tokio::runtime::Handle,
    ) -> Result<(Self, LocalParentTasks), Box<dyn std::error::Error>> {
        let config = ParentConfig {
            url: "http://127.0.0.1:1".to_owned(),
            cookie_file: folder.join("no-cookie"),
            poll_interval: POLL_INTERVAL,
            fallback_fee_rate_sat_per_kvb: 5_000,
            alarm: Arc::new(|_| Ok(())),
        };
        let params = Arc::new(federation.params.clone());
        let (parent, following) = Parent::start(config, params, &folder.join("parent.db"), runtime)?;
        let plans = DepthTable::default();
        plans.pay_from(federation.treasury.clone());
        let config = DriverConfig {
            roster: federation.roster.clone(),
            treasury: federation.treasury.clone(),
            me,
            peg_key,
            poll_interval: POLL_INTERVAL,
            gate,
        };
        let (driver, driving) = PegoutDriver::start(config, parent, runtime);
        Ok((Self { plans, driver }, LocalParentTasks { driving, following }))
    }
}

impl ParentChain for LocalParent {
    fn deposit_depth(&self, _claim: &PeginClaim) -> DepthVerdict {
        DepthVerdict::Deep { confirmations: 8 }
    }

    fn propose_batch(&self, coins: &[TreasuryCoin], waiting: &[PegoutRequest]) -> Option<BatchPlan> {
        self.plans.propose_batch(coins, waiting)
    }

    fn judge_batch(
        &self,
        batch: &bitcoin::Transaction,
        coins: &[TreasuryCoin],
        waiting: &[PegoutRequest],
    ) -> BatchVerdict {
        self.plans.judge_batch(batch, coins, waiting)
    }

    fn overdue_families(&self) -> Vec<u32> {
        self.plans.overdue_families()
    }

    fn propose_replacement(&self, family: &Family) -> Option<BatchPlan> {
        self.plans.propose_replacement(family)
    }

    fn judge_replacement(&self, batch: &bitcoin::Transaction, family: &Family) -> BatchVerdict {
        self.plans.judge_replacement(batch, family)
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
