//! What a member says about the valve in public: halt, or resume. Signed, and carried by the coinbase of a block.
//!
//! One `OP_RETURN` output of the coinbase, of no value, carries one notice:
//!
//! | bytes | content |
//! |---|---|
//! | 4 | `AQH1`: a notice, format 1 |
//! | 1 | 1 to halt, 2 to resume |
//! | 2 | index of the member, little-endian |
//! | 4 | height of the latest block that the member had seen as final when it signed, little-endian |
//! | 64 | BIP 340 signature of the member's host key over a tagged hash of the chain and the fields above |
//!
//! The 75 bytes are one direct push, so the script has 77; nodes of this family relay and index up to 83. The chain, by its
//! genesis hash, is under the signature: a notice for one chain says nothing on another.

use aquifer_assets::primitives::Transaction;
use bitcoin::secp256k1::{Keypair, Message, SECP256K1, XOnlyPublicKey, schnorr};
use borsh::{BorshDeserialize, BorshSerialize};
use elements::{Script, opcodes::all::OP_RETURN, script::Builder};

use crate::{
    encoding::tagged_hash,
    roster::{MAX_MEMBERS, MemberIndex},
};

/// Marks a notice, format 1.
const MARK: &[u8; 4] = b"AQH1";

/// Most notices in one block: one of each member.
pub const MAX_NOTICES_PER_BLOCK: usize = MAX_MEMBERS;

/// What a member wants of the valve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum NoticeKind {
    /// No more batches.
    Halt,
    /// Batches again.
    Resume,
}

impl NoticeKind {
    fn byte(self) -> u8 {
        match self {
            Self::Halt => 1,
            Self::Resume => 2,
        }
    }

    fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Halt),
            2 => Some(Self::Resume),
            _ => None,
        }
    }
}

/// A signed notice. Whether the signature is good and what it counts for, the valve says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Halt or resume.
    pub kind: NoticeKind,
    /// Who.
    pub member: MemberIndex,
    /// The latest block that the member had seen as final when it signed. The notice speaks of the state after it.
    pub seen_height: u32,
    /// By the member's host key.
    pub signature: schnorr::Signature,
}

/// A notice that members do not vote for, and that counts for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoticeError {
    /// The mark, and then something else than a notice.
    #[error("output {0} of the coinbase begins like a halt or resume notice but is none")]
    Malformed(usize),
    /// More than there are members.
    #[error("the coinbase has {0} notices, at most {MAX_NOTICES_PER_BLOCK} are allowed")]
    TooMany(usize),
    /// One notice of a member in a block.
    #[error("member {0} has two notices in one block")]
    Second(MemberIndex),
    /// There is no such member.
    #[error("there is no member {0}")]
    UnknownMember(MemberIndex),
    /// It says to have seen a block that is not there yet.
    #[error("the notice of member {member} refers to block {seen_height}, but block {height} is to carry it")]
    Future {
        /// Who.
        member: MemberIndex,
        /// What it refers to.
        seen_height: u32,
        /// The block that carries it.
        height: u32,
    },
    /// It is older than the last opening or closing of the valve, or not newer than the member's last notice.
    #[error(
        "the notice of member {member} refers to block {seen_height}, it must refer to block {least_height} or later"
    )]
    Stale {
        /// Who.
        member: MemberIndex,
        /// What it refers to.
        seen_height: u32,
        /// What it would have to refer to.
        least_height: u32,
    },
    /// The member holds that already.
    #[error("the notice of member {member} says nothing new: its position is {kind:?} already")]
    NothingNew {
        /// Who.
        member: MemberIndex,
        /// What it says.
        kind: NoticeKind,
    },
    /// The member did not sign that.
    #[error("the notice of member {0} is not signed by its host key")]
    Signature(MemberIndex),
}

impl Notice {
    /// Signs a notice for the chain with this genesis hash. The same arguments always give the same bytes.
    ///
    /// `seen_height` is the height of the latest block that is final for this member. After a notice that no block has
    /// carried yet, wait for one block more before saying the opposite: of two notices with one height the first that a
    /// block carries counts.
    pub fn sign(host: &Keypair, chain: &[u8; 32], member: MemberIndex, kind: NoticeKind, seen_height: u32) -> Self {
        let message = Message::from_digest(digest(chain, kind, member, seen_height));
        Self { kind, member, seen_height, signature: SECP256K1.sign_schnorr_no_aux_rand(&message, host) }
    }

    /// Whether this host key signed it for this chain.
    pub fn is_signed_by(&self, host_key: &XOnlyPublicKey, chain: &[u8; 32]) -> bool {
        let message = Message::from_digest(digest(chain, self.kind, self.member, self.seen_height));
        SECP256K1.verify_schnorr(&self.signature, &message, host_key).is_ok()
    }

    /// The script of the output that carries it.
    pub fn script(&self) -> Script {
        Builder::new().push_opcode(OP_RETURN).push_slice(&self.to_bytes()).into_script()
    }

    /// As members send it to each other: the 75 bytes that its output pushes.
    pub fn to_bytes(&self) -> Vec<u8> {
        [
            MARK.as_slice(),
            &[self.kind.byte()],
            &self.member.0.to_le_bytes(),
            &self.seen_height.to_le_bytes(),
            self.signature.as_ref(),
        ]
        .concat()
    }

    /// Reads what [`Notice::to_bytes`] gives; `None` for anything else.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.strip_prefix(MARK.as_slice()).and_then(Self::parse)
    }

    /// Reads what follows the mark.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let (&[kind], rest) = bytes.split_first_chunk::<1>()?;
        let (member, rest) = rest.split_first_chunk::<2>()?;
        let (seen_height, signature) = rest.split_first_chunk::<4>()?;
        Some(Self {
            kind: NoticeKind::from_byte(kind)?,
            member: MemberIndex(u16::from_le_bytes(*member)),
            seen_height: u32::from_le_bytes(*seen_height),
            signature: schnorr::Signature::from_slice(signature).ok()?,
        })
    }
}

fn digest(chain: &[u8; 32], kind: NoticeKind, member: MemberIndex, seen_height: u32) -> [u8; 32] {
    let parts: [&[u8]; 4] = [chain, &[kind.byte()], &member.0.to_le_bytes(), &seen_height.to_le_bytes()];
    tagged_hash("aquifer/valve/notice/v1", &parts)
}

/// The notices of a coinbase in the order of its outputs, and [`NoticeError::Malformed`] for every output that only begins
/// like one. Before a vote, one such error refuses the block; of a final block only what could be read counts.
pub fn find_notices(coinbase: &Transaction) -> Vec<Result<Notice, NoticeError>> {
    let mut found = Vec::new();
    for (position, output) in coinbase.output.iter().enumerate() {
        // OP_RETURN, one push of any direct length, the mark.
        let [op, _, data @ ..] = output.script_pubkey.as_bytes() else { continue };
        if *op != OP_RETURN.into_u8() {
            continue;
        }
        let Some(rest) = data.strip_prefix(MARK.as_slice()) else { continue };
        let notice = Notice::parse(rest).filter(|notice| notice.script() == output.script_pubkey);
        found.push(notice.ok_or(NoticeError::Malformed(position)));
    }
    found
}
