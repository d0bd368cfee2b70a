//! From a decided block to a final one: collecting the members' header signatures and certificate shares.

use std::collections::BTreeMap;

use aquifer_assets::block::Certificate;
use aquifer_assets::primitives::Block;
use aquifer_federation::blocksign::{assemble_witness, verify_header_signature};
use aquifer_federation::certificate::{SHARE_SIZE, Statement, combine};
use aquifer_federation::federation::Federation;
use aquifer_federation::roster::MemberIndex;
use elements::BlockExtData;

/// A member's two signatures of a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Share {
    /// For the Elements witness: DER with sighash byte.
    pub(super) ecdsa: Vec<u8>,
    /// For the certificate.
    pub(super) bls: [u8; SHARE_SIZE],
}

/// The signatures of one decided block so far.
pub(super) struct Finality {
    pub(super) statement: Statement,
    shares: BTreeMap<MemberIndex, Share>,
}

/// What makes a block final, and who sent certificate shares that were of no use.
pub(super) struct Seal {
    pub(super) witness: Vec<Vec<u8>>,
    pub(super) certificate: Certificate,
    pub(super) culprits: Vec<MemberIndex>,
}

/// What came of the shares so far.
pub(super) enum Progress {
    /// Not enough good ones yet; these members sent bad ones, which are dropped.
    Waiting(Vec<MemberIndex>),
    /// k members have signed.
    Sealed(Box<Seal>),
}

impl Finality {
    pub(super) fn new(statement: Statement) -> Self {
        Finality { statement, shares: BTreeMap::new() }
    }

    /// Whether a member's share is still missing.
    pub(super) fn misses(&self, member: MemberIndex) -> bool {
        !self.shares.contains_key(&member)
    }

    /// Adds a member's share; `false` if its ECDSA signature is not of this member over this header. The certificate
    /// share is looked at only if combining fails.
    pub(super) fn add(&mut self, federation: &Federation, from: MemberIndex, share: Share) -> bool {
        let signed = federation
            .roster
            .member(from)
            .is_some_and(|card| verify_header_signature(&card.block_key, &self.statement.block, &share.ecdsa));
        if signed {
            self.shares.entry(from).or_insert(share);
        }
        signed
    }

    /// Combines what is there, once k members have signed.
    pub(super) fn progress(&mut self, federation: &Federation) -> Progress {
        if self.shares.len() < federation.threshold() {
            return Progress::Waiting(Vec::new());
        }
        let bls = self.shares.iter().map(|(member, share)| (*member, share.bls)).collect();
        match combine(federation, &self.statement, &bls) {
            Ok(combined) => {
                let ecdsa = self.shares.iter().map(|(member, share)| (*member, share.ecdsa.clone())).collect();
                match assemble_witness(&federation.params, &ecdsa) {
                    Some(witness) => Progress::Sealed(Box::new(Seal {
                        witness,
                        certificate: combined.certificate,
                        culprits: combined.culprits,
                    })),
                    None => Progress::Waiting(Vec::new()),
                }
            }
            Err(error) => {
                for culprit in &error.culprits {
                    self.shares.remove(culprit);
                }
                Progress::Waiting(error.culprits)
            }
        }
    }
}

/// Puts the header's witness into a block.
pub(super) fn set_witness(block: &mut Block, witness: Vec<Vec<u8>>) {
    if let BlockExtData::Dynafed { signblock_witness, .. } = &mut block.header.ext {
        *signblock_witness = witness;
    }
}
