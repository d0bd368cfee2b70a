//! ECDSA signatures and keys as they stand in scripts.

use secp256k1_zkp::{Message, PublicKey, SECP256K1, ecdsa};

use super::checker::ScriptVersion;
use super::{Flags, ScriptError};

const ANYONECANPAY: u8 = 0x80;
const RANGEPROOF: u8 = 0x40;

/// Checks the form of a signature, with or without its hash type. An empty one is always right: it is a signature that is
/// missing on purpose.
///
/// # Errors
/// [`ScriptError::SigDer`], [`ScriptError::SigHighS`] or [`ScriptError::SigHashType`], if the flags ask for it.
pub(super) fn check_signature_encoding(der: &[u8], hash_type: Option<u8>, flags: Flags) -> Result<(), ScriptError> {
    if flags.intersects(Flags::DERSIG | Flags::LOW_S | Flags::STRICTENC) && !is_strict_der(der) {
        return Err(ScriptError::SigDer);
    }
    if flags.contains(Flags::LOW_S) && !has_low_s(der) {
        return Err(ScriptError::SigHighS);
    }
    match hash_type {
        Some(byte) if flags.contains(Flags::STRICTENC) => {
            let range_proof = if flags.contains(Flags::SIGHASH_RANGEPROOF) { RANGEPROOF } else { 0 };
            match byte & !(ANYONECANPAY | range_proof) {
                1..=3 => Ok(()),
                _ => Err(ScriptError::SigHashType(byte)),
            }
        }
        _ => Ok(()),
    }
}

/// Checks the form of a key.
///
/// # Errors
/// [`ScriptError::PubkeyType`] or [`ScriptError::WitnessPubkeyType`], if the flags ask for it.
pub(super) fn check_key_encoding(key: &[u8], version: ScriptVersion, flags: Flags) -> Result<(), ScriptError> {
    let uncompressed = key.len() == 65 && key.first() == Some(&4);
    if flags.contains(Flags::STRICTENC) && !is_compressed(key) && !uncompressed {
        return Err(ScriptError::PubkeyType(key.len()));
    }
    if flags.contains(Flags::WITNESS_PUBKEYTYPE) && version == ScriptVersion::WitnessV0 && !is_compressed(key) {
        return Err(ScriptError::WitnessPubkeyType(key.len()));
    }
    Ok(())
}

/// Whether these are the 33 bytes of a compressed key, by their form.
pub(super) fn is_compressed(key: &[u8]) -> bool {
    key.len() == 33 && matches!(key.first(), Some(2 | 3))
}

/// Whether the key made this signature over the digest. Without [`Flags::DERSIG`] the signature may have any form that
/// OpenSSL once understood; high S is allowed.
pub(super) fn verify_ecdsa(der: &[u8], key: &[u8], digest: [u8; 32]) -> bool {
    let Ok(key) = PublicKey::from_slice(key) else { return false };
    let Ok(mut signature) = ecdsa::Signature::from_der_lax(der) else { return false };
    signature.normalize_s();
    SECP256K1.verify_ecdsa(&Message::from_digest(digest), &signature, &key).is_ok()
}

/// Whether S is in the lower half of its range.
fn has_low_s(der: &[u8]) -> bool {
    ecdsa::Signature::from_der_lax(der).is_ok_and(|signature| {
        let mut normalized = signature;
        normalized.normalize_s();
        normalized == signature
    })
}

/// `30 <length> 02 <length> R 02 <length> S`, both numbers positive and in their shortest form.
fn is_strict_der(der: &[u8]) -> bool {
    // With the hash type 9 to 73 bytes.
    if !(8..=72).contains(&der.len()) {
        return false;
    }
    let [0x30, total, body @ ..] = der else { return false };
    if usize::from(*total) != body.len() {
        return false;
    }
    match integer(body).and_then(integer) {
        Some(rest) => rest.is_empty(),
        None => false,
    }
}

/// Reads a positive integer in its shortest form and gives what follows it.
fn integer(bytes: &[u8]) -> Option<&[u8]> {
    let [0x02, length, rest @ ..] = bytes else { return None };
    let (value, rest) = rest.split_at_checked(usize::from(*length))?;
    match value {
        [] => None,
        [first, ..] if first & 0x80 != 0 => None,
        [0, second, ..] if second & 0x80 == 0 => None,
        _ => Some(rest),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use super::*;

    #[test]
    fn forms_of_signatures() {
        let key = secp256k1_zkp::SecretKey::from_slice(&[7; 32]).unwrap();
        let digest = [9; 32];
        let der = SECP256K1.sign_ecdsa(&Message::from_digest(digest), &key).serialize_der().to_vec();
        let public = key.public_key(SECP256K1);
        let mut hybrid = public.serialize_uncompressed();
        hybrid[0] = 6 | (hybrid[64] & 1);
        assert!(verify_ecdsa(&der, &public.serialize(), digest));
        assert!(verify_ecdsa(&der, &public.serialize_uncompressed(), digest));
        assert!(verify_ecdsa(&der, &hybrid, digest));
        assert!(!verify_ecdsa(&der, &public.serialize(), [8; 32]));
        assert!(!verify_ecdsa(&der, b"not a key", digest));

        let mut padded = der.clone();
        padded.insert(4, 0);
        padded[1] += 1;
        padded[3] += 1;
        assert!(verify_ecdsa(&padded, &public.serialize(), digest), "the old form");
        let mut longer = der.clone();
        longer.push(0);
        let mut negative = der.clone();
        negative[4] |= 0x80;
        for bad in [padded, longer, negative, der[..der.len() - 1].to_vec(), vec![0x30], vec![0; 80]] {
            assert_eq!(check_signature_encoding(&bad, Some(1), Flags::DERSIG), Err(ScriptError::SigDer));
            assert_eq!(check_signature_encoding(&bad, Some(1), Flags::NONE), Ok(()));
        }
        for hash_type in [0, 4, 0x41, 0xff] {
            let refused = Err(ScriptError::SigHashType(hash_type));
            assert_eq!(check_signature_encoding(&der, Some(hash_type), Flags::STRICTENC), refused);
            assert_eq!(check_signature_encoding(&der, Some(hash_type), Flags::DERSIG), Ok(()));
        }
        let flags = Flags::STRICTENC | Flags::SIGHASH_RANGEPROOF;
        assert_eq!(check_signature_encoding(&der, Some(0xc3), flags), Ok(()));
        assert_eq!(check_signature_encoding(&der, None, flags), Ok(()), "without hash type");
        let strict = |key: &[u8]| check_key_encoding(key, ScriptVersion::Base, Flags::STRICTENC);
        assert_eq!(strict(&public.serialize_uncompressed()), Ok(()));
        assert_eq!(strict(&hybrid), Err(ScriptError::PubkeyType(65)));
        let witness = |key: &[u8]| check_key_encoding(key, ScriptVersion::WitnessV0, Flags::WITNESS_PUBKEYTYPE);
        assert_eq!(witness(&public.serialize()), Ok(()));
        assert_eq!(witness(&hybrid), Err(ScriptError::WitnessPubkeyType(65)));
    }
}
