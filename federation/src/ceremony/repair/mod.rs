//! A lost share is computed again with the help of exactly `k` other members.
//!
//! The usual way back is [`super::recover_shares`]: seed and the ceremony's messages. A repair is for the day when no copy
//! of the messages is left anywhere. It needs the seed as well, since the host key is what the others know the member by.
//!
//! # The protocol
//! Messages are signed by host keys and bound to the request; secrets travel encrypted for the host key of their recipient.
//!
//! | message | by | says |
//! |---|---|---|
//! | request | the member in need | the `k` helpers, and a random number |
//! | deltas | each helper | its part, split into one delta for each helper: points for all, the deltas encrypted |
//! | sum | each helper, once it has the deltas of all | the sum of the deltas it was given, encrypted for the member in need |
//!
//! Messages only accumulate and may arrive in any order from anyone, as in the ceremony. A helper takes part only when its
//! operator says so, for one request: [`Repair::help`] with the request whose [`Repair::code`] the operator was told.
//!
//! # Why it is safe
//! * A helper gives away random summands of its term; all `k` sums together are needed for the share, and it is that of the
//!   member in need, who is authenticated by its host key. Fewer than `k` colluding members learn nothing.
//! * Everything is checked when it arrives (see `curve`): a helper that splits something else is named by all, one that
//!   encrypts something else by who receives it, one that adds up wrongly by the member in need. At the end both
//!   shares are compared with the public ones of the federation.
//! * Everything a member says is a function of its secrets and the request. So it needs no file: restarted, it says the same.
//!   Another request has another random number, and other deltas.

mod curve;
mod fault;
mod message;

use std::{collections::BTreeMap, fmt};

use bitcoin::secp256k1::{Keypair, PublicKey};
use frost_core::{Ciphersuite, keys::SigningShare};
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
use zeroize::Zeroizing;

pub use fault::{RepairError, RepairFault};
use message::{Body, DeltaPoints, Kind, Letter, Signed};

use super::{
    MemberShares,
    deal::Dealt,
    polynomial,
    sealing::{self, Route},
    session_of,
    suite::BlsG1,
};
use crate::{
    encoding::tagged_hash,
    federation::Federation,
    keys::{BlsShare, MemberSeed, TreasuryShare, TreasurySuite},
    roster::{MemberIndex, Roster},
};

/// The name under which the messages of a member's repairs are asked for.
pub fn room_of(roster: &Roster, member: MemberIndex) -> [u8; 32] {
    tagged_hash("aquifer/repair/room/v1", &[&session_of(roster), &member.0.to_le_bytes()])
}

/// One member's view of a repair.
pub struct Repair {
    federation: Federation,
    me: MemberIndex,
    host: Keypair,
    /// What a helper computes with; nothing at the member in need.
    own: Option<MemberShares>,
    session: [u8; 32],
    in_need: MemberIndex,
    helpers: Vec<MemberIndex>,
    log: BTreeMap<(MemberIndex, Kind), Signed>,
    outcome: Option<MemberShares>,
}

impl Repair {
    /// Asks exactly `k` other members for help. `number` must be random and never used before.
    ///
    /// # Errors
    /// [`RepairError`].
    pub fn request(
        federation: &Federation,
        seed: &MemberSeed,
        me: MemberIndex,
        helpers: &[MemberIndex],
        number: [u8; 32],
    ) -> Result<Self, RepairError> {
        let mut helpers = helpers.to_vec();
        helpers.sort_unstable();
        let session = message::session_of_request(&federation.roster, me, &helpers, &number);
        let request = message::sign(&session, me, Body::Request { helpers, number }, &seed.keys().host);
        Self::open(federation, seed, me, None, &request.bytes)
    }

    /// Helps the member that signed this request.
    ///
    /// # Errors
    /// [`RepairError`].
    pub fn help(
        federation: &Federation,
        seed: &MemberSeed,
        shares: MemberShares,
        request: &[u8],
    ) -> Result<Self, RepairError> {
        let me = shares.treasury.member();
        Self::open(federation, seed, me, Some(shares), request)
    }

    fn open(
        federation: &Federation,
        seed: &MemberSeed,
        me: MemberIndex,
        own: Option<MemberShares>,
        request: &[u8],
    ) -> Result<Self, RepairError> {
        let roster = &federation.roster;
        let host = seed.keys().host;
        if roster.member(me).is_none_or(|card| card.host_key != host.public_key()) {
            return Err(RepairError::WrongSeed(me));
        }
        let (session, signed) = message::open(roster, request)?;
        let in_need = signed.from;
        let Body::Request { helpers, number } = &signed.body else {
            return Err(RepairFault::NotItsPart(in_need).into());
        };
        if session != message::session_of_request(roster, in_need, helpers, number) {
            return Err(RepairFault::OtherRepair(in_need).into());
        }
        let expected = federation.threshold();
        let ascending = helpers.windows(2).all(|pair| pair.first() < pair.last());
        let known = helpers.iter().all(|helper| *helper != in_need && roster.member(*helper).is_some());
        if helpers.len() != expected || !ascending || !known {
            return Err(RepairError::Helpers { expected });
        }
        if own.is_some() && !helpers.contains(&me) {
            return Err(RepairError::NotAsked);
        }
        let helpers = helpers.clone();
        let log = BTreeMap::from([((in_need, Kind::Request), signed)]);
        Ok(Self { federation: federation.clone(), me, host, own, session, in_need, helpers, log, outcome: None })
    }

    /// A short name of the request, to be read out by the operator of the member in need: whoever helps types it in. 64 bits
    /// of a hash, in groups.
    pub fn code(&self) -> String {
        let groups: Vec<String> = self.session.chunks(2).take(4).map(hex::encode).collect();
        groups.join("-")
    }

    /// The member in need.
    pub fn in_need(&self) -> MemberIndex {
        self.in_need
    }

    /// The helpers, in ascending order.
    pub fn helpers(&self) -> &[MemberIndex] {
        &self.helpers
    }

    /// All messages known, own and others', for anyone who asks.
    pub fn messages(&self) -> Vec<Vec<u8>> {
        self.log.values().map(|signed| signed.bytes.clone()).collect()
    }

    /// Takes in a message, from whomever it came. `true` if it was new.
    ///
    /// # Errors
    /// [`RepairFault`]. Nothing is kept of a bad message. Where it names a member, the repair cannot come to an end.
    pub fn accept(&mut self, bytes: &[u8]) -> Result<bool, RepairFault> {
        let (session, signed) = message::open(&self.federation.roster, bytes)?;
        let from = signed.from;
        if session != self.session {
            return Err(RepairFault::OtherRepair(from));
        }
        let kind = signed.body.kind();
        if let Some(known) = self.log.get(&(from, kind)) {
            let same = known.digest == signed.digest;
            return if same { Ok(false) } else { Err(RepairFault::Equivocation(from)) };
        }
        if !self.helpers.contains(&from) {
            return Err(RepairFault::NotItsPart(from));
        }
        self.check(&signed)?;
        self.log.insert((from, kind), signed);
        Ok(true)
    }

    /// What anybody can see of a helper's message.
    fn check(&self, signed: &Signed) -> Result<(), RepairFault> {
        let from = signed.from;
        match &signed.body {
            Body::Request { .. } => Err(RepairFault::NotItsPart(from)),
            Body::Sum { letter, .. } if letter.sealed.len() != 1 => Err(RepairFault::BadSum(from)),
            Body::Sum { .. } => Ok(()),
            Body::Deltas { points, letter } => {
                let right = || {
                    let complete = points.len() == self.helpers.len() && letter.sealed.len() == self.helpers.len();
                    let certificate: Vec<&[u8]> = points.iter().map(|point| point.certificate.as_slice()).collect();
                    let treasury: Vec<&[u8]> = points.iter().map(|point| point.treasury.as_slice()).collect();
                    let certificate_share = self.federation.public_key_share(from)?.to_bytes();
                    let treasury_share = self.federation.treasury_key.verifying_share(from)?;
                    let (helpers, target) = (&self.helpers, self.in_need);
                    Some(
                        complete
                            && curve::splits_its_term::<BlsG1>(&certificate, &certificate_share, from, helpers, target)
                            && curve::splits_its_term::<TreasurySuite>(
                                &treasury,
                                &treasury_share,
                                from,
                                helpers,
                                target,
                            ),
                    )
                };
                if right() == Some(true) { Ok(()) } else { Err(RepairFault::BadDeltas(from)) }
            }
        }
    }

    /// Says what can be said now, and at the member in need puts the share together. `true` if something came of it.
    ///
    /// # Errors
    /// [`RepairFault`]: the repair cannot come to an end.
    pub fn advance(&mut self) -> Result<bool, RepairFault> {
        let mut advanced = false;
        if let Some(own) = &self.own {
            if !self.log.contains_key(&(self.me, Kind::Deltas)) {
                let body = self.deltas(own).ok_or(RepairFault::BadDeltas(self.me))?;
                let signed = message::sign(&self.session, self.me, body, &self.host);
                // What is sent is what others will check: a fault of this machine ends here.
                self.check(&signed)?;
                self.log.insert((self.me, Kind::Deltas), signed);
                advanced = true;
            }
            if self.has_all(Kind::Deltas) && !self.log.contains_key(&(self.me, Kind::Sum)) {
                let body = self.sum()?;
                let signed = message::sign(&self.session, self.me, body, &self.host);
                self.log.insert((self.me, Kind::Sum), signed);
                advanced = true;
            }
        } else if self.outcome.is_none() && self.has_all(Kind::Deltas) && self.has_all(Kind::Sum) {
            self.outcome = Some(self.put_together()?);
            advanced = true;
        }
        Ok(advanced)
    }

    fn has_all(&self, kind: Kind) -> bool {
        self.helpers.iter().all(|helper| self.log.contains_key(&(*helper, kind)))
    }

    /// The helpers whose message is missing: deltas first, then sums.
    pub fn waiting_for(&self) -> Vec<MemberIndex> {
        let missing = |kind| self.helpers.iter().filter(move |helper| !self.log.contains_key(&(**helper, kind)));
        let deltas: Vec<MemberIndex> = missing(Kind::Deltas).copied().collect();
        if deltas.is_empty() { missing(Kind::Sum).copied().collect() } else { deltas }
    }

    /// Whether this helper has said everything.
    pub fn has_said_all(&self) -> bool {
        self.log.contains_key(&(self.me, Kind::Sum))
    }

    /// The repaired shares, at the member in need: compared with the public ones.
    pub fn outcome(&self) -> Option<&MemberShares> {
        self.outcome.as_ref()
    }

    /// This helper's deltas. Random, but a function of its secrets and the request: see the module.
    fn deltas(&self, own: &MemberShares) -> Option<Body> {
        let (certificate, treasury) = (own.certificate.to_bytes(), own.treasury.to_bytes());
        let mut rng = self.derived_rng("aquifer/repair/deltas/v1", &[&*certificate, &*treasury]);
        let certificate = SigningShare::<BlsG1>::deserialize(&*certificate).ok()?;
        let treasury = SigningShare::<TreasurySuite>::deserialize(&*treasury).ok()?;
        let certificate = curve::split(certificate, self.me, &self.helpers, self.in_need, &mut rng)?;
        let treasury = curve::split(treasury, self.me, &self.helpers, self.in_need, &mut rng)?;
        let deltas = certificate.into_iter().zip(treasury);
        let deltas: Vec<Dealt> = deltas.map(|(certificate, treasury)| Dealt { certificate, treasury }).collect();
        let points = deltas.iter().map(|delta| {
            Some(DeltaPoints { certificate: curve::point(delta.certificate)?, treasury: curve::point(delta.treasury)? })
        });
        let points = points.collect::<Option<_>>()?;
        let letter = self.write(&self.letters("delta"), &self.helpers, &deltas, &mut rng)?;
        Some(Body::Deltas { points, letter })
    }

    /// The sum of the deltas that this helper was given, each compared with its published point.
    fn sum(&self) -> Result<Body, RepairFault> {
        let position = self.helpers.iter().position(|helper| *helper == self.me);
        let position = position.ok_or(RepairFault::NotItsPart(self.me))?;
        let session = self.letters("delta");
        let mut given = Vec::with_capacity(self.helpers.len());
        for (from, points, letter) in self.all_deltas() {
            let delta = points.get(position).and_then(|points| {
                let delta = self.read(&session, from, letter, position)?;
                delta_fits(&delta, &[points]).then_some(delta)
            });
            given.push(delta.ok_or(RepairFault::BadDelta(from))?);
        }
        let sum = [add_up(&given)];
        let deltas_hash = self.deltas_hash();
        let plain = sum.first().and_then(Dealt::to_bytes).ok_or(RepairFault::WrongShare)?;
        // The ephemeral key depends on what it encrypts, so that no key ever encrypts two sums.
        let mut rng = self.derived_rng("aquifer/repair/sum/v1", &[plain.as_slice(), &deltas_hash]);
        let letter = self.write(&self.letters("sum"), &[self.in_need], &sum, &mut rng);
        Ok(Body::Sum { deltas_hash, letter: letter.ok_or(RepairFault::WrongShare)? })
    }

    /// The share, from the sums of all helpers.
    fn put_together(&self) -> Result<MemberShares, RepairFault> {
        let session = self.letters("sum");
        let mut sums = Vec::with_capacity(self.helpers.len());
        for (position, helper) in self.helpers.iter().enumerate() {
            let Some(Signed { body: Body::Sum { deltas_hash, letter }, .. }) = self.log.get(&(*helper, Kind::Sum))
            else {
                return Err(RepairFault::BadSum(*helper));
            };
            if *deltas_hash != self.deltas_hash() {
                return Err(RepairFault::DeltasDiffer(*helper));
            }
            let points: Vec<&DeltaPoints> =
                self.all_deltas().filter_map(|(_, points, _)| points.get(position)).collect();
            let sum = self.read(&session, *helper, letter, 0).filter(|sum| delta_fits(sum, &points));
            sums.push(sum.ok_or(RepairFault::BadSum(*helper))?);
        }
        self.checked(&add_up(&sums)).ok_or(RepairFault::WrongShare)
    }

    fn checked(&self, share: &Dealt) -> Option<MemberShares> {
        let bytes = share.to_bytes()?;
        let (certificate, treasury) = bytes.split_first_chunk::<32>()?;
        let certificate = BlsShare::from_bytes(certificate).ok()?;
        if self.federation.public_key_share(self.me) != Some(&certificate.public()) {
            return None;
        }
        let key = &self.federation.treasury_key;
        let treasury = TreasuryShare::from_bytes(treasury.first_chunk::<32>()?, self.me, key).ok()?;
        Some(MemberShares { certificate, treasury })
    }

    fn all_deltas(&self) -> impl Iterator<Item = (MemberIndex, &[DeltaPoints], &Letter)> {
        self.helpers.iter().filter_map(|helper| match &self.log.get(&(*helper, Kind::Deltas))?.body {
            Body::Deltas { points, letter } => Some((*helper, points.as_slice(), letter)),
            _ => None,
        })
    }

    fn deltas_hash(&self) -> [u8; 32] {
        let digests = self.helpers.iter().filter_map(|helper| self.log.get(&(*helper, Kind::Deltas)));
        let digests: Vec<&[u8]> = digests.map(|signed| signed.digest.as_slice()).collect();
        tagged_hash("aquifer/repair/deltas-hash/v1", &digests)
    }

    /// What letters of a kind are bound to.
    fn letters(&self, kind: &str) -> [u8; 32] {
        tagged_hash("aquifer/repair/letters/v1", &[&self.session, kind.as_bytes()])
    }

    /// Randomness that only this member can know, and has again after a restart.
    fn derived_rng(&self, tag: &str, parts: &[&[u8]]) -> ChaCha20Rng {
        let secret = Zeroizing::new(self.host.secret_bytes());
        let mut all: Vec<&[u8]> = vec![&*secret, &self.session];
        all.extend(parts);
        ChaCha20Rng::from_seed(tagged_hash(tag, &all))
    }

    fn write(
        &self,
        session: &[u8; 32],
        to: &[MemberIndex],
        secrets: &[Dealt],
        rng: &mut ChaCha20Rng,
    ) -> Option<Letter> {
        let mut pair = sealing::random_key(rng);
        let ephemeral = pair.public_key();
        let mut secret = pair.secret_key();
        let sealed = to.iter().zip(secrets).map(|(to, content)| {
            let card = self.federation.roster.member(*to)?;
            let point = sealing::shared_point(&card.host_key, &secret);
            sealing::seal(&*content.to_bytes()?, &point, Route { session, from: self.me, to: *to }, &ephemeral)
        });
        let sealed = sealed.collect::<Option<_>>();
        secret.non_secure_erase();
        pair.non_secure_erase();
        Some(Letter { ephemeral_key: ephemeral.serialize(), sealed: sealed? })
    }

    fn read(&self, session: &[u8; 32], from: MemberIndex, letter: &Letter, position: usize) -> Option<Dealt> {
        let ephemeral = PublicKey::from_slice(&letter.ephemeral_key).ok()?;
        let mut secret = self.host.secret_key();
        let point = sealing::shared_point(&ephemeral, &secret);
        secret.non_secure_erase();
        let route = Route { session, from, to: self.me };
        Dealt::from_bytes(&sealing::unseal(letter.sealed.get(position)?, &point, route, &ephemeral)?)
    }
}

/// Whether both secrets are behind the sums of these points.
fn delta_fits(delta: &Dealt, points: &[&DeltaPoints]) -> bool {
    let certificate: Vec<&[u8]> = points.iter().map(|point| point.certificate.as_slice()).collect();
    let treasury: Vec<&[u8]> = points.iter().map(|point| point.treasury.as_slice()).collect();
    curve::is_behind(delta.certificate, &certificate) && curve::is_behind(delta.treasury, &treasury)
}

fn add_up(secrets: &[Dealt]) -> Dealt {
    Dealt {
        certificate: sum_of(secrets, |secret| &secret.certificate),
        treasury: sum_of(secrets, |secret| &secret.treasury),
    }
}

fn sum_of<C: Ciphersuite>(secrets: &[Dealt], side: impl Fn(&Dealt) -> &SigningShare<C>) -> SigningShare<C> {
    polynomial::sum_shares(secrets.iter().map(side))
}

impl fmt::Debug for Repair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Repair").field("in_need", &self.in_need).field("code", &self.code()).finish_non_exhaustive()
    }
}

impl Drop for Repair {
    fn drop(&mut self) {
        self.host.non_secure_erase();
    }
}

#[cfg(test)]
mod tests;
