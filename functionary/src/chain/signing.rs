//! From decided to final: our two signatures of the header, the others', and the connection of the block.

use aquifer_assets::block::check_block_signatures;
use aquifer_federation::blocksign::sign_header;
use aquifer_federation::certificate::{Statement, sign_share};
use aquifer_federation::consensus::BlockId;
use aquifer_federation::roster::MemberIndex;
use aquifer_federation::treasury::BatchKind;
use aquifer_proto::peer::{HeaderShare, HeaderShareRequest, peer_message::Kind};
use elements::BlockHash;

use super::ChainError;
use super::body::Body;
use super::core::{Core, Phase, Signing, header_slot};
use super::finality::{Finality, Progress, Share, set_witness};
use super::judge::{Examined, Scrutiny, Verdict};
use super::parent::FinalBatch;
use crate::store::signer::HeaderSignatures;

impl Core {
    fn statement(&self, height: u32, block: BlockId) -> Statement {
        Statement { genesis: self.judge.params.genesis_hash(), height, block: block.into() }
    }

    /// The next block is decided, and the decision is durable: sign its header and collect the others' signatures.
    pub(super) fn enter_signing(&mut self, block: BlockId) -> Result<(), ChainError> {
        let height = self.next_height();
        let examined = self.decided_block(height, block)?;
        let statement = self.statement(height, block);
        let mut signing = Box::new(Signing { examined, finality: Finality::new(statement) });
        let signatures = self.sign_own(height, block, &statement)?;
        if let Some(share) = share_of(&signatures.ecdsa, &signatures.bls) {
            signing.finality.add(&self.federation, self.me, share);
        }
        for (member, (signed, share)) in std::mem::take(&mut self.early_shares) {
            if signed == block {
                signing.finality.add(&self.federation, member, share);
            }
        }
        self.phase = Phase::Signing(signing);
        self.broadcast(Kind::HeaderShare(header_share_message(height, &signatures)));
        self.try_to_seal()
    }

    /// What the decided block changes: from its judgement, or judged anew after a restart.
    fn decided_block(&mut self, height: u32, block: BlockId) -> Result<Examined, ChainError> {
        if let Some(examined) = self.examined.remove(&block) {
            return Ok(examined);
        }
        let fail = |reason: String| ChainError::Decided { height, block, reason };
        let bytes = self.world.store.body(height, block)?.ok_or_else(|| fail("its body is missing".into()))?;
        let body = Body::from_bytes(&bytes).map_err(|error| fail(error.to_string()))?;
        match self.judge.examine(body, Scrutiny::ChainOnly)? {
            Verdict::Valid(examined) => Ok(*examined),
            Verdict::Invalid(reason) => Err(fail(reason.to_string())),
            Verdict::NotNow(reason) => Err(fail(reason)),
        }
    }

    /// Our two signatures of the header, recorded before anybody sees them.
    fn sign_own(&mut self, height: u32, block: BlockId, statement: &Statement) -> Result<HeaderSignatures, ChainError> {
        if let Some(recorded) = self.signer.header(height)?.filter(|recorded| recorded.block == block) {
            return Ok(recorded);
        }
        let signatures = HeaderSignatures {
            block,
            ecdsa: sign_header(&self.keys.member.block, &statement.block),
            bls: sign_share(&self.keys.bls, statement).to_vec(),
        };
        Ok(self.signer.record_header(height, signatures)?)
    }

    pub(super) fn header_share(&mut self, from: MemberIndex, message: &HeaderShare) -> Result<(), ChainError> {
        let height = message.height;
        self.world.store.note_seen(from, header_slot(height));
        if height != self.next_height() {
            return if height > self.next_height() { self.peer_tip(from, height.saturating_sub(1)) } else { Ok(()) };
        }
        let hash = <[u8; 32]>::try_from(message.block_hash.as_ref()).map(BlockId);
        let (Ok(block), Some(share)) = (hash, share_of(&message.ecdsa, &message.bls)) else {
            self.world.network.disconnect(from, "a header share with fields of the wrong length");
            return Ok(());
        };
        match &mut self.phase {
            Phase::Signing(signing) => {
                if BlockHash::from(block) != signing.finality.statement.block {
                    // It says that it signed another block than the one we have a commit certificate for.
                    tracing::error!(member = %from, height, %block, "MISBEHAVIOUR: a header share for a block that was not decided");
                    return Ok(());
                }
                if !signing.finality.add(&self.federation, from, share) {
                    self.world.network.disconnect(from, "a header share whose signature is wrong");
                    return Ok(());
                }
                self.try_to_seal()
            }
            Phase::Waiting | Phase::Agreeing => {
                self.early_shares.insert(from, (block, share));
                Ok(())
            }
        }
    }

    pub(super) fn header_share_wanted(&mut self, from: MemberIndex, height: u32) -> Result<(), ChainError> {
        if height <= self.tip.height {
            // The block is final here; the asker catches up faster with all of it.
            self.send(from, Kind::Tip(self.tip_message()));
        } else if let Some(signatures) = self.signer.header(height)? {
            self.send(from, Kind::HeaderShare(header_share_message(height, &signatures)));
        }
        Ok(())
    }

    /// Asks for the shares that are missing, and sends our own again.
    pub(super) fn chase_shares(&mut self) -> Result<(), ChainError> {
        let Phase::Signing(signing) = &self.phase else { return Ok(()) };
        let height = signing.finality.statement.height;
        let missing: Vec<MemberIndex> = self
            .federation
            .roster
            .indices()
            .into_iter()
            .filter(|member| *member != self.me && signing.finality.misses(*member))
            .collect();
        let own = self.signer.header(height)?;
        for member in missing {
            self.send(member, Kind::HeaderShareRequest(HeaderShareRequest { height }));
            if let Some(own) = &own {
                self.send(member, Kind::HeaderShare(header_share_message(height, own)));
            }
        }
        Ok(())
    }

    /// Makes the block final once k members have signed.
    fn try_to_seal(&mut self) -> Result<(), ChainError> {
        let Phase::Signing(signing) = &mut self.phase else { return Ok(()) };
        let seal = match signing.finality.progress(&self.federation) {
            Progress::Waiting(culprits) => {
                for culprit in culprits {
                    self.world.network.disconnect(culprit, "a certificate share that is wrong");
                }
                return Ok(());
            }
            Progress::Sealed(seal) => seal,
        };
        for culprit in &seal.culprits {
            self.world.network.disconnect(*culprit, "a certificate share that is wrong");
        }
        let Phase::Signing(signing) = std::mem::replace(&mut self.phase, Phase::Waiting) else { return Ok(()) };
        let mut examined = signing.examined;
        let height = signing.finality.statement.height;
        set_witness(&mut examined.body.block, seal.witness);
        check_block_signatures(&*self.judge.federation()?, &examined.body.block.header).map_err(|error| {
            ChainError::Decided {
                height,
                block: signing.finality.statement.block.into(),
                reason: format!("its own witness does not verify: {error}"),
            }
        })?;
        self.connect(examined, &seal.certificate.to_bytes())
    }

    /// Adds a final block to the ledger and begins to think of the next.
    pub(super) fn connect(&mut self, examined: Examined, certificate: &[u8]) -> Result<(), ChainError> {
        let height = self.next_height();
        let coins = self.coins_of(examined.batch.as_ref())?;
        let closed_before = self.judge.closure()?;
        self.tip = self.judge.connect(&mut self.ledger, &examined, certificate)?;
        self.tip_since = std::time::Instant::now();
        self.status.note_final(height);
        tracing::info!(height, hash = %self.tip.hash, transactions = examined.body.block.txdata.len(), "final");
        self.phase = Phase::Waiting;
        self.known.clear();
        self.examined.clear();
        self.early_shares.clear();
        self.world.store.prune(height)?;
        self.count(closed_before)?;
        if height.checked_rem(self.judge.params.epoch_length_blocks) == Some(0) {
            for (txid, reason) in self.judge.mempool.verify_again()? {
                tracing::info!(%txid, %reason, "dropped from the mempool at the epoch's end");
            }
        }
        if let Some(batch) = examined.batch {
            let family = match batch.kind {
                BatchKind::Fresh => height,
                BatchKind::Replacement { family } => family,
            };
            self.queue_batch(FinalBatch { height, family, transaction: batch.transaction, coins })?;
        }
        self.broadcast(Kind::Tip(self.tip_message()));
        self.consider_start()
    }
}

fn share_of(ecdsa: &[u8], bls: &[u8]) -> Option<Share> {
    // A DER signature has at most 72 bytes, the sighash byte one.
    let bls = bls.try_into().ok()?;
    (ecdsa.len() <= 73).then(|| Share { ecdsa: ecdsa.to_vec(), bls })
}

fn header_share_message(height: u32, signatures: &HeaderSignatures) -> HeaderShare {
    HeaderShare {
        height,
        block_hash: BlockHash::from(signatures.block).to_byte_array().to_vec().into(),
        ecdsa: signatures.ecdsa.clone().into(),
        bls: signatures.bls.clone().into(),
    }
}
