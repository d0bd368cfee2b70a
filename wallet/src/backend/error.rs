//! What can go wrong between a wallet and a server, each with the server's name.

use aquifer_assets::block::CertificateError;
use elements::{BlockHash, Txid};

use crate::store::StoreError;

/// A question to the chain has no believable answer.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// The network file names no server.
    #[error("the network file names no server; ask the federation for a newer network.json")]
    NoServers,
    /// The server asked for by name is not in the network file.
    #[error("the network file names no server `{name}`; it names {}", .known.join(", "))]
    UnknownServer {
        /// The name asked for.
        name: String,
        /// The names there are.
        known: Vec<String>,
    },
    /// No server can be reached.
    #[error("no server of the federation can be reached ({}); check the network and try again", tried(.0))]
    AllDown(Vec<(String, String)>),
    /// The runtime for network calls cannot be started.
    #[error("the network runtime cannot be started: {0}")]
    Runtime(std::io::Error),
    /// The server said no.
    #[error("{server} refused: {message}")]
    Refused {
        /// Which server.
        server: String,
        /// The gRPC status code.
        code: tonic::Code,
        /// Its words.
        message: String,
    },
    /// The answer does not decode.
    #[error("{server} sent {what} that does not decode: {reason}; use another server with --server")]
    Malformed {
        /// Which server.
        server: String,
        /// What it should be.
        what: &'static str,
        /// Why it is not.
        reason: String,
    },
    /// The server runs another chain.
    #[error("{server} runs the chain with genesis block {got}, not {expected}; check the network file")]
    OtherChain {
        /// Which server.
        server: String,
        /// Ours.
        expected: BlockHash,
        /// Its own.
        got: String,
    },
    /// A header whose certificate does not verify.
    #[error(
        "{server} sent a header for height {height} that the federation did not certify ({source}); do not use this server"
    )]
    Certificate {
        /// Which server.
        server: String,
        /// Height asked for.
        height: u32,
        /// Why the certificate does not hold.
        source: CertificateError,
    },
    /// A header of another height than asked for.
    #[error("{server} sent the header of height {got} instead of {asked}; do not use this server")]
    WrongHeight {
        /// Which server.
        server: String,
        /// Height asked for.
        asked: u32,
        /// Height sent.
        got: u32,
    },
    /// Another genesis block than ours.
    #[error("{server} sent {got} as the genesis block; do not use this server")]
    WrongGenesis {
        /// Which server.
        server: String,
        /// Hash of what it sent.
        got: BlockHash,
    },
    /// Two certified headers at one height.
    #[error(
        "two different blocks are certified at height {height}: {had} and {now} (from {server}). The federation has signed twice: stop using the chain and tell others"
    )]
    Fork {
        /// Which server showed the second one.
        server: String,
        /// Height of both.
        height: u32,
        /// Seen first.
        had: BlockHash,
        /// Seen now.
        now: BlockHash,
    },
    /// Another transaction than asked for.
    #[error("{server} sent transaction {got} instead of {asked}; do not use this server")]
    ForeignTransaction {
        /// Which server.
        server: String,
        /// The one asked for.
        asked: Txid,
        /// The one sent.
        got: Txid,
    },
    /// A transaction said to be final, without a proof.
    #[error("{server} says that {txid} is final at height {height} and does not prove it; do not use this server")]
    MissingProof {
        /// Which server.
        server: String,
        /// The transaction.
        txid: Txid,
        /// The height claimed.
        height: u32,
    },
    /// A Merkle branch that does not lead to the header.
    #[error("{server} sent a false proof that {txid} is in block {height}; do not use this server")]
    WrongBranch {
        /// Which server.
        server: String,
        /// The transaction.
        txid: Txid,
        /// The height claimed.
        height: u32,
    },
    /// A transaction at another height than claimed before.
    #[error("{server} places {txid} at height {claimed}, but it is proven at {proven}; do not use this server")]
    WrongPlace {
        /// Which server.
        server: String,
        /// The transaction.
        txid: Txid,
        /// The height claimed.
        claimed: u32,
        /// The height proven.
        proven: u32,
    },
    /// A history that names another block than the certified one.
    #[error(
        "{server} names block {claimed} for {txid} at height {height}, where {certified} is certified; do not use this server"
    )]
    WrongBlock {
        /// Which server.
        server: String,
        /// The transaction.
        txid: Txid,
        /// The height claimed.
        height: u32,
        /// The block claimed.
        claimed: Box<str>,
        /// The certified one.
        certified: BlockHash,
    },
    /// A transaction whose witness is not the one that was proven valid.
    #[error("{server} sent {txid} with a damaged proof in output {vout}; do not use this server")]
    DamagedWitness {
        /// Which server.
        server: String,
        /// The transaction.
        txid: Txid,
        /// The output whose range proof does not verify.
        vout: u32,
    },
    /// A block whose transactions are not those of its header.
    #[error("{server} sent block {height} with other transactions than its header commits to; do not use this server")]
    WrongBlockBody {
        /// Which server.
        server: String,
        /// The height.
        height: u32,
    },
    /// The server is behind what the wallet has verified.
    #[error(
        "{server} is at height {now}, but the wallet has seen height {had} verified; use another server with --server or wait until it has caught up"
    )]
    TipWentBack {
        /// Which server.
        server: String,
        /// Highest verified height.
        had: u32,
        /// Its own.
        now: u32,
    },
    /// A history that leaves out a transaction it had before.
    #[error("{server} leaves out {txid}, which is final and belongs to this wallet; do not use this server")]
    HistoryShrank {
        /// Which server.
        server: String,
        /// The transaction.
        txid: Txid,
    },
    /// Fewer or more answers than questions.
    #[error("{server} answered {got} of {asked} {what}; use another server with --server")]
    Truncated {
        /// Which server.
        server: String,
        /// What was asked for.
        what: &'static str,
        /// Number asked for.
        asked: usize,
        /// Number answered.
        got: usize,
    },
    /// It takes too long.
    #[error(
        "{txid} is handed in but not final after {seconds} s; `aquifer tx {txid}` shows when it is. Do not send it again"
    )]
    NotFinalInTime {
        /// The transaction.
        txid: Txid,
        /// How long the wallet waited.
        seconds: u64,
    },
    /// The cache cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// LWK cannot use what was verified.
    #[error("the wallet library failed: {0}")]
    Lwk(String),
}

fn tried(servers: &[(String, String)]) -> String {
    servers.iter().map(|(server, reason)| format!("{server}: {reason}")).collect::<Vec<_>>().join("; ")
}
