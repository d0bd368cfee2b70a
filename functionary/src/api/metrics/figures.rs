//! Reading what is told.

use std::time::Duration;

use super::witnessed::Witnessed;
use crate::api::{BackendError, ChainInfo, Sources, Supply};
use crate::chain::Pace;

/// Everything that is told, as of one moment.
pub(super) struct Figures {
    pub(super) info: ChainInfo,
    pub(super) supply: Supply,
    /// Time of the last block, in seconds since 1970.
    pub(super) tip_time_s: u32,
    pub(super) pace: Pace,
    /// The members, in the order of the roster.
    pub(super) members: Vec<MemberFigures>,
}

/// What is told of a member.
pub(super) struct MemberFigures {
    pub(super) name: String,
    /// Blocks that it proposed, of those that were agreed on here.
    pub(super) proposed: u64,
    /// Its signatures in witnesses.
    pub(super) signed: u64,
    /// Since anything came from it; `None` for this member, and before the first.
    pub(super) silent: Option<Duration>,
}

impl Figures {
    pub(super) fn read(sources: &Sources, witnessed: &mut Witnessed) -> Result<Self, BackendError> {
        let snapshot = sources.ledger.snapshot()?;
        let pace = sources.status.pace();
        let signed = witnessed.count(&snapshot, &sources.roster)?;
        let members = sources.roster.indexed().zip(signed).map(|((index, card), signed)| MemberFigures {
            name: card.name.clone(),
            proposed: pace.proposed.get(&index).copied().unwrap_or(0),
            signed: *signed,
            silent: sources.status.peer(index).heard.map(|heard| heard.elapsed()),
        });
        Ok(Self {
            members: members.collect(),
            pace,
            tip_time_s: snapshot.tip()?.time,
            info: sources.backend.info()?,
            supply: sources.backend.supply()?,
        })
    }
}
