//! What can go wrong in a ceremony, and whose doing it is.

use super::Step;
use crate::roster::MemberIndex;

/// A message or an outcome that must not be accepted. All but the first few name the member at fault.
///
/// A fault ends the ceremony: there is no key without every member. Operators look at who is named and start over, with
/// the member repaired or without it, under a new roster.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CeremonyFault {
    /// More bytes than any message has.
    #[error("a ceremony message of {0} bytes is too large")]
    TooLarge(usize),
    /// The bytes are no message.
    #[error("the bytes are no ceremony message")]
    Undecodable,
    /// The message is of another version of the format.
    #[error("ceremony message version {0} is not known")]
    Version(u8),
    /// The message belongs to another ceremony: another roster, or the same with one byte changed.
    #[error(
        "the message is of ceremony {}, this is {}; compare the roster files",
        hex::encode(theirs),
        hex::encode(ours)
    )]
    WrongSession {
        /// Session of the message.
        theirs: [u8; 32],
        /// Session of this ceremony.
        ours: [u8; 32],
    },
    /// No card has this index.
    #[error("the message is by member {0}, who is not in the roster")]
    UnknownMember(MemberIndex),
    /// The signature is not by the host key of the member it claims to be by. Whoever passed it on is at fault.
    #[error("a message that claims to be by member {claimed} is not signed by its host key")]
    BadSignature {
        /// Who signed it, as it says.
        claimed: MemberIndex,
    },
    /// A signed message cannot be right by its form alone.
    #[error("the {step} message of member {member} is malformed: {reason}")]
    Malformed {
        /// Who signed it.
        member: MemberIndex,
        /// Its step.
        step: Step,
        /// What is wrong.
        reason: &'static str,
    },
    /// A member signed two different messages at one step. Both are kept: together they prove it to anyone.
    #[error("member {member} signed two different {step} messages")]
    Equivocation {
        /// Who signed both.
        member: MemberIndex,
        /// The step.
        step: Step,
        /// One message.
        first: Vec<u8>,
        /// The other.
        second: Vec<u8>,
    },
    /// A reveal is not what its sender committed to.
    #[error("the reveal of member {member} does not match its commitment")]
    RevealMismatch {
        /// Whose reveal.
        member: MemberIndex,
    },
    /// A member does not know the secrets behind its commitments and its ephemeral key.
    #[error("the proof of possession of member {member} is wrong")]
    BadProof {
        /// Whose proof.
        member: MemberIndex,
    },
    /// The share that a member dealt to another cannot be decrypted, or does not lie on the polynomial it committed to. The
    /// recipient has complained, and its complaint lets everybody see.
    #[error("what member {dealer} dealt to member {recipient} is wrong, as the complaint of member {recipient} proves")]
    BadShare {
        /// Who dealt it.
        dealer: MemberIndex,
        /// To whom.
        recipient: MemberIndex,
    },
    /// A member complains about a share that is right, or does not prove what it says.
    #[error("member {member} complains about what member {dealer} dealt to it, without cause")]
    FalseComplaint {
        /// Who complains.
        member: MemberIndex,
        /// About whom.
        dealer: MemberIndex,
    },
    /// The parts add up to no key. Members that each know their part cannot bring this about but by chance.
    #[error("the parts of the members add up to no usable key")]
    NoKey,
    /// A member saw other messages than this one did.
    #[error("member {member} saw other messages than we did: somebody sent different ones to different members")]
    EchoDiffers {
        /// Who saw others.
        member: MemberIndex,
    },
    /// A member signed another outcome, although it saw the same messages.
    #[error("member {member} states another outcome than follows from the messages")]
    WrongOutcome {
        /// Who states it.
        member: MemberIndex,
    },
    /// A member cannot sign with its shares.
    #[error("the test signature of member {member} is wrong")]
    BadTest {
        /// Whose signature.
        member: MemberIndex,
    },
    /// Members were restarted so often in the middle of the test that there is no attempt left.
    #[error("the test of the new keys was broken off {0} times by members that were restarted")]
    TooManyAttempts(u32),
}

impl CeremonyFault {
    /// The member that is proven to be at fault. `None` where whoever passed the message on may have made it up, and
    /// where members disagree without it being clear who is right.
    pub fn culprit(&self) -> Option<MemberIndex> {
        match self {
            Self::TooLarge(_)
            | Self::Undecodable
            | Self::Version(_)
            | Self::WrongSession { .. }
            | Self::UnknownMember(_)
            | Self::BadSignature { .. }
            | Self::NoKey
            | Self::TooManyAttempts(_)
            | Self::EchoDiffers { .. } => None,
            Self::Malformed { member, .. }
            | Self::Equivocation { member, .. }
            | Self::RevealMismatch { member }
            | Self::BadProof { member }
            | Self::BadShare { dealer: member, .. }
            | Self::FalseComplaint { member, .. }
            | Self::WrongOutcome { member }
            | Self::BadTest { member } => Some(*member),
        }
    }
}

/// A ceremony that cannot be begun or taken up again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CeremonyError {
    /// The index is not in the roster.
    #[error("the roster has no member {0}")]
    NotAMember(MemberIndex),
    /// The card of this index is somebody else's.
    #[error("the card of member {0} was not made from this seed")]
    WrongSeed(MemberIndex),
    /// No part could be dealt. Happens only by a chance of 2^-250, or with a broken random number generator.
    #[error("no share could be dealt; is the random number generator of this machine broken?")]
    Dealing,
    /// The saved bytes are not what [`super::Ceremony::save`] gave.
    #[error("the saved ceremony is damaged: {0}")]
    Damaged(String),
}
