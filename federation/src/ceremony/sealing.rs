//! Encrypting a share so that only its recipient can read it, and anybody can once the recipient shows how.
//!
//! The key is HKDF-SHA256 over the Diffie-Hellman point of an ephemeral key of the dealer and the host key of the recipient,
//! bound to session, dealer and recipient; the cipher is ChaCha20-Poly1305. Each key encrypts one message, so the nonce is
//! zero. Opening is a function of the point: a recipient that complains reveals the point, and everybody opens the same.
//!
//! A dealer proves that it knows its ephemeral secret. Otherwise it could use somebody else's key of an earlier ceremony as
//! its own, provoke a complaint, and read with the point revealed what was dealt there.

use bitcoin::secp256k1::{Keypair, Message, PublicKey, SECP256K1, SecretKey, ecdh, schnorr};
use chacha20poly1305::{
    ChaCha20Poly1305, KeyInit, Nonce,
    aead::{Aead, Payload},
};
use hkdf::Hkdf;
use rand_core::{CryptoRng, RngCore};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::{encoding::tagged_hash, roster::MemberIndex};

/// Bytes of what is encrypted for a member: a share of either key.
pub(super) const PLAIN_SIZE: usize = 64;
/// Bytes of the encrypted form.
pub(super) const SEALED_SIZE: usize = PLAIN_SIZE + 16;

/// From whom to whom, in which ceremony.
#[derive(Clone, Copy)]
pub(super) struct Route<'a> {
    pub(super) session: &'a [u8; 32],
    pub(super) from: MemberIndex,
    pub(super) to: MemberIndex,
}

/// The Diffie-Hellman point of an ephemeral key and a host key: x and y. Wiped on drop.
pub(super) type SharedPoint = Zeroizing<[u8; 64]>;

pub(super) fn shared_point(public: &PublicKey, secret: &SecretKey) -> SharedPoint {
    Zeroizing::new(ecdh::shared_secret_point(public, secret))
}

pub(super) fn random_key<R: RngCore + CryptoRng>(rng: &mut R) -> Keypair {
    loop {
        let mut bytes = Zeroizing::new([0; 32]);
        rng.fill_bytes(&mut *bytes);
        if let Ok(mut secret) = SecretKey::from_slice(&*bytes) {
            let pair = Keypair::from_secret_key(SECP256K1, &secret);
            secret.non_secure_erase();
            return pair;
        }
    }
}

fn ownership(session: &[u8; 32], dealer: MemberIndex) -> Message {
    Message::from_digest(tagged_hash("aquifer/ceremony/ephemeral/v2", &[session, &dealer.0.to_le_bytes()]))
}

/// Proves that the dealer knows its ephemeral secret.
pub(super) fn prove_ownership(ephemeral: &Keypair, session: &[u8; 32], dealer: MemberIndex) -> [u8; 64] {
    SECP256K1.sign_schnorr_no_aux_rand(&ownership(session, dealer), ephemeral).serialize()
}

/// Reads an ephemeral key and checks that the dealer knows its secret.
pub(super) fn open_ephemeral(
    key: &[u8; 33],
    proof: &[u8; 64],
    session: &[u8; 32],
    dealer: MemberIndex,
) -> Option<PublicKey> {
    let key = PublicKey::from_slice(key).ok()?;
    let proof = schnorr::Signature::from_slice(proof).ok()?;
    let (x, _) = key.x_only_public_key();
    SECP256K1.verify_schnorr(&proof, &ownership(session, dealer), &x).ok()?;
    Some(key)
}

/// The cipher for one share, and the context it is bound to.
fn cipher(point: &SharedPoint, route: Route<'_>, ephemeral: &PublicKey) -> Option<(ChaCha20Poly1305, Vec<u8>)> {
    let mut context = b"aquifer/ceremony/share/v2".to_vec();
    context.extend(route.from.0.to_le_bytes());
    context.extend(route.to.0.to_le_bytes());
    context.extend(ephemeral.serialize());
    let mut key = Zeroizing::new([0; 32]);
    Hkdf::<Sha256>::new(Some(route.session), point.as_slice()).expand(&context, &mut *key).ok()?;
    Some((ChaCha20Poly1305::new(key.as_slice().into()), context))
}

pub(super) fn seal(
    plain: &[u8; PLAIN_SIZE],
    point: &SharedPoint,
    route: Route<'_>,
    ephemeral: &PublicKey,
) -> Option<[u8; SEALED_SIZE]> {
    let (cipher, context) = cipher(point, route, ephemeral)?;
    cipher.encrypt(&Nonce::default(), Payload { msg: plain, aad: &context }).ok()?.try_into().ok()
}

pub(super) fn unseal(
    sealed: &[u8; SEALED_SIZE],
    point: &SharedPoint,
    route: Route<'_>,
    ephemeral: &PublicKey,
) -> Option<Zeroizing<Vec<u8>>> {
    let (cipher, context) = cipher(point, route, ephemeral)?;
    cipher.decrypt(&Nonce::default(), Payload { msg: sealed, aad: &context }).ok().map(Zeroizing::new)
}
