//! What the wallets' service asks of the node, in plain types.
//!
//! Every method may wait for the disk; the service calls them where that is fine. Nothing here streams: whoever watches
//! something asks again whenever [`LedgerBackend::changes`] moves, and is told only of answers that differ. So a watch can
//! never miss a state that lasts, and a slow reader costs nothing.

use std::collections::BTreeMap;

use aquifer_assets::primitives::Transaction;
use aquifer_federation::valve::{Closure, NoticeKind};
use elements::{AssetId, BlockHash, OutPoint, Script, Txid};
use tokio::sync::watch;

use crate::audit::AuditorStatus;
use crate::index::IndexProgress;
use crate::opinion::OpinionStatus;

/// The ledger could not be read; nothing is thereby known about what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the ledger could not be read: {0}")]
pub struct BackendError(pub String);

/// A transaction was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// It breaks a rule, and always will.
    #[error("{0}")]
    Invalid(String),
    /// It does not fit at the moment: conflict, missing input, immature, fee too low, parent chain behind.
    #[error("{0}")]
    NotNow(String),
    /// It could not be judged.
    #[error(transparent)]
    Backend(#[from] BackendError),
}

/// Whether the treasury key has shown a member what it can.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyProof {
    /// In this transaction Bitcoin first showed it a signature of the key.
    Seen(bitcoin::Txid),
    /// Not yet: batches put a probe at most under it.
    Missing(MissingProof),
}

/// What the treasury key still lacks to be trusted with all change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MissingProof {
    /// Nothing lies under it.
    #[error("a peg-out that puts a probe under it")]
    Probe,
    /// No batch spends what lies under it.
    #[error("a peg-out that spends the {under_key_sat} sat under it, once Bitcoin has confirmed them")]
    Spend {
        /// What lies under it, in satoshi.
        under_key_sat: u64,
    },
    /// A batch that spends it is not confirmed.
    #[error("the key's signature in the batch {batch}, confirmed on Bitcoin")]
    Confirmation {
        /// The batch.
        batch: bitcoin::Txid,
    },
}

/// The chain, its tip and the health of this member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainInfo {
    /// Name of the chain.
    pub chain: String,
    /// Hash of its genesis block.
    pub genesis: BlockHash,
    /// The pegged asset.
    pub pegged_asset: AssetId,
    /// Height of the last final block, 0 for genesis.
    pub height: u32,
    /// Its hash.
    pub tip: BlockHash,
    /// The key that verifies certificates, 48 bytes.
    pub certificate_key: Vec<u8>,
    /// Name of this member.
    pub member: String,
    /// Transactions in its mempool.
    pub mempool_transactions: u32,
    /// Height of the parent chain; `None` while bitcoind is out of reach or still syncing.
    pub parent_height: Option<u32>,
    /// Why peg-ins and peg-outs wait; empty if they do not.
    pub parent_problem: String,
    /// What an operator must look at, oldest first.
    pub alarms: Vec<String>,
    /// Whether the treasury key has shown this member what it can.
    pub key_proof: KeyProof,
    /// The other members.
    pub peers: Vec<PeerState>,
    /// Lowest fee rate accepted, in satoshi per 1,000 discounted vbytes.
    pub min_fee_rate_sat_per_kvb: u64,
    /// Round of the height that is being decided.
    pub round: u32,
    /// Who else must be content before this member votes or signs.
    pub oversight: Oversight,
    /// How much leaves the treasury, and who has said halt.
    pub valve: ValveState,
    /// How far the index is that Electrum, Esplora and the pages stand on; `None` where it is switched off.
    pub index: Option<IndexProgress>,
}

/// The valve after the last final block.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ValveState {
    /// Why no peg-out is paid, if none is.
    pub closure: Option<Closure>,
    /// Why this member itself takes no part in batches, if it does not.
    pub own_halt: Option<String>,
    /// Every member, in the order of the roster.
    pub positions: Vec<MemberPosition>,
    /// What counts against the limit of the rolling window, in satoshi.
    pub counting_sat: u64,
    /// That limit, in satoshi.
    pub window_cap_sat: u64,
    /// Median time past of the last block, in seconds since 1970.
    pub time_seconds: u64,
    /// Peg-outs that wait, oldest first; the first ones, if there are many.
    pub waiting: Vec<Pegout>,
}

/// What a member has said of peg-outs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberPosition {
    /// Its name.
    pub name: String,
    /// What it holds, as the chain shows it.
    pub position: NoticeKind,
    /// Whether a notice of it waits for a block.
    pub changing: bool,
}

/// Who else must be content before this member votes or signs a peg-out batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Oversight {
    /// Auditors that must have passed the block of a batch; 0: batches are signed without an audit.
    pub auditors_required: u32,
    /// The auditors.
    pub auditors: Vec<AuditorStatus>,
    /// The member's elementsd, if it has one.
    pub elementsd: Option<ElementsdState>,
    /// Final batches that this member has not signed, by height, and what each waits for.
    pub waiting_batches: BTreeMap<u32, String>,
}

/// How it stands with the member's elementsd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ElementsdState {
    /// How far it follows, and what is wrong if something is.
    pub status: OpinionStatus,
    /// Whether the member votes and signs even if it does not agree.
    pub only_warns: bool,
}

/// Another member, as this one sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerState {
    /// Its name.
    pub name: String,
    /// Whether there is a connection to it.
    pub connected: bool,
    /// Its last final height as far as it told.
    pub height: u32,
}

/// A final block's header with everything that proves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedHeader {
    /// Height of the block.
    pub height: u32,
    /// Consensus encoding with the block-signing witness.
    pub header: Vec<u8>,
    /// Its certificate.
    pub certificate: Vec<u8>,
    /// The block's transactions.
    pub txids: Vec<Txid>,
    /// Size of the block in bytes.
    pub block_size: u32,
    /// Weight of the block in weight units.
    pub block_weight: u32,
}

/// A final block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedBlock {
    /// Height of the block.
    pub height: u32,
    /// Consensus encoding with the block-signing witness.
    pub block: Vec<u8>,
    /// Its certificate.
    pub certificate: Vec<u8>,
    /// The unsigned Bitcoin transaction that its coinbase commits to; empty if there is none.
    pub batch: Vec<u8>,
}

/// A transaction and, when it is final, where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvenTransaction {
    /// Consensus encoding with witness.
    pub transaction: Vec<u8>,
    /// `None` while it is in the mempool.
    pub proof: Option<MerkleProof>,
}

/// A branch of a block's transaction tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MerkleProof {
    /// Height of the block.
    pub height: u32,
    /// Position of the transaction in it.
    pub position: u32,
    /// Siblings from the leaf up.
    pub siblings: Vec<[u8; 32]>,
}

/// A transaction in the history of a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryEntry {
    /// The transaction.
    pub txid: Txid,
    /// Height and hash of its block; `None` while it is in the mempool.
    pub block: Option<(u32, BlockHash)>,
}

/// Where a transaction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionStatus {
    /// Neither in the mempool nor in a block.
    Unknown,
    /// In the mempool.
    Mempool,
    /// In a final block.
    Final {
        /// Its height.
        height: u32,
        /// Its hash.
        block: BlockHash,
    },
}

/// A deposit on the parent chain to the address of a watched claim script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deposit {
    /// The output that pays it.
    pub outpoint: bitcoin::OutPoint,
    /// Its amount in satoshi.
    pub amount_sat: u64,
    /// Confirmations on the parent chain, in blocks.
    pub confirmations: u32,
    /// Confirmations needed before it can be claimed, in blocks.
    pub needed_confirmations: u32,
    /// How far it is.
    pub state: DepositState,
}

/// How far a deposit is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DepositState {
    /// Not deep enough.
    Confirming,
    /// Deep enough: the claim can be made.
    Ready {
        /// The raw parent transaction without witness.
        transaction: Vec<u8>,
        /// The BIP 37 Merkle block that proves it.
        proof: Vec<u8>,
    },
    /// Claimed in a final block.
    Claimed {
        /// By this transaction.
        claim_txid: Txid,
    },
}

/// All that is known of the deposits to one claim script.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deposits {
    /// The deposits, oldest first.
    pub deposits: Vec<Deposit>,
    /// Why the parent chain is not followed at the moment; empty if it is.
    pub problem: String,
}

/// How far a peg-out is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PegoutState {
    /// In a final block, waiting for a batch.
    Requested,
    /// The batch that pays it stands in a final block.
    Batched,
    /// Enough members have signed the batch.
    Signed,
    /// Handed to the Bitcoin network.
    Broadcast,
    /// In a Bitcoin block.
    Confirmed,
    /// Can never be paid.
    Parked,
}

/// A peg-out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pegout {
    /// The output that requests it.
    pub request: OutPoint,
    /// How far it is.
    pub state: PegoutState,
    /// Why it waits, or why it can never be paid; empty otherwise.
    pub reason: String,
    /// Amount burned for it, in satoshi.
    pub amount_sat: u64,
    /// What the Bitcoin transaction costs it, in satoshi; 0 before it is batched.
    pub fee_sat: u64,
    /// Where the bitcoin goes.
    pub parent_script: bitcoin::ScriptBuf,
    /// Height of the block that requested it.
    pub requested_height: u32,
    /// The batch: height of its block and the Bitcoin transaction.
    pub batch: Option<(u32, bitcoin::Txid)>,
    /// Confirmations of the payment, in blocks.
    pub confirmations: u32,
    /// When it may be paid by estimate, in the chain's time, in seconds since 1970; `None` where nobody can say.
    pub expected_seconds: Option<u64>,
}

/// What is known of an asset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asset {
    /// The asset.
    pub asset: AssetId,
    /// Its issuance; `None` for the pegged asset.
    pub issuance: Option<Issuance>,
    /// Its supply.
    pub supply: AssetSupply,
}

/// The transaction input that made an asset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuance {
    /// Entropy in internal byte order.
    pub entropy: [u8; 32],
    /// The reissuance token.
    pub token: AssetId,
    /// Contract hash in internal byte order.
    pub contract_hash: [u8; 32],
    /// The issuing transaction.
    pub txid: Txid,
    /// Its input.
    pub vin: u32,
    /// Height of its block.
    pub height: u32,
}

/// The public part of an asset's supply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AssetSupply {
    /// The asset.
    pub asset: AssetId,
    /// Explicit issuances and, for the pegged asset, peg-ins.
    pub issued_sat: u64,
    /// Explicit burns and, for the pegged asset, peg-outs.
    pub removed_sat: u64,
    /// The part of `removed_sat` that is no peg-out.
    pub burned_sat: u64,
    /// Issuances whose amount is blinded.
    pub blinded_issuances: u32,
}

/// Supply of every asset and the reserve behind the pegged one, at one height.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Supply {
    /// The height.
    pub height: u32,
    /// Every asset.
    pub assets: Vec<AssetSupply>,
    /// What the federation holds.
    pub reserve: Reserve,
}

/// What the federation holds on the parent chain, as the chain tells it; in satoshi.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reserve {
    /// Peg-ins claimed.
    pub pegged_in_sat: u64,
    /// Peg-outs requested.
    pub pegged_out_sat: u64,
    /// Burned without a peg-out.
    pub burned_sat: u64,
    /// Deposits and change that the federation holds.
    pub coins_sat: u64,
    /// Number of those coins.
    pub coins: u32,
    /// Requested peg-outs that no batch has paid yet.
    pub pending_pegouts_sat: u64,
    /// Coins spent by batches that this member does not know to be buried on Bitcoin.
    pub in_flight_sat: u64,
    /// What the coins must cover.
    pub owed_sat: u64,
    /// Coins held less what is owed: 0 when all is well, negative when the reserve is short.
    pub difference_sat: i64,
}

/// What the wallets' service needs of the node. See the module's description.
pub trait LedgerBackend: Send + Sync + 'static {
    /// A counter that moves whenever anything a wallet can watch has changed: a new final block, the mempool, the parent
    /// chain, the state of a batch.
    fn changes(&self) -> watch::Receiver<u64>;
    /// The chain, its tip and the health of this member.
    fn info(&self) -> Result<ChainInfo, BackendError>;
    /// Height of the last final block.
    fn height(&self) -> Result<u32, BackendError>;
    /// Verifies a transaction in full, adds it to the mempool and passes it on. One that is there already is no error.
    fn submit(&self, transaction: Transaction) -> Result<Txid, SubmitError>;
    /// The header of a final block; `None` above the tip.
    fn header(&self, height: u32) -> Result<Option<SignedHeader>, BackendError>;
    /// A final block; `None` above the tip.
    fn block(&self, height: u32) -> Result<Option<SignedBlock>, BackendError>;
    /// A transaction of a final block or the mempool.
    fn transaction(&self, txid: &Txid) -> Result<Option<ProvenTransaction>, BackendError>;
    /// The transactions that pay a script or spend from it: final ones by height, then those of the mempool.
    fn history(&self, script: &Script) -> Result<Vec<HistoryEntry>, BackendError>;
    /// Where a transaction is.
    fn transaction_status(&self, txid: &Txid) -> Result<TransactionStatus, BackendError>;
    /// Watches the parent chain for deposits to a claim script. Earlier ones are found a while later; the one that
    /// `parent_txid` names, at once.
    fn watch_deposits(&self, claim_script: &Script, parent_txid: Option<bitcoin::Txid>) -> Result<(), BackendError>;
    /// The deposits to a watched claim script.
    fn deposits(&self, claim_script: &Script) -> Result<Deposits, BackendError>;
    /// A peg-out by the output that requests it; `None` if that is in no final block.
    fn pegout(&self, request: &OutPoint) -> Result<Option<Pegout>, BackendError>;
    /// Peg-outs, newest first, at most `limit`.
    fn pegouts(&self, limit: u32) -> Result<Vec<Pegout>, BackendError>;
    /// What is known of an asset.
    fn asset(&self, asset: &AssetId) -> Result<Option<Asset>, BackendError>;
    /// Supply and reserve.
    fn supply(&self) -> Result<Supply, BackendError>;
}
