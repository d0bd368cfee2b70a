#![allow(clippy::unwrap_used)]

use bitcoin::secp256k1::Keypair;
use frost_core::{Ciphersuite, keys::dkg};
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

use super::*;
use crate::{keys::identifier, roster::tests::federation_of};

const US: MemberIndex = MemberIndex(0);
const THEM: MemberIndex = MemberIndex(1);

fn open(part: &Part, session: &[u8; 32], host: &Keypair, to: MemberIndex) -> Option<Dealt> {
    let point = sealing::shared_point(&part.ephemeral, &host.secret_key());
    part.dealt(&point, Route { session, from: US, to })
}

/// A member that runs FROST's own key generation against a part that was dealt here ends with the same key as we do.
fn same_as_frost<C: Ciphersuite>(commitment: &Commitment<C>, ours: SigningShare<C>, theirs: SigningShare<C>) {
    let mut rng = ChaCha20Rng::seed_from_u64(4);
    let (our_id, their_id) = (identifier::<C>(US).unwrap(), identifier::<C>(THEM).unwrap());
    let (secret, package) = dkg::part1::<C, _>(their_id, 2, 2, &mut rng).unwrap();
    let to_us = SigningShare::from_coefficients(&secret.coefficients(), our_id);
    let to_themselves = SigningShare::from_coefficients(&secret.coefficients(), their_id);

    // FROST's side: the last part of its key generation, which checks our share and adds up.
    let ours_for_frost = dkg::round1::Package::new(commitment.clone(), *package.proof_of_knowledge());
    let secret =
        dkg::round2::SecretPackage::new(their_id, package.commitment().clone(), to_themselves.to_scalar(), 2, 2);
    let packages = BTreeMap::from([(our_id, ours_for_frost)]);
    let shares = BTreeMap::from([(our_id, dkg::round2::Package::new(theirs))]);
    let (key_package, public) = dkg::part3(&secret, &packages, &shares).unwrap();

    // Ours.
    assert!(polynomial::fits(&to_us, US, package.commitment()));
    let sum = polynomial::sum([commitment, package.commitment()].into_iter()).unwrap();
    let group = Commitment::<C>::deserialize_whole(&sum).unwrap();
    assert!(polynomial::fits(&polynomial::sum_shares([&ours, &to_us].into_iter()), US, &group));
    let share = polynomial::sum_shares([&theirs, &to_themselves].into_iter());
    assert!(polynomial::fits(&share, THEM, &group));
    let places = [our_id, their_id].into_iter().collect();
    let plain = frost_core::keys::PublicKeyPackage::from_commitment(&places, &group).unwrap();
    let key_of_share = frost_core::keys::KeyPackage::new(their_id, share, share.into(), *plain.verifying_key(), 2);
    let (key_of_share, plain) = C::post_dkg(key_of_share, plain).unwrap();
    assert_eq!(public, plain);
    assert_eq!(key_package, key_of_share);
}

#[test]
fn a_member_that_runs_plain_frost_gets_the_same_keys() {
    let (seeds, roster) = federation_of(2);
    let mut rng = ChaCha20Rng::seed_from_u64(3);
    let session = [7; 32];
    let reveal = deal(&roster, &session, US, &mut rng).unwrap();
    let part = Part::open(&session, US, &reveal).unwrap();
    let mut hosts = seeds.iter().map(|seed| seed.keys().host);
    let ours = open(&part, &session, &hosts.next().unwrap(), US).unwrap();
    let theirs = open(&part, &session, &hosts.next().unwrap(), THEM).unwrap();
    same_as_frost(&part.certificate, ours.certificate, theirs.certificate);
    same_as_frost(&part.treasury, ours.treasury, theirs.treasury);
    assert_ne!(ours.certificate.serialize(), ours.treasury.serialize(), "independent secrets");
}

#[test]
fn proofs_hold_in_their_session_and_for_their_dealer_only() {
    let (_, roster) = federation_of(4);
    let mut rng = ChaCha20Rng::seed_from_u64(5);
    let session = [7; 32];
    let reveal = deal(&roster, &session, US, &mut rng).unwrap();
    assert!(Part::open(&session, US, &reveal).is_ok());
    for (session, dealer) in [([8; 32], US), (session, THEM)] {
        assert!(polynomial::open::<BlsG1, 48, 80>(&reveal.certificate, &session, dealer).is_none());
        assert!(polynomial::open::<TreasurySuite, 33, 64>(&reveal.treasury, &session, dealer).is_none());
        let ephemeral = sealing::open_ephemeral(&reveal.ephemeral_key, &reveal.ephemeral_proof, &session, dealer);
        assert!(ephemeral.is_none());
    }
}

#[test]
fn a_share_opens_for_its_recipient_only() {
    let (seeds, roster) = federation_of(4);
    let mut rng = ChaCha20Rng::seed_from_u64(6);
    let session = [7; 32];
    let part = Part::open(&session, US, &deal(&roster, &session, US, &mut rng).unwrap()).unwrap();
    for (position, (to, _)) in roster.indexed().enumerate() {
        for (owner, seed) in seeds.iter().enumerate() {
            let opened = open(&part, &session, &seed.keys().host, to);
            assert_eq!(opened.is_some(), owner == position);
        }
    }
}
