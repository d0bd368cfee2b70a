//! One block on trial.

use std::collections::{BTreeMap, BTreeSet};

use aquifer_assets::block::{
    BlockError, Certificate, check_block, check_block_signatures, merkle_root, witness_commitment,
};
use aquifer_assets::chain::{ChainParams, Network};
use aquifer_assets::primitives::{Block, Transaction};
use aquifer_assets::state::{ChainView as _, ViewError};
use aquifer_proto::ledger::Block as Message;
use bitcoin::OutPoint;
use elements::{BlockHash, Txid};

use super::payments::{BatchFault, Payments, ReserveCoin, committed_batch, follow_batch, follow_replacement};
use super::store::{AuditorStore, Passed};
use crate::store::StoreError;

/// What the output script of a witness commitment begins with (BIP 141).
const WITNESS_COMMITMENT_PREFIX: [u8; 6] = [0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed];

/// The outcome.
pub(super) enum Trial {
    /// Everything holds.
    Passed(Box<Passed>),
    /// The federation has certified what it must not.
    Refused {
        /// The block.
        block: BlockHash,
        /// What is wrong.
        reason: String,
    },
    /// What was sent is not what the federation certified: no verdict on the chain.
    Tampered(String),
    /// The clock of this machine is behind.
    NotYet(String),
}

/// The chain on trial.
pub(super) struct Chain {
    network: Network,
    genesis: BlockHash,
}

enum Stop {
    Trial(Trial),
    Store(StoreError),
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<ViewError> for Stop {
    fn from(error: ViewError) -> Self {
        Self::Store(StoreError::Inconsistent { file: "auditor.db".into(), reason: error.0 })
    }
}

fn tampered(reason: impl Into<String>) -> Stop {
    Stop::Trial(Trial::Tampered(reason.into()))
}

fn refused(block: BlockHash, reason: impl std::fmt::Display) -> Stop {
    Stop::Trial(Trial::Refused { block, reason: reason.to_string() })
}

impl Chain {
    pub(super) fn new(network: &Network) -> Self {
        Self { genesis: network.params.genesis_hash(), network: network.clone() }
    }

    pub(super) fn genesis(&self) -> BlockHash {
        self.genesis
    }

    /// Tries the block that a member says comes after the last one passed. `now` is the clock, in seconds since 1970.
    pub(super) fn examine(&self, store: &AuditorStore, message: &Message, now: u32) -> Result<Trial, StoreError> {
        match self.try_block(store, message, now) {
            Ok(passed) => Ok(Trial::Passed(Box::new(passed))),
            Err(Stop::Trial(trial)) => Ok(trial),
            Err(Stop::Store(error)) => Err(error),
        }
    }

    fn try_block(&self, store: &AuditorStore, message: &Message, now: u32) -> Result<Passed, Stop> {
        let tip = store.tip()?;
        let height = tip.height.saturating_add(1);
        let block =
            Block::decode(message.block.clone()).map_err(|error| tampered(format!("it cannot be decoded: {error}")))?;
        if message.height != height || block.header.height != height {
            return Err(tampered(format!("it has height {}, {height} was asked for", block.header.height)));
        }
        let hash = block.block_hash();
        // From here on the federation stands for the header.
        Certificate::from_bytes(&message.certificate)
            .and_then(|certificate| self.network.certificate_key.verify(&certificate, &self.genesis, height, &hash))
            .map_err(|error| tampered(error.to_string()))?;
        check_header_signatures(&self.network.params, store, &block, hash)?;
        check_certified_body(&block)?;
        let effects = check_block(&self.network.params, &tip, &block, store, now).map_err(|error| match error {
            BlockError::View(error) => error.into(),
            BlockError::TimeTooNew { .. } => Stop::Trial(Trial::NotYet(error.to_string())),
            error => refused(hash, error),
        })?;
        for claim in &effects.pegins {
            if store.reserve_coin(&claim.deposit)?.is_some() {
                return Err(refused(hash, BatchFault::ClaimedChange(claim.deposit)));
            }
        }
        let payments = self.follow(store, &block, hash, &message.batch)?;
        Ok(Passed { block, effects, payments })
    }

    fn follow(
        &self,
        store: &AuditorStore,
        block: &Block,
        hash: BlockHash,
        batch: &[u8],
    ) -> Result<Option<Payments>, Stop> {
        let committed = block.txdata.first().map_or(Ok(None), committed_batch).map_err(|fault| refused(hash, fault))?;
        let Some(committed) = committed else {
            return if batch.is_empty() {
                Ok(None)
            } else {
                Err(tampered("it commits to no batch, but one is beside it"))
            };
        };
        let batch: bitcoin::Transaction = bitcoin::consensus::deserialize(batch).map_err(|error| {
            tampered(format!("the batch {committed} that it commits to cannot be decoded: {error}"))
        })?;
        let given = batch.compute_txid();
        if given != committed {
            return Err(tampered(format!("it commits to the batch {committed}, beside it is {given}")));
        }
        let mut coins: BTreeMap<OutPoint, ReserveCoin> = BTreeMap::new();
        for input in &batch.input {
            if let Some(coin) = store.reserve_coin(&input.previous_output)? {
                coins.insert(input.previous_output, coin);
            }
        }
        // What it spends first says whether it is a new one or takes the place of another; it must hold of all.
        let first = batch.input.first().and_then(|input| coins.get(&input.previous_output));
        let taken = first.and_then(|coin| coin.spent_height);
        coins.retain(|_, coin| coin.spent_height == taken);
        let followed = match taken {
            None => follow_batch(&self.network, &batch, &coins, &store.open_requests()?),
            Some(height) => follow_replacement(&self.network, &batch, &coins, store.earlier(height)?),
        };
        followed.map(Some).map_err(|fault| refused(hash, fault))
    }
}

/// The certificate does not cover the header's witness, so a wrong one is the fault of who sent it. What the header says of
/// the parameters it does cover.
fn check_header_signatures(
    params: &ChainParams,
    store: &AuditorStore,
    block: &Block,
    hash: BlockHash,
) -> Result<(), Stop> {
    let federation = store.federation(params, block.header.height)?;
    check_block_signatures(&federation, &block.header).map_err(|error| match error {
        BlockError::NotDynafed | BlockError::DynafedCurrent { .. } => refused(hash, error),
        error => tampered(error.to_string()),
    })
}

/// Whether the body is the one that the header commits to, witnesses included. If not, somebody has changed it since.
fn check_certified_body(block: &Block) -> Result<(), Stop> {
    let txids: Vec<Txid> = block.txdata.iter().map(Transaction::txid).collect();
    if merkle_root(&txids) != block.header.merkle_root {
        return Err(tampered("its transactions are not those that its header commits to"));
    }
    // Repeated transactions can have the same root as the list without the repetition.
    if txids.iter().collect::<BTreeSet<_>>().len() != txids.len() {
        return Err(tampered("it holds a transaction twice"));
    }
    let coinbase = block.txdata.first().ok_or_else(|| tampered("it holds no transactions"))?;
    let [input] = coinbase.input.as_slice() else { return Ok(()) };
    let committed = coinbase
        .output
        .iter()
        .rev()
        .find_map(|output| output.script_pubkey.as_bytes().strip_prefix(&WITNESS_COMMITMENT_PREFIX)?.get(..32));
    // Where there is no commitment the rules allow no witness either, and anybody can add one.
    let Some(committed) = committed else {
        let has_witness = block.txdata.iter().any(Transaction::has_witness);
        return if has_witness { Err(tampered("it has witnesses that nothing commits to")) } else { Ok(()) };
    };
    let witness = &input.witness;
    let others_are_empty = witness.amount_rangeproof.is_empty()
        && witness.inflation_keys_rangeproof.is_empty()
        && witness.pegin_witness.is_empty();
    let nonce = match witness.script_witness.to_vec().as_slice() {
        [nonce] if others_are_empty => <[u8; 32]>::try_from(nonce.as_slice()).ok(),
        _ => None,
    };
    match nonce {
        Some(nonce) if witness_commitment(&block.txdata, &nonce) == *committed => Ok(()),
        _ => Err(tampered("its witnesses are not those that its coinbase commits to")),
    }
}
