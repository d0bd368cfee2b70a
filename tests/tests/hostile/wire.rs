//! Connections from addresses of their own, and what can be done on one.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use aquifer_tests::HarnessError;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};
use tokio::net::TcpSocket;
use tokio::runtime::Runtime;

/// How long a read or a write is waited for before it is looked at the time.
const STEP: Duration = Duration::from_millis(100);

/// What the system takes for a client that does not read, in bytes.
const RECEIVED_LEN: u32 = 16 << 10;

/// A connection, with or without TLS.
pub(crate) enum Line {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

fn failed(error: &io::Error) -> HarnessError {
    HarnessError::Story(format!("a client: {error}"))
}

/// Opens connections.
pub(crate) struct Opener {
    runtime: Runtime,
    tls: Arc<ClientConfig>,
}

impl Opener {
    pub(crate) fn new() -> Result<Self, HarnessError> {
        let runtime = Runtime::new().map_err(|error| failed(&error))?;
        let provider = Arc::new(ring::default_provider());
        let trusting = Arc::new(Trusting(Arc::clone(&provider)));
        let tls = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| HarnessError::Story(error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(trusting)
            .with_no_client_auth();
        Ok(Self { runtime, tls: Arc::new(tls) })
    }

    /// A connection to a port, from an address of this machine.
    pub(crate) fn plain(&self, from: Ipv4Addr, to: SocketAddr) -> Result<Line, HarnessError> {
        let connecting = async {
            let socket = TcpSocket::new_v4()?;
            // Whoever does not read is not to be served megabytes first.
            socket.set_recv_buffer_size(RECEIVED_LEN)?;
            socket.bind((from, 0).into())?;
            socket.connect(to).await?.into_std()
        };
        let stream = self.runtime.block_on(connecting).and_then(|stream| {
            stream.set_nonblocking(false)?;
            stream.set_read_timeout(Some(STEP))?;
            stream.set_write_timeout(Some(STEP))?;
            stream.set_nodelay(true)?;
            Ok(stream)
        });
        stream.map(Line::Plain).map_err(|error| failed(&error))
    }

    fn client(&self, http2: bool) -> Result<ClientConnection, HarnessError> {
        let mut config = (*self.tls).clone();
        if http2 {
            config.alpn_protocols = vec![b"h2".to_vec()];
        }
        let name = ServerName::try_from("anna.aquifer").unwrap();
        ClientConnection::new(Arc::new(config), name).map_err(|error| HarnessError::Story(error.to_string()))
    }

    /// The same, after a handshake of TLS.
    pub(crate) fn tls(&self, from: Ipv4Addr, to: SocketAddr, http2: bool) -> Result<Line, HarnessError> {
        let Line::Plain(mut stream) = self.plain(from, to)? else {
            return Err(HarnessError::Story("a connection is plain at first".to_owned()));
        };
        let mut client = self.client(http2)?;
        // One step of the handshake may take long on a machine that is busy.
        stream.set_read_timeout(Some(Duration::from_secs(20))).map_err(|error| failed(&error))?;
        while client.is_handshaking() {
            client.complete_io(&mut stream).map_err(|error| failed(&error))?;
        }
        stream.set_read_timeout(Some(STEP)).map_err(|error| failed(&error))?;
        Ok(Line::Tls(Box::new(StreamOwned::new(client, stream))))
    }

    /// The first bytes of such a handshake.
    pub(crate) fn hello(&self) -> Result<Vec<u8>, HarnessError> {
        let mut bytes = Vec::new();
        self.client(false)?.write_tls(&mut bytes).map_err(|error| failed(&error))?;
        Ok(bytes)
    }
}

/// What came of a step on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Done(usize),
    Waits,
    Closed,
}

fn step(result: io::Result<usize>) -> Step {
    match result {
        Ok(0) => Step::Closed,
        Ok(count) => Step::Done(count),
        Err(error) => match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => Step::Waits,
            _ => Step::Closed,
        },
    }
}

impl Line {
    pub(crate) fn write_some(&mut self, bytes: &[u8]) -> Step {
        match self {
            Self::Plain(stream) => step(stream.write(bytes)),
            Self::Tls(stream) => step(stream.write(bytes).and_then(|count| stream.flush().map(|()| count))),
        }
    }

    pub(crate) fn read_some(&mut self, into: &mut [u8]) -> Step {
        match self {
            Self::Plain(stream) => step(stream.read(into)),
            Self::Tls(stream) => step(stream.read(into)),
        }
    }

    /// Writes as much of it as the other side takes before the connection ends.
    pub(crate) fn write(&mut self, bytes: &[u8], limit: Duration) -> Step {
        let begun = Instant::now();
        let mut rest = bytes;
        while !rest.is_empty() {
            match self.write_some(rest) {
                Step::Done(count) => rest = &rest[count..],
                Step::Waits if begun.elapsed() < limit => {}
                other => return other,
            }
        }
        Step::Done(bytes.len())
    }

    /// Reads until `text` has come.
    pub(crate) fn read_until(&mut self, text: &str, limit: Duration) -> Result<String, HarnessError> {
        let begun = Instant::now();
        let mut read = Vec::new();
        loop {
            let mut part = [0; 4_096];
            match self.read_some(&mut part) {
                Step::Done(count) => read.extend_from_slice(&part[..count]),
                Step::Waits if begun.elapsed() < limit => {}
                ended => {
                    let read = String::from_utf8_lossy(&read);
                    return Err(HarnessError::Story(format!("{ended:?} instead of {text:?} behind {read:?}")));
                }
            }
            let read = String::from_utf8_lossy(&read);
            if read.contains(text) {
                return Ok(read.into_owned());
            }
        }
    }

    /// Whether it is closed at this moment. What came is read.
    pub(crate) fn is_closed(&mut self) -> bool {
        loop {
            match self.read_some(&mut [0; 4_096]) {
                Step::Done(_) => {}
                Step::Waits => return false,
                Step::Closed => return true,
            }
        }
    }
}

/// Accepts every certificate: these clients do not ask whom they talk to.
#[derive(Debug)]
struct Trusting(Arc<CryptoProvider>);

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.3 is what is spoken here".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
