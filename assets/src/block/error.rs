//! Why a block is refused.

use elements::{AssetId, BlockHash, TxMerkleNode, Txid};

use crate::state::ViewError;
use crate::transaction::TxError;

/// A rule that a block breaks. Each variant is one rule.
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
    /// A vote for new parameters. This version accepts none.
    #[error("the header at height {height} proposes new dynafed parameters, which this version does not accept")]
    DynafedProposal {
        /// Height of the block.
        height: u32,
    },
    /// Too heavy, by the stricter count.
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
    /// A lock time in force.
    #[error("the coinbase has a lock time")]
    CoinbaseLockTime,
    /// The coinbase asks for a peg-out. Elements allows it; this federation does not sign it, since peg-outs have
    /// requesters.
    #[error("coinbase output {vout} is a peg-out")]
    CoinbasePegout {
        /// The output.
        vout: usize,
    },
    /// The coinbase takes more than was paid.
    #[error("the coinbase takes {taken} of asset {asset}, but the fees are {fees}")]
    CoinbaseAmount {
        /// The asset.
        asset: AssetId,
        /// Taken, in the asset's smallest unit. At most the largest number, if the sum is larger.
        taken: u64,
        /// Paid by the block's transactions.
        fees: u64,
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
    /// The block's fees in one asset do not fit into an amount.
    #[error("the fees in asset {0} exceed the largest amount")]
    FeeOverflow(AssetId),
    /// The signblock script of the parameters is no bare multisig.
    #[error("the signblock script of the chain parameters is not a bare multisig")]
    SignblockScriptUnsupported,
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
}
