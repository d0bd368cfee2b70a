//! Dynamic federations: what a header may say of the parameters in force, and what it may propose.

use elements::Script;
use elements::dynafed::{FullParams, Params};
use elements::opcodes::all::OP_DEPTH;

use crate::chain::ChainParams;
use crate::peg::{PakList, witness_program};

/// Why parameters may not be proposed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposalError {
    /// A proposal in short form names no peg data to change to.
    #[error("it does not state the parameters in full")]
    NotFull,
    /// The new block signing script is not a witness program.
    #[error("its block signing script is no witness program")]
    SignblockScript,
    /// The new federation program is not a witness program.
    #[error("its federation program is no witness program")]
    FedpegProgram,
    /// The new federation program of version 0 is not the P2WSH of the federation script.
    #[error("its federation program is not that of its federation script")]
    FedpegMismatch,
    /// The new federation script is of the old template that cannot be spent by witness.
    #[error("its federation script begins with OP_DEPTH")]
    FedpegTemplate,
    /// With authorized peg-outs: the new extension space is not a list of keys.
    #[error("its extension space is not a list of peg-out authorization keys")]
    ExtensionSpace,
}

/// Whether a header says of the parameters in force what it has to.
///
/// The root in a short entry stands for data that every node has, and Elements does not look at it; nor do we, or we would
/// refuse blocks that others accept.
pub(super) fn is_expected(found: &Params, expected: &Params) -> bool {
    match (found, expected) {
        (Params::Full(found), Params::Full(expected)) => found == expected,
        (
            Params::Compact { signblockscript, signblock_witness_limit, .. },
            Params::Compact { signblockscript: script, signblock_witness_limit: limit, .. },
        ) => signblockscript == script && signblock_witness_limit == limit,
        _ => false,
    }
}

/// Checks the proposal of a header against the parameters in force. What it leaves as it is is not judged.
pub(super) fn check_proposal(
    params: &ChainParams,
    current: &FullParams,
    proposed: &Params,
) -> Result<(), ProposalError> {
    let proposed = match proposed {
        Params::Null => return Ok(()),
        Params::Compact { .. } => return Err(ProposalError::NotFull),
        Params::Full(full) => full,
    };
    let changes_signers = proposed.signblockscript != current.signblockscript;
    if changes_signers && witness_program(proposed.signblockscript.as_bytes()).is_none() {
        return Err(ProposalError::SignblockScript);
    }
    if proposed.fedpeg_program != current.fedpeg_program || proposed.fedpegscript != current.fedpegscript {
        check_fedpeg(proposed)?;
    }
    let is_list = || proposed.extension_space.is_empty() || PakList::parse(&proposed.extension_space).is_some();
    if params.enforce_pak && proposed.extension_space != current.extension_space && !is_list() {
        return Err(ProposalError::ExtensionSpace);
    }
    Ok(())
}

fn check_fedpeg(proposed: &FullParams) -> Result<(), ProposalError> {
    let (version, _) = witness_program(proposed.fedpeg_program.as_bytes()).ok_or(ProposalError::FedpegProgram)?;
    if version > 0 {
        return Ok(());
    }
    if Script::from(proposed.fedpegscript.clone()).to_v0_p2wsh().as_bytes() != proposed.fedpeg_program.as_bytes() {
        return Err(ProposalError::FedpegMismatch);
    }
    if proposed.fedpegscript.first() == Some(&OP_DEPTH.into_u8()) {
        return Err(ProposalError::FedpegTemplate);
    }
    Ok(())
}

#[cfg(test)]
#[path = "dynafed_tests.rs"]
mod tests;
