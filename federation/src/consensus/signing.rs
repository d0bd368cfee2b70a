//! What consensus signatures cover, and how certificates are checked.

use async_trait::async_trait;
use bitcoin::secp256k1::{self, Message, SECP256K1, XOnlyPublicKey};
use futures::FutureExt as _;
use malachite_signing::{Error, VerificationResult, Verifier, VerifierExt as _};
use malachite_types::{self as mt, ThresholdParams, ValidatorProof, VoteExtensionScope};
use sha2::{Digest as _, Sha256};

use super::context::{Agreement, ConsensusSignature, Members, Proposal, Vote};
use super::engine::CommitCertificate;

/// Tagged hash of a chain and an encoded message. The chain's genesis hash is part of it, so that a signature made for
/// one chain is worth nothing on another.
fn digest(tag: &str, chain: &[u8; 32], message: &[u8]) -> [u8; 32] {
    let tag = Sha256::digest(tag.as_bytes());
    let mut hasher = Sha256::new();
    hasher.update(tag);
    hasher.update(tag);
    hasher.update(chain);
    hasher.update(message);
    hasher.finalize().into()
}

/// The digest a vote's signature covers. Extensions are not part of a vote's statement (the engine signs them apart).
pub(super) fn vote_digest(chain: &[u8; 32], vote: &Vote) -> Result<[u8; 32], std::io::Error> {
    let bare = Vote { extension: None, ..vote.clone() };
    Ok(digest("aquifer/consensus/vote/v1", chain, &borsh::to_vec(&bare)?))
}

/// The digest a proposal's signature covers.
pub(super) fn proposal_digest(chain: &[u8; 32], proposal: &Proposal) -> Result<[u8; 32], std::io::Error> {
    Ok(digest("aquifer/consensus/proposal/v1", chain, &borsh::to_vec(proposal)?))
}

/// Checks consensus signatures made for one chain.
#[derive(Clone, Debug)]
pub(super) struct ChainVerifier {
    pub(super) chain: [u8; 32],
}

fn verdict(
    digest: Result<[u8; 32], std::io::Error>,
    signature: &ConsensusSignature,
    key: &XOnlyPublicKey,
) -> Result<VerificationResult, Error> {
    let valid = digest.is_ok_and(|digest| {
        secp256k1::schnorr::Signature::from_slice(&signature.0)
            .is_ok_and(|signature| SECP256K1.verify_schnorr(&signature, &Message::from_digest(digest), key).is_ok())
    });
    Ok(VerificationResult::from_bool(valid))
}

// The trait is asynchronous for signers behind a network; these bodies never wait.
#[async_trait]
impl Verifier<Agreement> for ChainVerifier {
    async fn verify_signed_vote(
        &self,
        vote: &Vote,
        signature: &ConsensusSignature,
        key: &XOnlyPublicKey,
    ) -> Result<VerificationResult, Error> {
        verdict(vote_digest(&self.chain, vote), signature, key)
    }

    async fn verify_signed_proposal(
        &self,
        proposal: &Proposal,
        signature: &ConsensusSignature,
        key: &XOnlyPublicKey,
    ) -> Result<VerificationResult, Error> {
        verdict(proposal_digest(&self.chain, proposal), signature, key)
    }

    async fn verify_signed_vote_extension(
        &self,
        _scope: &VoteExtensionScope<Agreement>,
        _extension: &Vec<u8>,
        _signature: &ConsensusSignature,
        _key: &XOnlyPublicKey,
    ) -> Result<VerificationResult, Error> {
        // Votes carry no extensions here; one that does is not ours.
        Ok(VerificationResult::Invalid)
    }

    async fn verify_validator_proof(&self, _proof: &ValidatorProof<Agreement>) -> Result<VerificationResult, Error> {
        Ok(VerificationResult::Invalid)
    }
}

type CertificateResult = Result<(), mt::CertificateError<Agreement>>;

impl ChainVerifier {
    pub(super) fn vote(&self, vote: &Vote, signature: &ConsensusSignature, key: &XOnlyPublicKey) -> bool {
        verdict(vote_digest(&self.chain, vote), signature, key).is_ok_and(|verdict| verdict.is_valid())
    }

    pub(super) fn proposal(&self, proposal: &Proposal, signature: &ConsensusSignature, key: &XOnlyPublicKey) -> bool {
        verdict(proposal_digest(&self.chain, proposal), signature, key).is_ok_and(|verdict| verdict.is_valid())
    }

    pub(super) fn commit(
        &self,
        certificate: &mt::CommitCertificate<Agreement>,
        members: &Members,
        thresholds: ThresholdParams,
    ) -> Option<CertificateResult> {
        self.verify_commit_certificate(&Agreement, certificate, members, thresholds).now_or_never()
    }

    pub(super) fn polka(
        &self,
        certificate: &mt::PolkaCertificate<Agreement>,
        members: &Members,
        thresholds: ThresholdParams,
    ) -> Option<CertificateResult> {
        self.verify_polka_certificate(&Agreement, certificate, members, thresholds).now_or_never()
    }

    pub(super) fn round(
        &self,
        certificate: &mt::RoundCertificate<Agreement>,
        members: &Members,
        thresholds: ThresholdParams,
    ) -> Option<CertificateResult> {
        self.verify_round_certificate(&Agreement, certificate, members, thresholds).now_or_never()
    }
}

/// Whether `certificate` carries precommits of a quorum of `members` on the chain with this genesis hash.
pub fn verify_commit_certificate(chain: &[u8; 32], members: &Members, certificate: &CommitCertificate) -> bool {
    let verifier = ChainVerifier { chain: *chain };
    matches!(verifier.commit(&certificate.0, members, ThresholdParams::default()), Some(Ok(())))
}
