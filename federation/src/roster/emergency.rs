//! Keys that can move the treasury when the federation itself no longer can.

use std::collections::BTreeSet;

use bitcoin::XOnlyPublicKey;
use borsh::BorshSerialize;
use serde::{Deserialize, Serialize};

use super::MAX_MEMBERS;

/// A way out for the day when too few members are left: these keys, after a coin has rested for a long time. Without this
/// setting there is none.
///
/// The time is counted from the confirmation of each coin, so a treasury that is alive moves its coins long before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Emergency {
    /// The keys, in the order of the script.
    pub keys: Vec<XOnlyPublicKey>,
    /// How many of them must sign.
    pub threshold: u16,
    /// How long a coin must have rested, in blocks of the parent chain.
    pub timelock_blocks: u16,
}

/// An emergency setting that gives no working script.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EmergencyError {
    /// There are no keys, or too many.
    #[error("there are {0} keys, there must be 1 to {MAX_MEMBERS}")]
    KeyCount(usize),
    /// A key comes twice: its owner would sign twice.
    #[error("the key {0} comes twice")]
    Twice(XOnlyPublicKey),
    /// No number of signatures, or more than there are keys.
    #[error("{threshold} of {keys} keys cannot sign")]
    Threshold {
        /// Signatures asked for.
        threshold: u16,
        /// Keys given.
        keys: usize,
    },
    /// Without a time the emergency keys could spend at once.
    #[error("timelock_blocks must be at least 1")]
    NoTimelock,
}

impl Emergency {
    pub(super) fn check(&self) -> Result<(), EmergencyError> {
        let count = self.keys.len();
        if count == 0 || count > MAX_MEMBERS {
            return Err(EmergencyError::KeyCount(count));
        }
        let mut seen = BTreeSet::new();
        if let Some(key) = self.keys.iter().find(|key| !seen.insert(**key)) {
            return Err(EmergencyError::Twice(*key));
        }
        if self.threshold == 0 || usize::from(self.threshold) > count {
            return Err(EmergencyError::Threshold { threshold: self.threshold, keys: count });
        }
        if self.timelock_blocks == 0 {
            return Err(EmergencyError::NoTimelock);
        }
        Ok(())
    }

    /// Every part in a fixed order, for hashing.
    pub(super) fn canonical(&self) -> CanonicalEmergency {
        CanonicalEmergency {
            keys: self.keys.iter().map(XOnlyPublicKey::serialize).collect(),
            threshold: self.threshold,
            timelock_blocks: self.timelock_blocks,
        }
    }
}

/// The form in which the setting is hashed.
#[derive(BorshSerialize)]
pub(super) struct CanonicalEmergency {
    keys: Vec<[u8; 32]>,
    threshold: u16,
    timelock_blocks: u16,
}
