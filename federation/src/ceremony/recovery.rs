//! A member's shares once more, from its seed and the public messages of the ceremony.
//!
//! What a member was dealt is in the reveals, encrypted for its host key, so the 24 words of the seed and any member's copy
//! of the messages give both shares back. Nobody who hands over messages is believed: reveals are signed by their dealers, and
//! what they add up to must be the keys of the federation file.

use std::collections::BTreeMap;

use super::{
    CeremonyFault, deal,
    deal::Part,
    message::{self, Body},
    sealing::{self, Route},
    session_of,
};
use crate::{
    federation::FederationFile,
    keys::{BlsShare, MemberSeed, TreasuryKey, TreasuryShare},
    roster::MemberIndex,
};

/// A member's two secrets that do not follow from its seed alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberShares {
    /// Its share of the certificate key.
    pub certificate: BlsShare,
    /// Its share of the treasury key.
    pub treasury: TreasuryShare,
}

/// Messages that do not give the shares back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecoveryError {
    /// A message is none of this ceremony, or is not by whom it says.
    #[error(transparent)]
    Message(#[from] CeremonyFault),
    /// A member's part is missing.
    #[error("the reveal of member {0} is missing")]
    Missing(MemberIndex),
    /// The card of this index is somebody else's.
    #[error("the card of member {0} was not made from this seed")]
    WrongSeed(MemberIndex),
    /// What a member dealt to this one cannot be opened.
    #[error("what member {0} dealt to this one cannot be opened")]
    Sealed(MemberIndex),
    /// The messages do not add up to the keys of the federation.
    #[error("the messages do not add up to the keys of the federation")]
    OtherKeys,
}

/// Computes the shares of the member `me` from its seed and the ceremony's messages, in any order; messages of other steps
/// than the reveals are of no use and do no harm.
///
/// # Errors
/// [`RecoveryError`]; then another copy of the messages may do.
pub fn recover_shares<M: AsRef<[u8]>>(
    file: &FederationFile,
    seed: &MemberSeed,
    me: MemberIndex,
    messages: &[M],
) -> Result<MemberShares, RecoveryError> {
    let roster = &file.roster;
    let session = session_of(roster);
    let host = seed.keys().host;
    if roster.member(me).is_none_or(|card| card.host_key != host.public_key()) {
        return Err(RecoveryError::WrongSeed(me));
    }
    let mut parts = BTreeMap::new();
    for bytes in messages {
        let signed = message::open(roster, &session, bytes.as_ref())?;
        if let Body::Reveal(reveal) = &signed.body {
            deal::has_right_form(roster, reveal).map_err(|_| RecoveryError::Sealed(signed.from))?;
            parts.insert(signed.from, Part::open(&session, signed.from, reveal)?);
        }
    }
    if let Some((missing, _)) = roster.indexed().find(|(index, _)| !parts.contains_key(index)) {
        return Err(RecoveryError::Missing(missing));
    }
    let mut secret = host.secret_key();
    let dealt = parts.iter().map(|(dealer, part)| {
        let point = sealing::shared_point(&part.ephemeral, &secret);
        let route = Route { session: &session, from: *dealer, to: me };
        part.dealt(&point, route).ok_or(RecoveryError::Sealed(*dealer))
    });
    let dealt = dealt.collect::<Result<Vec<_>, _>>();
    secret.non_secure_erase();
    shares(file, me, &parts, &dealt?).ok_or(RecoveryError::OtherKeys)
}

fn shares(
    file: &FederationFile,
    me: MemberIndex,
    parts: &BTreeMap<MemberIndex, Part>,
    dealt: &[deal::Dealt],
) -> Option<MemberShares> {
    let sum = deal::add_up(parts, dealt)?;
    if sum.key_set != file.key_set || sum.treasury_key != file.treasury_key {
        return None;
    }
    let roster = &file.roster;
    let key = TreasuryKey::from_bytes(&sum.treasury_key, roster.members().len(), roster.threshold()).ok()?;
    Some(MemberShares {
        certificate: BlsShare::from_bytes(&sum.certificate_share).ok()?,
        treasury: TreasuryShare::from_bytes(&sum.treasury_share, me, &key).ok()?,
    })
}
