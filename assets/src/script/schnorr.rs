//! Schnorr signatures (BIP 340).

use bitcoin::hashes::{Hash, HashEngine, sha256};
use secp256k1_zkp::{Message, Parity, PublicKey, SECP256K1, Scalar, SecretKey, XOnlyPublicKey, schnorr};

use super::checker::SignatureChecker;
use super::{ScriptError, TaprootHashType, TaprootSpend};

/// The order of the group.
const ORDER: [u8; 32] = secp256k1_zkp::constants::CURVE_ORDER;

/// Checks a signature over the transaction: 64 bytes, or 65 with a hash type that is not the default.
///
/// # Errors
/// [`ScriptError::SchnorrSigSize`], [`ScriptError::SchnorrSigHashType`] or [`ScriptError::SchnorrSig`].
pub(super) fn check(
    checker: &dyn SignatureChecker,
    spend: &TaprootSpend,
    signature: &[u8],
    key: &[u8; 32],
) -> Result<(), ScriptError> {
    let (bytes, hash_type) = match signature.split_first_chunk::<64>() {
        Some((bytes, [])) => (bytes, TaprootHashType::DEFAULT),
        Some((bytes, [hash_type])) => {
            let known = TaprootHashType::new(*hash_type).filter(|known| *known != TaprootHashType::DEFAULT);
            (bytes, known.ok_or(ScriptError::SchnorrSigHashType(*hash_type))?)
        }
        _ => return Err(ScriptError::SchnorrSigSize(signature.len())),
    };
    // SINGLE without an output at this place has nothing to sign.
    let digest =
        checker.schnorr_digest(spend, hash_type).ok_or(ScriptError::SchnorrSigHashType(hash_type.to_byte()))?;
    if verify(bytes, &digest, key) { Ok(()) } else { Err(ScriptError::SchnorrSig) }
}

/// Whether the key made this signature over a message of any length. Digests go to the library; it takes no others, so
/// that for those the equation of BIP 340 is checked here.
pub(super) fn verify(signature: &[u8; 64], message: &[u8], key: &[u8; 32]) -> bool {
    let Ok(key) = XOnlyPublicKey::from_slice(key) else { return false };
    match <[u8; 32]>::try_from(message) {
        Ok(digest) => schnorr::Signature::from_slice(signature)
            .is_ok_and(|signature| SECP256K1.verify_schnorr(&signature, &Message::from_digest(digest), &key).is_ok()),
        Err(_) => verify_equation(signature, message, &key).is_some_and(|nonce| nonce),
    }
}

/// Whether `s * G - e * P` is the point with an even y that has the x of the signature. `None` if it is the point at
/// infinity or `s` is not below the order of the group.
fn verify_equation(signature: &[u8; 64], message: &[u8], key: &XOnlyPublicKey) -> Option<bool> {
    let (r, s) = signature.split_first_chunk::<32>()?;
    let s = Scalar::from_be_bytes(s.try_into().ok()?).ok()?;
    let e = challenge(r, key, message)?;
    // The library knows no point at infinity: a factor of zero leaves the other term alone.
    let s_g = SecretKey::from_slice(&s.to_be_bytes()).ok().map(|s| PublicKey::from_secret_key(SECP256K1, &s));
    let minus_e_p = PublicKey::from_x_only_public_key(*key, Parity::Even)
        .mul_tweak(SECP256K1, &e)
        .ok()
        .map(|product| product.negate(SECP256K1));
    let nonce = match (s_g, minus_e_p) {
        (Some(s_g), Some(minus_e_p)) => s_g.combine(&minus_e_p).ok()?,
        (Some(alone), None) | (None, Some(alone)) => alone,
        (None, None) => return None,
    };
    let (x, parity) = nonce.x_only_public_key();
    Some(parity == Parity::Even && x.serialize() == *r)
}

/// The tagged hash over nonce, key and message, modulo the order.
fn challenge(r: &[u8; 32], key: &XOnlyPublicKey, message: &[u8]) -> Option<Scalar> {
    let tag = sha256::Hash::hash(b"BIP0340/challenge").to_byte_array();
    let mut engine = sha256::Hash::engine();
    for part in [tag.as_slice(), &tag, r, &key.serialize(), message] {
        engine.input(part);
    }
    let hash = sha256::Hash::from_engine(engine).to_byte_array();
    Scalar::from_be_bytes(reduce(hash)).ok()
}

/// A number of 256 bits modulo the order, which is more than half of all of them: subtracting it once is enough.
fn reduce(number: [u8; 32]) -> [u8; 32] {
    if number < ORDER {
        return number;
    }
    let mut reduced = number;
    let mut borrow = false;
    for (digit, order) in reduced.iter_mut().zip(ORDER).rev() {
        let (once, under) = digit.overflowing_sub(order);
        let (twice, under_again) = once.overflowing_sub(u8::from(borrow));
        *digit = twice;
        borrow = under || under_again;
    }
    reduced
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use secp256k1_zkp::Keypair;

    use super::*;

    #[test]
    fn messages_of_other_lengths() {
        // BIP 340, test vectors 15 and 16.
        let key: [u8; 32] = hex::decode("778caa53b4393ac467774d09497a87224bf9fab6f6e68b23086497324d6fd117")
            .unwrap()
            .try_into()
            .unwrap();
        for (message, signature) in [
            (
                vec![],
                "71535db165ecd9fbbc046e5ffaea61186bb6ad436732fccc25291a55895464cf\
                 6069ce26bf03466228f19a3a62db8a649f2d560fac652827d1af0574e427ab63",
            ),
            (
                vec![0x11],
                "08a20a0afef64124649232e0693c583ab1b9934ae63b4c3511f3ae1134c6a303\
                 ea3173bfea6683bd101fa5aa5dbc1996fe7cacfc5a577d33ec14564cec2bacbf",
            ),
        ] {
            let mut signature: [u8; 64] = hex::decode(signature).unwrap().try_into().unwrap();
            assert!(verify(&signature, &message, &key));
            assert!(!verify(&signature, &[1, 2], &key));
            signature[40] ^= 1;
            assert!(!verify(&signature, &message, &key));
            signature[32..].copy_from_slice(&ORDER);
            assert!(!verify(&signature, &message, &key), "s is the order");
        }
    }

    #[test]
    fn the_equation_agrees_with_the_library() {
        for seed in 1..=20u8 {
            let keypair = Keypair::from_seckey_slice(SECP256K1, &[seed; 32]).unwrap();
            let digest = sha256::Hash::hash(&[seed]).to_byte_array();
            let signature = SECP256K1.sign_schnorr_no_aux_rand(&Message::from_digest(digest), &keypair);
            let mut signature: [u8; 64] = *signature.as_ref();
            let key = keypair.x_only_public_key().0;
            assert_eq!(verify_equation(&signature, &digest, &key), Some(true), "seed {seed}");
            assert!(verify(&signature, &digest, &key.serialize()));
            signature[usize::from(seed)] ^= 0x40;
            assert_ne!(verify_equation(&signature, &digest, &key), Some(true), "seed {seed}");
            // A signature with s = 0 leaves -e * P alone; it is the nonce of nothing.
            signature[32..].fill(0);
            assert_eq!(verify_equation(&signature, &digest, &key), Some(false));
        }
    }

    #[test]
    fn numbers_beyond_the_order() {
        assert_eq!(reduce(ORDER), [0; 32]);
        assert_eq!(reduce([0x11; 32]), [0x11; 32]);
        let mut one_more = ORDER;
        one_more[31] += 1;
        let mut one = [0; 32];
        one[31] = 1;
        assert_eq!(reduce(one_more), one);
        // 2^256 - 1 - order = !order.
        assert_eq!(reduce([0xff; 32]), ORDER.map(|digit| !digit));
    }
}
