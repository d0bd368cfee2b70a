//! Why a transaction was refused.

use elements::{AssetId, OutPoint};

use crate::peg::{PakError, PegError};
use crate::primitives::{DecodeError, Inexpressible};
use crate::proof::InvalidSurjectionProof;
use crate::script::ScriptError;
use crate::state::ViewError;

/// What a refusal means for the future of the transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outlook {
    /// It breaks a rule that never changes for it: forget it, blame the sender.
    Never,
    /// An output that it spends is not known: it may come, or was spent. Neither can be told from here.
    MissingInput,
    /// It becomes valid as the chain grows: a lock time, maturity.
    NotYet,
    /// What it spends or claims has been taken; only a reorganisation, which does not happen here, would help.
    Conflict,
    /// It could not be judged.
    Unknown,
}

/// Which of the two amounts of an issuance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IssuanceLeg {
    /// The issued asset.
    Asset,
    /// Its reissuance token.
    Token,
}

impl std::fmt::Display for IssuanceLeg {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Asset => "asset",
            Self::Token => "reissuance token",
        })
    }
}

/// Why a transaction was refused: one variant per rule, with the offending input (`vin`) or output (`vout`).
///
/// Each has a stable [name](TxError::name); where Elements has a reject reason for it, [`TxError::elements_reason`] gives it:
///
/// | name | Elements |
/// |---|---|
/// | `malformed` | - |
/// | `coinbase` | `coinbase` |
/// | `no-inputs` | `bad-txns-vin-empty` |
/// | `no-outputs` | `bad-txns-vout-empty` |
/// | `too-large` | `bad-txns-oversize` |
/// | `duplicate-input` | `bad-txns-inputs-duplicate` |
/// | `null-input` | `bad-txns-prevout-null` |
/// | `outpoint-index` | - |
/// | `null-issuance` | - |
/// | `superfluous-pegin-witness` | `extra-pegin-witness` |
/// | `unreadable` | - |
/// | `null-asset` | `bad-txns-in-ne-out` |
/// | `null-value` | `bad-txns-vout-amount-invalid` |
/// | `value-range` | `bad-txns-vout-toolarge` |
/// | `total-range` | `bad-txns-txouttotal-toolarge` |
/// | `spendable-zero` | `bad-txns-in-ne-out` |
/// | `zero-fee` | `bad-txns-fee-outofrange` |
/// | `fee-range` | `bad-txns-fee-outofrange` |
/// | `missing-input` | `bad-txns-inputs-missingorspent` |
/// | `immature-coinbase` | `bad-txns-premature-spend-of-coinbase` |
/// | `null-coin` | `bad-txns-in-ne-out` |
/// | `spent-value-range` | `bad-txns-in-ne-out` |
/// | `bad-pegin` | `bad-pegin-witness` |
/// | `already-claimed` | `bad-txns-double-pegin` |
/// | `lock-time` | `bad-txns-nonfinal` |
/// | `relative-height` | `bad-txns-nonfinal` |
/// | `relative-time` | `bad-txns-nonfinal` |
/// | `issuance-without-witness` | `bad-txns-in-ne-out` |
/// | `issuance-amount` | `bad-txns-in-ne-out` |
/// | `reissuance-with-tokens` | `bad-txns-in-ne-out` |
/// | `reissuance-nonce` | `bad-txns-in-ne-out` |
/// | `reissuance-token-not-blinded` | `bad-txns-in-ne-out` |
/// | `reissuance-without-token` | `bad-txns-in-ne-out` |
/// | `missing-issuance-proof` | `bad-txns-in-ne-out` |
/// | `superfluous-issuance-proof` | `bad-txns-in-ne-out` |
/// | `issuance-range-proof` | `bad-txns-in-ne-out` |
/// | `missing-range-proof` | `bad-txns-in-ne-out` |
/// | `superfluous-range-proof` | `bad-txns-in-ne-out` |
/// | `range-proof` | `bad-txns-in-ne-out` |
/// | `range-minimum` | `bad-txns-in-ne-out` |
/// | `missing-surjection-proof` | `bad-txns-in-ne-out` |
/// | `superfluous-surjection-proof` | `bad-txns-in-ne-out` |
/// | `surjection-proof`, `surjection-targets` | `bad-txns-in-ne-out` |
/// | `unbalanced` | `bad-txns-in-ne-out` |
/// | `unauthorized-pegout` | `bad-pak-tx` |
/// | `pegout-of-wrong-asset` | - |
/// | `blinded-pegout` | - |
/// | that of the script error | `mandatory-script-verify-flag-failed` |
/// | `state-unreadable` | - |
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the fields are vin and vout, and what the message says of them")]
pub enum TxError {
    /// The bytes are not a transaction, or not in the one encoding that it has.
    #[error("not a transaction: {0}")]
    Malformed(DecodeError),
    /// Only the first transaction of a block may be a coinbase.
    #[error("a coinbase stands alone")]
    Coinbase,
    #[error("the transaction has no inputs")]
    NoInputs,
    #[error("the transaction has no outputs")]
    NoOutputs,
    #[error("the transaction weighs {weight} without witness, more than a block may")]
    TooLarge { weight: usize },
    #[error("input {vin} spends {outpoint}, which an earlier input spends")]
    DuplicateInput { vin: usize, outpoint: OutPoint },
    #[error("input {vin} spends nothing")]
    NullInput { vin: usize },
    /// Bits 30 and 31 of the index are flags on the wire.
    #[error("input {vin} spends output {index}, which cannot be written")]
    OutpointIndex { vin: usize, index: u32 },
    #[error("input {vin} has an issuance that issues nothing")]
    NullIssuance { vin: usize },
    #[error("input {vin} has a peg-in witness and is no peg-in")]
    SuperfluousPeginWitness { vin: usize },
    /// Elements accepts it, because no rule looks at these bytes. Members do not sign what wallets cannot read.
    #[error("common libraries cannot read the transaction: {0}")]
    Unreadable(Inexpressible),
    #[error("output {vout} has no asset")]
    NullAsset { vout: usize },
    #[error("output {vout} has no value")]
    NullValue { vout: usize },
    #[error("output {vout} has the value {value}, more than 21 million coins")]
    ValueRange { vout: usize, value: u64 },
    #[error("the explicit outputs up to {vout} add up to {total}, more than 21 million coins")]
    TotalRange { vout: usize, total: u64 },
    #[error("output {vout} can be spent and has the value 0")]
    SpendableZero { vout: usize },
    #[error("fee output {vout} is 0")]
    ZeroFee { vout: usize },
    #[error("fees in {asset} add up to {total}, more than 21 million coins")]
    FeeRange { asset: AssetId, total: u64 },

    #[error("input {vin} spends {outpoint}, which does not exist or is spent")]
    MissingInput { vin: usize, outpoint: OutPoint },
    #[error("input {vin} spends a coinbase of height {made} at height {height}; it matures after 100 blocks")]
    ImmatureCoinbase { vin: usize, made: u32, height: u32 },
    #[error("the spent output of input {vin} has no asset or no value")]
    NullCoin { vin: usize },
    #[error("input {vin} spends the explicit value {value}, which is 0 or more than 21 million coins")]
    SpentValueRange { vin: usize, value: u64 },
    #[error("input {vin} is no valid peg-in: {source}")]
    Pegin { vin: usize, source: PegError },
    #[error("input {vin} claims the deposit {deposit}, which has been claimed")]
    AlreadyClaimed { vin: usize, deposit: bitcoin::OutPoint },

    #[error("the lock time {lock_time} is not reached at height {height}, median time {median_time_past}")]
    LockTime { lock_time: u32, height: u32, median_time_past: u32 },
    #[error("input {vin} may be spent from height {from}, this is height {height}")]
    RelativeHeight { vin: usize, from: u64, height: u32 },
    #[error("input {vin} may be spent after median time {after}, this is {median_time_past}")]
    RelativeTime { vin: usize, after: u64, median_time_past: u32 },

    /// Elements wants to see a witness in a transaction that issues, even if it is that of another input.
    #[error("input {vin} issues and the transaction has no witness")]
    IssuanceWithoutWitness { vin: usize },
    #[error("input {vin} issues {amount} of the {leg}, out of range")]
    IssuanceAmount { vin: usize, leg: IssuanceLeg, amount: u64 },
    #[error("input {vin} reissues and issues tokens")]
    ReissuanceWithTokens { vin: usize },
    #[error("the blinding nonce of the reissuance in input {vin} is not a scalar")]
    ReissuanceNonce { vin: usize },
    #[error("input {vin} reissues {asset} and spends an unblinded output")]
    ReissuanceTokenNotBlinded { vin: usize, asset: AssetId },
    #[error("input {vin} reissues {asset} and does not spend its token {token}")]
    ReissuanceWithoutToken { vin: usize, asset: AssetId, token: AssetId },
    #[error("the blinded {leg} amount of input {vin} has no range proof")]
    MissingIssuanceProof { vin: usize, leg: IssuanceLeg },
    #[error("input {vin} has a range proof for the {leg} and no blinded amount of it")]
    SuperfluousIssuanceProof { vin: usize, leg: IssuanceLeg },
    #[error("the range proof of the {leg} amount of input {vin} is wrong")]
    IssuanceRangeProof { vin: usize, leg: IssuanceLeg },

    #[error("output {vout} has a blinded value and no range proof")]
    MissingRangeProof { vout: usize },
    #[error("output {vout} has an explicit value and a range proof")]
    SuperfluousRangeProof { vout: usize },
    #[error("the range proof of output {vout} is wrong")]
    RangeProof { vout: usize },
    #[error("output {vout} can be spent and its range proof allows 0")]
    RangeMinimum { vout: usize },
    #[error("output {vout} has a blinded asset and no surjection proof")]
    MissingSurjectionProof { vout: usize },
    #[error("output {vout} has an explicit asset and a surjection proof")]
    SuperfluousSurjectionProof { vout: usize },
    #[error("output {vout}: {source}")]
    SurjectionProof { vout: usize, source: InvalidSurjectionProof },
    #[error("what goes in is not what comes out")]
    Unbalanced,

    #[error("peg-out {vout} is not authorized: {source}")]
    UnauthorizedPegout { vout: usize, source: PakError },
    /// Elements takes such an output for a burn. We refuse it, because whoever makes it expects bitcoin and would get
    /// nothing: a rule of the federation on what it signs, stricter than consensus.
    #[error("peg-out {vout} is not of the pegged asset")]
    PegoutOfWrongAsset { vout: usize, asset: AssetId },
    /// As above: a peg-out that nobody can read pays nobody.
    #[error("peg-out {vout} has a blinded asset or value")]
    BlindedPegout { vout: usize },

    #[error("input {vin}: {source}")]
    Script { vin: usize, source: ScriptError },

    #[error(transparent)]
    View(#[from] ViewError),
}

impl TxError {
    /// A stable name in kebab case, for interfaces and statistics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::Coinbase => "coinbase",
            Self::NoInputs => "no-inputs",
            Self::NoOutputs => "no-outputs",
            Self::TooLarge { .. } => "too-large",
            Self::DuplicateInput { .. } => "duplicate-input",
            Self::NullInput { .. } => "null-input",
            Self::OutpointIndex { .. } => "outpoint-index",
            Self::NullIssuance { .. } => "null-issuance",
            Self::SuperfluousPeginWitness { .. } => "superfluous-pegin-witness",
            Self::Unreadable(_) => "unreadable",
            Self::NullAsset { .. } => "null-asset",
            Self::NullValue { .. } => "null-value",
            Self::ValueRange { .. } => "value-range",
            Self::TotalRange { .. } => "total-range",
            Self::SpendableZero { .. } => "spendable-zero",
            Self::ZeroFee { .. } => "zero-fee",
            Self::FeeRange { .. } => "fee-range",
            Self::MissingInput { .. } => "missing-input",
            Self::ImmatureCoinbase { .. } => "immature-coinbase",
            Self::NullCoin { .. } => "null-coin",
            Self::SpentValueRange { .. } => "spent-value-range",
            Self::Pegin { .. } => "bad-pegin",
            Self::AlreadyClaimed { .. } => "already-claimed",
            Self::LockTime { .. } => "lock-time",
            Self::RelativeHeight { .. } => "relative-height",
            Self::RelativeTime { .. } => "relative-time",
            Self::IssuanceWithoutWitness { .. } => "issuance-without-witness",
            Self::IssuanceAmount { .. } => "issuance-amount",
            Self::ReissuanceWithTokens { .. } => "reissuance-with-tokens",
            Self::ReissuanceNonce { .. } => "reissuance-nonce",
            Self::ReissuanceTokenNotBlinded { .. } => "reissuance-token-not-blinded",
            Self::ReissuanceWithoutToken { .. } => "reissuance-without-token",
            Self::MissingIssuanceProof { .. } => "missing-issuance-proof",
            Self::SuperfluousIssuanceProof { .. } => "superfluous-issuance-proof",
            Self::IssuanceRangeProof { .. } => "issuance-range-proof",
            Self::MissingRangeProof { .. } => "missing-range-proof",
            Self::SuperfluousRangeProof { .. } => "superfluous-range-proof",
            Self::RangeProof { .. } => "range-proof",
            Self::RangeMinimum { .. } => "range-minimum",
            Self::MissingSurjectionProof { .. } => "missing-surjection-proof",
            Self::SuperfluousSurjectionProof { .. } => "superfluous-surjection-proof",
            Self::SurjectionProof { source: InvalidSurjectionProof::TargetCount { .. }, .. } => "surjection-targets",
            Self::SurjectionProof { .. } => "surjection-proof",
            Self::Unbalanced => "unbalanced",
            Self::UnauthorizedPegout { .. } => "unauthorized-pegout",
            Self::PegoutOfWrongAsset { .. } => "pegout-of-wrong-asset",
            Self::BlindedPegout { .. } => "blinded-pegout",
            Self::Script { source, .. } => source.name(),
            Self::View(_) => "state-unreadable",
        }
    }

    /// What Elements calls the same refusal, if it has a reject reason for it. Everything about amounts and their proofs
    /// has one reason there.
    pub fn elements_reason(&self) -> Option<&'static str> {
        Some(match self {
            Self::Coinbase => "coinbase",
            Self::NoInputs => "bad-txns-vin-empty",
            Self::NoOutputs => "bad-txns-vout-empty",
            Self::TooLarge { .. } => "bad-txns-oversize",
            Self::DuplicateInput { .. } => "bad-txns-inputs-duplicate",
            Self::NullInput { .. } => "bad-txns-prevout-null",
            Self::NullValue { .. } => "bad-txns-vout-amount-invalid",
            Self::ValueRange { .. } => "bad-txns-vout-toolarge",
            Self::TotalRange { .. } => "bad-txns-txouttotal-toolarge",
            Self::ZeroFee { .. } | Self::FeeRange { .. } => "bad-txns-fee-outofrange",
            Self::MissingInput { .. } => "bad-txns-inputs-missingorspent",
            Self::ImmatureCoinbase { .. } => "bad-txns-premature-spend-of-coinbase",
            Self::Pegin { .. } => "bad-pegin-witness",
            Self::AlreadyClaimed { .. } => "bad-txns-double-pegin",
            Self::LockTime { .. } | Self::RelativeHeight { .. } | Self::RelativeTime { .. } => "bad-txns-nonfinal",
            Self::UnauthorizedPegout { .. } => "bad-pak-tx",
            Self::SuperfluousPeginWitness { .. } => "extra-pegin-witness",
            Self::Script { .. } => "mandatory-script-verify-flag-failed",
            Self::Malformed(_)
            | Self::OutpointIndex { .. }
            | Self::NullIssuance { .. }
            | Self::Unreadable(_)
            | Self::PegoutOfWrongAsset { .. }
            | Self::BlindedPegout { .. }
            | Self::View(_) => return None,
            Self::NullAsset { .. }
            | Self::SpendableZero { .. }
            | Self::NullCoin { .. }
            | Self::SpentValueRange { .. }
            | Self::IssuanceWithoutWitness { .. }
            | Self::IssuanceAmount { .. }
            | Self::ReissuanceWithTokens { .. }
            | Self::ReissuanceNonce { .. }
            | Self::ReissuanceTokenNotBlinded { .. }
            | Self::ReissuanceWithoutToken { .. }
            | Self::MissingIssuanceProof { .. }
            | Self::SuperfluousIssuanceProof { .. }
            | Self::IssuanceRangeProof { .. }
            | Self::MissingRangeProof { .. }
            | Self::SuperfluousRangeProof { .. }
            | Self::RangeProof { .. }
            | Self::RangeMinimum { .. }
            | Self::MissingSurjectionProof { .. }
            | Self::SuperfluousSurjectionProof { .. }
            | Self::SurjectionProof { .. }
            | Self::Unbalanced => "bad-txns-in-ne-out",
        })
    }

    /// What the refusal means for the future of the transaction.
    pub fn outlook(&self) -> Outlook {
        match self {
            Self::MissingInput { .. } => Outlook::MissingInput,
            Self::ImmatureCoinbase { .. }
            | Self::LockTime { .. }
            | Self::RelativeHeight { .. }
            | Self::RelativeTime { .. } => Outlook::NotYet,
            Self::AlreadyClaimed { .. } => Outlook::Conflict,
            Self::View(_) => Outlook::Unknown,
            _ => Outlook::Never,
        }
    }

    /// Whether an output that it spends is not known (yet, or any more).
    pub fn is_missing_input(&self) -> bool {
        self.outlook() == Outlook::MissingInput
    }
}
