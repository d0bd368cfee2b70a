//! The federation in force at a height: who signs, where deposits go, who may peg out.
//!
//! A header may propose new parameters. At the start of an epoch the proposal that at least four fifths of the blocks of
//! the epoch before carried, rounded down, takes effect; otherwise the parameters stay. So what is in force follows from
//! the headers alone, and two nodes with the same headers agree (`dynafed.cpp`, `pegins.cpp`).
//!
//! The genesis block has no parameters of its own. Those of block 1 follow from the chain's, and block 1 stands in for
//! the start of epoch 0; deposits to addresses of epoch 0 go to the P2SH-P2WSH of the fedpeg script whatever
//! `start_p2wsh` says.

use std::collections::BTreeMap;

use elements::Script;
use elements::dynafed::{FullParams, Params};

use super::ChainParams;
use crate::state::{ChainView, ViewError};

/// Where deposits go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fedpeg {
    /// The output script of the untweaked federation script: P2WSH, P2SH, or a later witness program.
    pub program: bitcoin::ScriptBuf,
    /// The federation script. Without meaning if the program is of a later witness version.
    pub script: Script,
}

/// What the headers before a height put in force at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Federation {
    current: FullParams,
    is_written_in_full: bool,
    fedpegs: Vec<Fedpeg>,
}

impl Federation {
    /// The federation in force in the block at `height`, from the headers before it.
    ///
    /// Reads a header per valid epoch, and at the start of an epoch all those of the epoch before.
    ///
    /// # Errors
    /// If `view` cannot give a header, or has one at the start of an epoch that does not state its parameters in full.
    pub fn at<V: ChainView + ?Sized>(params: &ChainParams, view: &V, height: u32) -> Result<Self, ViewError> {
        let current = current_at(params, view, height)?;
        let age = epoch_age(params, height);
        let fedpegs = window(params, height.saturating_sub(age))
            .map(|start| match start {
                0 => Ok(Fedpeg::of_genesis(params)),
                start if start == height => Ok(Fedpeg::of(&current)),
                start => full_entry(view, start).map(|full| Fedpeg::of(&full)),
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { current, is_written_in_full: height == 1 || age == 0, fedpegs })
    }

    /// The federation at `height` as long as no vote has changed it.
    pub fn without_votes(params: &ChainParams, height: u32) -> Self {
        let current = params.block_one_params();
        let age = epoch_age(params, height);
        let fedpegs = window(params, height.saturating_sub(age))
            .map(|start| if start == 0 { Fedpeg::of_genesis(params) } else { Fedpeg::of(&current) })
            .collect();
        Self { current, is_written_in_full: height == 1 || age == 0, fedpegs }
    }

    /// The parameters in force.
    pub fn current(&self) -> &FullParams {
        &self.current
    }

    /// The entry that the header carries: in full in block 1 and at the start of an epoch, elsewhere in short form, where
    /// a root stands for the peg data.
    pub fn entry(&self) -> Params {
        if self.is_written_in_full { Params::Full(self.current.clone()) } else { self.current.clone().into_compact() }
    }

    /// The federation scripts to which deposits may be claimed: those in force at the starts of the last
    /// `total_valid_epochs` epochs, the current one included, newest first.
    pub fn fedpegs(&self) -> &[Fedpeg] {
        &self.fedpegs
    }
}

impl Fedpeg {
    fn of(entry: &FullParams) -> Self {
        Self { program: entry.fedpeg_program.clone(), script: Script::from(entry.fedpegscript.clone()) }
    }

    fn of_genesis(params: &ChainParams) -> Self {
        let program = params.fedpeg_script.to_v0_p2wsh().to_p2sh();
        Self { program: bitcoin::ScriptBuf::from_bytes(program.into_bytes()), script: params.fedpeg_script.clone() }
    }
}

/// Blocks since the start of the epoch.
fn epoch_age(params: &ChainParams, height: u32) -> u32 {
    height.checked_rem(params.epoch_length_blocks).unwrap_or(0)
}

/// The starts of the epochs whose federation scripts are valid in the epoch that starts at `start`, newest first.
fn window(params: &ChainParams, start: u32) -> impl Iterator<Item = u32> {
    let length = params.epoch_length_blocks;
    (0..params.total_valid_epochs).map_while(move |back| start.checked_sub(back.checked_mul(length)?))
}

fn full_entry<V: ChainView + ?Sized>(view: &V, height: u32) -> Result<FullParams, ViewError> {
    match view.dynafed(height)?.current {
        Params::Full(full) => Ok(full),
        Params::Compact { .. } | Params::Null => {
            Err(ViewError(format!("the header at height {height} does not state its parameters in full")))
        }
    }
}

fn current_at<V: ChainView + ?Sized>(params: &ChainParams, view: &V, height: u32) -> Result<FullParams, ViewError> {
    let age = epoch_age(params, height);
    let mut start = height.saturating_sub(age);
    if age == 0 {
        if let Some(winner) = winner(params, view, height)? {
            return Ok(winner);
        }
        start = start.saturating_sub(params.epoch_length_blocks);
    }
    match start {
        0 if height <= 1 => Ok(params.block_one_params()),
        0 => full_entry(view, 1),
        start => full_entry(view, start),
    }
}

/// The proposal that the epoch before the one that starts at `height` has voted for.
///
/// Equal proposals are those with equal roots. With an epoch of one or two blocks a single vote is enough, so the order
/// counts: from the newest block back.
fn winner<V: ChainView + ?Sized>(params: &ChainParams, view: &V, height: u32) -> Result<Option<FullParams>, ViewError> {
    let length = params.epoch_length_blocks;
    let needed = u64::from(length) * 4 / 5;
    let mut tally: BTreeMap<[u8; 32], u64> = BTreeMap::new();
    // The genesis block has no vote.
    for voter in (height.saturating_sub(length).max(1)..height).rev() {
        let Params::Full(proposal) = view.dynafed(voter)?.proposed else { continue };
        let votes = tally.entry(proposal.calculate_root().to_byte_array()).or_default();
        *votes += 1;
        if *votes >= needed {
            return Ok(Some(proposal));
        }
    }
    Ok(None)
}

#[cfg(test)]
#[path = "federation_tests.rs"]
mod tests;
