//! The network between members with real sockets and real TLS.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use aquifer_proto::peer::peer_client::PeerClient;
use aquifer_proto::peer::peer_message::Kind;
use aquifer_proto::peer::{FetchCeremonyRequest, Tip};
use bytes::Bytes;
use tonic::transport::Endpoint;

use super::*;
use crate::testing::free_addresses;

/// Longest wait for something that must happen.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Default)]
struct Shelf {
    bodies: Mutex<BTreeMap<BlockHash, Vec<u8>>>,
    blocks: Mutex<Vec<FinalBlock>>,
}

impl PeerService for Shelf {
    fn body(&self, _height: u32, hash: &BlockHash) -> Option<Vec<u8>> {
        self.bodies.lock().unwrap().get(hash).cloned()
    }

    fn final_blocks(&self, from: u32, limit: u32) -> Result<Vec<FinalBlock>, String> {
        let blocks = self.blocks.lock().unwrap();
        let limit = usize::try_from(limit).unwrap();
        Ok(blocks.iter().filter(|block| block.height >= from).take(limit).cloned().collect())
    }

    fn ceremony_messages(&self, session: &[u8]) -> Vec<Vec<u8>> {
        if session == b"session" { vec![b"one".to_vec(), b"two".to_vec()] } else { Vec::new() }
    }
}

const NAMES: [&str; 4] = ["alpha", "beta", "gamma", "delta"];

fn identity(member: u16) -> TlsIdentity {
    TlsIdentity::from_seed(NAMES[usize::from(member)], &[u8::try_from(member).unwrap() + 1; 32]).unwrap()
}

fn entries(addresses: &[SocketAddr]) -> Vec<Entry> {
    (0..)
        .zip(addresses)
        .map(|(index, address)| Entry {
            index: MemberIndex(index),
            name: NAMES[usize::from(index)].to_owned(),
            address: address.to_string(),
            certificate: identity(index).certificate().to_vec(),
        })
        .collect()
}

struct Node {
    running: RunningPeers,
    events: mpsc::Receiver<PeerEvent>,
    shelf: Arc<Shelf>,
    shutdown: CancellationToken,
}

impl Node {
    async fn start(me: u16, addresses: &[SocketAddr]) -> Self {
        let directory = Directory::from_entries(MemberIndex(me), entries(addresses));
        let (sender, events) = mpsc::channel(64);
        let (shelf, shutdown) = (Arc::new(Shelf::default()), CancellationToken::new());
        let listen = addresses[usize::from(me)];
        let service = Arc::<Shelf>::clone(&shelf);
        let running =
            Peers::start_with(directory, identity(me), listen, sender, service, shutdown.clone()).await.unwrap();
        Self { running, events, shelf, shutdown }
    }

    fn peers(&self) -> &Peers {
        &self.running.peers
    }

    async fn event(&mut self, wanted: impl Fn(&PeerEvent) -> bool) -> PeerEvent {
        let waiting = async {
            loop {
                let event = self.events.recv().await.unwrap();
                if wanted(&event) {
                    return event;
                }
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.unwrap()
    }

    async fn connected_to(&mut self, mut members: Vec<u16>) {
        while !members.is_empty() {
            let event = self.event(|event| matches!(event, PeerEvent::Connected(_))).await;
            members.retain(|member| event != PeerEvent::Connected(MemberIndex(*member)));
        }
    }

    async fn message_from(&mut self, member: u16) -> PeerMessage {
        let from_member = |event: &PeerEvent| matches!(event, PeerEvent::Message { from, .. } if from.0 == member);
        match self.event(from_member).await {
            PeerEvent::Message { message, .. } => message,
            other => panic!("{other:?}"),
        }
    }

    /// Stops, and gives the port back.
    async fn stop(self) {
        self.shutdown.cancel();
        tokio::time::timeout(PATIENCE, self.running.ended()).await.unwrap().unwrap();
    }
}

fn vote(text: &str) -> PeerMessage {
    PeerMessage { kind: Some(Kind::Consensus(Bytes::copy_from_slice(text.as_bytes()))) }
}

/// Asks `address` for ceremony messages with a TLS configuration of the test's choice.
async fn call(address: SocketAddr, tls: tonic::transport::ClientTlsConfig) -> Result<usize, String> {
    let endpoint = Endpoint::from_shared(format!("https://{address}")).unwrap().tls_config(tls).unwrap();
    let channel = endpoint.connect().await.map_err(|error| chain(&error))?;
    let request = FetchCeremonyRequest { session: Bytes::from_static(b"session") };
    let reply = PeerClient::new(channel).fetch_ceremony(request).await.map_err(|status| status.to_string())?;
    Ok(reply.into_inner().messages.len())
}

#[tokio::test]
async fn only_the_pinned_member_gets_in_and_is_believed() {
    let addresses = free_addresses(3);
    let alpha = Node::start(0, &addresses).await;
    let certificate = identity(0).certificate().to_vec();

    let member = tls::member_client(&identity(1), "alpha", &certificate);
    assert_eq!(call(addresses[0], member).await, Ok(2));

    let stranger = TlsIdentity::from_seed("mallory", &[99; 32]).unwrap();
    let refused = call(addresses[0], tls::member_client(&stranger, "alpha", &certificate)).await;
    assert!(refused.is_err(), "a stranger's certificate was accepted");

    let namesake = TlsIdentity::from_seed("beta", &[99; 32]).unwrap();
    let refused = call(addresses[0], tls::member_client(&namesake, "alpha", &certificate)).await;
    assert!(refused.is_err(), "a certificate with a member's name and another key was accepted");

    let refused = call(addresses[0], pinned_client("alpha", &certificate)).await;
    assert!(refused.is_err(), "a caller without a certificate was accepted");

    // A member's server answers for itself only: beta dials alpha's address, believing that gamma is there.
    let gamma = tls::member_client(&identity(1), "gamma", identity(2).certificate());
    assert!(call(addresses[0], gamma).await.is_err(), "alpha's certificate passed for gamma's");
    alpha.stop().await;
}

#[tokio::test]
async fn gossip_reaches_every_member_and_names_its_sender() {
    let addresses = free_addresses(3);
    let mut nodes = Vec::new();
    for member in 0..3 {
        nodes.push(Node::start(member, &addresses).await);
    }
    let [mut alpha, mut beta, mut gamma]: [Node; 3] = nodes.try_into().ok().unwrap();
    alpha.connected_to(vec![1, 2]).await;
    beta.connected_to(vec![0, 2]).await;
    gamma.connected_to(vec![0, 1]).await;

    alpha.peers().broadcast(vote("from alpha"));
    assert_eq!(beta.message_from(0).await, vote("from alpha"));
    assert_eq!(gamma.message_from(0).await, vote("from alpha"));
    gamma.peers().send(MemberIndex(1), vote("for beta"));
    assert_eq!(beta.message_from(2).await, vote("for beta"));

    // Beta goes away and comes back; both sides connect again by themselves.
    beta.stop().await;
    alpha.event(|event| *event == PeerEvent::Disconnected(MemberIndex(1))).await;
    assert_eq!(alpha.peers().connected(), [MemberIndex(2)]);
    assert_eq!(alpha.peers().fetch_blocks(MemberIndex(1), 1, 1).await, Err(FetchError::NotConnected(MemberIndex(1))));
    let mut beta = Node::start(1, &addresses).await;
    beta.connected_to(vec![0, 2]).await;
    alpha.connected_to(vec![1]).await;
    alpha.peers().broadcast(vote("again"));
    assert_eq!(beta.message_from(0).await, vote("again"));
    beta.peers().broadcast(vote("back"));
    assert_eq!(alpha.message_from(1).await, vote("back"));
    assert_eq!(gamma.message_from(1).await, vote("back"));
    for node in [alpha, beta, gamma] {
        node.stop().await;
    }
}

async fn pair() -> (Node, Node) {
    let addresses = free_addresses(2);
    let (mut alpha, mut beta) = (Node::start(0, &addresses).await, Node::start(1, &addresses).await);
    alpha.connected_to(vec![1]).await;
    beta.connected_to(vec![0]).await;
    (alpha, beta)
}

#[tokio::test]
async fn bodies_and_final_blocks_are_fetched() {
    let (alpha, beta) = pair().await;
    let body: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    let hash = BlockHash::from_byte_array([1; 32]);
    beta.shelf.bodies.lock().unwrap().insert(hash, body.clone());
    let fetched = alpha.peers().fetch_body(MemberIndex(1), 7, hash, MAX_BODY_LEN).await;
    assert_eq!(fetched.unwrap(), body);
    let unknown = alpha.peers().fetch_body(MemberIndex(1), 7, BlockHash::from_byte_array([2; 32]), MAX_BODY_LEN).await;
    assert!(matches!(unknown, Err(FetchError::NotFound(_))), "{unknown:?}");

    let blocks: Vec<FinalBlock> =
        (1..=11).map(|height| FinalBlock { height, block: vec![1; 100].into(), ..FinalBlock::default() }).collect();
    beta.shelf.blocks.lock().unwrap().clone_from(&blocks);
    assert_eq!(alpha.peers().fetch_blocks(MemberIndex(1), 1, 100).await.unwrap(), blocks);
    assert_eq!(alpha.peers().fetch_blocks(MemberIndex(1), 3, 6).await.unwrap(), blocks[2..8]);
    assert_eq!(alpha.peers().fetch_blocks(MemberIndex(1), 12, 6).await.unwrap(), []);
    alpha.stop().await;
    beta.stop().await;
}

#[tokio::test]
async fn a_body_longer_than_allowed_costs_the_connection() {
    let (mut alpha, beta) = pair().await;
    let hash = BlockHash::from_byte_array([1; 32]);
    beta.shelf.bodies.lock().unwrap().insert(hash, vec![0; 200_000]);
    let refused = alpha.peers().fetch_body(MemberIndex(1), 7, hash, 100_000).await;
    assert_eq!(refused, Err(FetchError::TooLong { len: 200_000, max_len: 100_000 }));
    alpha.event(|event| *event == PeerEvent::Disconnected(MemberIndex(1))).await;
    alpha.stop().await;
    beta.stop().await;
}

#[tokio::test]
async fn a_gap_in_final_blocks_costs_the_connection() {
    let (mut alpha, beta) = pair().await;
    let block = |height| FinalBlock { height, ..FinalBlock::default() };
    beta.shelf.blocks.lock().unwrap().extend([block(1), block(3)]);
    let refused = alpha.peers().fetch_blocks(MemberIndex(1), 1, 10).await;
    assert_eq!(refused, Err(FetchError::Malformed("block 3 where 2 was due".to_owned())));
    alpha.event(|event| *event == PeerEvent::Disconnected(MemberIndex(1))).await;
    alpha.stop().await;
    beta.stop().await;
}

#[tokio::test]
async fn a_disconnected_member_is_kept_out_in_both_directions_and_then_comes_back() {
    let (mut alpha, mut beta) = pair().await;
    alpha.peers().disconnect(MemberIndex(1), "a test says so");
    assert_eq!(alpha.peers().connected(), []);
    alpha.event(|event| *event == PeerEvent::Disconnected(MemberIndex(1))).await;
    beta.event(|event| *event == PeerEvent::Disconnected(MemberIndex(0))).await;
    let certificate = identity(0).certificate().to_vec();
    let early = call(alpha.running.address, tls::member_client(&identity(1), "alpha", &certificate)).await;
    assert!(early.is_err(), "let in while it should be kept out");

    alpha.connected_to(vec![1]).await;
    beta.connected_to(vec![0]).await;
    beta.peers().broadcast(vote("forgiven"));
    assert_eq!(alpha.message_from(1).await, vote("forgiven"));
    alpha.stop().await;
    beta.stop().await;
}

/// Gossips one message as beta to alpha, and waits until alpha has ended the call.
async fn gossip_as_beta(address: SocketAddr, message: PeerMessage) -> String {
    let certificate = identity(0).certificate().to_vec();
    let tls = tls::member_client(&identity(1), "alpha", &certificate);
    let endpoint = Endpoint::from_shared(format!("https://{address}")).unwrap().tls_config(tls).unwrap();
    let channel = endpoint.connect().await.unwrap();
    let messages = futures::StreamExt::chain(tokio_stream::iter([message]), futures::stream::pending());
    let mut client = PeerClient::new(channel).max_encoding_message_size(usize::MAX);
    let call = async { client.gossip(messages).await?.into_inner().message().await };
    tokio::time::timeout(PATIENCE, call).await.unwrap().unwrap_err().to_string()
}

#[tokio::test]
async fn a_message_without_content_or_too_long_costs_the_connection() {
    let empty = PeerMessage { kind: None };
    let huge = PeerMessage { kind: Some(Kind::Transaction(vec![0; MAX_GOSSIP_LEN + 1].into())) };
    for hostile in [empty, huge] {
        let addresses = free_addresses(2);
        let alpha = Node::start(0, &addresses).await;
        gossip_as_beta(addresses[0], hostile).await;
        let link = alpha.peers().links.get(MemberIndex(1)).unwrap();
        assert!(link.refused().is_some(), "the member was not kept out");
        alpha.stop().await;
    }
}

#[tokio::test]
async fn a_newer_gossip_call_of_a_member_replaces_the_older_one() {
    let addresses = free_addresses(2);
    let mut alpha = Node::start(0, &addresses).await;
    let tip = PeerMessage { kind: Some(Kind::Tip(Tip { height: 1, hash: Bytes::new() })) };
    let first = tokio::spawn(gossip_as_beta(addresses[0], tip.clone()));
    assert_eq!(alpha.message_from(1).await, tip);
    let second = tokio::spawn(gossip_as_beta(addresses[0], tip.clone()));
    assert_eq!(alpha.message_from(1).await, tip);
    let end = first.await.unwrap();
    assert!(end.contains("replaced"), "{end}");
    alpha.stop().await;
    second.await.unwrap();
}
