//! What is asked of elementsd.

use std::path::PathBuf;
use std::time::Duration;

use elements::BlockHash;
use serde_json::json;

use crate::rpc::{RpcClient, RpcError};

/// A full block takes seconds on a slow machine.
const SUBMIT_LIMIT: Duration = Duration::from_secs(60);
/// A vote must not wait longer: other members may be content already.
const TEST_LIMIT: Duration = Duration::from_secs(5);

// Error codes of Elements' RPC (`rpc/protocol.h`).
const RPC_INVALID_PARAMETER: i32 = -8;
const RPC_VERIFY_ERROR: i32 = -25;
const RPC_VERIFY_REJECTED: i32 = -26;
/// The text for a proposal on another block than its best one (`testproposedblock`); the code is that of an invalid one.
const OTHER_TIP: &str = "proposal was not based on our best chain";

/// What became of a final block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Submitted {
    /// It has it, now or since earlier, or will say later.
    Taken,
    /// It is not valid.
    Refused(String),
}

/// What it thinks of a proposed block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Tested {
    /// It is valid.
    Good,
    /// It is not valid.
    Bad(String),
    /// It is not built on its best block.
    OtherTip,
}

/// Another implementation, as a capability. Calls block, for a bounded time.
pub(super) trait OtherNode: Send + Sync {
    /// Height of its best block.
    fn height(&self) -> Result<u32, RpcError>;
    /// The block of its best chain at a height, `None` above the top.
    fn block_hash(&self, height: u32) -> Result<Option<BlockHash>, RpcError>;
    /// Gives it a final block.
    fn submit(&self, block: &[u8]) -> Result<Submitted, RpcError>;
    /// Asks about a proposed block, which has no signatures yet.
    fn test(&self, block: &[u8]) -> Result<Tested, RpcError>;
}

/// A local elementsd.
pub(super) struct Elementsd {
    feed: RpcClient,
    /// A connection of its own: a vote does not wait for blocks that are being fed.
    test: RpcClient,
}

impl Elementsd {
    pub(super) fn new(url: String, cookie_file: PathBuf) -> Self {
        let feed = RpcClient::new("elementsd", url, cookie_file, SUBMIT_LIMIT);
        Self { test: feed.with_limit(TEST_LIMIT), feed }
    }
}

impl OtherNode for Elementsd {
    fn height(&self) -> Result<u32, RpcError> {
        self.feed.call("getblockcount", &[])
    }

    fn block_hash(&self, height: u32) -> Result<Option<BlockHash>, RpcError> {
        match self.feed.call("getblockhash", &[json!(height)]) {
            Ok(hash) => Ok(Some(hash)),
            Err(RpcError::Refused { code: RPC_INVALID_PARAMETER, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn submit(&self, block: &[u8]) -> Result<Submitted, RpcError> {
        let answer: Option<String> = self.feed.call_nullable("submitblock", &[json!(hex::encode(block))])?;
        Ok(match answer.as_deref() {
            // Whether it is in the best chain then is looked at by the caller.
            None | Some("duplicate" | "inconclusive") => Submitted::Taken,
            Some(reason) => Submitted::Refused(reason.to_owned()),
        })
    }

    fn test(&self, block: &[u8]) -> Result<Tested, RpcError> {
        // Whether transactions are standard is nothing that blocks are judged by.
        let any_standard = true;
        match self.test.call_nullable::<bool>("testproposedblock", &[json!(hex::encode(block)), json!(any_standard)]) {
            Ok(_) => Ok(Tested::Good),
            Err(RpcError::Refused { message, .. }) if message == OTHER_TIP => Ok(Tested::OtherTip),
            Err(RpcError::Refused { code: RPC_VERIFY_ERROR | RPC_VERIFY_REJECTED, message, .. }) => {
                Ok(Tested::Bad(message))
            }
            Err(error) => Err(error),
        }
    }
}
