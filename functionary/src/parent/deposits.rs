//! Deposits: finding them in blocks of the parent chain, and telling how far they are.

use std::collections::HashMap;

use bitcoin::consensus::encode::serialize;
use bitcoin::{Block, MerkleBlock, OutPoint, ScriptBuf, Transaction, Witness};

use super::store::Deposit;

/// What is known of one deposit to a watched address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DepositStatus {
    /// The output on the parent chain.
    pub outpoint: OutPoint,
    /// Its amount in satoshi.
    pub amount_sat: u64,
    /// Blocks from its block to the best one, both counted.
    pub confirmations: u32,
    /// How many it needs before it can be claimed.
    pub needed_confirmations: u32,
    /// How far it is.
    pub progress: DepositProgress,
}

/// How far a deposit is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DepositProgress {
    /// In a block, not deep enough.
    Confirming,
    /// Deep enough to be claimed.
    Ready {
        /// The transaction without witness.
        transaction: Vec<u8>,
        /// The Merkle block (BIP 37) that proves its inclusion.
        proof: Vec<u8>,
    },
}

/// How deep the block of a claimed deposit lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DepthVerdict {
    /// Deep enough.
    Deep {
        /// Blocks from its block to the best one, both counted.
        confirmations: u32,
    },
    /// Not deep enough yet.
    Shallow {
        /// Blocks from its block to the best one, both counted.
        confirmations: u32,
        /// How many are needed.
        needed: u32,
    },
    /// Its block is not in the best chain, or does not hold the deposit.
    NotInBestChain,
    /// bitcoind cannot say: it is out of reach, lags, or has not heard of the block. No reason to call the claim invalid.
    Unknown(String),
}

impl DepositStatus {
    /// The status of a deposit under the best height.
    pub(super) fn of(deposit: Deposit, best_height: u32, needed_confirmations: u32) -> Self {
        let confirmations = best_height.saturating_sub(deposit.height).saturating_add(1);
        let progress = if confirmations >= needed_confirmations {
            DepositProgress::Ready { transaction: deposit.transaction, proof: deposit.proof }
        } else {
            DepositProgress::Confirming
        };
        Self {
            outpoint: deposit.outpoint,
            amount_sat: deposit.amount_sat,
            confirmations,
            needed_confirmations,
            progress,
        }
    }
}

/// The deposits in a block. `claim_script_of` maps watched scripts to claim scripts.
pub(super) fn find_deposits(
    block: &Block,
    height: u32,
    claim_script_of: &HashMap<ScriptBuf, elements::Script>,
) -> Vec<Deposit> {
    let mut found = Vec::new();
    for transaction in &block.txdata {
        let paid = (0..).zip(&transaction.output).filter_map(|(vout, output)| {
            claim_script_of.get(&output.script_pubkey).map(|claim_script| (vout, output, claim_script))
        });
        let mut evidence = None;
        for (vout, output, claim_script) in paid {
            let (txid, raw, proof) = evidence.get_or_insert_with(|| evidence_of(block, transaction));
            found.push(Deposit {
                outpoint: OutPoint::new(*txid, vout),
                amount_sat: output.value.to_sat(),
                claim_script: claim_script.clone(),
                height,
                block: block.block_hash(),
                transaction: raw.clone(),
                proof: proof.clone(),
            });
        }
    }
    found
}

/// What a claim has to show: the transaction without witness, and its inclusion in the block.
fn evidence_of(block: &Block, transaction: &Transaction) -> (bitcoin::Txid, Vec<u8>, Vec<u8>) {
    let txid = transaction.compute_txid();
    let mut stripped = transaction.clone();
    for input in &mut stripped.input {
        input.witness = Witness::new();
    }
    let proof = MerkleBlock::from_block_with_predicate(block, |candidate| *candidate == txid);
    (txid, serialize(&stripped), serialize(&proof))
}
