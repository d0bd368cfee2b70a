//! Replacing what waits by what pays more: BIP 125, for transactions that say they may be replaced, as Elements has it by
//! default. Being replaceable is not inherited from ancestors (CVE-2021-31876).

use std::collections::HashSet;

use elements::Txid;

use super::error::MempoolError;
use super::policy::{INCREMENTAL_FEE_RATE_SAT_PER_KVB, fee_at};
use super::pool::{FeeRate, Pool, Totals};

use aquifer_assets::primitives::Transaction;

/// Waiting transactions that one replacement may push out.
pub const MAX_REPLACED: usize = 100;
/// Highest sequence number that offers a transaction for replacement (BIP 125).
const MAX_REPLACEABLE_SEQUENCE: u32 = 0xffff_fffd;

/// Why a transaction may not replace what waits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplacementError {
    /// It depends on what it would replace.
    #[error("it spends an output of {replaced}, which it would replace: spend another output")]
    SpendsReplaced {
        /// The transaction in both roles.
        replaced: Txid,
    },
    /// It would push out too many.
    #[error("it would push out {count} transactions, at most {MAX_REPLACED} are: wait for a block")]
    TooMany {
        /// How many.
        count: usize,
    },
    /// It spends outputs of other transactions that wait.
    #[error("input {vin} spends an output of {parent}, which waits too and was not spent before: use a final output")]
    NewUnconfirmed {
        /// The input.
        vin: usize,
        /// The transaction that waits.
        parent: Txid,
    },
    /// Its fee rate is not higher.
    #[error(
        "its {rate_sat_per_kvb} sat per 1,000 vbytes are no more than the {replaced_sat_per_kvb} that {replaced} pays: \
         raise the fee"
    )]
    Rate {
        /// Its rate.
        rate_sat_per_kvb: u64,
        /// The other's rate.
        replaced_sat_per_kvb: u64,
        /// The other.
        replaced: Txid,
    },
    /// Its fee is not high enough for everything that goes.
    #[error("its fee of {paid_sat} sat is below {needed_sat} sat: all fees that it pushes out and its own relay")]
    Fee {
        /// Fee paid, in satoshi.
        paid_sat: u64,
        /// Fee needed, in satoshi.
        needed_sat: u64,
    },
}

impl ReplacementError {
    /// A stable name.
    pub fn name(&self) -> &'static str {
        match self {
            ReplacementError::SpendsReplaced { .. } => "replacement-spends-replaced",
            ReplacementError::TooMany { .. } => "replacement-too-many",
            ReplacementError::NewUnconfirmed { .. } => "replacement-adds-unconfirmed",
            ReplacementError::Rate { .. } => "replacement-rate",
            ReplacementError::Fee { .. } => "replacement-fee",
        }
    }

    /// What Elements answers in the same case.
    pub fn elements_reason(&self) -> &'static str {
        match self {
            ReplacementError::SpendsReplaced { .. } => "bad-txns-spends-conflicting-tx",
            ReplacementError::TooMany { .. } => "too many potential replacements",
            ReplacementError::NewUnconfirmed { .. } => "replacement-adds-unconfirmed",
            ReplacementError::Rate { .. } | ReplacementError::Fee { .. } => "insufficient fee",
        }
    }
}

/// Whether a transaction offers itself for replacement.
pub(super) fn is_replaceable(transaction: &Transaction) -> bool {
    transaction.input.iter().any(|input| input.sequence.0 <= MAX_REPLACEABLE_SEQUENCE)
}

/// What a transaction would replace.
#[derive(Debug, Default)]
pub(super) struct Replacement {
    /// Those that spend the same.
    direct: HashSet<Txid>,
    /// The same and all that depend on them: what would go.
    pub(super) doomed: HashSet<Txid>,
}

impl Replacement {
    /// Finds what `transaction` conflicts with.
    ///
    /// # Errors
    /// [`MempoolError::Conflict`] if one of those may not be replaced, [`MempoolError::Replacement`] if the transaction is
    /// of a form that may not replace them.
    pub(super) fn of(pool: &Pool, transaction: &Transaction) -> Result<Self, MempoolError> {
        let mut replacement = Replacement::default();
        for (vin, what, by) in pool.conflicts(transaction) {
            let replaceable = pool.entries.get(&by).is_some_and(|entry| is_replaceable(&entry.transaction));
            if !replaceable {
                return Err(MempoolError::Conflict { vin, what, by });
            }
            replacement.direct.insert(by);
        }
        if replacement.direct.is_empty() {
            return Ok(replacement);
        }
        for txid in &replacement.direct {
            replacement.doomed.extend(pool.family(*txid));
            if replacement.doomed.len() > MAX_REPLACED {
                return Err(ReplacementError::TooMany { count: replacement.doomed.len() }.into());
            }
        }
        let ancestors = pool.ancestors(transaction);
        if let Some(replaced) = replacement.doomed.iter().find(|txid| ancestors.contains(*txid)) {
            return Err(ReplacementError::SpendsReplaced { replaced: *replaced }.into());
        }
        let replaced_entries = replacement.direct.iter().filter_map(|txid| pool.entries.get(txid));
        let spent_before: HashSet<Txid> =
            replaced_entries.flat_map(|entry| pool.parents(&entry.transaction).collect::<Vec<_>>()).collect();
        for (vin, input) in transaction.input.iter().enumerate().filter(|(_, input)| !input.is_pegin) {
            let parent = input.previous_output.txid;
            if pool.entries.contains_key(&parent) && !spent_before.contains(&parent) {
                return Err(ReplacementError::NewUnconfirmed { vin, parent }.into());
            }
        }
        Ok(replacement)
    }

    /// Checks that a transaction of this fee and discounted size pays for what it replaces.
    pub(super) fn check_fee(&self, pool: &Pool, fee_sat: u64, vsize: u64) -> Result<(), ReplacementError> {
        if self.direct.is_empty() {
            return Ok(());
        }
        let rate = FeeRate { fee_sat, vsize };
        for (txid, entry) in self.direct.iter().filter_map(|txid| Some((txid, pool.entries.get(txid)?))) {
            let old = Totals::of(entry).rate();
            if rate <= old {
                return Err(ReplacementError::Rate {
                    rate_sat_per_kvb: rate.sat_per_kvb(),
                    replaced_sat_per_kvb: old.sat_per_kvb(),
                    replaced: *txid,
                });
            }
        }
        let mut totals = Totals::default();
        self.doomed.iter().filter_map(|txid| pool.entries.get(txid)).for_each(|entry| totals.add(Totals::of(entry)));
        let needed_sat = totals.fee_sat.saturating_add(fee_at(INCREMENTAL_FEE_RATE_SAT_PER_KVB, vsize));
        if fee_sat < needed_sat {
            return Err(ReplacementError::Fee { paid_sat: fee_sat, needed_sat });
        }
        Ok(())
    }
}
