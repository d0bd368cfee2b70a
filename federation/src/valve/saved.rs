//! The state of the valve on disk: a few kilobytes, versioned, with a checksum.

use borsh::{BorshDeserialize, BorshSerialize};

use super::{State, Valve};
use crate::{encoding::tagged_hash, roster::Roster};

/// Version of the format on disk.
const SAVED_VERSION: u16 = 1;

/// What was saved cannot be used. The state can always be had again from the chain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SavedValveError {
    /// The bytes are not those that were saved.
    #[error("the saved state of the valve is damaged: {0}")]
    Damaged(String),
    /// Another version of the program wrote it.
    #[error("version {0} of the saved state of the valve is not known, this program reads version {SAVED_VERSION}")]
    Version(u16),
    /// It belongs to a federation with other members or settings, or to another chain.
    #[error("the saved state of the valve belongs to another federation or chain")]
    OtherFederation,
}

#[derive(BorshSerialize)]
struct ToSave<'a> {
    version: u16,
    federation: [u8; 32],
    state: &'a State,
}

#[derive(BorshDeserialize)]
struct Saved {
    federation: [u8; 32],
    state: State,
}

fn checksum(content: &[u8]) -> [u8; 32] {
    tagged_hash("aquifer/valve/saved/v1", &[content])
}

impl Valve {
    /// Everything that the chain so far has made of this valve, for [`Valve::load`]. Equal valves give equal bytes.
    pub fn save(&self) -> Vec<u8> {
        let saved = ToSave { version: SAVED_VERSION, federation: self.federation_hash(), state: &self.state };
        // Writing to memory fails only for lengths above 2^32; the state is bounded.
        let mut bytes = borsh::to_vec(&saved).unwrap_or_default();
        let check = checksum(&bytes);
        bytes.extend_from_slice(&check);
        bytes
    }

    /// The valve as [`Valve::save`] left it, for the federation and the chain that it was made for.
    ///
    /// # Errors
    /// [`SavedValveError`]; then replay the chain from its first block.
    pub fn load(roster: &Roster, chain: [u8; 32], saved: &[u8]) -> Result<Self, SavedValveError> {
        let damaged = |reason: &dyn ToString| SavedValveError::Damaged(reason.to_string());
        let (content, check) = saved.split_last_chunk::<32>().ok_or_else(|| damaged(&"it is too short"))?;
        if *check != checksum(content) {
            return Err(damaged(&"the checksum is wrong"));
        }
        let (version, content) = content.split_first_chunk::<2>().ok_or_else(|| damaged(&"it is too short"))?;
        let version = u16::from_le_bytes(*version);
        if version != SAVED_VERSION {
            return Err(SavedValveError::Version(version));
        }
        let saved: Saved = borsh::from_slice(content).map_err(|error| damaged(&error))?;
        let mut valve = Self::new(roster, chain);
        if saved.federation != valve.federation_hash() {
            return Err(SavedValveError::OtherFederation);
        }
        valve.state = saved.state;
        Ok(valve)
    }

    /// Everything besides the chain's blocks that the state depends on.
    fn federation_hash(&self) -> [u8; 32] {
        let settings = borsh::to_vec(&self.settings).unwrap_or_default();
        let keys: Vec<u8> = self.electorate.host_keys.iter().flat_map(|key| key.serialize()).collect();
        let threshold = u64::try_from(self.electorate.threshold).unwrap_or(u64::MAX).to_le_bytes();
        tagged_hash("aquifer/valve/federation/v1", &[&settings, &keys, &threshold, &self.electorate.chain])
    }
}
