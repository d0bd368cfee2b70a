//! The key with which an auditor signs its verdicts.

use bitcoin::secp256k1::{Keypair, SECP256K1, SecretKey, XOnlyPublicKey};
use rand::rngs::OsRng;
use zeroize::Zeroizing;

use crate::config::DataDir;
use crate::files::{self, Access, FileError};

/// The key could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum AuditKeyError {
    /// The file.
    #[error(transparent)]
    File(#[from] FileError),
    /// Its content.
    #[error("{path} does not hold a secret key of 64 hexadecimal digits: restore it, or remove it to get a new key")]
    Content {
        /// The file.
        path: String,
    },
}

/// An auditor's key.
#[derive(Clone)]
pub struct AuditKey(Keypair);

impl std::fmt::Debug for AuditKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AuditKey({})", self.public())
    }
}

impl AuditKey {
    /// The key in the auditor's folder; it is made where there is none.
    ///
    /// # Errors
    /// [`AuditKeyError`].
    pub fn load_or_make(data: &DataDir) -> Result<Self, AuditKeyError> {
        let path = data.audit_key();
        match files::read(&path) {
            Ok(text) => {
                let text = Zeroizing::new(text);
                let mut bytes = Zeroizing::new([0; 32]);
                hex::decode_to_slice(text.trim_ascii(), &mut *bytes)
                    .ok()
                    .and_then(|()| SecretKey::from_slice(&*bytes).ok())
                    .map(|key| Self(key.keypair(SECP256K1)))
                    .ok_or_else(|| AuditKeyError::Content { path: path.display().to_string() })
            }
            Err(error) if error.is_missing() => {
                let key = SecretKey::new(&mut OsRng);
                let text = Zeroizing::new(hex::encode(key.secret_bytes()));
                files::create(&path, text.as_bytes(), Access::Secret)?;
                Ok(Self(key.keypair(SECP256K1)))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// What members list.
    pub fn public(&self) -> XOnlyPublicKey {
        self.0.x_only_public_key().0
    }

    pub(super) fn pair(&self) -> &Keypair {
        &self.0
    }
}
