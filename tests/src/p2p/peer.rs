//! One peer: a connection, and the messages on it, one after the other.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use bitcoin::hashes::{Hash as _, sha256d};
use bitcoin::p2p::message_network::VersionMessage;
use bitcoin::p2p::{Address, ServiceFlags};
use elements::encode::{VarInt, deserialize_partial, serialize};
use elements::{BlockHash, BlockHeader};

use crate::error::HarnessError;

/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(60);
const HEAD_LEN: usize = 24;
/// No message is longer.
const MAX_LEN: usize = 16_000_000;

/// The hash of no block.
pub const NOWHERE: BlockHash = BlockHash::from_byte_array([0; 32]);

/// What an entry of an inventory names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Kind {
    /// A transaction by its id.
    Transaction = 1,
    /// A block.
    Block = 2,
    /// A compact block.
    CompactBlock = 4,
    /// A transaction by the hash of all of it.
    WholeTransaction = 5,
    /// A transaction by its id, with its witness.
    WitnessTransaction = 1 << 30 | 1,
    /// A block with its witness.
    WitnessBlock = 1 << 30 | 2,
}

impl Kind {
    const ALL: [Self; 6] = [
        Self::Transaction,
        Self::Block,
        Self::CompactBlock,
        Self::WholeTransaction,
        Self::WitnessTransaction,
        Self::WitnessBlock,
    ];

    #[expect(clippy::as_conversions, reason = "the numbers of an enum that has them")]
    const fn number(self) -> u32 {
        self as u32
    }
}

/// A connected peer.
#[derive(Debug)]
pub struct Peer {
    stream: TcpStream,
    magic: [u8; 4],
}

fn story(what: impl std::fmt::Display) -> HarnessError {
    HarnessError::Story(format!("a peer of the Elements network: {what}"))
}

/// A number as it stands before a list.
fn count(number: usize) -> Vec<u8> {
    serialize(&VarInt(u64::try_from(number).unwrap_or(u64::MAX)))
}

impl Peer {
    /// Opens a connection and says nothing.
    ///
    /// # Errors
    /// When nobody answers.
    pub fn call(address: SocketAddr, magic: [u8; 4]) -> Result<Self, HarnessError> {
        let stream = TcpStream::connect_timeout(&address, LIMIT).map_err(story)?;
        stream.set_nodelay(true).and_then(|()| stream.set_read_timeout(Some(LIMIT))).map_err(story)?;
        Ok(Self { stream, magic })
    }

    /// Opens a connection and introduces itself.
    ///
    /// # Errors
    /// When the other side does not do the same.
    pub fn connect(address: SocketAddr, magic: [u8; 4]) -> Result<Self, HarnessError> {
        let mut peer = Self::call(address, magic)?;
        peer.introduce(70_016)?;
        Ok(peer)
    }

    /// Introduces itself with a version of the protocol.
    ///
    /// # Errors
    /// When the other side does not do the same.
    pub fn introduce(&mut self, version: u32) -> Result<(), HarnessError> {
        let nowhere = Address::new(&SocketAddr::from(([127, 0, 0, 1], 0)), ServiceFlags::NONE);
        let message = VersionMessage {
            version,
            services: ServiceFlags::WITNESS,
            timestamp: 1_700_000_000,
            receiver: nowhere.clone(),
            sender: nowhere,
            nonce: 1,
            user_agent: "/test:1/".to_owned(),
            start_height: 0,
            relay: true,
        };
        self.send("version", &bitcoin::consensus::serialize(&message))?;
        let theirs: VersionMessage = bitcoin::consensus::deserialize(&self.expect("version")?).map_err(story)?;
        if !theirs.services.has(ServiceFlags::NETWORK | ServiceFlags::WITNESS) {
            return Err(story(format!("elementsd would not ask it for blocks: it offers {}", theirs.services)));
        }
        if version >= 70_016 {
            self.send("wtxidrelay", &[])?;
        }
        self.send("verack", &[])?;
        self.expect("verack").map(drop)
    }

    /// Sends a message.
    ///
    /// # Errors
    /// When the connection is closed.
    pub fn send(&mut self, command: &str, payload: &[u8]) -> Result<(), HarnessError> {
        let frame = self.frame(command, payload);
        self.send_bytes(&frame)
    }

    /// A message as it is sent.
    pub fn frame(&self, command: &str, payload: &[u8]) -> Vec<u8> {
        let mut text = [0; 12];
        text.iter_mut().zip(command.bytes()).for_each(|(to, from)| *to = from);
        let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes();
        let hash = sha256d::Hash::hash(payload).to_byte_array();
        [&self.magic, text.as_slice(), &length, hash.split_at(4).0, payload].concat()
    }

    /// Sends anything.
    ///
    /// # Errors
    /// When the connection is closed.
    pub fn send_bytes(&mut self, bytes: &[u8]) -> Result<(), HarnessError> {
        self.stream.write_all(bytes).map_err(story)
    }

    fn read(&mut self) -> io::Result<(String, Vec<u8>)> {
        let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        let mut head = [0; HEAD_LEN];
        self.stream.read_exact(&mut head)?;
        let (magic, rest) = head.split_at(4);
        let (command, rest) = rest.split_at(12);
        let (length, checksum) = rest.split_at(4);
        let length = u32::from_le_bytes(length.try_into().map_err(|_| wrong("no length"))?);
        let length = usize::try_from(length).ok().filter(|length| *length <= MAX_LEN).ok_or_else(|| wrong("long"))?;
        let mut payload = vec![0; length];
        self.stream.read_exact(&mut payload)?;
        if magic != self.magic || sha256d::Hash::hash(&payload).to_byte_array().split_at(4).0 != checksum {
            return Err(wrong("a frame with a wrong magic number or checksum"));
        }
        let command = String::from_utf8_lossy(command).trim_end_matches('\0').to_owned();
        Ok((command, payload))
    }

    /// The next message; pings are answered.
    ///
    /// # Errors
    /// When the connection is closed, or none comes.
    pub fn receive(&mut self) -> Result<(String, Vec<u8>), HarnessError> {
        loop {
            let (command, payload) = self.read().map_err(story)?;
            match command.as_str() {
                "ping" => self.send("pong", &payload)?,
                _ => return Ok((command, payload)),
            }
        }
    }

    /// The next message of a kind. Others are passed over.
    ///
    /// # Errors
    /// When none comes.
    pub fn expect(&mut self, wanted: &str) -> Result<Vec<u8>, HarnessError> {
        self.expect_one_of(&[wanted]).map(|(_, payload)| payload)
    }

    /// The next message of one of these kinds. Others are passed over.
    ///
    /// # Errors
    /// When none comes.
    pub fn expect_one_of(&mut self, wanted: &[&str]) -> Result<(String, Vec<u8>), HarnessError> {
        loop {
            let (command, payload) =
                self.receive().map_err(|error| story(format!("while it waits for {wanted:?}: {error}")))?;
            if wanted.contains(&command.as_str()) {
                return Ok((command, payload));
            }
        }
    }

    /// Everything that comes before the answer to a ping.
    ///
    /// # Errors
    /// When the connection is closed.
    pub fn until_pong(&mut self) -> Result<Vec<(String, Vec<u8>)>, HarnessError> {
        self.send("ping", &7_u64.to_le_bytes())?;
        let mut received = Vec::new();
        loop {
            match self.receive()? {
                (command, _) if command == "pong" => return Ok(received),
                other => received.push(other),
            }
        }
    }

    /// Waits until the other side closes the connection.
    ///
    /// # Errors
    /// When it does not.
    pub fn wait_closed(&mut self) -> Result<(), HarnessError> {
        let begun = Instant::now();
        loop {
            match self.read() {
                Ok(_) if begun.elapsed() > LIMIT => return Err(story("the connection stays open")),
                Ok(_) => {}
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    return Err(story("the connection stays open"));
                }
                Err(error) if error.kind() == io::ErrorKind::InvalidData => return Err(story(error)),
                Err(_) => return Ok(()),
            }
        }
    }

    /// Headers behind one of these blocks.
    ///
    /// # Errors
    /// When there is no answer, or it cannot be read.
    pub fn headers(&mut self, locator: &[BlockHash], stop: BlockHash) -> Result<Vec<BlockHeader>, HarnessError> {
        let mut payload = 70_016_u32.to_le_bytes().to_vec();
        payload.extend(count(locator.len()));
        locator.iter().for_each(|hash| payload.extend(hash.to_byte_array()));
        payload.extend(stop.to_byte_array());
        self.send("getheaders", &payload)?;
        let answer = self.expect("headers")?;
        read_headers(&answer)
    }

    /// Asks for things.
    ///
    /// # Errors
    /// When the connection is closed.
    pub fn ask(&mut self, entries: &[(Kind, [u8; 32])]) -> Result<(), HarnessError> {
        let payload = write_inventory(entries);
        self.send("getdata", &payload)
    }

    /// Tells of things.
    ///
    /// # Errors
    /// When the connection is closed.
    pub fn tell(&mut self, entries: &[(Kind, [u8; 32])]) -> Result<(), HarnessError> {
        let payload = write_inventory(entries);
        self.send("inv", &payload)
    }

    /// The next inventory of a kind of message.
    ///
    /// # Errors
    /// When none comes, or it cannot be read.
    pub fn expect_inventory(&mut self, command: &str) -> Result<Vec<(Kind, [u8; 32])>, HarnessError> {
        let payload = self.expect(command)?;
        read_inventory(&payload)
    }

    /// All blocks behind one of ours, as their bytes.
    ///
    /// # Errors
    /// When they do not come.
    pub fn download(&mut self, behind: BlockHash) -> Result<Vec<Vec<u8>>, HarnessError> {
        let (mut blocks, mut last) = (Vec::new(), behind);
        loop {
            let headers = self.headers(&[last], NOWHERE)?;
            let hashes: Vec<_> = headers.iter().map(|header| header.block_hash().to_byte_array()).collect();
            let Some(newest) = headers.last() else { return Ok(blocks) };
            last = newest.block_hash();
            // As Elements has it: sixteen on their way at a time.
            for hashes in hashes.chunks(16) {
                let wanted: Vec<_> = hashes.iter().map(|hash| (Kind::WitnessBlock, *hash)).collect();
                self.ask(&wanted)?;
                for _ in hashes {
                    blocks.push(self.expect("block")?);
                }
            }
        }
    }
}

fn write_inventory(entries: &[(Kind, [u8; 32])]) -> Vec<u8> {
    let mut payload = count(entries.len());
    for (kind, hash) in entries {
        payload.extend(kind.number().to_le_bytes());
        payload.extend(hash);
    }
    payload
}

fn read_inventory(payload: &[u8]) -> Result<Vec<(Kind, [u8; 32])>, HarnessError> {
    let (VarInt(expected), read) = deserialize_partial(payload).map_err(story)?;
    let entries = payload.get(read..).unwrap_or_default().chunks_exact(36);
    let entries: Vec<_> = entries
        .filter_map(|entry| {
            let (kind, hash) = entry.split_first_chunk::<4>()?;
            let kind = Kind::ALL.into_iter().find(|known| known.number().to_le_bytes() == *kind)?;
            Some((kind, hash.try_into().ok()?))
        })
        .collect();
    match u64::try_from(entries.len()) == Ok(expected) {
        true => Ok(entries),
        false => Err(story("an inventory names something unknown")),
    }
}

/// Reads a `headers` message.
///
/// # Errors
/// When it is none.
pub fn read_headers(payload: &[u8]) -> Result<Vec<BlockHeader>, HarnessError> {
    let (VarInt(expected), read) = deserialize_partial(payload).map_err(story)?;
    let (mut headers, mut rest) = (Vec::new(), payload.get(read..).unwrap_or_default());
    for _ in 0..expected {
        let (header, read): (BlockHeader, usize) = deserialize_partial(rest).map_err(story)?;
        headers.push(header);
        // No transactions follow.
        match rest.get(read..).and_then(<[u8]>::split_first) {
            Some((0, left)) => rest = left,
            _ => return Err(story("transactions follow a header")),
        }
    }
    if rest.is_empty() { Ok(headers) } else { Err(story("something follows the headers")) }
}
