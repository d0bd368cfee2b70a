//! The proof that a domain stands by an asset.
//!
//! A contract names a domain, which anybody can write into it. Wallets and registries show the name only where the domain
//! says the same of the asset, in a file whose place and content the Liquid asset registry has laid down. The asset's id is
//! known once the issuing transaction is built, so the file is put up between building and issuing.

use std::io::Read as _;
use std::time::Duration;

use elements::AssetId;
use reqwest::blocking::Client;

/// Longest answer that is read, in bytes; the statement has less than 400.
const MAX_ANSWER_LEN: u64 = 4_096;
/// How long the domain's server may take.
const TIME_LIMIT: Duration = Duration::from_secs(15);

/// The domain does not say what it should.
#[derive(Debug, thiserror::Error)]
pub enum DomainError {
    /// No HTTPS client can be made.
    #[error("this machine gives no connection for HTTPS: {0}")]
    Client(#[source] reqwest::Error),
    /// The server cannot be asked.
    #[error("{url} cannot be read: {reason}")]
    Unreachable {
        /// Where the file should be.
        url: String,
        /// Why it cannot be read.
        reason: String,
    },
    /// Something else stands there.
    #[error("{url} says something else: {found:?}")]
    SaysOther {
        /// The file.
        url: String,
        /// The beginning of it.
        found: String,
    },
}

/// What a domain has to say of an asset, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DomainProof {
    /// The file's address.
    pub url: String,
    /// Its only line.
    pub statement: String,
}

impl DomainProof {
    /// The proof for an asset whose contract names this domain.
    pub fn new(domain: &str, asset: &AssetId) -> Self {
        Self {
            url: format!("https://{domain}/.well-known/liquid-asset-proof-{asset}"),
            statement: format!("Authorize linking the domain name {domain} to the Liquid asset {asset}"),
        }
    }

    /// Asks the domain.
    ///
    /// # Errors
    /// [`DomainError`] unless it says just that.
    pub fn check(&self, client: &Client) -> Result<(), DomainError> {
        let unreachable = |reason: &dyn std::fmt::Display| DomainError::Unreachable {
            url: self.url.clone(),
            reason: reason.to_string(),
        };
        let answer = client.get(&self.url).send().map_err(|error| unreachable(&root_cause(&error)))?;
        if !answer.status().is_success() {
            return Err(unreachable(&answer.status()));
        }
        let mut text = Vec::new();
        answer.take(MAX_ANSWER_LEN).read_to_end(&mut text).map_err(|error| unreachable(&error))?;
        let text = String::from_utf8_lossy(&text);
        if text.trim() == self.statement {
            Ok(())
        } else {
            Err(DomainError::SaysOther { url: self.url.clone(), found: text.chars().take(200).collect() })
        }
    }
}

/// A client that believes the usual certificate authorities. It follows no redirect: it must be the domain itself that says it.
///
/// # Errors
/// [`DomainError::Client`].
pub fn client() -> Result<Client, DomainError> {
    let builder = Client::builder().redirect(reqwest::redirect::Policy::none()).timeout(TIME_LIMIT).https_only(true);
    builder.build().map_err(DomainError::Client)
}

/// The last reason of a chain: the others only repeat the address.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::{BufRead as _, BufReader, Write as _};
    use std::net::TcpListener;
    use std::sync::Arc;

    use super::*;

    /// Serves one request with this answer over TLS on a free port, and gives a client that finds it under `example.com`.
    fn serve(answer: &'static str) -> (Client, u16) {
        let issued = rcgen::generate_simple_self_signed(vec!["example.com".to_owned()]).unwrap();
        let key = rustls::pki_types::PrivateKeyDer::try_from(issued.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![issued.cert.der().clone()], key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let session = rustls::ServerConnection::new(Arc::new(config)).unwrap();
            let mut tls = BufReader::new(rustls::StreamOwned::new(session, stream));
            let mut line = String::new();
            while tls.read_line(&mut line).unwrap() > 2 {
                line.clear();
            }
            tls.get_mut().write_all(answer.as_bytes()).unwrap();
            tls.get_mut().conn.send_close_notify();
            tls.get_mut().flush().unwrap();
        });
        let authority = reqwest::Certificate::from_der(issued.cert.der()).unwrap();
        let client = Client::builder().resolve("example.com", address).add_root_certificate(authority).build().unwrap();
        (client, address.port())
    }

    fn check(answer: &'static str) -> Result<(), DomainError> {
        let (client, port) = serve(answer);
        let mut proof = DomainProof::new("example.com", &AssetId::from_byte_array([7; 32]));
        proof.url = proof.url.replace("example.com", &format!("example.com:{port}"));
        proof.check(&client)
    }

    #[test]
    fn a_domain_stands_by_an_asset_if_it_says_just_that() {
        let proof = DomainProof::new("example.com", &AssetId::from_byte_array([7; 32]));
        let id = "07".repeat(32);
        assert_eq!(proof.url, format!("https://example.com/.well-known/liquid-asset-proof-{id}"));
        let right = concat!(
            "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nAuthorize linking the domain name example.com to the Liquid asset ",
            "0707070707070707070707070707070707070707070707070707070707070707\n"
        );
        assert!(right.contains(&proof.statement));
        check(right).unwrap();
        let other = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nAuthorize linking";
        assert!(matches!(check(other), Err(DomainError::SaysOther { .. })));
        let missing = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        assert!(matches!(check(missing), Err(DomainError::Unreachable { .. })));
    }
}
