//! Why a peg-in, or the script of one, is refused.

use elements::AssetId;

/// A rule of the peg that is broken. Each variant is one rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PegError {
    /// There is no such input, or it does not claim a deposit.
    #[error("input {0} is not a peg-in")]
    NotPegin(usize),
    /// The input claims a deposit and shows nothing of it.
    #[error("the peg-in has no peg-in witness")]
    WitnessMissing,
    /// The witness is none of a peg-in, or cannot be put together.
    #[error("this makes no peg-in witness: {0}")]
    WitnessMalformed(String),
    /// A value that no deposit can have.
    #[error("the peg-in claims {0} satoshi, which is zero or more than there can be")]
    Value(u64),
    /// The claim is for another asset than the pegged one.
    #[error("the peg-in claims asset {0}, which is not the pegged asset")]
    Asset(AssetId),
    /// The deposit is on another parent chain.
    #[error("the peg-in comes from the chain with genesis {0}, which is not the parent chain")]
    ParentGenesis(bitcoin::BlockHash),
    /// A claim script beyond the limit.
    #[error("the claim script has {0} bytes, more than {max}", max = super::pegin::MAX_CLAIM_SCRIPT_SIZE)]
    ClaimScriptSize(usize),
    /// The parent transaction cannot be read, or has bytes left over.
    #[error("the parent transaction is not exactly one transaction: {0}")]
    Transaction(String),
    /// The parent transaction carries a witness, which its id does not commit to. Elements accepts it; members do not sign
    /// it.
    #[error("the parent transaction carries a witness")]
    TransactionWitness,
    /// The parent transaction is not the one whose output is claimed.
    #[error("the parent transaction is {found}, but the claim is for an output of {claimed}")]
    TransactionId {
        /// Id of the transaction in the witness.
        found: bitcoin::Txid,
        /// Id of the claimed output.
        claimed: bitcoin::Txid,
    },
    /// The proof of inclusion cannot be read.
    #[error("the proof of inclusion is malformed: {0}")]
    ProofMalformed(String),
    /// The proof does not lead to the Merkle root of its header.
    #[error("the proof of inclusion does not lead to its block's Merkle root: {0}")]
    ProofInvalid(String),
    /// The proof must speak of one transaction.
    #[error("the proof of inclusion matches {0} transactions instead of one")]
    ProofMatches(usize),
    /// The proof is of another transaction.
    #[error("the proof is of transaction {found}, but the claim is for an output of {claimed}")]
    ProofTransaction {
        /// Id in the proof.
        found: bitcoin::Txid,
        /// Id of the claimed output.
        claimed: bitcoin::Txid,
    },
    /// The parent header's target is malformed or easier than allowed.
    #[error("parent block {0} has a target that is malformed or easier than the parent chain allows")]
    ParentTarget(bitcoin::BlockHash),
    /// The parent header has not the work its target asks for.
    #[error("parent block {0} does not have the proof of work its target asks for")]
    ParentWork(bitcoin::BlockHash),
    /// The parent transaction has no such output.
    #[error("the parent transaction has no output {0}")]
    Output(u32),
    /// The deposit does not pay the federation for this claim script.
    #[error("the deposit pays {0:x}, which is no federation script for the claim script that is valid now")]
    Destination(bitcoin::ScriptBuf),
    /// The claim is not exactly the deposit.
    #[error("the peg-in claims {claimed_sat} satoshi of a deposit of {deposit_sat}")]
    Amount {
        /// Claimed, in satoshi.
        claimed_sat: u64,
        /// Deposited, in satoshi.
        deposit_sat: u64,
    },
    /// The federation script cannot be tweaked.
    #[error("the federation script is not one whose keys can be tweaked")]
    FedpegScript,
    /// A key whose tweak leads to no key: one in 2^128, or an invalid key.
    #[error("key {0} of the federation script cannot be tweaked")]
    Tweak(String),
    /// The script has no address.
    #[error("the deposit script has no address: {0}")]
    Address(String),
}

impl PegError {
    /// A stable name in kebab case, for interfaces and statistics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::NotPegin(_) => "not-a-pegin",
            Self::WitnessMissing => "pegin-witness-missing",
            Self::WitnessMalformed(_) => "pegin-witness-malformed",
            Self::Value(_) => "pegin-value",
            Self::Asset(_) => "pegin-asset",
            Self::ParentGenesis(_) => "pegin-parent-genesis",
            Self::ClaimScriptSize(_) => "pegin-claim-script-size",
            Self::Transaction(_) => "pegin-transaction",
            Self::TransactionWitness => "pegin-transaction-witness",
            Self::TransactionId { .. } => "pegin-transaction-id",
            Self::ProofMalformed(_) => "pegin-proof-malformed",
            Self::ProofInvalid(_) => "pegin-proof-invalid",
            Self::ProofMatches(_) => "pegin-proof-matches",
            Self::ProofTransaction { .. } => "pegin-proof-transaction",
            Self::ParentTarget(_) => "pegin-parent-target",
            Self::ParentWork(_) => "pegin-parent-work",
            Self::Output(_) => "pegin-output",
            Self::Destination(_) => "pegin-destination",
            Self::Amount { .. } => "pegin-amount",
            Self::FedpegScript => "fedpeg-script",
            Self::Tweak(_) => "fedpeg-tweak",
            Self::Address(_) => "deposit-address",
        }
    }
}
