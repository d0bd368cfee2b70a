//! The ports of a member, and an honest client of each.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use aquifer_tests::HarnessError;
use aquifer_tests::devnet::Devnet;
use aquifer_tests::p2p::Peer;
use aquifer_wallet::network::Chain;
use base64::Engine as _;

use crate::wire::{Line, Opener, Step};

/// How long an honest client waits.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A port of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Port {
    Peers,
    Wallets,
    Http,
    Electrum,
    ElectrumTls,
    JsonRpc,
    P2p,
}

impl Port {
    pub(crate) const ALL: [Self; 7] =
        [Self::Peers, Self::Wallets, Self::Http, Self::Electrum, Self::ElectrumTls, Self::JsonRpc, Self::P2p];

    /// Most connections of one address, and whether the limit is shared with another port.
    pub(crate) fn most_of_caller(self) -> Option<usize> {
        match self {
            Self::Peers => Some(44),
            Self::Wallets | Self::Http | Self::JsonRpc => Some(256),
            Self::Electrum => Some(1_024),
            // Counted with those without TLS.
            Self::ElectrumTls => None,
            Self::P2p => Some(32),
        }
    }
}

/// The member that is attacked.
pub(crate) struct Target {
    peers: SocketAddr,
    wallets: SocketAddr,
    http: SocketAddr,
    electrum: SocketAddr,
    electrum_tls: SocketAddr,
    jsonrpc: SocketAddr,
    p2p: SocketAddr,
    pub(crate) login: String,
    pub(crate) magic: [u8; 4],
}

impl Target {
    /// The first member.
    pub(crate) fn new(devnet: &Devnet, chain: &Chain) -> Result<Self, HarnessError> {
        let member = devnet.members().first().ok_or_else(|| HarnessError::Story("there is no member".to_owned()))?;
        let interfaces = member.interfaces()?;
        let address = |text: &str| text.parse().map_err(|_| HarnessError::Story(format!("{text} is no address")));
        let cookie = member.folder().join(".cookie");
        let login = std::fs::read(&cookie).map_err(HarnessError::file("read", &cookie))?;
        Ok(Self {
            peers: address(member.peer_address())?,
            wallets: address(member.api_address())?,
            http: interfaces.http,
            electrum: interfaces.electrum,
            electrum_tls: interfaces.electrum_tls,
            jsonrpc: interfaces.jsonrpc,
            p2p: interfaces.p2p,
            login: format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(login)),
            magic: chain.file().params.network_magic(),
        })
    }

    pub(crate) fn address(&self, port: Port) -> SocketAddr {
        match port {
            Port::Peers => self.peers,
            Port::Wallets => self.wallets,
            Port::Http => self.http,
            Port::Electrum => self.electrum,
            Port::ElectrumTls => self.electrum_tls,
            Port::JsonRpc => self.jsonrpc,
            Port::P2p => self.p2p,
        }
    }

    /// An honest client connects, asks and is answered.
    pub(crate) fn ask(&self, opener: &Opener, port: Port) -> Result<(), HarnessError> {
        let (home, address) = (Ipv4Addr::LOCALHOST, self.address(port));
        let plain = || opener.plain(home, address);
        match port {
            // As far as a stranger gets: what members say to each other is seen in their status.
            Port::Peers | Port::Wallets => opener.tls(home, address, true).map(drop),
            Port::Http => {
                say(plain()?, "GET /api/blocks/tip/height HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "200 OK")
            }
            Port::Electrum => say(plain()?, PING, PONG),
            Port::ElectrumTls => say(opener.tls(home, address, false)?, PING, PONG),
            Port::JsonRpc => {
                let (login, body) = (&self.login, r#"{"method":"getblockcount"}"#);
                let head = format!("POST / HTTP/1.1\r\nHost: a\r\nAuthorization: {login}\r\nConnection: close\r\n");
                say(plain()?, &format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()), "200 OK")
            }
            Port::P2p => Peer::connect(address, self.magic)?.until_pong().map(drop),
        }
    }
}

const PING: &str = "{\"id\":7,\"method\":\"server.ping\",\"params\":[]}\n";
const PONG: &str = "\"result\":null";

fn say(mut line: Line, question: &str, answer: &str) -> Result<(), HarnessError> {
    if line.write(question.as_bytes(), PATIENCE) != Step::Done(question.len()) {
        return Err(HarnessError::Story(format!("{question:?} is not taken")));
    }
    line.read_until(answer, PATIENCE).map(drop)
}
