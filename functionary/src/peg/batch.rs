//! A batch of a final block, and what is known of its signatures.

use std::collections::BTreeMap;

use aquifer_federation::roster::MemberIndex;
use aquifer_federation::treasury::{CoinKind, TreasuryCoin};
use bitcoin::secp256k1::schnorr;
use bitcoin::{BlockHash, OutPoint, Transaction, Txid};

use crate::parent::{ParentStoreError, TransactionStatus};
use crate::store::StoreError;

/// Keeps what this member has signed.
pub trait SignerRecord {
    /// Records the signatures of the batch that the final block at `height` commits to, one per input, and gives back what
    /// may be sent: what was recorded of the same batch before, with those of the new ones that it lacked. An input that
    /// was left to the treasury key can so be signed later; nothing that was recorded changes. Durable on return.
    ///
    /// # Errors
    ///
    /// They could not be recorded, or another batch was signed at this height; nothing may be sent then.
    fn record_batch(
        &mut self,
        height: u32,
        txid: &Txid,
        signatures: Vec<Vec<u8>>,
    ) -> Result<Vec<Vec<u8>>, Box<dyn std::error::Error + Send + Sync>>;
}

/// A batch that stands in a final block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FinalBatch {
    /// Height of that block.
    pub height: u32,
    /// Height of the block with the first of the batches that take each other's place; its own, if it is that one.
    pub family: u32,
    /// The transaction without witnesses.
    pub transaction: Transaction,
    /// The coins it spends, in the order of its inputs.
    pub coins: Vec<TreasuryCoin>,
}

/// How far a batch is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BatchState {
    /// Waits for signatures of members.
    Signing {
        /// How many members' signatures are here, for the input that has fewest. One of the treasury key is as good as all
        /// that are needed.
        signatures: usize,
        /// How many are needed.
        needed: usize,
    },
    /// Has all signatures, and waits to be taken by bitcoind.
    Signed {
        /// Why bitcoind does not take it, once it has been asked.
        problem: Option<String>,
    },
    /// In the mempool of this member's bitcoind.
    Broadcast,
    /// In the best chain.
    Confirmed {
        /// The block.
        block: BlockHash,
        /// Blocks from that block to the best one, both counted. No longer updated once the batch is buried.
        confirmations: u32,
    },
}

/// What became of signatures that a member sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shares {
    /// They are good and new.
    New,
    /// They add nothing.
    Known,
    /// No batch of this height is known here yet. Ask again when the block is final here.
    Early,
}

/// A batch cannot be signed, or a member's signatures cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum PegoutError {
    /// The record of signatures refuses or failed: nothing is sent.
    #[error("the batch of block {height} is not signed: {reason}")]
    Record {
        /// Height of the block.
        height: u32,
        /// Why.
        reason: String,
    },
    /// Two final batches at one height: the ledger contradicts itself.
    #[error("block {height} was said to commit to batch {first}, and now to {second}")]
    TwoBatches {
        /// Height of the block.
        height: u32,
        /// The batch that was given first.
        first: Txid,
        /// The other one.
        second: Txid,
    },
    /// A member sent signatures for something else than the final block commits to.
    #[error("member {member} signed batch {found} for block {height}, which commits to {expected}")]
    OtherBatch {
        /// Who.
        member: MemberIndex,
        /// Height of the block.
        height: u32,
        /// What it signed.
        found: Txid,
        /// What the block commits to.
        expected: Txid,
    },
    /// A member's signatures are wrong.
    #[error("the signatures of member {member} for the batch of block {height} are wrong: {reason}")]
    BadSignatures {
        /// Who.
        member: MemberIndex,
        /// Height of the block.
        height: u32,
        /// What is wrong.
        reason: String,
    },
    /// A member sent signatures of the treasury key that are wrong.
    #[error("member {member} sent wrong signatures of the treasury key for the batch of block {height}")]
    BadKeySignatures {
        /// Who.
        member: MemberIndex,
        /// Height of the block.
        height: u32,
    },
    /// There is no such member.
    #[error("there is no member {0}")]
    NoMember(MemberIndex),
    /// Good signatures do not make a transaction with the agreed txid: a mistake of this program.
    #[error("the signatures for the batch of block {0} cannot be put together")]
    Assembly(u32),
    /// Whoever watches over the disk has stopped the member.
    #[error(transparent)]
    Stopped(#[from] StoreError),
    /// What is kept of a batch cannot be read or written.
    #[error(transparent)]
    Store(#[from] ParentStoreError),
}

/// What a batch still waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedSignatures {
    /// Height of its block.
    pub height: u32,
    /// The batch.
    pub txid: Txid,
    /// Members that have not signed every input.
    pub members: Vec<MemberIndex>,
    /// Whether the treasury key still has to sign: Bitcoin does not know the batch either.
    pub treasury_key: bool,
}

/// A batch of a family of which one is buried: nothing becomes of it any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BuriedBatch {
    /// Height of its block.
    pub height: u32,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of a batch for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is buried on Bitcoin.
    Confirmed,
    /// Another of its family is.
    Superseded,
}

pub(super) struct Batch {
    pub(super) family: u32,
    pub(super) txid: Txid,
    pub(super) unsigned: Transaction,
    pub(super) coins: Vec<TreasuryCoin>,
    pub(super) signatures: BTreeMap<MemberIndex, Vec<Vec<u8>>>,
    /// Of the treasury key, verified: for all of its outputs, or none.
    pub(super) key_signatures: BTreeMap<OutPoint, schnorr::Signature>,
    pub(super) signed: Option<Transaction>,
    /// What bitcoind last said.
    pub(super) status: TransactionStatus,
    pub(super) problem: Option<String>,
    /// Height of Bitcoin when it was first seen to be in no block.
    pub(super) waits_since: Option<u32>,
}

impl Batch {
    pub(super) fn new(batch: FinalBatch) -> Self {
        Self {
            family: batch.family,
            txid: batch.transaction.compute_txid(),
            unsigned: batch.transaction,
            coins: batch.coins,
            signatures: BTreeMap::new(),
            key_signatures: BTreeMap::new(),
            signed: None,
            status: TransactionStatus::Unknown,
            problem: None,
            waits_since: None,
        }
    }

    pub(super) fn state(&self, needed: usize) -> BatchState {
        match self.status {
            TransactionStatus::Confirmed { block, confirmations } => BatchState::Confirmed { block, confirmations },
            TransactionStatus::Mempool => BatchState::Broadcast,
            TransactionStatus::Unknown if self.signed.is_some() => BatchState::Signed { problem: self.problem.clone() },
            TransactionStatus::Unknown => BatchState::Signing { signatures: self.fewest_signatures(needed), needed },
        }
    }

    pub(super) fn is_confirmed(&self) -> bool {
        matches!(self.status, TransactionStatus::Confirmed { .. })
    }

    pub(super) fn is_buried(&self, depth_blocks: u32) -> bool {
        matches!(self.status, TransactionStatus::Confirmed { confirmations, .. } if confirmations >= depth_blocks)
    }

    /// Members that have signed, at the input that fewest have signed; `needed` where the treasury key has.
    pub(super) fn fewest_signatures(&self, needed: usize) -> usize {
        let of_input = |(position, coin): (usize, &TreasuryCoin)| {
            if self.key_signatures.contains_key(&coin.outpoint) {
                return needed;
            }
            self.signatures.values().filter(|given| given.get(position).is_some_and(|one| !one.is_empty())).count()
        };
        self.coins.iter().enumerate().map(of_input).min().unwrap_or(0)
    }

    /// Whether a member has signed every input with its own keys.
    pub(super) fn has_all_of(&self, member: MemberIndex) -> bool {
        self.signatures.get(&member).is_some_and(|given| given.iter().all(|signature| !signature.is_empty()))
    }

    /// Whether a member has signed no less than this before.
    pub(super) fn has_signed(&self, member: MemberIndex, signatures: &[Vec<u8>]) -> bool {
        self.signatures.get(&member).is_some_and(|known| {
            known.len() == signatures.len()
                && known.iter().zip(signatures).all(|(known, new)| !known.is_empty() || new.is_empty())
        })
    }

    /// Whether nobody has seen the treasury key's signatures: neither this member nor Bitcoin.
    pub(super) fn waits_for_treasury_key(&self) -> bool {
        self.signed.is_none()
            && self.status == TransactionStatus::Unknown
            && self.key_signatures.is_empty()
            && self.coins.iter().any(|coin| coin.kind == CoinKind::Treasury)
    }

    /// Takes the signatures of a transaction that was put together earlier.
    pub(super) fn take_signed(&mut self, signed: Transaction) {
        let by_key = signed.input.iter().zip(&self.coins).filter(|(_, coin)| coin.kind == CoinKind::Treasury);
        let signatures = by_key.map(|(input, coin)| {
            let items: Vec<&[u8]> = input.witness.iter().collect();
            let [signature] = items.as_slice() else { return None };
            Some((coin.outpoint, schnorr::Signature::from_slice(signature).ok()?))
        });
        self.key_signatures = signatures.collect::<Option<_>>().unwrap_or_default();
        self.signed = Some(signed);
    }
}
