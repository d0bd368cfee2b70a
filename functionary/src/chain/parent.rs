//! What the chain asks of Bitcoin, as a capability. The node hands in the real parent chain.

use aquifer_assets::peg::PegoutRequest;
use aquifer_assets::state::PeginClaim;
use aquifer_federation::roster::MemberIndex;
pub use aquifer_federation::treasury::BatchVerdict;
use aquifer_federation::treasury::{BatchPlan, Family, Signed, TreasuryCoin};
use bitcoin::secp256k1::schnorr;

pub use crate::parent::DepthVerdict;
pub use crate::peg::{BuriedBatch, FinalBatch, PegoutError, Shares, SignerRecord, WantedSignatures};

/// The parent chain, seen through our own bitcoind. Calls may block for as long as bitcoind takes, unless they say not.
pub trait ParentChain: Send + Sync {
    /// The depth of the deposit that a valid claim names.
    fn deposit_depth(&self, claim: &PeginClaim) -> DepthVerdict;

    /// A batch that pays waiting peg-outs, if one can be made now.
    fn propose_batch(&self, coins: &[TreasuryCoin], waiting: &[PegoutRequest]) -> Option<BatchPlan>;

    /// Judges a batch that another member proposes.
    fn judge_batch(
        &self,
        batch: &bitcoin::Transaction,
        coins: &[TreasuryCoin],
        waiting: &[PegoutRequest],
    ) -> BatchVerdict;

    /// Names of families whose batches wait for long, by the heights of their first ones. Does not ask Bitcoin.
    fn overdue_families(&self) -> Vec<u32>;

    /// A batch that takes the place of those of a family, if one can be made and is wanted now.
    fn propose_replacement(&self, family: &Family) -> Option<BatchPlan>;

    /// Judges a replacement that another member proposes.
    fn judge_replacement(&self, batch: &bitcoin::Transaction, family: &Family) -> BatchVerdict;

    /// Follows a batch that stands in a final block and that this member has not signed (yet). Does not ask Bitcoin.
    fn follow_batch(&self, batch: FinalBatch) -> Result<(), PegoutError>;

    /// Signs a batch that stands in a final block, and follows it from now on. Gives our signatures, one per input, to be
    /// sent to the others. Called again for every batch after a restart, and to sign by script what the treasury key has not
    /// signed in time. Does not ask Bitcoin.
    fn sign_batch(
        &self,
        batch: FinalBatch,
        signed: Signed,
        record: &mut dyn SignerRecord,
    ) -> Result<Vec<Vec<u8>>, PegoutError>;

    /// Takes a member's signatures of a batch. Does not ask Bitcoin.
    fn accept_signatures(
        &self,
        from: MemberIndex,
        height: u32,
        txid: &bitcoin::Txid,
        signatures: Vec<Vec<u8>>,
    ) -> Result<Shares, PegoutError>;

    /// Takes finished signatures of the treasury key, one for each of its outputs in the order of the inputs. Does not ask
    /// Bitcoin.
    fn accept_key_signatures(
        &self,
        from: MemberIndex,
        height: u32,
        txid: &bitcoin::Txid,
        signatures: &[schnorr::Signature],
    ) -> Result<Shares, PegoutError>;

    /// The finished signatures of the treasury key for a batch, if they are here. Does not ask Bitcoin.
    fn key_signatures(&self, height: u32, txid: &bitcoin::Txid) -> Option<Vec<schnorr::Signature>>;

    /// Final batches that lack signatures, and whose. Does not ask Bitcoin.
    fn wanted_signatures(&self) -> Vec<WantedSignatures>;

    /// Batches that lie so deep on Bitcoin that nobody needs to look at them again, and those in whose place they do. Does not
    /// ask Bitcoin.
    fn buried_batches(&self) -> Vec<BuriedBatch>;

    /// Follows these batches no more.
    fn forget_batches(&self, heights: &[u32]);
}
