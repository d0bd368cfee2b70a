//! The two-way peg as the chain sees it: peg-in witnesses and claims, peg-out scripts.

mod error;
mod fedpeg;
mod pak;
mod pegin;
mod pegout;

use elements::OutPoint;

pub use error::PegError;
pub(crate) use fedpeg::witness_program;
pub use fedpeg::{FedpegProgram, deposit_address, deposit_programs, fedpeg_program, tweak_fedpeg, tweak_scalar};
pub use pak::{PakError, PakList, check_authorized};
pub(crate) use pegin::has_parent_witness;
pub use pegin::{check_pegin, pegin_witness};
pub use pegout::{parse_pegout, parse_pegout_script, pegout_script};

/// A peg-out: an output that burns the pegged asset and names where the bitcoin shall go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PegoutRequest {
    /// The output that requests it; also its name.
    pub outpoint: OutPoint,
    /// Amount burned, in satoshi.
    pub amount_sat: u64,
    /// Where the bitcoin shall go.
    pub parent_script: bitcoin::ScriptBuf,
}

#[cfg(test)]
mod pegin_tests;
