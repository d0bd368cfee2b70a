//! The index: what Electrum, Esplora, Waterfalls and the explorer ask of the chain and the ledger does not answer quickly.
//!
//! `index.db` is made from the final blocks of the ledger by a thread of its own ([`Indexing`]), block by block, and says
//! nothing that those do not: it can be deleted at any time and is made again. Final blocks are never undone, so it only
//! grows. It may be killed at any instant; what it has not committed is read from the ledger again.
//!
//! [`IndexReader`] opens an [`IndexView`]: one state of the index and, at the same height, what waits for a block
//! ([`Waiting`]). A transaction is in one of the two, never in both and, once admitted, never in neither. The index
//! follows the ledger within milliseconds; a view answers as of its own height. As long as the index is being built there
//! are no views, and [`IndexReader::progress`] says how far it is.
//!
//! It keeps no scripts and no outputs, only numbers: the transactions of the chain are counted from 0, which is the order
//! of histories and of their pages, and scripts and assets have numbers too. Bytes come from the ledger.

mod builder;
mod facts;
mod follow;
mod read;
mod view;
mod waiting;
mod write;

use std::fmt;

use elements::{Script, Txid};

use crate::store::ledger::script_hash;

pub use builder::Indexing;
pub use facts::{AssetEvent, AssetTotals, asset_events};
pub use follow::{Follower, Step};
pub use read::{IndexChange, IndexError, IndexProgress, IndexReader};
pub use view::{IndexView, Order, ScriptCounts, Spender, Touch, TouchPlace, Unspent};
pub use waiting::{Waiting, WaitingTx};
pub use write::IndexStore;

const NAME: &str = "index.db";

const MIGRATIONS: &[&str] = &["
CREATE TABLE blocks (
    height INTEGER PRIMARY KEY,
    hash BLOB NOT NULL,
    first INTEGER NOT NULL            -- number of its first transaction
);
CREATE TABLE transactions (
    number INTEGER PRIMARY KEY,       -- from 0, in the order of the chain
    txid BLOB NOT NULL,
    height INTEGER NOT NULL,
    start INTEGER NOT NULL,           -- of its bytes in those of the block
    size INTEGER NOT NULL
);
CREATE TABLE scripts (
    id INTEGER PRIMARY KEY,
    hash BLOB NOT NULL UNIQUE,        -- SHA-256 of the output script
    transactions INTEGER NOT NULL,    -- that pay it or spend from it
    funded INTEGER NOT NULL,          -- outputs that pay it
    spent INTEGER NOT NULL            -- of those, spent ones
);
CREATE TABLE outputs (                -- spendable ones
    number INTEGER NOT NULL,          -- of the transaction
    vout INTEGER NOT NULL,
    script INTEGER NOT NULL,
    spender INTEGER,                  -- number of the transaction that spends it
    vin INTEGER,
    PRIMARY KEY (number, vout)
) WITHOUT ROWID;
CREATE TABLE touches (
    script INTEGER NOT NULL,
    number INTEGER NOT NULL,          -- of the transaction that pays it or spends from it
    place INTEGER NOT NULL,           -- vout of what pays it, -1 - vin of what spends from it
    PRIMARY KEY (script, number, place)
) WITHOUT ROWID;
CREATE TABLE assets (
    id INTEGER PRIMARY KEY,           -- in the order of first appearance
    asset BLOB NOT NULL UNIQUE,
    token_of INTEGER,                 -- the asset that it is the reissuance token of
    transactions INTEGER NOT NULL,
    issuances INTEGER NOT NULL,
    issued INTEGER NOT NULL,
    blinded_issuances INTEGER NOT NULL,
    tokens INTEGER NOT NULL,
    blinded_tokens INTEGER NOT NULL,
    burns INTEGER NOT NULL,
    burned INTEGER NOT NULL,
    pegins INTEGER NOT NULL,
    pegged_in INTEGER NOT NULL,
    pegouts INTEGER NOT NULL,
    pegged_out INTEGER NOT NULL
);
CREATE TABLE asset_transactions (
    asset INTEGER NOT NULL,
    number INTEGER NOT NULL,
    PRIMARY KEY (asset, number)
) WITHOUT ROWID;
"];

/// What scripts are known under: SHA-256 of the output script. Shown as Electrum shows it, with the bytes reversed.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ScriptHash([u8; 32]);

impl ScriptHash {
    /// The hash of a script.
    pub fn of(script: &Script) -> Self {
        Self(script_hash(script))
    }

    /// From the bytes of the hash, in their own order.
    pub fn from_byte_array(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes of the hash, in their own order.
    pub fn to_byte_array(self) -> [u8; 32] {
        self.0
    }

    /// From what Electrum calls a scripthash: 64 hexadecimal digits, bytes reversed.
    pub fn from_electrum(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).ok()?;
        bytes.reverse();
        Some(Self(bytes))
    }
}

impl fmt::Display for ScriptHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut reversed = self.0;
        reversed.reverse();
        f.write_str(&hex::encode(reversed))
    }
}

/// A transaction of a final block and where it stands.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct FinalTx {
    /// Its id.
    pub txid: Txid,
    /// Height of its block.
    pub height: u32,
    /// Position in the block; the coinbase has 0.
    pub position: u32,
}
