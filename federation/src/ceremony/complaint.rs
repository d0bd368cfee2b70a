//! Complaints: how everybody learns whether a bad share is the fault of its dealer or of who complains.
//!
//! Shares are encrypted, so a member that says "mine does not fit" could as well be lying. It therefore reveals the
//! Diffie-Hellman point that its share is encrypted with, and proves that it is the right one: that its host key and the
//! point have the same discrete logarithm, to the generator and to the dealer's ephemeral key (Chaum and Pedersen's proof,
//! made non-interactive by hashing). With the point everybody opens the share and sees for itself.
//!
//! The point says nothing of other shares or of the host key. The share it opens is one of `n` parts of a share that is
//! never used: a complaint ends the ceremony.
//!
//! A complaint is a function of the host key and what it is about, without fresh randomness: said again after a restart,
//! it has the same bytes.

use bitcoin::secp256k1::{Keypair, PublicKey, SECP256K1, Scalar, SecretKey};
use borsh::{BorshDeserialize, BorshSerialize};
use zeroize::Zeroizing;

use super::{
    CeremonyFault,
    deal::Part,
    sealing::{Route, SharedPoint, shared_point},
};
use crate::{
    encoding::tagged_hash,
    roster::{MemberIndex, Roster},
};

/// A member says that what it was dealt is wrong, and lets everybody see.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(super) struct Complaint {
    /// Whom it accuses.
    pub(super) dealer: MemberIndex,
    /// The Diffie-Hellman point of the dealer's ephemeral key and the host key of the member that complains.
    pub(super) point: [u8; 33],
    /// That it is this point: challenge and response.
    pub(super) proof: [[u8; 32]; 2],
}

/// A public key made of x and y.
fn point_of(shared: &SharedPoint) -> Option<PublicKey> {
    let mut uncompressed = Zeroizing::new([4u8; 65]);
    uncompressed.get_mut(1..)?.copy_from_slice(shared.as_slice());
    PublicKey::from_slice(&*uncompressed).ok()
}

fn coordinates(point: &PublicKey) -> Option<SharedPoint> {
    let uncompressed = point.serialize_uncompressed();
    Some(Zeroizing::new(uncompressed.get(1..)?.try_into().ok()?))
}

/// The challenge over everything that the proof is about. Zero and values above the group order, one in 2^128, are refused.
fn challenge(route: Route<'_>, points: [&PublicKey; 5]) -> Option<SecretKey> {
    let points = points.map(PublicKey::serialize);
    let (from, to) = (route.from.0.to_le_bytes(), route.to.0.to_le_bytes());
    let mut parts: Vec<&[u8]> = vec![route.session, &from, &to];
    parts.extend(points.iter().map(<[u8; 33]>::as_slice));
    SecretKey::from_slice(&tagged_hash("aquifer/ceremony/complaint/v2", &parts)).ok()
}

/// Complains about what `route.from` dealt to `route.to`, the owner of the host key.
pub(super) fn complain(host: &Keypair, ephemeral: &PublicKey, route: Route<'_>) -> Option<Complaint> {
    let mut secret = host.secret_key();
    let complaint = try_complain(&secret, &host.public_key(), ephemeral, route);
    secret.non_secure_erase();
    complaint
}

fn try_complain(secret: &SecretKey, public: &PublicKey, ephemeral: &PublicKey, route: Route<'_>) -> Option<Complaint> {
    let point = point_of(&shared_point(ephemeral, secret))?;
    let secret_bytes = Zeroizing::new(secret.secret_bytes());
    let nonce = Zeroizing::new(tagged_hash(
        "aquifer/ceremony/complaint-nonce/v2",
        &[&*secret_bytes, route.session, &ephemeral.serialize(), &point.serialize(), &route.from.0.to_le_bytes()],
    ));
    let mut nonce = SecretKey::from_slice(&*nonce).ok()?;
    // Multiplication with a secret goes through Diffie-Hellman, which takes the same time for every secret.
    let commitments = (nonce.public_key(SECP256K1), point_of(&shared_point(ephemeral, &nonce))?);
    let challenge = challenge(route, [public, ephemeral, &point, &commitments.0, &commitments.1])?;
    let product = secret.mul_tweak(&Scalar::from(challenge)).ok()?;
    let response = nonce.add_tweak(&Scalar::from(product));
    nonce.non_secure_erase();
    let proof = [challenge.secret_bytes(), response.ok()?.secret_bytes()];
    Some(Complaint { dealer: route.from, point: point.serialize(), proof })
}

/// The point that a complaint reveals, if the proof holds.
fn proven_point(
    complaint: &Complaint,
    public: &PublicKey,
    ephemeral: &PublicKey,
    route: Route<'_>,
) -> Option<PublicKey> {
    let point = PublicKey::from_slice(&complaint.point).ok()?;
    let [challenge_bytes, response] = &complaint.proof;
    let response = SecretKey::from_slice(response).ok()?;
    let minus = Scalar::from(SecretKey::from_slice(challenge_bytes).ok()?.negate());
    // response * base - challenge * target, for both pairs.
    let to_generator = response.public_key(SECP256K1).combine(&public.mul_tweak(SECP256K1, &minus).ok()?).ok()?;
    let to_ephemeral = ephemeral
        .mul_tweak(SECP256K1, &Scalar::from(response))
        .ok()?
        .combine(&point.mul_tweak(SECP256K1, &minus).ok()?)
        .ok()?;
    let expected = challenge(route, [public, ephemeral, &point, &to_generator, &to_ephemeral])?;
    (expected.secret_bytes() == *challenge_bytes).then_some(point)
}

/// Who is at fault: the dealer if what it dealt is wrong, else the member that complains. Everybody comes to the same
/// verdict.
pub(super) fn judge(roster: &Roster, complaint: &Complaint, part: &Part, route: Route<'_>) -> CeremonyFault {
    let is_wrong = || {
        let card = roster.member(route.to)?;
        let point = proven_point(complaint, &card.host_key, &part.ephemeral, route)?;
        Some(part.dealt(&coordinates(&point)?, route).is_none())
    };
    if is_wrong() == Some(true) {
        CeremonyFault::BadShare { dealer: route.from, recipient: route.to }
    } else {
        CeremonyFault::FalseComplaint { member: route.to, dealer: route.from }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn key(byte: u8) -> Keypair {
        Keypair::from_seckey_slice(SECP256K1, &[byte; 32]).unwrap()
    }

    const ROUTE: Route<'static> = Route { session: &[7; 32], from: MemberIndex(1), to: MemberIndex(2) };

    #[test]
    fn a_proof_holds_for_its_own_point_only() {
        let (host, ephemeral) = (key(1), key(2).public_key());
        let complaint = complain(&host, &ephemeral, ROUTE).unwrap();
        assert_eq!(complain(&host, &ephemeral, ROUTE).unwrap(), complaint, "said again, it has the same bytes");
        let proven = |complaint: &Complaint, route| proven_point(complaint, &host.public_key(), &ephemeral, route);
        let point = proven(&complaint, ROUTE).unwrap();
        assert_eq!(coordinates(&point).unwrap(), shared_point(&ephemeral, &host.secret_key()));
        assert_eq!(coordinates(&point).unwrap(), shared_point(&host.public_key(), &key(2).secret_key()));

        let other = Complaint { point: key(3).public_key().serialize(), ..complaint.clone() };
        assert_eq!(proven(&other, ROUTE), None);
        for (item, byte) in [(0, 0), (0, 31), (1, 0), (1, 31)] {
            let mut changed = complaint.clone();
            let part = changed.proof.get_mut(item).unwrap();
            *part.get_mut(byte).unwrap() ^= 1;
            assert_eq!(proven(&changed, ROUTE), None);
        }
        assert_eq!(proven(&complaint, Route { session: &[8; 32], ..ROUTE }), None);
        assert_eq!(proven(&complaint, Route { to: MemberIndex(3), ..ROUTE }), None);
        assert_eq!(proven_point(&complaint, &key(4).public_key(), &ephemeral, ROUTE), None);
        assert_eq!(proven_point(&complaint, &host.public_key(), &key(4).public_key(), ROUTE), None);
    }
}
