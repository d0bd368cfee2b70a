//! Which chain a wallet belongs to: the federation's `network.json` and what LWK must know of it.

use std::path::{Path, PathBuf};

use aquifer_assets::chain::{Network as NetworkFile, NetworkError};
use elements::{AssetId, BlockHash};
use lwk_common::ElementsParamsBuilder;

/// A federation's chain, read from its network file and checked.
#[derive(Clone, Debug)]
pub struct Chain {
    file: NetworkFile,
    lwk: lwk_common::Network,
    genesis: BlockHash,
    pegged_asset: AssetId,
    parent: bitcoin::Network,
}

/// The network file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// It cannot be read.
    #[error("the network file {path} cannot be read: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is not the JSON of a network file.
    #[error("{path} is not a network file ({source}); ask the federation for its network.json")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
    /// Its content contradicts itself.
    #[error("the network file is not consistent: {0}")]
    Inconsistent(#[from] NetworkError),
    /// Its parent chain is none of Bitcoin's networks.
    #[error("the network file names the parent chain with genesis block {0}, which is none of Bitcoin's networks")]
    UnknownParent(bitcoin::BlockHash),
    /// LWK refuses the parameters.
    #[error("the parameters of the network cannot be used: {0}")]
    Parameters(String),
}

impl Chain {
    /// Reads and checks a network file.
    pub fn read(path: &Path) -> Result<Self, ChainError> {
        let bytes = std::fs::read(path).map_err(|source| ChainError::Read { path: path.to_owned(), source })?;
        let file =
            serde_json::from_slice(&bytes).map_err(|source| ChainError::Parse { path: path.to_owned(), source })?;
        Self::new(file)
    }

    /// Checks a network file and derives what the wallet needs from it.
    pub fn new(file: NetworkFile) -> Result<Self, ChainError> {
        file.check()?;
        let genesis = file.params.genesis_hash();
        let pegged_asset = file.params.pegged_asset();
        let parent_genesis = file.params.parent_genesis();
        let parent = file.params.parent_network().ok_or(ChainError::UnknownParent(parent_genesis))?;
        let elements = ElementsParamsBuilder::new()
            .with_policy_asset(pegged_asset)
            .with_genesis_hash(genesis)
            .with_parent_genesis_hash(parent_genesis)
            .build()
            .map_err(|error| ChainError::Parameters(error.to_string()))?;
        Ok(Self { file, lwk: lwk_common::Network::CustomElements(elements), genesis, pegged_asset, parent })
    }

    /// The network file.
    pub fn file(&self) -> &NetworkFile {
        &self.file
    }

    /// The chain as LWK names it.
    pub fn lwk(&self) -> lwk_common::Network {
        self.lwk
    }

    /// Hash of the genesis block.
    pub fn genesis(&self) -> BlockHash {
        self.genesis
    }

    /// The asset that stands for bitcoin and pays fees.
    pub fn pegged_asset(&self) -> AssetId {
        self.pegged_asset
    }

    /// The network of the parent chain, for Bitcoin addresses.
    pub fn parent(&self) -> bitcoin::Network {
        self.parent
    }
}
