//! Who signed, as the witnesses of the blocks show it.

use aquifer_assets::primitives::decode_header;
use aquifer_federation::blocksign::signers;
use aquifer_federation::roster::Roster;

use super::BackendError;
use crate::store::ledger::Snapshot;

/// Most blocks that are looked at for one answer; the rest is for the next.
const MAX_BLOCKS: u32 = 500;

/// Signatures in the witnesses of the blocks since the first look, by member.
pub(super) struct Witnessed {
    /// The last block that is counted; `None` before the first look, which finds what is old.
    height: Option<u32>,
    signed: Vec<u64>,
}

impl Witnessed {
    pub(super) fn of(roster: &Roster) -> Self {
        Self { height: None, signed: vec![0; roster.members().len()] }
    }

    /// Counts on to the last block.
    pub(super) fn count(&mut self, snapshot: &Snapshot<'_>, roster: &Roster) -> Result<&[u64], BackendError> {
        let tip = snapshot.tip()?.height;
        let counted = *self.height.get_or_insert(tip);
        let last = tip.min(counted.saturating_add(MAX_BLOCKS));
        for height in counted.saturating_add(1)..=last {
            let missing = || BackendError(format!("no block {height}"));
            let stored = snapshot.header(height)?.ok_or_else(missing)?;
            let header = decode_header(stored.header).map_err(|error| BackendError(error.to_string()))?;
            for (count, has_signed) in self.signed.iter_mut().zip(signers(&header, roster)) {
                *count = count.saturating_add(has_signed.into());
            }
            self.height = Some(height);
        }
        Ok(&self.signed)
    }
}
