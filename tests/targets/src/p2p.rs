//! What peers of the Elements network send: however its bytes arrive, the same is read of them, and what is read is what was
//! written.
//!
//! The codec belongs to the node and is compiled from its own files: a fuzzer need not instrument the rest of the node.

#[allow(dead_code, reason = "the node uses it")]
#[path = "../../../functionary/src/p2p/inventory.rs"]
mod inventory;
#[allow(dead_code, reason = "the node uses it")]
#[path = "../../../functionary/src/p2p/message.rs"]
mod message;
#[allow(dead_code, reason = "the node uses it")]
#[path = "../../../functionary/src/p2p/wire.rs"]
mod wire;

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bitcoin::hashes::{Hash as _, sha256d};
use message::Message;
use tokio::io::{AsyncRead, ReadBuf};
use wire::{Frame, FrameReader, Magic, Received};

use crate::program::Program;

const MAGIC: [u8; 4] = [0xfa, 0xbf, 0xb5, 0xda];
/// What is understood, what is skipped, and what is not known.
pub(crate) const COMMANDS: [&str; 23] = [
    "version",
    "verack",
    "wtxidrelay",
    "sendheaders",
    "sendcmpct",
    "feefilter",
    "ping",
    "pong",
    "getheaders",
    "getdata",
    "inv",
    "notfound",
    "tx",
    "getblocktxn",
    "mempool",
    "getaddr",
    "addr",
    "headers",
    "block",
    "cmpctblock",
    "blocktxn",
    "addrv2",
    "",
];

/// Takes bytes as they come, or a program that makes frames: for each a command, a length and a payload.
///
/// # Panics
/// If a promise is broken.
pub fn run(input: &[u8]) {
    let mut program = Program::new(input);
    let piece = usize::from(program.byte()).saturating_add(1);
    let stream = match program.byte() {
        0 => program.take_rest().to_vec(),
        _ => frames(&mut program),
    };
    let (received, end) = read(&stream, usize::MAX);
    assert_eq!(read(&stream, piece), (received.clone(), end), "in pieces of {piece} bytes");
    for one in received {
        let Received::Message(command, payload) = one else { continue };
        assert!(payload.len() <= command.most(), "{command:?} of {} bytes", payload.len());
        match Message::decode(command, payload.clone()) {
            Ok(Some(Message::GetData(entries) | Message::Inventory(entries) | Message::NotFound(entries))) => {
                assert_eq!(message::inventories(&entries), payload.as_ref(), "{command:?}");
            }
            Ok(Some(Message::Transaction(bytes))) => assert_eq!(bytes, payload),
            Ok(_) | Err(_) => {}
        }
        let Frame { head, payload: written } = Frame::new(Magic(MAGIC), command, payload.clone());
        let (again, _) = read(&[head.as_slice(), &written].concat(), usize::MAX);
        assert_eq!(again, [Received::Message(command, payload)], "written again");
    }
}

fn frames(program: &mut Program<'_>) -> Vec<u8> {
    let mut stream = Vec::new();
    while !program.is_over() {
        let Some(command) = COMMANDS.get(usize::from(program.byte())) else { break };
        let length = program.choose(1 << 12);
        stream.extend(frame(command, program.take(length)));
    }
    stream
}

/// A frame with a right checksum.
pub(crate) fn frame(command: &str, payload: &[u8]) -> Vec<u8> {
    let mut text = [0; 12];
    text.iter_mut().zip(command.bytes()).for_each(|(to, from)| *to = from);
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes();
    let hash = sha256d::Hash::hash(payload).to_byte_array();
    [&MAGIC, text.as_slice(), &length, hash.split_at(4).0, payload].concat()
}

/// Everything that is read of a stream that comes in pieces, and why it ends.
fn read(stream: &[u8], piece: usize) -> (Vec<Received>, String) {
    let mut reader = FrameReader::new(Pieces { left: stream, piece }, Magic(MAGIC));
    let mut all = Vec::new();
    loop {
        let mut next = Box::pin(reader.next());
        // The next piece is always there.
        match next.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(received)) => all.push(received),
            Poll::Ready(Err(error)) => return (all, error.to_string()),
            Poll::Pending => return (all, "it waits".to_owned()),
        }
    }
}

struct Pieces<'a> {
    left: &'a [u8],
    piece: usize,
}

impl AsyncRead for Pieces<'_> {
    fn poll_read(mut self: Pin<&mut Self>, _cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let (piece, left) = self.left.split_at(self.piece.min(buf.remaining()).min(self.left.len()));
        buf.put_slice(piece);
        self.left = left;
        Poll::Ready(Ok(()))
    }
}
