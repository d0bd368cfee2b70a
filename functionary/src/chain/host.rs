//! The engine's host: journal and vote slots on disk, messages to peers, timers.

use std::sync::Arc;
use std::time::Duration;

use aquifer_federation::consensus::{
    BlockId, CommitCertificate, ConsensusMessage, Evidence, Host, HostError, TimerId, VoteSlot,
};
use aquifer_federation::roster::MemberIndex;
use aquifer_proto::peer::{PeerMessage, peer_message::Kind};
use bitcoin::secp256k1::{Keypair, Message, SECP256K1};

use super::Network;
use super::timers::{Alarm, Timers};
use crate::store::StoreError;
use crate::store::consensus::{ConsensusStore, DecidedBlock};

/// What the engine's effects touch, and what they leave for the chain to do afterwards.
pub(super) struct World {
    pub(super) store: ConsensusStore,
    pub(super) network: Arc<dyn Network>,
    pub(super) timers: Timers,
    pub(super) consensus_key: Keypair,
    /// Blocks the engine wants from us, as (height, round).
    pub(super) wanted: Vec<(u32, u32)>,
    /// The decision it came to.
    pub(super) decided: Option<CommitCertificate>,
    /// The store error behind a [`HostError`], to be reported as what it is.
    pub(super) failure: Option<StoreError>,
    /// Round that is running, for the status.
    pub(super) round: u32,
}

impl World {
    fn keep(&mut self, result: Result<(), StoreError>) -> Result<(), HostError> {
        result.map_err(|error| {
            let text = error.to_string();
            self.failure.get_or_insert(error);
            HostError(text)
        })
    }
}

impl Host for World {
    fn append(&mut self, height: u32, record: &[u8]) -> Result<(), HostError> {
        self.store.append(height, record);
        Ok(())
    }

    fn sync(&mut self) -> Result<(), HostError> {
        let result = self.store.sync();
        self.keep(result)
    }

    fn sign(&mut self, slot: VoteSlot, value: Option<BlockId>, digest: [u8; 32]) -> Result<[u8; 64], HostError> {
        let result = self.store.record_vote(slot, value);
        self.keep(result)?;
        // Deterministic nonces: the same slot and value always give the same signature.
        let signature = SECP256K1.sign_schnorr_no_aux_rand(&Message::from_digest(digest), &self.consensus_key);
        Ok(signature.serialize())
    }

    fn publish(&mut self, message: &ConsensusMessage) -> Result<(), HostError> {
        let bytes = message.to_bytes().map_err(|error| HostError(error.to_string()))?;
        self.network.broadcast(PeerMessage { kind: Some(Kind::Consensus(bytes.into())) });
        Ok(())
    }

    fn start_timer(&mut self, timer: TimerId, after: Duration) {
        self.timers.after(after, Alarm::Engine(timer));
    }

    fn build(&mut self, height: u32, round: u32) {
        self.wanted.push((height, round));
    }

    fn round_started(&mut self, height: u32, round: u32, proposer: MemberIndex) {
        self.round = round;
        if round > 0 {
            tracing::info!(height, round, %proposer, "another round");
        }
    }

    fn decided(&mut self, certificate: CommitCertificate) -> Result<(), HostError> {
        let encoded = certificate.to_bytes().map_err(|error| HostError(error.to_string()))?;
        let decided = DecidedBlock { height: certificate.height(), block: certificate.block(), certificate: encoded };
        let result = self.store.put_decided(&decided);
        self.keep(result)?;
        self.decided = Some(certificate);
        Ok(())
    }

    fn misbehaved(&mut self, evidence: Evidence) {
        tracing::error!(member = %evidence.culprit, "MISBEHAVIOUR: {}", evidence.description);
    }
}
