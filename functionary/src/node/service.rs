//! What other members may ask of this one.

use std::sync::Arc;

use aquifer_federation::consensus::BlockId;
use aquifer_proto::peer::FinalBlock;
use elements::BlockHash;

use crate::ceremony::CeremonyArchive;
use crate::config::DataDir;
use crate::peers::PeerService;
use crate::store::consensus::BodyReader;
use crate::store::ledger::LedgerReader;

pub(super) struct NodeService {
    ledger: Arc<LedgerReader>,
    bodies: BodyReader,
    ceremony: CeremonyArchive,
    data: DataDir,
}

impl NodeService {
    pub(super) fn new(ledger: Arc<LedgerReader>, bodies: BodyReader, ceremony: CeremonyArchive, data: DataDir) -> Self {
        Self { ledger, bodies, ceremony, data }
    }
}

impl PeerService for NodeService {
    fn body(&self, height: u32, hash: &BlockHash) -> Option<Vec<u8>> {
        match self.bodies.body(height, BlockId::from(*hash)) {
            Ok(body) => body,
            Err(error) => {
                tracing::error!(height, %hash, %error, "cannot read the body of a block");
                None
            }
        }
    }

    fn final_blocks(&self, from: u32, limit: u32) -> Result<Vec<FinalBlock>, String> {
        let snapshot = self.ledger.snapshot().map_err(|error| error.to_string())?;
        let mut blocks = Vec::new();
        // Genesis follows from the federation file; nobody needs it from us.
        let from = from.max(1);
        for height in from..from.saturating_add(limit) {
            let Some(stored) = snapshot.block(height).map_err(|error| error.to_string())? else { break };
            blocks.push(FinalBlock {
                height,
                block: stored.block.into(),
                certificate: stored.certificate.into(),
                batch: stored.batch.unwrap_or_default().into(),
            });
        }
        Ok(blocks)
    }

    fn ceremony_messages(&self, session: &[u8]) -> Vec<Vec<u8>> {
        let messages = self.ceremony.messages(session);
        if !messages.is_empty() {
            return messages;
        }
        // `aquiferd repair assist` leaves there what it has to say; see `ceremony::repair`.
        match CeremonyArchive::load_repair(&self.data) {
            Ok(repair) => repair.messages(session),
            Err(error) => {
                tracing::error!(%error, "cannot read the messages of a repair");
                Vec::new()
            }
        }
    }
}
