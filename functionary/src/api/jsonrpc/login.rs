//! Who may call: whoever can read the member's cookie file.
//!
//! The cookie is made anew at each start, of 32 random bytes, and kept in a file that only the member's user can read, as
//! elementsd does it. It is compared by its hash, so that the time that it takes tells nothing.

use std::path::Path;

use base64::Engine as _;
use rand::RngCore as _;
use sha2::{Digest as _, Sha256};

use crate::files::{self, Access, FileError};

/// The user's name.
const USER: &str = "__cookie__";

/// What callers must show.
#[derive(Clone)]
pub(crate) struct Login {
    hash: [u8; 32],
}

impl Login {
    /// A new one, in a file in the place of an earlier one.
    ///
    /// # Errors
    /// [`FileError`] if it cannot be written.
    pub(crate) fn make(path: &Path) -> Result<Self, FileError> {
        let mut secret = [0; 32];
        rand::rngs::OsRng.fill_bytes(&mut secret);
        let cookie = format!("{USER}:{}", hex::encode(secret));
        files::replace(path, cookie.as_bytes(), Access::Secret)?;
        Ok(Self { hash: Sha256::digest(cookie.as_bytes()).into() })
    }

    /// Whether the value of an `Authorization` header is right.
    pub(crate) fn accepts(&self, authorization: &[u8]) -> bool {
        let Some(encoded) = authorization.strip_prefix(b"Basic ") else { return false };
        let shown = base64::engine::general_purpose::STANDARD.decode(encoded.trim_ascii());
        shown.is_ok_and(|shown| <[u8; 32]>::from(Sha256::digest(&shown)) == self.hash)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn only_the_latest_cookie_is_accepted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".cookie");
        let shown = || {
            let cookie = std::fs::read(&path).unwrap();
            format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(cookie))
        };
        let first = Login::make(&path).unwrap();
        let old = shown();
        assert!(first.accepts(old.as_bytes()));
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let second = Login::make(&path).unwrap();
        assert!(second.accepts(shown().as_bytes()) && !second.accepts(old.as_bytes()));
        for wrong in [&b"Basic "[..], b"", b"Basic !", b"Bearer x", b"Basic X19jb29raWVfXzo="] {
            assert!(!second.accepts(wrong));
        }
    }
}
