//! The payloads of messages: what comes in is decoded, what goes out is made.

use bitcoin::bip152::BlockTransactionsRequest;
use bitcoin::p2p::message_network::VersionMessage;
use bytes::Bytes;
use elements::encode::{Encodable as _, VarInt};
use elements::{BlockHash, Txid};

use super::inventory::Inventory;
use super::wire::{Command, MAX_INDEXES, MAX_INVENTORY, MAX_LOCATOR};

/// The message cannot be decoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum MessageError {
    /// It ends too early.
    #[error("a message {0} ends too early")]
    End(&'static str),
    /// Something follows.
    #[error("{left} bytes follow a message {command}")]
    Trailing {
        /// The message.
        command: &'static str,
        /// Bytes that are left.
        left: usize,
    },
    /// There are more entries than allowed.
    #[error("a message {command} with {found} entries, at most {most} are allowed")]
    TooMany {
        /// The message.
        command: &'static str,
        /// Entries that it says it has.
        found: u64,
        /// What is allowed.
        most: usize,
    },
    /// It is wrong in another way.
    #[error("a message {command}: {reason}")]
    Malformed {
        /// The message.
        command: &'static str,
        /// What is wrong.
        reason: String,
    },
}

/// A message of a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// It introduces itself.
    Version(Box<VersionMessage>),
    /// It knows who we are.
    Verack,
    /// It names transactions by the hash of all of them.
    WtxidRelay,
    /// It prefers headers to inventories for new blocks.
    SendHeaders,
    /// It takes compact blocks, and wants new ones unasked or not.
    SendCompact { unasked: bool, version: u64 },
    /// It wants no transaction that pays less, in satoshi per 1,000 vbytes.
    FeeFilter(u64),
    /// A sign of life is asked for.
    Ping(u64),
    /// A sign of life.
    Pong(u64),
    /// Headers behind the first of these that we know are asked for.
    GetHeaders { locator: Vec<BlockHash>, stop: BlockHash },
    /// These are asked for.
    GetData(Vec<Inventory>),
    /// It has these.
    Inventory(Vec<Inventory>),
    /// It does not have these.
    NotFound(Vec<Inventory>),
    /// A transaction.
    Transaction(Bytes),
    /// Transactions of a block are asked for, by their positions.
    GetBlockTransactions { block: BlockHash, positions: Vec<usize> },
    /// Everything that waits is asked for.
    Mempool,
    /// Addresses of others are asked for.
    GetAddresses,
}

impl Message {
    /// Decodes a payload; `None` if there is no use for it.
    pub(super) fn decode(command: Command, payload: Bytes) -> Result<Option<Self>, MessageError> {
        let mut reader = Reader { command: command.text(), left: &payload };
        let message = match command {
            Command::Version => return version(&payload).map(Some),
            Command::Transaction => return Ok(Some(Self::Transaction(payload))),
            Command::GetBlockTransactions => return block_transactions(&payload).map(Some),
            Command::Verack => Self::Verack,
            Command::WtxidRelay => Self::WtxidRelay,
            Command::SendHeaders => Self::SendHeaders,
            Command::SendCompact => Self::SendCompact { unasked: reader.array::<1>()? != [0], version: reader.u64()? },
            Command::FeeFilter => Self::FeeFilter(reader.u64()?),
            Command::Ping => Self::Ping(reader.u64()?),
            Command::Pong => Self::Pong(reader.u64()?),
            Command::GetHeaders => {
                // A version number that nobody looks at.
                reader.array::<4>()?;
                let locator = reader.list(MAX_LOCATOR, Reader::block_hash)?;
                Self::GetHeaders { locator, stop: reader.block_hash()? }
            }
            Command::GetData => Self::GetData(reader.inventories()?),
            Command::Inventory => Self::Inventory(reader.inventories()?),
            Command::NotFound => Self::NotFound(reader.inventories()?),
            Command::Mempool => Self::Mempool,
            Command::GetAddresses => Self::GetAddresses,
            Command::Addresses
            | Command::Headers
            | Command::Block
            | Command::CompactBlock
            | Command::BlockTransactions => return Ok(None),
        };
        match reader.left.len() {
            0 => Ok(Some(message)),
            left => Err(MessageError::Trailing { command: command.text(), left }),
        }
    }
}

fn version(payload: &[u8]) -> Result<Message, MessageError> {
    // What later versions of the protocol may add is not looked at.
    let decoded = bitcoin::consensus::encode::deserialize_partial::<VersionMessage>(payload);
    let malformed = |error: bitcoin::consensus::encode::Error| MessageError::Malformed {
        command: "version",
        reason: error.to_string(),
    };
    decoded.map(|(version, _)| Message::Version(Box::new(version))).map_err(malformed)
}

fn block_transactions(payload: &[u8]) -> Result<Message, MessageError> {
    const COMMAND: &str = "getblocktxn";
    let malformed = |reason: String| MessageError::Malformed { command: COMMAND, reason };
    let mut reader = Reader { command: COMMAND, left: payload };
    let block = reader.block_hash()?;
    // Before the crate makes room for them.
    let count = reader.compact_size()?;
    if usize::try_from(count).is_ok_and(|count| count > MAX_INDEXES) {
        return Err(MessageError::TooMany { command: COMMAND, found: count, most: MAX_INDEXES });
    }
    let request: BlockTransactionsRequest =
        bitcoin::consensus::deserialize(payload).map_err(|error| malformed(error.to_string()))?;
    let positions: Result<_, _> = request.indexes.into_iter().map(usize::try_from).collect();
    Ok(Message::GetBlockTransactions { block, positions: positions.map_err(|error| malformed(error.to_string()))? })
}

/// A payload that is read from the front.
struct Reader<'a> {
    command: &'static str,
    left: &'a [u8],
}

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], MessageError> {
        let (array, left) = self.left.split_first_chunk().ok_or(MessageError::End(self.command))?;
        self.left = left;
        Ok(*array)
    }

    fn u64(&mut self) -> Result<u64, MessageError> {
        self.array().map(u64::from_le_bytes)
    }

    fn block_hash(&mut self) -> Result<BlockHash, MessageError> {
        self.array().map(BlockHash::from_byte_array)
    }

    /// A count, in the shortest form.
    fn compact_size(&mut self) -> Result<u64, MessageError> {
        let (count, least) = match self.array()? {
            [0xfd] => (u64::from(u16::from_le_bytes(self.array()?)), 0xfd),
            [0xfe] => (u64::from(u32::from_le_bytes(self.array()?)), 0x1_0000),
            [0xff] => (self.u64()?, 0x1_0000_0000),
            [short] => (u64::from(short), 0),
        };
        if count < least {
            let reason = format!("the count {count} is written with more bytes than it needs");
            return Err(MessageError::Malformed { command: self.command, reason });
        }
        Ok(count)
    }

    /// Entries behind their count. The list grows with what is read.
    fn list<T>(
        &mut self,
        most: usize,
        read: impl Fn(&mut Self) -> Result<T, MessageError>,
    ) -> Result<Vec<T>, MessageError> {
        let found = self.compact_size()?;
        if usize::try_from(found).map_or(true, |found| found > most) {
            return Err(MessageError::TooMany { command: self.command, found, most });
        }
        let mut list = Vec::new();
        for _ in 0..found {
            list.push(read(self)?);
        }
        Ok(list)
    }

    fn inventories(&mut self) -> Result<Vec<Inventory>, MessageError> {
        self.list(MAX_INVENTORY, |reader| {
            Ok(Inventory { kind: u32::from_le_bytes(reader.array()?), hash: reader.array()? })
        })
    }
}

/// Adds a count.
pub(super) fn put_count(payload: &mut Vec<u8>, count: usize) {
    // No platform has lengths of more than 64 bits, and a vector takes everything.
    let _ = VarInt(u64::try_from(count).unwrap_or(u64::MAX)).consensus_encode(payload);
}

/// The payload of `inv`, `getdata` and `notfound`.
pub(super) fn inventories(entries: &[Inventory]) -> Vec<u8> {
    let mut payload = Vec::new();
    put_count(&mut payload, entries.len());
    for entry in entries {
        payload.extend(entry.kind.to_le_bytes());
        payload.extend(entry.hash);
    }
    payload
}

/// The payload of `headers`: each is followed by a count of no transactions.
pub(super) fn headers<'a>(headers: impl ExactSizeIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut payload = Vec::new();
    put_count(&mut payload, headers.len());
    for header in headers {
        payload.extend_from_slice(header);
        payload.push(0);
    }
    payload
}

/// The payload of `sendcmpct`.
pub(super) fn send_compact(unasked: bool, version: u64) -> Vec<u8> {
    [&[u8::from(unasked)], version.to_le_bytes().as_slice()].concat()
}

/// What asks for transactions by their ids.
pub(super) fn by_txid(txids: &[Txid]) -> Vec<Inventory> {
    txids.iter().map(|txid| Inventory::witness_txid(*txid)).collect()
}
