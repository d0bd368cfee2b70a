//! The certificate of a block: one BLS signature of the federation under one key that never changes.
//!
//! Any k members make it together; a phone can check it without knowing the members. It is the basic BLS scheme with
//! public keys in G1 (`BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_NUL_`), so every standard BLS library can check it too.
//! What is signed is bound to the chain, the height and the block, under a tag of its own.

use elements::BlockHash;
use elements::hashes::sha256;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use threshold_crypto::{PublicKey, Signature};

/// Size of a certificate in bytes.
const CERTIFICATE_SIZE: usize = 97;
/// The scheme of this version: BLS12-381, keys in G1, signatures in G2.
const SCHEME_BLS12_381: u8 = 1;
const TAG: &[u8] = b"aquifer/certificate/v1";

/// A certificate is malformed or does not speak for the block.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// Not 97 bytes.
    #[error("a certificate has {CERTIFICATE_SIZE} bytes, not {0}")]
    Length(usize),
    /// A scheme of the future, or no certificate at all.
    #[error("unknown certificate scheme {0}; this version knows scheme {SCHEME_BLS12_381}")]
    Scheme(u8),
    /// The bytes are no point of the group.
    #[error("the certificate's signature is not a valid group element")]
    Signature,
    /// The bytes are no usable key.
    #[error("the certificate key is not a valid public key")]
    Key,
    /// The federation did not sign this block of this chain at this height.
    #[error("the certificate does not match block {block} at height {height}")]
    Mismatch {
        /// Height that was asked about.
        height: u32,
        /// Block that was asked about.
        block: BlockHash,
    },
}

/// What a certificate signs: a tagged hash of the chain, the height (little-endian) and the block hash.
pub fn certificate_message(genesis: &BlockHash, height: u32, block: &BlockHash) -> [u8; 32] {
    let tag = sha256::Hash::hash(TAG).to_byte_array();
    let parts: [&[u8]; 5] = [&tag, &tag, &genesis.to_byte_array(), &height.to_le_bytes(), &block.to_byte_array()];
    sha256::Hash::hash(&parts.concat()).to_byte_array()
}

/// A certificate: a scheme byte and the signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate(Signature);

impl Certificate {
    /// Wraps a combined signature of the federation.
    pub fn new(signature: Signature) -> Self {
        Self(signature)
    }

    /// The 97 bytes that are stored and sent.
    pub fn to_bytes(&self) -> [u8; CERTIFICATE_SIZE] {
        let mut bytes = [SCHEME_BLS12_381; CERTIFICATE_SIZE];
        for (to, from) in bytes.iter_mut().skip(1).zip(self.0.to_bytes()) {
            *to = from;
        }
        bytes
    }

    /// Reads a certificate.
    ///
    /// # Errors
    /// If the length, the scheme or the signature's encoding is wrong.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CertificateError> {
        if bytes.len() != CERTIFICATE_SIZE {
            return Err(CertificateError::Length(bytes.len()));
        }
        let (scheme, signature) = bytes.split_first().ok_or(CertificateError::Length(0))?;
        if *scheme != SCHEME_BLS12_381 {
            return Err(CertificateError::Scheme(*scheme));
        }
        let signature = <[u8; 96]>::try_from(signature).map_err(|_| CertificateError::Length(bytes.len()))?;
        Signature::from_bytes(signature).map(Self).map_err(|_| CertificateError::Signature)
    }
}

/// The key that certificates are checked with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CertificateKey(PublicKey);

impl CertificateKey {
    /// Wraps the federation's public key.
    ///
    /// # Errors
    /// If it is the neutral element, under which anything would verify.
    pub fn new(key: PublicKey) -> Result<Self, CertificateError> {
        let bytes = key.to_bytes();
        // Compressed encoding of the neutral element: the compression and infinity bits, then zeros.
        let neutral = bytes.first() == Some(&0xc0) && bytes.iter().skip(1).all(|byte| *byte == 0);
        if neutral { Err(CertificateError::Key) } else { Ok(Self(key)) }
    }

    /// The compressed key.
    pub fn to_bytes(&self) -> [u8; 48] {
        self.0.to_bytes()
    }

    /// Reads a compressed key.
    ///
    /// # Errors
    /// If the bytes are no element of the group, or its neutral one.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CertificateError> {
        let bytes = <[u8; 48]>::try_from(bytes).map_err(|_| CertificateError::Key)?;
        Self::new(PublicKey::from_bytes(bytes).map_err(|_| CertificateError::Key)?)
    }

    /// Checks that the federation certified this block of this chain at this height.
    ///
    /// # Errors
    /// [`CertificateError::Mismatch`] if it did not.
    pub fn verify(
        &self,
        certificate: &Certificate,
        genesis: &BlockHash,
        height: u32,
        block: &BlockHash,
    ) -> Result<(), CertificateError> {
        if self.0.verify(&certificate.0, certificate_message(genesis, height, block)) {
            Ok(())
        } else {
            Err(CertificateError::Mismatch { height, block: *block })
        }
    }
}

impl Serialize for CertificateKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        crate::chain::hex_fields::bytes::serialize(&self.to_bytes(), serializer)
    }
}

impl<'de> Deserialize<'de> for CertificateKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = crate::chain::hex_fields::bytes::deserialize(deserializer)?;
        Self::from_bytes(&bytes).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use blst::BLST_ERROR;
    use blst::min_pk::{PublicKey as BlstPublicKey, Signature as BlstSignature};
    use rand::SeedableRng as _;
    use threshold_crypto::SecretKeySet;

    use super::*;

    const SEED: u64 = 42;

    fn block(number: u8) -> BlockHash {
        BlockHash::from_byte_array([number; 32])
    }

    /// A certificate of three of four members over block 2 at height 9 of the chain with genesis 1.
    fn certified() -> (CertificateKey, Certificate) {
        let mut rng = rand_chacha::ChaCha20Rng::seed_from_u64(SEED);
        let keys = SecretKeySet::random(2, &mut rng);
        let message = certificate_message(&block(1), 9, &block(2));
        let shares: Vec<_> = [0usize, 1, 3].into_iter().map(|i| (i, keys.secret_key_share(i).sign(message))).collect();
        let public = keys.public_keys();
        let signature = public.combine_signatures(shares.iter().map(|(i, share)| (*i, share))).unwrap();
        (CertificateKey::new(public.public_key()).unwrap(), Certificate::new(signature))
    }

    #[test]
    fn certificates_verify_and_are_97_bytes() {
        let (key, certificate) = certified();
        assert_eq!(key.verify(&certificate, &block(1), 9, &block(2)), Ok(()));
        let bytes = certificate.to_bytes();
        assert_eq!((bytes.len(), bytes[0]), (97, 1));
        assert_eq!(Certificate::from_bytes(&bytes), Ok(certificate));
    }

    #[test]
    fn another_bls_library_accepts_them() {
        let (key, certificate) = certified();
        let key = BlstPublicKey::key_validate(&key.to_bytes()).unwrap();
        let signature = BlstSignature::sig_validate(&certificate.to_bytes()[1..], true).unwrap();
        let message = certificate_message(&block(1), 9, &block(2));
        let tag = b"BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_NUL_";
        assert_eq!(signature.verify(true, &message, tag, &[], &key, true), BLST_ERROR::BLST_SUCCESS);
        let other = certificate_message(&block(1), 10, &block(2));
        assert_eq!(signature.verify(true, &other, tag, &[], &key, true), BLST_ERROR::BLST_VERIFY_FAIL);
    }

    #[test]
    fn a_certificate_speaks_for_one_block_of_one_chain_only() {
        let (key, certificate) = certified();
        for (genesis, height, hash) in [(3, 9, 2), (1, 10, 2), (1, 9, 3)] {
            let mismatch = CertificateError::Mismatch { height, block: block(hash) };
            assert_eq!(key.verify(&certificate, &block(genesis), height, &block(hash)), Err(mismatch));
        }
    }

    #[test]
    fn malformed_certificates_are_refused() {
        let (_, certificate) = certified();
        let mut bytes = certificate.to_bytes();
        assert_eq!(Certificate::from_bytes(&bytes[..96]), Err(CertificateError::Length(96)));
        assert_eq!(Certificate::from_bytes(&[]), Err(CertificateError::Length(0)));
        bytes[0] = 2;
        assert_eq!(Certificate::from_bytes(&bytes), Err(CertificateError::Scheme(2)));
        bytes[0] = 1;
        bytes[1] = 0;
        assert_eq!(Certificate::from_bytes(&bytes), Err(CertificateError::Signature));
    }

    #[test]
    fn keys_are_hex_in_files_and_the_neutral_key_is_refused() {
        let (key, _) = certified();
        let text = serde_json::to_string(&key).unwrap();
        assert_eq!(text, format!("\"{}\"", hex::encode(key.to_bytes())));
        assert_eq!(serde_json::from_str::<CertificateKey>(&text).unwrap(), key);
        let mut neutral = [0; 48];
        neutral[0] = 0xc0;
        assert_eq!(CertificateKey::from_bytes(&neutral), Err(CertificateError::Key));
        assert_eq!(CertificateKey::from_bytes(&[1; 48]), Err(CertificateError::Key));
        assert_eq!(CertificateKey::from_bytes(&[]), Err(CertificateError::Key));
    }
}
