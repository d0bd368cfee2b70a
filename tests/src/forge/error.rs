//! Why something could not be made.

use aquifer_assets::peg::PegError;
use aquifer_functionary::chain::body::BodyError;
use aquifer_functionary::store::StoreError;

/// Something that the maker was asked for cannot be made, or its chain does not work.
#[derive(Debug, thiserror::Error)]
pub enum ForgeError {
    /// There is no such proof, key or commitment: a range too small for its amount, an asset among no inputs.
    #[error("no such proof: {0}")]
    Proof(#[from] secp256k1_zkp::Error),
    /// No deposit to such a script.
    #[error("{0}")]
    Peg(#[from] PegError),
    /// The ledger cannot be read or written.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The block cannot be sent.
    #[error("{0}")]
    Body(#[from] BodyError),
    /// The temporary folder cannot be made.
    #[error("{0}")]
    Folder(#[from] std::io::Error),
    /// No federation came of the ceremony.
    #[error("the ceremony: {0}")]
    Ceremony(String),
    /// The rules refuse what should extend the chain.
    #[error("the block at height {height} is refused: {reason}")]
    Refused {
        /// Its height.
        height: u32,
        /// What the judge says.
        reason: String,
    },
    /// Signatures that should complete a block do not.
    #[error("the block at height {height} cannot be sealed: {reason}")]
    Seal {
        /// Its height.
        height: u32,
        /// What is missing.
        reason: String,
    },
    /// An output that the transaction does not have, or whose secrets nobody here knows.
    #[error("there is no output {0} that could be spent")]
    NoOutput(usize),
}
