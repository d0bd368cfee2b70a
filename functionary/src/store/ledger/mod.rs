//! `ledger.db`: the final chain and everything that follows from it.
//!
//! [`LedgerStore`] is the one writer: [`LedgerStore::connect`] adds a block and all it changes in one durable transaction.
//! [`LedgerReader`] reads beside it from connections of its own; a [`Snapshot`] sees one state of the chain throughout,
//! whatever is written meanwhile.

mod batches;
mod books;
mod families;
mod peg;
mod read;
mod write;

use aquifer_assets::primitives::Block;
use aquifer_federation::treasury::BatchPlan;
use elements::{AssetId, BlockHash, OutPoint, Txid};

pub use books::{Books, WaitingPegout};
pub use read::{LedgerReader, Snapshot};
pub use write::LedgerStore;
pub(crate) use write::script_hash;

const NAME: &str = "ledger.db";

const MIGRATIONS: &[&str] = &[
    "
CREATE TABLE blocks (
    height INTEGER PRIMARY KEY,
    hash BLOB NOT NULL UNIQUE,
    time INTEGER NOT NULL,
    median_time_past INTEGER NOT NULL,
    size INTEGER NOT NULL,
    weight INTEGER NOT NULL,
    header BLOB NOT NULL,             -- with its witness
    block BLOB NOT NULL,              -- complete
    certificate BLOB NOT NULL,
    batch BLOB                        -- the unsigned Bitcoin transaction that the coinbase commits to
);
CREATE TABLE transactions (
    txid BLOB PRIMARY KEY,
    height INTEGER NOT NULL,
    position INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE coins (
    txid BLOB NOT NULL,
    vout INTEGER NOT NULL,
    height INTEGER NOT NULL,
    is_coinbase INTEGER NOT NULL,
    output BLOB NOT NULL,
    PRIMARY KEY (txid, vout)
) WITHOUT ROWID;
CREATE TABLE history (
    script_hash BLOB NOT NULL,        -- SHA-256 of the output script
    height INTEGER NOT NULL,
    txid BLOB NOT NULL,
    PRIMARY KEY (script_hash, height, txid)
) WITHOUT ROWID;
CREATE TABLE deposits (               -- peg-ins that were claimed
    parent_txid BLOB NOT NULL,
    parent_vout INTEGER NOT NULL,
    amount_sat INTEGER NOT NULL,
    claim_txid BLOB NOT NULL,
    height INTEGER NOT NULL,
    PRIMARY KEY (parent_txid, parent_vout)
) WITHOUT ROWID;
CREATE TABLE treasury (               -- outputs on Bitcoin that the federation holds, as the chain tells it
    parent_txid BLOB NOT NULL,
    parent_vout INTEGER NOT NULL,
    amount_sat INTEGER NOT NULL,
    script_pubkey BLOB NOT NULL,
    witness_script BLOB NOT NULL,
    redeem_script BLOB,
    claim_script BLOB,
    height INTEGER NOT NULL,
    spent_height INTEGER,             -- of the first batch that spends it or an alternative of it
    PRIMARY KEY (parent_txid, parent_vout)
) WITHOUT ROWID;
CREATE TABLE pegouts (
    txid BLOB NOT NULL,
    vout INTEGER NOT NULL,
    amount_sat INTEGER NOT NULL,
    parent_script BLOB NOT NULL,
    height INTEGER NOT NULL,
    batch_height INTEGER,             -- of the latest batch that pays it
    batch_vout INTEGER,
    fee_sat INTEGER,
    PRIMARY KEY (txid, vout)
) WITHOUT ROWID;
CREATE INDEX pegouts_waiting ON pegouts (height, txid, vout) WHERE batch_height IS NULL;
CREATE TABLE issuances (
    txid BLOB NOT NULL,
    vin INTEGER NOT NULL,
    height INTEGER NOT NULL,
    asset BLOB NOT NULL,
    token BLOB NOT NULL,
    entropy BLOB NOT NULL,
    contract_hash BLOB,               -- NULL for a reissuance
    amount INTEGER,                   -- NULL if blinded
    token_amount INTEGER,
    PRIMARY KEY (txid, vin)
) WITHOUT ROWID;
CREATE INDEX issuances_by_asset ON issuances (asset);
CREATE TABLE supply (
    asset BLOB PRIMARY KEY,
    issued INTEGER NOT NULL,
    removed INTEGER NOT NULL,
    burned INTEGER NOT NULL,          -- of removed: neither fees nor peg-outs
    blinded_issuances INTEGER NOT NULL
) WITHOUT ROWID;
",
    "
CREATE TABLE books (                  -- the peg after each block
    height INTEGER PRIMARY KEY,
    pegged_in_sat INTEGER NOT NULL,
    pegged_out_sat INTEGER NOT NULL,
    burned_sat INTEGER NOT NULL,
    waiting_sat INTEGER NOT NULL,
    coins_sat INTEGER NOT NULL,
    coins INTEGER NOT NULL,
    in_flight_sat INTEGER NOT NULL
);
CREATE TABLE supply_history (         -- the supply of an asset after each block that changed it
    asset BLOB NOT NULL,
    height INTEGER NOT NULL,
    issued INTEGER NOT NULL,
    removed INTEGER NOT NULL,
    burned INTEGER NOT NULL,
    blinded_issuances INTEGER NOT NULL,
    PRIMARY KEY (asset, height)
) WITHOUT ROWID;
CREATE TABLE payments (               -- what the batch of a block pays
    height INTEGER NOT NULL,
    txid BLOB NOT NULL,
    vout INTEGER NOT NULL,
    amount_sat INTEGER NOT NULL,
    PRIMARY KEY (height, txid, vout)
) WITHOUT ROWID;
CREATE TABLE valve (
    only INTEGER PRIMARY KEY CHECK (only = 0),
    state BLOB NOT NULL
);
CREATE INDEX treasury_unspent ON treasury (height, parent_txid, parent_vout) WHERE spent_height IS NULL;
CREATE INDEX pegouts_by_height ON pegouts (height DESC, txid, vout);
",
    "
ALTER TABLE treasury ADD COLUMN booked_txid BLOB; -- of an alternative of a coin: what the books call that coin
ALTER TABLE treasury ADD COLUMN booked_vout INTEGER;
CREATE INDEX treasury_alternatives ON treasury (booked_txid, booked_vout) WHERE booked_txid IS NOT NULL;
CREATE INDEX treasury_spent ON treasury (spent_height);
CREATE TABLE batches (
    height INTEGER PRIMARY KEY,
    family INTEGER NOT NULL,          -- height of the first of the batches that take each other's place
    spent_sat INTEGER NOT NULL,       -- the coins that it spends, 0 where an earlier one of the family spends them
    outcome INTEGER                   -- as far as this member knows: NULL open, 1 buried on Bitcoin, 0 superseded
);
CREATE INDEX batches_open ON batches (height) WHERE outcome IS NULL;
CREATE INDEX batches_by_family ON batches (family, height);
ALTER TABLE pegouts DROP COLUMN fee_sat;          -- that of the batch that is confirmed counts, and is read from it
CREATE INDEX transactions_by_height ON transactions (height, position);
",
];

/// A final block to be connected.
pub struct NewBlock<'a> {
    /// The block with its header witness.
    pub block: &'a Block,
    /// Its height, in blocks.
    pub height: u32,
    /// Median time past of this block and the ten before it, in seconds since 1970.
    pub median_time_past: u32,
    /// What it changes.
    pub effects: &'a aquifer_assets::state::Effects,
    /// Its certificate.
    pub certificate: &'a [u8],
    /// The batch that its coinbase commits to.
    pub batch: Option<&'a BatchPlan>,
    /// The state of the valve after it, as [`aquifer_federation::valve::Valve::save`] gives it; `None` for genesis, after
    /// which every valve is new.
    pub valve: Option<&'a [u8]>,
}

/// Where the chain stands.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Tip {
    /// Height of the last final block.
    pub height: u32,
    /// Its hash.
    pub hash: BlockHash,
    /// Its time, in seconds since 1970.
    pub time: u32,
    /// Its median time past, in seconds since 1970.
    pub median_time_past: u32,
}

/// A final block as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredBlock {
    /// Its height.
    pub height: u32,
    /// Its hash.
    pub hash: BlockHash,
    /// Header with witness, as Elements serializes it.
    pub header: Vec<u8>,
    /// The whole block, as Elements serializes it; left empty where only the header was asked for.
    pub block: Vec<u8>,
    /// Its certificate.
    pub certificate: Vec<u8>,
    /// The unsigned Bitcoin transaction of its batch.
    pub batch: Option<Vec<u8>>,
    /// Size in bytes.
    pub size: u32,
    /// Weight by the stricter count.
    pub weight: u32,
}

/// Supply of one asset, in its smallest unit.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct AssetSupply {
    /// The asset.
    pub asset: AssetId,
    /// Explicit issuances; peg-ins for the pegged asset.
    pub issued: u64,
    /// Explicit burns; for the pegged asset also peg-outs.
    pub removed: u64,
    /// The part of `removed` that is no peg-out.
    pub burned: u64,
    /// Issuances whose amount is not public.
    pub blinded_issuances: u32,
}

/// A peg-out as the chain knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredPegout {
    /// The request: output, amount and destination.
    pub request: aquifer_assets::peg::PegoutRequest,
    /// Height of the block that requested it.
    pub height: u32,
    /// The batch that pays it.
    pub batch: Option<PaidBy>,
}

/// How a peg-out was paid.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct PaidBy {
    /// Height of the block that agreed on the batch; on the latest one, where it was replaced.
    pub height: u32,
    /// Output of the batch that pays it.
    pub vout: u32,
}

/// A transaction's place in the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionPlace {
    /// Height of its block.
    pub height: u32,
    /// Position in the block.
    pub position: u32,
}

/// What is known of an asset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredIssuance {
    /// The first issuance.
    pub record: aquifer_assets::state::IssuanceRecord,
    /// Height of its block.
    pub height: u32,
}

/// Names of an output in a row.
fn outpoint_of(txid: [u8; 32], vout: u32) -> OutPoint {
    OutPoint::new(Txid::from_byte_array(txid), vout)
}

fn parent_outpoint_of(txid: [u8; 32], vout: u32) -> bitcoin::OutPoint {
    use bitcoin::hashes::Hash as _;
    bitcoin::OutPoint::new(bitcoin::Txid::from_byte_array(txid), vout)
}
