//! Blocks: commitments, building, judging, and what a federation signs.

mod certificate;
mod check;
mod coinbase;
mod dynafed;
mod error;
mod federation_policy;
mod merkle;
mod overlay;
mod signatures;
mod template;
mod weight;

pub use certificate::{Certificate, CertificateError, CertificateKey, certificate_message};
pub use check::{ChainTip, check_block, check_block_with};
pub use dynafed::ProposalError;
pub use error::BlockError;
pub use federation_policy::check_federation_policy;
pub use merkle::{merkle_branch, merkle_root, verify_merkle_branch, witness_commitment, witness_hash};
pub use signatures::{check_block_signatures, max_witness_size};
pub use template::{Template, build_block};
pub use weight::{MAX_BLOCK_SIGOPS_COST, MAX_BLOCK_WEIGHT, block_weight, stricter_block_weight};

#[cfg(test)]
mod check_tests;
#[cfg(test)]
mod queue_tests;
#[cfg(test)]
mod signature_tests;
