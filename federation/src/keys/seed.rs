//! The seed of a member: 32 random bytes, written down as 24 words (BIP 39).

use std::fmt;

use bip39::{Language, Mnemonic};
use rand_core::{CryptoRng, RngCore};
use zeroize::{Zeroize, Zeroizing};

use super::MemberKeys;

/// Number of words of a seed: 256 bits of entropy and 8 of checksum.
const WORDS: usize = 24;

/// The secret from which every key of a member is derived.
#[derive(Clone)]
pub struct MemberSeed {
    entropy: Zeroizing<[u8; 32]>,
    keys: MemberKeys,
}

/// A seed that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SeedError {
    /// The wrong number of words was given.
    #[error("a seed has 24 words, not {0}")]
    WordCount(usize),
    /// A word is not in the English list of BIP 39. Words count from 1.
    #[error("word {0} of the seed is not in the English word list of BIP 39")]
    UnknownWord(usize),
    /// The words are all known, but do not belong together.
    #[error("the checksum of the seed is wrong: a word is mistyped or in the wrong place")]
    Checksum,
    /// BIP 32 has no key for this seed. One seed in 2^127 is like that.
    #[error("no keys can be derived from this seed, make a new one")]
    Underivable,
}

impl MemberSeed {
    /// Makes a new seed from fresh randomness.
    pub fn generate<R: RngCore + CryptoRng>(rng: &mut R) -> Self {
        loop {
            let mut entropy = Zeroizing::new([0; 32]);
            rng.fill_bytes(&mut *entropy);
            if let Ok(seed) = Self::from_entropy(entropy) {
                return seed;
            }
        }
    }

    /// Reads the 24 words of a seed; case and white space between them do not matter.
    ///
    /// # Errors
    /// [`SeedError`], which never repeats a word.
    pub fn from_words(words: &str) -> Result<Self, SeedError> {
        let lower = Zeroizing::new(words.to_lowercase());
        let count = lower.split_whitespace().count();
        if count != WORDS {
            return Err(SeedError::WordCount(count));
        }
        let mut mnemonic = Mnemonic::parse_in_normalized(Language::English, &lower).map_err(|error| match error {
            bip39::Error::UnknownWord(index) => SeedError::UnknownWord(index.saturating_add(1)),
            _ => SeedError::Checksum,
        })?;
        let bytes = Zeroizing::new(mnemonic.to_entropy());
        mnemonic.zeroize();
        let entropy: [u8; 32] = bytes.as_slice().try_into().map_err(|_| SeedError::WordCount(count))?;
        Self::from_entropy(Zeroizing::new(entropy))
    }

    fn from_entropy(entropy: Zeroizing<[u8; 32]>) -> Result<Self, SeedError> {
        // 32 bytes are always a valid entropy for BIP 39.
        let mut mnemonic =
            Mnemonic::from_entropy_in(Language::English, &*entropy).map_err(|_| SeedError::Underivable)?;
        let bip39_seed = Zeroizing::new(mnemonic.to_seed_normalized(""));
        mnemonic.zeroize();
        let keys = MemberKeys::derive(&*bip39_seed).map_err(|_| SeedError::Underivable)?;
        Ok(Self { entropy, keys })
    }

    /// The 24 words, separated by single spaces. Whoever reads them is this member.
    pub fn words(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(WORDS * 9));
        if let Ok(mut mnemonic) = Mnemonic::from_entropy_in(Language::English, &*self.entropy) {
            for word in mnemonic.words() {
                if !text.is_empty() {
                    text.push(' ');
                }
                text.push_str(word);
            }
            mnemonic.zeroize();
        }
        text
    }

    /// Every key of the member.
    pub fn keys(&self) -> MemberKeys {
        self.keys.clone()
    }
}

impl fmt::Debug for MemberSeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemberSeed(..)")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

    use super::*;

    const ZERO_WORDS: &str = "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon \
        abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon art";

    #[test]
    fn words_give_the_seed_back() {
        let seed = MemberSeed::generate(&mut ChaCha20Rng::seed_from_u64(1));
        let words = seed.words();
        assert_eq!(words.split(' ').count(), 24);
        let again = MemberSeed::from_words(&words.to_uppercase().replace(' ', "  \n")).unwrap();
        assert_eq!(*again.entropy, *seed.entropy);
        assert_eq!(again.keys().block, seed.keys().block);
    }

    #[test]
    fn mistyped_words_are_named_by_place_only() {
        assert!(MemberSeed::from_words(ZERO_WORDS).is_ok());
        assert_eq!(MemberSeed::from_words("abandon art").unwrap_err(), SeedError::WordCount(2));
        let wrong = ZERO_WORDS.replace("art", "zoo");
        assert_eq!(MemberSeed::from_words(&wrong).unwrap_err(), SeedError::Checksum);
        let unknown = ZERO_WORDS.replace("art", "bitcoins");
        assert_eq!(MemberSeed::from_words(&unknown).unwrap_err(), SeedError::UnknownWord(24));
        // A valid mnemonic of 12 words is too little entropy.
        let short = "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about";
        assert_eq!(MemberSeed::from_words(short).unwrap_err(), SeedError::WordCount(12));
    }

    #[test]
    fn debug_shows_nothing() {
        let seed = MemberSeed::generate(&mut ChaCha20Rng::seed_from_u64(1));
        assert_eq!(format!("{seed:?}"), "MemberSeed(..)");
        assert_eq!(format!("{:?}", seed.keys()), "MemberKeys(..)");
    }

    /// Paths are a disk format: a change would lock every member out of its own keys.
    #[test]
    fn derivation_is_frozen() {
        use bitcoin::bip32::{DerivationPath, Xpriv};
        let keys = MemberSeed::from_words(ZERO_WORDS).unwrap().keys();
        let seed = Mnemonic::parse(ZERO_WORDS).unwrap().to_seed("");
        let master = Xpriv::new_master(bitcoin::Network::Bitcoin, &seed).unwrap();
        let at = |path: &str| {
            let path: DerivationPath = path.parse().unwrap();
            master.derive_priv(bitcoin::secp256k1::SECP256K1, &path).unwrap().private_key
        };
        assert_eq!(keys.host.secret_key(), at("m/16721'/0'/0'"));
        assert_eq!(keys.consensus.secret_key(), at("m/16721'/0'/1'"));
        assert_eq!(keys.block, at("m/16721'/0'/2'"));
        assert_eq!(keys.peg, at("m/16721'/0'/3'"));
        assert_eq!(keys.tls_seed, at("m/16721'/0'/4'").secret_bytes());
        assert_eq!(keys.fee, at("m/16721'/0'/5'"));
        assert_eq!(keys.backup, at("m/16721'/0'/6'").secret_bytes());
    }
}
