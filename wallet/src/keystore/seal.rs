//! Encryption of the seed under a passphrase, in the age format, so that any age tool can open it too.

use age::secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use super::KeystoreError;

/// log2 of the scrypt cost: about a quarter of a second and 128 MiB for each guess.
const WORK_FACTOR: u8 = 17;

/// The largest cost that is accepted of a seed file, so that a foreign file cannot stall the program.
const MAX_WORK_FACTOR: u8 = 22;

/// What unlocks a seed. Never printed, erased when dropped.
#[derive(Clone)]
pub struct Passphrase(SecretString);

impl Passphrase {
    /// Takes a passphrase; refuses the empty one.
    pub fn new(text: String) -> Result<Self, KeystoreError> {
        if text.is_empty() { Err(KeystoreError::EmptyPassphrase) } else { Ok(Self(SecretString::from(text))) }
    }

    /// Whether both are the same, for asking twice.
    pub fn matches(&self, other: &Self) -> bool {
        self.0.expose_secret() == other.0.expose_secret()
    }
}

impl std::fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Passphrase(..)")
    }
}

/// Encrypts a secret.
pub fn seal(secret: &[u8], passphrase: &Passphrase) -> Result<Vec<u8>, KeystoreError> {
    let mut recipient = age::scrypt::Recipient::new(passphrase.0.clone());
    recipient.set_work_factor(WORK_FACTOR);
    age::encrypt(&recipient, secret).map_err(|error| KeystoreError::Encrypt(error.to_string()))
}

/// Decrypts what [`seal`] made.
pub fn open(sealed: &[u8], passphrase: &Passphrase) -> Result<Zeroizing<Vec<u8>>, KeystoreError> {
    let mut identity = age::scrypt::Identity::new(passphrase.0.clone());
    identity.set_max_work_factor(MAX_WORK_FACTOR);
    match age::decrypt(&identity, sealed) {
        Ok(secret) => Ok(Zeroizing::new(secret)),
        Err(age::DecryptError::DecryptionFailed | age::DecryptError::KeyDecryptionFailed) => {
            Err(KeystoreError::WrongPassphrase)
        }
        Err(error) => Err(KeystoreError::Damaged(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn only_the_right_passphrase_opens() {
        let right = Passphrase::new("correct horse".into()).unwrap();
        let sealed = seal(b"secret", &right).unwrap();
        assert!(!sealed.windows(6).any(|window| window == b"secret"));
        assert_eq!(*open(&sealed, &right).unwrap(), b"secret");
        let wrong = Passphrase::new("wrong horse".into()).unwrap();
        assert!(matches!(open(&sealed, &wrong), Err(KeystoreError::WrongPassphrase)));
        let cut = sealed.get(..sealed.len() - 1).unwrap();
        assert!(matches!(open(cut, &right), Err(KeystoreError::Damaged(_))));
        assert!(matches!(open(b"", &right), Err(KeystoreError::Damaged(_))));
    }

    #[test]
    fn an_empty_passphrase_is_refused_and_none_is_printed() {
        assert!(matches!(Passphrase::new(String::new()), Err(KeystoreError::EmptyPassphrase)));
        assert_eq!(format!("{:?}", Passphrase::new("hidden".into()).unwrap()), "Passphrase(..)");
    }
}
