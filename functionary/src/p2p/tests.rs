//! The codec against whatever comes over a wire.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use bytes::Bytes;
use rand::{Rng as _, RngCore as _, SeedableRng as _};
use rand_chacha::ChaCha20Rng;
use tokio::io::AsyncWriteExt as _;

use super::inventory::{Inventory, Named};
use super::message::{self, Message, MessageError};
use super::wire::{Command, Frame, FrameReader, HEAD_LEN, MAX_INVENTORY, MAX_LOCATOR, Magic, Received, WireError};

const MAGIC: Magic = Magic([1, 2, 3, 4]);

fn bytes_of(frame: &Frame) -> Vec<u8> {
    [frame.head.as_slice(), &frame.payload].concat()
}

/// What a reader makes of bytes that come in pieces, until it has no more or gives up.
async fn read_all(bytes: Vec<u8>, piece: usize) -> (Vec<Received>, WireError) {
    let (mut far, near) = tokio::io::duplex(piece);
    let writing = tokio::spawn(async move {
        // The reader may hang up.
        let _ = far.write_all(&bytes).await;
    });
    let mut reader = FrameReader::new(near, MAGIC);
    let mut received = Vec::new();
    let error = loop {
        match reader.next().await {
            Ok(message) => received.push(message),
            Err(error) => break error,
        }
    };
    drop(reader);
    writing.await.unwrap();
    (received, error)
}

#[tokio::test]
async fn frames_come_back_whatever_pieces_they_come_in() {
    let ping = Frame::new(MAGIC, Command::Ping, 7_u64.to_le_bytes().to_vec());
    let verack = Frame::new(MAGIC, Command::Verack, Vec::new());
    let block = Frame::new(MAGIC, Command::Block, vec![9; 70_000]);
    let transaction = Frame::new(MAGIC, Command::Transaction, vec![5; 100_000]);
    let mut unknown = bytes_of(&Frame::new(MAGIC, Command::Ping, vec![1; 8]));
    unknown[4..16].copy_from_slice(b"sendtxrcncl\0");
    let sent = [bytes_of(&ping), bytes_of(&block), unknown, bytes_of(&verack), bytes_of(&transaction)].concat();
    for piece in [1, 23, 24, 25, 1_000, 1 << 20] {
        let (received, end) = read_all(sent.clone(), piece).await;
        assert!(matches!(end, WireError::Io(_)), "{end}");
        assert_eq!(
            received,
            [
                Received::Message(Command::Ping, ping.payload.clone()),
                Received::Skipped(70_000),
                Received::Skipped(8),
                Received::Message(Command::Verack, Bytes::new()),
                Received::Message(Command::Transaction, transaction.payload.clone()),
            ]
        );
    }
}

#[tokio::test]
async fn a_wrong_frame_ends_the_reading() {
    let good = bytes_of(&Frame::new(MAGIC, Command::Ping, vec![0; 8]));
    let changed = |place: usize, to: &[u8]| {
        let mut frame = good.clone();
        frame[place..place + to.len()].copy_from_slice(to);
        frame
    };
    let (_, error) = read_all(changed(0, &[9]), 64).await;
    assert!(matches!(error, WireError::Magic([9, 2, 3, 4])), "{error}");
    let (_, error) = read_all(changed(4, &[0xff]), 64).await;
    assert!(matches!(error, WireError::Command(_)), "{error}");
    let (_, error) = read_all(changed(15, b"x"), 64).await;
    assert!(matches!(error, WireError::Command(_)), "{error}");
    let (_, error) = read_all(changed(16, &9_u32.to_le_bytes()), 64).await;
    assert!(matches!(error, WireError::TooLong { length: 9, most: 8, .. }), "{error}");
    let (_, error) = read_all(changed(20, &[0; 4]), 64).await;
    assert!(matches!(error, WireError::Checksum("ping")), "{error}");
    for command in Command::ALL {
        let frame = Frame::new(MAGIC, *command, Vec::new());
        let mut head = frame.head;
        head[16..20].copy_from_slice(&u32::MAX.to_le_bytes());
        let (_, error) = read_all(head.to_vec(), 64).await;
        assert!(matches!(error, WireError::TooLong { .. }), "{command:?}: {error}");
    }
}

#[tokio::test]
async fn random_bytes_and_changed_frames_never_panic() {
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    for _ in 0..300 {
        let mut sent = Vec::new();
        for _ in 0..rng.gen_range(1..6) {
            let command = Command::ALL[rng.gen_range(0..Command::ALL.len())];
            let mut payload = vec![0; rng.gen_range(0..=command.most().min(300))];
            rng.fill_bytes(&mut payload);
            sent.extend(bytes_of(&Frame::new(MAGIC, command, payload)));
        }
        for _ in 0..rng.gen_range(0..3) {
            let place = rng.gen_range(0..sent.len());
            sent[place] = rng.r#gen();
        }
        let (received, _) = read_all(sent, rng.gen_range(1..500)).await;
        for message in received {
            if let Received::Message(command, payload) = message {
                // What it comes to does not matter.
                let _ = Message::decode(command, payload);
            }
        }
    }
}

#[test]
fn random_payloads_never_panic() {
    let mut rng = ChaCha20Rng::seed_from_u64(2);
    for command in Command::ALL {
        for length in 0..200 {
            for _ in 0..5 {
                let mut payload = vec![0; length];
                rng.fill_bytes(&mut payload);
                let _ = Message::decode(*command, payload.into());
            }
        }
    }
}

fn decoded(command: Command, payload: Vec<u8>) -> Message {
    Message::decode(command, payload.into()).unwrap().unwrap()
}

#[test]
fn inventories_come_back_and_name_what_they_say() {
    let entries: Vec<Inventory> =
        [1, 2, 3, 4, 5, 1 << 30 | 1, 1 << 30 | 2].map(|kind| Inventory { kind, hash: [7; 32] }).to_vec();
    let payload = message::inventories(&entries);
    assert_eq!(decoded(Command::GetData, payload.clone()), Message::GetData(entries.clone()));
    assert_eq!(decoded(Command::NotFound, payload), Message::NotFound(entries.clone()));
    let kinds: Vec<u8> = entries
        .iter()
        .map(|entry| match entry.named() {
            Named::Txid(_) => b't',
            Named::Wtxid(_) => b'w',
            Named::Block(_) => b'b',
            Named::CompactBlock(_) => b'c',
            Named::Unknown => b'?',
        })
        .collect();
    assert_eq!(kinds, b"tb?cwtb");
}

#[test]
fn counts_are_bounded_before_anything_is_read() {
    let counted = |count: usize, entry: usize| {
        let mut payload = Vec::new();
        message::put_count(&mut payload, count);
        payload.resize(payload.len() + count.min(100_000) * entry, 0);
        payload
    };
    for (command, most, entry) in [(Command::Inventory, MAX_INVENTORY, 36), (Command::GetData, MAX_INVENTORY, 36)] {
        assert!(Message::decode(command, counted(most, entry).into()).is_ok());
        for count in [most + 1, usize::MAX] {
            let error = Message::decode(command, counted(count, 0).into()).unwrap_err();
            assert!(matches!(error, MessageError::TooMany { .. }), "{error}");
        }
    }
    let locator = |count: usize| [vec![0; 4], counted(count, 32), vec![0; 32]].concat();
    assert!(Message::decode(Command::GetHeaders, locator(MAX_LOCATOR).into()).is_ok());
    let error = Message::decode(Command::GetHeaders, locator(MAX_LOCATOR + 1).into()).unwrap_err();
    assert!(matches!(error, MessageError::TooMany { .. }), "{error}");
    for count in [65_537, usize::MAX] {
        let error = Message::decode(Command::GetBlockTransactions, [vec![0; 32], counted(count, 0)].concat().into());
        assert!(matches!(error, Err(MessageError::TooMany { .. })), "{error:?}");
    }
    let few = [vec![0; 32], counted(60_000, 0)].concat();
    assert!(matches!(Message::decode(Command::GetBlockTransactions, few.into()), Err(MessageError::Malformed { .. })));
}

#[test]
fn payloads_are_exactly_one_message() {
    for (command, payload) in [
        (Command::Ping, vec![0; 7]),
        (Command::FeeFilter, vec![0; 9]),
        (Command::SendCompact, vec![0; 8]),
        (Command::Inventory, vec![1; 36]),
        (Command::Inventory, vec![0, 0]),
        (Command::Inventory, vec![0xfd, 0, 0]),
        (Command::GetHeaders, vec![0; 36]),
        (Command::Version, vec![0; 40]),
    ] {
        assert!(Message::decode(command, payload.clone().into()).is_err(), "{command:?} {payload:?}");
    }
    let asked = [vec![3; 32], vec![2, 1, 4]].concat();
    assert!(matches!(
        decoded(Command::GetBlockTransactions, asked),
        Message::GetBlockTransactions { positions, .. } if positions == [1, 6]
    ));
}

#[test]
fn a_frame_says_what_it_carries() {
    let frame = Frame::new(MAGIC, Command::Pong, vec![0; 8]);
    // Command, length, and the checksum of eight zeros.
    assert_eq!(frame.head[..16], *b"\x01\x02\x03\x04pong\0\0\0\0\0\0\0\0");
    assert_eq!(frame.head[16..20], 8_u32.to_le_bytes());
    assert_eq!(frame.len(), HEAD_LEN + 8);
}
