//! What the chain asks of Bitcoin, as a capability. The node hands in the real parent chain.

use aquifer_assets::peg::PegoutRequest;
use aquifer_assets::state::PeginClaim;
use aquifer_federation::roster::MemberIndex;
use aquifer_federation::treasury::{BatchPlan, TreasuryCoin};

/// How deep a deposit is in Bitcoin's best chain, as our own bitcoind sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DepthVerdict {
    /// Deep enough to be claimed.
    Deep {
        /// Confirmations, in blocks.
        confirmations: u32,
    },
    /// In the best chain, not deep enough.
    Shallow {
        /// Confirmations, in blocks.
        confirmations: u32,
        /// Confirmations needed, in blocks.
        needed: u32,
    },
    /// The block that the claim names is not in the best chain, or does not hold the deposit.
    NotInBestChain,
    /// Our bitcoind lags or is out of reach, for this reason.
    Unknown(String),
}

/// What to think of a proposed batch.
#[derive(Clone, Debug)]
pub enum BatchVerdict {
    /// It is the batch that its inputs and the waiting peg-outs call for.
    Good(BatchPlan),
    /// It must not be signed, for this reason.
    Bad(String),
    /// It cannot be judged now, for this reason.
    Unknown(String),
}

/// The parent chain, seen through our own bitcoind. Calls may block for as long as bitcoind takes.
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

    /// A batch stands in the final block at `height`; it spends `coins`, in the order of its inputs. Called again for
    /// every batch after a restart.
    fn batch_is_final(&self, height: u32, batch: &bitcoin::Transaction, coins: &[TreasuryCoin]);

    /// A member's signatures of a batch, one per input. Returns what is wrong with them, if anything is.
    fn batch_signatures(
        &self,
        from: MemberIndex,
        txid: bitcoin::Txid,
        signatures: &[Vec<u8>],
    ) -> Result<(), String>;

    /// Final batches that k members have not signed yet, as (height, txid).
    fn unsigned_batches(&self) -> Vec<(u32, bitcoin::Txid)>;
}
