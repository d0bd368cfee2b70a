//! Who is who on the wire: certificates that follow from a seed, and TLS that trusts nothing else.
//!
//! A member's certificate is a pure function of its name and its TLS seed, so that it can be rebuilt from the member's
//! backup and never has to be stored. It is self-signed, and it is *pinned*: between members both sides accept exactly
//! the certificates that the roster names, towards wallets a member shows the same certificate, which the network file
//! names. There is no certificate authority, no expiry to miss and no name to look up; the name inside
//! (`<member>.aquifer`) only tells one pinned certificate from another.
//!
//! Why pinning holds: the client's trust store contains the one certificate of the member it dials, and the server's
//! contains those of the roster; neither certificate may sign others (they are no authorities), so only the holder of the
//! very key can complete the handshake. The server then compares the presented certificate with the roster byte for byte.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, PKCS_ED25519, SerialNumber};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use tokio_rustls::rustls;
use tonic::transport::{Certificate, ClientTlsConfig, Identity, ServerTlsConfig};
use zeroize::Zeroizing;

use super::directory::Directory;

/// How long a TLS handshake may take before the connection is dropped.
const HANDSHAKE_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(5);

/// The start of a PKCS #8 version 1 private key for Ed25519 (RFC 8410, section 7); the 32-byte seed follows.
const PKCS8_ED25519_PREFIX: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// A certificate could not be made.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The name does not fit into a certificate.
    #[error("{0:?} cannot be the name in a TLS certificate: use a-z, 0-9 and, in between, '-'")]
    Name(String),
    /// The key or the signature failed.
    #[error("the TLS certificate could not be made: {0}")]
    Certificate(#[from] rcgen::Error),
    /// TLS does not take it.
    #[error("the TLS certificate cannot be used")]
    Setup,
}

/// The name inside a member's certificate, which is also what a client asks for.
pub fn server_name(member: &str) -> String {
    format!("{member}.aquifer")
}

/// A member's TLS certificate with its private key.
#[derive(Clone)]
pub struct TlsIdentity {
    certificate: Vec<u8>,
    key_pem: Zeroizing<String>,
}

impl std::fmt::Debug for TlsIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsIdentity").field("certificate", &hex::encode(&self.certificate)).finish_non_exhaustive()
    }
}

impl TlsIdentity {
    /// Makes the certificate of the member called `name` from its TLS seed. The same input gives the same bytes, always:
    /// Ed25519 signs without randomness, and serial number and validity (2000 to 2100) are fixed.
    ///
    /// # Errors
    /// [`TlsError::Name`] if the name holds characters that a certificate cannot.
    pub fn from_seed(name: &str, tls_seed: &[u8; 32]) -> Result<Self, TlsError> {
        // What a client would refuse to ask for must not get into a card.
        if !matches!(ServerName::try_from(server_name(name)), Ok(ServerName::DnsName(_))) {
            return Err(TlsError::Name(name.to_owned()));
        }
        let pkcs8: Zeroizing<Vec<u8>> = Zeroizing::new([PKCS8_ED25519_PREFIX.as_slice(), tls_seed].concat());
        let key = KeyPair::from_pkcs8_der_and_sign_algo(&PrivatePkcs8KeyDer::from(pkcs8.as_slice()), &PKCS_ED25519)?;
        let mut params = CertificateParams::new(vec![server_name(name)])?;
        let mut subject = DistinguishedName::new();
        subject.push(DnType::CommonName, server_name(name));
        params.distinguished_name = subject;
        params.serial_number = Some(SerialNumber::from(vec![1]));
        params.not_before = rcgen::date_time_ymd(2000, 1, 1);
        params.not_after = rcgen::date_time_ymd(2100, 1, 1);
        let certificate = params.self_signed(&key)?.der().to_vec();
        Ok(Self { certificate, key_pem: Zeroizing::new(key.serialize_pem()) })
    }

    /// The certificate, DER.
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    fn identity(&self) -> Identity {
        Identity::from_pem(pem(&self.certificate), self.key_pem.as_bytes())
    }
}

/// Settles which implementation of cryptography TLS stands on. Left alone, it follows from the features that anything in the
/// build asks for, and is undecided, which is a panic, when two are there.
fn settle_cryptography() {
    // Fails only where it is settled already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// What a member's server asks of other members: a certificate of the roster.
pub(super) fn member_server(identity: &TlsIdentity, directory: &Directory) -> ServerTlsConfig {
    settle_cryptography();
    let roots: String = directory.others().map(|entry| pem(&entry.certificate)).collect();
    ServerTlsConfig::new()
        .identity(identity.identity())
        .client_ca_root(Certificate::from_pem(roots))
        .client_auth_optional(false)
        .timeout(HANDSHAKE_TIMEOUT)
}

/// What a member's server shows wallets: its certificate. Nothing is asked of them.
pub fn wallet_server(identity: &TlsIdentity) -> ServerTlsConfig {
    settle_cryptography();
    ServerTlsConfig::new().identity(identity.identity()).timeout(HANDSHAKE_TIMEOUT)
}

/// What a member's server shows others who speak TLS, such as Electrum clients: its certificate. Nothing is asked of them.
///
/// # Errors
/// [`TlsError::Setup`] if TLS does not take the certificate, which would be a defect.
pub(crate) fn open_server(identity: &TlsIdentity) -> Result<rustls::ServerConfig, TlsError> {
    let certificate = CertificateDer::from(identity.certificate.clone());
    let key = PrivateKeyDer::from_pem_slice(identity.key_pem.as_bytes()).map_err(|_| TlsError::Setup)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(vec![certificate], key))
        .map_err(|_| TlsError::Setup)
}

/// How a member dials the member called `name`: with its own certificate, and accepting `certificate` (DER) alone.
pub(super) fn member_client(identity: &TlsIdentity, name: &str, certificate: &[u8]) -> ClientTlsConfig {
    pinned_client(name, certificate).identity(identity.identity())
}

/// How anybody dials the member called `name`: accepting `certificate` (DER) alone.
pub fn pinned_client(name: &str, certificate: &[u8]) -> ClientTlsConfig {
    settle_cryptography();
    ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(pem(certificate)))
        .domain_name(server_name(name))
        .timeout(HANDSHAKE_TIMEOUT)
}

/// The text form of a certificate (RFC 7468), which the transport's configuration wants.
fn pem(certificate: &[u8]) -> String {
    let mut text = String::from("-----BEGIN CERTIFICATE-----\n");
    let mut rest = BASE64.encode(certificate);
    while !rest.is_empty() {
        let tail = rest.split_off(rest.len().min(64));
        text.push_str(&rest);
        text.push('\n');
        rest = tail;
    }
    text.push_str("-----END CERTIFICATE-----\n");
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_certificate_follows_from_name_and_seed() {
        let first = TlsIdentity::from_seed("alpha", &[7; 32]).unwrap();
        let again = TlsIdentity::from_seed("alpha", &[7; 32]).unwrap();
        assert_eq!(first.certificate(), again.certificate());
        assert_ne!(first.certificate(), TlsIdentity::from_seed("beta", &[7; 32]).unwrap().certificate());
        assert_ne!(first.certificate(), TlsIdentity::from_seed("alpha", &[8; 32]).unwrap().certificate());
    }

    #[test]
    fn a_name_that_no_certificate_can_hold_is_refused() {
        for name in ["zürich", "-alpha", "alpha-", "", "a b"] {
            let error = TlsIdentity::from_seed(name, &[7; 32]).unwrap_err();
            assert!(matches!(error, TlsError::Name(ref refused) if refused == name), "{name:?}: {error}");
        }
    }

    #[test]
    fn debug_output_shows_no_key() {
        let identity = TlsIdentity::from_seed("alpha", &[7; 32]).unwrap();
        assert!(!format!("{identity:?}").contains("PRIVATE"));
    }
}
