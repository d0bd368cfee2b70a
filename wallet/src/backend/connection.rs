//! Connections to the federation's servers: TLS with exactly the certificate that the network file pins, and the next
//! server when one is down.

use std::future::Future;
use std::time::Duration;

use aquifer_assets::chain::Server;
use aquifer_proto::ledger::ledger_client::LedgerClient;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Status};

use super::BackendError;

/// A server that does not answer the handshake within this time is down.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);

/// A question that is not answered within this time counts as a server that is down.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// The largest message accepted: a full block with room to spare.
const MAX_MESSAGE_BYTES: usize = 16 * 1024 * 1024;

/// A client of the service.
pub(super) type Client = LedgerClient<Channel>;

/// The servers in the order they are tried, and the one in use.
pub(super) struct Connection {
    servers: Vec<Server>,
    current: usize,
    switches: u64,
    open: Option<Client>,
    notice: Box<dyn Fn(&str) + Send>,
}

/// An answer and who gave it.
pub(super) struct Answer<T> {
    pub(super) server: String,
    pub(super) value: T,
}

impl Connection {
    /// Takes the servers of a network file; the preferred one is the only one when it is named.
    pub(super) fn new(
        servers: &[Server],
        only: Option<&str>,
        notice: Box<dyn Fn(&str) + Send>,
    ) -> Result<Self, BackendError> {
        if servers.is_empty() {
            return Err(BackendError::NoServers);
        }
        let chosen: Vec<Server> =
            servers.iter().filter(|server| only.is_none_or(|name| server.name == name)).cloned().collect();
        if chosen.is_empty() {
            let known = servers.iter().map(|server| server.name.clone()).collect();
            return Err(BackendError::UnknownServer { name: only.unwrap_or_default().to_owned(), known });
        }
        Ok(Self { servers: chosen, current: 0, switches: 0, open: None, notice })
    }

    /// Number of servers that can be tried.
    pub(super) fn len(&self) -> usize {
        self.servers.len()
    }

    /// The server that is asked next.
    pub(super) fn name(&self) -> &str {
        self.servers.get(self.current).map_or("", |server| &server.name)
    }

    /// How often it went to the next server: answers with the same number in between are from one server.
    pub(super) fn switches(&self) -> u64 {
        self.switches
    }

    /// Goes to the next server.
    pub(super) fn advance(&mut self, reason: &str) {
        if let (Some(server), true) = (self.servers.get(self.current), self.servers.len() > 1) {
            (self.notice)(&format!("{}: {reason}; trying the next server", server.name));
        }
        self.open = None;
        self.switches += 1;
        self.current = (self.current + 1) % self.servers.len();
    }

    /// Asks the current server, and the next ones while they are down. A refusal is an answer, not an outage.
    pub(super) async fn ask<T, F, Fut>(&mut self, limit: Duration, question: F) -> Result<Answer<T>, BackendError>
    where
        F: Fn(Client) -> Fut,
        Fut: Future<Output = Result<T, Status>>,
    {
        let mut tried = Vec::new();
        for _ in 0..self.servers.len() {
            let Some(server) = self.servers.get(self.current).cloned() else { break };
            let outcome = match self.client(&server).await {
                Ok(client) => tokio::time::timeout(limit, question(client))
                    .await
                    .unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer in time"))),
                Err(reason) => Err(Status::unavailable(reason)),
            };
            match outcome {
                Ok(value) => return Ok(Answer { server: server.name, value }),
                Err(status) if is_outage(&status) => {
                    let reason = describe(&status);
                    self.advance(&reason);
                    tried.push((server.name, reason));
                }
                Err(status) => {
                    return Err(BackendError::Refused {
                        server: server.name,
                        code: status.code(),
                        message: status.message().to_owned(),
                    });
                }
            }
        }
        Err(BackendError::AllDown(tried))
    }

    /// Asks every server, whether the others answer or not. Gives the number of those that did.
    pub(super) async fn ask_all<T, F, Fut>(&self, question: F) -> usize
    where
        F: Fn(Client) -> Fut,
        Fut: Future<Output = Result<T, Status>>,
    {
        let mut answers = 0;
        for server in &self.servers {
            let Ok(client) = connect(server).await else { continue };
            if let Ok(Ok(_)) = tokio::time::timeout(REQUEST_TIMEOUT, question(client)).await {
                answers += 1;
            }
        }
        answers
    }

    async fn client(&mut self, server: &Server) -> Result<Client, String> {
        if let Some(client) = &self.open {
            return Ok(client.clone());
        }
        let client = connect(server).await?;
        self.open = Some(client.clone());
        Ok(client)
    }
}

async fn connect(server: &Server) -> Result<Client, String> {
    let pinned = Certificate::from_pem(pem(&server.certificate));
    settle_cryptography();
    let tls = ClientTlsConfig::new().ca_certificate(pinned).domain_name(format!("{}.aquifer", server.name));
    let endpoint = Endpoint::from_shared(format!("https://{}", server.api_address))
        .and_then(|endpoint| endpoint.tls_config(tls))
        .map_err(|error| root_cause(&error))?
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(Duration::from_secs(10))
        .keep_alive_timeout(Duration::from_secs(10));
    let channel = tokio::time::timeout(CONNECT_TIMEOUT, endpoint.connect())
        .await
        .map_err(|_| format!("{} does not answer", server.api_address))?
        .map_err(|error| format!("{}: {}", server.api_address, root_cause(&error)))?;
    Ok(LedgerClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES))
}

/// Whether a status means that the server, not the question, is the trouble.
pub(super) fn is_outage(status: &Status) -> bool {
    // A status that the transport made carries its cause; one that the server sent does not.
    let from_transport = std::error::Error::source(status).is_some();
    from_transport
        || matches!(
            status.code(),
            Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Unknown | Code::Internal
        )
}

fn describe(status: &Status) -> String {
    match std::error::Error::source(status) {
        Some(source) => format!("{} ({})", status.message(), root_cause(source)),
        None => status.message().to_owned(),
    }
}

fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

fn pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut lines = String::from("-----BEGIN CERTIFICATE-----\n");
    for (column, character) in text.chars().enumerate() {
        if column > 0 && column % 64 == 0 {
            lines.push('\n');
        }
        lines.push(character);
    }
    lines.push_str("\n-----END CERTIFICATE-----\n");
    lines
}

/// Settles which implementation of cryptography TLS stands on. Left alone, it follows from the features that anything in the
/// build asks for, and is undecided, which is a panic, when two are there.
pub(crate) fn settle_cryptography() {
    // Fails only where it is settled already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
