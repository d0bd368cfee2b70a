//! Encrypting a member's backup under a key that follows from its seed: the file is worth nothing without the 24 words.

use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305,
    aead::{Aead, Payload},
};
use rand_core::{CryptoRng, RngCore};
use zeroize::Zeroizing;

use super::MemberKeys;

/// What a backup begins with: its name and the version of the format. Authenticated with the rest.
const HEADER: &[u8; 16] = b"aquifer-backup-1";
/// Bytes of the random nonce behind the header. With 24 of them two backups never share one by chance.
const NONCE_SIZE: usize = 24;

/// Bytes that are no backup of this member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BackupError {
    /// The file is no backup, or one of another version.
    #[error("it is not a backup that this version of the program can read")]
    Form,
    /// The key does not fit, or a byte was changed.
    #[error("these 24 words do not open it: it is the backup of another member, or it is damaged")]
    Locked,
    /// The content is too long.
    #[error("the content of {0} bytes is too long for a backup")]
    TooLong(usize),
}

/// Encrypts the content of a backup.
///
/// # Errors
/// [`BackupError::TooLong`] above 256 GiB.
pub fn seal_backup<R: RngCore + CryptoRng>(
    keys: &MemberKeys,
    content: &[u8],
    rng: &mut R,
) -> Result<Vec<u8>, BackupError> {
    let mut nonce = [0; NONCE_SIZE];
    rng.fill_bytes(&mut nonce);
    let sealed = cipher(keys)
        .encrypt(&nonce.into(), Payload { msg: content, aad: HEADER })
        .map_err(|_| BackupError::TooLong(content.len()))?;
    Ok([HEADER.as_slice(), &nonce, &sealed].concat())
}

/// Decrypts a backup of the member with these keys.
///
/// # Errors
/// [`BackupError::Form`], [`BackupError::Locked`].
pub fn open_backup(keys: &MemberKeys, backup: &[u8]) -> Result<Zeroizing<Vec<u8>>, BackupError> {
    let rest = backup.strip_prefix(HEADER).ok_or(BackupError::Form)?;
    let (nonce, sealed) = rest.split_first_chunk::<NONCE_SIZE>().ok_or(BackupError::Form)?;
    let content = cipher(keys).decrypt(nonce.into(), Payload { msg: sealed, aad: HEADER });
    content.map(Zeroizing::new).map_err(|_| BackupError::Locked)
}

fn cipher(keys: &MemberKeys) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new((&keys.backup).into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

    use super::*;
    use crate::keys::MemberSeed;

    #[test]
    fn a_backup_opens_for_its_own_member_and_only_unchanged() {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let (alpha, beta) = (MemberSeed::generate(&mut rng).keys(), MemberSeed::generate(&mut rng).keys());
        let backup = seal_backup(&alpha, b"content", &mut rng).unwrap();
        assert_eq!(*open_backup(&alpha, &backup).unwrap(), b"content");
        assert_ne!(seal_backup(&alpha, b"content", &mut rng).unwrap(), backup, "two backups share a nonce");
        assert_eq!(open_backup(&beta, &backup), Err(BackupError::Locked));
        for position in 0..backup.len() {
            let mut changed = backup.clone();
            changed[position] ^= 1;
            let expected = if position < HEADER.len() { BackupError::Form } else { BackupError::Locked };
            assert_eq!(open_backup(&alpha, &changed), Err(expected), "byte {position}");
        }
        assert_eq!(open_backup(&alpha, &backup[..HEADER.len() + 3]), Err(BackupError::Form));
        assert_eq!(open_backup(&alpha, &backup[..backup.len() - 1]), Err(BackupError::Locked));
    }
}
