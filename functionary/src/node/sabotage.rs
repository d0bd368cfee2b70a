//! What a sabotaged member does in the signing sessions of the treasury key, and to notices on peg-outs. Only
//! `aquiferd-sabotaged` has this.
//!
//! The member itself is honest, and [`Sabotaged`] stands between it and the network: what it sends is lost or changed on the
//! way, which is all that others see of a member that is silent or lies. Its votes, its blocks and what it signs with its own
//! keys pass as they are, so that it is missed there and nowhere else.
//!
//! The environment says which, by [`VARIABLE`]. Without it the member says what it means.

use std::env;
use std::sync::Arc;

use aquifer_federation::consensus::BlockId;
use aquifer_federation::roster::MemberIndex;
use aquifer_federation::valve::Notice;
use aquifer_proto::peer::{PeerMessage, SigningAnswer, peer_message::Kind};

use bytes::Bytes;

use crate::chain::Network;

/// Says what the member does; see [`Deed::named`].
const VARIABLE: &str = "AQUIFER_SABOTAGE";
/// Bytes of a share of a signature.
const SHARE_LEN: usize = 32;
/// These are left alone in a share that is changed: whatever is done to the others, it stays a number of the right size.
const HIGH_BYTES: usize = 8;

/// The environment asks for something that nobody can do.
#[derive(Debug, thiserror::Error)]
#[error("{VARIABLE} is {0:?}; there are `silent-signer`, `lying-signer` and `notice-forger`")]
pub struct UnknownDeed(String);

/// What the member does.
#[derive(Clone, Copy, Debug)]
enum Deed {
    /// It says nothing in sessions, as signer or as coordinator, and passes no finished signatures on.
    Silence,
    /// It answers with wrong shares of signatures, and leads no session of its own, in which it would not hear itself lie.
    Lies,
    /// Whatever notice to halt or to resume it sends, it sends in the name of another member.
    Forgery,
}

impl Deed {
    fn named(name: &str) -> Result<Self, UnknownDeed> {
        match name {
            "silent-signer" => Ok(Self::Silence),
            "lying-signer" => Ok(Self::Lies),
            "notice-forger" => Ok(Self::Forgery),
            other => Err(UnknownDeed(other.to_owned())),
        }
    }

    /// What becomes of a message of this member.
    fn applied(self, me: MemberIndex, message: PeerMessage) -> Option<PeerMessage> {
        match (self, message.kind) {
            (
                Self::Silence,
                Some(Kind::SigningOffer(_) | Kind::SigningRequest(_) | Kind::SigningAnswer(_) | Kind::KeySignatures(_)),
            )
            | (Self::Lies, Some(Kind::SigningRequest(_))) => None,
            (Self::Lies, Some(Kind::SigningAnswer(answer))) => {
                Some(PeerMessage { kind: Some(Kind::SigningAnswer(lie(me, answer))) })
            }
            (Self::Forgery, Some(Kind::Notice(notice))) => {
                Some(PeerMessage { kind: Some(Kind::Notice(forge(me, notice))) })
            }
            (_, kind) => Some(PeerMessage { kind }),
        }
    }
}

/// The share for the first input is wrong, always in the same way: who repeats a lie repeats it as it was.
fn lie(me: MemberIndex, answer: SigningAnswer) -> SigningAnswer {
    let mut shares = answer.shares.to_vec();
    // At a place of its own for each liar: errors that cancel each other out would do no harm.
    let place = HIGH_BYTES.saturating_add(me.position() % (SHARE_LEN - HIGH_BYTES));
    if let Some(byte) = shares.get_mut(place) {
        *byte ^= 1;
    }
    SigningAnswer { shares: shares.into(), ..answer }
}

/// The notice in the name of the first other member, whose key has not signed it.
fn forge(me: MemberIndex, notice: Bytes) -> Bytes {
    let member = MemberIndex(u16::from(me == MemberIndex(0)));
    Notice::from_bytes(&notice).map_or(notice, |honest| Notice { member, ..honest }.to_bytes().into())
}

/// The network of a member, and what becomes of its messages before they get there.
struct Sabotaged {
    honest: Arc<dyn Network>,
    me: MemberIndex,
    deed: Deed,
}

/// The network as the environment wants it for this member.
///
/// # Errors
/// [`UnknownDeed`]: a test that misspells what it wants must not pass.
pub(super) fn sabotage(honest: Arc<dyn Network>, me: MemberIndex) -> Result<Arc<dyn Network>, UnknownDeed> {
    let Some(name) = env::var_os(VARIABLE) else { return Ok(honest) };
    let deed = Deed::named(&name.to_string_lossy())?;
    tracing::warn!(member = %me, ?deed, "sabotaged");
    Ok(Arc::new(Sabotaged { honest, me, deed }))
}

impl Network for Sabotaged {
    fn broadcast(&self, message: PeerMessage) {
        if let Some(message) = self.deed.applied(self.me, message) {
            self.honest.broadcast(message);
        }
    }

    fn send(&self, to: MemberIndex, message: PeerMessage) {
        if let Some(message) = self.deed.applied(self.me, message) {
            self.honest.send(to, message);
        }
    }

    fn fetch_body(&self, from: MemberIndex, height: u32, block: BlockId) {
        self.honest.fetch_body(from, height, block);
    }

    fn fetch_blocks(&self, from: MemberIndex, from_height: u32) {
        self.honest.fetch_blocks(from, from_height);
    }

    fn disconnect(&self, member: MemberIndex, reason: &str) {
        self.honest.disconnect(member, reason);
    }
}
