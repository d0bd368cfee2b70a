//! Remembering that scripts and proofs of a transaction hold.
//!
//! A node checks most transactions twice: when they arrive and when their block does. The second time their scripts and
//! proofs, which take nearly all of the time, need not be looked at again, *if* the statement is the very same one. In
//! September 2026 Liquid lost its reserve because a key of such a cache joined parts of a statement without their
//! lengths. So here a verdict is kept for the whole statement or not at all:
//!
//! * A [`StatementKey`] is a hash of everything that the verdict is a function of: the rules, the chain, the complete
//!   transaction with its witnesses, and every output that it spends. Each part is preceded by its length, so no two
//!   statements have the same bytes. There is one key, and one place that makes it.
//! * What depends on anything else is checked every time: whether the coins exist, lock times, maturity, claims.
//! * Only success is remembered. A transaction that is refused costs its sender the time again.
//!
//! The rules work the same without a cache, and more slowly. Who must not trust what was seen before, hands in none.

use std::fmt;

use bitcoin::hashes::{Hash, HashEngine, sha256};
use elements::encode::serialize;
use elements::{AssetId, BlockHash};

use crate::chain::ChainParams;
use crate::primitives::{Transaction, TxOut};

/// Domain of the key's hash.
const TAG: &[u8] = b"aquifer/statement";

/// Version of the rules for scripts, proofs and balances. Whoever changes one of them so that a transaction is judged
/// differently adds one, so that no verdict outlives its rule.
const RULES_VERSION: u32 = 2;

/// The rules that a statement is judged by, as far as they can differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuleSet {
    /// Version of the code.
    version: u32,
    /// The chain: Taproot signatures sign it.
    genesis: BlockHash,
    /// The pegged asset, whose amounts are bounded.
    pegged_asset: AssetId,
}

impl RuleSet {
    /// The rules of a chain.
    pub fn of(params: &ChainParams) -> Self {
        Self { version: RULES_VERSION, genesis: params.genesis_hash(), pegged_asset: params.pegged_asset() }
    }

    /// The chain.
    pub fn genesis(&self) -> BlockHash {
        self.genesis
    }
}

/// Names one statement: this transaction, spending these outputs, is right by these rules.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StatementKey([u8; 32]);

impl StatementKey {
    /// The key of a transaction that can be written to the wire and read back, with the outputs that it spends in the
    /// order of its inputs.
    pub fn new(rules: &RuleSet, transaction: &Transaction, spent: &[TxOut]) -> Self {
        let tag = sha256::Hash::hash(TAG);
        let mut engine = sha256::Hash::engine();
        engine.input(tag.as_byte_array());
        engine.input(tag.as_byte_array());
        put(&mut engine, &rules.version.to_le_bytes());
        put(&mut engine, &rules.genesis.to_byte_array());
        put(&mut engine, &rules.pegged_asset.to_byte_array());
        put(&mut engine, &serialize(transaction));
        put_length(&mut engine, spent.len());
        for output in spent {
            put(&mut engine, &serialize(&output.asset));
            put(&mut engine, &serialize(&output.value));
            put(&mut engine, &serialize(&output.nonce));
            put(&mut engine, output.script_pubkey.as_bytes());
        }
        Self(sha256::Hash::from_engine(engine).to_byte_array())
    }
}

impl fmt::Debug for StatementKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StatementKey({})", hex::encode(self.0))
    }
}

fn put(engine: &mut sha256::HashEngine, part: &[u8]) {
    put_length(engine, part.len());
    engine.input(part);
}

fn put_length(engine: &mut sha256::HashEngine, length: usize) {
    // No platform has lengths of more than 64 bits.
    engine.input(&u64::try_from(length).unwrap_or(u64::MAX).to_le_bytes());
}

/// Remembers which statements hold.
///
/// An implementation may forget whenever it likes. It must never answer yes for a key that it was not given.
pub trait VerdictCache: Sync {
    /// Whether this statement is known to hold.
    fn holds(&self, key: &StatementKey) -> bool;
    /// Takes note that it holds.
    fn remember(&self, key: StatementKey);
}
