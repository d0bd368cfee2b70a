//! The arithmetic of a repair, the same over either curve (the "enrolment" of <https://eprint.iacr.org/2017/1155>, as
//! `frost-core` has it), and what makes it verifiable.
//!
//! The share of member `r` is a fixed combination of the shares of any `k` helpers. Each helper splits its term of that sum
//! into `k` random summands, the *deltas*, one for each helper; a helper adds up the deltas it was given and hands the sum to
//! `r`, who adds up the sums. Nobody sees the term of another, and only `r` its share.
//!
//! Beside each delta its point is published. The points of a helper's deltas must add up to its term, whose point follows from
//! its public share: so anybody sees whether a helper splits what it should, each helper whether its delta is the one
//! that was published, and `r` whether a sum is that of the published deltas.

use std::collections::BTreeSet;

use frost_core::{
    Ciphersuite, Element, Identifier, VerifyingKey, compute_lagrange_coefficient,
    keys::{
        KeyPackage, SigningShare, VerifyingShare,
        repairable::{Delta, repair_share_part1},
    },
};
use rand_core::{CryptoRng, RngCore};

use crate::{keys::identifier, roster::MemberIndex};

fn places<C: Ciphersuite>(members: &[MemberIndex]) -> Option<Vec<Identifier<C>>> {
    members.iter().map(|member| identifier(*member)).collect()
}

/// The deltas of the helper `me`, in the order of the helpers.
pub(super) fn split<C: Ciphersuite, R: RngCore + CryptoRng>(
    share: SigningShare<C>,
    me: MemberIndex,
    helpers: &[MemberIndex],
    target: MemberIndex,
    rng: &mut R,
) -> Option<Vec<SigningShare<C>>> {
    let public = VerifyingShare::from(share);
    let threshold = u16::try_from(helpers.len()).ok()?;
    // The group's key has no part in splitting; a package is not complete without one.
    let key = VerifyingKey::new(public.to_element());
    let package = KeyPackage::new(identifier(me)?, share, public, key, threshold);
    let places = places(helpers)?;
    let deltas = repair_share_part1(&places, &package, rng, identifier(target)?).ok()?;
    let in_order = places.iter().map(|place| deltas.get(place).map(|delta: &Delta<C>| delta.to_scalar()));
    in_order.map(|delta| delta.map(SigningShare::new)).collect()
}

/// The point of a secret number, compressed. `None` for the neutral element.
pub(super) fn point<C: Ciphersuite, const SIZE: usize>(secret: SigningShare<C>) -> Option<[u8; SIZE]> {
    VerifyingShare::from(secret).serialize().ok()?.try_into().ok()
}

fn element<C: Ciphersuite>(point: &[u8]) -> Option<Element<C>> {
    Some(VerifyingShare::<C>::deserialize(point).ok()?.to_element())
}

fn sum<C: Ciphersuite>(points: &[&[u8]]) -> Option<Element<C>> {
    let mut points = points.iter().map(|point| element::<C>(point));
    let first = points.next()??;
    points.try_fold(first, |sum, point| Some(sum + point?))
}

/// Whether the points of the deltas of the helper `from` add up to its term of the share of `target`.
pub(super) fn splits_its_term<C: Ciphersuite>(
    points: &[&[u8]],
    public_share: &[u8],
    from: MemberIndex,
    helpers: &[MemberIndex],
    target: MemberIndex,
) -> bool {
    let check = || {
        let places: BTreeSet<Identifier<C>> = places(helpers)?.into_iter().collect();
        let factor = compute_lagrange_coefficient(&places, Some(identifier(target)?), identifier(from)?).ok()?;
        Some(sum::<C>(points)? == element::<C>(public_share)? * factor)
    };
    check().unwrap_or(false)
}

/// Whether a secret number is the one behind the sum of these points.
pub(super) fn is_behind<C: Ciphersuite>(secret: SigningShare<C>, points: &[&[u8]]) -> bool {
    sum::<C>(points).is_some_and(|sum| VerifyingShare::from(secret).to_element() == sum)
}
