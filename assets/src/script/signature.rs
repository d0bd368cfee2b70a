//! ECDSA signatures as they stand in scripts: strict DER and a hash type byte.

use secp256k1_zkp::{Message, PublicKey, SECP256K1, ecdsa};

use super::ScriptError;

/// A signature in strict DER (BIP 66) with its hash type.
#[derive(Clone, Copy, Debug)]
pub(super) struct EcdsaSignature<'a> {
    der: &'a [u8],
    /// The last byte. Consensus gives a meaning to every value.
    pub(super) hash_type: u8,
}

impl<'a> EcdsaSignature<'a> {
    /// Takes a stack element apart; an empty one is a signature that is missing on purpose.
    pub(super) fn parse(element: &'a [u8]) -> Result<Option<Self>, ScriptError> {
        match element.split_last() {
            None => Ok(None),
            Some((hash_type, der)) if is_strict_der(der) => Ok(Some(Self { der, hash_type: *hash_type })),
            Some(_) => Err(ScriptError::SignatureEncoding),
        }
    }

    /// Whether the key made this signature over the digest. High S is allowed by consensus.
    pub(super) fn verify(&self, key: &[u8], digest: [u8; 32]) -> bool {
        let Ok(key) = PublicKey::from_slice(key) else { return false };
        let Ok(mut signature) = ecdsa::Signature::from_der_lax(self.der) else { return false };
        signature.normalize_s();
        SECP256K1.verify_ecdsa(&Message::from_digest(digest), &signature, &key).is_ok()
    }

    /// Whether S is in the lower half of its range.
    pub(super) fn has_low_s(&self) -> bool {
        ecdsa::Signature::from_der_lax(self.der).is_ok_and(|signature| {
            let mut normalized = signature;
            normalized.normalize_s();
            normalized == signature
        })
    }
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
    fn only_strict_der_is_taken() {
        let key = secp256k1_zkp::SecretKey::from_slice(&[7; 32]).unwrap();
        let digest = [9; 32];
        let der = SECP256K1.sign_ecdsa(&Message::from_digest(digest), &key).serialize_der().to_vec();
        let with_type = |der: &[u8]| [der, &[1]].concat();
        let good = with_type(&der);
        let parsed = EcdsaSignature::parse(&good).unwrap().unwrap();
        let public = key.public_key(SECP256K1);
        assert!(parsed.verify(&public.serialize(), digest));
        assert!(parsed.verify(&public.serialize_uncompressed(), digest));
        assert!(!parsed.verify(&public.serialize(), [8; 32]));
        assert!(!parsed.verify(b"not a key", digest));
        assert!(parsed.has_low_s());
        assert!(EcdsaSignature::parse(&[]).unwrap().is_none());

        let mut padded = der.clone();
        padded.insert(4, 0);
        padded[1] += 1;
        padded[3] += 1;
        let mut longer = der.clone();
        longer.push(0);
        let mut negative = der.clone();
        negative[4] |= 0x80;
        for bad in [padded, longer, negative, der[..der.len() - 1].to_vec(), vec![0x30], vec![], vec![0; 80]] {
            assert_eq!(EcdsaSignature::parse(&with_type(&bad)).err(), Some(ScriptError::SignatureEncoding));
        }
    }
}
