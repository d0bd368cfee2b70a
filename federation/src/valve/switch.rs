//! Halt and resume: a switch that `n−k+1` members can throw and only `k` can throw back.
//!
//! The chain is in phases, open and closed in turn, each of which begins with a block. At the beginning of a phase every
//! member holds the position of the phase: resume in an open one, halt in a closed one. A notice changes the position of
//! its member if it refers to a block of this phase and to a later one than the member's notice before. An open phase ends
//! with the block after which `n−k+1` members hold *halt*, a closed one with the block after which `k` hold *resume*.
//!
//! So a notice speaks of the state that its member had seen. What was signed before the last opening or closing, and was
//! perhaps never carried by a block, cannot be brought up later by somebody else.

use std::collections::{BTreeMap, BTreeSet};

use bitcoin::secp256k1::XOnlyPublicKey;
use borsh::{BorshDeserialize, BorshSerialize};

use super::notice::{MAX_NOTICES_PER_BLOCK, Notice, NoticeError, NoticeKind};
use crate::roster::MemberIndex;

/// Who may throw the switch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Electorate {
    /// Host keys in roster order.
    pub(super) host_keys: Vec<XOnlyPublicKey>,
    /// `k`: members needed to sign, and to resume.
    pub(super) threshold: usize,
    /// Genesis hash of the chain.
    pub(super) chain: [u8; 32],
}

impl Electorate {
    /// `n−k+1`: so many members can stop every decision anyway, by not voting; fewer cannot stop the peg either.
    pub(super) fn halts_to_close(&self) -> usize {
        self.host_keys.len().saturating_sub(self.threshold).saturating_add(1)
    }
}

/// The last notice of a member in this phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
struct Position {
    kind: NoticeKind,
    seen_height: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
enum Phase {
    Open,
    Closed,
}

/// Where the switch stands. At most one entry per member.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(super) struct Switch {
    phase: Phase,
    /// The block with which this phase began.
    since_height: u32,
    positions: BTreeMap<MemberIndex, Position>,
}

impl Switch {
    /// Open from the genesis block on.
    pub(super) fn new() -> Self {
        Self { phase: Phase::Open, since_height: 0, positions: BTreeMap::new() }
    }

    /// The block that closed it, if it is closed.
    pub(super) fn closed_since(&self) -> Option<u32> {
        match self.phase {
            Phase::Open => None,
            Phase::Closed => Some(self.since_height),
        }
    }

    /// What a member holds now.
    pub(super) fn position(&self, member: MemberIndex) -> NoticeKind {
        let at_first = match self.phase {
            Phase::Open => NoticeKind::Resume,
            Phase::Closed => NoticeKind::Halt,
        };
        self.positions.get(&member).map_or(at_first, |position| position.kind)
    }

    /// Whether the notice may be carried by the block at `height`, and would count there.
    pub(super) fn check(&self, electorate: &Electorate, height: u32, notice: &Notice) -> Result<(), NoticeError> {
        let Notice { member, seen_height, kind, .. } = *notice;
        let key = electorate.host_keys.get(member.position()).ok_or(NoticeError::UnknownMember(member))?;
        if seen_height >= height {
            return Err(NoticeError::Future { member, seen_height, height });
        }
        let after_last = self.positions.get(&member).map_or(0, |last| last.seen_height.saturating_add(1));
        let least_height = self.since_height.max(after_last);
        if seen_height < least_height {
            return Err(NoticeError::Stale { member, seen_height, least_height });
        }
        if self.position(member) == kind {
            return Err(NoticeError::NothingNew { member, kind });
        }
        if notice.is_signed_by(key, &electorate.chain) { Ok(()) } else { Err(NoticeError::Signature(member)) }
    }

    /// Whether the block at `height` may carry exactly these.
    pub(super) fn check_all(
        &self,
        electorate: &Electorate,
        height: u32,
        notices: &[Notice],
    ) -> Result<(), NoticeError> {
        if notices.len() > MAX_NOTICES_PER_BLOCK {
            return Err(NoticeError::TooMany(notices.len()));
        }
        let mut members = BTreeSet::new();
        for notice in notices {
            if !members.insert(notice.member) {
                return Err(NoticeError::Second(notice.member));
            }
            self.check(electorate, height, notice)?;
        }
        Ok(())
    }

    /// Takes the notices of the block at `height`. Of what no member should have voted for, what would not count by itself
    /// is passed over: the same on everybody's machine.
    pub(super) fn apply(&mut self, electorate: &Electorate, height: u32, notices: &[Notice]) {
        let mut members = BTreeSet::new();
        for notice in notices.iter().take(MAX_NOTICES_PER_BLOCK) {
            if members.contains(&notice.member) || self.check(electorate, height, notice).is_err() {
                continue;
            }
            members.insert(notice.member);
            let position = Position { kind: notice.kind, seen_height: notice.seen_height };
            self.positions.insert(notice.member, position);
        }
        // Counted when all are in: the order of the notices in a block makes no difference.
        let (wanted, needed, next) = match self.phase {
            Phase::Open => (NoticeKind::Halt, electorate.halts_to_close(), Phase::Closed),
            Phase::Closed => (NoticeKind::Resume, electorate.threshold, Phase::Open),
        };
        if self.positions.values().filter(|position| position.kind == wanted).count() >= needed {
            *self = Self { phase: next, since_height: height, positions: BTreeMap::new() };
        }
    }
}
