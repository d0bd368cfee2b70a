//! Dealing a part of both keys, checking the parts of all, and adding them up.
//!
//! Every member deals two random polynomials, one per curve and independent of each other. A key is the sum of the constant
//! terms; a member's share of it is the sum of what it was dealt (Pedersen's key generation in the form of FROST).

use std::collections::BTreeMap;

use bitcoin::secp256k1::PublicKey;
use frost_core::keys::SigningShare;
use rand_core::{CryptoRng, RngCore};
use zeroize::Zeroizing;

use super::{
    CeremonyError, CeremonyFault,
    message::Reveal,
    polynomial::{self, Commitment, Polynomial},
    sealing::{self, PLAIN_SIZE, Route, SharedPoint},
    suite::BlsG1,
};
use crate::{
    keys::TreasurySuite,
    roster::{MemberIndex, Roster},
};

/// What a member was dealt by one dealer: a secret number of either curve. Wiped on drop.
pub(super) struct Dealt {
    pub(super) certificate: SigningShare<BlsG1>,
    pub(super) treasury: SigningShare<TreasurySuite>,
}

impl Drop for Dealt {
    fn drop(&mut self) {
        (self.certificate, self.treasury) = (SigningShare::default(), SigningShare::default());
        // Keeps the compiler from dropping a write that nothing reads.
        std::hint::black_box((&self.certificate, &self.treasury));
    }
}

impl Dealt {
    pub(super) fn to_bytes(&self) -> Option<Zeroizing<[u8; PLAIN_SIZE]>> {
        let both = [Zeroizing::new(self.certificate.serialize()), Zeroizing::new(self.treasury.serialize())];
        let both = Zeroizing::new([both[0].as_slice(), both[1].as_slice()].concat());
        Some(Zeroizing::new(both.as_slice().try_into().ok()?))
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (certificate, treasury) = bytes.split_at_checked(PLAIN_SIZE / 2)?;
        Some(Self {
            certificate: SigningShare::deserialize(certificate).ok()?,
            treasury: SigningShare::deserialize(treasury).ok()?,
        })
    }
}

/// A dealer's part, after everything that anybody can check was checked.
pub(super) struct Part {
    certificate: Commitment<BlsG1>,
    treasury: Commitment<TreasurySuite>,
    pub(super) ephemeral: PublicKey,
    sealed: Vec<[u8; sealing::SEALED_SIZE]>,
}

/// Deals a fresh part among the members. The polynomials are forgotten on return.
pub(super) fn deal<R: RngCore + CryptoRng>(
    roster: &Roster,
    session: &[u8; 32],
    me: MemberIndex,
    rng: &mut R,
) -> Result<Reveal, CeremonyError> {
    try_deal(roster, session, me, rng).ok_or(CeremonyError::Dealing)
}

fn try_deal<R: RngCore + CryptoRng>(
    roster: &Roster,
    session: &[u8; 32],
    me: MemberIndex,
    rng: &mut R,
) -> Option<Reveal> {
    let certificate = Polynomial::<BlsG1>::random(roster.threshold(), rng);
    let treasury = Polynomial::<TreasurySuite>::random(roster.threshold(), rng);
    let mut pair = sealing::random_key(rng);
    let ephemeral = pair.public_key();
    let mut shares = Vec::with_capacity(roster.members().len());
    for (to, card) in roster.indexed() {
        let dealt = Dealt { certificate: certificate.share(to)?, treasury: treasury.share(to)? };
        let mut secret = pair.secret_key();
        let point = sealing::shared_point(&card.host_key, &secret);
        secret.non_secure_erase();
        let plain = dealt.to_bytes()?;
        shares.push(sealing::seal(&plain, &point, Route { session, from: me, to }, &ephemeral)?);
    }
    let reveal = Reveal {
        certificate: certificate.section(session, me, rng)?,
        treasury: treasury.section(session, me, rng)?,
        ephemeral_key: ephemeral.serialize(),
        ephemeral_proof: sealing::prove_ownership(&pair, session, me),
        shares,
    };
    pair.non_secure_erase();
    Some(reveal)
}

/// Whether a reveal has the number of points and shares that the roster asks for.
pub(super) fn has_right_form(roster: &Roster, reveal: &Reveal) -> Result<(), &'static str> {
    let threshold = roster.threshold();
    if reveal.certificate.commitment.len() != threshold || reveal.treasury.commitment.len() != threshold {
        return Err("a commitment does not have one point per signature needed");
    }
    if reveal.shares.len() != roster.members().len() {
        return Err("there is not one share per member");
    }
    Ok(())
}

impl Part {
    /// Checks what anybody can check of a reveal: its points and the proofs that the dealer knows what is behind them.
    pub(super) fn open(session: &[u8; 32], dealer: MemberIndex, reveal: &Reveal) -> Result<Self, CeremonyFault> {
        let open = || {
            Some(Self {
                certificate: polynomial::open(&reveal.certificate, session, dealer)?,
                treasury: polynomial::open(&reveal.treasury, session, dealer)?,
                ephemeral: sealing::open_ephemeral(&reveal.ephemeral_key, &reveal.ephemeral_proof, session, dealer)?,
                sealed: reveal.shares.clone(),
            })
        };
        open().ok_or(CeremonyFault::BadProof { member: dealer })
    }

    /// Opens what was dealt to the member `route.to`, and checks it against the commitments. `None` is the dealer's fault.
    /// A function of public data and the shared point: whoever knows the point comes to the same verdict.
    pub(super) fn dealt(&self, point: &SharedPoint, route: Route<'_>) -> Option<Dealt> {
        let sealed = self.sealed.get(route.to.position())?;
        let dealt = Dealt::from_bytes(&sealing::unseal(sealed, point, route, &self.ephemeral)?)?;
        let fits = polynomial::fits(&dealt.certificate, route.to, &self.certificate)
            && polynomial::fits(&dealt.treasury, route.to, &self.treasury);
        fits.then_some(dealt)
    }
}

/// What all parts add up to.
pub(super) struct Sum {
    /// Commitment to the polynomial of the certificate key.
    pub(super) key_set: Vec<u8>,
    /// Commitment to the polynomial of the treasury key.
    pub(super) treasury_key: Vec<u8>,
    /// This member's share of the certificate key.
    pub(super) certificate_share: Zeroizing<[u8; 32]>,
    /// This member's share of the treasury key.
    pub(super) treasury_share: Zeroizing<[u8; 32]>,
}

/// Adds up the parts of all members, and what they dealt to this one. `None` if there is no key in it.
pub(super) fn add_up(parts: &BTreeMap<MemberIndex, Part>, dealt: &[Dealt]) -> Option<Sum> {
    let bytes = |share: Vec<u8>| -> Option<Zeroizing<[u8; 32]>> {
        Some(Zeroizing::new(Zeroizing::new(share).as_slice().try_into().ok()?))
    };
    Some(Sum {
        key_set: polynomial::sum(parts.values().map(|part| &part.certificate))?,
        treasury_key: polynomial::sum(parts.values().map(|part| &part.treasury))?,
        certificate_share: bytes(polynomial::sum_shares(dealt.iter().map(|dealt| &dealt.certificate)).serialize())?,
        treasury_share: bytes(polynomial::sum_shares(dealt.iter().map(|dealt| &dealt.treasury)).serialize())?,
    })
}

#[cfg(test)]
mod tests;
