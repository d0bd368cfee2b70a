//! The network of members behind the chain's capability.

use std::sync::mpsc::SyncSender;

use aquifer_federation::consensus::BlockId;
use aquifer_federation::roster::MemberIndex;
use aquifer_proto::peer::PeerMessage;
use tokio::runtime::Handle;

use super::hand_over;
use crate::chain::body::MAX_BODY_LEN;
use crate::chain::{Event, Network};
use crate::peers::Peers;

/// Final blocks that are asked for at a time.
const BLOCKS_PER_FETCH: u32 = 200;

pub(super) struct PeerNetwork {
    peers: Peers,
    events: SyncSender<Event>,
    runtime: Handle,
}

impl PeerNetwork {
    pub(super) fn new(peers: Peers, events: SyncSender<Event>, runtime: Handle) -> Self {
        Self { peers, events, runtime }
    }
}

impl Network for PeerNetwork {
    fn broadcast(&self, message: PeerMessage) {
        self.peers.broadcast(message);
    }

    fn send(&self, to: MemberIndex, message: PeerMessage) {
        self.peers.send(to, message);
    }

    fn fetch_body(&self, from: MemberIndex, height: u32, block: BlockId) {
        let (peers, events) = (self.peers.clone(), self.events.clone());
        self.runtime.spawn(async move {
            let fetched = peers.fetch_body(from, height, block.into(), MAX_BODY_LEN).await;
            let result = fetched.map_err(|error| error.to_string());
            hand_over(&events, Event::Body { from, height, block, result }).await;
        });
    }

    fn fetch_blocks(&self, from: MemberIndex, from_height: u32) {
        let (peers, events) = (self.peers.clone(), self.events.clone());
        self.runtime.spawn(async move {
            let fetched = peers.fetch_blocks(from, from_height, BLOCKS_PER_FETCH).await;
            let result = fetched.map_err(|error| error.to_string());
            hand_over(&events, Event::FinalBlocks { from, result }).await;
        });
    }

    fn disconnect(&self, member: MemberIndex, reason: &str) {
        self.peers.disconnect(member, reason);
    }
}
