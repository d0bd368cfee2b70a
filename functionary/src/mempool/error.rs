//! Why a transaction is not admitted: stable names, the values that decided, and what to do next.

use aquifer_assets::state::ViewError;
use aquifer_assets::transaction::{Outlook, TxError};
use elements::{OutPoint, Txid};

use super::pegouts::UnpayablePegout;
use super::policy::NonStandard;
use super::replacement::ReplacementError;
use crate::store::StoreError;

/// What two transactions cannot both spend.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Contested {
    /// An output of the ledger or of a waiting transaction.
    Output(OutPoint),
    /// A deposit on Bitcoin.
    Deposit(bitcoin::OutPoint),
}

impl std::fmt::Display for Contested {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Contested::Output(outpoint) => write!(f, "the output {outpoint}"),
            Contested::Deposit(deposit) => write!(f, "the deposit {deposit}"),
        }
    }
}

/// Which bound of a family of waiting transactions is reached (`-limitancestorcount` and the like of Elements).
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum PackageLimit {
    /// The transaction and those it depends on are too many.
    AncestorCount,
    /// The transaction and those it depends on are too large.
    AncestorSize,
    /// A transaction that it depends on would have too many that depend on it.
    DescendantCount,
    /// A transaction that it depends on would have too much that depends on it.
    DescendantSize,
}

impl std::fmt::Display for PackageLimit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            PackageLimit::AncestorCount => "transactions that it depends on, with itself",
            PackageLimit::AncestorSize => "vbytes of transactions that it depends on, with itself",
            PackageLimit::DescendantCount => "transactions that depend on one of its ancestors, with that one",
            PackageLimit::DescendantSize => "vbytes that depend on one of its ancestors, with that one",
        })
    }
}

/// Why a transaction is not admitted.
#[derive(Debug, thiserror::Error)]
pub enum MempoolError {
    /// It breaks a rule of the ledger, or an input does not exist.
    #[error("{0}")]
    Invalid(#[from] TxError),
    /// It is valid, and not of a form that is relayed.
    #[error("{0}")]
    NonStandard(#[from] NonStandard),
    /// It pegs out what this federation would never pay; nothing is burned yet.
    #[error("{0}")]
    Pegout(#[from] UnpayablePegout),
    /// Another waiting transaction spends the same, and has not said that it may be replaced.
    #[error(
        "input {vin} spends {what}, which the waiting transaction {by} already spends without offering to be replaced: \
         wait for its block, or spend something else"
    )]
    Conflict {
        /// The input.
        vin: usize,
        /// What it spends.
        what: Contested,
        /// Who was first.
        by: Txid,
    },
    /// It conflicts with waiting transactions that may be replaced, and is not good enough to replace them.
    #[error("it cannot replace what waits: {0}")]
    Replacement(#[from] ReplacementError),
    /// The fee is below the floor.
    #[error(
        "the fee of {paid_sat} sat is below {needed_sat} sat, the least for {vsize} discounted vbytes: raise the fee to at \
         least {rate_sat_per_kvb} sat per 1,000 vbytes"
    )]
    FeeTooLow {
        /// Fee paid, in satoshi.
        paid_sat: u64,
        /// Fee needed, in satoshi.
        needed_sat: u64,
        /// Discounted size, in vbytes.
        vsize: u64,
        /// The floor, in satoshi per 1,000 vbytes.
        rate_sat_per_kvb: u64,
    },
    /// The fee is below what has been pushed out for want of room.
    #[error(
        "the pool was full lately: the fee of {paid_sat} sat is below {needed_sat} sat, the least now for {vsize} \
         discounted vbytes: raise the fee to at least {rate_sat_per_kvb} sat per 1,000 vbytes, or try again later"
    )]
    BelowFloor {
        /// Fee paid, in satoshi.
        paid_sat: u64,
        /// Fee needed, in satoshi.
        needed_sat: u64,
        /// Discounted size, in vbytes.
        vsize: u64,
        /// The floor now, in satoshi per 1,000 vbytes.
        rate_sat_per_kvb: u64,
    },
    /// Too many transactions hang together.
    #[error("{found} {limit}; at most {most} are kept waiting: submit it again when its ancestors are in a block")]
    TooLongChain {
        /// Which bound.
        limit: PackageLimit,
        /// What there would be.
        found: u64,
        /// What there may be.
        most: u64,
    },
    /// A peg-in whose deposit is not deep enough.
    #[error("the deposit {deposit} has {confirmations} confirmations on Bitcoin, {needed} are needed: claim it later")]
    DepositTooShallow {
        /// The deposit.
        deposit: bitcoin::OutPoint,
        /// Confirmations so far.
        confirmations: u32,
        /// Confirmations needed.
        needed: u32,
    },
    /// A peg-in whose deposit is in no block of the best chain.
    #[error("the deposit {deposit} is not in Bitcoin's best chain: claim it when it is")]
    DepositNotFound {
        /// The deposit.
        deposit: bitcoin::OutPoint,
    },
    /// Bitcoin cannot be asked now.
    #[error("the deposit {deposit} cannot be checked now: {reason}; try again later or through another member")]
    ParentUnavailable {
        /// The deposit.
        deposit: bitcoin::OutPoint,
        /// What is wrong.
        reason: String,
    },
    /// There is no room for it among what pays more.
    #[error(
        "the pool is full of transactions that pay more: raise the fee to at least {rate_sat_per_kvb} sat per 1,000 \
         vbytes, or try again later"
    )]
    Full {
        /// The floor now, in satoshi per 1,000 vbytes.
        rate_sat_per_kvb: u64,
    },
    /// It was admitted too long ago.
    #[error("it has waited for {waited_s} s, more than the {most_s} s that transactions may: submit it anew")]
    Expired {
        /// Since its admission, in seconds.
        waited_s: u32,
        /// What is allowed, in seconds.
        most_s: u32,
    },
    /// This member finds it valid, and the other implementation that it asks does not.
    #[error("another implementation refuses it: {0}")]
    Objection(String),
    /// The ledger could not be read.
    #[error("{0}")]
    Store(#[from] StoreError),
}

impl MempoolError {
    /// A stable name for logs and answers.
    pub fn name(&self) -> &'static str {
        match self {
            MempoolError::Invalid(error) => error.name(),
            MempoolError::NonStandard(error) => error.name(),
            MempoolError::Pegout(error) => error.name(),
            MempoolError::Conflict { what: Contested::Output(_), .. } => "mempool-conflict",
            MempoolError::Conflict { what: Contested::Deposit(_), .. } => "mempool-claim-conflict",
            MempoolError::Replacement(error) => error.name(),
            MempoolError::FeeTooLow { .. } => "fee-too-low",
            MempoolError::BelowFloor { .. } => "mempool-floor",
            MempoolError::TooLongChain { .. } => "too-long-mempool-chain",
            MempoolError::DepositTooShallow { .. } => "deposit-too-shallow",
            MempoolError::DepositNotFound { .. } => "deposit-not-found",
            MempoolError::ParentUnavailable { .. } => "parent-unavailable",
            MempoolError::Full { .. } => "mempool-full",
            MempoolError::Expired { .. } => "mempool-expired",
            MempoolError::Objection(_) => "second-opinion",
            MempoolError::Store(_) => "store",
        }
    }

    /// What Elements answers in the same case, for reasons of the pool; the ledger's rules know their own.
    pub fn elements_reason(&self) -> Option<&'static str> {
        match self {
            MempoolError::NonStandard(error) => Some(error.elements_reason()),
            MempoolError::Conflict { .. } => Some("txn-mempool-conflict"),
            MempoolError::Replacement(error) => Some(error.elements_reason()),
            MempoolError::FeeTooLow { .. } => Some("min relay fee not met"),
            MempoolError::BelowFloor { .. } => Some("mempool min fee not met"),
            MempoolError::TooLongChain { .. } => Some("too-long-mempool-chain"),
            MempoolError::Full { .. } => Some("mempool full"),
            _ => None,
        }
    }

    /// Whether the same transaction may be admitted at another time or by another member.
    pub fn is_temporary(&self) -> bool {
        match self {
            MempoolError::Invalid(error) => matches!(error.outlook(), Outlook::MissingInput | Outlook::NotYet),
            MempoolError::Pegout(error) => error.is_temporary(),
            MempoolError::FeeTooLow { .. } | MempoolError::NonStandard(_) | MempoolError::Replacement(_) => false,
            _ => true,
        }
    }
}

/// Reading the ledger failed while a transaction was judged.
impl From<ViewError> for MempoolError {
    fn from(error: ViewError) -> Self {
        MempoolError::Store(StoreError::Inconsistent { file: "ledger.db".into(), reason: error.0 })
    }
}
