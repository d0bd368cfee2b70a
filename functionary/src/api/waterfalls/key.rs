//! The key that clients encrypt descriptors to, so that nobody between them and this member learns what is theirs.

use std::io::Read as _;

use age::Decryptor;
use age::secrecy::ExposeSecret as _;
use age::x25519::Identity;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use zeroize::Zeroizing;

use crate::api::http::Refusal;
use crate::config::DataDir;
use crate::files::{self, Access, FileError};

/// What every age file begins with, `age-encryption.org`, in base64. No descriptor does.
const SEALED: &str = "YWdlLWVuY3J5cHRpb24ub3Jn";
/// Longest descriptor, in bytes. One of 20 keys has 2,500.
pub(super) const MAX_DESCRIPTOR_LEN: usize = 4_096;
/// Longest form of one as it is sent: base64, and what age adds.
const MAX_SENT_LEN: usize = 2 * MAX_DESCRIPTOR_LEN;

/// The key of this member. Losing it costs nothing: clients ask for the new one.
pub(crate) struct DescriptorKey(Identity);

impl DescriptorKey {
    /// Reads the key of this member; makes one at the first start.
    ///
    /// # Errors
    /// [`FileError`] if it cannot be read or written.
    pub(crate) fn open(data: &DataDir) -> Result<Self, FileError> {
        let path = data.descriptor_key();
        match files::read(&path) {
            Ok(bytes) => {
                let bytes = Zeroizing::new(bytes);
                let line = std::str::from_utf8(&bytes).map(str::trim).unwrap_or_default();
                let content = |reason: &str| FileError::Content { path, reason: reason.to_owned() };
                line.parse().map(Self).map_err(content)
            }
            Err(error) if error.is_missing() => {
                let key = Identity::generate();
                let line = Zeroizing::new(format!("{}\n", key.to_string().expose_secret()));
                files::create(&path, line.as_bytes(), Access::Secret)?;
                Ok(Self(key))
            }
            Err(error) => Err(error),
        }
    }

    /// What clients encrypt to.
    pub(super) fn recipient(&self) -> String {
        self.0.to_public().to_string()
    }

    /// The descriptor in what a client has sent: encrypted, or as it is.
    ///
    /// # Errors
    /// [`Refusal::WrongKey`] if it is encrypted, but not to this key; then clients ask for the key again.
    pub(super) fn open_descriptor(&self, sent: &str) -> Result<String, Refusal> {
        let too_long = || Refusal::Malformed(format!("a descriptor has at most {MAX_DESCRIPTOR_LEN} characters"));
        if sent.len() > MAX_SENT_LEN {
            return Err(too_long());
        }
        let descriptor = if sent.starts_with(SEALED) {
            self.unseal(sent).ok_or(Refusal::WrongKey("CannotDecrypt"))?
        } else {
            sent.to_owned()
        };
        if descriptor.len() > MAX_DESCRIPTOR_LEN { Err(too_long()) } else { Ok(descriptor) }
    }

    fn unseal(&self, sent: &str) -> Option<String> {
        // A plus sign that was not escaped has become a space on the way.
        let sealed = BASE64_STANDARD_NO_PAD.decode(sent.replace(' ', "+").trim_end_matches('=')).ok()?;
        let key: &dyn age::Identity = &self.0;
        let reader = Decryptor::new_buffered(sealed.as_slice()).ok()?.decrypt(std::iter::once(key)).ok()?;
        let mut descriptor = String::new();
        reader.take(u64::try_from(MAX_SENT_LEN).ok()?).read_to_string(&mut descriptor).ok()?;
        Some(descriptor)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::Write as _;

    use super::*;

    fn sealed(recipient: &str, text: &str) -> String {
        let recipient: age::x25519::Recipient = recipient.parse().unwrap();
        let to: &dyn age::Recipient = &recipient;
        let mut bytes = Vec::new();
        let mut writer = age::Encryptor::with_recipients(std::iter::once(to)).unwrap().wrap_output(&mut bytes).unwrap();
        writer.write_all(text.as_bytes()).unwrap();
        writer.finish().unwrap();
        BASE64_STANDARD_NO_PAD.encode(bytes)
    }

    #[test]
    fn the_key_is_made_once_and_kept_secret() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::new(folder.path());
        let made = DescriptorKey::open(&data).unwrap().recipient();
        assert_eq!(DescriptorKey::open(&data).unwrap().recipient(), made);
        let mode = std::fs::metadata(data.descriptor_key()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        std::fs::write(data.descriptor_key(), "no key").unwrap();
        assert!(matches!(DescriptorKey::open(&data), Err(FileError::Content { .. })));
    }

    #[test]
    fn descriptors_come_encrypted_or_plain() {
        let key = DescriptorKey(Identity::generate());
        let text = "elwpkh(tpub/<0;1>/*)";
        let sent = sealed(&key.recipient(), text);
        assert_eq!(key.open_descriptor(&sent).unwrap(), text);
        assert_eq!(key.open_descriptor(&sent.replace('+', " ")).unwrap(), text);
        assert_eq!(key.open_descriptor(text).unwrap(), text);
    }

    #[test]
    fn what_is_encrypted_to_another_key_or_damaged_is_told_apart() {
        let (key, other) = (DescriptorKey(Identity::generate()), DescriptorKey(Identity::generate()));
        let sent = sealed(&other.recipient(), "elwpkh(tpub/<0;1>/*)");
        assert_eq!(key.open_descriptor(&sent), Err(Refusal::WrongKey("CannotDecrypt")));
        let cut = sealed(&key.recipient(), "elwpkh(tpub/<0;1>/*)");
        let cut = cut.split_at(cut.len() - 8).0;
        assert_eq!(key.open_descriptor(cut), Err(Refusal::WrongKey("CannotDecrypt")));
        assert!(matches!(key.open_descriptor(&"x".repeat(9_000)), Err(Refusal::Malformed(_))));
        let long = sealed(&key.recipient(), &"x".repeat(5_000));
        assert!(matches!(key.open_descriptor(&long), Err(Refusal::Malformed(_))));
    }
}
