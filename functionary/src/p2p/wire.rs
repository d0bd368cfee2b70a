//! The frames that messages travel in, version 1: magic, command, length, checksum, payload.

use std::io;
use std::time::Instant;

use bitcoin::hashes::{Hash as _, sha256d};
use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// What precedes a payload, in bytes.
pub(super) const HEAD_LEN: usize = 24;
/// Longest payload of any message (`MAX_PROTOCOL_MESSAGE_LENGTH`).
const MAX_PAYLOAD_LEN: usize = 16_000_000;
/// Most entries of an inventory (`MAX_INV_SZ`).
pub(super) const MAX_INVENTORY: usize = 50_000;
/// Most hashes of a locator (`MAX_LOCATOR_SZ`).
pub(super) const MAX_LOCATOR: usize = 101;
/// Most transactions of a block that can be asked for (indexes have 16 bits).
pub(super) const MAX_INDEXES: usize = 65_536;
/// A transaction that is longer is relayed by nobody.
const MAX_TRANSACTION_LEN: usize = 400_000;
/// Read at once, in bytes.
const READ_LEN: usize = 64 << 10;

/// What every frame on the network of one chain begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Magic(pub(super) [u8; 4]);

/// Why a peer's bytes cannot be read. None of it is survived by the connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum WireError {
    /// The connection is closed or broken.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The peer speaks something else, or is of another chain.
    #[error("the peer is of another network: its frames begin with {}", hex::encode(.0))]
    Magic([u8; 4]),
    /// A command is ASCII, filled up with zeros.
    #[error("a command is {}", hex::encode(.0))]
    Command([u8; 12]),
    /// Nothing is that long.
    #[error("a message {command} of {length} bytes, at most {most} are allowed")]
    TooLong {
        /// What it says it is.
        command: String,
        /// Length of the payload, in bytes.
        length: usize,
        /// What is allowed, in bytes.
        most: usize,
    },
    /// The payload is not what was sent.
    #[error("the checksum of a message {0} is wrong")]
    Checksum(&'static str),
}

macro_rules! commands {
    ($($name:ident $text:literal $most:expr,)*) => {
        /// Messages that this side understands.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Command { $($name,)* }

        impl Command {
            #[cfg(test)]
            pub(super) const ALL: &[Self] = &[$(Self::$name,)*];

            /// As it stands in a frame.
            pub(super) fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            fn by_text(text: &[u8]) -> Option<Self> {
                $(if text == $text.as_bytes() { return Some(Self::$name); })*
                None
            }

            /// Longest payload that it can need, in bytes.
            pub(super) fn most(self) -> usize {
                match self { $(Self::$name => $most,)* }
            }
        }
    };
}

commands! {
    Version "version" 1_024,
    Verack "verack" 0,
    WtxidRelay "wtxidrelay" 0,
    SendHeaders "sendheaders" 0,
    SendCompact "sendcmpct" 9,
    FeeFilter "feefilter" 8,
    Ping "ping" 8,
    Pong "pong" 8,
    GetHeaders "getheaders" 4 + 1 + 32 * (MAX_LOCATOR + 1),
    GetData "getdata" 3 + 36 * MAX_INVENTORY,
    Inventory "inv" 3 + 36 * MAX_INVENTORY,
    NotFound "notfound" 3 + 36 * MAX_INVENTORY,
    Transaction "tx" MAX_PAYLOAD_LEN,
    GetBlockTransactions "getblocktxn" 32 + 3 + 3 * MAX_INDEXES,
    Mempool "mempool" 0,
    GetAddresses "getaddr" 0,
    Addresses "addr" MAX_PAYLOAD_LEN,
    Headers "headers" MAX_PAYLOAD_LEN,
    Block "block" MAX_PAYLOAD_LEN,
    CompactBlock "cmpctblock" MAX_PAYLOAD_LEN,
    BlockTransactions "blocktxn" MAX_PAYLOAD_LEN,
}

impl Command {
    /// Whether a payload of such a length is looked at. Blocks and addresses of others are of no use here.
    fn is_read(self, length: usize) -> bool {
        match self {
            Self::Addresses | Self::Headers | Self::Block | Self::CompactBlock | Self::BlockTransactions => false,
            Self::Transaction => length <= MAX_TRANSACTION_LEN,
            _ => true,
        }
    }
}

/// A message on its way out.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    pub(super) head: [u8; HEAD_LEN],
    pub(super) payload: Bytes,
}

impl Frame {
    pub(super) fn new(magic: Magic, command: Command, payload: impl Into<Bytes>) -> Self {
        let payload = payload.into();
        let mut text = [0; 12];
        text.iter_mut().zip(command.text().bytes()).for_each(|(to, from)| *to = from);
        // Nothing that is sent comes near four gigabytes.
        let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes();
        let fields: [&[u8]; 4] = [&magic.0, &text, &length, &checksum(&payload)];
        let mut head = [0; HEAD_LEN];
        head.iter_mut().zip(fields.concat()).for_each(|(to, from)| *to = from);
        Self { head, payload }
    }

    pub(super) fn len(&self) -> usize {
        self.payload.len().saturating_add(HEAD_LEN)
    }
}

fn checksum(payload: &[u8]) -> [u8; 4] {
    let [a, b, c, d, ..] = sha256d::Hash::hash(payload).to_byte_array();
    [a, b, c, d]
}

/// A message as it came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Received {
    /// It is to be looked at.
    Message(Command, Bytes),
    /// It was of no use, and of such a length.
    Skipped(usize),
}

#[derive(Clone, Copy, Debug)]
enum Expecting {
    Head,
    Payload { command: Command, length: usize, checksum: [u8; 4] },
    Nothing { left: usize, length: usize },
}

/// Reads frames. [`FrameReader::next`] can be dropped at any time and called again.
pub(super) struct FrameReader<R> {
    stream: R,
    magic: Magic,
    buffer: BytesMut,
    expecting: Expecting,
    begun: Option<Instant>,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    pub(super) fn new(stream: R, magic: Magic) -> Self {
        Self { stream, magic, buffer: BytesMut::new(), expecting: Expecting::Head, begun: None }
    }

    /// Since when a message is on its way, and the length of its payload.
    pub(super) fn under_way(&self) -> Option<(Instant, usize)> {
        let length = match self.expecting {
            Expecting::Head => HEAD_LEN,
            Expecting::Payload { length, .. } | Expecting::Nothing { length, .. } => length,
        };
        self.begun.map(|begun| (begun, length))
    }

    /// The next message.
    pub(super) async fn next(&mut self) -> Result<Received, WireError> {
        loop {
            if let Some(received) = self.parse()? {
                self.begun = (!self.buffer.is_empty()).then(Instant::now);
                return Ok(received);
            }
            // The buffer grows with what arrives, by bounded steps.
            self.buffer.reserve(READ_LEN.min(self.missing()));
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            self.begun.get_or_insert_with(Instant::now);
        }
    }

    /// Bytes that it needs at least.
    fn missing(&self) -> usize {
        let needed = match self.expecting {
            // Most messages are short.
            Expecting::Head => 1 << 10,
            Expecting::Payload { length, .. } => length,
            Expecting::Nothing { left, .. } => left,
        };
        needed.saturating_sub(self.buffer.len()).max(1)
    }

    fn parse(&mut self) -> Result<Option<Received>, WireError> {
        loop {
            match self.expecting {
                Expecting::Head => {
                    let Some(head) = self.buffer.first_chunk::<HEAD_LEN>() else { return Ok(None) };
                    self.expecting = self.expect(*head)?;
                    self.buffer.advance(HEAD_LEN);
                }
                Expecting::Payload { command, length, checksum: expected } => {
                    if self.buffer.len() < length {
                        return Ok(None);
                    }
                    let payload = self.buffer.split_to(length).freeze();
                    self.expecting = Expecting::Head;
                    if checksum(&payload) != expected {
                        return Err(WireError::Checksum(command.text()));
                    }
                    return Ok(Some(Received::Message(command, payload)));
                }
                Expecting::Nothing { left, length } => {
                    let skipped = left.min(self.buffer.len());
                    self.buffer.advance(skipped);
                    let left = left.saturating_sub(skipped);
                    if left > 0 {
                        self.expecting = Expecting::Nothing { left, length };
                        return Ok(None);
                    }
                    self.expecting = Expecting::Head;
                    return Ok(Some(Received::Skipped(length)));
                }
            }
        }
    }

    fn expect(&self, head: [u8; HEAD_LEN]) -> Result<Expecting, WireError> {
        let mut fields = head.as_slice();
        let magic = take::<4>(&mut fields);
        let command = take::<12>(&mut fields);
        let length = u32::from_le_bytes(take(&mut fields));
        let checksum = take::<4>(&mut fields);
        if magic != self.magic.0 {
            return Err(WireError::Magic(magic));
        }
        let end = command.iter().position(|byte| *byte == 0).unwrap_or(command.len());
        let (text, filling) = command.split_at_checked(end).unwrap_or((&command, &[]));
        if text.iter().any(|byte| !byte.is_ascii_graphic()) || filling.iter().any(|byte| *byte != 0) {
            return Err(WireError::Command(command));
        }
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let known = Command::by_text(text);
        let most = known.map_or(MAX_PAYLOAD_LEN, Command::most);
        if length > most {
            let command = String::from_utf8_lossy(text).into_owned();
            return Err(WireError::TooLong { command, length, most });
        }
        Ok(match known.filter(|command| command.is_read(length)) {
            Some(command) => Expecting::Payload { command, length, checksum },
            None => Expecting::Nothing { left: length, length },
        })
    }
}

/// The first bytes of a slice that has them.
fn take<const N: usize>(from: &mut &[u8]) -> [u8; N] {
    let (taken, rest) = from.split_first_chunk::<N>().map_or(([0; N], *from), |(taken, rest)| (*taken, rest));
    *from = rest;
    taken
}
