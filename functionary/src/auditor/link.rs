//! The connection to the member that is followed: TLS with exactly the certificate that the network file names.

use std::time::Duration;

use aquifer_assets::chain::{Network, Server};
use aquifer_proto::audit::audit_client::AuditClient;
use aquifer_proto::ledger::ledger_client::LedgerClient;
use aquifer_proto::ledger::{Block, FollowBlocksRequest, GetInfoRequest};
use elements::BlockHash;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status, Streaming};

use crate::audit::SignedVerdict;
use crate::peers::{chain, pinned_client};

/// A member that does not answer within this time is down.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);
/// How often a silent connection is probed, and how long the answer may take.
const PROBE: Duration = Duration::from_secs(10);
/// The largest message: a full block and its batch, with room to spare.
const MAX_MESSAGE_LEN: usize = 16 << 20;

/// The member that an auditor follows.
#[derive(Clone, Debug)]
pub(super) struct Link {
    server: Server,
    channel: Channel,
}

/// What became of a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reported {
    /// The member has taken it.
    Taken,
    /// The member does not listen to this auditor.
    Unlisted,
}

/// The server of a network file that is followed: the named one, or the first.
pub(super) fn choose<'a>(network: &'a Network, name: Option<&str>) -> Result<&'a Server, String> {
    let found = network.servers.iter().find(|server| name.is_none_or(|name| server.name == name));
    found.ok_or_else(|| {
        let known: Vec<&str> = network.servers.iter().map(|server| server.name.as_str()).collect();
        format!("the network file names no member {:?}; it names {}", name.unwrap_or_default(), known.join(", "))
    })
}

impl Link {
    /// Connects to a member.
    pub(super) async fn open(server: &Server) -> Result<Self, String> {
        let failed = |error: tonic::transport::Error| {
            format!("{} at {} is out of reach: {}", server.name, server.api_address, chain(&error))
        };
        let endpoint = Endpoint::from_shared(format!("https://{}", server.api_address))
            .and_then(|endpoint| endpoint.tls_config(pinned_client(&server.name, &server.certificate)))
            .map_err(failed)?
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(PROBE)
            .keep_alive_timeout(PROBE)
            .keep_alive_while_idle(true);
        let channel = tokio::time::timeout(CONNECT_TIMEOUT, endpoint.connect())
            .await
            .map_err(|_| format!("{} at {} does not answer", server.name, server.api_address))?
            .map_err(failed)?;
        Ok(Self { server: server.clone(), channel })
    }

    fn ledger(&self) -> LedgerClient<Channel> {
        LedgerClient::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE_LEN)
    }

    fn describe(&self, status: &Status) -> String {
        format!("{}: {}", self.server.name, status.message())
    }

    /// Genesis block and final height of the member.
    pub(super) async fn tip(&self) -> Result<(Option<BlockHash>, u32), String> {
        let mut client = self.ledger();
        let asking = tokio::time::timeout(REQUEST_TIMEOUT, client.get_info(GetInfoRequest {}));
        let info = asking.await.map_err(|_| format!("{} does not answer", self.server.name))?;
        let info = info.map_err(|status| self.describe(&status))?.into_inner();
        let genesis = <[u8; 32]>::try_from(info.genesis_hash.as_ref()).ok().map(BlockHash::from_byte_array);
        Ok((genesis, info.height))
    }

    /// Every final block from a height on, then each new one.
    pub(super) async fn blocks(&self, from_height: u32) -> Result<Streaming<Block>, String> {
        let mut client = self.ledger();
        let asking =
            tokio::time::timeout(REQUEST_TIMEOUT, client.follow_full_blocks(FollowBlocksRequest { from_height }));
        let blocks = asking.await.map_err(|_| format!("{} does not answer", self.server.name))?;
        Ok(blocks.map_err(|status| self.describe(&status))?.into_inner())
    }

    /// Hands a verdict over.
    pub(super) async fn report(&self, verdict: &SignedVerdict) -> Result<Reported, String> {
        let mut client = AuditClient::new(self.channel.clone());
        let asking = tokio::time::timeout(REQUEST_TIMEOUT, client.report(verdict.to_message()));
        match asking.await.map_err(|_| format!("{} does not answer", self.server.name))? {
            Ok(_) => Ok(Reported::Taken),
            // A member of an earlier version has no ear for auditors.
            Err(status) if matches!(status.code(), Code::PermissionDenied | Code::Unimplemented) => {
                Ok(Reported::Unlisted)
            }
            Err(status) => Err(self.describe(&status)),
        }
    }
}
