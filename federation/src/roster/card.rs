//! The public card of a member: who it is, where it is, and its public keys, signed by its host key.

use std::net::SocketAddr;

use bitcoin::secp256k1::{Keypair, Message, PublicKey, SECP256K1, XOnlyPublicKey, schnorr};
use borsh::BorshSerialize;
use serde::{Deserialize, Serialize};

use super::settings::is_plain_name;
use crate::{
    encoding::{hex_bytes, tagged_hash},
    keys::MemberKeys,
};

/// Version of the card format.
pub(super) const CARD_VERSION: u16 = 1;

/// Largest TLS certificate on a card, in bytes. A certificate of one key has a few hundred.
const MAX_CERTIFICATE_SIZE: usize = 4_096;

/// The public card of a member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemberCard {
    /// Version of the format, 1.
    pub version: u16,
    /// Name of the member: 1 to 32 of `a-z`, `0-9` and `-`.
    pub name: String,
    /// Where other members reach it, `host:port`.
    pub peer_address: String,
    /// Where wallets reach it, `host:port`.
    pub api_address: String,
    /// Identity; signs this card and the messages of the ceremony.
    pub host_key: PublicKey,
    /// Signs votes and proposals (BIP 340).
    pub consensus_key: XOnlyPublicKey,
    /// Signs block headers (ECDSA).
    pub block_key: PublicKey,
    /// Signs for the treasury (ECDSA).
    pub peg_key: PublicKey,
    /// The TLS certificate that others pin, DER.
    #[serde(with = "hex_bytes")]
    pub tls_certificate: Vec<u8>,
    /// BIP 340 signature of the host key over a tagged hash of all the rest.
    pub signature: schnorr::Signature,
}

/// What a member says of itself on its card, besides its keys.
#[derive(Clone, Debug)]
pub struct CardDetails {
    /// Name of the member: 1 to 32 of `a-z`, `0-9` and `-`.
    pub name: String,
    /// Where other members reach it, `host:port`.
    pub peer_address: String,
    /// Where wallets reach it, `host:port`.
    pub api_address: String,
    /// The TLS certificate that others pin, DER.
    pub tls_certificate: Vec<u8>,
}

/// A card that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CardError {
    /// The card is of another version of the format.
    #[error("card version {0} is not known, this program reads version {CARD_VERSION}")]
    Version(u16),
    /// The name is not of the allowed form.
    #[error("the name {0:?} must be 1 to 32 of a-z, 0-9 and '-'")]
    Name(String),
    /// An address is not `host:port`.
    #[error("the address {0:?} is not host:port")]
    Address(String),
    /// The certificate cannot be one.
    #[error("the TLS certificate of {0} bytes is not a DER certificate of at most {MAX_CERTIFICATE_SIZE} bytes")]
    Certificate(usize),
    /// Someone else wrote the card, or it was changed.
    #[error("the signature does not belong to the host key and the content of the card")]
    Signature,
}

impl MemberCard {
    /// Makes and signs the card of the member with these keys.
    ///
    /// # Errors
    /// [`CardError`] if a name, an address or the certificate is not of the allowed form.
    pub fn new(keys: &MemberKeys, details: CardDetails) -> Result<Self, CardError> {
        let mut card = Self {
            version: CARD_VERSION,
            name: details.name,
            peer_address: details.peer_address,
            api_address: details.api_address,
            host_key: keys.host.public_key(),
            consensus_key: keys.consensus.x_only_public_key().0,
            block_key: keys.block_public(),
            peg_key: keys.peg_public(),
            tls_certificate: details.tls_certificate,
            signature: sign(&keys.host, &[0; 32]),
        };
        card.signature = sign(&keys.host, &card.digest());
        card.check()?;
        Ok(card)
    }

    /// Checks the form of every field and the signature.
    ///
    /// # Errors
    /// [`CardError`].
    pub fn check(&self) -> Result<(), CardError> {
        if self.version != CARD_VERSION {
            return Err(CardError::Version(self.version));
        }
        if !is_plain_name(&self.name) {
            return Err(CardError::Name(self.name.clone()));
        }
        for address in [&self.peer_address, &self.api_address] {
            if !is_host_and_port(address) {
                return Err(CardError::Address(address.clone()));
            }
        }
        let certificate = &self.tls_certificate;
        if !is_der_sequence(certificate) || certificate.len() > MAX_CERTIFICATE_SIZE {
            return Err(CardError::Certificate(certificate.len()));
        }
        let (host, _) = self.host_key.x_only_public_key();
        SECP256K1
            .verify_schnorr(&self.signature, &Message::from_digest(self.digest()), &host)
            .map_err(|_| CardError::Signature)
    }

    /// Host, consensus, block and peg key, as they are compared with each other.
    pub(super) fn keys(&self) -> [XOnlyPublicKey; 4] {
        let x_only = |key: &PublicKey| key.x_only_public_key().0;
        [x_only(&self.host_key), self.consensus_key, x_only(&self.block_key), x_only(&self.peg_key)]
    }

    /// What the signature covers.
    fn digest(&self) -> [u8; 32] {
        tagged_hash("aquifer/card/v1", &[&self.content_bytes()])
    }

    fn content_bytes(&self) -> Vec<u8> {
        #[derive(BorshSerialize)]
        struct Canonical<'a> {
            version: u16,
            name: &'a str,
            peer_address: &'a str,
            api_address: &'a str,
            host_key: [u8; 33],
            consensus_key: [u8; 32],
            block_key: [u8; 33],
            peg_key: [u8; 33],
            tls_certificate: &'a [u8],
        }
        let canonical = Canonical {
            version: self.version,
            name: &self.name,
            peer_address: &self.peer_address,
            api_address: &self.api_address,
            host_key: self.host_key.serialize(),
            consensus_key: self.consensus_key.serialize(),
            block_key: self.block_key.serialize(),
            peg_key: self.peg_key.serialize(),
            tls_certificate: &self.tls_certificate,
        };
        // Writing to memory fails only for lengths above 2^32; a file of that size is never read.
        borsh::to_vec(&canonical).unwrap_or_default()
    }

    /// Every byte of the card in a fixed order, the signature included, for the hash of the roster.
    pub(super) fn canonical_bytes(&self) -> Vec<u8> {
        let mut bytes = self.content_bytes();
        bytes.extend_from_slice(self.signature.as_ref());
        bytes
    }
}

/// Signs without auxiliary randomness: the same card always gets the same signature.
fn sign(host: &Keypair, digest: &[u8; 32]) -> schnorr::Signature {
    SECP256K1.sign_schnorr_no_aux_rand(&Message::from_digest(*digest), host)
}

/// Whether the bytes are one DER sequence and nothing else, as a certificate is. TLS looks at the inside.
fn is_der_sequence(bytes: &[u8]) -> bool {
    let (length, content) = match bytes {
        [0x30, length @ 0..=0x7f, content @ ..] => (usize::from(*length), content),
        [0x30, 0x81, length @ 0x80..=0xff, content @ ..] => (usize::from(*length), content),
        [0x30, 0x82, high @ 1..=0xff, low, content @ ..] => (usize::from(u16::from_be_bytes([*high, *low])), content),
        _ => return false,
    };
    content.len() == length
}

/// Whether the text is `host:port` with an IP address or a host name, and a port that is not 0.
fn is_host_and_port(address: &str) -> bool {
    if let Ok(socket) = address.parse::<SocketAddr>() {
        return socket.port() != 0;
    }
    let Some((host, port)) = address.rsplit_once(':') else { return false };
    let port_is_good =
        port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port != 0);
    let label_is_good = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    // A name of digits and dots only is a mistyped IP address.
    let has_letter = host.bytes().any(|byte| byte.is_ascii_alphabetic());
    port_is_good && has_letter && host.len() <= 253 && host.split('.').all(label_is_good)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing)]
    use super::{is_der_sequence, is_host_and_port};

    #[test]
    fn addresses() {
        for good in ["127.0.0.1:1", "[::1]:65535", "localhost:7000", "a-b.example.org:80"] {
            assert!(is_host_and_port(good), "{good}");
        }
        for bad in [
            "",
            "localhost",
            ":80",
            "localhost:",
            "localhost:0",
            "localhost:65536",
            "localhost:+8",
            "300.1.1.1:80",
            "a b:1",
            "a..b:1",
            "-a:1",
            "::1:80x",
            "127.0.0.1:0",
        ] {
            assert!(!is_host_and_port(bad), "{bad}");
        }
    }

    #[test]
    fn certificates_are_whole_sequences() {
        let sequence = |head: &[u8], content: usize| [head, &vec![5; content]].concat();
        for good in [sequence(&[0x30, 0], 0), sequence(&[0x30, 0x81, 200], 200), sequence(&[0x30, 0x82, 1, 0], 256)] {
            assert!(is_der_sequence(&good));
            assert!(!is_der_sequence(&[&good[..], &[0]].concat()));
            assert!(!is_der_sequence(&good[..good.len() - 1]));
        }
        for bad in [sequence(&[0x31, 1], 1), sequence(&[0x30, 0x81, 1], 1), sequence(&[0x30, 0x82, 0, 200], 200)] {
            assert!(!is_der_sequence(&bad));
        }
    }
}
