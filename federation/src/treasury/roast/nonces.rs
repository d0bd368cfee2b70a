//! Where nonces wait for the one time they are used.

use std::collections::BTreeMap;

use bitcoin::Txid;
use frost_secp256k1_tr::{
    keys::SigningShare,
    round1::{self, SigningNonces},
};
use rand_core::{CryptoRng, RngCore};

use super::Commitments;
use crate::roster::MemberIndex;

/// Nonces belong to one batch and one coordinator.
pub(super) type Purpose = (Txid, MemberIndex);

struct Prepared {
    commitments: Commitments,
    nonces: Vec<SigningNonces>,
}

/// Nonces in memory, one set per purpose. There is no way to copy one out: [`NonceStore::take`] removes it. Nothing here can be
/// written to a disk.
#[derive(Default)]
pub(super) struct NonceStore(BTreeMap<Purpose, Prepared>);

impl NonceStore {
    /// The commitments that wait for this purpose; makes fresh nonces if there are none.
    pub(super) fn prepare<R: RngCore + CryptoRng>(
        &mut self,
        purpose: Purpose,
        count: usize,
        share: &SigningShare,
        rng: &mut R,
    ) -> Option<Commitments> {
        if let Some(prepared) = self.0.get(&purpose) {
            return Some(prepared.commitments.clone());
        }
        let (nonces, commitments): (Vec<_>, Vec<_>) = (0..count).map(|_| round1::commit(share, rng)).unzip();
        let commitments = Commitments::write(&commitments)?;
        self.0.insert(purpose, Prepared { commitments: commitments.clone(), nonces });
        Some(commitments)
    }

    /// Whether the nonces behind these commitments wait.
    pub(super) fn holds(&self, purpose: &Purpose, commitments: &Commitments) -> bool {
        self.0.get(purpose).is_some_and(|prepared| prepared.commitments == *commitments)
    }

    /// Removes and gives the nonces behind these commitments; `None` if others wait, or none.
    pub(super) fn take(&mut self, purpose: &Purpose, commitments: &Commitments) -> Option<Vec<SigningNonces>> {
        if !self.holds(purpose, commitments) {
            return None;
        }
        self.0.remove(purpose).map(|prepared| prepared.nonces)
    }

    /// Drops all nonces for a batch.
    pub(super) fn forget(&mut self, batch: &Txid) {
        self.0.retain(|(of, _), _| of != batch);
    }
}
