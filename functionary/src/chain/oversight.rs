//! Who else must be content, as capabilities: another implementation before this member votes, auditors before it signs a
//! batch. The node hands in the real ones.

use aquifer_assets::primitives::Block;

pub use crate::audit::Hold;
use crate::store::StoreError;

/// Why this member shall not stand behind a block that it finds valid itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Doubt {
    /// The other implementation cannot be asked now, or is not at this block.
    #[error("{0}")]
    Unheard(String),
    /// It finds the block invalid.
    #[error("{0}")]
    Refused(String),
}

/// Another implementation that judges the same blocks.
pub trait SecondOpinion: Send + Sync {
    /// Asks about a proposed block that this member finds valid. May block, for a bounded time.
    ///
    /// # Errors
    /// Why this member shall neither vote for it nor propose it now.
    fn on_proposal(&self, block: &Block) -> Result<(), Doubt>;

    /// Whether it finds a block invalid, asked only to find out what is wrong with another: a refusal is no alarm. May
    /// block, for a bounded time.
    fn is_refused(&self, block: &Block) -> bool;
}

/// Stands in front of every signature for the treasury.
pub trait BatchGuard: Send + Sync {
    /// Why the batch of the final block at `height` must not be signed now; `None` if nothing speaks against it. Does not
    /// ask the network.
    ///
    /// # Errors
    /// If the ledger cannot be read.
    fn hold(&self, height: u32) -> Result<Option<Hold>, StoreError>;
}
