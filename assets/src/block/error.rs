//! Why a block is refused.

use elements::{AssetId, BlockHash, TxMerkleNode, Txid};

use super::ProposalError;
use crate::peg::PakError;
use crate::primitives::Inexpressible;
use crate::script::ScriptError;
use crate::state::ViewError;
use crate::transaction::TxError;

/// A rule that a block breaks. Each variant is one rule, with a stable [name](BlockError::name); where Elements has a reject
/// reason for it, [`BlockError::elements_reason`] gives it:
///
/// | name | Elements |
/// |---|---|
/// | `view` | - |
/// | `not-dynafed` | `invalid-dyna-fed` |
/// | `version` | `bad-version(…)` |
/// | `previous-block` | `prev-blk-not-found` |
/// | `height` | `bad-header-height` |
/// | `time-too-old` | `time-too-old` |
/// | `time-too-new` | `time-too-new` |
/// | `dynafed-current` | `invalid-dyna-fed` |
/// | `dynafed-proposal` | `invalid-dyna-fed` |
/// | `proposal-not-agreed` | - |
/// | `weight` | `bad-blk-weight` |
/// | `sigops` | `bad-blk-sigops` |
/// | `merkle-root` | `bad-txnmrklroot` |
/// | `merkle-mutated` | `bad-txns-duplicate` |
/// | `witness-commitment` | `bad-witness-merkle-match` |
/// | `witness-commitment-missing` | `unexpected-witness` |
/// | `coinbase-missing` | `bad-cb-missing` |
/// | `coinbase-second` | `bad-cb-multiple` |
/// | `coinbase-height` | `bad-cb-height` |
/// | `coinbase-issuance` | - |
/// | `coinbase-pegin` | `bad-cb-witness` |
/// | `coinbase-input-witness` | `bad-cb-witness` |
/// | `coinbase-output-witness` | `bad-cb-amount` |
/// | `coinbase-fee` | `bad-cb-fee` |
/// | `coinbase-confidential` | `bad-cb-amount` |
/// | `coinbase-zero` | `bad-cb-amount` |
/// | `coinbase-empty` | `bad-txns-vout-empty` |
/// | `coinbase-total` | `bad-txns-txouttotal-toolarge` |
/// | `coinbase-lock-time` | `bad-txns-nonfinal` |
/// | `coinbase-destination` | `bad-coinbase-txos` |
/// | `coinbase-pak` | `bad-pak-tx` |
/// | `coinbase-pegout` | - |
/// | `coinbase-unreadable` | - |
/// | `coinbase-amount` | `bad-cb-amount` |
/// | `duplicate-transaction` | `bad-txns-BIP30` |
/// | `transaction` | that of the transaction |
/// | `fee-range` | `bad-block-total-fee-outofrange` |
/// | `reward-range` | `bad-blockreward-outofrange` |
/// | `unsigned` | `block-proof-invalid` |
/// | `signature-size` | `block-proof-invalid` |
/// | `signature-script` | `block-proof-invalid` |
/// | `signature-count` | `block-proof-invalid` |
/// | `signature-dummy` | `block-proof-invalid` |
/// | `signature-encoding` | `block-proof-invalid` |
/// | `signature-sighash` | `block-proof-invalid` |
/// | `signature-high-s` | `block-proof-invalid` |
/// | `signature-order` | `block-proof-invalid` |
/// | `signature-invalid` | `block-proof-invalid` |
/// | `signature-witness` | `block-proof-invalid` |
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// The state could not be read: the block is neither valid nor invalid.
    #[error(transparent)]
    View(#[from] ViewError),
    /// A header in the form before dynamic federations.
    #[error("the header is not a dynafed header")]
    NotDynafed,
    /// A version below 4, or one with a bit that Elements reserves in dynafed headers (23 to 26).
    #[error("block version {0:#010x} is not allowed: below 4, or one of bits 23 to 26 is set")]
    Version(u32),
    /// Not on the tip.
    #[error("the block follows {found}, but the tip is {expected}")]
    PreviousBlock {
        /// Previous block of the header.
        found: BlockHash,
        /// Hash of the tip.
        expected: BlockHash,
    },
    /// The height field is wrong.
    #[error("the header says height {found}, but the block is at height {expected}")]
    Height {
        /// Height in the header.
        found: u32,
        /// Height of the tip plus one.
        expected: u32,
    },
    /// Not later than the median of the last eleven blocks.
    #[error("block time {time} is not after the median time past {median_time_past}")]
    TimeTooOld {
        /// Time of the header, in seconds since 1970.
        time: u32,
        /// Median time past of the tip, in seconds since 1970.
        median_time_past: u32,
    },
    /// More than two hours ahead of the clock.
    #[error("block time {time} is more than two hours after the present {now}")]
    TimeTooNew {
        /// Time of the header, in seconds since 1970.
        time: u32,
        /// The clock, in seconds since 1970.
        now: u32,
    },
    /// The dynafed parameters are not those in force, or not in the form that the height asks for.
    #[error("the dynafed entry of the header at height {height} is not the expected one")]
    DynafedCurrent {
        /// Height of the block.
        height: u32,
    },
    /// A vote for parameters that may not be.
    #[error("the header at height {height} proposes parameters that may not be: {source}")]
    DynafedProposal {
        /// Height of the block.
        height: u32,
        /// The rule.
        source: ProposalError,
    },
    /// A vote for new parameters. Elements allows it; this federation has not agreed to any.
    #[error("the header at height {height} proposes parameters that the federation has not agreed to")]
    ProposalNotAgreed {
        /// Height of the block.
        height: u32,
    },
    /// Too heavy.
    #[error("the block weighs {weight}, more than {}", super::MAX_BLOCK_WEIGHT)]
    Weight {
        /// Its weight.
        weight: u64,
    },
    /// Too many signature operations.
    #[error("the block's signature operations cost {cost}, more than {}", super::MAX_BLOCK_SIGOPS_COST)]
    Sigops {
        /// Cost up to the transaction that broke the limit.
        cost: u64,
    },
    /// The header does not commit to the transactions.
    #[error("the Merkle root is {found}, but the transactions have {expected}")]
    MerkleRoot {
        /// Root in the header.
        found: TxMerkleNode,
        /// Root of the transactions.
        expected: TxMerkleNode,
    },
    /// Two equal sibling nodes: the list of transactions is one with its end repeated (CVE-2012-2459).
    #[error("the Merkle tree has two equal sibling nodes: transactions are repeated")]
    MerkleMutated,
    /// The commitment to the witnesses is wrong.
    #[error("the witness commitment is wrong: expected {}", hex::encode(.expected))]
    WitnessCommitment {
        /// What the coinbase has to commit to.
        expected: [u8; 32],
    },
    /// There are witnesses, but the coinbase commits to none.
    #[error("the block has witnesses but no witness commitment")]
    WitnessCommitmentMissing,
    /// The first transaction is no coinbase, or there is none at all.
    #[error("the first transaction is not a coinbase")]
    CoinbaseMissing,
    /// A coinbase that is not first.
    #[error("transaction {position} is a second coinbase")]
    CoinbaseSecond {
        /// Position in the block.
        position: usize,
    },
    /// The coinbase's script does not begin with the height, or is not 2 to 100 bytes long.
    #[error("the coinbase script {script} does not begin with height {height}, or is not 2 to 100 bytes long")]
    CoinbaseHeight {
        /// The script, in hex.
        script: elements::Script,
        /// Height of the block.
        height: u32,
    },
    /// The coinbase carries an issuance.
    #[error("the coinbase issues an asset")]
    CoinbaseIssuance,
    /// The coinbase carries a peg-in.
    #[error("the coinbase has a peg-in")]
    CoinbasePegin,
    /// The coinbase's input carries something else than the 32-byte nonce of the witness commitment.
    #[error("the coinbase input's witness is not the nonce of the witness commitment")]
    CoinbaseInputWitness,
    /// A coinbase output with proofs.
    #[error("coinbase output {vout} has a witness")]
    CoinbaseOutputWitness {
        /// The output.
        vout: usize,
    },
    /// A coinbase output without a script, which would be a fee.
    #[error("coinbase output {vout} is a fee")]
    CoinbaseFee {
        /// The output.
        vout: usize,
    },
    /// A coinbase output whose asset or amount is hidden or missing.
    #[error("coinbase output {vout} is not explicit")]
    CoinbaseConfidential {
        /// The output.
        vout: usize,
    },
    /// A coinbase output of nothing that could be spent.
    #[error("coinbase output {vout} is spendable but has no value")]
    CoinbaseZero {
        /// The output.
        vout: usize,
    },
    /// A coinbase without outputs.
    #[error("the coinbase has no output")]
    CoinbaseEmpty,
    /// More than there may be, over all assets together.
    #[error("the coinbase's outputs add up to {total}, more than 21 million coins")]
    CoinbaseTotal {
        /// The sum, in the assets' smallest units.
        total: u64,
    },
    /// A lock time that is not reached.
    #[error("the coinbase has the lock time {lock_time}, which is not reached")]
    CoinbaseLockTime {
        /// The lock time.
        lock_time: u32,
    },
    /// The policy asset may be paid to one script only.
    #[error("coinbase output {vout} pays the policy asset elsewhere than to the mandatory script")]
    CoinbaseDestination {
        /// The output.
        vout: usize,
    },
    /// A peg-out of the coinbase that is not authorized.
    #[error("coinbase output {vout} is a peg-out that is not authorized: {source}")]
    CoinbasePak {
        /// The output.
        vout: usize,
        /// What it lacks.
        source: PakError,
    },
    /// The coinbase asks for a peg-out. Elements allows it; this federation does not sign it, since peg-outs have
    /// requesters.
    #[error("coinbase output {vout} is a peg-out")]
    CoinbasePegout {
        /// The output.
        vout: usize,
    },
    /// The coinbase has what the `elements` crate cannot read, and with it most wallets: the block would be unreadable for
    /// them. Elements allows it.
    #[error("common libraries cannot read the coinbase: {0}")]
    CoinbaseUnreadable(Inexpressible),
    /// The coinbase takes more than was paid.
    #[error("the coinbase takes {taken} of asset {asset}, but the fees and the subsidy are {available}")]
    CoinbaseAmount {
        /// The asset.
        asset: AssetId,
        /// Taken, in the asset's smallest unit. At most the largest number, if the sum is larger.
        taken: u64,
        /// Paid by the block's transactions, and the subsidy.
        available: u64,
    },
    /// The transaction exists already and has unspent outputs (BIP 30).
    #[error("transaction {0} repeats one that has unspent outputs")]
    DuplicateTransaction(Txid),
    /// A transaction breaks a rule.
    #[error("transaction {txid} at position {position}: {source}")]
    Transaction {
        /// Position in the block.
        position: usize,
        /// The transaction.
        txid: Txid,
        /// The rule.
        source: Box<TxError>,
    },
    /// The block's fees in one asset are more than there can be.
    #[error("the fees in asset {asset} add up to {total}, more than 21 million coins")]
    FeeRange {
        /// The asset.
        asset: AssetId,
        /// The sum, in the asset's smallest unit.
        total: u64,
    },
    /// Fees and subsidy together are more than there can be.
    #[error("the fees in asset {asset} and the subsidy add up to {total}, more than 21 million coins")]
    RewardRange {
        /// The asset.
        asset: AssetId,
        /// The sum, in the asset's smallest unit.
        total: u64,
    },
    /// No signatures at all.
    #[error("the header is not signed")]
    Unsigned,
    /// The witness is larger than the parameters allow.
    #[error("the header's witness has {size} bytes, more than {limit}")]
    SignatureSize {
        /// Its size, in bytes.
        size: usize,
        /// The limit, in bytes.
        limit: u32,
    },
    /// The witness ends with another script.
    #[error("the header's witness does not end with the signblock script")]
    SignatureScript,
    /// Too few signatures, or more items than are needed.
    #[error("the header has {found} signatures where exactly {needed} are needed")]
    SignatureCount {
        /// Items in the place of signatures.
        found: usize,
        /// The threshold.
        needed: usize,
    },
    /// The item that `OP_CHECKMULTISIG` takes too many must be empty.
    #[error("the first item of the header's witness is not empty")]
    SignatureDummy,
    /// Not strict DER.
    #[error("header signature {position} is not a DER signature with its sighash byte")]
    SignatureEncoding {
        /// Position among the signatures.
        position: usize,
    },
    /// A sighash byte other than ALL.
    #[error("header signature {position} ends with sighash byte {found:#04x} instead of 0x01")]
    SignatureSighash {
        /// Position among the signatures.
        position: usize,
        /// The byte.
        found: u8,
    },
    /// The larger of the two possible S values.
    #[error("header signature {position} has a high S value")]
    SignatureHighS {
        /// Position among the signatures.
        position: usize,
    },
    /// By a block key, but not in the order of the keys, or twice by one.
    #[error("header signature {position} is not in the order of the block keys")]
    SignatureOrder {
        /// Position among the signatures.
        position: usize,
    },
    /// By none of the block keys.
    #[error("header signature {position} is not by a block key over this block")]
    SignatureInvalid {
        /// Position among the signatures.
        position: usize,
    },
    /// The block signing script is not satisfied.
    #[error("the header's witness does not satisfy the block signing script: {0}")]
    SignatureWitness(ScriptError),
}

impl BlockError {
    /// A stable name in kebab case, for interfaces and statistics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::View(_) => "view",
            Self::NotDynafed => "not-dynafed",
            Self::Version(_) => "version",
            Self::PreviousBlock { .. } => "previous-block",
            Self::Height { .. } => "height",
            Self::TimeTooOld { .. } => "time-too-old",
            Self::TimeTooNew { .. } => "time-too-new",
            Self::DynafedCurrent { .. } => "dynafed-current",
            Self::DynafedProposal { .. } => "dynafed-proposal",
            Self::ProposalNotAgreed { .. } => "proposal-not-agreed",
            Self::Weight { .. } => "weight",
            Self::Sigops { .. } => "sigops",
            Self::MerkleRoot { .. } => "merkle-root",
            Self::MerkleMutated => "merkle-mutated",
            Self::WitnessCommitment { .. } => "witness-commitment",
            Self::WitnessCommitmentMissing => "witness-commitment-missing",
            Self::CoinbaseMissing => "coinbase-missing",
            Self::CoinbaseSecond { .. } => "coinbase-second",
            Self::CoinbaseHeight { .. } => "coinbase-height",
            Self::CoinbaseIssuance => "coinbase-issuance",
            Self::CoinbasePegin => "coinbase-pegin",
            Self::CoinbaseInputWitness => "coinbase-input-witness",
            Self::CoinbaseOutputWitness { .. } => "coinbase-output-witness",
            Self::CoinbaseFee { .. } => "coinbase-fee",
            Self::CoinbaseConfidential { .. } => "coinbase-confidential",
            Self::CoinbaseZero { .. } => "coinbase-zero",
            Self::CoinbaseEmpty => "coinbase-empty",
            Self::CoinbaseTotal { .. } => "coinbase-total",
            Self::CoinbaseLockTime { .. } => "coinbase-lock-time",
            Self::CoinbaseDestination { .. } => "coinbase-destination",
            Self::CoinbasePak { .. } => "coinbase-pak",
            Self::CoinbasePegout { .. } => "coinbase-pegout",
            Self::CoinbaseUnreadable(_) => "coinbase-unreadable",
            Self::CoinbaseAmount { .. } => "coinbase-amount",
            Self::DuplicateTransaction(_) => "duplicate-transaction",
            Self::Transaction { .. } => "transaction",
            Self::FeeRange { .. } => "fee-range",
            Self::RewardRange { .. } => "reward-range",
            Self::Unsigned => "unsigned",
            Self::SignatureSize { .. } => "signature-size",
            Self::SignatureScript => "signature-script",
            Self::SignatureCount { .. } => "signature-count",
            Self::SignatureDummy => "signature-dummy",
            Self::SignatureEncoding { .. } => "signature-encoding",
            Self::SignatureSighash { .. } => "signature-sighash",
            Self::SignatureHighS { .. } => "signature-high-s",
            Self::SignatureOrder { .. } => "signature-order",
            Self::SignatureInvalid { .. } => "signature-invalid",
            Self::SignatureWitness(_) => "signature-witness",
        }
    }

    /// What Elements calls the same refusal, if it has a reject reason for it. A wrong version it names with its number,
    /// and the parts of a transaction's check it may name differently when it runs them side by side.
    pub fn elements_reason(&self) -> Option<&'static str> {
        Some(match self {
            Self::Transaction { source, .. } => return source.elements_reason(),
            Self::NotDynafed | Self::DynafedCurrent { .. } | Self::DynafedProposal { .. } => "invalid-dyna-fed",
            Self::PreviousBlock { .. } => "prev-blk-not-found",
            Self::Height { .. } => "bad-header-height",
            Self::TimeTooOld { .. } => "time-too-old",
            Self::TimeTooNew { .. } => "time-too-new",
            Self::Weight { .. } => "bad-blk-weight",
            Self::Sigops { .. } => "bad-blk-sigops",
            Self::MerkleRoot { .. } => "bad-txnmrklroot",
            Self::MerkleMutated => "bad-txns-duplicate",
            Self::WitnessCommitment { .. } => "bad-witness-merkle-match",
            Self::WitnessCommitmentMissing => "unexpected-witness",
            Self::CoinbaseMissing => "bad-cb-missing",
            Self::CoinbaseSecond { .. } => "bad-cb-multiple",
            Self::CoinbaseHeight { .. } => "bad-cb-height",
            Self::CoinbasePegin | Self::CoinbaseInputWitness => "bad-cb-witness",
            Self::CoinbaseOutputWitness { .. }
            | Self::CoinbaseConfidential { .. }
            | Self::CoinbaseZero { .. }
            | Self::CoinbaseAmount { .. } => "bad-cb-amount",
            Self::CoinbaseFee { .. } => "bad-cb-fee",
            Self::CoinbaseEmpty => "bad-txns-vout-empty",
            Self::CoinbaseTotal { .. } => "bad-txns-txouttotal-toolarge",
            Self::CoinbaseLockTime { .. } => "bad-txns-nonfinal",
            Self::CoinbaseDestination { .. } => "bad-coinbase-txos",
            Self::CoinbasePak { .. } => "bad-pak-tx",
            Self::DuplicateTransaction(_) => "bad-txns-BIP30",
            Self::FeeRange { .. } => "bad-block-total-fee-outofrange",
            Self::RewardRange { .. } => "bad-blockreward-outofrange",
            Self::Unsigned
            | Self::SignatureSize { .. }
            | Self::SignatureScript
            | Self::SignatureCount { .. }
            | Self::SignatureDummy
            | Self::SignatureEncoding { .. }
            | Self::SignatureSighash { .. }
            | Self::SignatureHighS { .. }
            | Self::SignatureOrder { .. }
            | Self::SignatureInvalid { .. }
            | Self::SignatureWitness(_) => "block-proof-invalid",
            Self::View(_)
            | Self::Version(_)
            | Self::ProposalNotAgreed { .. }
            | Self::CoinbaseIssuance
            | Self::CoinbasePegout { .. }
            | Self::CoinbaseUnreadable(_) => return None,
        })
    }
}
