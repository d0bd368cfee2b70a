//! The network file: what a wallet must know of a federation.
//!
//! The ceremony generates it and users are given it as `network.json`. Nothing in it is secret, but everything a wallet
//! believes later follows from it, so it must come from someone the user trusts.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{ChainParams, ParamsError};
use crate::block::CertificateKey;

/// The version of the file that this code writes and reads.
pub const NETWORK_VERSION: u16 = 2;

/// A federation from the outside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// Version of the file's format: [`NETWORK_VERSION`].
    pub version: u16,
    /// Parameters of the chain.
    pub params: ChainParams,
    /// The key that certificates of blocks are checked with.
    pub certificate_key: CertificateKey,
    /// The output script of the treasury on the parent chain: what peg-out batches pay to it stays in the reserve.
    pub treasury_script: bitcoin::ScriptBuf,
    /// Where the ledger can be read and transactions submitted. Any of them will do.
    pub servers: Vec<Server>,
}

/// A functionary's service for wallets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// The functionary's name.
    pub name: String,
    /// Where it listens, as `host:port`.
    pub api_address: String,
    /// The TLS certificate to pin, in DER.
    #[serde(with = "super::hex_fields::bytes")]
    pub certificate: Vec<u8>,
}

/// A network file that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// A format of the future.
    #[error("network file version {0} is not known; this program reads version {NETWORK_VERSION}")]
    Version(u16),
    /// The chain parameters are wrong.
    #[error("the chain parameters of the network file are wrong: {0}")]
    Params(#[from] ParamsError),
    /// Nobody to ask.
    #[error("the network file names no server")]
    NoServers,
    /// An empty name or one that appears twice.
    #[error("server name {0:?} is empty or appears twice in the network file")]
    ServerName(String),
    /// Not `host:port`.
    #[error("address {address:?} of server {name:?} is not of the form host:port")]
    Address {
        /// The server.
        name: String,
        /// What stands in the place of its address.
        address: String,
    },
    /// The certificate cannot be one.
    #[error("the TLS certificate of server {0:?} is not a DER certificate")]
    Certificate(String),
}

impl Network {
    /// Checks what can be checked without asking anybody.
    ///
    /// # Errors
    /// The first thing found wrong.
    pub fn check(&self) -> Result<(), NetworkError> {
        if self.version != NETWORK_VERSION {
            return Err(NetworkError::Version(self.version));
        }
        self.params.check()?;
        if self.servers.is_empty() {
            return Err(NetworkError::NoServers);
        }
        let mut names = BTreeSet::new();
        for server in &self.servers {
            if server.name.is_empty() || !names.insert(&server.name) {
                return Err(NetworkError::ServerName(server.name.clone()));
            }
            if !is_host_and_port(&server.api_address) {
                return Err(NetworkError::Address { name: server.name.clone(), address: server.api_address.clone() });
            }
            if !is_der_sequence(&server.certificate) {
                return Err(NetworkError::Certificate(server.name.clone()));
            }
        }
        Ok(())
    }
}

/// Whether this is `host:port`, where a host with colons (IPv6) stands in brackets.
fn is_host_and_port(address: &str) -> bool {
    let Some((host, port)) = address.rsplit_once(':') else { return false };
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host_is_sound = match bracketed {
        Some(inside) => inside.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && !host.contains([':', '/', ' ', '[', ']']),
    };
    host_is_sound && port.parse::<u16>().is_ok_and(|port| port != 0)
}

/// Whether the bytes are one DER sequence of the length it says. The rest is checked by the TLS library.
fn is_der_sequence(bytes: &[u8]) -> bool {
    match bytes {
        [0x30, length, rest @ ..] if *length < 0x80 => rest.len() == usize::from(*length),
        [0x30, 0x81, length, rest @ ..] => rest.len() == usize::from(*length),
        [0x30, 0x82, high, low, rest @ ..] => rest.len() == usize::from(u16::from_be_bytes([*high, *low])),
        _ => false,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;
    use crate::fixtures::params;

    fn network() -> Network {
        let mut rng = rand_chacha::ChaCha20Rng::seed_from_u64(3);
        let key = threshold_crypto::SecretKeySet::random(1, &mut rng).public_keys().public_key();
        let server = |name: &str, api_address: &str| Server {
            name: name.to_owned(),
            api_address: api_address.to_owned(),
            certificate: vec![0x30, 2, 5, 0],
        };
        Network {
            version: NETWORK_VERSION,
            params: params(),
            certificate_key: CertificateKey::new(key).unwrap(),
            treasury_script: bitcoin::ScriptBuf::from_bytes(vec![0x51]),
            servers: vec![
                server("anna", "127.0.0.1:4000"),
                server("bert", "[::1]:4001"),
                server("c", "host.example:1"),
            ],
        }
    }

    #[test]
    fn a_network_file_survives_json() {
        let text = serde_json::to_string_pretty(&network()).unwrap();
        let read: Network = serde_json::from_str(&text).unwrap();
        assert_eq!(read, network());
        assert_eq!(read.check(), Ok(()));
        assert!(text.contains("\"certificate\": \"30020500\""), "{text}");
        let more = text.replacen('{', "{\"surprise\":1,", 1);
        assert!(serde_json::from_str::<Network>(&more).unwrap_err().to_string().contains("surprise"));
    }

    #[test]
    fn unusable_network_files_are_refused_by_name() {
        let with = |change: fn(&mut Network)| {
            let mut network = network();
            change(&mut network);
            network.check().unwrap_err()
        };
        assert_eq!(with(|n| n.version = 1), NetworkError::Version(1));
        assert_eq!(with(|n| n.version = 3), NetworkError::Version(3));
        assert!(matches!(with(|n| n.params.name.clear()), NetworkError::Params(ParamsError::Name(_))));
        assert_eq!(with(|n| n.servers.clear()), NetworkError::NoServers);
        assert_eq!(with(|n| n.servers[1].name = "anna".to_owned()), NetworkError::ServerName("anna".to_owned()));
        assert_eq!(with(|n| n.servers[1].name.clear()), NetworkError::ServerName(String::new()));
        for address in ["", "host", "host:", ":5", "host:0", "host:65536", "::1:5", "[::1:5", "[x]:5", "http://h:5"] {
            let mut network = network();
            network.servers[0].api_address = address.to_owned();
            let expected = NetworkError::Address { name: "anna".to_owned(), address: address.to_owned() };
            assert_eq!(network.check(), Err(expected));
        }
        for certificate in [vec![], vec![0x30, 3, 5, 0], vec![0x31, 0], vec![0x30, 0x82, 1]] {
            let mut network = network();
            network.servers[0].certificate = certificate;
            assert_eq!(network.check(), Err(NetworkError::Certificate("anna".to_owned())));
        }
    }
}
