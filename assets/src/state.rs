//! The UTXO view: what the rules read, and what a checked block changes.
//!
//! A [`ChainView`] answers from the state *before* the transaction or block that is judged. Checking never writes; it
//! returns [`Effects`], and the owner of the state applies them in one step, or not at all.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use elements::dynafed::Params;
use elements::{AssetId, BlockExtData, BlockHeader, OutPoint, Txid};

use crate::chain::{ChainParams, Federation};
use crate::peg::PegoutRequest;
use crate::primitives::TxOut;

/// An unspent output and what the rules need to know of its origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coin {
    /// The output itself. Its witness is never part of the state and is empty.
    pub output: TxOut,
    /// Height of the block that made it, in blocks.
    pub height: u32,
    /// Whether a coinbase made it: such outputs mature after 100 blocks.
    pub is_coinbase: bool,
}

/// The state could not be read. Judging stops; nothing is thereby valid or invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the state of the ledger could not be read: {0}")]
pub struct ViewError(pub String);

/// The dynafed entries of a header.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DynafedEntries {
    /// The parameters in force, in full or in short form.
    pub current: Params,
    /// The parameters that the block votes for, if any.
    pub proposed: Params,
}

impl DynafedEntries {
    /// The entries of a header; a header of the form before dynafed has none.
    pub fn of(header: &BlockHeader) -> Self {
        match &header.ext {
            BlockExtData::Dynafed { current, proposed, .. } => {
                Self { current: current.clone(), proposed: proposed.clone() }
            }
            BlockExtData::Proof { .. } => Self::default(),
        }
    }
}

/// Read access to the ledger before the transaction or block that is judged.
pub trait ChainView {
    /// The unspent output at `outpoint`, or `None` if it does not exist or is spent.
    fn coin(&self, outpoint: &OutPoint) -> Result<Option<Coin>, ViewError>;
    /// Whether a peg-in has already claimed this output of the parent chain.
    fn is_claimed(&self, deposit: &bitcoin::OutPoint) -> Result<bool, ViewError>;
    /// Median time past of the block at `height`, in seconds since 1970 (BIP 113; for BIP 68).
    fn median_time_past(&self, height: u32) -> Result<u32, ViewError>;
    /// Whether the transaction still has unspent outputs (BIP 30).
    fn has_unspent_outputs(&self, txid: &Txid) -> Result<bool, ViewError>;
    /// The dynafed entries of the header at `height`, which is above 0 and below that of the block that is judged.
    fn dynafed(&self, height: u32) -> Result<DynafedEntries, ViewError>;

    /// The federation in force in the block at `height`, the one that is judged. A view of one height may keep it.
    fn federation(&self, params: &ChainParams, height: u32) -> Result<Arc<Federation>, ViewError> {
        Federation::at(params, self, height).map(Arc::new)
    }
}

/// A peg-in that a transaction claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeginClaim {
    /// The deposit on the parent chain.
    pub deposit: bitcoin::OutPoint,
    /// Its amount in satoshi.
    pub amount_sat: u64,
    /// The script whose owner may claim it; it tweaks the federation script.
    pub claim_script: elements::Script,
    /// The parent block that the witness proves inclusion in.
    pub parent_block: bitcoin::BlockHash,
    /// The federation script that the deposit pays, after the tweak: what the spender of the deposit has to satisfy.
    pub witness_script: bitcoin::ScriptBuf,
    /// The deposit's output script (P2WSH, or P2SH-P2WSH in epoch 0).
    pub deposit_script: bitcoin::ScriptBuf,
    /// The transaction of our chain that claims it.
    pub claim_txid: Txid,
}

/// A new asset or a reissuance, as it stands in a transaction input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuanceRecord {
    /// The asset that is issued.
    pub asset: AssetId,
    /// Its reissuance token.
    pub token: AssetId,
    /// Entropy of both identifiers, in internal byte order.
    pub entropy: [u8; 32],
    /// The contract hash of a new issuance, in internal byte order; `None` for a reissuance.
    pub contract_hash: Option<[u8; 32]>,
    /// Amount in the asset's smallest unit, `None` if it is blinded.
    pub amount: Option<u64>,
    /// Tokens issued, `None` if blinded. 0 for a reissuance.
    pub token_amount: Option<u64>,
    /// The issuing transaction.
    pub txid: Txid,
    /// Input that carries the issuance.
    pub vin: u32,
}

/// What a valid transaction or block changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// Outputs spent, with what they were (for undo). Outputs made and spent inside the same block appear in neither list.
    pub spent: BTreeMap<OutPoint, Coin>,
    /// Outputs made; unspendable ones and fees are left out, as in Elements.
    pub created: BTreeMap<OutPoint, Coin>,
    /// Peg-ins claimed.
    pub pegins: Vec<PeginClaim>,
    /// Peg-outs requested.
    pub pegouts: Vec<PegoutRequest>,
    /// Assets issued and reissued.
    pub issuances: Vec<IssuanceRecord>,
    /// Explicit amounts sent to unspendable outputs that are neither fees nor peg-outs, per asset.
    pub burned: BTreeMap<AssetId, u64>,
    /// Fees per asset, in the asset's smallest unit.
    pub fees: BTreeMap<AssetId, u64>,
}

/// A view in memory: the oracle of tests and a layer for unconfirmed transactions.
#[derive(Clone, Debug, Default)]
pub struct MemoryView {
    coins: BTreeMap<OutPoint, Coin>,
    claimed: BTreeSet<bitcoin::OutPoint>,
    median_times: BTreeMap<u32, u32>,
    dynafed: BTreeMap<u32, DynafedEntries>,
}

impl MemoryView {
    /// Adds an unspent output.
    pub fn insert(&mut self, outpoint: OutPoint, coin: Coin) {
        self.coins.insert(outpoint, coin);
    }

    /// Notes the median time past of a block, in seconds since 1970.
    pub fn set_median_time_past(&mut self, height: u32, time: u32) {
        self.median_times.insert(height, time);
    }

    /// Notes the dynafed entries of the header at `height`.
    pub fn set_dynafed(&mut self, height: u32, entries: DynafedEntries) {
        self.dynafed.insert(height, entries);
    }

    /// Number of unspent outputs.
    pub fn len(&self) -> usize {
        self.coins.len()
    }

    /// Whether there is no unspent output.
    pub fn is_empty(&self) -> bool {
        self.coins.is_empty()
    }

    /// Applies the effects of a checked transaction or block.
    pub fn apply(&mut self, effects: &Effects) {
        for outpoint in effects.spent.keys() {
            self.coins.remove(outpoint);
        }
        self.coins.extend(effects.created.iter().map(|(outpoint, coin)| (*outpoint, coin.clone())));
        self.claimed.extend(effects.pegins.iter().map(|claim| claim.deposit));
    }

    /// Takes back what [`MemoryView::apply`] did with the same effects.
    pub fn undo(&mut self, effects: &Effects) {
        for outpoint in effects.created.keys() {
            self.coins.remove(outpoint);
        }
        self.coins.extend(effects.spent.iter().map(|(outpoint, coin)| (*outpoint, coin.clone())));
        for claim in &effects.pegins {
            self.claimed.remove(&claim.deposit);
        }
    }
}

impl ChainView for MemoryView {
    fn coin(&self, outpoint: &OutPoint) -> Result<Option<Coin>, ViewError> {
        Ok(self.coins.get(outpoint).cloned())
    }

    fn is_claimed(&self, deposit: &bitcoin::OutPoint) -> Result<bool, ViewError> {
        Ok(self.claimed.contains(deposit))
    }

    fn median_time_past(&self, height: u32) -> Result<u32, ViewError> {
        self.median_times.get(&height).copied().ok_or_else(|| ViewError(format!("no block at height {height}")))
    }

    fn has_unspent_outputs(&self, txid: &Txid) -> Result<bool, ViewError> {
        let first = OutPoint::new(*txid, 0);
        Ok(self.coins.range(first..).next().is_some_and(|(outpoint, _)| outpoint.txid == *txid))
    }

    fn dynafed(&self, height: u32) -> Result<DynafedEntries, ViewError> {
        self.dynafed.get(&height).cloned().ok_or_else(|| ViewError(format!("no header at height {height}")))
    }
}
