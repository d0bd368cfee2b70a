//! What can be wrong with a repair.

use crate::roster::MemberIndex;

/// A message that must not be accepted. It ends the repair where it names a member; the next one takes other helpers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RepairFault {
    /// More bytes than any message has.
    #[error("a repair message of {0} bytes is too large")]
    TooLarge(usize),
    /// The bytes are no message.
    #[error("the bytes are no repair message")]
    Undecodable,
    /// The message is of another version of the format.
    #[error("repair message version {0} is not known")]
    Version(u8),
    /// No card has this index.
    #[error("the message is by member {0}, who is not in the roster")]
    UnknownMember(MemberIndex),
    /// The signature is not by the host key of the member it claims to be by. Whoever passed it on is at fault.
    #[error("a message that claims to be by member {claimed} is not signed by its host key")]
    BadSignature {
        /// Who signed it, as it says.
        claimed: MemberIndex,
    },
    /// The message belongs to another repair.
    #[error("the message of member {0} belongs to another repair")]
    OtherRepair(MemberIndex),
    /// The member has no part in this repair, or not this one.
    #[error("member {0} says what is not its part in this repair")]
    NotItsPart(MemberIndex),
    /// A helper does not split what follows from its public share.
    #[error("the deltas of member {0} are not those of its share")]
    BadDeltas(MemberIndex),
    /// What a helper encrypted for this one is not what it published. The others cannot see it.
    #[error("what member {0} encrypted for this member is not what it published")]
    BadDelta(MemberIndex),
    /// What a helper sent to the member in need is not the sum of the published deltas.
    #[error("the sum of member {0} is not that of the published deltas")]
    BadSum(MemberIndex),
    /// A helper added up other deltas than this member has seen. It, or who made the deltas, told different things.
    #[error("member {0} has seen other deltas than this member")]
    DeltasDiffer(MemberIndex),
    /// A member signed two different messages in one place.
    #[error("member {0} signed two different messages")]
    Equivocation(MemberIndex),
    /// Everything fits, but the sum is not the share. Cannot happen while the arithmetic is right.
    #[error("the repaired share does not belong to the federation's keys")]
    WrongShare,
}

impl RepairFault {
    /// The member at fault, as far as this member can tell. `None` where whoever passed the message on may have made it up,
    /// and where it is not clear who is right.
    pub fn culprit(&self) -> Option<MemberIndex> {
        match self {
            Self::TooLarge(_)
            | Self::Undecodable
            | Self::Version(_)
            | Self::UnknownMember(_)
            | Self::BadSignature { .. }
            | Self::OtherRepair(_)
            | Self::DeltasDiffer(_)
            | Self::WrongShare => None,
            Self::NotItsPart(member)
            | Self::BadDeltas(member)
            | Self::BadDelta(member)
            | Self::BadSum(member)
            | Self::Equivocation(member) => Some(*member),
        }
    }
}

/// A repair that cannot be begun.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RepairError {
    /// The seed is not that of a member of this index.
    #[error("the card of member {0} was not made from this seed")]
    WrongSeed(MemberIndex),
    /// The helpers are not k different other members.
    #[error("a repair needs exactly {expected} different members besides the one in need")]
    Helpers {
        /// How many.
        expected: usize,
    },
    /// The request is not addressed to this member.
    #[error("this member is not among the helpers that are asked")]
    NotAsked,
    /// The request itself is wrong.
    #[error(transparent)]
    Request(#[from] RepairFault),
    /// No random numbers can be had, or a share is none.
    #[error("the shares of this member cannot be used")]
    Shares,
}
